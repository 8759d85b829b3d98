"""Verdicts by evidence on real fits: what few draws leave undecided, and a fault where nothing is printed."""

from __future__ import annotations

import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import stats

from compare import compare
from models.contract import Exact

pytestmark = pytest.mark.usefixtures("quickly_compiled")

N = 50
NOISE = 0.3
SEEN = 1.0


def mean_of(y):
    mean = numpyro.sample("mean", dist.Normal(0, 1))
    numpyro.sample("y", dist.Normal(mean, 1), obs=y)


def test_few_draws_leave_a_right_guide_undecided():
    """256 draws tell a mean to 0.06 sd; some 500 would tell that it is not off by 0.2."""
    result = compare(mean_of, {"y": 1.0}, guides=["full_rank"], nuts=False, draws=256)
    verdict = result.verdict["numpyro-full_rank"]
    assert verdict.word == "undecided"
    assert "draws of the guide instead of 256" in verdict.sentence and "would decide it" in verdict.sentence
    assert "undecided" in str(result)


def pair(y):
    z = numpyro.sample("z", dist.Normal(0, 1).expand([N]).to_event(1))
    numpyro.sample("y", dist.Normal(z[1] + z[2], NOISE), obs=y)


class PairExact(Exact):
    """Independent standard normals, but for the two whose sum is seen."""

    method, tolerance = "closed form", 1e-9

    def __init__(self) -> None:
        gain = np.zeros(N)
        gain[1:3] = 1.0
        variance = 2 + NOISE**2
        self.location = gain * SEEN / variance
        self.covariance = np.eye(N) - np.outer(gain, gain) / variance
        self.log_evidence = float(stats.norm.logpdf(SEEN, 0, np.sqrt(variance)))

    def draw(self, rng, count):
        return {"z": rng.multivariate_normal(self.location, self.covariance, count)}

    def log_posterior(self, latents):
        return stats.multivariate_normal(self.location, self.covariance).logpdf(latents["z"])

    def marginal(self, site, index=()):
        return stats.norm(self.location[index], np.sqrt(self.covariance[index + index]))


def test_a_fault_in_an_element_that_is_not_printed_is_found_and_named():
    """Mean field makes the two that are correlated too narrow, and prints neither: 20 of 50 elements."""
    result = compare(pair, {"y": SEEN}, guides=["mean_field", "full_rank"], nuts=False, exact=PairExact())
    fits = result.comparison.summaries
    printed = fits["numpyro-mean_field"].variables
    assert len(printed) == 20 and not {"z[1]", "z[2]"} & set(printed)
    assert max(abs(variable.sd_ratio - 1) for variable in printed.values()) < 0.1
    verdict = fits["numpyro-mean_field"].verdict
    assert verdict.word == "narrow" and ("sd of z[1]" in verdict.sentence or "sd of z[2]" in verdict.sentence)
    assert fits["numpyro-full_rank"].verdict.word == "agrees"
    assert "of 50 elements" in fits["numpyro-full_rank"].verdict.sentence
