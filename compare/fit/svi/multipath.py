"""Multi-path Pathfinder: Gaussians on L-BFGS's ways from several starts, mixed by importance.

Zhang, Carpenter, Gelman & Vehtari 2022, Pathfinder: parallel quasi-Newton variational inference, section 2.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.linalg
from scipy.special import logsumexp

from compare.fit.psis import smooth
from compare.fit.svi.draws import fresh
from compare.fit.svi.ensemble import UNKNOWN, Ensemble, Outcome
from compare.fit.svi.protocol import Objective
from compare.fit.svi.unoptimised import Candidate, on_way
from compare.options import Options
from guides.contract import Parameters

RADIUS = 2.0
"""The paths after the first start uniformly within this distance of 0 in each unconstrained latent, as in the paper."""

LEAST = 1e-12
"""Share of a path at least: of one that leads nowhere, whose place in the mixture another's Gaussian takes."""

NOWHERE = -1e9
"""Log weight of a draw where the model has no density."""


def mix_all(
    gaussian: Objective, data: Sequence[Any], options: Options, seeds: Sequence[int]
) -> list[Outcome | Exception]:
    """The mixture for each data set, or why there is none; ``gaussian`` is full rank's objective."""
    fits = Ensemble(gaussian, data, options, seeds)
    outcomes: list[Outcome | Exception] = []
    for number in range(len(seeds)):
        try:
            outcomes.append(mix(fits, number, options))
        except ArithmeticError as error:
            outcomes.append(error)
    return outcomes


def mix(fits: Ensemble, number: int, options: Options) -> Outcome:
    """The mixture for one data set. Its gap is not known: no fit of its family leads to the best mixture.

    Raises:
        FloatingPointError: no path leads anywhere.
    """
    paths, why = [], None
    for start in starts(fits, number, options.paths):
        try:
            paths.append(on_way(fits, number, start))
        except ArithmeticError as error:
            why = error
        if fits.is_late():
            break
    if not paths:
        raise FloatingPointError(f"none of {options.paths} paths leads anywhere: {why}")
    rng = np.random.default_rng([fits.seeds[number], 12])
    draws = [fresh(rng, fits.rows, fits.dimension) for _ in paths]
    share = shares(fits.batch.objective, fits.batch.data[number], [path.parameters for path in paths], draws)
    mixture, first = mixed(paths, share, options.paths), mixed(paths[:1], np.ones(1), options.paths)
    spent = sum(path.gradients for path in paths) + len(paths) * fits.rows
    is_late = fits.is_late() and (len(paths) < options.paths or paths[-1].is_late)
    ended = f"its budget of {options.budget:g} s ended on path {len(paths)} of {options.paths}"
    return Outcome(
        mixture,
        UNKNOWN,
        converged=not is_late,
        reason=f"{ended}; give it a larger --budget" if is_late else None,
        gradients=spent,
        history=[(paths[0].gradients, first), (spent, mixture)],
    )


def starts(fits: Ensemble, number: int, count: int) -> list[np.ndarray]:
    """Where the paths start: the first where Pathfinder's does, the others at random."""
    rng = np.random.default_rng([fits.seeds[number], 11])
    first = fits.starts[number]["location"]
    return [first, *rng.uniform(-RADIUS, RADIUS, (count - 1, first.size))]


def shares(objective: Objective, data: Any, paths: Sequence[Parameters], draws: Sequence[np.ndarray]) -> np.ndarray:
    """Each path's share in an importance resampling of draws from all, shape (paths,), which sum to 1.

    Args:
        paths: Full rank's parameters.
        draws: Standard normals, an array of shape (rows, d) for each path.
    """
    log_weights = []
    for own, (path, eps) in enumerate(zip(paths, draws, strict=True)):
        points = path["location"] + eps @ path["scale_tril"].T
        each = np.stack([log_density(points, other) for other in paths])
        log_ratio = objective.evaluate(path, eps, data).log_ratio + each[own]  # log p(x, z)
        log_weights.append(log_ratio - logsumexp(each, axis=0))
    weights, _ = smooth(np.nan_to_num(np.concatenate(log_weights), nan=NOWHERE, neginf=NOWHERE))
    return weights.reshape(len(paths), -1).sum(axis=1)


def log_density(points: np.ndarray, path: Parameters) -> np.ndarray:
    """The log density of a path's Gaussian at points, shape (rows, d), in nats."""
    factor = path["scale_tril"]
    eps = scipy.linalg.solve_triangular(factor, (points - path["location"]).T, lower=True)
    return -0.5 * np.sum(eps**2 + np.log(2 * np.pi), axis=0) - np.log(np.diag(factor)).sum()


def mixed(paths: Sequence[Candidate], share: np.ndarray, count: int) -> Parameters:
    """The mixture of ``count`` components; the first path's Gaussian fills the places of those that are missing."""
    components = [path.parameters for path in paths] + [paths[0].parameters] * (count - len(paths))
    padded = np.append(share, np.zeros(count - len(paths)))
    return {
        "logits": np.log(np.maximum(padded, LEAST)),
        "locations": np.stack([component["location"] for component in components]),
        "scale_trils": np.stack([component["scale_tril"] for component in components]),
    }
