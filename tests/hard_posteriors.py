"""Posteriors that deceive, with random parameters and known truth, whose models stand in both libraries.

`hard_posterior(i)` is the i-th: several modes, mirrors, rings, the two ends of an interval, observations in conflict,
funnels, heavy tails and curved valleys in one to ten dimensions. The models are `tests.user_models.hard_numpyro` and
`hard_pyro`. In up to three dimensions modes may be any distance apart and a hundredth of the prior as wide; in more, at
least one prior draw in a hundred falls into the basin of each.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import special, stats

from tests.hard_parts import Curve, Hard, Mixture, Name, Ring
from tests.posteriors import basins

__all__ = ["KINDS", "hard_posterior"]

SEED = 17
"""Seed of all posteriors."""

DIMENSIONS = (1, 2, 3, 5, 8, 10, 4)
"""Dimensions in turn; a kind that needs more takes its least, and one that has pairs rounds down."""

POINTS = 200_001
"""Points of a grid."""

LEAST = 0.05
"""Least mass of a mode."""


def hard_posterior(index: int) -> Hard:
    """The posterior of this number: kinds and dimensions in turn, parameters at random."""
    kind = KINDS[index % len(KINDS)]
    dimension = DIMENSIONS[(index + index // len(KINDS)) % len(DIMENSIONS)]
    return kind(np.random.default_rng([SEED, index]), dimension)


def names(site: str, *places: int) -> list[Name]:
    """Names of elements of a site."""
    return [(site, (place,)) for place in places]


def log_uniform(rng: np.random.Generator, low: float, high: float, size: int | None = None) -> np.ndarray:
    """Draws whose log is uniform between those of the bounds."""
    return np.exp(rng.uniform(np.log(low), np.log(high), size))


def plain(site: str, *places: int) -> list[Curve]:
    """Elements that have kept their standard Gaussian prior."""
    grid = np.linspace(-12, 12, 2001)
    return [Curve(names(site, place), grid, stats.norm.logpdf) for place in places]


def mixture(rng: np.random.Generator, d: int) -> Hard:
    """Two to eight round Gaussians of at least 5% each under a standard Gaussian prior."""
    while True:
        m = int(rng.integers(2, 9))
        spare = np.array([p := rng.uniform(0, 1), 1 - p]) if m == 2 else rng.dirichlet(np.ones(m))
        weights = LEAST + (1 - m * LEAST) * spare
        means = rng.standard_normal((m, d))
        sds = np.minimum(log_uniform(rng, 0.01 if d <= 3 else 0.03, 0.3) * rng.uniform(0.8, 1.25, m), 0.9)
        if d <= 3 or basins(means, sds, weights, rng).min() > 0.01:
            break
    widths = np.sqrt(sds**2 / (1 - sds**2))  # of the likelihood
    centers = means * (1 + widths**2)[:, None]
    evidences = stats.norm.logpdf(centers, 0, np.sqrt(1 + widths**2)[:, None]).sum(1)
    log_weights = np.log(weights) - evidences + (constant := rng.normal(0, 5))
    data = {"centers": centers, "widths": widths, "log_weights": log_weights}
    return Hard("mixture", data, [Mixture(names("z", *range(d)), means, sds, weights, constant)])


def mirrored(rng: np.random.Generator, d: int) -> Hard:
    """Up to three coordinates of which the square is observed, one sign with 50 to 95% of the mass; others plainly."""
    k = int(rng.integers(1, min(3, d) + 1))
    noise, shift, y = log_uniform(rng, 0.02, 0.5, d), rng.standard_normal(d), rng.standard_normal(d)
    mirrors = np.arange(d) < k
    y[:k] = rng.uniform(0.3, 4, k)
    shift[:k] = special.logit(rng.uniform(0.5, 1 - LEAST, k)) / (2 * np.sqrt(y[:k]))

    def curve(i: int) -> Curve:
        grid = np.linspace(-14, 14, POINTS)

        def log_marginal(z: np.ndarray) -> np.ndarray:
            mean = z**2 if mirrors[i] else z
            return stats.norm.logpdf(z, shift[i], 1) + stats.norm.logpdf(y[i], mean, noise[i])

        cuts = (0.0,) if mirrors[i] else ()
        return Curve(names("z", i), grid, log_marginal, cuts=cuts, has_modes=bool(mirrors[i]))

    data = {"shift": shift, "mirrors": mirrors.astype(float), "y": y, "noise": noise}
    return Hard("mirrored", data, [curve(i) for i in range(d)])


def ends(rng: np.random.Generator, d: int) -> Hard:
    """Up to three angles, uniform beforehand and near pi afterwards: both ends of an interval; and observed normals."""
    k = int(rng.integers(1, min(3, d) + 1))
    concentration = log_uniform(rng, 4, 1000, k)
    direction = np.pi - special.ndtri(rng.uniform(0.5, 1 - LEAST, k)) / np.sqrt(concentration)
    y = rng.standard_normal(d - k)

    def angle(i: int) -> Curve:
        constant = np.log(2 * np.pi * special.ive(0, concentration[i])) + np.log(2 * np.pi)

        def log_marginal(u: np.ndarray) -> np.ndarray:
            return concentration[i] * (np.cos(u - direction[i]) - 1) - constant

        grid = np.linspace(-np.pi, np.pi, POINTS)
        return Curve(names("angle", i), grid, log_marginal, cuts=(0.0,), has_modes=True)

    def normal(i: int) -> Curve:
        def log_marginal(x: np.ndarray) -> np.ndarray:
            return stats.norm.logpdf(x) + stats.norm.logpdf(y[i], x, 1)

        return Curve(names("x", i), np.linspace(-12, 12, 2001), log_marginal)

    data = {"direction": direction, "concentration": concentration, "y": y}
    return Hard("ends", data, [*map(angle, range(k)), *map(normal, range(d - k))])


def conflict(rng: np.random.Generator, d: int) -> Hard:
    """Locations with two observations each and Cauchy errors; in up to three the two are far apart."""
    k = int(rng.integers(1, min(3, d) + 1))
    grid = np.linspace(-90, 90, POINTS)

    def curve(i: int) -> tuple[Curve, float, np.ndarray]:
        while True:
            shift, middle = rng.normal(0, 3), rng.normal(0, 3)
            y = middle + (rng.uniform(2.5, 15) if i < k else rng.uniform(0, 0.9)) * np.array([-1, 1])

            def log_marginal(z: np.ndarray, shift: float = shift, y: np.ndarray = y) -> np.ndarray:
                return stats.norm.logpdf(z, shift, 10) + stats.cauchy.logpdf(y[:, None], z).sum(0)

            cuts = (middle,) if i < k else ()
            part = Curve(names("location", i), grid, log_marginal, cuts=cuts, has_modes=i < k)
            below = np.trapezoid(np.where(grid < middle, part.density, 0), grid)
            if i >= k or LEAST < below < 1 - LEAST:
                return part, shift, y

    parts, shifts, y = zip(*map(curve, range(d)), strict=True)
    return Hard("conflict", {"shift": np.array(shifts), "y": np.array(y).T}, parts)


def ring(rng: np.random.Generator, d: int) -> Hard:
    """A shell in two or three coordinates, heavier on one side; the others have their prior."""
    d = max(d, 2)
    shell = int(rng.integers(2, min(3, d) + 1))
    radius = rng.uniform(0.5, 3)
    width, shift = radius * log_uniform(rng, 0.03, 0.3), rng.choice([0.02, rng.uniform(0.1, 0.8)])
    part = Ring(names("z", *range(shell)), radius, width, shift)
    data = {"shift": np.eye(d)[0] * shift, "shell": shell, "radius": radius, "width": width}
    return Hard("ring", data, [part, *plain("z", *range(shell, d))])


def funnel(rng: np.random.Generator, d: int) -> Hard:
    """Normals with one random scale, observed with errors: from a full funnel to a hierarchy."""
    d = max(d, 2)
    spread, noise = rng.uniform(0.5, 3), log_uniform(rng, 0.3, 10)
    y = rng.normal(0, np.exp(rng.normal(0, spread) / 2), d - 1) + rng.normal(0, noise, d - 1)

    def log_marginal(v: np.ndarray) -> np.ndarray:
        seen = stats.norm.logpdf(y, 0, np.sqrt(np.exp(v)[:, None] + noise**2)).sum(1)
        return stats.norm.logpdf(v, 0, spread) + seen

    def given(v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        share = special.expit(v - 2 * np.log(noise))[:, None]
        return share * y, np.broadcast_to(np.sqrt(share) * noise, (len(v), d - 1))

    grid = np.linspace(-12 * spread, 12 * spread, 20_001)
    part = Curve([("v", ()), *names("x", *range(d - 1))], grid, log_marginal, given)
    return Hard("funnel", {"spread": spread, "y": y, "noise": noise}, [part])


def horseshoe(rng: np.random.Generator, d: int) -> Hard:
    """Units with half-t scales of three degrees of freedom, each observed once with error 1."""
    units = max(d // 2, 1)
    y = rng.choice([0.3, 5.0], units) + rng.standard_normal(units)
    grid = np.exp(np.linspace(-30, 30, POINTS))

    def unit(i: int) -> Curve:
        def log_marginal(scale: np.ndarray) -> np.ndarray:
            return np.log(2) + stats.t.logpdf(scale, 3) + stats.norm.logpdf(y[i], 0, np.sqrt(1 + scale**2))

        def given(scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            share = special.expit(2 * np.log(scale))[:, None]
            return share * y[i], np.sqrt(share)

        return Curve([*names("scale", i), *names("x", i)], grid, log_marginal, given)

    return Hard("horseshoe", {"y": y}, [unit(i) for i in range(units)])


def valley(rng: np.random.Generator, d: int) -> Hard:
    """A curved valley: z1 - curvature z0^2 is observed under a standard Gaussian prior."""
    d = max(d, 2)
    curvature, noise, y = log_uniform(rng, 0.3, 3), log_uniform(rng, 0.05, 1), rng.uniform(-3, 1)
    total = 1 + noise**2

    def log_marginal(u: np.ndarray) -> np.ndarray:
        return stats.norm.logpdf(u) + stats.norm.logpdf(y, -curvature * u**2, np.sqrt(total))

    def given(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return ((y + curvature * u**2) / total)[:, None], np.full((len(u), 1), noise / np.sqrt(total))

    part = Curve(names("z", 0, 1), np.linspace(-12, 12, 20_001), log_marginal, given)
    data = {"dimension": d, "curvature": curvature, "y": y, "noise": noise}
    return Hard("valley", data, [part, *plain("z", *range(2, d))])


KINDS: tuple[Callable[[np.random.Generator, int], Hard], ...] = (
    mixture,
    mirrored,
    ends,
    conflict,
    ring,
    funnel,
    horseshoe,
    valley,
)
