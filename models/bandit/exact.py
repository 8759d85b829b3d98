"""The arms' posteriors and evidence in closed form, and by how much each arm leads, by quadrature.

The arms are independent: theta_k ~ Beta(alpha + successes_k, beta + pulls_k - successes_k). By how much arm k leads is
theta_k - max_(j != k) theta_j. It is above 0 with the probability that k is the best arm, which is how often Thompson
sampling pulls it (Thompson 1933, Biometrika 25).
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from scipy import optimize, special, stats

from models.bandit.data import Bandit
from models.contract import Best, Exact, Latents, Marginal
from models.logit_normal import best_logit_normal
from models.marginals import draw_beta


def derive(data: Bandit, latents: Latents) -> dict[str, np.ndarray]:
    """``lead[k]``: theta_k less the largest of the other arms, shape (n_draws, arms)."""
    theta = latents["theta"]
    others = [np.delete(theta, k, axis=-1).max(-1) for k in range(theta.shape[-1])]
    return {"lead": theta - np.stack(others, axis=-1)}


def nodes(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, float]:
    """Logits on which the trapezoid rule integrates the densities of all Beta(a, b), and their step.

    On the logit a Beta's density falls like exp(a x) and exp(-b x); it is analytic within pi of the real line.
    """
    middle, scale = special.digamma(a) - special.digamma(b), np.sqrt(1 / a + 1 / b)
    low, high = (middle - 12 * scale - 40 / a).min(), (middle + 12 * scale + 40 / b).max()
    step = min(0.25, float(scale.min()) / 3)
    return np.arange(low, high, step), step


def density(a: np.ndarray, b: np.ndarray, x: np.ndarray, complement: np.ndarray) -> np.ndarray:
    """The density of Beta(a, b) at x, where ``complement`` is 1 - x to all digits; 0 where float64 has no x."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        values = np.exp((a - 1) * np.log(x) + (b - 1) * np.log(complement) - special.betaln(a, b))
    return np.where((x > 0) & (complement > 0), values, 0.0)


def masses(a: np.ndarray, b: np.ndarray, logits: np.ndarray, step: float) -> np.ndarray:
    """The probability of Beta(a, b) that each node stands for; ``a`` and ``b`` broadcast with the nodes."""
    logs = a * special.log_expit(logits) + b * special.log_expit(-logits) - special.betaln(a, b)
    return step * np.exp(logs)


def largest(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Mean and variance of the largest of independent Betas, whose parameters have shape (arms, 1)."""
    logits, step = nodes(a, b)
    theta = special.expit(logits)
    each, cdfs = masses(a, b, logits, step), special.betainc(a, b, theta)
    mass = np.sum([each[j] * np.delete(cdfs, j, axis=0).prod(axis=0) for j in range(len(each))], axis=0)
    mean = float(mass @ theta)
    return mean, float(mass @ (theta - mean) ** 2)


class Lead:
    """The distribution of theta_k - max_(j != k) theta_j, with the methods of SciPy's frozen distributions.

    Integrals over theta_k go from one end to the other of where both theta_k and theta_k - lead are chances, with a
    logit's coordinate between these ends, so that powers of the distance to them cost no digits. A density is at least
    as wide in that coordinate as on the logit, so that the step for the logit serves.

    Args:
        a: First parameters of the arms' Betas, shape (arms,).
        b: Second parameters.
        arm: k.
    """

    def __init__(self, a: np.ndarray, b: np.ndarray, arm: int) -> None:
        self.arm, self.own = stats.beta(a[arm], b[arm]), (a[arm], b[arm])
        self.others = np.delete(a, arm)[:, None], np.delete(b, arm)[:, None]
        self.largest = largest(*self.others)
        logits, self.step = nodes(a, b)
        self.end, (own, _) = max(np.abs(logits).max(), 40.0), nodes(a[[arm]], b[[arm]])
        self.ends = [(special.expit(logit), special.expit(-logit)) for logit in own[[0, -1]]]

    def below(self, x: np.ndarray) -> np.ndarray:
        """P(all other arms are at most x), shape (n,)."""
        return special.betainc(*self.others, x).prod(axis=0)

    def places(self, lead: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """theta_k - lead, 1 less that, and the masses of theta_k, at every node, each (n,)."""
        width, cut, top = 1 - abs(lead), max(lead, 0.0), max(-lead, 0.0)
        with np.errstate(divide="ignore"):
            ends = [np.log(max(x - cut, 0.0)) - np.log(max(above - top, 0.0)) for x, above in self.ends]
        first, last = np.clip(ends, -self.end, self.end)
        logits = np.arange(first, last, self.step)
        up, down = special.expit(logits), special.expit(-logits)
        mass = self.step * width * up * down * density(*self.own, cut + width * up, top + width * down)
        return top + width * up, cut + width * down, mass

    def mean(self) -> float:
        return float(self.arm.mean()) - self.largest[0]

    def std(self) -> float:
        return float(np.sqrt(self.arm.var() + self.largest[1]))

    def cdf(self, x: float) -> float:
        place, _, mass = self.places(x)
        return float(self.arm.cdf(min(1 + x, 1.0)) - mass @ self.below(place))

    def ppf(self, q: float) -> float:
        return float(optimize.brentq(lambda x: self.cdf(x) - q, -1.0, 1.0, xtol=1e-12))

    def pdf(self, x: np.ndarray) -> np.ndarray:
        values = []
        for lead in np.ravel(x):
            place, complement, mass = self.places(lead)
            cdfs, densities = special.betainc(*self.others, place), density(*self.others, place, complement)
            parts = [densities[j] * np.delete(cdfs, j, axis=0).prod(axis=0) for j in range(len(cdfs))]
            values.append(mass @ np.sum(parts, axis=0))
        return np.reshape(values, np.shape(x))


class Arms(Exact):
    """theta_k | successes ~ Beta(a_k, b_k), independent.

    Attributes:
        a: alpha + successes, shape (arms,).
        b: beta + failures, shape (arms,).
    """

    method = "closed form"
    tolerance = 0.0

    def __init__(self, data: Bandit) -> None:
        n, s = np.array(data.pulls), np.array(data.successes)
        self.a, self.b = data.alpha + s, data.beta + n - s
        self.posterior = stats.beta(self.a, self.b)
        ways = special.gammaln(n + 1) - special.gammaln(s + 1) - special.gammaln(n - s + 1)
        self.log_evidence = float(np.sum(ways + special.betaln(self.a, self.b) - special.betaln(data.alpha, data.beta)))

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        return {"theta": draw_beta(rng, self.a, self.b, (count, len(self.a)))}

    def log_posterior(self, latents: Latents) -> np.ndarray:
        return self.posterior.logpdf(latents["theta"]).sum(-1)

    def marginal(self, site: str, index: tuple[int, ...] = ()) -> Marginal:
        return stats.beta(self.a[index], self.b[index]) if site == "theta" else self.leads[index[0]]

    @cached_property
    def leads(self) -> list[Lead]:
        """By how much each arm leads."""
        return [Lead(self.a, self.b, arm) for arm in range(len(self.a))]

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        return {"theta": self.a.shape, "lead": self.a.shape}

    def chances(self) -> np.ndarray:
        """P(arm k is the best), shape (arms,)."""
        return np.array([1 - lead.cdf(0.0) for lead in self.leads])

    def extra_summary(self) -> dict[str, Any]:
        posteriors = [f"Beta({a:g}, {b:g})" for a, b in zip(self.a, self.b, strict=True)]
        return {"posterior": posteriors, "probability of being the best arm": self.chances().tolist()}


def best_member(data: Bandit, family: str) -> Best | None:
    """The best member of a family: a Gaussian on each logit by quadrature, Betas in closed form."""
    exact = Arms(data)
    if family == "conjugate":
        parameters = {"alpha_q": exact.a, "beta_q": exact.b}
        return Best(exact.log_evidence, 0.0, "closed form: the posterior itself", parameters)
    if family not in ("mean_field", "full_rank"):
        return None
    location, scale, elbo = np.array([best_logit_normal(a, b) for a, b in zip(exact.a, exact.b, strict=True)]).T
    spread = {"scale": scale} if family == "mean_field" else {"scale_tril": np.diag(scale)}
    tolerance = 1e-10 + 1e-15 * float(np.sum(exact.a + exact.b))
    method = "quadrature (trapezoid, 4,001 nodes an arm)"
    return Best(exact.log_evidence + float(elbo.sum()), tolerance, method, {"location": location} | spread)
