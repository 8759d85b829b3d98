"""Guides with an encoder: trained by minibatches, then held against the best member of their family image by image.

An observation's posterior is over its own z alone. The encoder gives for it one row of numbers, the parameters of a
member of the family (`guides.FAMILY.member`); `compare.fit.amortized.members` seeks the best one without the encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from compare import registry
from compare.comparison import Drawn, Job
from compare.fit import fit_seed
from compare.fit.amortized.encoder import RISE, Learnt, Library, Weights, learn, member, strata
from compare.fit.amortized.members import Members, at_once, best, weighed
from compare.fit.tree import build, how_many, split
from compare.options import Options

__all__ = ["draw_many", "fit", "train"]

GRID, REACH = 81, 5.0
"""Points a side of the grid on which log q is kept for pictures, and how many sds it reaches."""

ANSWERS = 256
"""Draws for each query."""

WATCHED = 10
"""Observations whose ELBO is followed in training, where there are many."""

Factory = Callable[[str, str, int], Library]


def train(factory: Factory, job: Job) -> tuple[xr.DataTree, int]:
    """Learn a decoder along with an encoder: the tree, and the gradient evaluations that it took.

    The tree has the groups ``decoder``, ``test_set`` (``elbo`` and ``elbo_mcse`` of each test observation, in nats) and
    ``optimisation``.
    """
    told, seed = registry.load(job.model).amortization.training(job.data), fit_seed(job)
    library = factory(job.model, job.guide, told.latent)
    found = learn(library, told, job.guide, seed, (job.options or Options()).budget)
    decoder = found.weights["decoder"]
    rows = library.rows(found.weights["encoder"], told.test)
    members = weighed(library, rows, told.test, decoder, strata(job.guide), seed)
    groups = {
        "decoder": arrays(decoder),
        "test_set": xr.Dataset(
            {"elbo": ("observation", members.elbo), "elbo_mcse": ("observation", members.elbo_mcse)}
        ),
        "optimisation": xr.Dataset(curve(found), attrs=ending(found)),
    }
    return xr.DataTree.from_dict(groups), found.gradients[-1]


def fit(factory: Factory, job: Job) -> tuple[xr.DataTree, int]:
    """Train an encoder on the model's decoder: the tree, and the gradient evaluations that it took.

    Beside the posterior of the observations that are shown the tree has the groups ``test_set`` (of every test
    observation the ELBO, its two terms and the ELBO of the best member, with errors; and both rows of parameters),
    ``window`` (log q of the shown ones on a grid, where z has two dimensions), ``encoder`` (its weights), and
    ``queries`` (draws, where there are any).
    """
    told, options, seed = (
        registry.load(job.model).amortization.training(job.data),
        job.options or Options(),
        fit_seed(job),
    )
    library, kinds = factory(job.model, job.guide, told.latent), strata(job.guide)
    found = learn(library, told, job.guide, seed, options.budget)
    encoder = found.weights["encoder"]
    rows, rng = library.rows(encoder, told.test), np.random.default_rng([seed, 1])
    members = weighed(library, rows, told.test, told.decoder, kinds, seed)
    highest = best(factory, job.model, job.guide, told)
    highest = highest.where(members.elbo > highest.elbo, members)  # where the search ended in a worse optimum
    # Measured anew: of two noisy numbers the larger is too large.
    highest = weighed(library, highest.rows, told.test, told.decoder, kinds, seed + 1)
    shown, observed = told.shown, told.test[told.shown]
    count = how_many(options.draws, told.latent * len(shown))
    z, stats, elbo = drawn(library, rows[shown], observed, told.decoder, kinds, rng, count)
    _, _, best_elbo = drawn(library, highest.rows[shown], observed, told.decoder, kinds, rng, count)
    known = {"elbo": elbo.mean(), "elbo_mcse": standard_error(elbo)}
    known |= {"best_elbo": best_elbo.mean(), "best_elbo_mcse": standard_error(best_elbo)}
    tree = build(split({"z": z}), split(stats), job.data.observed())
    tree["optimisation"] = xr.DataTree(xr.Dataset(curve(found), attrs=known | ending(found)))
    tree["test_set"] = xr.DataTree(test_set(members, highest))
    tree["encoder"] = xr.DataTree(arrays(encoder))
    if told.latent == 2:
        tree["window"] = xr.DataTree(window(job.guide, z, rows[shown], highest.rows[shown]))
    if told.queries is not None:
        asked = library.rows(encoder, told.queries)
        answers, _, _ = drawn(library, asked, told.queries, told.decoder, kinds, rng, ANSWERS)
        tree["queries"] = xr.DataTree(xr.Dataset({"z": (("draw", "query", "axis"), answers)}))
    return tree, found.gradients[-1]


def draw_many(factory: Factory, jobs: Sequence[Job], count: int) -> list[Drawn | Exception]:
    """Draws from what the trained encoder says of every test observation of each job's data."""
    found: list[Drawn | Exception] = []
    for job in jobs:
        told, seed = registry.load(job.model).amortization.training(job.data), fit_seed(job)
        library = factory(job.model, job.guide, told.latent)
        watched = replace(told, shown=told.shown[:WATCHED])
        learnt = learn(library, watched, job.guide, seed, (job.options or Options()).budget)
        rows = library.rows(learnt.weights["encoder"], told.test)
        rng = np.random.default_rng([seed, 5])
        z, _, _ = drawn(library, rows, told.test, told.decoder, strata(job.guide), rng, count)
        found.append(Drawn({"z": z}, learnt.converged))
    return found


def drawn(
    library: Library,
    rows: np.ndarray,
    observations: np.ndarray,
    decoder: Weights,
    kinds: int,
    rng: np.random.Generator,
    count: int,
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Draws from the members with these rows: z, shape (count, n, latent), the densities of all observations together,
    shape (count,), and each draw's contribution to their ELBO, shape (count,)."""
    chunk = at_once(observations.size * kinds, count)
    parts = [
        library.weigh(
            rows,
            observations,
            decoder,
            rng.standard_normal((min(chunk, count - begin), len(rows), kinds, library.latent)),
        )
        for begin in range(0, count, chunk)
    ]
    z, prior, likelihood, guide = (np.concatenate([part[term] for part in parts]) for term in range(4))
    weights = parts[0][4].reshape(-1, *prior.shape[1:])[0]  # the same for every draw
    elbo = (weights * (prior + likelihood - guide)).sum(axis=(1, 2))
    ladder = np.cumsum(np.broadcast_to(weights, prior.shape), axis=-1)[..., :-1]
    chosen = (rng.random((count, len(rows), 1)) > ladder).sum(axis=-1, keepdims=True)

    def picked(value: np.ndarray) -> np.ndarray:
        return np.take_along_axis(value, chosen, axis=-1)[..., 0].sum(axis=1)

    stats = {"log_prior": picked(prior), "log_guide": picked(guide)}
    stats["log_joint"] = stats["log_prior"] + picked(likelihood)
    return np.take_along_axis(z, chosen[..., None], axis=2)[:, :, 0], stats, elbo


def standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def arrays(weights: Mapping[str, np.ndarray]) -> xr.Dataset:
    """A network's weights."""
    return xr.Dataset(
        {name: ([f"{name}_{axis}" for axis in range(np.ndim(one))], one) for name, one in weights.items()}
    )


def curve(found: Learnt) -> dict[str, tuple[str, np.ndarray]]:
    """The ELBO of the shown observations at each look, and that of the validation set, by which training is stopped."""
    values = {
        "gradients": found.gradients,
        "elbo": found.shown,
        "elbo_mcse": found.shown_mcse,
        "epochs": found.epochs,
        "validation": found.validation,
    }
    return {name: ("step", np.asarray(value)) for name, value in values.items()}


def ending(found: Learnt) -> dict[str, Any]:
    """How a training ended. How far the encoder is from the best encoder is not known."""
    return {
        "gap": np.inf,
        "gap_mcse": np.inf,
        "tolerance": RISE,
        "converged": int(found.converged),
        "reason": found.reason or "",
        "epochs": found.epochs[-1],
        "speed": found.speed,
    }


def test_set(members: Members, highest: Members) -> xr.Dataset:
    """Every test observation, in nats: what the encoder's member and the best one of the family are worth."""
    named_values = {
        "elbo": members.elbo,
        "elbo_mcse": members.elbo_mcse,
        "data_fit": members.data_fit,
        "data_fit_mcse": members.data_fit_mcse,
        "complexity": members.data_fit - members.elbo,
        "best_elbo": highest.elbo,
        "best_elbo_mcse": highest.elbo_mcse,
    }
    variables: dict[str, Any] = {name: ("observation", value) for name, value in named_values.items()}
    variables["parameters"] = (("observation", "parameter"), members.rows)
    variables["best_parameters"] = (("observation", "parameter"), highest.rows)
    return xr.Dataset(variables)


def window(family: str, z: np.ndarray, rows: np.ndarray, best_rows: np.ndarray) -> xr.Dataset:
    """log q of each observation, the encoder's and the best member's, on a grid about its draws z, (count, n, 2)."""
    line = np.linspace(-REACH, REACH, GRID)
    centre, spread = z.mean(axis=0), z.std(axis=0)
    first, second = (centre[:, [axis]] + spread[:, [axis]] * line for axis in (0, 1))
    points = np.stack(
        [np.repeat(first[:, :, None], GRID, axis=2), np.repeat(second[:, None, :], GRID, axis=1)], axis=-1
    ).reshape(len(first), -1, 2)
    shape = (len(first), GRID, GRID)
    densities = {
        name: (("observation", "across", "up"), member(family).log_density(chosen, points).reshape(shape))
        for name, chosen in (("log_guide", rows), ("best_log_guide", best_rows))
    }
    return xr.Dataset(
        {"first": (("observation", "across"), first), "second": (("observation", "up"), second)} | densities
    )
