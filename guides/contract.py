"""What fitters may ask of a family of approximations.

A guide fits best in coordinates x in which -ELBO has the same curvature in every direction: then a gradient is already
a natural gradient, a step of length one is about right, and half the squared gradient is the distance to the best
member in nats. For a Gaussian family those coordinates follow from the curvature of the log joint.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import scipy.linalg

__all__ = [
    "Coordinates",
    "Curvature",
    "Family",
    "Implementation",
    "LocalPosterior",
    "Parameters",
    "Preconditioner",
    "Settings",
    "Sites",
    "WhitenedCoordinates",
    "sites_named",
]

Settings = tuple[tuple[str, Any], ...]
"""What a guide is given besides its model, by name."""

Parameters = dict[str, np.ndarray]
"""A family's parameters by name, in its own terms (location, scale, ...), float64."""


@dataclass(frozen=True)
class Curvature:
    """The mode of the log joint in the unconstrained space, and the curvature there.

    Attributes:
        location: The mode, shape (d,).
        factor: A lower Cholesky factor of the precision (minus the Hessian): dense, shape (d, d), or of a tridiagonal
            precision in SciPy's lower banded form, shape (2, d).
        diagonal: The precision's diagonal, shape (d,).
        shapes: The shapes of the guide's starting parameters, for a family in which they depend on more than d.
    """

    location: np.ndarray
    factor: np.ndarray
    diagonal: np.ndarray
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def banded(self) -> bool:
        return self.factor.ndim == 2 and self.factor.shape != (self.location.size, self.location.size)

    def whiten(self, gradient: np.ndarray) -> np.ndarray:
        """factor^-1 gradient: a gradient in the location, shape (d,) or (d, k), becomes one in whitened coordinates."""
        if self.banded:
            return scipy.linalg.solve_banded((1, 0), self.factor, gradient)
        return scipy.linalg.solve_triangular(self.factor, gradient, lower=True)

    def colour(self, step: np.ndarray) -> np.ndarray:
        """factor^-T step: a step in whitened coordinates becomes one in the location."""
        if self.banded:
            upper = np.zeros_like(self.factor)
            upper[0, 1:], upper[1] = self.factor[1, :-1], self.factor[0]
            return scipy.linalg.solve_banded((0, 1), upper, step)
        return scipy.linalg.solve_triangular(self.factor, step, lower=True, trans="T")

    def discolour(self, shift: np.ndarray) -> np.ndarray:
        """factor' shift: the inverse of `colour`."""
        if self.banded:
            moved = self.factor[0] * shift.T
            moved[..., :-1] += self.factor[1, :-1] * shift.T[..., 1:]
            return moved.T
        return self.factor.T @ shift

    def weigh(self, step: np.ndarray) -> np.ndarray:
        """The Hessian's product with a step in whitened coordinates, where it is the identity."""
        return step

    @property
    def bands(self) -> np.ndarray:
        """A tridiagonal precision in lower banded form, shape (2, d)."""
        on, below = self.factor[0], self.factor[1, :-1]
        return np.stack([on**2 + np.append(0.0, below**2), np.append(on[:-1] * below, 0.0)])

    def precision(self, begin: int, end: int) -> np.ndarray:
        """The precision's block of these latents, shape (end - begin, end - begin)."""
        if self.banded:
            diagonal, below = self.factor[0, begin:end], self.factor[1, begin : end - 1]
            before = self.factor[1, begin - 1 : end - 1] if begin else np.append(0.0, below)
            beside = below * diagonal[:-1]
            return np.diag(diagonal**2 + before**2) + np.diag(beside, 1) + np.diag(beside, -1)
        rows = self.factor[begin:end]
        return rows @ rows.T


def whitening(hessian: np.ndarray) -> np.ndarray:
    """The transform T, shape (k, k), for which T' hessian T is the identity, or the nearest positive one."""
    values, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
    return vectors / np.sqrt(np.maximum(np.abs(values), 1e-10 * np.abs(values).max()))


class Coordinates(Protocol):
    """A family's parameters as a smooth function of x, shape (size,); the fit starts at ``x = 0``."""

    size: int

    def parameters(self, x: np.ndarray) -> Parameters:
        """The family's parameters at x."""

    def pullback(self, x: np.ndarray, gradient: Parameters) -> np.ndarray:
        """A gradient with respect to the parameters at x, as one with respect to x."""

    def locate(self, parameters: Parameters) -> np.ndarray:
        """The x of given parameters: the inverse of `parameters`."""


class WhitenedCoordinates(Coordinates, Protocol):
    """Coordinates whitened by a curvature of the log joint: ``x = 0`` is the family's Laplace approximation."""

    curvature: Curvature


class Spread(Protocol):
    """A Gaussian family's covariance as a function of y, shape (size,), for a `guides.matrix_free.MatrixFree`.

    Its value at y is KL(q, p) in nats up to a constant, p the Gaussian with this precision and q's location. Its
    Hessian is of order 1.
    """

    def best(self, enough: float = 0.0, deadline: float = math.inf) -> np.ndarray:
        """The y of the least value within about ``enough`` nats, or where the deadline (`time.perf_counter`) ends."""

    def search(self, start: np.ndarray, steps: int, enough: float = 0.0, deadline: float = math.inf) -> Any:
        """The same from a start, as a SciPy result."""

    def value(self, y: np.ndarray) -> tuple[float, np.ndarray]:
        """The value and its gradient."""

    def entropy(self, y: np.ndarray) -> float:
        """The entropy of q in nats, up to a constant."""

    def at(self, curvature: Any) -> Spread:
        """The same function for another precision with the same preconditioner: a y means the same Gaussian."""

    def locate(self, parameters: Parameters) -> np.ndarray:
        """The y of given parameters."""

    def parameters(self, location: np.ndarray, y: np.ndarray) -> Parameters:
        """The family's parameters."""

    def draw(self, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A draw's distance from the location, shape (d,)."""


class Preconditioner:
    """values = begin + transform x; the guide starts at ``x = 0``.

    The values are the guide's unconstrained parameters. A family that needs others overrides `values`, `from_values`
    and `slope`.
    """

    def __init__(self, start: Parameters, transform: np.ndarray | None = None) -> None:
        self.start, self.begin = start, self.values(start)
        self.size = self.begin.size
        self.transform = self.first_transform() if transform is None else transform

    def first_transform(self) -> np.ndarray:
        return np.eye(self.size)

    def values(self, parameters: Parameters) -> np.ndarray:
        """The values that the parameters give, shape (size,)."""
        return np.asarray(parameters["flat"], dtype=float)

    def from_values(self, values: np.ndarray) -> Parameters:
        return {"flat": values}

    def slope(self, x: np.ndarray, gradient: Parameters) -> np.ndarray:
        """A gradient with respect to the parameters at x, as one with respect to the values."""
        return gradient["flat"]

    def parameters(self, x: np.ndarray) -> Parameters:
        return self.from_values(self.begin + self.transform @ x)

    def pullback(self, x: np.ndarray, gradient: Parameters) -> np.ndarray:
        return self.transform.T @ self.slope(x, gradient)

    def locate(self, parameters: Parameters) -> np.ndarray:
        return np.linalg.solve(self.transform, self.values(parameters) - self.begin)

    def whitened(self, x: np.ndarray, hessian: np.ndarray | None) -> Self:
        """New coordinates around x in which the Hessian of -ELBO at x is the identity.

        Args:
            x: A point in the present coordinates, shape (size,).
            hessian: The Hessian there, shape (size, size); None if it is too large to form: the directions stay.
        """
        change = self.transform if hessian is None else self.transform @ whitening(hessian)
        return type(self)(self.parameters(x), change)


@dataclass(frozen=True)
class LocalPosterior:
    """A family as the posterior of a single latent z. An encoder returns a row of its parameters for an observation.

    Attributes:
        shapes: From the dimension of z to the shapes of the parameters by name, in the order of the row.
        start: From the dimension of z to the row, shape (size,), that an encoder starts from: N(0, I) or near it.
        log_density: log q(z) in nats, shape (n, points), given rows, shape (n, size), and z, shape (n, points, latent).
        contains: For each smaller family, by name, a function from its rows, shape (..., size), to rows of this one.
        gaussian: From means and sds, shape (n, latent), to rows, shape (n, size); for a family that contains no other.
        strata: Number of strata that draws are divided among: a mixture's components, otherwise 1.
    """

    shapes: Callable[[int], dict[str, tuple[int, ...]]]
    start: Callable[[int], np.ndarray]
    log_density: Callable[[np.ndarray, np.ndarray], np.ndarray]
    contains: Mapping[str, Callable[[np.ndarray, int], np.ndarray]] = field(default_factory=dict)
    gaussian: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    strata: int = 1

    def size(self, latent: int) -> int:
        return sum(math.prod(shape) for shape in self.shapes(latent).values())

    def split(self, row: Any, latent: int) -> dict[str, Any]:
        """The parameters by name, shape (..., *shape), from rows of NumPy, JAX or torch, shape (..., size)."""
        parts, begin = {}, 0
        for name, shape in self.shapes(latent).items():
            end = begin + math.prod(shape)
            parts[name] = row[..., begin:end].reshape((*row.shape[:-1], *shape))
            begin = end
        return parts


@dataclass(frozen=True)
class Family:
    """What fitters may ask of a family, in either library.

    Attributes:
        coordinates: For a Gaussian family, whitened coordinates around a Laplace approximation.
        preconditioner: For any other family, coordinates around the guide's start.
        local_posterior: Its form for encoders.
        largest_dimension: The dimension beyond which it is not attempted.
        beyond: The families to take there.
        within: The families that hold each of its members.
        is_particular: Whether it is only for the models that name it.
        at_mode_of: The Gaussian family whose Laplace approximation it is; its ELBO is not optimised.
        on_way_of: The Gaussian family whose member of the highest ELBO on L-BFGS's way to the mode it is.
        ways_of: The Gaussian family whose members of the highest ELBO on several such ways it mixes.
        response_of: The family whose optimum gives its covariance, by its response to a tilt of the log joint.
        built_on: The other families whose files it uses.
        has_density: Whether its members have a density. Members without one are points under random masks; their
            objective, E_q[log p(x, z)], is not a bound on the log evidence.
        spread: Its `Spread`, if it can be fitted without a matrix of the latents where they are too many for one.
        bends: The Gaussian family whose best member its fit starts from; ``preconditioner`` takes its parameters.
        log_auxiliary_ratio: For a guide with an auxiliary variable xi and an auxiliary density r, a function from its
            parameters and draws, shape (rows, dimension), to log q(xi | z) - log r(xi | z), shape (rows,), in nats. Its
            mean is the auxiliary gap.
        settings: The options of the fits that its guide takes, by name, where they are given.
    """

    coordinates: Callable[[Curvature], WhitenedCoordinates] | None = None
    preconditioner: Callable[[Parameters], Preconditioner] = Preconditioner
    local_posterior: LocalPosterior | None = None
    largest_dimension: float = math.inf
    beyond: tuple[str, ...] = ()
    within: tuple[str, ...] = ()
    is_particular: bool = False
    at_mode_of: str | None = None
    on_way_of: str | None = None
    ways_of: str | None = None
    response_of: str | None = None
    built_on: tuple[str, ...] = ()
    has_density: bool = True
    spread: Callable[[Any], Spread] | None = None
    bends: str | None = None
    log_auxiliary_ratio: Callable[[Parameters, np.ndarray], np.ndarray] | None = None
    settings: tuple[str, ...] = ()

    def settings_in(self, options: Any) -> Settings:
        """The settings that the options give."""
        values = {name: getattr(options, name) for name in self.settings}
        return tuple((name, value) for name, value in values.items() if value is not None)

    @property
    def takes_optimiser(self) -> bool:
        """Whether the option ``optimiser`` applies; other families are always fitted by the zoo's optimiser."""
        return not (self.member_of or self.ways_of or self.response_of)

    @property
    def member_of(self) -> str | None:
        """The Gaussian family of which it is a member that is taken as it comes, without optimising the ELBO."""
        return self.at_mode_of or self.on_way_of


class Sites(NamedTuple):
    """Conversions between a family's parameters and a guide's param sites, by name and constrained."""

    from_parameters: Callable[[dict[str, Any]], dict[str, Any]]
    to_parameters: Callable[[dict[str, Any]], dict[str, Any]]


def sites_named(prefix: str = "") -> Sites:
    """Param sites with the names of the parameters after a prefix, except that the location is called ``loc``."""

    def from_parameters(parameters: dict[str, Any]) -> dict[str, Any]:
        return {prefix + ("loc" if name == "location" else name): value for name, value in parameters.items()}

    def to_parameters(sites: dict[str, Any]) -> dict[str, Any]:
        plain = {name.removeprefix(prefix): value for name, value in sites.items()}
        return {"location" if name == "loc" else name: value for name, value in plain.items()}

    return Sites(from_parameters, to_parameters)


def absent(*_: Any, **__: Any) -> Any:
    """Stands for what a family lacks, a guide for a model or a form for encoders. Raises `TypeError`."""
    raise TypeError("the family is not made for this: it has no such guide")


@dataclass(frozen=True)
class Implementation:
    """A family in one library.

    Attributes:
        guide: From a twin and the family's settings to its guide; absent if only encoders use the family.
        sites: Conversion to the guide's param sites; None if the parameters are the guide's unconstrained ones.
        local_posterior: From a row of parameters, shape (..., size), and the dimension of z to the distribution of z.
        is_forward: Whether a draw's density is available only, or much more cheaply, while the draw is computed. Then
            the total gradient is used, not the path gradient.
    """

    guide: Callable[..., Any] = absent
    sites: Sites | None = None
    local_posterior: Callable[..., Any] = absent
    is_forward: bool = False
