"""Likelihoods whose support depends on latents: the density is 0 where an observed value is impossible."""

from __future__ import annotations

from importlib import import_module
from itertools import pairwise

import numpy as np
import pytest
from conftest import LIBRARIES
from scipy import integrate, stats

from compare import user_model
from compare.comparison import Request
from compare.fit.reference.solve import with_posterior
from compare.options import Options

VALUES = np.array([0.3, 2.2, 1.4, 3.7, 0.8])


def below(theta: float) -> float:
    return theta**-5 / 20 if theta >= VALUES.max() else 0.0


def above(theta: float) -> float:
    return float(np.prod(2 * theta**2 / VALUES**3)) / 20 if theta <= VALUES.min() else 0.0


def shifted(theta: float) -> float:
    return float(np.exp(-np.sum(VALUES - theta))) / 10 if theta <= VALUES.min() else 0.0


def in_parts(theta: float) -> float:
    return float(np.prod(((theta / 2 >= VALUES) * 2 + (theta >= VALUES)) / theta / 2)) / 20


def half_normal(theta: float) -> float:
    return float(np.prod(stats.halfnorm.pdf(VALUES, theta, 2.0))) / 10


def log_normal(theta: float) -> float:
    return float(np.prod(stats.lognorm.pdf(VALUES, 1.0, theta))) / 10


def cut(theta: float) -> float:
    dense = stats.norm.pdf(VALUES, 0.0, 2.0) / stats.norm.sf(theta, 0.0, 2.0)
    return float(np.prod(dense)) / 10 if theta <= VALUES.min() else 0.0


JOINTS = {joint.__name__: joint for joint in (below, above, shifted, in_parts, half_normal, log_normal, cut)}
"""p(values, theta)."""

LOWEST = {"below": 0.0, "above": 0.0, "in_parts": 0.0}
"""Where theta's prior begins, unless it is -5."""


def integral(power: int, joint) -> float:
    """The integral of theta**power p(values, theta), piece by piece between the values and their doubles."""
    ends = np.unique([-5.0, 0.0, 5.0, 20.0, *VALUES, *(2 * VALUES)])
    ends = ends[ends >= LOWEST.get(joint.__name__, -5.0)]
    return sum(
        integrate.quad(lambda t: t**power * joint(t), *piece, epsabs=0, epsrel=1e-12)[0] for piece in pairwise(ends)
    )


NOT_THERE = {("numpyro", "in_parts"), ("pyro", "cut")}
"""NumPyro's MixtureSameFamily refuses such components, and Pyro has no truncated normal."""

CASES = [(library, name) for library in LIBRARIES for name in JOINTS if (library, name) not in NOT_THERE]


@pytest.mark.parametrize(("library", "name"), CASES)
def test_the_posterior_ends_where_values_become_impossible(library, name):
    import_module(f"compare.user_model.in_{library}")
    module = import_module(f"tests.user_models.bounds_{library}")
    mine = user_model.register(getattr(module, name), library)
    given = user_model.data_of(mine, {"values": VALUES})
    request = Request(mine.model, given, (library,), nuts=False, options=Options(reference_budget=1000.0))
    exact = mine.model.truth(with_posterior(request))
    mass, first, second = (integral(power, JOINTS[name]) for power in range(3))
    mean = first / mass
    assert exact.log_evidence == pytest.approx(np.log(mass), abs=4 * exact.tolerance)
    assert exact.mean()["theta"] == pytest.approx(mean, rel=1e-4)
    assert exact.sd()["theta"] == pytest.approx(np.sqrt(second / mass - mean**2), rel=1e-3)


def test_a_likelihood_with_a_fixed_support_is_left_as_it_is():
    import numpyro.distributions as numpyro_dist
    import pyro.distributions as pyro_dist
    import torch

    from compare.user_model import likelihoods_numpyro, likelihoods_pyro, sitewise_numpyro, sitewise_pyro

    totals = np.array([3, 5])
    assert sitewise_numpyro.kind_of(likelihoods_numpyro.bounded(numpyro_dist.Binomial(totals, 0.5))) == "BinomialProbs"
    assert sitewise_pyro.kind_of(likelihoods_pyro.bounded(pyro_dist.Uniform(0.0, torch.ones(2)))) == "Uniform"

    for dist, bounded in ((numpyro_dist, likelihoods_numpyro.bounded), (pyro_dist, likelihoods_pyro.bounded)):
        for fn in (dist.Normal(0.0, 1.0), dist.Gamma(2.0, 1.0), dist.Normal(0.0, 1.0).expand([3]).to_event(1)):
            assert bounded(fn) is fn
        theirs = dist.Pareto(1.0, 2.0)
        assert bounded(theirs) is not theirs and type(theirs) is dist.Pareto
