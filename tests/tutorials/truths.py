"""The posteriors of the pages: closed forms, and quadrature over the one to three parameters that have none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special, stats

import models
from models.linear.data import rugged
from models.logit_normal import best_logit_normal
from models.mixture.data import MixtureData
from models.mixture.literature import stationary
from tests.user_models.eight_schools_numpyro import data as schools_data

__all__ = [
    "Regression", "Truth", "bernoulli", "coin", "gaussian_mixture", "line", "log_joints", "memory", "mixture",
    "mixture_mode", "ordinal", "rugged_regression", "schools", "table", "waffles", "weight",
]  # fmt: skip

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Truth:
    """A quantity's posterior.

    Attributes:
        mean: Its mean, or the number itself where it is no random quantity.
        sd: Its sd; 0 where it is none.
        kurtosis: E[(x - mean)^4] / sd^4, on which the error of an estimated sd depends; 3 for a Gaussian.
        error: Of the mean, where it was itself computed from draws; 0 for closed forms and quadrature.
    """

    mean: float
    sd: float = 0.0
    kurtosis: float = 3.0
    error: float = 0.0


def weight() -> dict[str, Truth]:
    """A weight guessed as N(8.5, 1) and read as 9.5 with sd 0.75; z ~ N(1, 5), measured as 8 and 9 with variance 2."""
    return {
        "weight": Truth((8.5 + 9.5 / 0.75**2) / (1 + 1 / 0.75**2), (1 + 1 / 0.75**2) ** -0.5),
        "z": Truth((1 / 5 + 8 / 2 + 9 / 2) / (1 / 5 + 2 / 2), (1 / 5 + 2 / 2) ** -0.5),
    }


def mixture(weights: np.ndarray, means: np.ndarray, variances: np.ndarray | float = 0.0) -> Truth:
    """The moments of a mixture of Gaussians, all of shape (components,)."""
    mean = float(weights @ means)
    away, v = means - mean, variances + np.zeros_like(means)
    second = float(weights @ (away**2 + v))
    fourth = float(weights @ (away**4 + 6 * away**2 * v + 3 * v**2))
    return Truth(mean, second**0.5, fourth / second**2 if second else 3.0)


def on_grid(log_density: np.ndarray) -> np.ndarray:
    """Weights that sum to 1 of equally spaced nodes, of the log density's shape."""
    weights = np.exp(log_density - log_density.max())
    return weights / weights.sum()


class Schools:
    """Eight schools given tau, on nodes in log tau (the trapezoid rule; what lies beyond the ends has no weight).

    Attributes:
        tau, weights: Nodes and their posterior weights, shape (nodes,).
        mu, mu_variance: Of mu given tau, shape (nodes,).
        shrinkage: sigma_j^2 / (sigma_j^2 + tau^2), shape (nodes, 8).
    """

    def __init__(self, mu_sd: float, tau_prior: Any, n_nodes: int = 4001) -> None:
        self.y, self.variance = schools_data["y"], schools_data["sigma"] ** 2
        self.tau = np.exp(np.linspace(np.log(1e-8), np.log(1e7), n_nodes))
        spread = self.variance + self.tau[:, None] ** 2
        self.shrinkage = self.variance / spread
        self.mu_variance = 1 / (np.sum(1 / spread, axis=1) + mu_sd**-2)
        self.mu = self.mu_variance * np.sum(self.y / spread, axis=1)
        quadratic = np.sum(self.y**2 / spread, axis=1) - self.mu**2 / self.mu_variance
        log_density = -0.5 * (np.sum(np.log(spread), axis=1) + quadratic - np.log(self.mu_variance))
        self.weights = on_grid(log_density + tau_prior.logpdf(self.tau) + np.log(self.tau))


def schools(mu_sd: float = 5.0, tau_prior: Any = None) -> dict[str, Truth]:
    """Every quantity that a page prints; tau ~ half-Cauchy(5) by default."""
    s = Schools(mu_sd, tau_prior or stats.halfcauchy(scale=5.0))
    truths = {"mu": mixture(s.weights, s.mu, s.mu_variance), "tau": mixture(s.weights, s.tau)}
    truths["log tau"] = mixture(s.weights, np.log(s.tau))
    truths["new school"] = mixture(s.weights, s.mu, s.mu_variance + s.tau**2)
    for j, y in enumerate(s.y):
        b = s.shrinkage[:, j]
        within = (1 - b) * s.variance[j]  # of theta given mu and tau
        truths[f"theta[{j}]"] = mixture(s.weights, (1 - b) * y + b * s.mu, within + b**2 * s.mu_variance)
        slope = (1 - b) / s.tau
        base = mixture(s.weights, slope * (y - s.mu), b + slope**2 * s.mu_variance)
        truths[f"theta_base[{j}]"] = truths[f"theta_decentered[{j}]"] = base
    return truths


@cache
def log_joints(n_draws: int = 400_000) -> Mapping[str, Truth]:
    """E[log joint] of the two forms of eight schools on their unconstrained spaces, from independent draws."""
    s, rng = Schools(5.0, stats.halfcauchy(scale=5.0)), np.random.default_rng(0)
    k = rng.choice(len(s.tau), n_draws, p=s.weights)
    mu = rng.normal(s.mu[k], np.sqrt(s.mu_variance[k]))
    b, tau = s.shrinkage[k], s.tau[k]
    theta = rng.normal((1 - b) * s.y + b * mu[:, None], np.sqrt((1 - b) * s.variance))
    prior = stats.norm.logpdf(mu, 0, 5) + stats.halfcauchy.logpdf(tau, scale=5) + np.log(tau)
    prior += stats.norm.logpdf(theta, mu[:, None], tau[:, None]).sum(axis=1)
    centred = prior + stats.norm.logpdf(s.y, theta, np.sqrt(s.variance)).sum(axis=1)
    values = {"centred": centred, "non-centred": centred + 8 * np.log(tau)}
    return {
        name: Truth(float(v.mean()), float(v.std()), float(stats.kurtosis(v)) + 3, float(v.std()) / n_draws**0.5)
        for name, v in values.items()
    }


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
    b, rng = truths["b"], np.random.default_rng(0)
    logs = np.log(rng.normal(b.mean, b.sd, 1_000_000))
    return truths | {"log b": Truth(float(logs.mean()), float(logs.std()), error=float(logs.std()) / 1e3)}


def coin() -> dict[str, Truth]:
    """6 heads and 4 tails under Beta(10, 10): Beta(16, 14)."""
    posterior = stats.beta(16, 14)
    fairness = Truth(posterior.mean(), posterior.std(), float(posterior.stats("k")) + 3)
    mode = Truth((16 - 1) / (16 + 14 - 2))
    return {"fairness": fairness, "mode": mode, "formula of the mode": mode, "likeliest": Truth(6 / 10)}


def bernoulli() -> dict[str, Truth]:
    """2 successes in 10 trials under a uniform prior, Beta(3, 9): theta, its log density on the logit, and the ELBO of
    the best Gaussian there, of which one draw has the sd that is given."""
    posterior = stats.beta(3, 9)
    logit = np.linspace(-20, 10, 20_001)
    log_density = 3 * special.log_expit(logit) + 9 * special.log_expit(-logit)
    weights = on_grid(log_density)
    location, spread, _ = best_logit_normal(3.0, 9.0)
    nodes, gauss = np.polynomial.hermite_e.hermegauss(80)
    x = location + spread * nodes
    ratio = 3 * special.log_expit(x) + 9 * special.log_expit(-x) - stats.norm.logpdf(x, location, spread)
    return {
        "theta": Truth(posterior.mean(), posterior.std(), float(posterior.stats("k")) + 3),
        "lp": mixture(weights, log_density),
        "mode": Truth(0.2),
        "lp at the mode": Truth(2 * np.log(0.2) + 8 * np.log(0.8)),
        "lp at the logit's mode": Truth(3 * np.log(0.25) + 9 * np.log(0.75)),
        "ELBO": mixture(gauss / gauss.sum(), ratio),
        "log evidence": Truth(float(special.betaln(3, 9))),
    }


def memory() -> dict[str, Truth]:
    """The length theta ~ N(7, 2^2) that somebody remembers, after three sequences; and after each of ten rounds."""
    theta = np.linspace(-9, 23, 4001)

    def posterior(lengths: tuple[int, ...], remembered: tuple[int, ...]) -> Truth:
        signs = 2.0 * np.array(remembered) - 1
        seen = special.log_expit(signs * (theta[:, None] - np.array(lengths))).sum(axis=1)
        return mixture(on_grid(stats.norm.logpdf(theta, 7, 2) + seen), theta)

    shown = (7, 6, 5, 6, 5, 6, 6, 5, 5, 6)
    known = tuple(int(length < 6) for length in shown)
    rounds = {f"round {n}": posterior(shown[:n], known[:n]) for n in range(1, 11)}
    return rounds | {"theta": posterior((5, 7, 9), (1, 1, 0))}


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


def gaussian_mixture() -> dict[str, Truth]:
    """The tutorials' two Gaussians for five values: symmetric in its labels."""
    exact = models.load("mixture").exact(MixtureData())
    mean, sd = exact.mean(), exact.sd()
    truths = {f"{site}[{k}]": Truth(mean[site][k], sd[site][k]) for site in ("locations", "weights") for k in (0, 1)}
    return truths | {"scale": Truth(float(mean["scale"]), float(sd["scale"]))}


def mixture_mode() -> dict[str, Truth]:
    """The stationary point of the same posterior's density that the two clusters lead to."""
    weights, locations, scale = stationary(MixtureData())
    both = {f"weights[{k}]": Truth(weights[k]) for k in (0, 1)} | {
        f"locations[{k}]": Truth(locations[k]) for k in (0, 1)
    }
    return both | {"scale": Truth(scale)}
