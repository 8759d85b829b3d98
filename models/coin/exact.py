"""The coin's posterior and evidence in closed form, and the best Gaussian on the logit by quadrature.

The posterior is Beta(a, b) with a = alpha + heads and b = beta + tosses - heads; the evidence is beta-binomial
(Gelman et al. 2013, Bayesian Data Analysis, section 2.4).
"""

from typing import Any

import numpy as np
from scipy import optimize, special, stats

from models.coin.data import Coin
from models.contract import Best, Exact, Latents, Marginal

__all__ = ["BetaPosterior", "best_member"]


class BetaPosterior(Exact):
    """theta | heads ~ Beta(a, b)."""

    method = "closed form"
    tolerance = 0.0

    def __init__(self, data: Coin) -> None:
        self.a = data.alpha + data.heads
        self.b = data.beta + data.tosses - data.heads
        self.posterior = stats.beta(self.a, self.b)
        self.log_evidence = float(
            stats.betabinom.logpmf(data.heads, data.tosses, data.alpha, data.beta) if data.tosses else 0.0
        )

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        theta = rng.beta(self.a, self.b, size=count)
        edge = np.finfo(float)  # a Beta with a parameter far below 1 rounds to 0 or 1, where its density is infinite
        return {"theta": np.clip(theta, edge.tiny, 1 - edge.epsneg)}

    def log_posterior(self, latents: Latents) -> np.ndarray:
        return self.posterior.logpdf(latents["theta"])

    def marginal(self, site: str, index: tuple[int, ...] = ()) -> Marginal:
        return self.posterior

    def mode(self) -> float | None:
        """The density's highest point; None where it has two (a, b < 1) or is flat (a = b = 1)."""
        if self.a > 1 and self.b > 1:
            return float((self.a - 1) / (self.a + self.b - 2))
        if max(self.a, self.b) < 1 or self.a == self.b == 1:
            return None
        return 0.0 if self.a < self.b else 1.0

    def highest_density_interval(self, mass: float = 0.95) -> list[float] | None:
        """The shortest interval that holds ``mass``; None where the density has no single peak."""
        mode = self.mode()
        if mode is None:
            return None
        if mode in (0.0, 1.0):
            tail = 0.0 if mode == 0.0 else 1 - mass
        else:

            def width(lower_tail: float) -> float:
                return float(self.posterior.ppf(lower_tail + mass) - self.posterior.ppf(lower_tail))

            tail = optimize.minimize_scalar(width, bounds=(0, 1 - mass), method="bounded", options={"xatol": 1e-12}).x
        return [float(self.posterior.ppf(tail)), float(self.posterior.ppf(min(tail + mass, 1.0)))]

    def extra_summary(self) -> dict[str, Any]:
        return {
            "posterior": f"Beta({self.a:g}, {self.b:g})",
            "mean": float(self.posterior.mean()),
            "sd": float(self.posterior.std()),
            "variance": float(self.posterior.var()),
            "median": float(self.posterior.median()),
            "mode": self.mode(),
            "95% equal-tailed": [float(self.posterior.ppf(0.025)), float(self.posterior.ppf(0.975))],
            "95% highest density": self.highest_density_interval(),
        }


def best_member(data: Coin, family: str) -> Best | None:
    """The best member of a family: the Gaussian on the logit by quadrature, the Beta in closed form."""
    exact = BetaPosterior(data)
    if family == "conjugate":
        parameters = {"alpha_q": np.asarray(exact.a), "beta_q": np.asarray(exact.b)}
        return Best(exact.log_evidence, 0.0, "closed form: the posterior itself", parameters)
    if family not in ("mean_field", "full_rank", "markov"):
        return None
    location, scale, elbo = best_logit_normal(exact.a, exact.b)
    spread: dict[str, dict[str, np.ndarray]] = {
        "mean_field": {"scale": np.full(1, scale)},
        "full_rank": {"scale_tril": np.full((1, 1), scale)},
        "markov": {"diagonal": np.full(1, 1 / scale), "off_diagonal": np.zeros(0)},
    }
    parameters = {"location": np.full(1, location)} | spread[family]
    # The quadrature gives -KL(q, posterior), so that large log evidences cost no digits.
    tolerance = 1e-10 + 1e-15 * (exact.a + exact.b)
    return Best(exact.log_evidence + elbo, tolerance, "quadrature (trapezoid, 4,001 nodes)", parameters)


def best_logit_normal(a: float, b: float) -> tuple[float, float, float]:
    """The Gaussian on the logit of theta nearest to Beta(a, b) in KL(q, posterior).

    With u = logit(theta), the posterior's density on u is s(u)^a s(-u)^b / B(a, b), s the logistic function, so
    -KL = E_q[a log s(u) + b log s(-u)] - log B(a, b) + log scale + log(2 pi e) / 2. Where its gradient is zero,

        a E_q[s(-u)] = b E_q[s(u)]        and        scale^2 (a + b) E_q[s(u) s(-u)] = 1

    (the second by Stein's lemma). Their logs are solved: they are nearly linear where s is nearly an exponential, and
    so the solution is found for all a and b from 0.01 to 2e9. The trapezoid rule on 24 standard deviations is exact to
    rounding for these entire integrands times a Gaussian.

    Returns:
        location, scale and -KL in nats.
    """
    eps = np.linspace(-12, 12, 4001)
    log_weights = -0.5 * eps**2
    log_weights -= special.logsumexp(log_weights)
    weights = np.exp(log_weights)
    start, start_scale = np.log(a / b), np.sqrt(1 / a + 1 / b)

    def conditions(x: np.ndarray) -> np.ndarray:
        u = start + start_scale * (x[0] + np.exp(x[1]) * eps)
        above, below = log_weights + special.log_expit(u), log_weights + special.log_expit(-u)
        both = special.logsumexp(above + special.log_expit(-u))
        return np.array(
            [
                start + special.logsumexp(below) - special.logsumexp(above),
                2 * (np.log(start_scale) + x[1]) + np.log(a + b) + both,
            ]
        )

    root = optimize.root(conditions, np.zeros(2), method="hybr", tol=1e-13)
    residual = np.abs(conditions(root.x)).max()
    if residual > 1e-9:
        raise ArithmeticError(
            f"the best logit-normal for Beta({a:g}, {b:g}) was not found: it is off by {residual:.1e}"
        )
    location, scale = start + start_scale * root.x[0], start_scale * np.exp(root.x[1])
    u = location + scale * eps
    # Both logarithms relative to those at a / (a + b): at a million tosses the sums would otherwise lose digits.
    ratio = a * (special.log_expit(u) - special.log_expit(start)) + b * (
        special.log_expit(-u) - special.log_expit(-start)
    )
    top = (
        0.5 * np.log(a * (b / (a + b)) / (2 * np.pi)) + beyond_stirling(a + b) - beyond_stirling(a) - beyond_stirling(b)
    )
    return float(location), float(scale), float(top + weights @ ratio + np.log(scale) + 0.5 * np.log(2 * np.pi * np.e))


def beyond_stirling(x: float) -> float:
    """log Gamma(x) - ((x - 1/2) log x - x + log(2 pi) / 2), which is about 1 / (12 x), without cancellation.

    From 10 on its asymptotic series, to rounding (Abramowitz & Stegun 1964, 6.1.41).
    """
    if x < 10:
        return float(special.gammaln(x) - ((x - 0.5) * np.log(x) - x + 0.5 * np.log(2 * np.pi)))
    return float(np.polyval([691 / 360360, -1 / 1188, 1 / 1680, -1 / 1260, 1 / 360, -1 / 12], x**-2.0) / -x)
