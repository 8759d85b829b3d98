"""What is known of a model without a fit: its twins, its exact posterior, its best members, and what they share."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Any

import jax
import numpy as np
from conftest import LIBRARIES, layout, side
from numpyro import handlers

import models
from battery import Complaint, beyond, first
from compare.comparison import Job
from compare.fit.density import derive
from compare.fit.svi.draws import fresh
from models.contract import element

__all__ = [
    "SPELT",
    "density_misfits",
    "derived",
    "dimension",
    "evidence_varies",
    "member_differs",
    "moments_differ",
    "parts_do_not_add_up",
    "twins_differ",
]

SPELT = {
    "mean_field": {"location", "scale"},
    "full_rank": {"location", "scale_tril"},
    "markov": {"location", "diagonal", "off_diagonal"},
}
"""The parameters of the families whose parameters have the same names for every model."""

ROUNDING = 1e-9
"""Relative difference of two computations of one number that rounding explains, by their largest term."""


def dimension(data: Any) -> int:
    """How many numbers one point of the posterior has."""
    return sum(math.prod(shape) for shape in layout(data).latents.values())


def scale(*terms: np.ndarray) -> np.ndarray:
    """What rounding is relative to: the largest term, at least 1."""
    return np.maximum(1.0, np.max(np.abs(np.stack(np.broadcast_arrays(*terms))), axis=0))


def derived(name: str, data: Any, latents: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The latents, and what the model derives from them."""
    return {**latents, **derive(Job(name, name, data, "exact"), latents)}


def densities(name: str, data: Any, library: str, latents: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """A twin's log prior and log likelihood."""
    arguments, static = side(library).split_arguments(data.arguments())
    return side(library).density(name, static)(latents, arguments)


@lru_cache(maxsize=64)
def prior(name: str, data: Any) -> Callable[[jax.Array], dict[str, jax.Array]]:
    """Draws from the prior by the NumPyro twin, one for each key; compiled once."""
    side("numpyro")  # which turns float64 on
    program = import_module(f"models.{name}.in_numpyro").model

    def draw(key):
        trace = handlers.trace(handlers.seed(program, key)).get_trace(**data.arguments())
        return {site: trace[site]["value"] for site in layout(data).latents}

    return jax.jit(jax.vmap(draw))


def twins_differ(name: str, data: Any, count: int, seed: int) -> Complaint:
    """Both twins' log prior and log likelihood at draws from the prior, to 1e-9, in float64."""
    latents = jax.tree.map(np.array, prior(name, data)(jax.random.split(jax.random.key(seed), count)))
    expected = {site: (count, *shape) for site, shape in layout(data).latents.items()}
    if {site: value.shape for site, value in latents.items()} != expected:
        return f"the latents are not those of the data: {sorted(latents)}"
    by_library = [densities(name, data, library, latents) for library in LIBRARIES]
    for what, ours, theirs in zip(("log prior", "log likelihood"), *by_library, strict=True):
        if not ours.dtype == theirs.dtype == np.float64:
            return f"the {what} is not in float64"
        complaint = beyond(f"{what} of the twins", ours, theirs, ROUNDING * scale(ours, theirs))
        if complaint:
            return complaint
    return None


def parts_do_not_add_up(name: str, data: Any, library: str, seed: int) -> Complaint:
    """What the model says of each observation sums to what the twin says of all."""
    rng = np.random.default_rng(seed)
    latents = {site: rng.uniform(0.2, 0.8, (50, *shape)) for site, shape in layout(data).latents.items()}
    parts = models.load(name).prediction.pointwise(data, latents)
    if set(parts) != set(layout(data).observed):
        return f"log likelihoods of {sorted(parts)}, observed are {sorted(layout(data).observed)}"
    _, log_likelihood = densities(name, data, library, latents)
    total = sum(part.sum(axis=1) for part in parts.values())
    return beyond("sum of pointwise log likelihoods", total, log_likelihood, ROUNDING * scale(total, log_likelihood))


def evidence_varies(name: str, data: Any, library: str, count: int, seed: int) -> Complaint:
    """For any z, log p(x, z) - log p(z | x) = log p(x): model, posterior and evidence at once, to rounding."""
    exact = models.load(name).exact(data)
    latents = exact.draw(np.random.default_rng(seed), count)
    log_prior, log_likelihood = densities(name, data, library, latents)
    log_posterior = exact.log_posterior(latents)
    evidence = log_prior + log_likelihood - log_posterior
    if evidence.dtype != np.float64:
        return "the log densities are not in float64"
    allowed = ROUNDING * scale(log_prior, log_likelihood, log_posterior)
    return beyond("log joint less log posterior", evidence, exact.log_evidence, allowed)


def moments_differ(name: str, data: Any, count: int, seed: int, errors: float = 5) -> Complaint:
    """Exact means, sds, quantiles and correlations against exact draws, within ``errors`` standard errors."""
    exact = models.load(name).exact(data)
    draws = derived(name, data, exact.draw(np.random.default_rng(seed), count))
    elements = {
        element(site, index): draws[site][(slice(None), *index)] for site, index in layout(data).reported_elements
    }
    for (site, index), (label, values) in zip(layout(data).reported_elements, elements.items(), strict=True):
        mean, sd = float(exact.mean()[site][index]), float(exact.sd()[site][index])
        squares = (values - mean) ** 2
        room = errors * squares.std() / math.sqrt(count) + 1e-12 * sd**2
        complaint = first(
            [
                beyond(f"mean of {label}", values.mean(), mean, errors * sd / math.sqrt(count)),
                beyond(f"variance of {label}", squares.mean(), sd**2, room),
            ]
        )
        if complaint:
            return complaint
        for probability in (0.025, 0.5, 0.975):
            below = np.mean(values <= float(exact.quantile(probability)[site][index]))
            room = errors * math.sqrt(probability * (1 - probability) / count)
            complaint = beyond(f"share of {label} below its {probability:.1%} quantile", below, probability, room)
            if complaint:
                return complaint
    for pair, truth in exact.correlations().items():
        first_name, other_name = next((a, b) for a in elements for b in elements if f"{a},{b}" == pair)
        a, b = ((values - values.mean()) / values.std() for values in (elements[first_name], elements[other_name]))
        value = float((a * b).mean())
        influence = a * b - value * (a**2 + b**2) / 2  # its variance over the count is the correlation's
        complaint = beyond(f"correlation of {pair}", value, truth, errors * influence.std() / math.sqrt(count) + 1e-9)
        if complaint:
            return complaint
    return None


def density_misfits(name: str, data: Any) -> Complaint:
    """The exact density of an element integrates to 0.8 between its 10% and 90% quantiles."""
    exact = models.load(name).exact(data)
    for site, index in layout(data).reported_elements[:3]:
        lower, upper = (float(exact.quantile(p)[site][index]) for p in (0.1, 0.9))
        grid = np.linspace(lower, upper, 4001)
        mass = np.trapezoid(exact.density(site, index, grid), grid)
        complaint = beyond(f"mass of {element(site, index)} between its quantiles", mass, 0.8, 1e-4)
        if complaint:
            return complaint
    return None


def member_differs(
    name: str, data: Any, family: str, library: str, seed: int, batches: int = 64, errors: float = 5
) -> Complaint:
    """ELBO(q*) by the library's own ELBO at q*'s parameters, within ``errors`` standard errors.

    These are the errors of as many independent draws: those of designed draws are smaller, but a few batches with
    skewed means do not show by how much.
    """
    best, exact = models.load(name).best_member(data, family), models.load(name).exact(data)
    if set(best.parameters) != SPELT[family]:
        return f"the best member has the parameters {sorted(best.parameters)}"
    arguments, static = side(library).split_arguments(data.arguments())
    objective = side(library).prepare(name, family, static, arguments)
    objective.start(0, arguments)
    rngs, size = [np.random.default_rng([seed, batch]) for batch in range(batches)], dimension(data)
    log_ratios = np.stack(
        [objective.evaluate(best.parameters, fresh(rng, 256, size), arguments).log_ratio for rng in rngs]
    )
    room = (
        errors * log_ratios.std() / math.sqrt(log_ratios.size)
        + 1e-9 * max(1.0, abs(exact.log_evidence))
        + best.tolerance
    )
    return beyond("ELBO of the best member", log_ratios.mean(), best.elbo, room)
