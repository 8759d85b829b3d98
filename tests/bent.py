"""The funnel and the banana of tests/user_models, in closed form."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from scipy import optimize, stats

from models.contract import Exact

__all__ = ["DATA", "EXACT", "Banana", "Funnel", "model"]

DATA = {"funnel": {"sd": np.array(3.0)}, "banana": {"curvature": np.array(0.03)}}


def model(library: str, name: str) -> Any:
    return getattr(import_module(f"tests.user_models.bent_{library}"), name)


class Mixed:
    """A normal with a random mean and scale, functions of a standard normal: by Gauss and Hermite's rule."""

    def __init__(self, mean: Any, scale: Any, sd: float) -> None:
        points, weights = np.polynomial.hermite_e.hermegauss(180)
        self.parts, self.weights, self.sd = stats.norm(mean(points), scale(points)), weights / weights.sum(), sd

    def mean(self) -> float:
        return 0.0

    def std(self) -> float:
        return self.sd

    def pdf(self, x: np.ndarray) -> np.ndarray:
        return self.parts.pdf(np.asarray(x)[..., None]) @ self.weights

    def ppf(self, q: float) -> float:
        return float(optimize.brentq(lambda x: self.parts.cdf(x) @ self.weights - q, -1e6, 1e6, xtol=1e-10))


class Funnel(Exact):
    method, tolerance, log_evidence, width = "closed form", 1e-12, 0.0, 3.0

    def draw(self, rng, count):
        v = self.width * rng.standard_normal(count)
        return {"v": v, "x": np.exp(v / 2)[:, None] * rng.standard_normal((count, 9))}

    def log_posterior(self, latents):
        inner = stats.norm.logpdf(latents["x"], 0, np.exp(latents["v"] / 2)[:, None]).sum(axis=1)
        return stats.norm.logpdf(latents["v"], 0, self.width) + inner

    def marginal(self, site, index=()):
        if site == "v":
            return stats.norm(0, self.width)
        return Mixed(np.zeros_like, lambda e: np.exp(self.width * e / 2), np.exp(self.width**2 / 4))


class Banana(Exact):
    method, tolerance, log_evidence, curvature = "closed form", 1e-12, 0.0, 0.03

    def middle(self, x):
        return self.curvature * (x**2 - 100)

    def draw(self, rng, count):
        x = 10 * rng.standard_normal(count)
        return {"x": x, "y": self.middle(x) + rng.standard_normal(count)}

    def log_posterior(self, latents):
        return stats.norm.logpdf(latents["x"], 0, 10) + stats.norm.logpdf(latents["y"], self.middle(latents["x"]))

    def marginal(self, site, index=()):
        if site == "x":
            return stats.norm(0, 10)
        return Mixed(lambda e: self.middle(10 * e), np.ones_like, np.sqrt(2e4 * self.curvature**2 + 1))


EXACT = {"funnel": Funnel(), "banana": Banana()}
