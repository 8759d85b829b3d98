"""The coin's posterior and evidence in closed form, and the best Gaussian on the logit by quadrature.

The posterior is Beta(a, b) with a = alpha + heads and b = beta + tosses - heads; the evidence is beta-binomial
(Gelman et al. 2013, Bayesian Data Analysis, section 2.4).
"""

from typing import Any

import numpy as np
from scipy import optimize, stats

from models.coin.data import Coin
from models.contract import Best, Exact, Latents, Marginal
from models.logit_normal import best_logit_normal
from models.marginals import draw_beta


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
        return {"theta": draw_beta(rng, self.a, self.b, count)}

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
