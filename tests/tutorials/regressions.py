"""What is true of the pages' regressions: Gaussian given sigma, a lattice, or importance sampling."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special, stats

from models.linear.data import rugged
from models.logistic.data import LogisticData, separation
from models.logistic.exact import LogJoint
from models.logits import ImportancePosterior
from tests.tutorials.truths import Truth, mixture, on_grid

__all__ = ["Regression", "breast_cancer", "german", "line", "ordinal", "rugged_regression", "table", "waffles"]

HERE = Path(__file__).parent


class Regression:
    """targets ~ N(features w, sigma^2 + noise^2), w_j ~ N(0, prior_sds_j^2): Gaussian given sigma, nodes in log sigma.

    Attributes:
        sigma, weights: Nodes and their posterior weights, shape (nodes,).
        means, covariances: Of w given sigma, shapes (nodes, d) and (nodes, d, d).
    """

    def __init__(self, features: np.ndarray, targets: np.ndarray, prior_sds: Any, prior: Any, noise: Any = 0.0) -> None:
        self.features, self.targets = features, targets
        self.noise = noise + np.zeros_like(targets)
        self.sigma = np.exp(np.linspace(np.log(1e-3), np.log(9.999), 1001))
        self.variances = self.sigma[:, None] ** 2 + self.noise**2
        scaled = features / self.variances[..., None]
        precisions = np.einsum("kni,nj->kij", scaled, features) + np.diag(1 / np.asarray(prior_sds) ** 2)
        self.covariances = np.linalg.inv(precisions)
        projected = np.einsum("kni,n->ki", scaled, targets)
        self.means = np.einsum("kij,kj->ki", self.covariances, projected)
        quadratic = np.sum(targets**2 / self.variances, axis=1) - np.sum(projected * self.means, axis=1)
        log_dets = np.log(self.variances).sum(axis=1) + np.linalg.slogdet(precisions)[1]
        self.weights = on_grid(-0.5 * (log_dets + quadratic) + prior.logpdf(self.sigma) + np.log(self.sigma))

    def truths(self, *names: str) -> dict[str, Truth]:
        """The coefficients by these names, sigma, and the latent targets ``divorce_rate[i]`` behind measured ones."""
        known = {"sigma": mixture(self.weights, self.sigma), "log sigma": mixture(self.weights, np.log(self.sigma))}
        for j, name in enumerate(names):
            known[name] = mixture(self.weights, self.means[:, j], self.covariances[:, j, j])
        if not self.noise.any():
            return known
        lines = self.means @ self.features.T
        spread = np.einsum("ni,kij,nj->kn", self.features, self.covariances, self.features)
        trust = self.sigma[:, None] ** 2 / self.variances  # in the measured value
        for i, target in enumerate(self.targets):
            w = trust[:, i]
            values = w * target + (1 - w) * lines[:, i]
            within = w * self.noise[i] ** 2 + (1 - w) ** 2 * spread[:, i]
            known[f"divorce_rate[{i}]"] = mixture(self.weights, values, within)
        return known

    def log_predictive(self) -> Truth:
        """sum_i log p(y_i | y), and at most the sd of one draw's part in its estimate by the mean of p(y_i | draw)."""
        lines = self.means @ self.features.T
        spread = np.einsum("ni,kij,nj->kn", self.features, self.covariances, self.features)
        first = self.weights @ stats.norm.pdf(self.targets, lines, np.sqrt(spread + self.variances))
        squares = stats.norm.pdf(self.targets, lines, np.sqrt(spread + self.variances / 2))
        second = self.weights @ (squares / np.sqrt(4 * np.pi * self.variances))
        return Truth(float(np.log(first).sum()), float(np.sqrt(second / first**2 - 1).sum()))


def table(name: str) -> np.ndarray:
    """The columns of a CSV file beside this module, shape (columns, rows)."""
    return np.loadtxt(HERE / name, delimiter=",", skiprows=1).T


def waffles(*columns: str, measured: bool = False) -> dict[str, Truth]:
    """Divorces by marriages ("bM") and by age at marriage ("bA"), standardised as on the page.

    With ``measured`` the standard error of divorces stands beside sigma; the page divides it by the sd with n, the
    divorces themselves by that with n - 1.
    """
    marriages, age, divorces, error = table("waffles.csv")
    standard = {name: (x - x.mean()) / x.std(ddof=1) for name, x in (("bM", marriages), ("bA", age), ("y", divorces))}
    features = np.stack([np.ones_like(age), *(standard[name] for name in columns)], axis=1)
    noise = error / divorces.std() if measured else 0.0
    regression = Regression(features, standard["y"], [0.2, *(0.5 for _ in columns)], stats.expon(), noise)
    truths = regression.truths("a", *columns)
    return truths if measured else truths | {"log predictive density": regression.log_predictive()}


@cache
def rugged_regression() -> Mapping[str, Truth]:
    """Log GDP by ruggedness under the priors of both libraries' tutorials: sigma ~ Uniform(0, 10)."""
    data = rugged()
    features = np.column_stack([np.ones(len(data.targets)), data.inputs])
    prior_sds = [10.0, 1.0, 1.0, 1.0]
    regression = Regression(features, data.targets, prior_sds, stats.uniform(0, 10))
    logit = mixture(regression.weights, special.logit(regression.sigma / 10))
    return regression.truths("a", "bA", "bR", "bAR") | {"logit sigma": logit}


def line() -> dict[str, Truth]:
    """A line through 100 points; b's half-normal prior is a normal's, as b is 36 sds from 0."""
    x, y = table("line.csv")
    regression = Regression(np.column_stack([np.ones_like(x), x]), y, [2.0, 2.0], stats.expon())
    truths = regression.truths("a", "b")
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    return truths | {"log b": mixture(weights / weights.sum(), np.log(truths["b"].mean + truths["b"].sd * nodes))}


def ordinal(prior: str, n_nodes: int = 81) -> dict[str, Truth]:
    """Three ordered classes by one input: slope and two cutpoints on a lattice of n^3 nodes."""
    x, y = table("ordinal.csv")
    b, low, high = np.linspace(-1, 4.5, n_nodes), np.linspace(-3.5, 3, n_nodes), np.linspace(-1, 6.5, n_nodes)
    eta = [b[:, None] * x[y == k] for k in range(3)]
    first = special.log_expit(low[:, None] - eta[0][:, None]).sum(axis=-1)  # (slope, low)
    last = special.log_expit(eta[2][:, None] - high[:, None]).sum(axis=-1)  # (slope, high)
    gap = high - low[:, None]
    log_density = first[:, :, None] + last[:, None, :] + stats.norm.logpdf(b, 0, 5)[:, None, None]
    for e in eta[1].T:
        between = special.expit(high - e[:, None])[:, None, :] - special.expit(low - e[:, None])[:, :, None]
        log_density += np.log(np.maximum(between, 1e-300))
    weights = on_grid(np.where(gap > 0, log_density + log_prior(prior, low[:, None], high, gap), -np.inf))
    plane = weights.sum(axis=0)
    of_low, of_high = plane.sum(axis=1), plane.sum(axis=0)
    middle = special.expit(high) - special.expit(low[:, None])
    return {
        "b_X_eta": mixture(weights.sum(axis=(1, 2)), b),
        "c_y[0]": mixture(of_low, low),
        "c_y[1]": mixture(of_high, high),
        "c_y_base[0]": mixture(of_low, special.expit(low)),
        "c_y_base[1]": mixture(plane.ravel(), middle.ravel()),
        "c_y_base[2]": mixture(of_high, special.expit(-high)),
    }


def log_prior(prior: str, low: np.ndarray, high: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """Of two cutpoints, up to a constant: flat, normal, or induced by a transform."""
    if prior == "flat":
        return np.zeros_like(gap)
    if prior == "normal":
        return -0.5 * (low**2 + high**2)
    if prior == "ordered":  # low and log gap are standard normal
        log_gap = np.log(np.maximum(gap, 1e-300))
        return -0.5 * (low**2 + log_gap**2) - log_gap
    shares = special.expit(low), np.maximum(special.expit(high) - special.expit(low), 1e-300), special.expit(-high)
    slopes = special.log_expit(low) + special.log_expit(-low) + special.log_expit(high) + special.log_expit(-high)
    return 9 * sum(np.log(share) for share in shares) + slopes  # Dirichlet(10, 10, 10)


def german() -> dict[str, Truth]:
    """Bad loans by 24 standardised numbers, all coefficients ~ N(0, 1)."""
    exact = ImportancePosterior(LogJoint(LogisticData("german", prior_sd=1.0)))
    error = (exact.share * len(exact.drawn)) ** -0.5
    means, sds = exact.location, np.sqrt(np.diag(exact.covariance))
    names = ["intercept", *(f"weights[{j}]" for j in range(len(means) - 1))]
    return {name: Truth(m, s, error=s * error) for name, m, s in zip(names, means, sds, strict=True)}


def breast_cancer() -> dict[str, Truth]:
    """How many posteriors a logistic regression without a prior has: none where a plane separates the classes, as the
    likelihood does not fall along its normal."""
    separable = separation(LogisticData("breast_cancer").design) is not None
    return {"posteriors": Truth(0.0 if separable else 1.0)}
