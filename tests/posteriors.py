"""Posteriors whose evidence and moments are known, with random parameters, in four dimensions or more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from compare.fit.reference.target import Target

__all__ = ["KINDS", "Known", "banana", "eight_schools", "funnel", "gaussian", "gaussians", "logistic", "student"]

LogDensity = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Known:
    """A posterior and its truth.

    Attributes:
        log_density: Its log joint, (n, d) to (n,), in nats.
        mean, sd: Of the coordinates, shape (d,).
        prior_scale: Sds of the Gaussian that starts are drawn from, shape (d,).
        log_evidence: In nats.
        prior_mean: Its mean, shape (d,).
    """

    log_density: LogDensity
    mean: np.ndarray
    sd: np.ndarray
    prior_scale: np.ndarray
    log_evidence: float = 0.0
    prior_mean: np.ndarray | float = 0.0

    def target(self, rng: np.random.Generator) -> Target:
        """The posterior with gradients by central differences and 512 draws to start at."""
        d = len(self.mean)

        def value_and_gradient(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            steps = 1e-6 * np.maximum(np.abs(points), 0.1)
            shifts = steps[:, None] * np.eye(d)
            both = np.concatenate([points[:, None] + shifts, points[:, None] - shifts]).reshape(-1, d)
            high, low = self.log_density(both).reshape(2, len(points), d)
            return self.log_density(points), (high - low) / (2 * steps)

        starts = self.prior_mean + rng.standard_normal((512, d)) * self.prior_scale
        return Target(d, self.log_density, value_and_gradient, starts)


def rotated(known: Known, rng: np.random.Generator) -> Known:
    """The same in rotated and shifted coordinates; for independent coordinates only."""
    d = len(known.mean)
    rotation = np.linalg.qr(rng.standard_normal((d, d)))[0]
    shift = rng.standard_normal(d) * known.sd
    return Known(
        lambda z: known.log_density((z - shift) @ rotation),
        shift + rotation @ known.mean,
        np.sqrt((rotation**2) @ known.sd**2),
        np.full(d, known.prior_scale.max() + np.abs(shift).max()),
        known.log_evidence,
    )


def gaussian(rng: np.random.Generator, d: int) -> Known:
    """A correlated Gaussian with sds from 1/100 of the prior's to the prior's."""
    sd = 10 ** rng.uniform(-2, 0, d)
    return rotated(Known(lambda z: stats.norm.logpdf(z, 0, sd).sum(1), np.zeros(d), sd, np.ones(d)), rng)


def skewed(rng: np.random.Generator, d: int) -> Known:
    """Logs of gamma variables of shapes 1/2 to 5, correlated."""
    shape = rng.uniform(0.5, 5, d)
    mean, sd = special.digamma(shape), np.sqrt(special.polygamma(1, shape))
    return rotated(Known(lambda z: stats.loggamma.logpdf(z, shape).sum(1), mean, sd, np.full(d, 3.0)), rng)


def mixture(rng: np.random.Generator, d: int) -> Known:
    """Two to four Gaussians, each of at least 5% and with at least 1% of the prior in its basin."""
    while True:
        m = int(rng.integers(2, 5))
        weights = rng.dirichlet(np.ones(m))
        means = rng.standard_normal((m, d))
        sds = 10 ** rng.uniform(-1.5, -0.5) * rng.uniform(0.8, 1.25, m)
        if weights.min() > 0.05 and basins(means, sds, weights, rng).min() > 0.01:
            return gaussians(means, sds, weights)


def basins(means: np.ndarray, sds: np.ndarray, weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The share of prior draws that mean shift leads to each component."""
    z = rng.standard_normal((1000, means.shape[1]))
    constants = np.log(weights) - means.shape[1] * np.log(sds)
    for _ in range(60):
        squares = ((z[:, None] - means) ** 2).sum(2) / sds**2
        shares = special.softmax(constants - squares / 2, axis=1) / sds**2
        z = shares @ means / shares.sum(1, keepdims=True)
    nearest = (((z[:, None] - means) / sds[:, None]) ** 2).sum(2).argmin(1)
    return np.bincount(nearest, minlength=len(means)) / len(z)


def gaussians(means: np.ndarray, sds: np.ndarray, weights: np.ndarray) -> Known:
    """Gaussians at these means (n, d), each of one sd in all directions; sds and weights (n,)."""
    d = means.shape[1]
    constants = np.log(weights) - d * np.log(sds) - d / 2 * np.log(2 * np.pi)

    def log_density(z: np.ndarray) -> np.ndarray:
        squares = (z**2).sum(1)[:, None] - 2 * z @ means.T + (means**2).sum(1)
        return special.logsumexp(constants - squares / (2 * sds**2), axis=1)

    mean = weights @ means
    sd = np.sqrt(weights @ (sds[:, None] ** 2 + (means - mean) ** 2))
    return Known(log_density, mean, sd, np.ones(d))


def two_modes(rng: np.random.Generator, d: int) -> Known:
    """Two Gaussians that mirror each other, 3 to 100 sds apart, of 50 to 95% of the mass."""
    direction, sd, weight = rng.standard_normal(d), 10 ** rng.uniform(-1.5, -0.3), rng.uniform(0.5, 0.95)
    mean = direction / np.linalg.norm(direction) * min(10 ** rng.uniform(0.2, 1.7) * sd, np.sqrt(d))
    return gaussians(np.array([mean, -mean]), np.full(2, sd), np.array([weight, 1 - weight]))


def ring(rng: np.random.Generator, d: int) -> Known:
    """A Gaussian shell in two to four dimensions, with independent Gaussians beside it."""
    shell = int(rng.integers(2, 5))
    radius = 10 ** rng.uniform(-1, 0.3)
    width = radius * 10 ** rng.uniform(-1.3, -0.3)
    r = np.linspace(max(0, radius - 10 * width), radius + 10 * width, 400_001)
    density = r ** (shell - 1) * stats.norm.pdf(r, radius, width)
    surface = np.log(2) + shell / 2 * np.log(np.pi) - special.gammaln(shell / 2)
    constant = np.log(np.trapezoid(density, r)) + surface
    sd = np.ones(d)
    sd[:shell] = np.sqrt(np.trapezoid(density * r**2, r) / np.trapezoid(density, r) / shell)

    def log_density(z: np.ndarray) -> np.ndarray:
        radial = stats.norm.logpdf(np.linalg.norm(z[:, :shell], axis=1), radius, width)
        return radial - constant + stats.norm.logpdf(z[:, shell:]).sum(1)

    return Known(log_density, np.zeros(d), sd, np.full(d, 2.0))


def funnel(rng: np.random.Generator, d: int) -> Known:
    """Neal's funnel, with the sd of the log variance between 0.3 and 3."""
    s = rng.uniform(0.3, 3)

    def log_density(z: np.ndarray) -> np.ndarray:
        v = z[:, :1]
        return (stats.norm.logpdf(v, 0, s) + stats.norm.logpdf(z[:, 1:], 0, np.exp(v / 2)).sum(1, keepdims=True))[:, 0]

    sd = np.append(s, np.full(d - 1, np.exp(s**2 / 4)))
    return Known(log_density, np.zeros(d), sd, np.append(s, np.full(d - 1, 2.0)))


def horseshoe(rng: np.random.Generator, d: int) -> Known:
    """Units x_i ~ N(0, l_i^2) with half-Cauchy scales l_i, on the log scale, and an observation N(x_i, 1) of each.

    An odd d is rounded down.
    """
    units = d // 2
    y = rng.choice([0.3, 5.0], units) + rng.standard_normal(units)
    t = np.linspace(-40, 60, 100_001)[:, None]
    density = np.exp(stats.halfcauchy.logpdf(np.exp(t)) + t + stats.norm.logpdf(y, 0, np.sqrt(1 + np.exp(2 * t))))
    totals = np.trapezoid(density, t, axis=0)
    density /= totals
    shrink = special.expit(2 * t)
    powers = [np.trapezoid(density * f, t, axis=0) for f in (t, t**2, shrink * y, shrink + (shrink * y) ** 2)]
    mean = np.concatenate([powers[0], powers[2]])
    sd = np.sqrt(np.concatenate([powers[1], powers[3]]) - mean**2)

    def log_density(z: np.ndarray) -> np.ndarray:
        t, x = z[:, :units], z[:, units:]
        scale = stats.halfcauchy.logpdf(np.exp(t)) + t
        return (scale + stats.norm.logpdf(x, 0, np.exp(t)) + stats.norm.logpdf(y, x, 1)).sum(1)

    return Known(log_density, mean, sd, np.full(2 * units, 2.0), float(np.log(totals).sum()))


def banana(rng: np.random.Generator, d: int) -> Known:
    """A curved valley z2 ~ N(b z1^2, w), with independent Gaussians beside it."""
    curvature, width = rng.uniform(0.1, 2), 10 ** rng.uniform(-1.3, 0)

    def log_density(z: np.ndarray) -> np.ndarray:
        valley = stats.norm.logpdf(z[:, 1], curvature * z[:, 0] ** 2, width)
        return stats.norm.logpdf(z[:, 0]) + valley + stats.norm.logpdf(z[:, 2:]).sum(1)

    mean, sd = np.zeros(d), np.ones(d)
    mean[1], sd[1] = curvature, np.sqrt(2 * curvature**2 + width**2)
    return Known(log_density, mean, sd, np.full(d, 3.0))


def student(rng: np.random.Generator, d: int) -> Known:
    """A multivariate t with 2.5 to 12 degrees of freedom."""
    df = rng.uniform(2.5, 12)
    shape = stats.multivariate_t(np.zeros(d), np.eye(d), df)
    sd = np.full(d, np.sqrt(df / (df - 2)))
    return Known(lambda z: shape.logpdf(z).reshape(len(z)), np.zeros(d), sd, np.full(d, 2.0))


def logistic(rng: np.random.Generator, d: int) -> Known:
    """Logistic regression, 12 observations along each of d orthonormal directions, with standard Gaussian priors.

    In these directions the coefficients are independent, so that its truth is d integrals.
    """
    size = rng.uniform(0.5, 2, (12, d))
    sign = np.where(rng.random((12, d)) < special.expit(size * rng.standard_normal(d)), 1.0, -1.0)
    b = np.linspace(-12, 12, 4001)
    heights = stats.norm.logpdf(b)[:, None] - np.logaddexp(0, -(sign * size) * b[:, None, None]).sum(1)
    density = np.exp(heights)
    totals = np.trapezoid(density, b, axis=0)
    mean = np.trapezoid(density * b[:, None], b, axis=0) / totals
    sd = np.sqrt(np.trapezoid(density * b[:, None] ** 2, b, axis=0) / totals - mean**2)

    def log_density(z: np.ndarray) -> np.ndarray:
        return stats.norm.logpdf(z).sum(1) - np.logaddexp(0, -(sign * size) * z[:, None, :]).sum((1, 2))

    return rotated(Known(log_density, mean, sd, np.ones(d), float(np.log(totals).sum())), rng)


def eight_schools() -> Known:
    """Rubin's eight schools, non-centred, with half-Cauchy(5) on tau and N(0, 5) on mu: 10 dimensions, log tau last.

    Its evidence and the moments of mu and log tau are integrals over log tau, given which all else is Gaussian; the
    other coordinates' moments follow from these.
    """
    y, sigma = np.array([28.0, 8, -3, 7, -1, 1, 18, 12]), np.array([15.0, 10, 16, 11, 9, 11, 10, 18])
    t = np.linspace(-30, 12, 40_001)
    tau2 = np.exp(2 * t)[:, None]
    precision = 1 / (sigma**2 + tau2)
    total = precision.sum(1) + 1 / 25
    center = (precision * y).sum(1) / total
    log_marginal = stats.norm.logpdf(y, 0, precision**-0.5).sum(1)
    log_marginal += np.log(1 / 25 / total) / 2 + center**2 * total / 2  # mu integrated out
    density = np.exp(log_marginal + stats.halfcauchy.logpdf(np.exp(t), scale=5) + t)
    evidence = np.trapezoid(density, t)
    slope = np.sqrt(tau2) * precision  # of the mean of z given mu: slope (y - mu)
    z_mean = slope * (y - center[:, None])
    z_square = sigma**2 * precision + slope**2 / total[:, None] + z_mean**2
    firsts = np.column_stack([z_mean, center, t])
    squares = np.column_stack([z_square, center**2 + 1 / total, t**2])
    mean, square = (np.trapezoid(density[:, None] * part, t, axis=0) / evidence for part in (firsts, squares))

    def log_density(p: np.ndarray) -> np.ndarray:
        z, mu, log_tau = p[:, :8], p[:, 8:9], p[:, 9:]
        prior = stats.norm.logpdf(z).sum(1) + stats.norm.logpdf(mu, 0, 5)[:, 0]
        prior = prior + (stats.halfcauchy.logpdf(np.exp(log_tau), scale=5) + log_tau)[:, 0]
        return prior + stats.norm.logpdf(y, mu + np.exp(log_tau) * z, sigma).sum(1)

    scale = np.array([*[1.0] * 8, 5, 2])
    return Known(log_density, mean, np.sqrt(square - mean**2), scale, float(np.log(evidence)), np.eye(10)[9] * 1.6)


KINDS = (gaussian, skewed, mixture, two_modes, ring, funnel, horseshoe, banana, student, logistic)
