"""The chain's posterior and evidence by a banded solver, and the best member of each Gaussian family.

The posterior's precision P is tridiagonal: 2 on the diagonal (1 at the last node, one more wherever x is seen) and -1
beside it. Its banded Cholesky factor gives means, variances, neighbours' covariances, the determinant and draws, each
at a cost linear in the length (Rue & Held 2005, Gaussian Markov Random Fields, section 2.4).
"""

import math
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import special, stats

from models import banded
from models.chain.data import Chain, report
from models.contract import Best, Exact, Latents, Marginal, element

LOG_2PI = math.log(2 * math.pi)

DENSE = 500  # length beyond which no dense matrix is formed


def factorise(seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The Cholesky factor's diagonal (n,) and off-diagonal (n - 1,) of P, where ``seen`` (n,) says which nodes are.

    The textbook recursion d_k = P_kk - 1/d_{k-1} subtracts numbers near 1 and loses digits with the length. Written
    for e_k = d_k - 1, it is e_k = seen_k + e_{k-1}/(1 + e_{k-1}): sums of positive terms only.
    """
    excess = np.empty(seen.size)
    carried = 1.0
    for node, noise_precision in enumerate(seen.tolist()):
        excess[node] = information = noise_precision + carried
        carried = information / (1 + information)
    pivots = 1 + excess
    pivots[-1] = excess[-1]  # no next node pulls at the last
    diagonal = np.sqrt(pivots)
    return diagonal, -1 / diagonal[:-1]


class GaussianChain(Exact):
    """z | x ~ N(location, P^-1).

    Attributes:
        diagonal: That of the lower Cholesky factor of the precision P, shape (n,).
        off_diagonal: What stands below it, shape (n - 1,).
    """

    method = "closed form (banded Cholesky)"

    def __init__(self, data: Chain) -> None:
        self.data = data
        self.tolerance = 1e-13 * max(10, data.length)  # nats: the rounding of a sum over the nodes
        self.x = np.array(data.x)
        seen, pull = np.zeros(data.length), np.zeros(data.length)
        observed = slice(None) if data.observe == "all" else slice(-1, None)
        seen[observed], pull[observed] = 1.0, self.x
        self.observed_nodes = observed
        self.precision_diagonal = 2.0 + seen
        self.precision_diagonal[-1] -= 1
        self.pull = pull
        self.diagonal, self.off_diagonal = factorise(seen)
        self.location = banded.solve(
            self.diagonal, self.off_diagonal, banded.solve(self.diagonal, self.off_diagonal, pull), transposed=True
        )
        self.variance, self.neighbours = banded.inverse_bands(self.diagonal, self.off_diagonal)
        self.half_log_det = float(np.log(self.diagonal).sum())
        log_joint = self.log_joint({"z": self.location[None]})[0]
        self.log_evidence = float(log_joint - self.half_log_det + data.length / 2 * LOG_2PI)

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        eps = rng.standard_normal((count, self.data.length))
        z = banded.solve(self.diagonal, self.off_diagonal, eps, transposed=True, overwrite=True)
        z += self.location
        return {"z": z}

    def log_joint(self, latents: Latents) -> np.ndarray:
        """log p(x, z), shape (n_draws,)."""
        z = np.asarray(latents["z"])
        steps, noise = np.diff(z, axis=-1), self.x - z[..., self.observed_nodes]
        squares = z[..., 0] ** 2 + sum(np.einsum("...k,...k->...", part, part) for part in (steps, noise))
        return -0.5 * squares - (self.data.length + self.x.size) / 2 * LOG_2PI

    def log_posterior(self, latents: Latents) -> np.ndarray:
        centred = np.asarray(latents["z"]) - self.location
        eps = banded.multiply(self.diagonal, self.off_diagonal, centred, transposed=True)
        return -0.5 * np.einsum("...k,...k->...", eps, eps) + self.half_log_det - self.data.length / 2 * LOG_2PI

    def mean(self) -> dict[str, np.ndarray]:
        return {"z": self.location}

    def sd(self) -> dict[str, np.ndarray]:
        return {"z": np.sqrt(self.variance)}

    def quantile(self, probability: float) -> dict[str, np.ndarray]:
        return {"z": self.location + special.ndtri(probability) * np.sqrt(self.variance)}

    def marginal(self, site: str, index: tuple[int, ...] = ()) -> Marginal:
        return stats.norm(self.location[index], math.sqrt(self.variance[index]))

    def correlations(self) -> dict[str, float]:
        """All pairs up to length 10, beyond that the neighbours among the reported nodes.

        Along a Markov chain correlations multiply, and here all are positive.
        """
        log_neighbours = np.log(self.neighbours) - 0.5 * np.log(self.variance[:-1] * self.variance[1:])
        path = np.concatenate([[0.0], np.cumsum(log_neighbours)])
        nodes = [index for _, (index,) in report(self.data)]
        pairs = list(pairwise(nodes))
        if self.data.length <= 10:
            pairs = [(a, b) for a in nodes for b in nodes if a < b]
        return {f"{element('z', (a,))},{element('z', (b,))}": math.exp(path[b] - path[a]) for a, b in pairs}

    def mean_field_divergence(self) -> float:
        """KL(q*, posterior) in nats of the best factorised Gaussian: (sum_i log P_ii - log det P) / 2."""
        return float(0.5 * np.log(self.precision_diagonal).sum() - self.half_log_det)

    def covariance(self) -> np.ndarray:
        """The covariance as a dense matrix, shape (n, n)."""
        root = banded.solve(self.diagonal, self.off_diagonal, np.eye(self.data.length), transposed=True)
        return root.T @ root

    def extra_summary(self) -> dict[str, Any]:
        ratio = 1 / np.sqrt(self.precision_diagonal * self.variance)
        return {
            "posterior": f"Gaussian on {self.data.length} nodes, tridiagonal precision",
            "log determinant of the precision": 2 * self.half_log_det,
            "mean-field KL to the posterior": self.mean_field_divergence(),
            "mean-field sd / true sd, smallest and largest": [float(ratio.min()), float(ratio.max())],
        }


def best_member(data: Chain, family: str) -> Best | None:
    """The best member of a Gaussian family in closed form; None for any other family.

    Mean field has the posterior's means and the variances 1 / P_ii (Bishop 2006, section 10.1.2); the other two
    families hold the posterior itself. Beyond `DENSE` nodes the full-rank factor is not formed.
    """
    exact = GaussianChain(data)
    parameters = {"location": exact.location}
    if family == "mean_field":
        parameters["scale"] = 1 / np.sqrt(exact.precision_diagonal)
        elbo = exact.log_evidence - exact.mean_field_divergence()
        return Best(elbo, exact.tolerance, "closed form: the posterior's means, variances 1 / P_ii", parameters)
    if family == "full_rank":
        if data.length <= DENSE:
            parameters["scale_tril"] = np.linalg.cholesky(exact.covariance())
    elif family == "markov":
        parameters |= {"diagonal": exact.diagonal, "off_diagonal": exact.off_diagonal}
    else:
        return None
    return Best(exact.log_evidence, exact.tolerance, "closed form: the posterior itself", parameters)


def coverage(data: Chain, family: str, probability: float) -> dict[str, float] | None:
    """How often a central interval of the best member's q(z_k) holds z_k, whatever x is seen; None for other families.

    Its means are the posterior's, so with r = sd_q / sd it is P(|N(0, 1)| < r u), u the normal quantile of
    (1 + probability) / 2. Mean field has r = 1 / sqrt(P_kk Var z_k) < 1: too narrow.
    """
    exact = GaussianChain(data)
    ratio = {"mean_field": 1 / np.sqrt(exact.precision_diagonal * exact.variance), "full_rank": 1.0, "markov": 1.0}
    if family not in ratio:
        return None
    held = 2 * special.ndtr(ratio[family] * special.ndtri((1 + probability) / 2)) - 1
    held = np.broadcast_to(held, data.length)
    return {element(site, index): float(held[index]) for site, index in report(data)}
