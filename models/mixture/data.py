"""The values, the number of components and the priors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.options import Data, check_choices, derived, option, parse_int, parse_number, parse_or
from models.tables import no_such_data, read_column

MOST_COMPONENTS = 12

LIMITS = {
    "scale": (1e-4, 1e4),
    "concentration": (0.01, 1e4),
    "location_mean": (-1e6, 1e6),
    "location_sd": (1e-3, 1e6),
    "scale_median": (1e-4, 1e4),
    "scale_sd": (1e-2, 3.0),
    "variance_shape": (0.1, 1e4),
    "variance_rate": (1e-8, 1e8),
}
"""Between these numbers float64 keeps the posterior's digits."""

ASSIGNMENTS = ("summed", "kept")
"""Whether the twins sum the assignments out themselves, or keep them as discrete latents."""

LARGEST = 1e6
"""The largest value, either sign."""

DATASETS: dict[str, tuple[str, dict[str, float]]] = {
    "tutorial": (
        "Pyro's tutorial Gaussian Mixture Model",
        {"concentration": 0.5, "location_mean": 0.0, "location_sd": 10.0, "scale_median": 1.0, "variance_rate": 2.0},
    ),
    "galaxies": (
        "82 velocities in 1,000 km/s, Roeder 1990, as in R's MASS (value 78 is 26.690, a misprint for 26.960)",
        {"concentration": 1.0, "location_mean": 20.0, "location_sd": 10.0, "scale_median": 1.0, "variance_rate": 20.0},
    ),
}
DATASETS["galaxies-corrected"] = ("the 82 velocities with 26.960 as value 78, as in Chib 1995", DATASETS["galaxies"][1])
"""Where each data set comes from, and what auto means for its priors."""


def parse_scale(text: str) -> float | str:
    """An sd, ``unknown`` or ``each`` from the command line."""
    try:
        return text if text in ("unknown", "each") else float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number; give the components' sd, such as 2, or unknown, or each") from None


parse_auto = parse_or("auto", parse_number)


def load(name: str, column: str | None) -> tuple[np.ndarray, str, dict[str, float]]:
    """The values of that name, their source, and what auto means for the priors of these.

    For a file: the middle and the length of the values' range for the locations (Richardson & Green 1997), a tenth of
    that length for the scale, and for the mean variance, with the usual shape, its square.

    Raises:
        ValueError: there is no such data set or file, or the file has no such column of numbers.
    """
    if name in DATASETS:
        if column is not None:
            raise ValueError(f"{name} has one column: leave --column {column} out, or name a CSV file with --data")
        source, prior = DATASETS[name]
        if name == "tutorial":
            return np.array([0.0, 1.0, 10.0, 11.0, 12.0]), source, prior
        values = read_column(str(Path(__file__).with_name("galaxies.csv")), "velocity") / 1000
        return np.where(values == 26.690, 26.960, values) if name == "galaxies-corrected" else values, source, prior
    try:
        values = read_column(name, column)
    except FileNotFoundError:
        raise no_such_data(name, DATASETS) from None
    low, high = float(values.min()), float(values.max())
    width = high - low or 1.0
    prior = {
        "concentration": 1.0,
        "location_mean": low / 2 + high / 2,
        "location_sd": width,
        "scale_median": width / 10,
        "variance_rate": 2 * (width / 10) * (width / 10),  # inf where a square would be an error
    }
    return values, "CSV file", prior


@dataclass(frozen=True)
class MixtureData(Data):
    """The values, the number of components and the priors. What is auto becomes what that means for the data.

    Make a new one rather than use `dataclasses.replace`, which keeps what auto became.

    Attributes:
        values: The values that ``data`` and ``column`` name, shape (n,).

    Raises:
        ValueError: no such data, numbers out of their range, or values that leave an unknown scale nothing but 0.
    """

    data: str = option("tutorial", "tutorial, galaxies, galaxies-corrected, or a CSV file with a header", str)
    column: str | None = option(None, "the column of the CSV file", str)
    components: int = option(2, "the number of components", parse_int)
    scale: Any = option(
        "unknown", "the components' common sd where it is known, unknown, or each for a scale of its own", parse_scale
    )
    concentration: Any = option("auto", "weights ~ Dirichlet; auto: 1/2 for tutorial, else 1", parse_auto)
    location_mean: Any = option(
        "auto", "locations ~ Normal(mean, sd); auto: 0, for galaxies 20, of a file the middle", parse_auto
    )
    location_sd: Any = option("auto", "locations ~ Normal(mean, sd); auto: 10, of a file its range", parse_auto)
    scale_median: Any = option(
        "auto", "scale ~ LogNormal(log median, sd); auto: 1, of a file a tenth of its range", parse_auto
    )
    scale_sd: float = option(2.0, "scale ~ LogNormal(log median, sd)", parse_number)
    variance_shape: float = option(3.0, "with --scale each, scale^2 ~ InverseGamma(shape, rate)", parse_number)
    variance_rate: Any = option(
        "auto", "with --scale each, scale^2 ~ InverseGamma(shape, rate); auto: 2, for galaxies 20", parse_auto
    )
    assignments: str = option(
        "summed",
        "summed out in the model, or kept: then the library's enumeration sums them out",
        choices=ASSIGNMENTS,
    )
    values: np.ndarray = derived()
    source: str = derived()

    def __post_init__(self) -> None:
        is_whole = not isinstance(self.components, bool) and self.components == self.components // 1
        if not is_whole or not 1 <= self.components <= MOST_COMPONENTS:
            raise ValueError(f"components is {self.components}: give a whole number from 1 to {MOST_COMPONENTS}")
        self._set(components=int(self.components))
        check_choices(self, {"assignments": ASSIGNMENTS})
        values, source, prior = load(self.data, self.column)
        largest = values[np.abs(values).argmax()]
        if abs(largest) > LARGEST:
            raise ValueError(f"{self.data} has the value {largest:g}: give values within {LARGEST:g}, in another unit")
        followed = [name for name in prior if getattr(self, name) == "auto"]
        self._set(values=values, source=source, **{name: prior[name] for name in followed})
        for name in ("concentration", "location_mean", "location_sd", *self.of_scale):
            (low, high), value = LIMITS[name], getattr(self, name)
            if isinstance(value, bool | str) or not low <= value <= high:
                unit = ", or the values in another unit" if name in followed else ""
                raise ValueError(f"{name} is {value}: give a number from {low:g} to {high:g}{unit}")
        distinct = len(np.unique(values))
        if self.scale == "unknown" and len(values) > distinct <= self.components:
            raise ValueError(
                f"the {len(values)} values are {distinct} different numbers, so that {self.components} components fit "
                "them with a scale of 0: give the scale, fewer components, or values that differ"
            )

    @property
    def of_scale(self) -> tuple[str, ...]:
        """The fields that speak of the scale."""
        if self.scale == "each":
            return ("variance_shape", "variance_rate")
        return ("scale_median", "scale_sd") if self.scale == "unknown" else ("scale",)

    @property
    def has_own_scales(self) -> bool:
        """Whether each component has a scale of its own."""
        return self.scale == "each"

    @property
    def known_scale(self) -> float | None:
        """The scale where it is known."""
        return None if self.scale in ("unknown", "each") else float(self.scale)

    def arguments(self) -> dict[str, Any]:
        names = ("concentration", "location_mean", "location_sd", *self.of_scale)
        numbers = {name: np.float64(getattr(self, name)) for name in names}
        form = {"assignments": self.assignments} if self.assignments != "summed" else {}
        return {"values": self.values, "components": self.components, **numbers, **form}

    def describe(self) -> dict[str, Any]:
        priors = {"scale_median", "scale_sd", "variance_shape", "variance_rate"}
        unused = priors.difference(self.of_scale) | (set() if self.column else {"column"})
        unused |= {"assignments"} if self.assignments == "summed" else set()
        used = {name: value for name, value in super().describe().items() if name not in unused}
        return {**used, "n": len(self.values), "source": self.source}
