"""Logistic regression: the truth by two methods, the bounds, separable classes, and bad input."""

from __future__ import annotations

import math

import arviz_stats
import numpy as np
import pytest
from polya_gamma import draw, gibbs
from scipy import integrate, optimize, special

from models.contract import Reference
from models.logistic import MODEL, LogisticData
from models.logistic.data import DISTRESS, FAHRENHEIT, separation
from models.logistic.exact import LogJoint
from models.logistic.gaussians import best_member, bound
from models.logistic.pictures import risks
from models.logit_gaussians import elbo
from models.logits import ImportancePosterior, QuadraturePosterior


def log_joint(a: float, b: float) -> float:
    """The O-rings' log joint, written down here."""
    x, y = np.array(FAHRENHEIT, float), np.array(DISTRESS, float)
    logits = a + b * (x - x.mean()) / x.std()
    prior = -0.5 * (a * a + b * b) / 2.5**2 - math.log(2 * math.pi * 2.5**2)
    return float(np.sum(y * logits - np.logaddexp(0, logits))) + prior


def test_the_orings_evidence_and_means_are_known() -> None:
    """By the trapezoid rule on turned lattices, and by SciPy's adaptive rule in two dimensions."""
    exact = MODEL.exact(LogisticData())
    assert exact.log_evidence == pytest.approx(-13.246128, abs=5e-7)

    def moment(weight) -> float:
        def integrand(b: float, a: float) -> float:
            return math.exp(log_joint(a, b) + 13.2) * weight(a, b)

        return integrate.dblquad(integrand, -9, 5, -14, 5, epsabs=1e-10, epsrel=1e-10)[0]

    total = moment(lambda a, b: 1.0)
    assert exact.log_evidence == pytest.approx(math.log(total) - 13.2, abs=1e-8)
    assert exact.mean()["weights"][0] == pytest.approx(moment(lambda a, b: b) / total, abs=1e-8)
    marginal = exact.marginal("weights", (0,))
    assert (marginal.mean(), marginal.std()) == pytest.approx(
        (exact.location[1], exact.covariance[1, 1] ** 0.5), abs=1e-7
    )
    at = integrate.quad(lambda a: math.exp(log_joint(a, -1.0) - exact.log_evidence), -7, 5, epsabs=1e-12)[0]
    assert exact.density("weights", (0,), np.array([-1.0]))[0] == pytest.approx(at, abs=1e-7)


def test_the_orings_gaussians_lose_what_is_known() -> None:
    data = LogisticData()
    evidence = MODEL.exact(data).log_evidence
    gaps = [evidence - best_member(data, family).elbo for family in ("mean_field", "full_rank")]
    assert gaps == pytest.approx([0.063, 0.035], abs=5e-4)
    assert evidence - bound(data) == pytest.approx(0.52, abs=0.005)
    predicted = risks(data, MODEL.exact(data))
    assert predicted["mode alone"] > 0.999 > predicted["exact"] > predicted["best Gaussian"] > predicted["Laplace"]


@pytest.mark.parametrize("family", ["mean_field", "full_rank"])
def test_the_best_gaussian_cannot_be_bettered(family: str) -> None:
    """At parameters beside it the ELBO is lower: it is concave in the mean and the covariance's factor."""
    data, rng = LogisticData("german"), np.random.default_rng(0)
    target, best = LogJoint(data), best_member(data, family)
    mean = best.parameters["location"]
    factor = np.diag(best.parameters["scale"]) if family == "mean_field" else best.parameters["scale_tril"]
    assert elbo(target, mean, factor @ factor.T) == pytest.approx(best.elbo, abs=1e-9)
    for size in (1e-3, 0.1):
        for _ in range(3):
            tilt = rng.standard_normal((25, 25))
            tilt = np.eye(25) + size * (np.diag(np.diagonal(tilt)) if family == "mean_field" else np.tril(tilt) / 5)
            beside = factor @ tilt
            assert elbo(target, mean + size * factor @ rng.standard_normal(25), beside @ beside.T) < best.elbo


def test_polya_gamma_variables_have_their_moments() -> None:
    """E[PG(1, c)] = tanh(c / 2) / (2 c), and the variance of Polson et al.'s section 2.1, within 4 standard errors."""
    rng, count = np.random.default_rng(0), 40_000
    for c in (0.01, 1.0, 4.0, 12.0):
        values = draw(np.full(count, c), rng)
        mean = math.tanh(c / 2) / (2 * c)
        assert values.mean() == pytest.approx(mean, abs=4 * values.std() / math.sqrt(count))
        variance = (math.sinh(c) - c) / (4 * c**3 * math.cosh(c / 2) ** 2)
        squares = (values - mean) ** 2
        assert squares.mean() == pytest.approx(variance, abs=4 * squares.std() / math.sqrt(count))


def agree(exact, draws: np.ndarray, known: float = 0.0) -> None:
    """Means and sds of chains against the truth, within 4.5 standard errors; ``known`` is the truth's own, in sds."""
    sds = np.sqrt(np.diagonal(exact.covariance))
    for j in range(draws.shape[1]):
        chain = draws[None, :, j]
        for value, truth, kind in ((chain.mean(), exact.location[j], "mean"), (chain.std(), sds[j], "sd")):
            error = float(arviz_stats.mcse(chain, method=kind, chain_axis=0, draw_axis=1))
            assert value == pytest.approx(truth, abs=4.5 * math.hypot(error, known * sds[j])), (j, kind)


def test_quadrature_agrees_with_polya_gamma_gibbs() -> None:
    data = LogisticData()
    draws = gibbs(data.design.with_ones, data.design.targets, 2.5, np.random.default_rng(0), 12_000)
    agree(MODEL.exact(data), draws)


@pytest.mark.slow
def test_importance_sampling_agrees_with_polya_gamma_gibbs_on_german_credit() -> None:
    data = LogisticData("german")
    draws = gibbs(data.design.with_ones, data.design.targets, 2.5, np.random.default_rng(0), 10_000)
    exact = MODEL.exact(data)
    agree(exact, draws, known=(exact.share * 32_768) ** -0.5)


def test_importance_sampling_agrees_with_quadrature() -> None:
    """On the O-rings, where both are known."""
    exact, sampled = MODEL.exact(LogisticData()), ImportancePosterior(LogJoint(LogisticData()))
    assert sampled.share > 0.9
    assert sampled.log_evidence == pytest.approx(exact.log_evidence, abs=max(sampled.tolerance, 1e-4))
    assert sampled.location == pytest.approx(exact.location, abs=5e-3)
    for q in (0.025, 0.5, 0.975):
        ours, theirs = (posterior.quantile(q)["weights"][0] for posterior in (sampled, exact))
        assert ours == pytest.approx(theirs, abs=0.03)


def test_german_credits_mode_is_not_its_mean() -> None:
    exact = MODEL.exact(LogisticData("german"))
    assert exact.share > 0.5 and exact.tolerance < 0.05
    off = (exact.log_joint.mode - exact.location) / np.sqrt(np.diagonal(exact.covariance))
    assert np.abs(off).max() == pytest.approx(0.42, abs=0.02)


def test_what_cannot_be_sampled_evenly_has_a_reference() -> None:
    assert isinstance(MODEL.truth(LogisticData("breast_cancer")), Reference)


def write(tmp_path, rows: str) -> str:
    path = tmp_path / "table.csv"
    path.write_text("x,y\n" + rows)
    return str(path)


def test_a_posterior_without_a_lattice_has_no_plane(tmp_path) -> None:
    """Separable classes under a prior so wide that importance sampling has to do."""
    path = tmp_path / "apart.csv"
    path.write_text("x,y\n1,0\n2,0\n3,1\n4,1\n")
    apart = LogisticData(str(path), target="y", prior_sd=1000)
    (plane,) = MODEL.pictures
    assert isinstance(MODEL.truth(apart), ImportancePosterior)
    assert plane.applies(LogisticData()) and not plane.applies(apart)


@pytest.mark.parametrize("flipped", [False, True])
def test_the_mode_is_as_far_from_the_mean_as_is_said(tmp_path, flipped) -> None:
    """By another optimiser; the sign is that of the coefficient that is furthest, and turns with the classes."""
    x, y = [0, 1, 2, 3, 4, 7, 9], [0, 0, 0, 0, 1, 0, 1]
    rows = "".join(f"{a},{1 - b if flipped else b}\n" for a, b in zip(x, y, strict=True))
    exact = MODEL.exact(LogisticData(data=write(tmp_path, rows), target="y"))
    end = optimize.minimize(lambda z: -exact.log_joint(z[None])[0], np.zeros(2), method="Nelder-Mead", tol=1e-10)
    mean, sd = (np.array([part["intercept"], part["weights"][0]]) for part in (exact.mean(), exact.sd()))
    off = (end.x - mean) / sd
    printed = exact.extra_summary()["mode less mean, in sds, the largest"]
    assert printed == pytest.approx(off[np.abs(off).argmax()], abs=1e-4)
    assert abs(off).max() > 1.1 * abs(off).min()
    assert (printed > 0) == flipped


@pytest.mark.parametrize(
    ("rows", "kind"),
    [("1,0\n2,0\n3,1\n4,1\n", "complete"), ("1,0\n2,0\n2,1\n4,1\n", "quasi-complete"), ("1,0\n2,1\n3,0\n4,1\n", None)],
)
def test_separable_classes_are_caught_and_have_a_posterior_under_a_proper_prior(tmp_path, rows, kind) -> None:
    path = write(tmp_path, rows)
    data = LogisticData(path, "y")
    assert separation(data.design) == kind
    assert isinstance(MODEL.exact(data), QuadraturePosterior)
    assert MODEL.exact(data).extra_summary()["the classes are separable"] == (kind or "no")
    with pytest.raises(ValueError, match=rf"separable \({kind}ly\)" if kind else "no evidence to measure"):
        LogisticData(path, "y", math.inf)


def test_more_columns_than_rows_have_a_posterior(tmp_path) -> None:
    """Three columns and two rows: by quadrature in four dimensions, against importance sampling."""
    path = tmp_path / "wide.csv"
    path.write_text("a,b,c,y\n1,2,5,0\n2,1,3,1\n")
    data = LogisticData(str(path), "y", 1.0)
    exact, sampled = MODEL.exact(data), ImportancePosterior(LogJoint(data))
    assert isinstance(exact, QuadraturePosterior)
    assert exact.log_evidence == pytest.approx(sampled.log_evidence, abs=max(sampled.tolerance, 1e-3))
    assert special.expit(exact.mean()["intercept"]) == pytest.approx(0.5, abs=1e-8)


@pytest.mark.parametrize(
    ("rows", "fields", "says"),
    [
        ("1,a\n2,b\n3,c\n", {}, "needs two classes"),
        ("1,a\n2,a\n", {}, "same value in every row"),
        ("1,a\n,b\n", {}, "line 3, column x .* is missing"),
        ("1,a\n1,b\n", {}, "no input .* varies"),
        ("1,a\n2,b\n", {"prior_sd": 0.0}, "give a number from 0.001"),
    ],
)
def test_bad_input_is_refused_in_one_line(tmp_path, rows, fields, says) -> None:
    with pytest.raises(ValueError, match=says) as error:
        LogisticData(**{"data": write(tmp_path, rows), "target": "y"} | fields)
    assert "\n" not in str(error.value)
