"""What the founding text says of the coin, beside what is true. Every truth here is computed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scipy import stats

from models.coin.exact import BetaPosterior, best_member
from models.contract import Claim

if TYPE_CHECKING:
    from models.coin.data import Coin

__all__ = ["claims"]


def claims(data: Coin) -> list[Claim]:
    """The text's claims about its own example, 6 heads in 10 tosses under Beta(2, 2); none for other data."""
    if (data.heads, data.tosses, data.alpha, data.beta) != (6, 10, 2.0, 2.0):
        return []
    exact = BetaPosterior(data)
    posterior = exact.posterior

    def number(name: str, said: float, truth: float) -> Claim:
        digits = len(f"{said}".partition(".")[2])
        return Claim(f"{name} {said}", float(truth), round(float(truth), digits) == said)

    held = posterior.cdf(0.718) - posterior.cdf(0.412)
    lower, upper = posterior.ppf([0.025, 0.975])
    prior = stats.beta(data.alpha, data.beta)
    gap_of_prior = exact.log_evidence - prior.expect(lambda theta: stats.binom.logpmf(data.heads, data.tosses, theta))
    gap_of_best = exact.log_evidence - best_member(data, "mean_field").elbo
    entropy = float(posterior.entropy())
    f = 10.0  # a constant f is enough to refute the inequality
    return [
        number("mean", 0.571, posterior.mean()),
        number("median", 0.568, posterior.median()),
        number("mode", 0.538, exact.mode()),
        number("variance", 0.021, posterior.var()),
        Claim(
            "95% interval [0.412, 0.718]",
            f"[{lower:.4f}, {upper:.4f}]; the text's interval holds {held:.1%} of the posterior",
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
