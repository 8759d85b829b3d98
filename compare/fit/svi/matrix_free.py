"""Gaussian fits with too many latents for a matrix: no array of d x d numbers is formed.

-ELBO's gradients are those of Bonnet and Price: E_q[-grad log p] in the location, and in the covariance those of
KL(q, N(location, E_q[P]^-1)), P minus the Hessian of the log joint (Opper & Archambeau 2009). So the best member is
a fixed point: the location where the first vanishes, and the `Spread` of least divergence for E_q[P] there.

1. Start from the mode and the best member for P there (`newton`).
2. Measure the gap with fresh draws of q, as `gap` does: gradients of batches of draws, and a few steps of Lanczos's
   method. In the location, the conjugate gradients' solutions for E_q[P] take the place of whitened coordinates.
   Where P is the same at all draws, the posterior is Gaussian and there is no noise.
3. Unless that is within the tolerance, solve for the location and the spread with the E_q[P] of these draws; back to 2.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from compare.fit.svi.ensemble import UNKNOWN, Outcome
from compare.fit.svi.gap import LEAST, Gap, Metric, lanczos, raw
from compare.fit.svi.laplace import NoMode, positive_factor
from compare.fit.svi.newton import PROBES, LongLogJoint, are_alike, banded_product, climb
from compare.fit.svi.protocol import Objective
from compare.options import Options
from guides.contract import Curvature, Family, Spread
from guides.matrix_free import Deflated, MatrixFree, Product, extreme, slackest, solve

BATCHES = 8
"""Batches that a gap is measured with."""

STEPS = 40
"""Lanczos's steps that the gap takes where the Hessian is the same everywhere; a fifth elsewhere."""

FLAT = 1e-6
"""Curvature, beside the largest, below which no distance to the optimum is known."""

PAIRS = 16
"""Pairs of opposite draws in a batch at first: all have their gradients in the mean, the first has its Hessians."""

CLOSE = 1.0
"""Nats within which the next round takes twice as many draws, as it does where noise is most of the gap."""

ROUNDS = 25
"""How often a fit may move before it is given up."""

SHARE = 0.001
"""Part of the tolerance within which searches and conjugate gradients stop at first; each round, at a tenth of it."""

INNER = 1_000
"""Rounds of conjugate gradients, at most."""

NO_MODE = "low_rank starts from a mode: if the model is a centred hierarchy, non-centre it, or take mean_field"
"""What to do about a log joint without a mode."""


@dataclass(frozen=True)
class Moments:
    """What batches of draws from q say of the log joint.

    Attributes:
        slopes: Minus its mean gradients, shape (d, batches).
        curvatures: Minus its mean Hessians, a batch each.
        mean: Their mean.
        is_constant: Whether the Hessian is the same everywhere.
    """

    slopes: np.ndarray
    curvatures: list[MatrixFree]
    mean: MatrixFree
    is_constant: bool = False


def fit_all(
    objective: Objective, data: Sequence[Any], family: Family, options: Options, seeds: Sequence[int]
) -> list[Outcome]:
    """The fits one after another, each with its share of the budget; one that cannot begin is in the list as failed."""
    share, outcomes = replace(options, budget=options.budget / len(data)), []
    for values, seed in zip(data, seeds, strict=True):
        try:
            outcomes.append(fit(objective, values, family, share, seed))
        except FloatingPointError as error:
            start = objective.start(seed, values)
            outcomes.append(Outcome(start, UNKNOWN, False, str(error), 0, [(0, start)], failed=True))
    return outcomes


def fit(objective: Objective, data: Any, family: Family, options: Options, seed: int) -> Outcome:
    """Fit a family with a `Spread`.

    Raises:
        FloatingPointError: the log joint is not finite where the guide starts.
    """
    assert family.spread is not None and objective.log_joint is not None
    deadline, rng = time.perf_counter() + options.budget, np.random.default_rng([seed, 11])
    start, density = objective.start(seed, data), LongLogJoint(objective.log_joint, data)
    history, enough = [(0, start)], SHARE * options.tolerance
    try:
        curvature = at_mode(density, start["location"], {name: part.shape for name, part in start.items()}, deadline)
    except (NoMode, TimeoutError) as error:
        advice = NO_MODE if isinstance(error, NoMode) else "give it a larger --budget"
        return Outcome(start, UNKNOWN, False, f"{error}; {advice}", density.spent, history)
    spread, location, gap, effort = family.spread(curvature), curvature.location, UNKNOWN, 1
    y = spread.best(enough, deadline)
    for attempt in range(ROUNDS):
        history.append((density.spent, spread.parameters(location, y)))
        try:
            moments = measure(density, spread, curvature, (location, y), rng, effort, deadline)
        except TimeoutError:
            break
        if not np.isfinite(moments.slopes).all():
            break
        parameters, spread = spread.parameters(location, y), family.spread(moments.mean)
        y = spread.locate(parameters)
        step, gap, noise = gap_at(moments, spread, y, enough, deadline)
        if gap.upper <= options.tolerance or time.perf_counter() > deadline or attempt == ROUNDS - 1:
            break
        there = spread.search(y, 2000, enough, deadline).x
        if moments.is_constant:
            location, y = location - step, there
        else:
            location, y = ahead(density, spread, (location, y), (location - step, there), rng)
        enough /= 10
        effort *= 2 if gap.value < max(CLOSE, 2 * noise) else 1
        curvature = replace(moments.mean, location=location)
    parameters = spread.parameters(location, y)
    is_converged = gap.upper <= options.tolerance
    reason = None if is_converged else complaint(gap, options, time.perf_counter() > deadline)
    return Outcome(parameters, gap, is_converged, reason, density.spent, history)


Place = tuple[np.ndarray, np.ndarray]
"""A location and a y."""


def ahead(density: LongLogJoint, spread: Spread, begin: Place, end: Place, rng: np.random.Generator) -> Place:
    """A place between two where the ELBO is higher, halving the way; at common draws. The begin where there is none."""
    seed = int(rng.integers(2**32))

    def elbo(place: Place) -> float:
        common = np.random.default_rng(seed)
        shifts = [spread.draw(place[1], common) for _ in range(4 * PAIRS)]
        values = [density.value(place[0] + side * shift)[0] for shift in shifts for side in (1, -1)]
        return float(np.mean(values)) + spread.entropy(place[1])

    least = elbo(begin)
    for halvings in range(12):
        part = 0.5**halvings
        place = begin[0] + part * (end[0] - begin[0]), begin[1] + part * (end[1] - begin[1])
        if elbo(place) > least:
            return place
    return begin


def at_mode(
    density: LongLogJoint, start: np.ndarray, shapes: dict[str, tuple[int, ...]], deadline: float
) -> MatrixFree:
    """The precision at the mode, preconditioned along as many directions as the guide's matrices have columns."""
    location, diagonal, bands = climb(density, start, deadline)
    count = max(shape[1] for shape in shapes.values() if len(shape) == 2)
    if bands is not None:
        exact = Curvature(location, *positive_factor(bands))
        return MatrixFree(location, diagonal, band_by(bands), exact, slackest(bands, count), shapes)
    product = density.product_at(location)
    smallest = extreme(product, diagonal, count, largest=False)
    whitener = Deflated(1 / np.sqrt(diagonal), *smallest)
    return MatrixFree(location, diagonal, product, whitener, smallest, shapes)


def measure(
    density: LongLogJoint,
    spread: Spread,
    curvature: MatrixFree,
    here: Place,
    rng: np.random.Generator,
    effort: int,
    deadline: float,
) -> Moments:
    """Gradients and Hessians at fresh draws of q: ``effort`` times the least number of each.

    Raises:
        TimeoutError: the deadline came first.
    """
    location, y = here
    if is_quadratic(density, spread, curvature, here, rng):
        slope = -density.value(location)[1]
        return Moments(np.stack([slope] * BATCHES, axis=1), [curvature] * BATCHES, curvature, True)
    slopes, places = [], []
    for _ in range(BATCHES):
        away = [spread.draw(y, rng) for _ in range(effort * PAIRS)]
        ends = [location + side * shift for shift in away for side in (1, -1)]
        slopes.append(-np.mean([density.value(end)[1] for end in ends], axis=0))
        places.append(ends[: 2 * effort])
    if density.is_tridiagonal:
        bands = [np.mean([density.bands(end) for end in ends], axis=0) for ends in places]
        mean = np.mean(bands, axis=0)
        exact = Curvature(location, *positive_factor(mean))
        parts = [replace(curvature, diagonal=b[0], product=band_by(b), whitener=exact) for b in bands]
        return Moments(np.stack(slopes, axis=1), parts, replace(parts[0], diagonal=mean[0], product=band_by(mean)))
    parts = [
        replace(
            curvature,
            diagonal=np.mean([density.diagonal(end, deadline) for end in ends], axis=0),
            product=mean_product(density, ends),
        )
        for ends in places
    ]
    diagonal = np.mean([part.diagonal for part in parts], axis=0)
    everywhere = mean_product(density, [end for ends in places for end in ends])
    return Moments(np.stack(slopes, axis=1), parts, replace(curvature, diagonal=diagonal, product=everywhere))


def band_by(bands: np.ndarray) -> Product:
    """The product with a tridiagonal precision."""
    return lambda columns: banded_product(bands, columns)


def mean_product(density: LongLogJoint, places: list[np.ndarray]) -> Product:
    """The product with the mean of the precisions at some places."""
    return lambda columns: np.mean([density.products(place, columns.T).T for place in places], axis=0)


def is_quadratic(
    density: LongLogJoint, spread: Spread, curvature: MatrixFree, here: Place, rng: np.random.Generator
) -> bool:
    """Whether the Hessian is the same at two draws as where the curvature was taken: on random white directions."""
    location, y = here
    directions = curvature.colour(rng.standard_normal((location.size, PROBES)))
    images = curvature.whiten(curvature.product(directions))
    places = [location + spread.draw(y, rng) for _ in range(2)]
    return all(are_alike(curvature.whiten(density.product_at(place)(directions)), images) for place in places)


def gap_at(
    moments: Moments, spread: Spread, y: np.ndarray, enough: float, deadline: float
) -> tuple[np.ndarray, Gap, float]:
    """The Newton step of the location; the gap of location and spread together; the gap that noise alone would be."""
    mean, slopes = moments.mean, moments.mean.whiten(moments.slopes)
    solved, _ = solve(mean.weigh, slopes, enough, INNER, deadline)
    products = slopes.T @ solved  # g_r' E[P]^-1 g_s
    values, vectors = np.linalg.eigh((products + products.T) / 2)
    white = vectors * np.sqrt(np.maximum(values, 0.0))
    turns = np.stack([spread.at(part).value(y)[1] for part in moments.curvatures])
    gradients = np.concatenate([white, turns], axis=1)
    width, step = white.shape[1], 1e-4

    def hessian_product(directions: np.ndarray) -> np.ndarray:
        shift = step * directions[0, width:]
        turned = (spread.value(y + shift)[1] - spread.value(y - shift)[1]) / (2 * step)
        return np.concatenate([directions[0, :width], turned])[None]

    steps = STEPS if moments.is_constant else STEPS // 5
    (metric,) = lanczos(hessian_product, gradients.mean(axis=0)[None], steps)
    noise = float(0.5 * gradients.var(axis=0, ddof=1).sum() / len(gradients))
    return mean.colour(solved.mean(axis=1)), decrement(gradients, metric), noise


def decrement(gradients: np.ndarray, metric: Metric) -> Gap:
    """The gap, as `compare.fit.svi.gap.estimate`, where some directions are flat: as directions of nearly the same
    curvature are for the columns of a loading matrix. Its error is also what the later half of Lanczos's steps changed.
    """
    values = np.linalg.eigvalsh(metric.matrix)
    if not values.min() > FLAT * values.max():
        value = abs(raw(gradients).value) / FLAT
        return Gap(value, value)
    gap, half = raw(metric.power(gradients, -0.5)), len(values) // 2
    before = raw(Metric(metric.basis[:half], metric.matrix[:half, :half]).power(gradients, -0.5))
    least = LEAST if gap.mcse > 1e-12 else 0.0
    parts = (gap.mcse, gap.value - before.value, (2 * abs(gap.value)) ** 1.5)
    return Gap(gap.value, float(np.sqrt(np.sum(np.square(parts)))) + 1e-12 + least)


def complaint(gap: Gap, options: Options, is_late: bool) -> str:
    """Why the fit is not converged, and what to do about it."""
    where = f"{gap.value:.2g} ± {gap.mcse:.1g} nats from the optimum (tolerance {options.tolerance:g})"
    if not np.isfinite(gap.value):
        where = "before the gap could be measured"
    if is_late:
        return f"its budget of {options.budget:g} s ended {where}; give it a larger --budget"
    return f"{ROUNDS} rounds ended {where}; give a larger --tolerance, or use NUTS"
