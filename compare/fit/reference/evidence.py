"""The evidence that goes with a reference: by bridge sampling from its draws, or why there is none.

Where the model declares a symmetry, chains visit equal copies of the same region of the latents, in proportions that
mean nothing. Each draw is carried into one region, and the bridge spans that region alone: the log of the number of
regions is added.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import arviz_stats
import numpy as np
import xarray as xr

from compare import registry, user_model
from compare.comparison import Job
from compare.fit.reference.bridge import bridge
from compare.fit.reference.target import SHARE, Refused, Target, why_not
from compare.user_model.unconstrained import Catalogued, Unconstrained
from models.contract import Latents, Reference, Symmetry

__all__ = ["LEAST_BFMI", "MOST_DIMENSIONS", "draws_of", "with_evidence"]

MOST_DIMENSIONS = 100
"""Unconstrained dimensions beyond which it is not tried: the proposals' covariances would be noise."""

LEAST_BFMI = 0.3
"""The energies' Bayesian fraction of missing information below which chains are unreliable, as in verdicts."""


def with_evidence(job: Job, tree: xr.DataTree) -> xr.DataTree:
    """The tree of a reference, with its log evidence in its attributes.

    These are ``log_evidence`` and ``log_evidence_mcse`` in nats and ``log_evidence_method``, or ``no_log_evidence``,
    the reason why there are none. With an improper prior there is no evidence, and none is set. Bridge
    sampling takes its share of the budget after the chains have ended.
    """
    if job.layout.improper:
        return tree
    way = registry.load(job.model).truth(job.data)
    if isinstance(way, Reference) and way.no_evidence:
        tree.attrs["no_log_evidence"] = way.no_evidence
        return tree
    seconds = job.options.reference_budget / SHARE
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            tree.attrs.update(by_bridge(job, tree, time.perf_counter() + seconds))
    except Exception as error:  # without its evidence a reference still stands
        tree.attrs["no_log_evidence"] = why_not(error, seconds)
    return tree


def by_bridge(job: Job, tree: xr.DataTree, deadline: float) -> dict[str, Any]:
    """The log evidence by bridge sampling, as attributes.

    Raises:
        Refused: the chains or the bridge are not to be trusted.
        OutOfTime: the deadline has passed.
    """
    check_transitions(tree)
    space = space_of(job)
    d = space.prior_draws.shape[1]
    if d > MOST_DIMENSIONS:
        raise Refused(f"it is tried in up to {MOST_DIMENSIONS} unconstrained dimensions; here are {d}")
    target = Target(d, space.log_joint, space.value_and_gradient, deadline=deadline)
    symmetry, copies = registry.load(job.model).symmetry, 1
    carry: Callable[[Latents], Latents] = unchanged
    if symmetry is not None and symmetry.copies(job.data) > 1:
        target = replace(target, log_joint=within_region(symmetry, job.data, space))
        carry, copies = partial(symmetry.canonical, job.data), symmetry.copies(job.data)
    result = bridge(target, draws_of(space, job, tree, carry), np.random.default_rng([job.fit_seed, 2]))
    method = (
        f"bridge sampling between {result.n_draws:,} draws of the reference and {result.n_fresh:,} of mixtures fitted "
        "to others of its draws"
    )
    if copies > 1:
        method += f", in one of {copies:,} regions that have the same probability"
    return {
        "log_evidence": result.log_evidence + math.log(copies),
        "log_evidence_mcse": result.error,
        "log_evidence_method": method,
    }


def space_of(job: Job) -> Unconstrained:
    """The job's model in its unconstrained space, be it a user's or the catalogue's."""
    model = user_model.find(job.model) if user_model.knows(job.model) else Catalogued(job.model, str(job.library))
    return Unconstrained(model, job.data.arguments(), job.layout, 1, job.fit_seed)


def within_region(symmetry: Symmetry, data: Any, space: Unconstrained) -> Callable[[np.ndarray], np.ndarray]:
    """The log joint at points (n, d) of the region into which a symmetry's canonical map carries; -inf elsewhere."""

    def log_joint(points: np.ndarray) -> np.ndarray:
        latents = space.latents(points)
        canonical = symmetry.region(data, symmetry.canonical(data, latents))
        is_inside = (symmetry.region(data, latents) == canonical).all(axis=1)
        return np.where(is_inside, space.log_joint(points), -np.inf)

    return log_joint


def unchanged(latents: Latents) -> Latents:
    return latents


def draws_of(
    space: Unconstrained, job: Job, tree: xr.DataTree, carry: Callable[[Latents], Latents] = unchanged
) -> np.ndarray:
    """The draws of a tree, carried somewhere, in the unconstrained space.

    Returns:
        Shape (chain, draw, d); not finite at the edge of a support.
    """
    posterior = tree["posterior"].dataset
    draws = {name: posterior[name].values for name in job.layout.latents}
    n_chains, n_draws = next(iter(draws.values())).shape[:2]
    flat = {name: value.reshape(-1, *value.shape[2:]) for name, value in draws.items()}
    return space.points(dict(carry(flat))).reshape(n_chains, n_draws, -1)


def check_transitions(tree: xr.DataTree) -> None:
    """Raise `Refused` where transitions of NUTS diverged or its energies were explored too slowly."""
    stats = tree["sample_stats"]
    divergences, bfmi = int(stats["diverging"].sum()), float(np.min(arviz_stats.bfmi(stats["energy"].values)))
    if divergences and "confirmed" not in tree.attrs:
        raise Refused(f"{divergences} transitions of the reference diverged")
    if not bfmi >= LEAST_BFMI:
        raise Refused(f"the reference's E-BFMI is {bfmi:.3f}; {LEAST_BFMI} is needed")
