"""Coordinate ascent on the chain's mean field q(z) = prod_k N(z_k; mean_k, variance_k), in closed form.

With all other factors held, the best q(z_k) has precision P_kk and the mean that balances what pulls at node k:

    variance_k = 1 / P_kk        mean_k = (mean_{k-1} + mean_{k+1} + x_k) / P_kk,

each term only where that neighbour or observation exists (Bishop 2006, section 10.1.2). A sweep over the nodes is a
Gauss-Seidel step for the posterior's means: certain to arrive, in a number of sweeps that grows with the square
of the length where only the last node is seen.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from scipy.signal import lfilter

from models.chain.data import Chain
from models.chain.exact import LOG_2PI, GaussianChain
from models.contract import CoordinateAscent, Latents

NODE_BY_NODE = 100  # up to this length every node's update is yielded; beyond it, whole sweeps

State = Mapping[str, np.ndarray]


def coordinate_ascent(data: Chain) -> dict[str, CoordinateAscent]:
    """The right updates and, where the text speaks of this very chain, the updates as the text prints them."""
    exact = GaussianChain(data)
    n = data.length
    start = {"mean": np.zeros(n), "variance": np.ones(n)}

    def one_by_one(state: State) -> Iterator[dict[str, np.ndarray]]:
        mean, variance = state["mean"].copy(), state["variance"].copy()
        for k in range(n):
            pull = exact.pull[k] + (mean[k - 1] if k else 0.0) + (mean[k + 1] if k + 1 < n else 0.0)
            mean[k], variance[k] = pull / exact.precision_diagonal[k], 1 / exact.precision_diagonal[k]
            yield {"mean": mean.copy(), "variance": variance.copy()}

    def sweep(state: State) -> Iterator[dict[str, np.ndarray]]:
        """The same sweep as one linear recurrence: all diagonal entries but the last are equal."""
        pull = exact.pull.copy()
        pull[:-1] += state["mean"][1:]
        step = 1 / exact.precision_diagonal[0]
        mean = np.empty(n)
        mean[:-1] = lfilter([step], [1.0, -step], pull[:-1])
        mean[-1] = (mean[-2] + pull[-1]) / exact.precision_diagonal[-1]
        yield {"mean": mean, "variance": 1 / exact.precision_diagonal}

    def as_printed(state: State) -> Iterator[dict[str, np.ndarray]]:
        """mean_1 = (mean_2 + x)/2: the text lets x touch z_1, which it does not."""
        x = exact.x[0]
        mean, variance = state["mean"].copy(), state["variance"].copy()
        for k in (0, 1):
            mean[k], variance[k] = (mean[1 - k] + x) / 2, 0.5
            yield {"mean": mean.copy(), "variance": variance.copy()}

    def elbo(state: State) -> float:
        """E_q[log p(x, z)] + entropy: the log joint at the means, minus what the variances cost."""
        log_joint = exact.log_joint({"z": state["mean"][None]})[0]
        spread = exact.precision_diagonal * state["variance"] - np.log(state["variance"])
        return float(log_joint - 0.5 * spread.sum() + 0.5 * n * (1 + LOG_2PI))

    def draw(state: State, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        z = rng.standard_normal((count, n))
        z *= np.sqrt(state["variance"])
        z += state["mean"]
        return {"z": z}

    def log_guide(state: State, latents: Latents) -> np.ndarray:
        eps = (np.asarray(latents["z"]) - state["mean"]) / np.sqrt(state["variance"])
        constant = -0.5 * np.log(state["variance"]).sum() - n / 2 * LOG_2PI
        return -0.5 * np.einsum("...k,...k->...", eps, eps) + constant

    updates = one_by_one if n <= NODE_BY_NODE else sweep
    ways = {"coordinate_ascent": CoordinateAscent("coordinate ascent", start, updates, elbo, draw, log_guide)}
    if n == 2 and data.observe == "last":
        title = "coordinate ascent as the text prints it"
        ways["coordinate_ascent-text"] = CoordinateAscent(title, start, as_printed, elbo, draw, log_guide)
    return ways
