"""What was written about the coin: by the founding text (the tutorial that the zoo began from), by textbooks, and the
oldest formulas for it. Every truth here is computed."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from scipy import stats

from models.coin.data import Coin
from models.coin.exact import BetaPosterior
from models.contract import Claim, Published
from models.literature import ERRORS, by_formula, printed
from models.logit_normal import best_logit_normal

PYRO = "Pyro 1.9.1 (2024)"
BDA = "Gelman et al. 2013, Bayesian Data Analysis (3rd edition)"

GIRLS, BIRTHS = 437, 980  # Births after placenta previa (Gelman et al. 2013, section 2.4).

PARIS = 241_945, 251_527
"""Girls and boys born in Paris from 1745 to 1770 (Laplace's data, as in Gelman et al. 2013, section 2.1)."""

SIMULATED = 1000  # draws from which the book estimates the moments of the logit


def claims(data: Coin) -> list[Claim]:
    """The founding text's claims about its own example, 6 heads in 10 tosses under Beta(2, 2); none for other data."""
    if (data.heads, data.tosses, data.alpha, data.beta) != (6, 10, 2.0, 2.0):
        return []
    exact = BetaPosterior(data)
    posterior = exact.posterior

    def number(name: str, text: float, truth: Any) -> Claim:
        digits = len(f"{text}".partition(".")[2])
        return Claim(f"{name} {text}", float(truth), round(float(truth), digits) == text)

    mass = posterior.cdf(0.718) - posterior.cdf(0.412)
    lower, upper = posterior.ppf([0.025, 0.975])
    prior = stats.beta(data.alpha, data.beta)
    gap_of_prior = exact.log_evidence - prior.expect(lambda theta: stats.binom.logpmf(data.heads, data.tosses, theta))
    gap_of_best = -best_logit_normal(exact.a, exact.b)[2]
    entropy = float(posterior.entropy())
    f = 10.0  # a constant f is enough to refute the inequality
    return [
        number("mean", 0.571, posterior.mean()),
        number("median", 0.568, posterior.median()),
        number("mode", 0.538, exact.mode()),
        number("variance", 0.021, posterior.var()),
        Claim(
            "95% interval [0.412, 0.718]",
            f"[{lower:.4f}, {upper:.4f}]; the text's interval holds {mass:.1%} of the posterior",
            [round(lower, 3), round(upper, 3)] == [0.412, 0.718],
        ),
        number("P(5 heads of 10 | theta = 0.5)", 0.246, stats.binom.pmf(5, 10, 0.5)),
        number("P(10 heads of 10 | theta = 0.5)", 0.001, stats.binom.pmf(10, 10, 0.5)),
        Claim(
            "entropy is always non-negative",
            f"not for a continuous variable: this posterior's is {entropy:.4f} nats",
            entropy >= 0,
        ),
        Claim(
            "Jensen: log of an integral of f >= integral of f log f",
            f"log E[f] >= E[log f]; for f = {f:g} the text's right side is {f * math.log(f):.2f} > {math.log(f):.2f}",
            math.log(f) >= f * math.log(f),
        ),
        Claim(
            "ELBO = log p(x) for every q",
            f"log p(x) - ELBO(q) = KL(q, posterior): {gap_of_prior:.4f} nats where q is the prior",
            abs(gap_of_prior) < 1e-9,
        ),
        Claim(
            "KL with the natural logarithm is in bits",
            f"it is in nats: {gap_of_best:.6f} nats (the best Gaussian on the logit) are "
            f"{gap_of_best / math.log(2):.6f} bits",
            math.log(2) == 1,
        ),
    ]


def published(data: Coin, summary: Mapping[str, Any]) -> list[Published]:
    """What books and tutorials work out, whatever the data, and three formulas for the data given."""
    return [*births(type(data)), *tutorials(type(data)), *formulas(data)]


def births(coin: type[Coin]) -> list[Published]:
    """What is printed about two famous counts of births."""
    data = coin(heads=GIRLS, tosses=BIRTHS, alpha=1.0, beta=1.0)
    exact = BetaPosterior(data)
    posterior = exact.posterior
    low, middle, high = posterior.ppf([0.025, 0.5, 0.975])
    pulled = [
        quantile
        for weight in (20.0, 100.0, 200.0)
        for quantile in BetaPosterior(
            dataclasses.replace(data, alpha=0.485 * weight, beta=0.515 * weight)
        ).posterior.ppf([0.5, 0.025, 0.975])
    ]
    location, spread, _ = best_logit_normal(exact.a, exact.b)
    errors = spread / math.sqrt(SIMULATED), spread / math.sqrt(2 * SIMULATED)
    girls, boys = PARIS
    paris = BetaPosterior(coin(heads=girls, tosses=girls + boys, alpha=1.0, beta=1.0)).posterior
    return [
        printed(
            f"the posterior after {GIRLS} girls in {BIRTHS} births, uniform prior",
            f"{BDA}, section 2.4",
            "mean 0.446, sd 0.016, median 0.446, 95% interval [0.415, 0.477]",
            *(float(posterior.mean()), float(posterior.std()), middle, low, high),
        ),
        printed(
            "the same under Beta priors with mean 0.485 and alpha + beta = 20, 100, 200: median and 95% interval",
            f"{BDA}, table 2.1",
            "0.447 [0.416, 0.478]; 0.450 [0.420, 0.479]; 0.453 [0.424, 0.481]",
            *pulled,
        ),
        printed(
            "the ratio of boys to girls that it implies: median and 95% interval",
            f"{BDA}, section 2.4",
            "1.24, [1.10, 1.41]",
            *(1 / quantile - 1 for quantile in (middle, high, low)),
        ),
        printed(
            f"the logit of theta there, from {SIMULATED:,} draws (ours: the best Gaussian; within 4 of their errors)",
            f"{BDA}, section 2.4",
            "mean -0.220, sd 0.065",
            *(location, spread),
            slack=(ERRORS * errors[0] + 0.0005, ERRORS * errors[1] + 0.0005),
        ),
        printed(
            f"P(theta >= 1/2) after {girls:,} girls and {boys:,} boys, uniform prior",
            "Laplace's result, as in Gelman et al. 2013, section 2.1",
            "1.15e-42",
            float(paris.sf(0.5)),
        ),
    ]


def tutorials(coin: type[Coin]) -> list[Published]:
    """Pyro's coin, 6 heads of 10 under Beta(10, 10): a fit, held to a tenth of the sd, and a formula for the mode."""
    exact = BetaPosterior(coin(heads=6, tosses=10, alpha=10.0, beta=10.0))
    sd = float(exact.posterior.std())
    return [
        printed(
            "mean and sd after 6 heads of 10 under Beta(10, 10), by SVI with a Beta guide (within 0.1 sd)",
            f"{PYRO}, SVI Part I, sample output",
            "0.532 +- 0.090",
            *(float(exact.posterior.mean()), sd),
            slack=(0.1 * sd, 0.1 * sd),
        ),
        printed(
            "the mode there is (10 + 6)/(10 + 6 + 10 + 4), which is the mean",
            f"{PYRO}, MLE and MAP Estimation, before cell 36",
            "0.533",
            (exact.a - 1) / (exact.a + exact.b - 2),
        ),
    ]


def formulas(data: Coin) -> list[Published]:
    """What follows from Bayes' and Laplace's formulas for these tosses, and from conjugacy for this prior."""
    uniform = BetaPosterior(dataclasses.replace(data, alpha=1.0, beta=1.0))
    n, rounding = data.tosses, 1e-12 * (10 + data.tosses)
    a, b = data.alpha + data.heads, data.beta + n - data.heads
    mean = a / (a + b)
    variance = mean * (b / (a + b)) / (a + b + 1)
    return [
        by_formula(
            "the rule of succession: the next toss is heads with probability (x + 1)/(n + 2), uniform prior",
            "Laplace 1774",
            f"({data.heads} + 1)/({n} + 2)",
            (data.heads + 1) / (n + 2),
            float(uniform.mean()["theta"]),
            1e-12,
        ),
        by_formula(
            "under a uniform prior every number of heads is equally probable: log p(x) in nats",
            "Bayes 1763, as in Gelman et al. 2013, section 2.4",
            f"-log({n} + 1)",
            -math.log(n + 1),
            uniform.log_evidence,
            rounding,
        ),
        by_formula(
            "the posterior variance is E(1 - E)/(alpha + beta + n + 1), E = (alpha + x)/(alpha + beta + n)",
            "Gelman et al. 2013, section 2.4",
            f"{mean:.6g} (1 - {mean:.6g})/{a + b + 1:.6g}",
            variance,
            float(BetaPosterior(data).sd()["theta"]) ** 2,
            1e-11 * variance + 1e-100,  # below that float64 loses the digits of its parts
        ),
    ]
