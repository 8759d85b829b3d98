"""The bandit: posteriors, leads and regret by second methods, and policies against brute force."""

from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np
import pytest
from conftest import side
from scipy import integrate, special, stats

from compare.calibration import calibrate
from compare.comparison import Request
from models.bandit import MODEL, Bandit, policies
from models.bandit.exact import Arms, Lead, best_member, derive
from models.bandit.pictures import PICTURES
from models.bandit.regret import by_ratio, expected_regret, fixed, prior, standard_policies
from models.logit_normal import best_logit_normal
from tests.experiments.bandit import crossing, logit_normal, nearest_gaussian, simulate, simulated_crossing

ERRORS = 4
ARMS = (0.5, 0.7)
WORLDS = [fixed(ARMS), prior(1.0, 1.0)]
THREE = Bandit((10, 1, 0), (10, 0, 0), alpha=0.5, beta=2.0)
MANY = Bandit((10_000, 10_000, 9_000), (5_000, 5_200, 4_600))


def thompson_1933(a: int, b: int, c: int, d: int) -> float:
    """P(Beta(c, d) > Beta(a, b)) for whole a, b, c, d by a finite sum (Thompson 1933), in logarithms."""
    n = c + d - 1  # P(Beta(c, d) > x) = P(Binomial(n, x) < c)
    logs = [math.log(math.comb(n, i)) + special.betaln(a + i, b + n - i) - special.betaln(a, b) for i in range(c)]
    return float(np.exp(special.logsumexp(logs)))


@pytest.mark.parametrize("data", [Bandit(), Bandit((0, 0), (0, 0)), Bandit((200, 3), (120, 0)), Bandit((7, 9), (0, 9))])
def test_the_best_arm_by_thompsons_sum(data) -> None:
    exact = Arms(data)
    (a, c), (b, d) = exact.a.astype(int).tolist(), exact.b.astype(int).tolist()
    expected = thompson_1933(a, b, c, d)
    assert exact.chances() == pytest.approx([1 - expected, expected], abs=1e-9)


@pytest.mark.parametrize("data", [Bandit(), THREE, MANY, Bandit((10_000, 0), (9_990, 0))])
def test_the_leads_moments_and_quantiles_are_those_of_draws(data) -> None:
    exact, count = Arms(data), 200_000
    lead = derive(data, exact.draw(np.random.default_rng(0), count))["lead"]
    for k in range(len(data.pulls)):
        marginal, own = exact.marginal("lead", (k,)), lead[:, k]
        assert marginal.mean() == pytest.approx(own.mean(), abs=ERRORS * own.std() / count**0.5)
        error = np.std((own - own.mean()) ** 2) / (2 * own.std() * count**0.5)
        assert marginal.std() == pytest.approx(own.std(), abs=ERRORS * error)
        for q in (0.025, 0.5, 0.975):
            assert (own < marginal.ppf(q)).mean() == pytest.approx(q, abs=ERRORS * (q * (1 - q) / count) ** 0.5)
    assert exact.chances().sum() == pytest.approx(1, abs=1e-9)
    assert set(exact.mean()) == {"theta", "lead"}


def test_the_leads_density_integrates_to_its_distribution() -> None:
    lead = Lead(np.array([3.0, 2.0, 5.0]), np.array([2.0, 4.0, 3.0]), 1)
    for low, high in ((-1, -0.5), (-0.5, 0.0), (0.0, 0.6)):
        x, w = np.polynomial.legendre.leggauss(40)
        mass = (high - low) / 2 * w @ lead.pdf(low + (high - low) * (x + 1) / 2)
        assert mass == pytest.approx(lead.cdf(high) - lead.cdf(low), abs=1e-6)


@pytest.mark.parametrize("data", [Bandit(), THREE])
def test_evidence_by_quadrature_and_best_members(data) -> None:
    total = 0.0
    for n, s in zip(data.pulls, data.successes, strict=True):
        joint = lambda x, n=n, s=s: stats.binom.pmf(s, n, x) * stats.beta.pdf(x, data.alpha, data.beta)  # noqa: E731
        total += math.log(integrate.quad(joint, 0, 1, epsabs=0, epsrel=1e-11)[0])
    exact = Arms(data)
    assert exact.log_evidence == pytest.approx(total, abs=1e-8)
    assert best_member(data, "conjugate").elbo == exact.log_evidence
    mean_field, full_rank = best_member(data, "mean_field"), best_member(data, "full_rank")
    assert mean_field.elbo == full_rank.elbo < exact.log_evidence
    np.testing.assert_array_equal(np.diag(full_rank.parameters["scale_tril"]), mean_field.parameters["scale"])


def test_the_twins_by_scipy(library) -> None:
    theta = np.random.default_rng(0).uniform(0.01, 0.99, (20, 3))
    arguments, static = side(library).split_arguments(THREE.arguments())
    log_prior, log_likelihood = side(library).density("bandit", static)({"theta": theta}, arguments)
    np.testing.assert_allclose(log_prior, stats.beta(0.5, 2.0).logpdf(theta).sum(1), atol=1e-9)
    np.testing.assert_allclose(
        log_likelihood, stats.binom(THREE.pulls, theta).logpmf(THREE.successes).sum(1), atol=1e-9
    )


def by_enumeration(policy, arms, horizon: int) -> float:
    """Expected regret over all sequences of pulls and payments."""
    total = 0.0
    for pulls, pays in itertools.product(
        itertools.product((0, 1), repeat=horizon), itertools.product((0, 1), repeat=horizon)
    ):
        probability, n, s = 1.0, [0, 0], [0, 0]
        for arm, pay in zip(pulls, pays, strict=True):
            first = float(policy(*n)[s[0], s[1]])
            probability *= (first, 1 - first)[arm] * (arms[arm] if pay else 1 - arms[arm])
            n[arm] += 1
            s[arm] += pay
        total += probability * (max(arms) * horizon - sum(arms[arm] for arm in pulls))
    return total


@pytest.mark.parametrize("name", list(standard_policies(1.0, 1.0, 2)))
def test_regret_is_the_sum_over_all_histories(name) -> None:
    """At fixed arms, and over the prior: what is paid is a polynomial in the two chances, so that Gauss-Legendre
    quadrature is exact; E[max] = 2/3."""
    horizon = 4
    policy = standard_policies(1.0, 1.0, horizon)[name]
    regret = expected_regret(policy, WORLDS, horizon)
    assert regret[0, -1] == pytest.approx(by_enumeration(policy, ARMS, horizon), abs=1e-10)
    x, w = np.polynomial.legendre.leggauss(6)
    x, w = (x + 1) / 2, w / 2
    pays = sum(
        u * v * (horizon * max(p, q) - by_enumeration(policy, (p, q), horizon))
        for (p, u), (q, v) in itertools.product(zip(x, w, strict=True), repeat=2)
    )
    assert regret[1, -1] == pytest.approx(horizon * 2 / 3 - pays, abs=1e-9)


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (0.5, 2.0)])
def test_the_optimum_is_that_of_expectimax(alpha, beta) -> None:
    @cache
    def most(counts: tuple[int, ...], left: int) -> float:
        if not left:
            return 0.0
        values = []
        for arm in (0, 1):
            s, f = counts[2 * arm : 2 * arm + 2]
            p = (alpha + s) / (alpha + beta + s + f)
            paid, unpaid = list(counts), list(counts)
            paid[2 * arm] += 1
            unpaid[2 * arm + 1] += 1
            values.append(p * (1 + most(tuple(paid), left - 1)) + (1 - p) * most(tuple(unpaid), left - 1))
        return max(values)

    world = prior(alpha, beta)
    for horizon in (1, 2, 6):
        regret = expected_regret(policies.optimal(alpha, beta, horizon), [world], horizon)[0, -1]
        assert regret == pytest.approx(horizon * world.best - most((0, 0, 0, 0), horizon), abs=1e-9)
        for policy in standard_policies(alpha, beta, horizon).values():
            assert expected_regret(policy, [world], horizon)[0, -1] >= regret - 1e-9


def test_recursion_against_simulated_runs() -> None:
    horizon, runs = 30, 100_000
    ratios = (1.0, 0.5)
    simulated = simulate(ARMS, horizon, ratios, runs, 1)
    exact = by_ratio(1.0, 1.0, horizon, WORLDS[:1], np.array(ratios))[:, 0, -1]
    for values, expected in zip(simulated, exact, strict=True):
        assert values.mean() == pytest.approx(expected, abs=ERRORS * values.std() / runs**0.5)


def test_the_probability_that_narrow_draws_choose_an_arm() -> None:
    policy = policies.thompson(1.0, 1.0, 6, 0.5)
    assert policy(5, 3)[2, 1] == pytest.approx(1 - thompson_1933(12, 16, 8, 12), abs=1e-9)
    normal = logit_normal(1.0, 1.0, 4)
    u = np.random.default_rng(2).standard_normal((2, 200_000))
    (m, s), (o, t) = (nearest_gaussian(*counts) for counts in ((3.0, 2.0), (1.0, 3.0)))
    share = (m + s * u[0] > o + t * u[1]).mean()
    assert normal(3, 2)[2, 0] == pytest.approx(share, abs=ERRORS * 0.5 / 200_000**0.5)


def test_ties_are_part_of_the_greedy_policy() -> None:
    """Greedy's regret at 36 pulls, by how ties are resolved."""
    random, first = (expected_regret(policies.greedy(1.0, 1.0, ties), WORLDS, 36)[0, -1] for ties in (0.5, 1.0))
    assert (random, first) == pytest.approx((2.09, 2.88), abs=5e-3)


def test_where_narrowness_costs() -> None:
    """A parabola in log ratio whose least value and crossing are known."""
    ratios = np.geomspace(0.2, 1.4, 15)
    x = np.log(ratios)
    least, cost = crossing(ratios, 3 + (x - math.log(0.6)) ** 2)
    assert (least, cost) == pytest.approx((0.6, 0.36), rel=1e-3)
    assert math.isnan(crossing(ratios, 3 + x)[1])


def test_a_simulated_crossing_has_its_error() -> None:
    """Differences around a line that crosses 0 at 0.55, 200 times."""
    rng, ratios, scores = np.random.default_rng(0), np.array([0.6, 0.55, 0.5]), []
    for _ in range(200):
        noise = rng.normal(size=(1, 500)) + rng.normal(size=(3, 500))
        where, error = simulated_crossing(ratios, 24 * (0.55 - ratios)[:, None] + noise)
        scores.append((where - 0.55) / error)
    assert abs(np.mean(scores)) < ERRORS / 200**0.5
    assert abs(np.std(scores) - 1) < ERRORS / 400**0.5


@pytest.mark.slow
@pytest.mark.parametrize(("horizon", "printed"), [(50, 0.114), (75, 0.222), (100, 0.279)])
def test_where_narrowness_costs_is_known_to_a_twentieth(horizon, printed) -> None:
    """The README's crossings: 5% below each, draws cost more than exact ones, 5% above less, by the recursion."""
    ratios = np.array([0.95 * printed, 1.0, 1.05 * printed])
    below, exact, above = by_ratio(1.0, 1.0, horizon, WORLDS[:1], ratios)[:, 0, -1]
    assert below > exact > above


@pytest.mark.slow
def test_long_runs() -> None:
    """1,500 pulls: the README's numbers, by 6,000 runs of another seed, within four errors of their difference."""
    printed = {1.0: 8.27, 0.75**0.5: 7.26, 0.5: 9.47, 0.25: 30.90}
    regret = simulate(ARMS, 1500, tuple(printed), 6000, 3)
    for values, expected in zip(regret, printed.values(), strict=True):
        assert values.mean() == pytest.approx(expected, abs=ERRORS * math.sqrt(2) * values.std() / 6000**0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arms": (0.5, 1.2)}, "two chances from 0 to 1"),
        ({"arms": (0.5, float("nan"))}, "two chances from 0 to 1"),
        ({"successes": (25, 7)}, "arm 0 has 25 successes in 24 pulls: give at most as many"),
        ({"pulls": (24,)}, "give both the same number, from 2 to 20"),
        ({"pulls": (24, -1)}, "give whole numbers, 0 or more"),
        ({"horizon": 1500}, r"would go through 2.1e\+11 states; give at most 150"),
        ({"horizon": 0}, "1 or more"),
        ({"alpha": 0.1}, "from 0.5 to 10,000"),
    ],
)
def test_bad_data_are_refused_in_a_line(options, message) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        Bandit(**options)
    assert "\n" not in str(raised.value)


def test_the_exact_posterior_is_calibrated() -> None:
    summary = calibrate(Request(MODEL, Bandit(), ("numpyro",), (), nuts=False), 300).summary
    assert summary["fits"]["exact"]["verdict"]["word"] == "agrees"


def test_the_picture_is_drawn(tmp_path) -> None:
    PICTURES[0].draw({}, Bandit(horizon=3), Arms(Bandit(horizon=3)), tmp_path / "regret.png")
    assert (tmp_path / "regret.png").stat().st_size > 10_000


@pytest.mark.parametrize("counts", [(0.5, 0.5), (1.0, 0.5), (101.0, 1.0), (60.0, 40.0)])
def test_fewer_nodes_find_the_same_gaussian(counts) -> None:
    """The policy's Gaussians have a tenth of the nodes."""
    assert nearest_gaussian(*counts) == pytest.approx(best_logit_normal(*counts)[:2], abs=1e-11)
