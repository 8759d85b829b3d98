"""Inducing points (Titsias 2009, Variational learning of inducing variables in sparse Gaussian processes).

The approximation is q(f, w) = p(f | w) q(w), w the process at M points Z, evenly spaced over the inputs. With
K_MM = L_M L_M', whitened w = L_M v, A = L_M^-1 K_MN / s and B = I + A A', the best q(v) is N(B^-1 A y / s, B^-1) and

    log p(y) >= log N(y; 0, Q + s^2 I) - tr(K - Q) / (2 s^2),    Q = K_NM K_MM^-1 K_MN

(equations 9 and 10). The gap is KL(q(f, w), p(f, w | y)), the distance between two processes. Two other sparse methods
have the evidence of another model, which may lie above: DTC, which leaves the trace out, and FITC (Snelson & Ghahramani
2006, Sparse Gaussian processes using pseudo-inputs), which adds the diagonal of K - Q to the noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
from scipy import optimize
from scipy.linalg import cho_solve, solve_triangular

from models.contract import Best, CoordinateAscent, Latents
from models.gp import classes
from models.gp.data import GpData
from models.gp.exact import LOG_2PI, GaussianProcess, gaussian_best

State = Mapping[str, np.ndarray]


class InducingPoints:
    """The sparse approximation with M points.

    Attributes:
        places: Z, shape (M, 1).
        best: Mean (M,) and covariance (M, M) of the best q(v).
    """

    def __init__(self, data: GpData, n_points: int) -> None:
        self.data = data
        inputs, y = data.design.inputs, data.design.targets
        self.places = np.linspace(inputs.min(axis=0), inputs.max(axis=0), n_points)
        self.factor = data.factor(self.places)
        self.across = self.project(inputs)
        scaled = self.across / data.noise
        self.information = np.linalg.cholesky(np.eye(n_points) + scaled @ scaled.T)
        inverse = cho_solve((self.information, True), np.eye(n_points))
        self.best = {"mean": inverse @ scaled @ y / data.noise, "covariance": inverse}

    @cached_property
    def exact(self) -> GaussianProcess:
        """The exact posterior."""
        return GaussianProcess(self.data)

    def project(self, inputs: np.ndarray) -> np.ndarray:
        """L_M^-1 k(Z, inputs), shape (M, m)."""
        return solve_triangular(self.factor, self.data.covariance(self.places, inputs), lower=True)

    @property
    def left_over(self) -> float:
        """tr(K - Q): the prior variance of f that the inducing points leave, summed over the inputs."""
        trace = len(self.data.design.targets) * self.data.variance * (1 + self.data.jitter)
        return float(trace - np.sum(self.across**2))

    def bound(self, with_trace: bool = True) -> float:
        """The collapsed bound on the log evidence, in nats; without its trace term it is no bound."""
        y, s = self.data.design.targets, self.data.noise
        explained = solve_triangular(self.information, self.across @ y, lower=True) / s**2
        fit = -0.5 * (y @ y / s**2 - explained @ explained + len(y) * (LOG_2PI + 2 * math.log(s)))
        log_det = np.log(np.diagonal(self.information)).sum()
        return float(fit - log_det - (0.5 * self.left_over / s**2 if with_trace else 0.0))

    def fitc(self) -> float:
        """FITC's log evidence, log N(y; 0, Q + diag(K - Q) + s^2 I), in nats: no bound."""
        low_rank, y = self.across.T @ self.across, self.data.design.targets
        left = self.data.variance * (1 + self.data.jitter) - np.diagonal(low_rank)
        root = np.linalg.cholesky(low_rank + np.diag(np.maximum(left, 0.0) + self.data.noise**2))
        scaled = solve_triangular(root, y, lower=True)
        return float(-0.5 * (scaled @ scaled + len(y) * LOG_2PI) - np.log(np.diagonal(root)).sum())

    def predict(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and sd of f at inputs of shape (m, 1) under the best q, each (m,)."""
        across = self.project(inputs)
        variance = self.data.variance - np.sum(across**2, axis=0)
        return across.T @ self.best["mean"], np.sqrt(
            np.maximum(variance, 0.0) + np.sum(across * (self.best["covariance"] @ across), axis=0)
        )

    # As a guide for the latents at the inputs

    def start(self) -> State:
        return {"mean": np.zeros(len(self.places)), "covariance": np.eye(len(self.places))}

    def update(self, state: State) -> Iterator[dict[str, np.ndarray]]:
        yield self.best

    def whitened(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """Mean (n,) and lower factor (n, n) of q(u) at the inputs, w integrated out."""
        loading = solve_triangular(self.exact.factor, self.across.T, lower=True)
        lost = np.eye(len(self.places)) - state["covariance"]
        covariance = np.eye(self.exact.size) - loading @ lost @ loading.T
        return loading @ state["mean"], np.linalg.cholesky(covariance)

    def elbo(self, state: State) -> float:
        """The ELBO of q(f) at the inputs, w integrated out: at least the collapsed bound, and close to it."""
        mean, root = self.whitened(state)
        factor, s = self.exact.factor, self.data.noise
        residual = self.data.design.targets - factor @ mean
        squares = residual @ residual + np.sum((factor @ root) ** 2)
        fit = -0.5 * (squares / s**2 + len(residual) * (LOG_2PI + 2 * math.log(s)))
        log_det = np.log(np.diagonal(root)).sum()
        return float(fit - 0.5 * (mean @ mean + np.sum(root**2) - len(mean)) + log_det)

    def draw(self, state: State, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        mean, root = self.whitened(state)
        return self.exact.sites_of(mean + rng.standard_normal((count, len(mean))) @ root.T)

    def log_guide(self, state: State, latents: Latents) -> np.ndarray:
        mean, root = self.whitened(state)
        eps = solve_triangular(root, (self.exact.whiten(latents) - mean).T, lower=True)
        log_det = np.log(np.diagonal(root)).sum() + self.exact.log_jacobian
        return -0.5 * np.sum(eps**2, axis=0) - log_det - 0.5 * len(mean) * LOG_2PI


def inducing_points(data: GpData) -> dict[str, CoordinateAscent]:
    """The fit with ``--inducing`` points: one update, as the best q(w) is known in closed form."""
    if not data.inducing:
        return {}
    sparse = InducingPoints(data, data.inducing)
    steps = sparse.update, sparse.elbo, sparse.draw, sparse.log_guide
    return {"inducing": CoordinateAscent("inducing points", sparse.start(), *steps, "inducing")}


def best_member(data: GpData, family: str) -> Best | None:
    """The best Gaussian of a family, or the best q(w) of Titsias' bound as a guide for the latents at the inputs."""
    if not data.is_normal:
        return classes.best_member(data, family)
    if family != "inducing":
        return gaussian_best(data, family)
    if not data.inducing:
        return None
    sparse = InducingPoints(data, data.inducing)
    return Best(sparse.elbo(sparse.best), sparse.exact.tolerance, "closed form: the best q(w) of Titsias' bound", {})


OBJECTIVES: dict[str, Callable[[InducingPoints], float]] = {
    "exact": lambda sparse: sparse.exact.log_evidence,
    "Titsias": lambda sparse: sparse.bound(),
    "FITC": lambda sparse: sparse.fitc(),
    "DTC": lambda sparse: sparse.bound(with_trace=False),
}
"""What the noise is chosen by, from the sparse approximation to nats."""


def best_noise(data: GpData, count: int, objective: Callable[[InducingPoints], float]) -> tuple[float, float]:
    """The sd of the noise that an objective is largest at, between 0.01 and 3, and the objective there, in nats."""

    def loss(log_noise: float) -> float:
        return -objective(InducingPoints(data.with_derived(noise=math.exp(log_noise)), count))

    end = optimize.minimize_scalar(loss, bounds=(math.log(0.01), math.log(3)), method="bounded")
    return math.exp(end.x), -float(end.fun)


def table(data: GpData, counts: Sequence[int]) -> str:
    """The gap of the bound, and how far it would lie above the evidence without its trace, by number of points."""
    lines = ["points  gap in nats  without the trace"]
    for count in counts:
        sparse = InducingPoints(data, count)
        gap, above = sparse.exact.log_evidence - sparse.bound(), sparse.bound(False) - sparse.exact.log_evidence
        lines.append(f"{count:>6}  {gap:>11.6f}  {above:>17.6f}")
    return "\n".join(lines)


def noises(data: GpData, counts: Sequence[int]) -> str:
    """The noise that each method would choose and its objective there, by number of points."""
    lines = ["points  " + "  ".join(f"{name:>17}" for name in OBJECTIVES)]
    for count in counts:
        ends = [best_noise(data, count, objective) for objective in OBJECTIVES.values()]
        lines.append(f"{count:>6}  " + "  ".join(f"{noise:>8.4f} {value:>8.2f}" for noise, value in ends))
    return "\n".join(lines)


if __name__ == "__main__":
    WAVE = GpData(points=200, jitter=1e-10)
    print(table(WAVE, (5, 10, 15, 20, 25)))
    print("\nsd of the noise with the largest objective, and that objective in nats")
    print(noises(WAVE, (5, 8, 10, 12, 15, 20)))
