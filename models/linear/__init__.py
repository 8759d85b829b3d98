r"""Linear regression: what mean field costs is the variance inflation factor.

    weights ~ N(0, prior_sd),  intercept ~ N(0, intercept_sd),  targets ~ N(inputs weights + intercept, sigma)

The noise sigma is known, or has the conjugate prior, or any other. Where it is known the posterior is a Gaussian with
precision Lambda, and the best factorised Gaussian reports the share 1 / sqrt(Lambda_jj Sigma_jj) of each sd: one over
the root of the variance inflation factor, which says how collinear a column is with the others.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import stats

from models.contract import Exact, Literature, Model, Simulated
from models.designs import coefficients, sites
from models.linear.coordinate_ascent import coordinate_ascent
from models.linear.data import LinearData
from models.linear.exact import GaussianRegression
from models.linear.literature import published
from models.linear.noise import best_member, prior_of_sigma, unknown_noise
from models.linear.pictures import PICTURES

__all__ = ["MODEL", "LinearData"]


def truth(data: LinearData) -> Exact:
    return GaussianRegression(data) if data.prior == "known" else unknown_noise(data)


def simulate(data: LinearData, rng: np.random.Generator, count: int) -> Simulated:
    """Coefficients and noise from the prior, and targets of each at the same inputs."""
    values = data.prior_sds * rng.standard_normal((count, len(data.prior_sds)))
    sigma, latents = np.full(count, data.noise), {}
    if data.prior == "conjugate":
        latents = {"variance": stats.invgamma.rvs(data.shape, scale=data.rate, size=count, random_state=rng)}
        sigma = np.sqrt(latents["variance"])
        values *= sigma[:, None]
    elif data.prior != "known":
        latents = {"sigma": prior_of_sigma(data).rvs(count, random_state=rng)}
        sigma = latents["sigma"]
    latents |= sites(values)
    noise = sigma[:, None] * rng.standard_normal((count, len(data.design.targets)))
    targets = coefficients(latents) @ data.design.with_ones.T + noise
    return Simulated(latents, tuple(data.with_derived(design=replace(data.design, targets=row)) for row in targets))


MODEL = Model(
    name="linear",
    title="linear regression: what collinear columns cost",
    data=LinearData,
    guides=("mean_field", "full_rank"),
    truth=truth,
    test_cases=(
        LinearData("rugged"),
        LinearData(prior="known"),
        LinearData("diabetes", prior="half_normal"),
        LinearData("rugged", prior="known", noise=0.95),
    ),
    simulate=simulate,
    best_member=best_member,
    coordinate_ascent=coordinate_ascent,
    literature=Literature(published=published),
    pictures=PICTURES,
    defaults={"sweeps": 1000, "mass": "auto"},  # collinear columns: small steps of coordinate ascent, many of NUTS
)
