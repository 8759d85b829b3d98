"""Importance sampling against posteriors whose evidence and moments are known, and what it must refuse."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from conftest import LIBRARIES
from scipy import integrate as scipy_integrate
from scipy import stats

from compare import summary as summary_module
from compare import user_model
from compare.comparison import Request
from compare.fit.reference import acceptance
from compare.fit.reference.acceptance import sample_by_importance
from compare.fit.reference.importance import Proposal, WeightedDraws, adapt, draw, estimate
from compare.fit.reference.modes import find_modes
from compare.fit.reference.moves import move
from compare.fit.reference.proposal import Mixture, around_modes, fit_mixture
from compare.fit.reference.target import OutOfTime, Refused, Target
from compare.options import Options
from compare.summary import Evidence
from tests import posteriors
from tests.eight_schools import LOG_EVIDENCE, NAMES, quadrature
from tests.user_models.eight_schools_numpyro import data


def search(target: Target, seed: int = 0):
    """Two searches, with few starts."""
    rng = np.random.default_rng(seed)
    return tuple(find_modes(target, rng, 64) for _ in range(2))


def test_the_truth_of_eight_schools_by_an_adaptive_rule():
    """By SciPy's quad of a multivariate normal over log tau: the evidence, and the mean of log tau."""
    known = posteriors.eight_schools()
    y, sigma = data["y"], data["sigma"]

    def density(t: float) -> float:
        covariance = np.diag(sigma**2 + np.exp(2 * t)) + 25
        log_prior = stats.halfcauchy.logpdf(np.exp(t), scale=5) + t
        return np.exp(stats.multivariate_normal.logpdf(y, np.zeros(8), covariance) + log_prior + 31)

    mass = scipy_integrate.quad(density, -25, 10, epsabs=1e-12, limit=200)[0]
    mean = scipy_integrate.quad(lambda t: t * density(t), -25, 10, epsabs=1e-12, limit=200)[0] / mass
    assert known.log_evidence == pytest.approx(np.log(mass) - 31, abs=1e-7)
    assert known.log_evidence == pytest.approx(LOG_EVIDENCE, abs=1e-6)
    assert known.mean[9] == pytest.approx(mean, abs=1e-6)
    assert known.mean[8] == pytest.approx(quadrature()[8], abs=1e-5)


def test_the_density_of_a_mixture_is_that_of_its_parts():
    rng = np.random.default_rng(0)
    scale = np.array([[1.0, 0, 0], [0.5, 2, 0], [-1, 0.3, 0.7]])
    mixture = Mixture(np.array([0.3, 0.7]), np.array([[0.0, 0, 0], [3, -1, 2]]), np.array([scale, np.eye(3)]), 4.0)
    points = rng.standard_normal((50, 3))
    whitened = np.linalg.solve(scale, points.T).T
    first = np.logaddexp(
        stats.multivariate_t.logpdf(points, np.zeros(3), scale @ scale.T, 4),
        stats.t.logpdf(whitened, 4).sum(1) - np.log(1.4),
    )
    second = np.logaddexp(
        stats.multivariate_t.logpdf(points, [3, -1, 2], np.eye(3), 4), stats.t.logpdf(points - [3, -1, 2], 4).sum(1)
    )
    expected = np.logaddexp(np.log(0.3) + first, np.log(0.7) + second) - np.log(2)
    np.testing.assert_allclose(mixture.log_density(points), expected)
    drawn = mixture.draw(100_000, rng)
    error = np.sqrt(drawn.var(0) / len(drawn))
    assert np.all(np.abs(drawn.mean(0) - [2.1, -0.7, 1.4]) < 4 * error)
    below = np.mean(drawn < [0.0, 0, 0], axis=0)  # a second look at the draws, by importance sampling
    wide = Mixture(np.ones(1), np.zeros((1, 3)), 3 * np.eye(3)[None], 3.0)
    points = wide.draw(100_000, rng)
    weights = np.exp(mixture.log_density(points) - wide.log_density(points))
    terms = weights[:, None] * np.column_stack([np.ones(len(points)), points < 0])
    assert np.all(np.abs(terms.mean(0) - [1, *below]) < 4 * (terms.std(0) / len(terms) ** 0.5 + 0.5 / 100_000**0.5))


def test_moves_leave_a_posterior_as_it_is():
    """Logs of gamma variables: draws of these stay such, and points that are none become such."""
    shape = np.array([0.7, 2.0, 4.0, 1.0])
    known = posteriors.Known(lambda z: stats.loggamma.logpdf(z, shape).sum(1), shape, shape, np.ones(4))
    target, rng = known.target(np.random.default_rng(1)), np.random.default_rng(2)
    scale = np.diag(stats.loggamma.std(shape))
    for start in (stats.loggamma.rvs(shape, size=(2000, 4), random_state=rng), rng.standard_normal((2000, 4))):
        ended = move(target, start, scale, 25, rng)
        assert min(stats.kstest(ended[:, k], stats.loggamma(shape[k]).cdf).pvalue for k in range(4)) > 1e-4


@pytest.mark.parametrize("name", ["logistic", "eight schools", "t"])
def test_errors_are_honest(name):
    """(estimate - truth) / error over 30 sets of fresh draws: chi-square within 1 in 10,000, none beyond 4.5."""
    known = {
        "logistic": lambda: posteriors.logistic(np.random.default_rng(5), 4),
        "eight schools": posteriors.eight_schools,
        "t": lambda: posteriors.student(np.random.default_rng(3), 5),
    }[name]()
    rng = np.random.default_rng(7)
    target = known.target(rng)
    proposal = adapt(target, find_modes(target, rng, 64), 3.0, 1.1, rng)
    results = [estimate([draw(target, proposal.mixture, 2**12, rng)]) for _ in range(30)]
    z = np.array([(each.log_evidence - known.log_evidence) / each.error for each in results])
    assert stats.chi2(30).ppf(1e-4) < z @ z < stats.chi2(30).ppf(1 - 1e-4)
    assert np.abs(z).max() < 4.5 and abs(z.mean()) < 4 / 30**0.5
    means = np.array([(each.mean - known.mean) / each.mean_error for each in results])
    sds = np.array([(each.sd - known.sd) / each.sd_error for each in results])
    scores = np.hstack([means, sds])
    squares, level = (scores**2).sum(axis=0), 1e-4 / scores.shape[1]
    assert stats.chi2(30).ppf(level) < squares.min() and squares.max() < stats.chi2(30).ppf(1 - level)


def test_two_modes_are_weighed():
    """Of 80% and 20%, ten sds apart."""
    known = posteriors.gaussians(np.array([[1.0, 0, 0, 0], [-1, 0, 0, 0]]), np.full(2, 0.2), np.array([0.8, 0.2]))
    target = known.target(np.random.default_rng(0))
    result = sample_by_importance(target, search(target), np.random.default_rng(1), 0.02)
    assert abs(result.log_evidence) < 4.5 * result.error < 0.09
    np.testing.assert_array_less(np.abs(result.mean - known.mean), 4.5 * result.mean_error)
    np.testing.assert_array_less(np.abs(result.sd - known.sd), 4.5 * result.sd_error)


def test_good_proposals_are_not_abandoned_at_the_deadline(monkeypatch):
    """Draws and the walk after them have twice the time; where a proposal is poor they have not."""
    known = posteriors.gaussians(np.zeros((1, 4)), np.ones(1), np.ones(1))
    target, rng = known.target(np.random.default_rng(0)), np.random.default_rng(1)
    searches = search(target)
    good = adapt(target, searches[0], 3.0, 1.1, rng)
    late = replace(target, deadline=0.0, extended=np.inf)
    monkeypatch.setattr(acceptance, "adapt", lambda *_: good)
    assert abs(sample_by_importance(late, searches, rng, 0.02).log_evidence) < 0.05
    monkeypatch.setattr(acceptance, "adapt", lambda *_: replace(good, relative_ess=0.2))
    with pytest.raises(OutOfTime):
        sample_by_importance(late, searches, rng, 0.02)


def test_a_poor_first_proposal_spares_the_second(monkeypatch):
    known = posteriors.gaussians(np.zeros((1, 4)), np.ones(1), np.ones(1))
    target, searches = known.target(np.random.default_rng(0)), []
    poor = Proposal(Mixture(np.ones(1), np.zeros((1, 4)), np.eye(4)[None], 3.0), 0.01)
    monkeypatch.setattr(acceptance, "adapt", lambda target, search, *_: (searches.append(search), poor)[1])
    with pytest.raises(Refused, match="of the best proposal is"):
        sample_by_importance(target, ("first", "second"), np.random.default_rng(1), 0.02)
    assert searches == ["first"]


def test_a_mode_that_one_search_missed_is_a_reason_to_refuse():
    """Two proposals are fitted to what two searches found."""
    known = posteriors.gaussians(np.array([[3.0, 0, 0, 0], [-3, 0, 0, 0]]), np.full(2, 0.2), np.array([0.9, 0.1]))
    target = known.target(np.random.default_rng(0))
    both, other = search(target)
    assert len(other.modes) == 2
    with pytest.raises(Refused, match="two proposals differ"):
        sample_by_importance(target, (both, replace(other, modes=other.modes[:1])), np.random.default_rng(1), 0.02)


@pytest.mark.parametrize(("kind", "seed"), [(posteriors.funnel, 0), (posteriors.banana, 3)])
def test_funnels_and_valleys_are_refused(kind, seed):
    """A funnel whose log variance has an sd of 2, a valley that bends."""
    known = kind(np.random.default_rng(seed), 5)
    target = known.target(np.random.default_rng(0))
    reasons = "k-hat|relative effective|walk|proposals differ|times what is tolerated"
    with pytest.raises(Refused, match=reasons) as refused, np.errstate(all="ignore"):
        sample_by_importance(target, search(target), np.random.default_rng(1), 0.02)
    assert "is 0" not in str(refused.value).replace("is 0.", "")


def test_quantities_that_are_not_finite_are_refused():
    """The log of a number that may be negative, which it is at 1 draw in 160."""
    known = posteriors.gaussians(np.zeros((1, 4)), np.ones(1), np.ones(1))
    target = known.target(np.random.default_rng(0))
    broken = replace(target, quantities=lambda z: np.log(z[:, :1] + 2.5))
    with pytest.raises(Refused, match="not finite"), np.errstate(all="ignore"):
        sample_by_importance(broken, search(target), np.random.default_rng(1), 0.02)


def test_walkers_leave_a_part_that_both_proposals_stay_in():
    """Proposals that cover a valley's middle have even weights there; its ends hold a quarter of the mass."""
    known = posteriors.Known(
        lambda z: stats.norm.logpdf(z[:, 0]) + stats.norm.logpdf(z[:, 1], 2 * z[:, 0] ** 2, 0.3),
        np.array([0.0, 2]),
        np.array([1.0, np.sqrt(8.09)]),
        np.ones(2),
    )
    target, rng = known.target(np.random.default_rng(0)), np.random.default_rng(1)
    z = rng.standard_normal((20_000, 2))
    valley = np.column_stack([z[:, 0], 2 * z[:, 0] ** 2 + 0.3 * z[:, 1]])
    complaints = []
    for part in (valley, valley[np.abs(z[:, 0]) < 1.15]):
        mixtures = [fit_mixture(part, 12, df, 1.1, rng) for df in (20.0, 30.0)]
        mixtures = [Mixture(m.weights[:-1] / 0.9, m.locations[:-1], m.scales[:-1], m.df) for m in mixtures]
        samples = [draw(target, mixture, 2**14, rng) for mixture in mixtures]
        complaints.append(acceptance.wandering(target, samples, estimate(samples), rng))
    assert not complaints[0] and complaints[1]


def test_a_disagreement_names_what_differs_most():
    """The evidence, each mean and each sd in turn, and by how many of the joint errors."""
    ones, draws = np.ones(3), np.zeros((0, 3))
    first = WeightedDraws(-5.0, 0.03, 0 * ones, ones, 0.03 * ones, 0.03 * ones, 0, 0, 1, draws, draws, draws)
    errors = {"error": 0.04, "mean_error": 0.04 * ones, "sd_error": 0.04 * ones}
    assert not acceptance.disagreement(first, replace(first, **errors))
    others = {"log evidences": [{"log_evidence": -4.5}]}
    others |= {f"{name}s": [{name: getattr(first, name) + 0.5 * row} for row in np.eye(3)] for name in ("mean", "sd")}
    for what, changes in others.items():
        for change in changes:
            sentence = acceptance.disagreement(first, replace(first, **errors, **change))
            assert sentence == f"two proposals differ in their {what} by 10.0 joint standard errors"


def test_too_few_draws_and_too_large_errors_are_refused():
    known = posteriors.logistic(np.random.default_rng(5), 4)
    target = known.target(np.random.default_rng(0))
    with pytest.raises(Refused, match="times what is tolerated"):
        sample_by_importance(target, search(target), np.random.default_rng(1), 1e-4)
    narrow = around_modes(search(target)[0].modes, 3.0, 0.01)
    weighted = estimate([draw(target, narrow, 2**13, np.random.default_rng(2))])
    assert acceptance.trouble(weighted)


def request_of(library: str) -> Request:
    import_module(f"compare.user_model.in_{library}")  # float64
    module = import_module(f"tests.user_models.eight_schools_{library}")
    mine = user_model.register(module.non_centred, library)
    options = Options(reference_budget=4000.0)
    return Request(mine.model, user_model.data_of(mine, module.data), (library,), ("mean_field",), False, options)


@pytest.mark.parametrize(
    "library", [pytest.param(library, marks=[pytest.mark.slow] if library == "pyro" else []) for library in LIBRARIES]
)
def test_eight_schools(library):
    """Log evidence and means of all latents against one integral; the ledger closes; too little evidence shows."""
    from compare import pipeline

    comparison = pipeline.compare(request_of(library))
    known, reference = comparison.log_evidence, comparison.summaries["reference"]
    assert reference.method == "importance" and reference.verdict.word == "agrees"
    assert 0 < known.mcse < 0.01 and abs(known.value - LOG_EVIDENCE) < 4.5 * known.mcse
    for name, mean in zip(NAMES, quadrature(), strict=True):
        element = reference.judged[name]
        assert abs(element.mean - mean) < 4.5 * element.mcse_mean
    ledger = comparison.summaries[f"{library}-mean_field"].ledger
    assert ledger.evidence_gap.mcse == pytest.approx(np.hypot(ledger.elbo.mcse, known.mcse), rel=1e-4)
    assert ledger.elbo.value + ledger.evidence_gap.value == pytest.approx(known.value)
    assert ledger.family_gap.value + ledger.optimisation_gap.value == pytest.approx(ledger.evidence_gap.value)
    schema = Path(summary_module.__file__).parent / "report" / "summary.schema.json"
    jsonschema.Draft202012Validator(json.loads(schema.read_text(encoding="utf-8"))).validate(comparison.summary)
    unaided = {name: replace(fit, verdict=None) for name, fit in comparison.summaries.items()}
    options = comparison.request.options
    agreed = pipeline.judge_all(comparison.fits, unaided, {}, known, options)
    assert agreed["reference"].verdict.word == "agrees"
    missing = Evidence(known.value - 0.9, known.mcse, known.method)  # as if 60% of the mass were missed
    judged = pipeline.judge_all(comparison.fits, unaided, {}, missing, options)
    assert {fit.verdict.word for fit in judged.values()} == {"unreliable"}
    assert "above the log evidence of the reference, which misses mass" in judged["reference"].verdict.sentence
