"""A reference that has not seen a mode is convicted, with where it is and how much of the mass it holds."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from conftest import LIBRARIES
from scipy import stats

from compare import pipeline, user_model
from compare.comparison import Fit, Job, Request
from compare.fit.mcmc import reference
from compare.fit.reference import missed
from compare.fit.reference.missed import unvisited, with_missed_modes
from compare.fit.reference.modes import find_modes
from compare.fit.reference.target import OutOfTime, Refused, Target
from compare.fit.tree import build, split
from compare.options import Options
from compare.plan import plan
from compare.summary import Evidence
from compare.verdict import thresholds
from tests.hard_parts import Mixture
from tests.hard_posteriors import names

DIMENSION, N_DRAWS = 25, 2000

MISSING = "the chains of the reference have not seen all modes"


def two_modes(light: float, apart: float = 4.0) -> Mixture:
    """A mode at 0, where chains begin, and a light one that none of them reaches: in more dimensions than importance
    sampling is tried in."""
    means = np.zeros((2, DIMENSION))
    means[1, 0] = apart
    return Mixture(names("z", *range(DIMENSION)), means, np.full(2, 0.3), np.array([1 - light, light]), 0.0)


def request_of(library: str, posterior: Mixture, seed: int = 0, **options: float) -> Request:
    """A comparison of a user's model with this posterior."""
    import_module(f"compare.user_model.in_{library}")  # float64
    widths = np.sqrt(posterior.sds**2 / (1 - posterior.sds**2))  # of the likelihood
    centers = posterior.means * (1 + widths**2)[:, None]
    evidences = stats.norm.logpdf(centers, 0, np.sqrt(1 + widths**2)[:, None]).sum(1)
    data = {"centers": centers, "widths": widths, "log_weights": np.log(posterior.weights) - evidences}
    mine = user_model.register(import_module(f"tests.user_models.hard_{library}").mixture, library)
    return Request(
        mine.model, user_model.data_of(mine, data), (library,), ("mean_field",), False, Options(**options), seed
    )


def job_of(library: str, posterior: Mixture, **options: float) -> Job:
    (job,) = plan(request_of(library, posterior, **options))[:1]
    assert job.method == "reference"
    return job


def tree_of(posterior: Mixture, seed: int = 0):
    """A reference's tree of exact draws."""
    energy = np.random.default_rng(1).standard_normal((4, N_DRAWS // 4))
    draws = split({"z": posterior.draw(N_DRAWS, np.random.default_rng(seed))})
    tree = build(draws, {"diverging": np.zeros(energy.shape, bool), "energy": energy}, {})
    tree.attrs.update(log_evidence=-0.36, log_evidence_mcse=0.01, log_evidence_method="bridge sampling")
    return tree


def one_mode(posterior: Mixture, heavy: int = 0) -> Mixture:
    """The posterior without the other mode."""
    return replace(posterior, weights=np.eye(2)[heavy])


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_mode_that_no_draw_has_seen_is_named_with_its_mass(library):
    """By draws of the heavier mode, of the lighter, and of both."""
    posterior = two_modes(0.3)
    job = job_of(library, posterior)
    for seen, mass, where in ((0, 0.3, "z[0] 4"), (1, 0.7, "z[0] ")):
        attrs = with_missed_modes(job, tree_of(one_mode(posterior, seen))).attrs
        stated = float(attrs["missed"].split("about ")[1].split("%")[0]) / 100
        assert abs(stated - mass) < 0.06 and f"no chain has seen a mode at {where}" in attrs["missed"]
        assert "log_evidence" not in attrs and attrs["no_log_evidence"] == MISSING
    attrs = with_missed_modes(job, tree_of(posterior)).attrs
    assert "missed" not in attrs and "no_search" not in attrs and attrs["log_evidence"] == -0.36


@pytest.mark.parametrize(("light", "convicted"), [(0.05, True), (0.02, True), (0.001, False)])
def test_what_is_missed_counts_from_one_per_cent_of_the_mass(light, convicted):
    job = job_of("numpyro", two_modes(light))
    tree = with_missed_modes(job, tree_of(one_mode(two_modes(light))))
    assert ("missed" in tree.attrs) == convicted and "no_search" not in tree.attrs


def test_modes_that_are_one_for_the_chains_are_not_missed():
    """Two of them three sds apart, to both of which draws climb; and two at one place."""
    for posterior in (two_modes(0.3, apart=0.9), two_modes(0.5, apart=0.0)):
        attrs = with_missed_modes(job_of("numpyro", posterior), tree_of(posterior)).attrs
        assert "missed" not in attrs and "no_search" not in attrs


def test_a_mode_that_could_not_be_weighed_convicts_nobody(monkeypatch):
    """Time ran out: a note names the mode, and the evidence, which it is not in, is taken away."""

    def late(*_):
        raise OutOfTime

    monkeypatch.setattr(missed, "missed_mass", late)
    attrs = with_missed_modes(job_of("numpyro", two_modes(0.3)), tree_of(one_mode(two_modes(0.3)))).attrs
    assert "missed" not in attrs and "log_evidence" not in attrs and attrs["no_log_evidence"] == MISSING
    assert attrs["no_search"].startswith("no chain has seen a mode at z[0] 4, and its mass could not be estimated:")


def test_a_funnel_without_a_top_has_no_modes_that_could_be_missed():
    """theta ~ N(0, tau), tau ~ HalfCauchy(5): the density grows without end where tau falls to 0."""
    rng, size = np.random.default_rng(0), 10

    def log_joint(z: np.ndarray) -> np.ndarray:
        log_tau, theta = z[:, 0], z[:, 1:]
        return (1 - size) * log_tau - np.log1p(np.exp(2 * log_tau) / 25) - (theta**2).sum(1) * np.exp(-2 * log_tau) / 2

    def gradient(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        log_tau, theta = z[:, :1], z[:, 1:]
        inverse = np.exp(-2 * log_tau)
        in_tau = 1 - size - 2 / (1 + 25 * inverse) + (theta**2).sum(1, keepdims=True) * inverse
        return log_joint(z), np.concatenate([in_tau, -theta * inverse], axis=1)

    def drawn(n: int) -> np.ndarray:
        tau = 5 * np.abs(rng.standard_cauchy((n, 1)))
        return np.concatenate([np.log(tau), tau * rng.standard_normal((n, size))], axis=1)

    with np.errstate(over="ignore", invalid="ignore"):
        target = Target(size + 1, log_joint, gradient, drawn(1024))
        search = find_modes(target, rng, 64, 2**12)
    assert search.modes and not search.has_maximum


def test_draws_that_climb_to_none_of_the_modes_convict_nobody():
    """Half of the draws are around 0, where the search has met no mode: what it met says little of them."""

    def log_joint(z: np.ndarray) -> np.ndarray:
        return np.logaddexp(*(stats.norm.logpdf(z, at, 0.3).sum(1) for at in (0, 4)))

    def gradient(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return log_joint(z), -(z - 4 * (z.mean(1, keepdims=True) > 2)) / 0.09

    rng = np.random.default_rng(0)
    draws = 0.3 * rng.standard_normal((1000, 5))
    target = Target(5, log_joint, gradient, 4 + rng.standard_normal((1024, 5)))
    modes = tuple(mode for mode in find_modes(target, rng, 64).modes if mode.location[0] > 2)
    assert len(modes) == 1
    with pytest.raises(Refused, match="climb to none of the modes"):
        unvisited(target, modes, draws)
    draws[::2] += 4
    assert unvisited(target, modes, draws) == []


def test_where_nothing_is_a_maximum_no_mode_is_missed(monkeypatch):
    """The highest probes stand for modes then: a note says that nothing is known, and the evidence stays."""
    search = missed.find_modes
    monkeypatch.setattr(missed, "find_modes", lambda *given: replace(search(*given), has_maximum=False))
    attrs = with_missed_modes(job_of("numpyro", two_modes(0.3)), tree_of(one_mode(two_modes(0.3)))).attrs
    assert "missed" not in attrs and attrs["log_evidence"] == -0.36
    assert attrs["no_search"] == "the log joint has no maximum"


def test_many_light_modes_count_together():
    """Of 64 equal modes in six dimensions, the corners of a cube, the draws have seen one half."""

    def log_joint(z: np.ndarray) -> np.ndarray:
        return stats.norm.logpdf(np.abs(z), 1, 0.1).sum(1)

    def gradient(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return log_joint(z), -np.sign(z) * (np.abs(z) - 1) / 0.01

    rng = np.random.default_rng(0)
    target = Target(6, log_joint, gradient, rng.standard_normal((1024, 6)))
    search = find_modes(target, rng, 1024)
    assert len(search.modes) == 64
    draws = rng.choice([-1.0, 1.0], (8000, 6)) + 0.1 * rng.standard_normal((8000, 6))
    assert unvisited(target, search.modes, draws) == []
    draws[:, 0] = np.abs(draws[:, 0])
    unseen = unvisited(target, search.modes, draws)
    assert {float(np.sign(search.modes[k].location[0])) for k in unseen} == {-1.0} and len(unseen) == 32
    assert abs(missed.missed_mass(target, search.modes, unseen, draws, rng) - 0.5) < 0.05


def test_every_verdict_that_rests_on_it_is_unreliable(monkeypatch):
    """And a note says where modes could not be looked for."""
    posterior = two_modes(0.3)
    request = request_of("numpyro", posterior)
    monkeypatch.setattr(reference, "sample", lambda *_, **__: (tree_of(one_mode(posterior)), 1000))
    jobs = [replace(job, reason=None) for job in plan(request)]
    fits = pipeline.make_fits(jobs, pipeline.Workers(), pipeline.silent)
    truth = pipeline.find_truth(request.model, request.data, fits)
    summaries = {name: pipeline.measure(fit, truth, None) for name, fit in fits.items()}
    judged = pipeline.judge_all(fits, summaries, {}, Evidence(None, None, "not known"), request.options)
    assert {name: fit.verdict.word for name, fit in judged.items()} == {
        "reference": "unreliable",
        "numpyro-mean_field": "unreliable",
    }
    assert all("The reference misses about" in fit.verdict.sentence for fit in judged.values())
    assert not any("miss a mode" in note for note in pipeline.notes(jobs, fits))
    for attribute, value in (("MOST_DIMENSIONS", 24), ("SHARE", np.inf)):
        with monkeypatch.context() as patch:
            patch.setattr(missed, attribute, value)
            blind = with_missed_modes(jobs[0], tree_of(one_mode(posterior)))
        assert "missed" not in blind.attrs
        (note,) = pipeline.unsearched({"reference": Fit(jobs[0], "done", tree=blind)})
        assert "miss a mode is not known: " in note and ("24 unconstrained" in note or "not done within 0 s" in note)


@pytest.mark.slow
@pytest.mark.parametrize(("library", "light"), [("numpyro", 0.3), ("numpyro", 0.05), ("pyro", 0.3)])
def test_chains_in_one_of_two_modes_are_never_a_calm_word(library, light, monkeypatch):
    """On five seeds, though their R-hat shows nothing; without the search the reference agrees."""
    for seed in range(5):
        options = {"reference_ess": 400.0, "reference_budget": 1200.0, "reference_warmup": 200}
        summaries = pipeline.compare(request_of(library, two_modes(light), seed, **options)).summaries
        assert summaries["reference"].diagnostics.r_hat < thresholds.R_HAT_SHORT
        assert {fit.verdict.word for fit in summaries.values()} == {"unreliable"}
        assert "The reference misses about" in summaries["reference"].verdict.sentence
    if library == "numpyro":
        monkeypatch.setattr(reference, "with_missed_modes", lambda job, tree: tree)
        summaries = pipeline.compare(request_of(library, two_modes(light), **options)).summaries
        assert {fit.verdict.word for fit in summaries.values()} == {"agrees"}
