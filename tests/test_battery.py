"""What every model of the catalogue must pass. A model is tested by being listed."""

from __future__ import annotations

import json
import math
import pickle
from importlib import import_module

import jax
import numpy as np
import pytest
from conftest import LIBRARIES, ready, side
from numpyro import handlers

import models
from compare.fits.draws import fresh
from compare.fits.protocol import DENSE
from models.contract import element, nothing_more


def dimension(data) -> int:
    """How many numbers one point of the posterior has."""
    return sum(math.prod(shape) for shape in data.shapes().values())


EVERY = [
    pytest.param(name, data, id=f"{name}-{number}")
    for name in models.CATALOGUE
    for number, data in enumerate(ready(name))
]
CASES = [case for case in EVERY if models.load(case.values[0]).exact(case.values[1]) is not None]
POINTWISE = [case for case in EVERY if models.load(case.values[0]).pointwise is not nothing_more]
FAMILIES = [
    pytest.param(*case.values, family, id=f"{case.id}-{family}")
    for case in CASES
    for family in models.load(case.values[0]).guides
    if models.load(case.values[0]).best(case.values[1], family) is not None
]
SPELT = {
    "mean_field": {"location", "scale"},
    "full_rank": {"location", "scale_tril"},
    "markov": {"location", "diagonal", "off_diagonal"},
}
"""The parameters of the families that have some of their own, whatever the model."""

GAUSSIAN = [case for case in FAMILIES if case.values[2] in SPELT and dimension(case.values[1]) <= DENSE]


def scale(*terms: np.ndarray) -> np.ndarray:
    """What 1e-9 is relative to: the largest term, at least 1."""
    return np.maximum(1.0, np.max(np.abs(np.stack(np.broadcast_arrays(*terms))), axis=0))


def derived(name, data, latents):
    """The latents, and what the model derives from them."""
    return {**latents, **models.load(name).derive(data, latents)}


@pytest.mark.parametrize(("name", "data"), EVERY)
def test_the_twins_are_the_same_model(name, data):
    """Both twins' log prior and log likelihood at 1,000 draws from the prior, to 1e-9."""
    sides = {library: side(library) for library in LIBRARIES}
    program = import_module(f"models.{name}.in_numpyro").model

    def prior(key):
        trace = handlers.trace(handlers.seed(program, key)).get_trace(**data.arguments())
        return {site: trace[site]["value"] for site in data.shapes()}

    count = 1000
    latents = jax.tree.map(np.array, jax.jit(jax.vmap(prior))(jax.random.split(jax.random.key(3), count)))
    assert {site: value.shape for site, value in latents.items()} == {
        site: (count, *shape) for site, shape in data.shapes().items()
    }
    found = {}
    for library, one in sides.items():
        arguments, static = one.split_arguments(data.arguments())
        found[library] = one.density(name, static)(latents, arguments)
    for ours, theirs in zip(found["numpyro"], found["pyro"], strict=True):
        assert ours.dtype == theirs.dtype == np.float64
        assert np.max(np.abs(ours - theirs) / scale(ours, theirs)) < 1e-9


@pytest.mark.parametrize(("name", "data"), EVERY)
def test_every_posterior_is_known_somehow(name, data):
    """By an exact posterior, or by a reference whose program the twin has."""
    model = models.load(name)
    if model.exact(data) is None:
        way = model.reference(data)
        assert way is not None and way.method
        assert callable(getattr(import_module(f"models.{name}.in_{way.library}"), way.program))


@pytest.mark.parametrize(("name", "data"), POINTWISE)
def test_pointwise_log_likelihoods_add_up(name, data, library):
    """What the model says of each observation sums to what the twin says of all."""
    model = models.load(name)
    latents = {site: np.random.default_rng(4).uniform(0.2, 0.8, (50, *shape)) for site, shape in data.shapes().items()}
    parts = model.pointwise(data, latents)
    assert set(parts) == set(data.observed())
    arguments, static = side(library).split_arguments(data.arguments())
    _, log_likelihood = side(library).density(name, static)(latents, arguments)
    total = sum(part.sum(axis=1) for part in parts.values())
    assert np.max(np.abs(total - log_likelihood) / scale(total, log_likelihood)) < 1e-9


@pytest.mark.parametrize(("name", "data"), CASES)
def test_log_joint_minus_log_posterior_is_the_log_evidence(name, data, library):
    """For any z, log p(x, z) - log p(z | x) = log p(x): model, posterior and evidence at once, to machine precision."""
    exact = models.load(name).exact(data)
    latents = exact.draw(np.random.default_rng(1), 1000)
    arguments, static = side(library).split_arguments(data.arguments())
    log_prior, log_likelihood = side(library).density(name, static)(latents, arguments)
    log_posterior = exact.log_posterior(latents)
    evidence = log_prior + log_likelihood - log_posterior
    largest = scale(log_prior, log_likelihood, log_posterior)
    assert evidence.dtype == np.float64
    assert np.max(np.abs(evidence - exact.log_evidence) / largest) < 1e-9
    assert np.max(np.abs(log_prior - exact.log_prior(latents)) / largest) < 1e-9
    assert np.max(np.abs(log_likelihood - exact.log_likelihood(latents)) / largest) < 1e-9


@pytest.mark.parametrize(("name", "data"), CASES)
def test_exact_moments_are_those_of_the_exact_draws(name, data):
    """Means, sds, quantiles and correlations against 20,000 draws, within 5 standard errors."""
    exact, count = models.load(name).exact(data), 20_000
    size = sum(math.prod(shape) for shape in data.shapes().values())
    count = count if size <= 100 else 2000
    draws = derived(name, data, exact.draw(np.random.default_rng(2), count))
    for site, index in data.reported():
        values = draws[site][(slice(None), *index)]
        mean, sd = float(exact.mean()[site][index]), float(exact.sd()[site][index])
        assert abs(values.mean() - mean) < 5 * sd / math.sqrt(count)
        squares = (values - mean) ** 2
        assert abs(squares.mean() - sd**2) < 5 * squares.std() / math.sqrt(count) + 1e-12 * sd**2
        for probability in (0.025, 0.5, 0.975):
            below = np.mean(values <= float(exact.quantile(probability)[site][index]))
            assert abs(below - probability) < 5 * math.sqrt(probability * (1 - probability) / count)
    elements = {element(site, index): draws[site][(slice(None), *index)] for site, index in data.reported()}
    for pair, truth in exact.correlations().items():
        first, second = next((a, b) for a in elements for b in elements if f"{a},{b}" == pair)
        value = np.corrcoef(elements[first], elements[second])[0, 1]
        assert abs(value - truth) < 5 * (1 - truth**2) / math.sqrt(count) + 1e-3 * (1 - truth**2)


@pytest.mark.parametrize(("name", "data"), CASES)
def test_exact_density_integrates_to_its_quantiles(name, data):
    exact = models.load(name).exact(data)
    for site, index in data.reported()[:3]:
        lower, upper = (float(exact.quantile(p)[site][index]) for p in (0.1, 0.9))
        grid = np.linspace(lower, upper, 4001)
        assert np.trapezoid(exact.density(site, index, grid), grid) == pytest.approx(0.8, abs=1e-4)


@pytest.mark.parametrize(("name", "data", "family"), FAMILIES)
def test_the_best_member_is_no_better_than_the_posterior(name, data, family):
    """Its ELBO is known, and cannot cross the log evidence."""
    best, log_evidence = models.load(name).best(data, family), models.load(name).exact(data).log_evidence
    assert best is not None
    assert best.elbo <= log_evidence + 1e-9 * max(1.0, abs(log_evidence))


@pytest.mark.parametrize(("name", "data", "family"), GAUSSIAN)
def test_the_best_member_has_the_elbo_it_claims(name, data, family, library):
    """ELBO(q*) by the library's own ELBO at q*'s parameters, within 4 standard errors."""
    best, exact = models.load(name).best(data, family), models.load(name).exact(data)
    assert set(best.parameters) == SPELT[family]
    arguments, static = side(library).split_arguments(data.arguments())
    objective = side(library).prepare(name, family, static)
    objective.start(0, arguments)
    means = []
    for batch in range(8):
        draws = fresh(np.random.default_rng(batch), 256, dimension(data))
        means.append(objective.evaluate(best.parameters, draws, arguments).log_ratio.mean())
    error = np.std(means, ddof=1) / math.sqrt(len(means))
    assert abs(np.mean(means) - best.elbo) < 4 * error + 1e-9 * max(1.0, abs(exact.log_evidence)) + best.tolerance


@pytest.mark.parametrize(("name", "data"), EVERY)
def test_data_travel_and_print(name, data):
    """The model and its data cross processes, the data land in the summary, and the reported elements exist."""
    model, again = pickle.loads(pickle.dumps((models.load(name), data)))
    assert model == models.load(name)
    assert json.dumps(again.describe()) == json.dumps(data.describe())
    latents = {site: np.zeros((2, *shape)) for site, shape in data.shapes().items()}
    shapes = {site: value.shape[1:] for site, value in derived(name, data, latents).items()}
    for site, index in data.reported():
        assert len(index) == len(shapes[site])
        assert all(0 <= position < length for position, length in zip(index, shapes[site], strict=True))


@pytest.mark.parametrize("name", models.CATALOGUE)
def test_claims_are_judged(name):
    model = models.load(name)
    claims = model.claims(model.data())
    assert claims, "the defaults are the text's example: its claims belong here"
    for claim in claims:
        assert claim.claim and isinstance(claim.truth, float | str)
        assert bool(claim.agrees) in (True, False)
