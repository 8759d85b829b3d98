"""Guides with an encoder: trained by minibatches, then compared with the best posterior of their family image by image.

An observation's posterior is over its own z alone. The encoder gives for it one row of numbers, the parameters of a
posterior of the family (`guides.contract.LocalPosterior`); `compare.fit.amortized.local_posteriors` seeks the best one
without the encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import xarray as xr

from compare.comparison import Drawn, Job
from compare.fit.amortized.encoder import (
    Networks,
    Training,
    TrainingRun,
    Weights,
    learn,
    training_of,
    weights_dataset,
)
from compare.fit.amortized.local_posteriors import LocalPosteriors, at_once, best, known_decoder, weighed
from compare.fit.tree import build, how_many, split
from guides.contract import LocalPosterior

GRID, REACH = 81, 5.0
"""Points a side of the grid on which log q is kept for pictures, and how many sds it reaches."""

ANSWERS = 256
"""Draws for each query."""

WATCHED = 10
"""Observations whose ELBO is followed in training, where there are many."""


def fit(library: ModuleType, job: Job) -> tuple[xr.DataTree, int]:
    """Train an encoder, and the decoder with it in a training: the tree, and the gradient evaluations that it took.

    Of a training the tree has the groups ``decoder`` (its weights), ``test_set`` (``elbo`` and ``elbo_mcse`` of each
    test observation, in nats) and ``optimisation``. Else, beside the posterior of the observations that are shown, it
    has ``test_set`` (of every test observation the ELBO, its two terms and the ELBO of the best posterior, with errors;
    and both rows of parameters), ``window`` (log q of the shown ones on a grid, where z has two dimensions),
    ``encoder`` (its weights), and ``queries`` (draws, where there are any).
    """
    training, seed = training_of(job), job.fit_seed
    networks = library.networks(job.model, job.family, training.latent)
    run = learn(networks, training, seed, job.options.budget)
    rows = networks.rows(run.weights["encoder"], training.test)
    if job.method == "training":
        decoder = run.weights["decoder"]
        own = weighed(networks, rows, replace(training, decoder=decoder), seed)
        measured = {"elbo": ("observation", own.elbo), "elbo_mcse": ("observation", own.elbo_mcse)}
        groups = {"decoder": weights_dataset(decoder), "test_set": xr.Dataset(measured), "optimisation": run.dataset()}
        return xr.DataTree.from_dict(groups), run.gradients
    own = weighed(networks, rows, training, seed)
    highest = best(library, job.model, job.family, training)
    highest = highest.where(own.elbo > highest.elbo, own)  # where the search ended in a worse optimum
    # Measured anew: of two noisy numbers the larger is too large.
    highest = weighed(networks, highest.rows, training, seed + 1)
    return draw(job, networks, training, run, own, highest), run.gradients


def draw(
    job: Job, networks: Networks, training: Training, run: TrainingRun, own: LocalPosteriors, highest: LocalPosteriors
) -> xr.DataTree:
    """Draw from the trained encoder's posteriors: the tree."""
    decoder, test, shown = known_decoder(training), training.test, training.shown
    rng = np.random.default_rng([job.fit_seed, 1])
    count = how_many(job.options.draws, training.latent * len(shown))
    z, stats, elbo = drawn(networks, own.rows[shown], test[shown], decoder, rng, count)
    _, _, best_elbo = drawn(networks, highest.rows[shown], test[shown], decoder, rng, count)
    known = {"elbo": elbo.mean(), "elbo_mcse": standard_error(elbo)}
    known |= {"best_elbo": best_elbo.mean(), "best_elbo_mcse": standard_error(best_elbo)}
    groups = {
        "optimisation": run.dataset(**known),
        "test_set": test_observations(own, highest),
        "encoder": weights_dataset(run.weights["encoder"]),
    }
    if training.latent == 2:
        groups["window"] = window(networks.form, z, own.rows[shown], highest.rows[shown])
    if training.queries is not None:
        query_rows = networks.rows(run.weights["encoder"], training.queries)
        answers, _, _ = drawn(networks, query_rows, training.queries, decoder, rng, ANSWERS)
        groups["queries"] = xr.Dataset({"z": (("draw", "query", "axis"), answers)})
    tree = build(split({"z": z}), split(stats), job.layout.observed)
    for name, group in groups.items():
        tree[name] = xr.DataTree(group)
    return tree


def draw_many(library: ModuleType, jobs: Sequence[Job], count: int) -> list[Drawn | Exception]:
    """Draws from the trained encoder's posterior of every test observation of each job's data."""
    draws: list[Drawn | Exception] = []
    for job in jobs:
        training, seed = training_of(job), job.fit_seed
        networks = library.networks(job.model, job.family, training.latent)
        watched = replace(training, shown=training.shown[:WATCHED])
        run = learn(networks, watched, seed, job.options.budget)
        rows = networks.rows(run.weights["encoder"], training.test)
        rng = np.random.default_rng([seed, 5])
        z, _, _ = drawn(networks, rows, training.test, known_decoder(training), rng, count)
        draws.append(Drawn({"z": z}, run.converged))
    return draws


def drawn(
    networks: Networks,
    rows: np.ndarray,
    observations: np.ndarray,
    decoder: Weights,
    rng: np.random.Generator,
    count: int,
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Draws from the posteriors with these rows: z, shape (count, n, latent), the densities of all observations
    together, shape (count,), and each draw's contribution to their ELBO, shape (count,)."""
    strata, parts = networks.form.strata, []
    chunk = at_once(observations.size * strata, count)
    for begin in range(0, count, chunk):
        eps = rng.standard_normal((min(chunk, count - begin), len(rows), strata, networks.latent))
        parts.append(networks.weigh(rows, observations, decoder, eps))
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


def test_observations(own: LocalPosteriors, highest: LocalPosteriors) -> xr.Dataset:
    """Every test observation, in nats: what the encoder's posterior and the best one of the family are worth."""
    values = {name: value for name, value in own._asdict().items() if name != "rows"}
    values |= {"complexity": own.data_fit - own.elbo, "best_elbo": highest.elbo, "best_elbo_mcse": highest.elbo_mcse}
    variables: dict[str, Any] = {name: ("observation", value) for name, value in values.items()}
    for name, rows in (("parameters", own.rows), ("best_parameters", highest.rows)):
        variables[name] = (("observation", "parameter"), rows)
    return xr.Dataset(variables)


def window(form: LocalPosterior, z: np.ndarray, rows: np.ndarray, best_rows: np.ndarray) -> xr.Dataset:
    """log q of each observation, the encoder's and the best posterior's, on a grid about its draws z, (count, n, 2)."""
    line = np.linspace(-REACH, REACH, GRID)
    centre, spread = z.mean(axis=0), z.std(axis=0)
    first, second = (centre[:, [axis]] + spread[:, [axis]] * line for axis in (0, 1))
    grid = np.stack(np.broadcast_arrays(first[:, :, None], second[:, None, :]), axis=-1)
    variables: dict[str, Any] = {"first": (("observation", "across"), first), "second": (("observation", "up"), second)}
    for name, chosen in (("log_guide", rows), ("best_log_guide", best_rows)):
        log_q = form.log_density(chosen, grid.reshape(len(first), -1, 2)).reshape(grid.shape[:-1])
        variables[name] = (("observation", "across", "up"), log_q)
    return xr.Dataset(variables)
