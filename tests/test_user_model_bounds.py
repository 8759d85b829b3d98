"""Likelihoods whose support depends on latents: the density is 0 where an observed value is impossible."""

from __future__ import annotations

from importlib import import_module
from itertools import pairwise

import numpy as np
import pytest
from conftest import LIBRARIES
from scipy import integrate

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


JOINTS = {"below": below, "above": above, "shifted": shifted, "in_parts": in_parts}
"""p(values, theta)."""


def integral(power: int, joint) -> float:
    """The integral of theta**power p(values, theta), piece by piece between the values and their doubles."""
    ends = np.unique([-5.0, 0.0, 5.0, 20.0, *VALUES, *(2 * VALUES)])
    low = -5.0 if joint is shifted else 0.0
    ends = ends[ends >= low]
    return sum(
        integrate.quad(lambda t: t**power * joint(t), *piece, epsabs=0, epsrel=1e-12)[0] for piece in pairwise(ends)
    )


CASES = [(library, name) for library in LIBRARIES for name in JOINTS if (library, name) != ("numpyro", "in_parts")]
"""NumPyro refuses mixtures of distributions whose support depends on their parameters."""


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

    from compare.user_model import likelihoods_numpyro, likelihoods_pyro

    for dist, bounded in ((numpyro_dist, likelihoods_numpyro.bounded), (pyro_dist, likelihoods_pyro.bounded)):
        for fn in (dist.Normal(0.0, 1.0), dist.Gamma(2.0, 1.0), dist.Normal(0.0, 1.0).expand([3]).to_event(1)):
            assert bounded(fn) is fn
        theirs = dist.Pareto(1.0, 2.0)
        assert bounded(theirs) is not theirs and type(theirs) is dist.Pareto
