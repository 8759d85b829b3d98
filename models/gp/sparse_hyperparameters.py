"""Inducing points where length and noise are unknown.

The best q(length, noise) q(w | length, noise) p(f | w, length) has Titsias' q(w) for every length and noise, and for
these the prior times e to Titsias' bound. The bound on the log evidence is then the log integral of that product, by
the same quadrature as the exact posterior's. With A A' = V diag(l) V' for a length, and t what the points leave,

    bound = -((y'y - sum_k (V'A y)_k^2 / (l_k + s^2) + t) / s^2 + sum_k log(1 + l_k / s^2) + n log 2 pi s^2) / 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np

from models.contract import Best, CoordinateAscent
from models.gp.data import GpData
from models.gp.exact import LOG_2PI
from models.gp.hyperparameters import HYPERPARAMETERS, OverHyperparameters, UnknownHyperparameters, log_diagonal
from models.gp.inducing import even


class SparseHyperparameters(OverHyperparameters):
    """The best approximation with points at ``places``, shape (M, columns), the same for every length and noise."""

    def __init__(self, data: GpData, places: np.ndarray) -> None:
        self.places = places
        super().__init__(data)

    def across(self, lengths: np.ndarray) -> np.ndarray:
        """A for each length, shape (m, M, n)."""
        lengths, white = lengths[:, None, None], self.data.variance * self.data.jitter * np.eye(len(self.places))
        factor = np.linalg.cholesky(self.data.covariance(self.places, self.places, lengths) + white)
        return np.linalg.solve(factor, self.data.covariance(self.places, self.data.design.inputs, lengths))

    def log_likelihood(self, z: np.ndarray) -> np.ndarray:
        """Titsias' bound at normal scores (m, 2): (m,)."""
        lengths, noises = self.values(z)
        distinct, place = np.unique(lengths, return_inverse=True)
        across, y, variance = self.across(distinct), self.targets, noises[:, None] ** 2
        spectra, vectors = np.linalg.eigh(across @ across.transpose(0, 2, 1))
        squares = ((across @ y)[:, None] @ vectors)[:, 0] ** 2
        left = len(y) * self.data.variance * (1 + self.data.jitter) - np.sum(across**2, axis=(1, 2))
        fit = y @ y - np.sum(squares[place] / (spectra[place] + variance), axis=1) + left[place]
        log_det = np.sum(np.log1p(spectra[place] / variance), axis=1) + len(y) * np.log(variance[:, 0])
        return -0.5 * (fit / variance[:, 0] + log_det + len(y) * LOG_2PI)

    def best(self, lengths: np.ndarray, noises: np.ndarray) -> tuple[np.ndarray, ...]:
        """L, u's loading on v, and the mean and covariance of the best q(v), for each pair."""
        across, variance = self.across(lengths), noises[:, None, None] ** 2
        factor = np.linalg.cholesky(self.kernels(lengths))
        loading = np.linalg.solve(factor, across.transpose(0, 2, 1))
        cov = np.linalg.inv(np.eye(len(self.places)) + across @ across.transpose(0, 2, 1) / variance)
        return factor, loading, (cov @ (across @ self.targets / variance[..., 0])[..., None])[..., 0], cov

    def given(self, lengths: np.ndarray, noises: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        factor, loading, mean, cov = self.best(lengths, noises)
        lost = loading @ (np.eye(len(self.places)) - cov) @ loading.transpose(0, 2, 1)
        information = np.linalg.cholesky(np.linalg.inv(np.eye(len(self.targets)) - lost))
        return factor, information, (loading @ mean[..., None])[..., 0]

    @cached_property
    def elbo(self) -> float:
        """The ELBO of q(f, length, noise) at the inputs, w integrated out.

        It exceeds the bound by what KL(q(v), N(0, I)) exceeds KL(q(u), N(0, I)), on average over length and noise.
        """
        lengths, noises = self.values(self.mass.points)
        gains = np.empty(len(noises))
        for rows in self.blocks(len(noises)):
            _, loading, mean, cov = self.best(lengths[rows], noises[rows])
            _, information, middle = self.given(lengths[rows], noises[rows])
            lost = np.eye(len(self.places)) - cov
            of_v = np.sum(mean**2, axis=1) - np.trace(lost, axis1=1, axis2=2) - np.linalg.slogdet(cov)[1]
            traces = np.einsum("mij,mjk,mik->m", loading, lost, loading)
            of_u = np.sum(middle**2, axis=1) - traces + 2 * log_diagonal(information)
            gains[rows] = 0.5 * (of_v - of_u)
        return float(self.log_evidence + self.mass.probabilities @ gains)

    @property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Means and sds of length and noise under the best q, each (2,)."""
        values = np.stack(self.values(self.mass.points), axis=1)
        mean = self.mass.probabilities @ values
        return mean, np.sqrt(self.mass.probabilities @ (values - mean) ** 2)

    @property
    def fit(self) -> CoordinateAscent:
        """The fit: one update, from the prior's medians to the means of the best q(length, noise)."""
        means = {name: np.asarray(mean) for name, mean in zip(HYPERPARAMETERS, self.moments[0], strict=True)}
        return CoordinateAscent(
            "inducing points",
            {name: np.asarray(getattr(self.data, name)) for name in HYPERPARAMETERS},
            lambda state: iter([means]),
            lambda state: self.elbo,
            lambda state, rng, count: self.draw(rng, count),
            lambda state, latents: self.log_posterior(latents),
            "inducing",
        )

    @property
    def as_best(self) -> Best:
        """It as the best member of its family."""
        return Best(self.elbo, self.tolerance, "Titsias' bound, by quadrature over length and noise", {})


@lru_cache(maxsize=8)
def integrated(data: GpData, places: bytes, content: tuple[bytes, ...]) -> SparseHyperparameters:
    """The approximation, computed once for each content of the data."""
    return SparseHyperparameters(data, np.frombuffer(places).reshape(-1, data.design.inputs.shape[1]))


def approximate(data: GpData, places: np.ndarray) -> SparseHyperparameters:
    """The best approximation with points at these places, shape (M, columns)."""
    return integrated(data, places.tobytes(), data.content)


def table(data: GpData, counts: Sequence[int]) -> str:
    """The gap of the bound in nats, and what the approximation says of length and noise, by number of even points."""
    exact, line = UnknownHyperparameters(data), "{:>6}  {:>11}  {}"
    lines = [line.format("points", "gap in nats", "length           noise")]
    for count in counts:
        sparse = approximate(data, even(data, count))
        moments = "  ".join(f"{mean:.4f} ± {sd:.4f}" for mean, sd in np.transpose(sparse.moments))
        lines.append(line.format(count, f"{exact.log_evidence - sparse.log_evidence:.6f}", moments))
    moments = "  ".join(f"{exact.mean()[name]:.4f} ± {exact.sd()[name]:.4f}" for name in HYPERPARAMETERS)
    return "\n".join([*lines, line.format("exact", "", moments)])


if __name__ == "__main__":
    print(table(GpData(hyperparameters="unknown"), (5, 8, 10, 12, 15)))
