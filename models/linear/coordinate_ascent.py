"""Coordinate ascent on the regression's mean field, in closed form, one coefficient after the other.

With all other factors held, the best q(c_j) has the precision K Lambda_jj and the mean of the regression of what the
other coefficients leave, K = E[1 / variance]; under the conjugate prior the best q(variance) is
InverseGamma(a + (n + d) / 2, b + E[sum of squares] / 2) (Bishop 2006, sections 10.1.2 and 10.3). The means take
Gauss-Seidel steps, which are slow where columns are collinear: the error shrinks by the spectral radius of the step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
from scipy import special, stats

from models.contract import CoordinateAscent, Latents
from models.designs import coefficients, sites
from models.linear.data import LinearData
from models.linear.exact import LOG_2PI

State = Mapping[str, np.ndarray]


class Updates:
    """The updates of one data set; ``a`` and ``b`` are those of q(variance), where that is unknown.

    The prior is a regression too: of zeros on the coefficients over their prior sds.
    """

    def __init__(self, data: LinearData) -> None:
        self.data, self.known = data, data.prior == "known"
        noise = data.noise if self.known else 1.0
        self.n_rows, self.d = len(data.design.targets), len(data.prior_sds)
        self.design = np.concatenate([data.design.with_ones / noise, np.diag(1 / data.prior_sds)])
        self.targets = np.concatenate([data.design.targets / noise, np.zeros(self.d)])
        self.precision = np.sum(self.design**2, axis=0)
        self.a = math.inf if self.known else data.shape + (self.n_rows + self.d) / 2

    def start(self) -> State:
        start = {"mean": np.zeros(self.d), "variance": self.data.prior_sds**2}
        return start if self.known else {**start, "b": np.array(self.a)}

    def expected(self, state: State) -> float:
        """K: the mean of one over the variance, 1 where the noise is known."""
        return 1.0 if self.known else self.a / float(state["b"])

    def sweep(self, state: State) -> Iterator[dict[str, np.ndarray]]:
        mean, left = state["mean"].copy(), self.targets - self.design @ state["mean"]
        precision = self.expected(state) * self.precision
        variance = state["variance"].copy()
        fixed = {} if self.known else {"b": state["b"]}
        for j in range(self.d):
            step = self.design[:, j] @ left / self.precision[j]
            left -= step * self.design[:, j]
            mean[j], variance[j] = mean[j] + step, 1 / precision[j]
            if self.d <= 100 or j + 1 == self.d:
                yield {"mean": mean.copy(), "variance": variance.copy(), **fixed}
        if not self.known:
            yield {
                "mean": mean,
                "variance": variance,
                "b": np.array(self.data.rate + 0.5 * self.squares(mean, variance)),
            }

    def squares(self, mean: np.ndarray, variance: np.ndarray) -> float:
        """The expected sum of squares, the prior's included."""
        return float(np.sum((self.targets - self.design @ mean) ** 2) + self.precision @ variance)

    def elbo(self, state: State) -> float:
        entropy = 0.5 * (self.d * (1 + LOG_2PI) + np.log(state["variance"]).sum())
        constant = -0.5 * (self.n_rows + self.d) * LOG_2PI - np.log(self.data.prior_sds).sum()
        squares = self.squares(state["mean"], state["variance"])
        if self.known:
            return float(constant - self.n_rows * math.log(self.data.noise) - 0.5 * squares + entropy)
        b, data = float(state["b"]), self.data
        prior = data.shape * math.log(data.rate) - special.gammaln(data.shape)
        noise = special.gammaln(self.a) - self.a * math.log(b) + self.a - (data.rate + 0.5 * squares) * self.a / b
        return float(constant + entropy + prior + noise)

    def draw(self, state: State, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        values = sites(state["mean"] + np.sqrt(state["variance"]) * rng.standard_normal((count, self.d)))
        return values if self.known else {"variance": float(state["b"]) / rng.gamma(self.a, size=count), **values}

    def log_guide(self, state: State, latents: Latents) -> np.ndarray:
        logs = stats.norm.logpdf(coefficients(latents), state["mean"], np.sqrt(state["variance"])).sum(-1)
        if self.known:
            return logs
        return logs + stats.invgamma.logpdf(latents["variance"], self.a, scale=float(state["b"]))


def coordinate_ascent(data: LinearData) -> dict[str, CoordinateAscent]:
    """The updates where they are closed: the noise is known or its prior conjugate."""
    if data.prior not in ("known", "conjugate"):
        return {}
    way = Updates(data)
    family = "mean_field" if way.known else "factorised"
    steps = way.sweep, way.elbo, way.draw, way.log_guide
    return {"coordinate_ascent": CoordinateAscent("coordinate ascent", way.start(), *steps, family)}
