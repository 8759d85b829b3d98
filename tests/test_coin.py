"""The coin's truth against published numbers and against independent computation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

import models
from models.coin import Coin
from models.coin.exact import BetaPosterior, best_member
from models.logit_normal import best_logit_normal


def test_the_defaults():
    extra = BetaPosterior(Coin()).extra_summary()
    assert extra["posterior"] == "Beta(8, 6)"
    assert extra["mean"] == pytest.approx(0.571429, abs=5e-7)
    assert extra["sd"] == pytest.approx(0.127775, abs=5e-7)
    assert extra["variance"] == pytest.approx(8 * 6 / (14**2 * 15), abs=1e-15)
    assert extra["median"] == pytest.approx(0.574923, abs=5e-7)
    assert extra["mode"] == pytest.approx(7 / 12, abs=1e-15)
    assert extra["95% equal-tailed"] == pytest.approx([0.315777, 0.807768], abs=1e-6)  # published cut, not rounded
    assert BetaPosterior(Coin()).log_evidence == pytest.approx(-2.100644, abs=5e-7)


@pytest.mark.parametrize("data", [Coin(), Coin(0, 10), Coin(alpha=10.0, beta=1.0)])
def test_evidence_by_quadrature(data):
    def joint(theta):
        return stats.beta.pdf(theta, data.alpha, data.beta) * stats.binom.pmf(data.heads, data.tosses, theta)

    evidence, _ = integrate.quad(joint, 0, 1, epsabs=1e-13, epsrel=1e-12)
    assert BetaPosterior(data).log_evidence == pytest.approx(math.log(evidence), abs=1e-9)


def test_highest_density_interval_holds_its_mass_and_is_shortest():
    exact = BetaPosterior(Coin())
    lower, upper = exact.highest_density_interval()
    assert exact.posterior.cdf(upper) - exact.posterior.cdf(lower) == pytest.approx(0.95, abs=1e-9)
    assert exact.posterior.pdf(lower) == pytest.approx(exact.posterior.pdf(upper), rel=1e-4)
    tails = exact.extra_summary()["95% equal-tailed"]
    assert upper - lower < tails[1] - tails[0]


@pytest.mark.parametrize(
    ("data", "mode"),
    [
        (Coin(0, 0, 1.0, 1.0), None),
        (Coin(0, 0, 0.5, 0.5), None),
        (Coin(0, 0, 0.5, 2.0), 0.0),
        (Coin(0, 0, 2.0, 1.0), 1.0),
        (Coin(0, 0), 0.5),
    ],
)
def test_modes_at_the_edges(data, mode):
    exact = BetaPosterior(data)
    assert exact.mode() == mode
    assert (exact.highest_density_interval() is None) == (mode is None)


def test_no_tosses_leave_the_prior():
    exact = BetaPosterior(Coin(0, 0, 3.0, 5.0))
    assert (exact.a, exact.b) == (3.0, 5.0)
    assert exact.log_evidence == 0.0


@pytest.mark.parametrize(("a", "b"), [(8, 6), (2, 12), (0.5, 0.5), (16, 5)])
def test_best_logit_normal_by_another_quadrature(a, b):
    """-KL by adaptive quadrature at the same q, and no nearby q is better."""

    def minus_kl(location, scale):
        def integrand(u):
            theta = 1 / (1 + math.exp(-u))
            log_posterior = stats.beta.logpdf(theta, a, b) + math.log(theta) + math.log1p(-theta)
            log_guide = stats.norm.logpdf(u, location, scale)
            return math.exp(log_guide) * (log_posterior - log_guide)

        value, _ = integrate.quad(integrand, location - 10 * scale, location + 10 * scale, epsabs=1e-12, limit=200)
        return value

    location, scale, elbo = best_logit_normal(a, b)
    assert elbo == pytest.approx(minus_kl(location, scale), abs=1e-8)
    for shift, stretch in ((1e-2, 1), (-1e-2, 1), (0, 1.01), (0, 0.99)):
        assert minus_kl(location + shift * scale, scale * stretch) < elbo


@pytest.mark.parametrize("a", [0.05, 0.5, 2, 100])
def test_best_logit_normal_to_a_gamma_distribution(a):
    """With b far above a, b theta is nearly Gamma(a, 1): -KL is log Gamma(a) less Stirling's formula, by hand."""
    stirling = (a - 0.5) * math.log(a) - a + 0.5 * math.log(2 * math.pi)
    _, scale, elbo = best_logit_normal(a, 2e9)
    assert elbo == pytest.approx(stirling - math.lgamma(a), abs=1e-4)
    assert scale == pytest.approx(a**-0.5, rel=1e-3)


EXTREMES = (0.01, 0.05, 0.5, 1, 8, 1e3, 1e6, 2e9)


@pytest.mark.parametrize("a", EXTREMES)
@pytest.mark.parametrize("b", EXTREMES)
def test_best_logit_normal_wherever_the_posterior_lies(a, b):
    """It is found for the whole range of the data, tails for heads make no difference, and no divergence is below 0."""
    (location, scale, elbo), (other, same, swapped) = best_logit_normal(a, b), best_logit_normal(b, a)
    assert elbo <= 1e-15 * (a + b)
    assert (location, scale) == pytest.approx((-other, same), rel=1e-6, abs=1e-9)
    assert elbo == pytest.approx(swapped, abs=1e-10 + 1e-15 * (a + b))


def test_the_two_gaussian_families_are_one():
    assert best_member(Coin(), "mean_field").elbo == best_member(Coin(), "full_rank").elbo
    assert best_member(Coin(), "conjugate").elbo == BetaPosterior(Coin()).log_evidence


def test_what_the_text_gets_wrong():
    judged = {claim.claim: claim for claim in models.load("coin").literature.claims(Coin())}
    wrong = {name for name, claim in judged.items() if not claim.agrees}
    assert {"median 0.568", "mode 0.538", "variance 0.021", "95% interval [0.412, 0.718]"} <= wrong
    assert judged["variance 0.021"].truth == pytest.approx(0.0163265, abs=1e-7)
    assert "75.5%" in judged["95% interval [0.412, 0.718]"].truth
    right = {name for name, claim in judged.items() if claim.agrees}
    assert right == {"mean 0.571", "P(5 heads of 10 | theta = 0.5) 0.246", "P(10 heads of 10 | theta = 0.5) 0.001"}
    assert models.load("coin").literature.claims(Coin(heads=7)) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"heads": 11}, "at most as many heads as tosses"),
        ({"heads": -1}, "0 or more"),
        ({"tosses": -5, "heads": -6}, "0 or more"),
        ({"heads": 6.5}, "whole number"),
        ({"alpha": 0.0}, "from 0.01 to 1,000,000,000"),
        ({"beta": -2.0}, "from 0.01 to 1,000,000,000"),
        ({"alpha": float("nan")}, "from 0.01 to 1,000,000,000"),
        ({"beta": float("inf")}, "from 0.01 to 1,000,000,000"),
    ],
)
def test_bad_data_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Coin(**arguments)


def test_draws_stay_inside_the_unit_interval():
    draws = BetaPosterior(Coin(0, 0, 0.01, 3.0)).draw(np.random.default_rng(0), 10_000)["theta"]
    assert draws.min() > 0 and draws.max() < 1
