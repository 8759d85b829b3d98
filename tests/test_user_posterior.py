"""Users' small models: their posteriors by quadrature, against integrals over a line by SciPy and closed forms."""

from __future__ import annotations

import pickle
import time
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from conftest import IN_NUMPYRO, IN_PYRO, LIBRARIES
from scipy import integrate, special, stats

from compare import compare, pipeline, user_model
from compare.cache.keys import canonical, digest
from compare.comparison import Job, Request
from compare.fit.density import log_densities
from compare.fit.reference import solve
from compare.fit.reference.solve import starts_in_time, with_posterior
from compare.fit.reference.target import OutOfTime
from compare.options import Options
from compare.plan import plan
from compare.user_model.unconstrained import Unconstrained


def written(library: str):
    """The module of small models in one library, which is set to float64 first as the command does."""
    import_module(f"compare.user_model.in_{library}")
    return import_module(f"tests.user_models.small_{library}")


def request_of(library: str, name: str, seed: int = 0, **options) -> Request:
    """A comparison of one of the small models on the data that its argument is named for."""
    module = written(library)
    data = {"squared": {"y": module.SQUARES}, "angle": {"points": module.POINTS}, "separated": {"y": np.ones(3)}}
    mine = user_model.register(getattr(module, name), library)
    given = user_model.data_of(mine, data.get(name, {"y": module.VALUES}))
    return Request(mine.model, given, (library,), options=Options(**options), seed=seed)


def solved(library: str, name: str, seed: int = 0):
    """The exact posterior that the comparison would use."""
    request = request_of(library, name, seed)
    known = request.model.truth(with_posterior(request))
    assert known.method.startswith("adaptive quadrature")
    return known


def by_hand(log_joint, low: float, high: float, points: tuple[float, ...]) -> tuple[float, float, float]:
    """Log evidence, mean and sd by SciPy's quadrature of a density over an interval."""
    top = max(map(log_joint, points))

    def moment(power: int) -> float:
        return integrate.quad(
            lambda x: x**power * np.exp(log_joint(x) - top), low, high, points=points, epsabs=1e-13, limit=500
        )[0]

    mass, first, second = map(moment, (0, 1, 2))
    return top + np.log(mass), first / mass, np.sqrt(second / mass - (first / mass) ** 2)


def of_squared(x: float) -> float:
    return stats.norm.logpdf(x, 0.1, 1) + stats.norm.logpdf(written("numpyro").SQUARES, x**2, 0.4).sum()


def of_angle(x: float) -> float:
    centre = np.array([[np.cos(x)], [np.sin(x)]])
    return stats.norm.logpdf(written("numpyro").POINTS, centre, 0.5).sum() - np.log(2 * np.pi)


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3, 4))])
@pytest.mark.parametrize("library", LIBRARIES)
def test_two_modes_far_apart_on_every_seed(library, seed):
    """A parameter that enters by its square: both modes, and their masses, whatever the seed."""
    evidence, mean, sd = by_hand(of_squared, -4, 4, (-1.27, 1.27))
    known = solved(library, "squared", seed)
    assert known.log_evidence == pytest.approx(evidence, abs=1e-8)
    assert known.mean()["root"] == pytest.approx(mean, abs=1e-7)
    assert known.sd()["root"] == pytest.approx(sd, abs=1e-7)
    assert "2 modes" in known.method and known.extra_summary()["modes"].count("%") == 2


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_direction_whose_mass_lies_at_both_ends_of_its_interval(library):
    evidence, mean, sd = by_hand(of_angle, -np.pi, np.pi, (-3.0, 3.0))
    known = solved(library, "angle")
    assert known.log_evidence == pytest.approx(evidence, abs=1e-8)
    assert known.mean()["turn"] == pytest.approx(mean, abs=1e-6)
    assert known.sd()["turn"] == pytest.approx(sd, abs=1e-6)
    assert sd > 2.2


@pytest.mark.parametrize("library", IN_PYRO)
def test_a_guide_in_one_of_two_modes_is_off(library):
    """Through a whole comparison: the ledger closes, and nothing agrees."""
    request = replace(request_of(library, "squared"), guides=("mean_field",), nuts=False)
    summary = pipeline.compare(request).summary
    words = {name: fit["verdict"]["word"] for name, fit in summary["fits"].items()}
    assert words == {"exact": "exact", f"{library}-mean_field": "off"}
    assert summary["log_evidence"]["value"] == pytest.approx(by_hand(of_squared, -4, 4, (-1.27, 1.27))[0], abs=1e-8)
    assert summary["fits"][f"{library}-mean_field"]["ledger"]["evidence_gap"]["value"] > 0.4
    exact = summary["fits"]["exact"]["ledger"]["evidence_gap"]
    assert abs(exact["value"]) < 1e-8


@pytest.mark.parametrize("library", IN_NUMPYRO)
def test_a_latent_of_shape_1_beside_a_plate(library):
    """A normal mean by conjugacy, and its double, named without an index; the guides are right, too."""
    request = request_of(library, "lengthy")
    summary = pipeline.compare(replace(request, guides=("mean_field", "full_rank"), nuts=False)).summary
    words = {name: fit["verdict"]["word"] for name, fit in summary["fits"].items()}
    assert words == {"exact": "exact", f"{library}-mean_field": "agrees", f"{library}-full_rank": "agrees"}
    values = written("numpyro").VALUES
    mean, sd = values.sum() / 13, 13**-0.5
    evidence = stats.multivariate_normal(np.zeros(12), np.eye(12) + 1).logpdf(values)
    assert summary["log_evidence"]["value"] == pytest.approx(evidence, abs=1e-8)
    exact = summary["fits"]["exact"]["variables"]
    for name, factor in (("mean", 1), ("double", 2)):
        assert exact[name]["mean"] == pytest.approx(factor * mean, abs=1e-7)
        assert exact[name]["sd"] == pytest.approx(factor * sd, abs=1e-7)
        assert exact[name]["q97.5"] == pytest.approx(factor * (mean + 1.959964 * sd), abs=factor * 3e-3 * sd)


def test_gradients_of_few_points_and_of_many_are_the_same():
    """A program of its own serves few points of a model in many dimensions with long data."""
    few = import_module("compare.user_model.unconstrained_numpyro").FEW
    module = import_module("tests.user_models.logistic_numpyro")
    mine = user_model.register(module.model, "numpyro")
    data = user_model.data_of(mine, module.data)
    space = Unconstrained(mine, data.values, data.layout, 40, 0)
    value, gradient = space.value_and_gradient(space.prior_draws)
    assert len(value) == 40 > few and space.functions.is_long
    few_values, few_gradients = space.value_and_gradient(space.prior_draws[:5])
    np.testing.assert_allclose(few_values, value[:5], rtol=1e-12)
    np.testing.assert_allclose(few_gradients, gradient[:5], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(space.log_joint(space.prior_draws), value, rtol=1e-12)


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_log_joint_is_that_of_the_densities_with_the_jacobian(library):
    """At single points; the Jacobian of a positive latent is that of its exponential."""
    request = request_of(library, "location_scale")
    data, mine = request.data, user_model.find(request.model.name)
    space = Unconstrained(mine, data.values, data.layout, 64, 0)
    points = np.array([[0.3, -0.2], [-1.5, 1.0], [2.0, 0.4]])
    latents = space.latents(points)
    np.testing.assert_allclose(latents["scale"], np.exp(points[:, 1]))
    job = Job("exact", request.model.name, data, "exact", library, layout=data.layout)
    expected = np.sum(log_densities(job, latents), axis=0) + points[:, 1]
    np.testing.assert_allclose(space.log_joint(points), expected, rtol=1e-12)
    value, gradient = space.value_and_gradient(points)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    for axis, shift in enumerate(1e-6 * np.eye(2)):
        slope = (space.log_joint(points + shift) - space.log_joint(points - shift)) / 2e-6
        np.testing.assert_allclose(gradient[:, axis], slope, rtol=1e-6)
    ratio = space.elements(points, (("ratio", ()),))
    np.testing.assert_allclose(ratio[:, 0], points[:, 0] / np.exp(points[:, 1]))
    means = np.mean(space.prior_draws, axis=0)
    assert abs(means[0]) < 0.5 and means[1] == pytest.approx(special.digamma(2), abs=0.4)


@pytest.mark.parametrize("library", LIBRARIES)
def test_draws_and_marginals_of_a_location_and_a_scale(library):
    """The draws' density is the joint one less the evidence, and their moments are the posterior's."""
    known = solved(library, "location_scale")
    draws = known.draw(np.random.default_rng(1), 4000)
    prior, likelihood = log_densities(
        Job("exact", known.model, request_of(library, "location_scale").data, "exact", library), draws
    )
    np.testing.assert_allclose(known.log_posterior(draws), prior + likelihood - known.log_evidence)
    for site in ("mean", "scale"):
        assert draws[site].mean() == pytest.approx(known.mean()[site], abs=4 * known.sd()[site] / 4000**0.5)
        low, high = (float(known.quantile(p)[site]) for p in (0.001, 0.999))
        grid = np.linspace(low, high, 400)
        assert np.trapezoid(known.density(site, (), grid), grid) == pytest.approx(1, abs=0.02)
    assert set(known.mean()) == {"mean", "scale", "ratio"}


@pytest.mark.parametrize("library", LIBRARIES)
def test_tails_without_moments_are_refused_with_a_note(library):
    """A Cauchy prior and data that are separated: the evidence exists, the mean does not. NUTS is the reference."""
    request = request_of(library, "separated")
    data = with_posterior(request)
    (note,) = data.layout.notes
    assert note.startswith("the posterior is not known by quadrature: moments do not exist") and "NUTS" in note
    jobs = plan(replace(request, data=data))
    assert [job.method for job in jobs[:2]] == ["reference", "svi"]
    assert note in pipeline.notes(jobs, {})


def test_what_is_not_done_in_time_is_refused_with_a_note():
    data = with_posterior(request_of("numpyro", "squared", reference_budget=1e-3))
    assert data.posterior is None and "it is not done within 0.000125 s" in data.layout.notes[0]


def test_much_larger_models_and_known_posteriors_are_not_tried(monkeypatch):
    monkeypatch.setattr(solve, "MOST_DIMENSIONS", 3)
    request = request_of("pyro", "in_plates")
    assert with_posterior(request) is request.data
    request = request_of("pyro", "squared")
    given = replace(request.data, truth=object())
    assert with_posterior(replace(request, data=given)) is given


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_posterior_can_be_sent_and_hashed(library):
    """The same request gives the same key, as caches need, and so does what comes back from another process."""
    first, second = (with_posterior(request_of(library, "squared")).posterior for _ in range(2))
    keys = {digest({"key": canonical(value)}) for value in (first, second, pickle.loads(pickle.dumps(first)))}
    assert len(keys) == 1


@pytest.mark.parametrize(
    ("name", "form"),
    [("squared", "plate"), ("in_plates", "vmap"), ("in_place", "writable"), ("branching", "loop")],
)
def test_many_points_are_evaluated_as_plain_traces_are(name, form):
    """The fastest form that gives the same, for the density and for the guide's draws."""
    from compare.fit.svi import objective_pyro
    from compare.user_model.density_pyro import choose_form

    request = request_of("pyro", name)
    data, static = objective_pyro.split_arguments(request.data.arguments())
    model = user_model.find(request.model.name)
    assert choose_form(import_module("compare.user_model.in_pyro").twin(model).model, data) == form
    objective = objective_pyro.prepare(request.model.name, "mean_field", static, data)
    assert objective.form == form and objective.log_joint.form == form
    rows = np.random.default_rng(2).normal(size=(5, objective.dimension))
    parameters = objective.start(0, data)
    together = objective.evaluate(parameters, rows, data)
    alone = [objective.evaluate(parameters, row[None], data).log_ratio[0] for row in rows]
    np.testing.assert_allclose(together.log_ratio, alone, rtol=1e-10)


@pytest.mark.parametrize("name", ["in_place", "by_numpy"])
def test_gradients_are_differences_of_the_log_joint(name):
    """Where they were compiled, and elsewhere."""
    request = request_of("pyro", name)
    space = Unconstrained(user_model.find(request.model.name), request.data.arguments(), request.data.layout, 4, 0)
    for points in (np.array([[-1.3], [0.2], [0.9]]), np.array([[1.1], [-0.4]])):
        value, gradient = space.value_and_gradient(points)
        np.testing.assert_allclose(value, space.log_joint(points), rtol=1e-12)
        step = 1e-5
        differences = (space.log_joint(points + step) - space.log_joint(points - step)) / (2 * step)
        np.testing.assert_allclose(gradient[:, 0], differences, rtol=1e-7)


@pytest.mark.parametrize(("n_numbers", "chunk"), [(14, 8192), (50, 800), (300, 512)])
def test_points_in_one_go_are_few_where_each_may_be_large(n_numbers, chunk):
    import torch

    from compare.user_model.density_pyro import chunk_of

    latents, data = {"z": torch.zeros(100, 2)}, {"y": torch.zeros(n_numbers - 2)}
    assert chunk_of(latents, data) == chunk


class Slow:
    """A model whose points take ``seconds`` each, or in any number; it counts them."""

    n_values, prior_draws = 16_384, np.zeros((4, 3))

    def __init__(self, seconds: float, is_padded: bool) -> None:
        self.seconds, self.is_padded, self.count = seconds, is_padded, 0

    def log_joint(self, points: np.ndarray) -> np.ndarray:
        time.sleep(self.seconds if self.is_padded else self.seconds * len(points))
        self.count += len(points)
        return np.zeros(len(points))


def test_a_search_that_outlasts_its_deadline_is_not_begun():
    """Where points are evaluated one after another, it is some that tell; where they are evaluated together, all."""
    slow = Slow(0.001, is_padded=False)
    with pytest.raises(OutOfTime):
        starts_in_time(slow, time.perf_counter() + 2, 64)
    assert slow.count < 1000
    padded = Slow(0.02, is_padded=True)
    assert starts_in_time(padded, time.perf_counter() + 2, 64) >= 64 and padded.count > 16_384


def test_the_call_says_how_the_truth_is_known():
    module = written("numpyro")
    result = compare(module.squared, {"y": module.SQUARES}, guides=["mean_field"], nuts=False)
    assert list(result.verdict) == ["exact", "numpyro-mean_field"]
    assert "adaptive quadrature, 2 modes" in str(result) and "Every fit against the truth" in str(result)
