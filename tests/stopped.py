"""Five models whose best guide is known: the data, and by how many nats a guide is short of it, in closed form or by
one-dimensional quadrature.

The models, their guides and the loop that stops them stand in ``user_models/stopped_numpyro.py`` and its twin. Every
guide is Gaussian in the unconstrained latents, with location (d,) and lower triangular scale (d, d).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from scipy import optimize, special

__all__ = ["CASES", "DATA", "best", "short_of"]

_rng = np.random.default_rng(4)
_x = _rng.normal(size=(12, 2)) @ np.array([[1.0, 0.7], [0.0, 0.7]])
_dose = np.linspace(-1.5, 2.0, 20)

DATA: dict[str, dict[str, np.ndarray]] = {
    "line": {"x": _x, "y": _x @ [1.0, -0.5] + 0.5 * _rng.normal(size=12)},
    "walk": {"y": np.cumsum(_rng.normal(size=3)) + 0.5 * _rng.normal(size=3)},
    "counts": {"y": np.array([3.0, 1, 4, 1, 5, 9, 2, 6])},
    "measured": {"y": 2.0 + 1.5 * _rng.normal(size=15)},
    "dose": {"x": _dose, "y": (_rng.uniform(size=20) < special.expit(0.5 + 1.5 * _dose)).astype(float)},
}
"""The data of each model, as its arguments."""

CASES = tuple(DATA)

_NODES = np.linspace(-10, 10, 401)
_WEIGHTS = np.exp(-0.5 * _NODES**2) / np.exp(-0.5 * _NODES**2).sum()


def short_of(case: str, loc: np.ndarray, tril: np.ndarray) -> float:
    """ELBO(q*) - ELBO(q) in nats."""
    return _ELBOS[case](*best(case)) - _ELBOS[case](loc, tril)


@cache
def best(case: str) -> tuple[np.ndarray, np.ndarray]:
    """Location and scale of the best member q* of the guide's family."""
    if case in _GAUSSIAN:
        mean, precision = _GAUSSIAN[case]()
        if case == "walk":  # full rank: the posterior itself
            return mean, np.linalg.cholesky(np.linalg.inv(precision))
        return mean, np.diag(1 / np.sqrt(np.diag(precision)))
    if case == "counts":  # where both derivatives of the ELBO vanish
        shape, rate = _gamma()
        return np.array([np.log(shape / rate) - 0.5 / shape]), np.array([[shape**-0.5]])

    def loss(free: np.ndarray) -> float:
        return -_ELBOS[case](free[:2], np.diag(np.exp(free[2:])))

    free = np.array([1.0, 1.0, -1.0, -1.0])
    with np.errstate(over="ignore", invalid="ignore"):  # where the first steps are too long
        for _ in range(2):  # from where the first ended, so that its curvature is forgotten
            free = optimize.minimize(loss, free, method="BFGS", jac="3-point", options={"gtol": 1e-9}).x
    return free[:2], np.diag(np.exp(free[2:]))


def _line() -> tuple[np.ndarray, np.ndarray]:
    """Posterior mean and precision of the coefficients: standard normal priors, noise 0.5."""
    x, y = DATA["line"].values()
    precision = np.eye(2) + 4 * x.T @ x
    return np.linalg.solve(precision, 4 * x.T @ y), precision


def _walk() -> tuple[np.ndarray, np.ndarray]:
    """Posterior mean and precision of the steps: standard normal ones, whose sums are seen with noise 0.5."""
    sums, y = np.tril(np.ones((3, 3))), DATA["walk"]["y"]
    precision = np.eye(3) + 4 * sums.T @ sums
    return np.linalg.solve(precision, 4 * sums.T @ y), precision


_GAUSSIAN = {"line": _line, "walk": _walk}


def _of_gaussian(case: str, loc: np.ndarray, tril: np.ndarray) -> float:
    """-KL(q, posterior), the ELBO up to a constant."""
    mean, precision = _GAUSSIAN[case]()
    quadratic = (loc - mean) @ precision @ (loc - mean) + np.trace(precision @ tril @ tril.T)
    return float(-0.5 * quadratic + np.log(np.abs(np.diag(tril))).sum())


def _gamma() -> tuple[float, float]:
    """Shape and rate of the Gamma posterior of the rate."""
    y = DATA["counts"]["y"]
    return 2 + y.sum(), 1.0 + len(y)


def _of_counts(loc: np.ndarray, tril: np.ndarray) -> float:
    """E[shape log(rate) - b rate] under a log-normal, with its log's entropy; up to a constant."""
    (shape, rate), mean, sd = _gamma(), loc[0], abs(tril[0, 0])
    return float(shape * mean - rate * np.exp(mean + sd**2 / 2) + np.log(sd))


def _of_measured(loc: np.ndarray, tril: np.ndarray) -> float:
    """Normal data whose mean is Normal(0, 5) and log scale Normal(0, 1); up to a constant."""
    y, (mean, log_scale), (sd, spread) = DATA["measured"]["y"], loc, np.diag(tril)
    squares = np.sum((y - mean) ** 2) + len(y) * sd**2
    fit = -len(y) * log_scale - 0.5 * np.exp(-2 * log_scale + 2 * spread**2) * squares
    prior = -0.5 * (mean**2 + sd**2) / 25 - 0.5 * (log_scale**2 + spread**2)
    return float(fit + prior + np.log(np.abs([sd, spread])).sum())


def _of_dose(loc: np.ndarray, tril: np.ndarray) -> float:
    """Logistic regression under Normal(0, 2) priors: each row's logit is one normal number; up to a constant."""
    x, y = DATA["dose"].values()
    rows = np.stack([np.ones_like(x), x], axis=1) * (2 * y - 1)[:, None]
    logits = (rows @ loc)[:, None] + np.linalg.norm(rows @ tril, axis=1)[:, None] * _NODES
    fit = np.sum(special.log_expit(logits) @ _WEIGHTS)
    prior = -0.5 * (loc @ loc + np.sum(tril**2)) / 4
    return float(fit + prior + np.log(np.abs(np.diag(tril))).sum())


_ELBOS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "line": lambda loc, tril: _of_gaussian("line", loc, tril),
    "walk": lambda loc, tril: _of_gaussian("walk", loc, tril),
    "counts": _of_counts,
    "measured": _of_measured,
    "dose": _of_dose,
}
