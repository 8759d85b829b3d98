"""Where inducing points stand, and the fit with them.

``even`` spaces them over a line, ``greedy`` chooses among the inputs and ``kmeans`` takes centres of their clusters,
however many columns they have. ``optimised`` climbs the bound itself, along its gradient: Titsias' for numbers,
Hensman's for classes. The bound has several maxima, so that it is climbed from each of the other placements.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from scipy import optimize
from scipy.cluster import vq
from scipy.linalg import lapack

from models.contract import Best, CoordinateAscent
from models.gp import classes, sparse_hyperparameters
from models.gp.data import GpData
from models.gp.exact import GaussianProcess, gaussian_best
from models.gp.inducing import InducingPoints, approximate, even
from models.logit_gaussians import best_of_family
from models.logits import LogitsPosterior


def climb(data: GpData, start: np.ndarray) -> InducingPoints:
    """The approximation where the bound has a maximum, by L-BFGS from these places, shape (M, columns)."""

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        sparse = approximate(data, flat.reshape(start.shape))
        return -sparse.bound(), -sparse.slope().ravel()

    options = {"maxiter": 500, "ftol": 1e-10, "gtol": 1e-5}
    end = optimize.minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    places = end.x.reshape(start.shape)
    return approximate(data, places[np.lexsort(places.T[::-1])])


@lru_cache(maxsize=8)
def pivots(data: GpData, content: tuple[bytes, ...]) -> np.ndarray:
    """The rows of the inputs, each where those before it leave most of the prior variance: the pivots of a Cholesky
    factorisation.
    """
    inputs = data.design.inputs
    kernel = data.covariance(inputs, inputs) + data.variance * data.jitter * np.eye(len(inputs))
    return lapack.dpstrf(kernel)[1] - 1


def greedy(data: GpData, count: int) -> np.ndarray:
    """The inputs whose values are most uncertain given those of the inputs before them, shape (count, columns) (Burt,
    Rasmussen & van der Wilk 2020, Convergence of sparse variational inference in Gaussian processes regression).
    """
    return data.design.inputs[pivots(data, data.content)[:count]]


def kmeans(data: GpData, count: int) -> np.ndarray:
    """Centres of clusters of the inputs, by Lloyd's algorithm from the greedy choice; shape (count, columns)."""
    return vq.kmeans2(data.design.inputs, greedy(data, count), iter=100, minit="matrix")[0]


PLACES: dict[str, Callable[[GpData, int], np.ndarray]] = {"even": even, "greedy": greedy, "kmeans": kmeans}
"""Points by what places them, without looking at the targets."""


@lru_cache(maxsize=64)
def optimised(data: GpData, count: int, content: tuple[bytes, ...]) -> InducingPoints:
    """The highest maximum of those from the other placements."""
    ends = [climb(data, PLACES[start](data, count)) for start in data.placements if start in PLACES]
    return max(ends, key=lambda sparse: sparse.bound())


def placed(data: GpData, count: int, placement: str) -> InducingPoints:
    """The approximation with this many points, by their placement."""
    if placement == "optimised":
        return optimised(data, count, data.content)
    return approximate(data, PLACES[placement](data, count))


def fitted(data: GpData) -> InducingPoints:
    """The approximation that the data's options name, for length and noise as given."""
    return placed(data, data.inducing, data.placement)


def inducing_points(data: GpData) -> dict[str, CoordinateAscent]:
    """The fit with ``--inducing`` points: one update, which computes the best q(w)."""
    if not data.inducing:
        return {}
    sparse = fitted(data)
    if not data.is_known:
        return {"inducing": sparse_hyperparameters.approximate(data, sparse.places).fit}
    steps = sparse.update, sparse.elbo, sparse.draw, sparse.log_guide
    return {"inducing": CoordinateAscent("inducing points", sparse.start(), *steps, "inducing")}


def best_member(data: GpData, family: str) -> Best | None:
    """The best Gaussian of a family, or the best q(w) of the sparse bound as a guide for the latents at the inputs."""
    if family != "inducing":
        return gaussian_best(data, family) if data.is_normal else classes.best_member(data, family)
    if not data.inducing:
        return None
    sparse = fitted(data)
    if not data.is_known:
        return sparse_hyperparameters.approximate(data, sparse.places).as_best
    if isinstance(sparse.process, GaussianProcess):
        tolerance, method = sparse.process.tolerance, "closed form: the best q(w) of Titsias' bound"
    else:
        tolerance, method = 1e-8, "fixed point of Hensman's bound, each logit by quadrature"
    return Best(sparse.elbo(sparse.best), tolerance, method, {})


def gaps(data: GpData, counts: Sequence[int], log_evidence: float) -> str:
    """The gap of the bound in nats, by number of points and their placement."""
    lines = ["points  " + "  ".join(f"{placement:>12}" for placement in data.placements)]
    for count in counts:
        bounds = [placed(data, count, placement).bound() for placement in data.placements]
        lines.append(f"{count:>6}  " + "  ".join(f"{log_evidence - bound:>12.6f}" for bound in bounds))
    return "\n".join(lines)


def widths(data: GpData, counts: Sequence[int]) -> str:
    """The sd of f over the exact, the least and the largest, at evenly spaced points and midway between them."""
    exact, lines = GaussianProcess(data), ["points   at the points   midway between"]
    for count in counts:
        sparse = approximate(data, even(data, count))
        middles, line = (sparse.places[1:] + sparse.places[:-1]) / 2, f"{count:>6}"
        for where in (sparse.places, middles):
            ratio = sparse.predict(where)[1] / exact.predict(where)[1]
            line += f"  {ratio.min():>5.2f} to {ratio.max():>5.2f}"
        lines.append(line)
    return "\n".join(lines)


if __name__ == "__main__":
    COUNTS = (5, 8, 10, 15)
    WAVE = GpData(points=200, jitter=1e-10)
    PLANE = GpData("plane", points=200, jitter=1e-10)
    MCYCLE = GpData("mcycle", length=0.5, noise=0.5, jitter=1e-10)
    CO2 = GpData("co2", length=1.0, noise=0.12, jitter=1e-10)
    CLASSES = GpData(likelihood="bernoulli")
    for title, data in {"wave, 200 points": WAVE, "mcycle": MCYCLE, "co2": CO2}.items():
        print(f"{title}: gap in nats\n{gaps(data, COUNTS, GaussianProcess(data).log_evidence)}\n")
    print(f"plane, 200 points: gap in nats\n{gaps(PLANE, (25, 50, 100), GaussianProcess(PLANE).log_evidence)}\n")
    target, truth = classes.known(CLASSES)
    assert isinstance(truth, LogitsPosterior)
    print(f"classes, 20 points: gap in nats, to {truth.tolerance:.2g}\n{gaps(CLASSES, COUNTS, truth.log_evidence)}")
    full = best_of_family(target, "full_rank")
    assert full is not None
    print(f"the best Gaussian: {truth.log_evidence - full.elbo:.6f}\n")
    print(f"wave, 200 points: sd of f over the exact, even placement\n{widths(WAVE, COUNTS)}")
