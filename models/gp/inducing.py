"""Inducing points: Titsias 2009, Variational learning of inducing variables in sparse Gaussian processes; for classes
Hensman, Matthews & Ghahramani 2015, Scalable variational Gaussian process classification.

The approximation is q(f, w) = p(f | w) q(w), w the process at M points Z. With K_MM = L_M L_M', whitened w = L_M v,
A = L_M^-1 K_MN and q(v) = N(m, S), each value f_i has mean a_i' m and variance k_ii - a_i' (I - S) a_i, and

    log p(y) >= sum_i E_q[log p(y_i | f_i)] - KL(q(v), N(0, I)).

The gap is KL(q(f, w), p(f, w | y)), the distance between two processes. For normal noise the best q(v), with
B = I + A A' / s^2, is N(B^-1 A y / s^2, B^-1), and its bound

    log N(y; 0, Q + s^2 I) - tr(K - Q) / (2 s^2),    Q = A' A = K_NM K_MM^-1 K_MN

(Titsias' equations 9 and 10). Two other sparse methods have the evidence of another model, which may lie above: DTC,
which leaves the trace out, and FITC (Snelson & Ghahramani 2006, Sparse Gaussian processes using pseudo-inputs), which
adds the diagonal of K - Q to the noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
from scipy import optimize, special
from scipy.linalg import cho_solve, solve_triangular

from models import logit_gaussians
from models.contract import Latents
from models.gp import classes
from models.gp.classes import Classes
from models.gp.data import GpData
from models.gp.exact import LOG_2PI, GaussianProcess
from models.logits import Logits

State = Mapping[str, np.ndarray]


def even(data: GpData, count: int) -> np.ndarray:
    """Points evenly spaced over the inputs of one column, shape (count, 1)."""
    inputs = data.design.inputs
    return np.linspace(inputs.min(axis=0), inputs.max(axis=0), count)


class InducingPoints:
    """The sparse approximation with M points. A subclass has a likelihood.

    Attributes:
        places: Z, shape (M, columns).
        across: A, shape (M, n).
        left_over: k_ii - a_i' a_i, the prior variance of each f_i that the inducing points leave, shape (n,).
        best: Mean (M,) and covariance (M, M) of the best q(v).
    """

    best: dict[str, np.ndarray]

    def __init__(self, data: GpData, places: np.ndarray) -> None:
        self.data, self.places = data, places
        self.factor = data.factor(places)
        self.across = self.project(data.design.inputs)
        self.left_over = data.variance * (1 + data.jitter) - np.sum(self.across**2, axis=0)

    @property
    def process(self) -> GaussianProcess | Classes:
        """The process at the inputs, without inducing points."""
        raise NotImplementedError

    def bound(self) -> float:
        """The bound on the log evidence with the best q(v), in nats."""
        raise NotImplementedError

    def elbo(self, state: State) -> float:
        """The ELBO of q(f) at the inputs, w integrated out: at least the bound, and close to it."""
        raise NotImplementedError

    def responses(self) -> tuple[np.ndarray, np.ndarray]:
        """E[d log p(y_i | f_i) / df] and -E[its second derivative] under the best q, each (n,)."""
        raise NotImplementedError

    def project(self, inputs: np.ndarray) -> np.ndarray:
        """L_M^-1 k(Z, inputs), shape (M, m)."""
        return solve_triangular(self.factor, self.data.covariance(self.places, inputs), lower=True)

    def slope(self) -> np.ndarray:
        """The bound's derivative by each place, shape (M, columns): at the best q(v) only A changes with Z.

        With G = d bound / d A it is the sum over inputs of L_M^-T G times the kernel's slope at (Z, inputs), less the
        sum over places of L_M^-T G A' L_M^-1 times that at (Z, Z).
        """
        first, second = self.responses()
        mean, covariance = self.best.values()
        by_across = np.outer(mean, first) + (self.across - covariance @ self.across) * second
        by_cross = solve_triangular(self.factor, by_across, lower=True, trans="T")
        by_prior = solve_triangular(self.factor, self.across @ by_cross.T, lower=True, trans="T")
        cross = np.einsum("mn,mnc->mc", by_cross, self.data.slope(self.places, self.data.design.inputs))
        return cross - np.einsum("mn,mnc->mc", by_prior, self.data.slope(self.places, self.places))

    def predict(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and sd of f at inputs of shape (m, columns) under the best q, each (m,)."""
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
        loading = solve_triangular(self.process.factor, self.across.T, lower=True)
        lost = np.eye(len(self.places)) - state["covariance"]
        covariance = np.eye(self.process.size) - loading @ lost @ loading.T
        return loading @ state["mean"], np.linalg.cholesky(covariance)

    def draw(self, state: State, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        mean, root = self.whitened(state)
        return self.process.sites(mean + rng.standard_normal((count, len(mean))) @ root.T)

    def log_guide(self, state: State, latents: Latents) -> np.ndarray:
        mean, root = self.whitened(state)
        eps = solve_triangular(root, (self.process.coefficients(latents) - mean).T, lower=True)
        log_det = np.log(np.diagonal(root)).sum() + self.process.log_volume
        return -0.5 * np.sum(eps**2, axis=0) - log_det - 0.5 * len(mean) * LOG_2PI


class SparseRegression(InducingPoints):
    """With normal noise, and the evidence of other sparse methods."""

    def __init__(self, data: GpData, places: np.ndarray) -> None:
        super().__init__(data, places)
        y, scaled = data.design.targets, self.across / data.noise
        self.information = np.linalg.cholesky(np.eye(len(places)) + scaled @ scaled.T)
        inverse = cho_solve((self.information, True), np.eye(len(places)))
        self.best = {"mean": inverse @ scaled @ y / data.noise, "covariance": inverse}

    @cached_property
    def exact(self) -> GaussianProcess:
        """The exact posterior."""
        return GaussianProcess(self.data)

    @property
    def process(self) -> GaussianProcess:
        return self.exact

    def bound(self, with_trace: bool = True) -> float:
        """Titsias' bound on the log evidence, in nats; without its trace term it is no bound."""
        y, s = self.data.design.targets, self.data.noise
        explained = solve_triangular(self.information, self.across @ y, lower=True) / s**2
        fit = -0.5 * (y @ y / s**2 - explained @ explained + len(y) * (LOG_2PI + 2 * math.log(s)))
        log_det = np.log(np.diagonal(self.information)).sum()
        return float(fit - log_det - (0.5 * self.left_over.sum() / s**2 if with_trace else 0.0))

    def fitc(self) -> float:
        """FITC's log evidence, log N(y; 0, Q + diag(K - Q) + s^2 I), in nats: no bound."""
        y, noise = self.data.design.targets, np.maximum(self.left_over, 0.0) + self.data.noise**2
        root = np.linalg.cholesky(self.across.T @ self.across + np.diag(noise))
        scaled = solve_triangular(root, y, lower=True)
        return float(-0.5 * (scaled @ scaled + len(y) * LOG_2PI) - np.log(np.diagonal(root)).sum())

    def responses(self) -> tuple[np.ndarray, np.ndarray]:
        y, variance = self.data.design.targets, self.data.noise**2
        return (y - self.across.T @ self.best["mean"]) / variance, np.full(len(y), 1 / variance)

    def elbo(self, state: State) -> float:
        mean, root = self.whitened(state)
        factor, s = self.process.factor, self.data.noise
        residual = self.data.design.targets - factor @ mean
        squares = residual @ residual + np.sum((factor @ root) ** 2)
        fit = -0.5 * (squares / s**2 + len(residual) * (LOG_2PI + 2 * math.log(s)))
        log_det = np.log(np.diagonal(root)).sum()
        return float(fit - 0.5 * (mean @ mean + np.sum(root**2) - len(mean)) + log_det)


class SparseLogits(Logits):
    """The logits given v, each with the variance that the inducing points leave."""

    def __init__(self, data: GpData, across: np.ndarray) -> None:
        super().__init__(across.T, data.design.targets, prior_sd=1.0)
        left_over = data.variance * (1 + data.jitter) - np.sum(self.signed**2, axis=1)
        self.left_over = np.maximum(left_over, 0.0)


class SparseClasses(InducingPoints):
    """With classes: the best q(v) is that of a logistic regression on A whose logits have some variance left."""

    def __init__(self, data: GpData, places: np.ndarray) -> None:
        super().__init__(data, places)
        self.given = SparseLogits(data, self.across)
        self.best = dict(zip(("mean", "covariance"), logit_gaussians.best_gaussian(self.given, False), strict=True))

    @property
    def process(self) -> Classes:
        return classes.known(self.data)[0]

    def bound(self) -> float:
        """Hensman's bound on the log evidence, in nats, each logit's integral by quadrature."""
        return logit_gaussians.elbo(self.given, **self.best)

    def responses(self) -> tuple[np.ndarray, np.ndarray]:
        mean, covariance = self.best.values()
        variance = np.maximum(self.left_over, 0.0) + np.sum(self.across * (covariance @ self.across), axis=0)
        sign, nodes, weights = 2 * self.data.design.targets - 1, logit_gaussians.NODES, logit_gaussians.WEIGHTS
        logits = (self.across.T @ mean)[:, None] + np.sqrt(variance)[:, None] * nodes
        against = special.expit(-sign[:, None] * logits)
        return sign * (against @ weights), (against * (1 - against)) @ weights

    def elbo(self, state: State) -> float:
        mean, root = self.whitened(state)
        return logit_gaussians.elbo(self.process, mean, root @ root.T)


def approximate(data: GpData, places: np.ndarray) -> InducingPoints:
    """The sparse approximation with points at these places, shape (M, columns)."""
    return SparseRegression(data, places) if data.is_normal else SparseClasses(data, places)


OBJECTIVES: dict[str, Callable[[SparseRegression], float]] = {
    "exact": lambda sparse: sparse.exact.log_evidence,
    "Titsias": lambda sparse: sparse.bound(),
    "FITC": lambda sparse: sparse.fitc(),
    "DTC": lambda sparse: sparse.bound(with_trace=False),
}
"""What the noise is chosen by, from the sparse approximation to nats."""


def best_noise(data: GpData, places: np.ndarray, objective: Callable[[SparseRegression], float]) -> tuple[float, float]:
    """The sd of the noise that an objective is largest at, between 0.01 and 3, and the objective there, in nats."""

    def loss(log_noise: float) -> float:
        return -objective(SparseRegression(data.with_derived(noise=math.exp(log_noise)), places))

    end = optimize.minimize_scalar(loss, bounds=(math.log(0.01), math.log(3)), method="bounded")
    return math.exp(end.x), -float(end.fun)


def table(data: GpData, counts: Sequence[int]) -> str:
    """The gap of the bound, and how far it would lie above the evidence without its trace, by number of points."""
    lines = ["points  gap in nats  without the trace"]
    for count in counts:
        sparse = SparseRegression(data, even(data, count))
        gap, above = sparse.exact.log_evidence - sparse.bound(), sparse.bound(False) - sparse.exact.log_evidence
        lines.append(f"{count:>6}  {gap:>11.6f}  {above:>17.6f}")
    return "\n".join(lines)


def noises(data: GpData, counts: Sequence[int]) -> str:
    """The noise that each method would choose and its objective there, by number of points."""
    lines = ["points  " + "  ".join(f"{name:>17}" for name in OBJECTIVES)]
    for count in counts:
        ends = [best_noise(data, even(data, count), objective) for objective in OBJECTIVES.values()]
        lines.append(f"{count:>6}  " + "  ".join(f"{noise:>8.4f} {value:>8.2f}" for noise, value in ends))
    return "\n".join(lines)


if __name__ == "__main__":
    WAVE = GpData(points=200, jitter=1e-10)
    print(table(WAVE, (5, 10, 15, 20, 25)))
    print("\nsd of the noise with the largest objective, and that objective in nats")
    print(noises(WAVE, (5, 8, 10, 12, 15, 20)))
