"""NUTS against the exact posterior, within four of its own standard errors, in both libraries."""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from conftest import LIBRARIES
from scipy.signal import lfilter

import models
from compare import user_model
from compare.comparison import Job, Request, TooSlow
from compare.fit import draw_many, run
from compare.fit.mcmc import nuts, nuts_pyro, reference
from compare.fit.svi.protocol import bind
from compare.measure.measures import measure
from compare.options import Options
from compare.plan import plan
from compare.summary import to_json
from compare.user_model import twins
from compare.verdict.judge import judge
from tests.user_models import hard_numpyro

# What is tested is what NUTS finds, not how soon: no machine is too slow for this budget.
PATIENT = Options(budget=600.0)


def sampled(library: str, name: str, data, seed: int, options: Options = PATIENT):
    job = Job(f"{library}-nuts", name, data, "nuts", library, None, seed, options)
    fit = run(job)
    assert fit.status == "done", fit.reason
    summary = measure(fit, models.load(name).exact(data), None)
    summary = to_json(replace(summary, verdict=judge(summary, options)))
    return fit, summary


def within_four_errors(summary) -> None:
    for name, entry in summary["variables"].items():
        true_sd = entry["sd"] / entry["sd_ratio"]
        assert abs(entry["mean_error"]) * true_sd <= 4 * entry["mcse_mean"], f"mean of {name}"
        assert abs(entry["sd"] - true_sd) <= 4 * entry["mcse_sd"], f"sd of {name}"
    for pair, entry in summary["correlations"].items():
        assert abs(entry["value"] - entry["truth"]) <= 4 * entry["mcse"], f"correlation of {pair}"


@pytest.mark.parametrize("library", LIBRARIES)
def test_steps_are_adapted_to_the_acceptance_that_is_asked_for(library):
    """A higher rate takes shorter steps."""
    sizes = {}
    for acceptance in (0.8, 0.97):
        fit, _ = sampled(library, "coin", models.load("coin").data(), 3, replace(PATIENT, acceptance=acceptance))
        stats = fit.tree["sample_stats"]
        assert float(stats["acceptance_rate"].mean()) > acceptance - 0.03
        sizes[acceptance] = float(stats["step_size"].mean())
    assert sizes[0.97] < 0.7 * sizes[0.8]


def test_a_dense_mass_matrix_takes_few_steps_on_collinear_columns():
    """On Longley a diagonal mass matrix needs over 100 steps a transition, a dense one under 10."""
    data = models.load("linear").data(prior="known")
    fit, summary = sampled("numpyro", "linear", data, 1, replace(PATIENT, mass="dense"))
    within_four_errors(summary)
    assert float(fit.tree["sample_stats"]["n_steps"].mean()) < 20


@pytest.mark.parametrize("dense", [False, True])
def test_the_mass_matrix_in_pyro_is_as_asked_for(dense):
    data, static = nuts_pyro.split_arguments(models.load("linear").data().arguments())
    twin = bind(twins.twin("linear", "pyro"), static)
    kernel = nuts_pyro.kernel_of(twin.model, data, 10, nuts.Adaptation(0.8, dense))
    shapes = {tuple(value.shape) for value in kernel.inverse_mass_matrix.values()}
    assert shapes == ({(8, 8)} if dense else {(8,)})


def test_auto_is_dense_for_few_latents_only():
    def dense(mass: str, dimension: int) -> bool:
        job = SimpleNamespace(options=Options(mass=mass), layout=SimpleNamespace(dimension=dimension))
        return nuts.Adaptation.of(job).dense

    assert [dense("auto", d) for d in (1, 2, 20, 21)] == [False, True, True, False]
    assert [dense(mass, d) for mass in ("dense", "diagonal") for d in (2, 21)] == [True, True, False, False]


SEEDS = [
    pytest.param(seed, library, marks=[pytest.mark.slow] * (seed >= {"numpyro": 5, "pyro": 2}[library]))
    for library in LIBRARIES
    for seed in range(20)
]


@pytest.mark.parametrize(("seed", "library"), SEEDS)
def test_the_coin_on_twenty_seeds(seed, library):
    fit, summary = sampled(library, "coin", models.load("coin").data(), seed)
    within_four_errors(summary)
    assert summary["diagnostics"]["r_hat"] < 1.01
    assert min(summary["diagnostics"]["ess_bulk"], summary["diagnostics"]["ess_tail"]) >= 400
    assert fit.gradients == int(fit.tree["sample_stats"]["n_steps"].sum())
    assert summary["verdict"]["word"] == "agrees"


@pytest.mark.parametrize(
    ("length", "observe", "library"),
    [
        pytest.param(length, observe, library, marks=[pytest.mark.slow] * is_slow)
        for length in (2, 10)
        for observe in ("last", "all")
        for library in LIBRARIES
        for is_slow in [(length, observe) != (2, "last") and (length, observe, library) != (10, "all", "numpyro")]
    ],
)
def test_the_chain_with_its_correlations(length, observe, library):
    data = models.load("chain").data(length=length, observe=observe)
    _, summary = sampled(library, "chain", data, 0)
    assert summary["correlations"]
    within_four_errors(summary)
    assert summary["verdict"]["word"] == "agrees"


@pytest.mark.parametrize(
    ("method", "steps", "used"),
    [("nuts", 7, ["soon"] * 4), ("nuts", 1023, ["soon", "fast", "fast", "fast"]), ("reference", 7, ["fast"] * 4)],
)
def test_what_runs_for_long_is_compiled_to_run_fast(monkeypatch, method, steps, used):
    """A small model's chains run what is compiled soonest, unless they are a reference or make long trajectories."""
    from compare.fit.mcmc import nuts_numpyro

    calls = []

    def program(name):
        records = None, (None, None, np.full((nuts_numpyro.STRIDE, 4), steps), None, None)
        return lambda state, *_: calls.append(name) or (state, records)

    run = SimpleNamespace(initialise=lambda *_: None, advance={True: program("soon"), False: program("fast")})
    monkeypatch.setattr(nuts_numpyro, "sampler", lambda *_: run)
    options = Options(warmup=3 * nuts_numpyro.STRIDE + 1)
    job = Job("chains", "coin", None, method, "numpyro", None, 0, options, layout=SimpleNamespace(dimension=1))
    with nuts_numpyro.chains(job, "model", 0.8, {"heads": np.zeros(3)}, (), math.inf):
        assert calls == used


def test_statistics_of_every_transition(library):
    fit, _ = sampled(library, "coin", models.load("coin").data(), 1)
    stats = fit.tree["sample_stats"]
    assert {"diverging", "energy", "n_steps", "tree_depth", "log_joint", "log_prior"} <= set(stats.data_vars)
    assert stats["diverging"].dtype == bool
    assert (2 ** (stats["tree_depth"] - 1) <= stats["n_steps"]).all()
    assert (stats["n_steps"] <= 2 ** stats["tree_depth"] - 1).all()
    step_size = stats["step_size"].values
    assert (step_size > 0).all() and (step_size == step_size[:, :1]).all(), "adaptation ended with the warm-up"
    assert 0.7 < float(stats["acceptance_rate"].mean()) < 0.99, "its target is 0.8"
    # The energy is minus the log joint plus a Jacobian and a kinetic energy: the two move together.
    assert float(stats["energy"].std()) > 0


def test_a_target_that_cannot_be_met_is_reported(library, monkeypatch):
    """With an ESS beyond its budget the run ends at the budget; it is judged by what its draws show."""
    collect = nuts.run_until_enough
    monkeypatch.setattr(nuts, "run_until_enough", lambda *arguments: collect(*arguments[:4], 0.0))  # time is up
    options = Options(ess=1e7, budget=600.0)
    fit, summary = sampled(library, "coin", models.load("coin").data(), 0, options)
    assert not fit.tree.attrs["targets_met"]
    assert summary["verdict"]["word"] in ("agrees", "undecided")
    assert "ESS" in summary["verdict"]["sentence"]


@pytest.mark.parametrize(("apart", "diverging", "n_blocks"), [(5.0, 0, nuts.LOOKS), (0.0, 1, 40), (0.0, 3, 1)])
def test_chains_that_stay_apart_or_diverge_are_stopped(apart, diverging, n_blocks):
    """Four chains of which one is somewhere else end after ten looks; those that agree go on for their ESS, but leave
    what they are asked to spare where more than one in a thousand diverges."""
    rng, blocks = np.random.default_rng(0), []

    def block():
        blocks.append(rng.standard_normal((4, 300)) + apart * np.array([[0.0], [0.0], [0.0], [1.0]]))
        if len(blocks) == 40:
            raise StopIteration
        flags = np.arange(1200).reshape(4, 300) < diverging
        return {"z": blocks[-1]}, {"n_steps": np.ones((4, 300)), "energy": np.ones((4, 300)), "diverging": flags}

    def density(latents, data):
        return np.zeros(len(latents["z"])), np.zeros(len(latents["z"]))

    layout = SimpleNamespace(observed={})
    options = Options(ess=1e7, budget=6000.0)
    job = Job("reference", "coin", None, "reference", "numpyro", options=options, layout=layout)

    def collect():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(nuts, "watched", lambda job, latents: latents)
            patch.setattr(nuts, "keep", lambda latents, job: (latents, {}))
            patch.setattr(nuts, "build", lambda draws, stats, observed, labels: xr.DataTree())
            return nuts.run_until_enough(job, block, density, None, time.perf_counter() + 4400, 4500.0)

    if n_blocks < 40:
        try:
            tree, _ = collect()
        except StopIteration:
            pytest.fail("the run went on")
        reason = "25% of its budget of 6000 s is used up: transitions diverge" if diverging else "the chains stay apart"
        assert not tree.attrs["targets_met"] and tree.attrs["reason"].endswith(reason)
    else:
        with pytest.raises(StopIteration):
            collect()
    assert len(blocks) == n_blocks


def test_hundreds_of_elements_are_looked_at_no_oftener_than_they_must(monkeypatch):
    """A run ends at the draw where all elements meet the targets, and says what the worst of all is; on the way, two
    elements do, and all of them whenever there are twice as many draws."""
    rng, options, counted = np.random.default_rng(0), Options(ess=1200.0), []
    draws = rng.standard_normal((20, 4, 1800))
    draws[7] = lfilter([1.0], [1.0, -0.7], draws[7])  # the element that is last to meet them
    posterior = {"z": np.moveaxis(draws[:-1], 0, -1), "fixed": np.ones((4, 1800, 3)), "scale": np.exp(draws[-1])}
    looks = [{name: value[:, :end] for name, value in posterior.items()} for end in range(300, 1801, 300)]
    every = [nuts.worst(nuts.elements(drawn))[:2] for drawn in looks]
    rhat, watch = nuts.arviz_stats.rhat, nuts.Watch(options)
    monkeypatch.setattr(nuts.arviz_stats, "rhat", lambda each: counted.append(1) or rhat(each))
    seen = [watch.look(drawn) for drawn in looks]
    assert [watch.is_enough(*worst) for worst in every] == [False] * 5 + [True]
    assert seen == every, "the same element is the worst throughout"
    assert len(counted) == 20 * 4 + 2 * 3, "all of them after 300, 600, 1,200 draws and at the end"
    watch.n_draws, watch.suspects = 1200, (3, 3)
    assert watch.look(looks[4]) == every[4], "those that were worst meet the targets, and so all are looked at"
    watch.n_draws, watch.suspects, watch.options = 1200, (3, 3), Options(ess=1e7)
    assert watch.look(looks[4]) == nuts.worst([draws[3, :, :1500]])[:2]
    assert watch.look_at_all(looks[4]) == every[4]


def test_slow_chains_are_not_taken_for_chains_in_modes():
    """R-hat of autocorrelated chains falls from look to look; that of chains in two modes stays."""
    assert nuts.stay_apart([1.53] * nuts.LOOKS)
    assert not nuts.stay_apart([1.53] * (nuts.LOOKS - 1))
    assert not nuts.stay_apart([3.0, 2.6, 2.4, 2.2, 2.1, 2.0, 1.9, 1.8, 1.75, 1.7])
    assert not nuts.stay_apart([*[1.53] * 9, 1.39])


def test_a_budget_that_ends_in_the_warm_up_fails(library):
    job = Job(f"{library}-nuts", "coin", models.load("coin").data(), "nuts", library, None, 0, Options(budget=1e-3))
    fit = run(job)
    assert fit.status == "failed"
    assert "warming up" in fit.reason and fit.reason.endswith("give it a larger --budget")


def test_a_reference_that_is_still_warming_up_names_its_own_budget(monkeypatch):
    def warming_up(*_, **__):
        raise nuts.out_of_budget(7.0)

    def slow(*_, **__):
        raise TooSlow("NUTS needs a --budget of 20 s")

    data = models.load("logistic").data("breast_cancer")
    job = Job("reference", "logistic", data, "reference", "numpyro", None, 0, Options(reference_budget=7.0))
    monkeypatch.setattr(reference, "sample", warming_up)
    assert run(job).reason.endswith("when its budget of 7 s ended; give it a larger --reference-budget")
    monkeypatch.setattr(reference, "sample", slow)
    fit = run(job)
    assert fit.status == "skipped" and fit.reason == "NUTS needs a --reference-budget of 20 s"


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self, monkeypatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(nuts.time, "perf_counter", lambda: self.now)

    def warm_up(self, pace: nuts.Pace, first: int, last: int, seconds: float) -> None:
        """The transitions from the first to the last, each of the same length."""
        for done in range(first, last + 1):
            self.now += seconds
            pace.look(done)


def test_a_warm_up_far_too_slow_for_its_budget_is_given_up_early(monkeypatch):
    """Of 250 transitions and 100 draws at 0.6 s, 210 s in all, when 125 are done, after 75 of its 100 s."""
    clock = Clock(monkeypatch)
    pace = nuts.Pace(250, clock.now + 100, 100)
    with pytest.raises(TooSlow, match=r"--budget of 210 s or more, .* 100 draws of each chain; it is 100 s$"):
        clock.warm_up(pace, 1, 250, 0.6)
    assert clock.now == pytest.approx(1075)


def test_a_hopeless_warm_up_is_given_up_at_once(monkeypatch):
    clock = Clock(monkeypatch)
    pace = nuts.Pace(250, clock.now + 100, 100)
    with pytest.raises(TooSlow, match="of 700 s"):
        clock.warm_up(pace, 1, 250, 2.0)
    assert clock.now == pytest.approx(1052)


@pytest.mark.parametrize(("before", "after"), [(0.39, 0.39), (0.9, 0.02), (0.05, 0.5)])
def test_a_warm_up_that_may_end_in_time_goes_on(before, after, monkeypatch):
    """At up to half as long again; one that is slow before its first mass matrix, and one that is slow after it."""
    clock = Clock(monkeypatch)
    pace = nuts.Pace(250, clock.now + 100, 100)
    clock.warm_up(pace, 1, 100, before)
    clock.warm_up(pace, 101, 250, after)


def test_what_is_done_once_is_no_part_of_the_pace(monkeypatch):
    """As compiling, after which the measurement begins again."""
    clock = Clock(monkeypatch)
    pace = nuts.Pace(250, clock.now + 100, 100)
    clock.warm_up(pace, 1, 110, 0.01)
    clock.now += 50
    pace.restart()
    clock.warm_up(pace, 111, 250, 0.01)


def test_a_run_that_is_given_up_is_skipped_with_a_budget_that_would_do(library, monkeypatch):
    """Where each transition seems to take a hundredth of the budget; a reference names its own option."""
    monkeypatch.setattr(nuts_pyro, "forkable", lambda: False)
    look = nuts.Pace.look

    def late(pace: nuts.Pace, done: int) -> None:
        monkeypatch.setattr(nuts.time, "perf_counter", lambda: pace.deadline - pace.budget * (1 - done / 50))
        look(pace, done)

    data, options = models.load("coin").data(), Options(budget=600.0)
    with monkeypatch.context() as patch:
        patch.setattr(nuts.Pace, "look", late)
        fit = run(Job(f"{library}-nuts", "coin", data, "nuts", library, None, 0, options))
    assert fit.status == "skipped" and fit.tree is None
    assert fit.reason.startswith("NUTS needs a --budget of ") and fit.reason.endswith("; it is 600 s")


def test_data_of_another_shape_can_follow():
    """A user's model in one process, on more data: a kernel of NumPyro's that starts twice maps its chains twice."""
    model, options = hard_numpyro.mirrored, Options(budget=600.0, ess=100.0, warmup=100)
    for size in (1, 2):
        data = {"shift": np.zeros(size), "mirrors": np.zeros(size), "y": np.ones(size), "noise": np.ones(size)}
        own = user_model.register(model, "numpyro", None)
        request = Request(own.model, user_model.data_of(own, data), ("numpyro",), (), True, options, 0)
        fit = run(next(job for job in plan(request) if job.method == "nuts"))
        assert fit.status == "done", fit.reason
        z = fit.tree["posterior"]["z"].values
        assert z.shape[2:] == (size,)
        assert z.mean((0, 1)) == pytest.approx(0.5, abs=6 * np.sqrt(0.5 / 100)), "both are N(0.5, 0.5)"


def test_many_data_sets_can_follow_one():
    """In one process: what the library kept of the first run must not be taken for that of many."""
    jobs = [
        Job(
            "numpyro-nuts",
            "coin",
            replace(models.load("coin").data(), heads=heads),
            "nuts",
            "numpyro",
            None,
            0,
            Options(),
        )
        for heads in (6, 2, 8)
    ]
    assert run(jobs[0]).status == "done"
    low, high = draw_many(jobs[1:], 200)
    for drawn, mean, sd in (
        (low, 4 / 14, math.sqrt(4 * 10 / 14**2 / 15)),
        (high, 10 / 14, math.sqrt(4 * 10 / 14**2 / 15)),
    ):
        theta = drawn.latents["theta"]
        assert abs(theta.mean() - mean) < 4 * sd / math.sqrt(len(theta) / 2), "draws that far apart lose little"


def test_the_library_may_say_that_its_compiler_is_deprecated(monkeypatch):
    """PyTorch does so from version 2.15 on, in every chain; what a user's model warns of is still seen."""
    torch = pytest.importorskip("torch")
    pyro = pytest.importorskip("pyro")
    trace = torch.jit.trace

    def deprecated(*args, **kwargs):
        warnings.warn("`torch.jit.trace` is deprecated. Please switch to `torch.compile`.", FutureWarning, stacklevel=2)
        return trace(*args, **kwargs)

    def warning_model():
        warnings.warn("the model's", FutureWarning, stacklevel=2)
        pyro.sample("x", pyro.distributions.Normal(torch.zeros(2, dtype=torch.float64), 1.0).to_event(1))

    monkeypatch.setattr(torch.jit, "trace", deprecated)
    with warnings.catch_warnings(record=True) as caught, pyro.validation_enabled(False):
        warnings.simplefilter("always")
        nuts_pyro.kernel_of(warning_model, {}, 10, nuts.Adaptation(0.8))
    assert {str(warning.message) for warning in caught if warning.category is FutureWarning} == {"the model's"}
