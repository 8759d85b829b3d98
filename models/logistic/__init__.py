r"""Logistic regression: the mode is not the mean, and a bound is not the evidence.

    intercept, weights ~ N(0, prior_sd),  targets ~ Bernoulli(logits = inputs weights + intercept)

The log joint is concave and its posterior skewed: where probabilities near 0 or 1 are extrapolated, it leans away from
its mode. A Gaussian at the mode (Laplace), Jaakkola and Jordan's by closed updates, and the best Gaussian are three
answers.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import special

from models.contract import Literature, Model, Simulated
from models.designs import coefficients, sites
from models.logistic.data import LogisticData
from models.logistic.exact import truth
from models.logistic.gaussians import best_member, coordinate_ascent
from models.logistic.literature import published
from models.logistic.pictures import PICTURES

__all__ = ["MODEL", "LogisticData"]


def simulate(data: LogisticData, rng: np.random.Generator, count: int) -> Simulated:
    """Coefficients from the prior, and classes of each at the same inputs."""
    latents = sites(data.prior_sd * rng.standard_normal((count, 1 + len(data.design.columns))))
    risks = special.expit(coefficients(latents) @ data.design.with_ones.T)
    targets = (rng.random(risks.shape) < risks).astype(float)
    return Simulated(latents, tuple(data.with_derived(design=replace(data.design, targets=row)) for row in targets))


MODEL = Model(
    name="logistic",
    title="logistic regression: the probability of one of two classes",
    data=LogisticData,
    guides=("mean_field", "full_rank"),
    truth=truth,
    test_cases=(LogisticData(prior_sd=0.5), LogisticData("german"), LogisticData("breast_cancer")),
    simulate=simulate,
    best_member=best_member,
    coordinate_ascent=coordinate_ascent,
    literature=Literature(published=published),
    pictures=PICTURES,
)
