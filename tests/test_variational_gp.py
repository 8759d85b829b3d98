"""The variational Gaussian process: its twins, its marginal density, its auxiliary gap, and the ledger that has it."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from battery.checks import Case
from battery.fitted import guides_differ
from bent import DATA, EXACT, model
from conftest import LIBRARIES, side
from scipy import stats
from scipy.special import logsumexp

import guides
import models
from compare import compare
from compare.comparison import Request
from compare.fit.svi import bending
from compare.options import Options
from compare.pipeline import compare as run_comparison
from compare.plan import too_large
from compare.report.tables.ledger import GAPS, ledgers, printed
from guides import variational_gp as gp

CASE = Case("variational_gp", "logistic", models.load("logistic").data(), "svi", guide="variational_gp")


def a_member(latent: int, seed: int) -> gp.Parameters:
    """A member of the family, about where fits start, its Gaussian included."""
    rng = np.random.default_rng(seed)
    gaussian = {
        "location": rng.standard_normal(latent),
        "scale_tril": np.tril(0.3 * rng.standard_normal((latent, latent)), -1) + np.diag(rng.uniform(0.5, 1.5, latent)),
    }
    coordinates = gp.MappingCoordinates(gaussian)
    return coordinates.parameters(0.3 * rng.standard_normal(coordinates.size))


def drawn(parameters: gp.Parameters, seed: int, count: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """Standard normals, and the u that they make."""
    eps = np.random.default_rng(seed).standard_normal((count, 1 + parameters["noise"].size))
    mean, sd = gp.mapping(parameters, eps[:, 0])
    return eps, mean + sd * eps[:, 1:]


def evaluated(library: str, parameters: gp.Parameters, eps: np.ndarray):
    """The guide's evaluation on the O-rings, and log p(x, z) of its draws z, shape (rows, latent)."""
    arguments, static = side(library).split_arguments(CASE.data.arguments())
    evaluation = (
        side(library).prepare("logistic", "variational_gp", static, arguments).evaluate(parameters, eps, arguments)
    )
    log_prior, log_likelihood = side(library).density("logistic", static)(evaluation.latents, arguments)
    z = np.concatenate([value.reshape(len(eps), -1) for value in evaluation.latents.values()], axis=1)
    return evaluation, log_prior + log_likelihood, z


def test_the_libraries_agree():
    """At parameters that are random and at a member where fits may pass, latents and log ratios to 1e-9."""
    assert not guides_differ(CASE, [side(library) for library in LIBRARIES], 0)
    parameters = a_member(2, 0)
    ours, theirs = (evaluated(library, parameters, drawn(parameters, 1)[0])[0] for library in LIBRARIES)
    assert ours.log_ratio == pytest.approx(theirs.log_ratio, rel=1e-9)
    for name in gp.start(2):
        assert ours.total[name] == pytest.approx(theirs.total[name], rel=1e-7, abs=1e-9), name


@pytest.mark.parametrize("library", LIBRARIES)
def test_its_slopes_are_those_of_its_elbo(library):
    """By central differences in its coordinates, auxiliary density included."""
    parameters = a_member(2, 2)
    coordinates = gp.MappingCoordinates({name: parameters[name] for name in ("location", "scale_tril")})
    x, (eps, _) = coordinates.locate(parameters), drawn(parameters, 3, 64)
    slope = coordinates.pullback(x, evaluated(library, coordinates.parameters(x), eps)[0].total)
    for direction in np.random.default_rng(4).standard_normal((3, x.size)):
        ends = (coordinates.parameters(x + step * direction) for step in (1e-5, -1e-5))
        ahead, behind = (-evaluated(library, end, eps)[0].log_ratio.mean() for end in ends)
        assert slope @ direction == pytest.approx((ahead - behind) / 2e-5, rel=1e-6)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_draw_has_the_density_that_the_integral_over_the_input_gives(library):
    """log q(z) by the library and the auxiliary ratio is that of z = location + scale_tril u by the integral alone."""
    parameters = a_member(2, 5)
    eps, _ = drawn(parameters, 6, 200)
    evaluation, log_joint, z = evaluated(library, parameters, eps)
    u = np.linalg.solve(parameters["scale_tril"], (z - parameters["location"]).T).T
    log_q = gp.log_density(parameters, u) - np.log(np.diag(parameters["scale_tril"])).sum()
    log_ratio = evaluation.log_ratio + gp.log_auxiliary_ratio(parameters, eps)
    assert log_joint - log_ratio == pytest.approx(log_q, abs=1e-8)


@pytest.mark.parametrize("latent", [1, 2])
def test_its_density_is_normalised(latent):
    """By the trapezoidal rule over u, wide enough for all of a member's mass."""
    parameters = a_member(latent, 7)
    axis, step = np.linspace(-6.5, 6.5, 1301 if latent == 1 else 81, retstep=True)
    u = np.stack(np.meshgrid(*[axis] * latent), axis=-1).reshape(-1, latent)
    assert np.exp(gp.log_density(parameters, u)).sum() * step**latent == pytest.approx(1.0, abs=1e-5)


def test_its_density_is_the_mean_over_inputs():
    """Against plain Monte Carlo over xi, within four of its errors."""
    parameters = a_member(2, 8)
    _, u = drawn(parameters, 9, 20)
    mean, sd = gp.mapping(parameters, np.random.default_rng(10).standard_normal(100_000))
    density = np.exp(stats.norm.logpdf(u[:, None], mean, sd).sum(axis=2))
    error = density.std(axis=1) / np.sqrt(len(mean))
    assert np.all(np.abs(density.mean(axis=1) - np.exp(gp.log_density(parameters, u))) < 4 * error)


def test_the_auxiliary_gap_is_the_mean_divergence():
    """The difference of the two ELBOs, by draws, is the mean of KL(q(xi | z), r(xi | z)), by quadrature for each z."""
    parameters = a_member(2, 11)
    eps, u = drawn(parameters, 12, 1000)
    xi, step = np.linspace(-9, 9, 1001, retstep=True)
    mean, sd = gp.mapping(parameters, xi)
    log_joint = stats.norm.logpdf(xi) + stats.norm.logpdf(u[:, None], mean, sd).sum(axis=2)
    log_given = log_joint - logsumexp(log_joint, axis=1, keepdims=True) - np.log(step)
    center, width = gp.reverse(parameters, u)
    log_reverse = stats.norm.logpdf(xi, center[:, None], width[:, None])
    divergence = (np.exp(log_given) * (log_given - log_reverse)).sum(axis=1) * step
    apart = gp.log_auxiliary_ratio(parameters, eps) - divergence
    assert abs(apart.mean()) < 4 * apart.std() / np.sqrt(len(apart))
    assert divergence.min() > -1e-9 and divergence.mean() > 0.1


@pytest.mark.parametrize("library", LIBRARIES)
def test_it_holds_every_gaussian(library):
    """With f linear it is the Gaussian that it bends, and the auxiliary density is exact."""
    gaussian = {name: a_member(2, 13)[name] for name in ("location", "scale_tril")}
    parameters = bending.lifted(guides.load("variational_gp"), gaussian) | {"amplitude": np.zeros(2)}
    eps, _ = drawn(parameters, 14, 100)
    evaluation, log_joint, z = evaluated(library, parameters, eps)
    covariance = gaussian["scale_tril"] @ gaussian["scale_tril"].T
    log_q = stats.multivariate_normal.logpdf(z, gaussian["location"], covariance)
    assert log_joint - evaluation.log_ratio == pytest.approx(log_q, abs=1e-9)
    assert gp.log_auxiliary_ratio(parameters, eps) == pytest.approx(0.0, abs=1e-9)


def test_a_mapping_that_is_too_steep_is_refused():
    parameters = a_member(2, 15) | {"slope": np.full(2, 1e6), "noise": np.full(2, 1e-6), "amplitude": np.full(2, 1e-6)}
    with pytest.raises(FloatingPointError, match="too steep"):
        gp.log_density(parameters, drawn(parameters, 16, 8)[1])


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_ledger_closes(library, monkeypatch):
    """On a coin, with short rounds: ELBO + auxiliary gap + family gap is the log evidence, in print too, and the draws'
    log_guide is that of q(z): its mean log ratio is the ELBO without the auxiliary variable."""
    monkeypatch.setattr(bending, "STEPS", 40)
    monkeypatch.setattr(bending, "ROWS", 128)
    coin = models.load("coin")
    request = Request(coin, coin.data(), (library,), ("variational_gp",), False, Options(tolerance=0.1), seed=1)
    result = run_comparison(request)
    fit, name = result.summary["fits"][f"{library}-variational_gp"], f"{library}-variational_gp"
    ledger = {term: value["value"] if value else None for term, value in fit["ledger"].items()}
    assert ledger["optimisation_gap"] is None and ledger["amortisation_gap"] is None
    gap = ledger["auxiliary_gap"] + ledger["family_gap"]
    assert ledger["elbo"] + gap == pytest.approx(result.summary["log_evidence"]["value"], abs=1e-9)
    shown = {
        term: Decimal(text.split()[0]) for term, text in printed(result)[name].items() if text[:1] in "-0123456789"
    }
    assert shown["log_evidence"] - shown["elbo"] == sum(shown[term] for term in GAPS if term in shown)
    assert "includes what its optimiser left" in " ".join(ledgers(result).remarks)
    draws = result.fits[name].tree["sample_stats"].dataset
    weights = (draws["log_joint"] - draws["log_guide"]).values.ravel()
    error = np.hypot(weights.std() / np.sqrt(weights.size), 4 * fit["ledger"]["elbo"]["mcse"])
    assert abs(weights.mean() - ledger["elbo"] - ledger["auxiliary_gap"]) < 4 * error


def test_beyond_its_dimension_it_says_what_to_take():
    assert too_large("variational_gp", 20) is None
    assert too_large("variational_gp", 61).endswith("beyond dimension 20, here 61; take flow or low_rank")
    assert too_large("variational_gp", 161).endswith("here 161; take low_rank")


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("name", "least"), [("banana", -0.06), ("funnel", -0.1)])
def test_it_bends_where_a_gaussian_cannot(library, name, least):
    """The best Gaussian loses 0.73 nats on the banana and 1.86 on the funnel; the log evidence is 0."""
    result = compare(
        model(library, name), DATA[name], guides=["variational_gp"], nuts=False, exact=EXACT[name], budget=300.0
    )
    ledger = result.summary["fits"][f"{library}-variational_gp"]["ledger"]
    assert least - 4 * ledger["elbo"]["mcse"] < ledger["elbo"]["value"] < 4 * ledger["elbo"]["mcse"]
    assert ledger["auxiliary_gap"]["value"] > -4 * ledger["auxiliary_gap"]["mcse"]
    assert ledger["family_gap"]["value"] > -4 * ledger["family_gap"]["mcse"]
