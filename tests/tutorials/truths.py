"""What is true of the pages' posteriors, but for regressions: closed forms, and quadrature over one parameter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy import special, stats

import models
from models.logit_normal import best_logit_normal
from models.mixture.data import MixtureData
from models.mixture.literature import stationary
from tests.user_models.eight_schools_numpyro import data as schools_data

__all__ = [
    "Truth", "bernoulli", "coin", "flat_schools", "gaussian_mixture", "log_joints", "memory", "mixture", "mixture_mode",
    "on_grid", "schools", "weight",
]  # fmt: skip


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


class Flat:
    """A density that is 1 everywhere."""

    logpdf = staticmethod(np.zeros_like)


def flat_schools() -> dict[str, Truth]:
    """Under a flat prior of mu and of tau; the posterior's tail in tau falls as tau^-7."""
    return schools(np.inf, Flat)


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
