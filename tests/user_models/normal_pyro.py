"""The mean of normal observations, whose posterior its user knows."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
from scipy import stats

data = {"values": np.array([1.0, 2.5, 0.5, 1.5])}


def model(values):
    mean = pyro.sample("mean", dist.Normal(0.0, 10.0))
    with pyro.plate("points", len(values)):
        pyro.sample("values", dist.Normal(mean, 1.0), obs=values)


class exact:
    """Normal, by conjugacy."""

    method, tolerance = "closed form", 1e-12

    def __init__(self, values):
        self.values = values
        precision = len(values) + 0.01
        self.posterior = stats.norm(values.sum() / precision, 1 / math.sqrt(precision))
        covariance = np.eye(len(values)) + 100.0
        self.log_evidence = float(stats.multivariate_normal(np.zeros(len(values)), covariance).logpdf(values))

    def draw(self, rng, count):
        return {"mean": self.posterior.rvs(count, random_state=rng)}

    def log_prior(self, latents):
        return stats.norm(0, 10).logpdf(latents["mean"])

    def log_likelihood(self, latents):
        return stats.norm(latents["mean"][:, None], 1).logpdf(self.values).sum(axis=1)

    def log_posterior(self, latents):
        return self.posterior.logpdf(latents["mean"])

    def mean(self):
        return {"mean": np.asarray(self.posterior.mean())}

    def sd(self):
        return {"mean": np.asarray(self.posterior.std())}

    def quantile(self, probability):
        return {"mean": np.asarray(self.posterior.ppf(probability))}

    def density(self, site, index, grid):
        return self.posterior.pdf(grid)

    def correlations(self):
        return {}
