"""Bridge sampling against evidences that are known, and what it must refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from conftest import LIBRARIES
from scipy import special, stats

from compare import user_model
from compare.comparison import Fit, Request
from compare.fit.reference import bridge as bridge_module
from compare.fit.reference import evidence
from compare.fit.reference import solve as solve_module
from compare.fit.reference.bridge import bridge, solve
from compare.fit.reference.target import Refused, Target
from compare.fit.tree import build, split
from compare.measure.truth import Sampled, evidence_error
from compare.measure.truth import evidence as measured_evidence
from compare.options import Options
from compare.plan import plan
from compare.verdict import thresholds
from tests.user_models import noisy_slopes

Draw = Callable[[int, np.random.Generator], np.ndarray]
Density = Callable[[np.ndarray], np.ndarray]


def target_of(log_joint: Density, dimension: int) -> Target:
    """A target without gradients, which bridge sampling does not need."""
    return Target(dimension, log_joint, lambda points: (log_joint(points), points))


def regression(rng: np.random.Generator) -> tuple[float, Density, Draw]:
    """Conjugate linear regression of 30 rows and 6 columns: its evidence is a Gaussian's density of the targets."""
    x = rng.standard_normal((30, 6)) * 10 ** rng.uniform(-1, 1, 6)
    y = x @ rng.standard_normal(6) + rng.standard_normal(30)
    covariance = np.linalg.inv(x.T @ x + np.eye(6))
    mean, factor = covariance @ x.T @ y, np.linalg.cholesky(covariance)

    def log_joint(z: np.ndarray) -> np.ndarray:
        return stats.norm.logpdf(y, z @ x.T, 1).sum(1) + stats.norm.logpdf(z).sum(1)

    known = float(stats.multivariate_normal.logpdf(y, np.zeros(30), x @ x.T + np.eye(30)))
    return known, log_joint, lambda n, rng: mean + rng.standard_normal((n, 6)) @ factor.T


def chain(rng: np.random.Generator) -> tuple[float, Density, Draw]:
    """A Gaussian random walk of 5 steps, the last one seen through noise."""
    y = float(rng.normal(0, 3))
    precision = np.diag([2.0, 2, 2, 2, 1]) - np.eye(5, k=1) - np.eye(5, k=-1)
    precision[4, 4] += 4
    covariance = np.linalg.inv(precision)
    mean, factor = covariance @ np.array([0, 0, 0, 0, 4 * y]), np.linalg.cholesky(covariance)

    def log_joint(z: np.ndarray) -> np.ndarray:
        steps = np.diff(z, axis=1, prepend=0.0)
        return stats.norm.logpdf(steps).sum(1) + stats.norm.logpdf(y, z[:, 4], 0.5)

    draw = lambda n, rng: mean + rng.standard_normal((n, 5)) @ factor.T  # noqa: E731
    return float(stats.norm.logpdf(y, 0, np.sqrt(5.25))), log_joint, draw


def coin(rng: np.random.Generator) -> tuple[float, Density, Draw]:
    """Heads of 10 tosses under a Beta(2, 2) prior, on the logit scale: beta-binomial."""
    heads = int(rng.integers(0, 11))

    def log_joint(z: np.ndarray) -> np.ndarray:
        theta = special.expit(z[:, 0])
        jacobian = special.log_expit(z[:, 0]) + special.log_expit(-z[:, 0])
        return stats.beta.logpdf(theta, 2, 2) + stats.binom.logpmf(heads, 10, theta) + jacobian

    known = float(stats.betabinom.logpmf(heads, 10, 2, 2))
    return known, log_joint, lambda n, rng: special.logit(rng.beta(2 + heads, 12 - heads, (n, 1)))


def logistic(rng: np.random.Generator) -> tuple[float, Density, Draw]:
    """Logistic regression on 4 orthogonal indicators: four integrals, by the trapezoid rule."""
    signs = np.where(rng.random((12, 4)) < 0.7, 1.0, -1.0)
    b = np.linspace(-12, 12, 4001)
    height = stats.norm.logpdf(b, 0, 2)[:, None] + special.log_expit(signs * b[:, None, None]).sum(1)
    below = np.cumsum(np.exp(height), axis=0) - np.exp(height) / 2

    def log_joint(z: np.ndarray) -> np.ndarray:
        return stats.norm.logpdf(z, 0, 2).sum(1) + special.log_expit(signs * z[:, None, :]).sum((1, 2))

    def draw(n: int, rng: np.random.Generator) -> np.ndarray:
        return np.column_stack([np.interp(rng.random(n) * below[-1, k], below[:, k], b) for k in range(4)])

    return float(np.log(np.trapezoid(np.exp(height), b, axis=0)).sum()), log_joint, draw


def funnel(rng: np.random.Generator) -> tuple[float, Density, Draw]:
    """Neal's funnel in 5 dimensions; the sd of the log variance is from 0.3 to 3."""
    spread = rng.uniform(0.3, 3)

    def log_joint(z: np.ndarray) -> np.ndarray:
        return stats.norm.logpdf(z[:, 0], 0, spread) + stats.norm.logpdf(z[:, 1:], 0, np.exp(z[:, :1] / 2)).sum(1)

    def draw(n: int, rng: np.random.Generator) -> np.ndarray:
        top = spread * rng.standard_normal((n, 1))
        return np.hstack([top, np.exp(top / 2) * rng.standard_normal((n, 4))])

    return 0.0, log_joint, draw


def banana(rng: np.random.Generator) -> tuple[float, Density, Draw]:
    """A valley z2 ~ N(b z1^2, w) in 5 dimensions."""
    curvature, width = rng.uniform(0.1, 2), 10 ** rng.uniform(-1.3, 0)

    def log_joint(z: np.ndarray) -> np.ndarray:
        others = np.delete(z, 1, axis=1)
        return stats.norm.logpdf(z[:, 1], curvature * z[:, 0] ** 2, width) + stats.norm.logpdf(others).sum(1)

    def draw(n: int, rng: np.random.Generator) -> np.ndarray:
        z = rng.standard_normal((n, 5))
        z[:, 1] = curvature * z[:, 0] ** 2 + width * z[:, 1]
        return z

    return 0.0, log_joint, draw


def scores(kind: Callable, seeds: range, n_draws: int = 500) -> tuple[np.ndarray, int]:
    """(estimate - truth) / error of each seed's posterior, from independent draws; and how many were refused."""
    results, n_refused = [], 0
    for seed in seeds:
        rng = np.random.default_rng([seed, 3])
        known, log_joint, draw = kind(rng)
        points = draw(4 * n_draws, rng)
        try:
            result = bridge(target_of(log_joint, points.shape[1]), points.reshape(4, n_draws, -1), rng)
        except Refused:
            n_refused += 1
        else:
            results.append((result.log_evidence - known) / result.error)
    return np.array(results), n_refused


@pytest.mark.parametrize(
    ("kind", "n_seeds"),
    [(kind, 8) for kind in (coin, logistic, funnel)]
    + [pytest.param(kind, 50, marks=pytest.mark.slow) for kind in (regression, chain, coin, logistic, funnel, banana)],
)
def test_errors_are_honest(kind, n_seeds):
    """By a chi-square within 1 in 10,000 above; none beyond 4.5 errors, 95% within 3; at most one in eight refused."""
    z, n_refused = scores(kind, range(n_seeds))
    assert n_refused <= n_seeds / 8
    assert z @ z < stats.chi2(len(z)).ppf(1 - 1e-4)
    assert z @ z > 0.4 * stats.chi2(len(z)).ppf(1e-4)  # the larger of two errors is taken
    assert np.abs(z).max() < 4.5 and np.mean(np.abs(z) < 3) >= 0.95 - 0.5 / n_seeds


def test_errors_of_autocorrelated_draws_are_honest():
    """An autoregression with correlation 0.6, whose draws are worth a quarter of as many independent ones."""
    z = []
    for seed in range(8):
        rng = np.random.default_rng([seed, 4])
        known, log_joint, draw = chain(rng)
        chains = draw(4 * 2000, rng).reshape(4, 2000, 5)
        center = draw(200_000, rng).mean(0)
        for step in range(1, chains.shape[1]):
            chains[:, step] = center + 0.6 * (chains[:, step - 1] - center) + 0.8 * (chains[:, step] - center)
        try:
            result = bridge(target_of(log_joint, 5), chains, rng)
        except Refused as refused:  # chance alone raises R-hat now and then
            assert "R-hat" in str(refused)
        else:
            z.append((result.log_evidence - known) / result.error)
    assert len(z) >= 6 and np.abs(z).max() < 4.5
    assert np.square(z).sum() < stats.chi2(len(z)).ppf(1 - 1e-4)


def test_the_level_is_that_of_meng_and_wong():
    """Their fixed point, iterated; and the mean of the weights where nearly all draws are the proposal's."""
    rng = np.random.default_rng(0)
    at_draws, at_fresh = 3 + rng.normal(0.5, 1, 700), 3 + rng.normal(-0.5, 1, 500)
    s1, s2, ratio = 0.6, 0.4, 1.0
    for _ in range(2000):
        above = np.mean(np.exp(at_fresh) / (s1 * np.exp(at_fresh) + s2 * ratio))
        ratio = above / np.mean(1 / (s1 * np.exp(at_draws) + s2 * ratio))
    assert solve(at_draws, at_fresh, s1) == pytest.approx(np.log(ratio), abs=1e-8)
    far, nowhere = (np.append(at_fresh, value) for value in (-1e300, -np.inf))
    assert solve(at_draws, far, s1) == pytest.approx(solve(at_draws, nowhere, s1), abs=1e-8)
    with pytest.raises(Refused, match="finite at no draw of the proposal"):
        solve(at_draws, np.full(500, -np.inf), s1)
    assert solve(at_draws, at_fresh, 1e-12) == pytest.approx(special.logsumexp(at_fresh) - np.log(500), abs=1e-6)


def gaussian(z: np.ndarray) -> np.ndarray:
    return stats.norm.logpdf(z).sum(1)


def test_repeated_draws_are_worth_no_more():
    """Each draw eight times in a row: the error is that of the draws taken once."""
    rng, target = np.random.default_rng(3), target_of(gaussian, 4)
    draws, others = rng.standard_normal((2, 2, 500, 4))
    once, repeated = (
        bridge_module.span(target, z, others, np.random.default_rng(9)) for z in (draws, np.repeat(draws, 8, axis=1))
    )
    assert repeated.error == pytest.approx(once.error, rel=0.05)


def test_draws_that_contradict_the_density_are_refused(monkeypatch):
    """Draws of a part of the posterior, of another one, of two places, few, at an edge; a density that is not there."""
    rng, target = np.random.default_rng(0), target_of(gaussian, 4)
    draws = rng.standard_normal((4, 4000, 4))
    assert abs(bridge(target, draws, rng).log_evidence) < 0.05
    part = draws.copy()
    part[..., 0] = stats.truncnorm.rvs(-1.0, 9.0, size=part.shape[:2], random_state=rng)  # 16% are missed
    wide = 1.2 * draws
    apart = draws + 0.3 * np.arange(4)[:, None, None]
    edge = draws.copy()
    edge[0, 0, 0] = np.inf
    reasons = "differ|times the evidence"
    for chains, reason in [(part, reasons), (wide, reasons), (apart, "R-hat"), (edge, "edge")]:
        with pytest.raises(Refused, match=reason):
            bridge(target, chains, rng)
    monkeypatch.setattr(bridge_module, "MAX_R_HAT", 1.1)  # chance alone raises it in few draws
    with pytest.raises(Refused, match="effective sample size of"):
        bridge(target, draws[:, :80], rng)
    with pytest.raises(Refused, match="not finite at some draw"):
        bridge(target_of(lambda z: np.where(z[:, 0] > 2, np.nan, gaussian(z)), 4), draws, rng)


def test_a_small_overlap_is_refused():
    """A proposal far from the posterior, as one fitted to other draws would be."""
    rng, target = np.random.default_rng(1), target_of(gaussian, 4)
    draws, others = rng.standard_normal((2, 1000, 4)), 30 + rng.standard_normal((2, 1000, 4))
    far = bridge_module.span(target, draws, others, rng)
    assert "overlaps" in bridge_module.trouble(far)
    assert not bridge_module.trouble(bridge_module.span(target, draws, others - 30, rng))


def test_chains_in_one_of_two_modes_give_the_mass_of_that():
    """Of 70% and 30%, forty sds apart: short by log 0.7, which other fits may contradict and nothing here can."""
    rng = np.random.default_rng(2)

    def log_joint(z: np.ndarray) -> np.ndarray:
        modes = [gaussian(z), gaussian(z - 20)]
        return special.logsumexp(modes, axis=0, b=[[0.7], [0.3]])

    result = bridge(target_of(log_joint, 4), rng.standard_normal((4, 1000, 4)), rng)
    assert abs(result.log_evidence - np.log(0.7)) < 4.5 * result.error < 0.05


def test_the_energies_threshold_is_that_of_verdicts():
    assert evidence.LEAST_BFMI == thresholds.E_BFMI


def request_of(library: str) -> Request:
    import_module(f"compare.user_model.in_{library}")  # float64
    module = import_module(f"tests.user_models.noisy_slopes_{library}")
    mine = user_model.register(module.noisy_slopes, library)
    options = replace(Options(budget=600.0, reference_budget=4000.0, reference_ess=500.0), reference_warmup=200)
    return Request(mine.model, user_model.data_of(mine, module.data), (library,), ("mean_field",), False, options)


@pytest.mark.parametrize("library", LIBRARIES)
def test_draws_of_a_user_s_posterior_give_its_evidence(library, monkeypatch):
    """Exact draws of slopes and a positive noise, constrained, against one integral; and what is said where not."""
    (job,) = plan(request_of(library))[:1]
    job = replace(job, method="reference")
    draws = noisy_slopes.draw(4000, np.random.default_rng(6))
    energy = np.random.default_rng(7).standard_normal((4, 1000))
    tree = build(split(draws), {"diverging": np.zeros((4, 1000), bool), "energy": energy}, {})
    truth = Sampled(Fit(job, "done", tree=evidence.with_evidence(job, tree)), "NUTS")
    known = measured_evidence(truth)
    assert known.value == truth.log_evidence and known.mcse == evidence_error(truth)
    assert 0 < known.mcse < 0.02 and abs(known.value - noisy_slopes.log_evidence()) < 4.5 * known.mcse
    assert known.method.startswith("bridge sampling between 4,000 draws of the reference")
    for stats_of, reason in [
        ({"diverging": np.eye(4, 1000, dtype=bool), "energy": energy}, "4 transitions of the reference diverged"),
        ({"diverging": np.zeros((4, 1000), bool), "energy": np.cumsum(energy, axis=1)}, "E-BFMI is"),
    ]:
        broken = Sampled(Fit(job, "done", tree=evidence.with_evidence(job, build(split(draws), stats_of, {}))), "NUTS")
        assert broken.log_evidence is None and evidence_error(broken) == 0
        unknown = measured_evidence(broken)
        assert (
            unknown.value is None and reason in unknown.method and "the posterior is, by a reference" in unknown.method
        )
    hurried = replace(job, options=replace(job.options, reference_budget=0.0))
    assert "not done within 0 s" in evidence.with_evidence(hurried, tree.copy()).attrs["no_log_evidence"]
    with monkeypatch.context() as patch:
        patch.setattr(evidence, "MOST_DIMENSIONS", 3)
        assert "up to 3 unconstrained" in evidence.with_evidence(job, tree.copy()).attrs["no_log_evidence"]
    improper = replace(job, layout=replace(job.layout, improper=("noise",)))
    assert not evidence.with_evidence(improper, build(split(draws), {"energy": energy}, {})).attrs


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_regression_whose_reference_is_nuts(library, monkeypatch):
    """The log evidence against one integral; the ledger closes; a fit that finds more evidence makes all unreliable."""
    from compare import pipeline

    monkeypatch.setattr(solve_module, "MOST_DIMENSIONS", 3)
    comparison = pipeline.compare(request_of(library))
    known = comparison.log_evidence
    assert comparison.summaries["reference"].method == "reference"
    assert "bridge sampling" in known.method and "bridge sampling" in comparison.summary["log_evidence"]["method"]
    assert 0 < known.mcse < 0.1 and abs(known.value - noisy_slopes.log_evidence()) < 4.5 * known.mcse
    ledger = comparison.summaries[f"{library}-mean_field"].ledger
    assert ledger.evidence_gap.mcse == pytest.approx(np.hypot(ledger.elbo.mcse, known.mcse), rel=1e-4)
    assert ledger.elbo.value + ledger.evidence_gap.value == pytest.approx(known.value)
    assert ledger.family_gap.value + ledger.optimisation_gap.value == pytest.approx(ledger.evidence_gap.value)
    unaided = {name: replace(fit, verdict=None) for name, fit in comparison.summaries.items()}
    missing = replace(known, value=ledger.elbo.value - 0.5)
    judged = pipeline.judge_all(comparison.fits, unaided, {}, missing, comparison.request.options)
    assert {fit.verdict.word for fit in judged.values()} == {"unreliable"}
