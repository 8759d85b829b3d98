"""Dirichlet distributions, over the last axis of any shape."""

import numpy as np
from scipy import special


def log_beta(a: np.ndarray) -> np.ndarray:
    """The log of B(a) = prod Gamma(a_i) / Gamma(sum a_i)."""
    return special.gammaln(a).sum(-1) - special.gammaln(a.sum(-1))


def log_density(x: np.ndarray, a: np.ndarray) -> np.ndarray:
    """The log density of Dirichlet(a) at x."""
    return special.xlogy(a - 1, x).sum(-1) - log_beta(a)


def expected_log(a: np.ndarray) -> np.ndarray:
    """E log x of x ~ Dirichlet(a)."""
    return special.digamma(a) - special.digamma(a.sum(-1, keepdims=True))


def divergence(a: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """KL(Dirichlet(a), Dirichlet(prior)) in nats."""
    return log_beta(prior) - log_beta(a) + ((a - prior) * expected_log(a)).sum(-1)


def draw(a: np.ndarray, rng: np.random.Generator, count: int | None = None) -> np.ndarray:
    """Draws from Dirichlet(a) of its shape, after an axis of ``count`` where that is given."""
    gammas = np.maximum(rng.standard_gamma(a, None if count is None else (count, *a.shape)), 1e-300)
    return gammas / gammas.sum(-1, keepdims=True)
