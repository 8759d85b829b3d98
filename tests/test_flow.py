"""The flow for whole models: its density by differences, both libraries, a banana and a funnel in closed form."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from battery.checks import Case
from battery.fitted import at_random, guides_differ, slopes_differ
from bent import DATA, EXACT, model
from conftest import LIBRARIES, side
from scipy import stats
from test_fitted import sampled

import guides
import models
from compare import compare, fit_guide
from compare.cli.main import main
from compare.fit.svi import bending
from compare.fit.svi.draws import fresh
from compare.fit.svi.elbo import elbos
from compare.fit.svi.ensemble import UNKNOWN, Outcome
from compare.fit.svi.gap import Gap
from compare.fit.svi.svi import optimise
from compare.options import Options
from guides.flow import networks

CASE = Case("flow", "logistic", models.load("logistic").data(), "svi", guide="flow")


def test_the_libraries_agree():
    assert not guides_differ(CASE, [side(library) for library in LIBRARIES], 0)


@pytest.mark.parametrize("library", LIBRARIES)
def test_its_slopes_are_those_of_its_elbo(library):
    assert not slopes_differ(CASE, side(library), 0)


def test_a_draw_has_the_density_that_differences_of_its_map_give():
    """log q(z) = log N(eps; 0, I) - log |det dz / deps|, by central differences; and the map is no affine one."""
    library = side("numpyro")
    eps, log_ratio, latents, parameters = at_random(CASE, library, 1)
    arguments, static = library.split_arguments(CASE.data.arguments())
    objective = library.prepare("logistic", "flow", static, arguments)

    def z(eps):
        drawn = objective.evaluate(parameters, eps, arguments).latents
        return np.concatenate([value.reshape(len(eps), -1) for value in drawn.values()], axis=1)

    steps = 1e-5 * np.eye(eps.shape[1])
    jacobian = np.stack([(z(eps + step) - z(eps - step)) / 2e-5 for step in steps], axis=-1)
    log_prior, log_likelihood = library.density("logistic", static)(latents, arguments)
    stretch = np.linalg.slogdet(jacobian)[1]
    log_density = log_prior + log_likelihood - log_ratio
    assert log_density == pytest.approx(stats.norm.logpdf(eps).sum(axis=1) - stretch, abs=1e-6)
    assert stretch.std() > 0.1


@pytest.mark.parametrize("library", LIBRARIES)
def test_it_holds_every_gaussian(library):
    """With networks that give nothing it is full rank at the same location and scale."""
    case = Case("full_rank", "logistic", CASE.data, "svi", guide="full_rank")
    eps, log_ratio, _, gaussian = at_random(case, side(library), 2)
    arguments, static = side(library).split_arguments(CASE.data.arguments())
    flow = side(library).prepare("logistic", "flow", static, arguments)
    lifted = bending.lifted(guides.load("flow"), gaussian)
    assert flow.evaluate(lifted, eps, arguments).log_ratio == pytest.approx(log_ratio, rel=1e-9)


def test_masks_leave_no_weight_without_effect_and_lead_there_and_back():
    coordinates = guides.load("flow").preconditioner({"location": np.zeros(4), "scale_tril": np.eye(4)})
    x = np.random.default_rng(3).standard_normal(coordinates.size)
    assert coordinates.locate(coordinates.parameters(x)) == pytest.approx(x)
    assert coordinates.size < sum(value.size for part in networks(4) for value in part.values())


def fit_of(library: str, name: str, options: Options):
    """Where the flow's fit of a user's model ends, its ELBO at fresh draws, and that one's error."""
    function = model(library, name)
    twin, (data, _) = (
        SimpleNamespace(model=function, __name__=function.__module__),
        side(library).split_arguments(DATA[name]),
    )
    gaussian, flow = (side(library).Objective(twin, family, (), data) for family in ("full_rank", "flow"))
    outcome = bending.fit_in_stages(optimise, gaussian, flow, data, guides.load("flow"), options, 0)
    batches = [fresh(np.random.default_rng([4, n]), 256, flow.dimension) for n in range(32)]
    elbo = elbos(flow, outcome.parameters, batches, data)
    return outcome, elbo.mean(), elbo.std(ddof=1) / np.sqrt(len(elbo))


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_banana_costs_less_than_a_fifth_of_what_the_best_gaussian_loses(library, monkeypatch):
    """That loses 0.7256 nats. Rounds are short here; it stops by itself, below the log evidence, 0."""
    monkeypatch.setattr(bending, "STEPS", 100)
    monkeypatch.setattr(bending, "ROWS", 256)
    outcome, elbo, error = fit_of(library, "banana", Options(budget=600.0, tolerance=0.05))
    assert elbo - 4 * error > -0.7256 / 5 and elbo < 4 * error
    assert outcome.converged and outcome.reason is None
    assert outcome.gap.value == np.inf  # flat directions: what is left is not known, and not claimed


def test_a_fit_that_ran_out_of_its_budget_says_so():
    outcome, elbo, error = fit_of("numpyro", "banana", Options(budget=1e-6))
    assert not outcome.converged and "larger --budget" in outcome.reason
    assert elbo < -0.7256 + 4 * error  # no better than a Gaussian


def ended(monkeypatch, gains, cut_short: bool) -> bool:
    """Whether a fit has converged whose rounds gain so much, each in a second; the deadline ends the last, or not."""
    clock, rounds = [0.0], iter(gains)

    def run_round(objective, data, coordinates, x, *_):
        clock[0] += 1
        return x, bending.STEPS - (cut_short and clock[0] == len(gains))

    monkeypatch.setattr(bending, "run_round", run_round)
    monkeypatch.setattr(bending, "difference", lambda *_: Gap(next(rounds), 0.001))
    monkeypatch.setattr(bending, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    parameters = {"location": np.zeros(2), "scale_tril": np.eye(2)}
    start, options = Outcome(parameters, UNKNOWN, True, None, 0), Options(budget=len(gains) - 0.5, tolerance=0.01)
    outcome = bending.fit_by_bending(None, None, guides.load("flow"), start, options, 0)
    assert outcome.converged or "larger --budget" in outcome.reason
    return outcome.converged


def test_only_whole_rounds_that_change_little_are_quiet(monkeypatch):
    """Neither one that the deadline cuts short, nor one that lost much."""
    assert ended(monkeypatch, [0.5, 0.001, -0.001, 0.0, 0.001], False)
    assert not ended(monkeypatch, [0.5, 0.001, -0.001, 0.0, 0.001], True)
    assert not ended(monkeypatch, [0.5, 0.001, -0.5, 0.0, 0.001], False)


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("family", "autoguide", "budget"), [("flow", "AutoFlow", 2.0), ("variational_gp", "AutoVariationalGP", 4.0)]
)
def test_what_bends_a_gaussian_is_handed_back_as_an_autoguide(library, family, autoguide, budget):
    """The library draws from it what the fit drew, converged or not."""
    best = fit_guide(model(library, "banana"), DATA["banana"], family, budget=budget)
    assert type(best.guide).__name__ == autoguide
    draws = sampled(library, best.guide, best.params, DATA["banana"])
    for site in ("x", "y"):
        ours = best.draws[site].values.ravel()
        assert stats.ks_2samp(ours, draws[site].ravel()).pvalue > 1e-4, site


@pytest.mark.parametrize(
    ("family", "autoguide", "functions"),
    [
        ("flow", "AutoFlow", ("masks", "networks", "step")),
        ("variational_gp", "AutoVariationalGP", ("mapping", "reverse", "start")),
    ],
)
def test_the_program_of_what_bends_a_gaussian_stands_alone(family, autoguide, functions, capsys):
    for library in LIBRARIES:
        assert main(["logistic", "--show", "--guides", family, "--libraries", library]) == 0
        program = capsys.readouterr().out
        assert f"{autoguide}(model)" in program and "from guides" not in program
        assert all(f"def {name}(" in program for name in functions)
        compile(program, library, "exec")


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("name", "gaussian", "flow"), [("banana", -0.7256, -0.02), ("funnel", -1.8616, -0.2)])
def test_the_ledger_and_the_verdict(library, name, gaussian, flow):
    """ELBOs beside the log evidence 0; the gap of a flow is said not to be known, a Gaussian is convicted."""
    result = compare(
        model(library, name), DATA[name], guides=["full_rank", "flow"], nuts=False, exact=EXACT[name], budget=300.0
    )
    fits = result.summary["fits"]
    full, bent = (fits[f"{library}-{family}"]["ledger"] for family in ("full_rank", "flow"))
    assert full["elbo"]["value"] == pytest.approx(gaussian, abs=4 * full["elbo"]["mcse"] + 0.01)
    assert flow - 4 * bent["elbo"]["mcse"] < bent["elbo"]["value"] < 4 * bent["elbo"]["mcse"]
    assert bent["optimisation_gap"] is None and bent["family_gap"] is None
    verdict = fits[f"{library}-flow"]["verdict"]
    assert verdict["word"] == "not converged" or "its gap is not known" in verdict["sentence"]
    assert fits[f"{library}-full_rank"]["verdict"]["word"] in ("narrow", "off")
