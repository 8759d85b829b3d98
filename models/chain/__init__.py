r"""The Gaussian chain: what mean-field gets right, and what it gets wrong.

A random walk is seen through unit noise, at its last node or at every node:

    z_1 ~ N(0, 1)        z_k ~ N(z_{k-1}, 1)        x_k ~ N(z_k, 1)

Its posterior is Gaussian, and its precision matrix is tridiagonal, so everything is known in closed form at a cost
linear in the length. With two nodes and x = 1 seen at the last, the means are (1/3, 2/3), both variances 2/3 and the
correlation 1/2. A factorised guide, q(z_1) q(z_2), finds those means, but its variances are 1/2: it reports how much
each node may move while the other stands still. The price is KL(q, posterior) = log(4/3) / 2 = 0.1438 nats.
A Gaussian whose precision couples neighbours only, the family ``markov``, pays nothing at any length.
"""

from dataclasses import replace

import numpy as np

from models.chain.coordinate_ascent import coordinate_ascent
from models.chain.data import Chain, report
from models.chain.exact import GaussianChain, best_member, coverage
from models.chain.literature import claims, published
from models.chain.pictures import PICTURES
from models.contract import Literature, Model, Quantities, Simulated

__all__ = ["MODEL", "Chain"]


def simulate(data: Chain, rng: np.random.Generator, count: int) -> Simulated:
    """Walks from the prior, each seen through noise where the data's is."""
    z = rng.standard_normal((count, data.length)).cumsum(axis=1)
    seen = z if data.observe == "all" else z[:, -1:]
    x = seen + rng.standard_normal(seen.shape)
    return Simulated({"z": z}, tuple(replace(data, x=tuple(row.tolist())) for row in x))


MODEL = Model(
    name="chain",
    title="a random walk z seen through noise, at its last node or at every node",
    data=Chain,
    guides=("mean_field", "full_rank", "markov"),
    truth=GaussianChain,
    test_cases=(
        Chain(1),
        Chain(2, (-1.5, 2.0), "all"),
        Chain(3),
        Chain(3, (0.5, -1.0, 2.0), "all"),
        Chain(10, 4.0),
        Chain(10, 0.7, "all"),
        Chain(1000, -30.0),
        Chain(1000, tuple(np.random.default_rng(0).normal(size=1000).cumsum().tolist()), "all"),
    ),
    simulate=simulate,
    best_member=best_member,
    coverage=coverage,
    coordinate_ascent=coordinate_ascent,
    quantities=Quantities(report=report),
    literature=Literature(claims, published),
    pictures=PICTURES,
)
