"""The inputs, the targets, the kernel, and what the latents are."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular

from models import designs
from models.designs import Design
from models.options import Data, check_choices, derived, option, parse_int, parse_number
from models.tables import Table, beside

CHOICES = {
    "kernel": ("rbf", "matern52"),
    "latents": ("whitened", "values"),
    "hyperparameters": ("known", "unknown"),
    "likelihood": ("normal", "bernoulli"),
}

PLACEMENTS = ("even", "greedy", "kmeans", "optimised")

MOST_POINTS = {"normal": 2000, "bernoulli": 300}
"""Beyond this many points a matrix of all pairs, or the draws of the truth, take too long."""

LIMITS = {
    "length": (1e-3, 1e3, ""),
    "variance": (1e-2, 1e2, ""),
    "noise": (1e-2, 1e2, "; without noise equal inputs with different targets are impossible"),
    "spread": (1e-2, 1.0, ""),
    "jitter": (1e-10, 1e-2, "; without jitter equal or close inputs make the kernel's matrix singular"),
}
"""Between these numbers float64 keeps the posterior's digits; and why 0 is refused."""


WAVES = {"wave": ("x",), "plane": ("x", "z")}
"""Functions that are given, by name: the columns of their inputs."""


def wave(name: str, points: int, is_normal: bool) -> Table:
    """f, the product of sin(4 x) over inputs drawn from [0, 3], plus noise of sd 0.1; or classes with logits 4 f.

    The rows are the same at every call.
    """
    rng, columns = np.random.default_rng(0), WAVES[name]
    x = rng.uniform(0, 3, (points, len(columns)))
    f, formula = np.sin(4 * x).prod(axis=1), " ".join(f"sin(4 {column})" for column in columns)
    if is_normal:
        y, source = f + 0.1 * rng.standard_normal(points), f"{formula} plus noise of sd 0.1"
    else:
        y, source = (rng.random(points) < 1 / (1 + np.exp(-4 * f))).astype(float), f"class 1 with logits 4 {formula}"
    if np.ptp(y) == 0:
        raise ValueError(f"the classes of {points} points are all the same: give more --points")
    labels, about = None if is_normal else ("0", "1"), {"source": f"{source}, {' and '.join(columns)} in [0, 3]"}
    return Table(name, about, columns, x, "y", y, labels, "point", np.arange(points))


def mcycle() -> Table:
    """Head acceleration in a simulated motorcycle accident, by milliseconds after impact (Silverman 1985)."""
    return beside(__file__, "mcycle", "accel", "regression", "Silverman 1985; R package MASS")


def co2() -> Table:
    """CO2 in the air at Mauna Loa in ppm, monthly means, March 1958 to December 2001 (Keeling & Whorf 2004)."""
    return beside(__file__, "co2", "co2", "regression", "Keeling & Whorf 2004; monthly means of statsmodels' co2")


@dataclass(frozen=True)
class GpData(Data):
    """The inputs, the targets, the kernel, and what the latents are.

    Attributes:
        design: The `Design` that ``data`` and ``target`` name.

    Raises:
        ValueError: no such data, data from which nothing can be learnt (see `models.designs.load`), numbers out of
            their range, or inducing points that are too many or are to be even where inputs have no line.
    """

    data: str = option("wave", "wave, plane, mcycle, co2, or a CSV file with a header", str)
    target: str | None = option(None, "the column of the CSV file that is predicted; all others are inputs", str)
    points: int = option(20, "number of points of wave and plane", parse_int)
    kernel: str = option(
        "rbf", "the kernel: squared exponential, or Matern with smoothness 5/2", str, CHOICES["kernel"]
    )
    length: float = option(0.3, "the kernel's length, in units of the inputs as scaled", parse_number)
    variance: float = option(1.0, "the kernel's variance", parse_number)
    noise: float = option(0.1, "sd of the noise, in units of the target as scaled", parse_number)
    hyperparameters: str = option(
        "known", "length and noise: known, or log-normal around those given", str, CHOICES["hyperparameters"]
    )
    spread: float = option(0.5, "sd of the logs of unknown length and noise", parse_number)
    jitter: float = option(1e-6, "added to the kernel's diagonal, in units of its variance", parse_number)
    likelihood: str = option(
        "normal", "normal: targets are numbers; bernoulli: classes with logits f", str, CHOICES["likelihood"]
    )
    latents: str = option(
        "whitened", "whitened: u with f = L u; values: the function's values f", str, CHOICES["latents"]
    )
    inducing: int = option(0, "fit this many inducing points as well; 0 for none", parse_int)
    placement: str = option(
        "even",
        "inducing points: even over the inputs; greedy, at inputs that are uncertain given the others; kmeans, at "
        "centres of clusters; optimised, where their bound is largest",
        str,
        PLACEMENTS,
    )
    design: Design = derived()

    def __post_init__(self) -> None:
        check_choices(self, {**CHOICES, "placement": PLACEMENTS})
        for name, (low, high, why) in LIMITS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not low <= value <= high:
                raise ValueError(
                    f"{name} is {value}: give a number from {low:g} to {high:g}{why if value == 0 else ''}"
                )
        most = MOST_POINTS[self.likelihood]
        for name, least in (("points", 2), ("inducing", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or value % 1 or not least <= value <= most:
                raise ValueError(f"{name} is {value}: give a whole number from {least} to {most:,}")
            self._set(**{name: int(value)})
        datasets: dict[str, Callable[[], Table]] = {
            name: partial(wave, name, self.points, self.is_normal) for name in WAVES
        }
        if self.is_normal:
            datasets |= {"mcycle": mcycle, "co2": co2}
        elif self.data in ("mcycle", "co2"):
            raise ValueError(f"the targets of {self.data} are numbers, not classes: leave --likelihood out")
        task = "regression" if self.is_normal else "classification"
        design = designs.load(self.data, self.target, task, datasets, unscaled=tuple(WAVES))
        self._set(design=design)
        rows = len(design.targets)
        if rows > most:
            raise ValueError(f"{self.data} has {rows:,} rows: give at most {most:,}")
        if not self.is_normal and self.noise != type(self).noise:
            raise ValueError(f"classes have no noise: leave --noise {self.noise:g} out, or give --likelihood normal")
        self.check_inducing()

    def check_inducing(self) -> None:
        """Make sure that inducing points can be fitted to the data, and that only they are placed."""
        if not self.inducing:
            if self.placement != "even":
                raise ValueError(f"placement is {self.placement} and there are no inducing points: give --inducing too")
            return
        if self.inducing > self.distinct:
            raise ValueError(
                f"inducing is {self.inducing}, more than the {self.distinct} data points with different inputs: "
                f"give at most {self.distinct}"
            )
        if not self.is_known and not self.is_normal:
            raise ValueError("inducing points of classes are for a known length: leave --hyperparameters out")
        if self.placement not in self.placements:
            raise ValueError(
                f"{self.placement} points lie on a line and {self.data} has {self.design.inputs.shape[1]} inputs: "
                f"give --placement {' or '.join(self.placements)}"
            )

    @property
    def distinct(self) -> int:
        """The number of data points with different inputs."""
        return len(np.unique(self.design.inputs, axis=0))

    @property
    def placements(self) -> tuple[str, ...]:
        """The placements that the number of inputs allows."""
        return PLACEMENTS[self.design.inputs.shape[1] > 1 :]

    @property
    def is_known(self) -> bool:
        return self.hyperparameters == "known"

    @property
    def is_normal(self) -> bool:
        return self.likelihood == "normal"

    @property
    def is_gaussian(self) -> bool:
        """Whether the posterior is."""
        return self.is_known and self.is_normal

    @property
    def is_whitened(self) -> bool:
        return self.latents == "whitened"

    @property
    def content(self) -> tuple[bytes, ...]:
        """Inputs and targets, by which results are cached: a file's may change under its name."""
        return self.design.inputs.tobytes(), self.design.targets.tobytes()

    def covariance(self, a: np.ndarray, b: np.ndarray, length: float | np.ndarray | None = None) -> np.ndarray:
        """The kernel between inputs of shapes (n, columns) and (m, columns): shape (n, m).

        ``length`` takes the place of the data's; of shape (k, 1, 1) it gives (k, n, m).
        """
        r = np.sqrt(np.sum((a[:, None] - b[None]) ** 2, axis=-1)) / (self.length if length is None else length)
        if self.kernel == "rbf":
            return self.variance * np.exp(-0.5 * r**2)
        r = math.sqrt(5) * r
        return self.variance * (1 + r + r**2 / 3) * np.exp(-r)

    def slope(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """The kernel's derivative by a, inputs of shapes (n, columns) and (m, columns): shape (n, m, columns)."""
        far = (a[:, None] - b[None]) / self.length
        squares = np.sum(far**2, axis=-1, keepdims=True)
        if self.kernel == "rbf":
            return -self.variance * far / self.length * np.exp(-0.5 * squares)
        r = np.sqrt(5 * squares)
        return -self.variance * 5 / 3 * far / self.length * (1 + r) * np.exp(-r)

    def factor(self, inputs: np.ndarray) -> np.ndarray:
        """The lower Cholesky factor of the kernel with its jitter at these inputs."""
        return np.linalg.cholesky(self.covariance(inputs, inputs) + self.variance * self.jitter * np.eye(len(inputs)))

    def weights(self, factor: np.ndarray, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """B (n, m) and v (m,) with f(inputs) | u ~ N(B' u, v) at each of m inputs, shape (m, columns).

        ``factor`` is the Cholesky factor at the data's inputs.
        """
        across = solve_triangular(factor, self.covariance(self.design.inputs, inputs), lower=True)
        return across, np.maximum(self.variance - np.sum(across**2, axis=0), 0.0)

    @property
    def constants(self) -> dict[str, Any]:
        """The model's words and numbers."""
        unused = {"spread": self.is_known, "noise": not self.is_normal}
        numbers = [name for name in LIMITS if not unused.get(name)]
        words = {name: getattr(self, name) for name in CHOICES}
        return words | {name: np.float64(getattr(self, name)) for name in numbers}

    def arguments(self) -> dict[str, Any]:
        return {"inputs": self.design.inputs, "targets": self.design.targets, **self.constants}

    def describe(self) -> dict[str, Any]:
        placed = {"placement": self.placement} if self.inducing else {}
        return {"data": self.data, "inducing": self.inducing, **placed, **self.constants, **self.design.about}
