r"""The coin: is it fair?

We toss a coin ``tosses`` times, see ``heads`` heads, and ask for its probability of heads theta.

    theta ~ Beta(alpha, beta)
    heads ~ Binomial(tosses, theta)

The Beta prior is conjugate to the binomial likelihood, so Bayes' theorem only adds counts:

    theta | heads ~ Beta(alpha + heads, beta + tosses - heads).

Everything is known in closed form, which makes the coin the place to learn what an approximation does.
A Gaussian guide lives on the logit of theta and cannot quite take the posterior's shape; a Beta guide can.
"""

from dataclasses import replace

import numpy as np

from models.coin.data import Coin
from models.coin.exact import BetaPosterior, best_member
from models.coin.literature import claims, published
from models.contract import Literature, Model, Simulated

__all__ = ["MODEL", "Coin"]


def simulate(data: Coin, rng: np.random.Generator, count: int) -> Simulated:
    """theta from the prior, and as many tosses of each such coin."""
    theta = rng.beta(data.alpha, data.beta, count)
    heads = rng.binomial(data.tosses, theta)
    return Simulated({"theta": theta}, tuple(replace(data, heads=int(number)) for number in heads))


MODEL = Model(
    name="coin",
    title="the probability of heads, theta, of a coin that was tossed",
    data=Coin,
    guides=("mean_field", "full_rank", "conjugate"),
    truth=BetaPosterior,
    test_cases=(
        Coin(heads=0, tosses=10),
        Coin(heads=10, tosses=10),
        Coin(heads=700_000, tosses=1_000_000),
        Coin(heads=0, tosses=0),
        Coin(alpha=0.5, beta=0.5),
        Coin(heads=0, tosses=0, alpha=0.5, beta=0.5),
        Coin(alpha=10.0, beta=1.0),
    ),
    simulate=simulate,
    best_member=best_member,
    literature=Literature(claims, published),
)
