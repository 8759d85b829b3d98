"""What every model of the catalogue must pass. A model is tested by being listed.

What is looked at stands in `battery.known`, which the quick battery shares.
"""

from __future__ import annotations

import json
import pickle
from importlib import import_module

import numpy as np
import pytest
from battery.known import (
    SPELT,
    density_misfits,
    derived,
    dimension,
    evidence_varies,
    member_differs,
    moments_differ,
    parts_do_not_add_up,
    twins_differ,
)
from conftest import LIBRARIES, layout, ready

import models
from compare.fit.svi.protocol import DENSE
from compare.plan import best_member
from models.contract import Reference

EVERY = [
    pytest.param(name, data, id=f"{name}-{number}")
    for name in models.CATALOGUE
    for number, data in enumerate(ready(name))
]
CASES = [case for case in EVERY if models.load(case.values[0]).exact(case.values[1]) is not None]
POINTWISE = [case for case in EVERY if (part := models.load(case.values[0]).prediction) and part.pointwise]
FAMILIES = [
    pytest.param(*case.values, family, id=f"{case.id}-{family}")
    for case in CASES
    for family in models.load(case.values[0]).guides
    if best_member(models.load(case.values[0]), case.values[1], family) is not None
]
SIZES = {id(data): dimension(data) for data in {id(case.values[1]): case.values[1] for case in FAMILIES}.values()}
GAUSSIAN = [case for case in FAMILIES if case.values[2] in SPELT and SIZES[id(case.values[1])] <= DENSE]
FIRST = {(name, family): data for name, data, family in (case.values for case in reversed(GAUSSIAN))}


def in_library(library: str, case):
    """In Pyro by default on the first data alone: the others' best members are the same, and their densities tested."""
    name, data, family = case.values
    is_slow = library == "pyro" and data is not FIRST[name, family]
    return pytest.param(*case.values, library, id=f"{library}-{case.id}", marks=[pytest.mark.slow] * is_slow)


@pytest.mark.usefixtures("quickly_compiled")
@pytest.mark.parametrize(("name", "data"), EVERY)
def test_the_twins_are_the_same_model(name, data):
    """Both twins' log prior and log likelihood at 1,000 draws from the prior, to 1e-9."""
    assert twins_differ(name, data, 1000, seed=3) is None


@pytest.mark.parametrize(("name", "data"), EVERY)
def test_every_posterior_is_known_somehow(name, data):
    """By an exact posterior, or by a reference whose program the twin has."""
    model = models.load(name)
    way = model.truth(data)
    assert way.method
    if isinstance(way, Reference):
        assert callable(getattr(import_module(f"models.{name}.in_{way.library}"), way.program))


@pytest.mark.parametrize(("name", "data"), POINTWISE)
def test_pointwise_log_likelihoods_add_up(name, data, library):
    """What the model says of each observation sums to what the twin says of all."""
    assert parts_do_not_add_up(name, data, library, seed=4) is None


@pytest.mark.parametrize(("name", "data"), CASES)
def test_log_joint_minus_log_posterior_is_the_log_evidence(name, data, library):
    """For any z, log p(x, z) - log p(z | x) = log p(x): model, posterior and evidence at once, to machine precision."""
    assert evidence_varies(name, data, library, 1000, seed=1) is None


@pytest.mark.parametrize(("name", "data"), CASES)
def test_exact_moments_are_those_of_the_exact_draws(name, data):
    """Means, sds, quantiles and correlations against 20,000 draws (2,000 of many dimensions), within 5 errors."""
    assert moments_differ(name, data, 20_000 if dimension(data) <= 10 else 2000, seed=2) is None


@pytest.mark.parametrize(("name", "data"), CASES)
def test_exact_density_integrates_to_its_quantiles(name, data):
    assert density_misfits(name, data) is None


@pytest.mark.parametrize(("name", "data", "family"), FAMILIES)
def test_the_best_member_is_no_better_than_the_posterior(name, data, family):
    """Its ELBO is known, and cannot cross the log evidence."""
    best, log_evidence = models.load(name).best_member(data, family), models.load(name).exact(data).log_evidence
    assert best is not None
    assert best.elbo <= log_evidence + 1e-9 * max(1.0, abs(log_evidence))


@pytest.mark.usefixtures("quickly_compiled")
@pytest.mark.parametrize(
    ("name", "data", "family", "library"), [in_library(library, case) for library in LIBRARIES for case in GAUSSIAN]
)
def test_the_best_member_has_the_elbo_it_claims(name, data, family, library):
    """ELBO(q*) by the library's own ELBO at q*'s parameters, within 5 standard errors."""
    assert member_differs(name, data, family, library, seed=0) is None


@pytest.mark.parametrize(("name", "data"), EVERY)
def test_data_travel_and_print(name, data):
    """The model and its data cross processes, the data land in the summary, and the reported elements exist."""
    model, again = pickle.loads(pickle.dumps((models.load(name), data)))
    assert model == models.load(name)
    assert json.dumps(again.describe()) == json.dumps(data.describe())
    latents = {site: np.zeros((2, *shape)) for site, shape in layout(data).latents.items()}
    shapes = {site: value.shape[1:] for site, value in derived(name, data, latents).items()}
    for site, index in layout(data).reported_elements:
        assert len(index) == len(shapes[site])
        assert all(0 <= position < length for position, length in zip(index, shapes[site], strict=True))


@pytest.mark.parametrize(
    "name", [name for name in models.CATALOGUE if (part := models.load(name).literature) and part.claims]
)
def test_claims_are_judged(name):
    model = models.load(name)
    claims = model.literature.claims(model.data())
    assert claims, "the defaults are the text's example: its claims belong here"
    for claim in claims:
        assert claim.claim and isinstance(claim.truth, float | str)
        assert bool(claim.agrees) in (True, False)
