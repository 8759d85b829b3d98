"""The regression's table, its prior and its noise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from models import designs
from models.designs import Design
from models.options import Data, derived, option, parse_number
from models.tables import Table, beside, diabetes

PRIORS = ("auto", "known", "conjugate", "uniform", "half_normal")

LIMITS = {
    "noise": (1e-4, 1e4),
    "shape": (1e-3, 1e4),
    "rate": (1e-6, 1e6),
    "scale": (1e-3, 1e3),
    "prior_sd": (1e-4, 1e4),
    "intercept_sd": (1e-4, 1e4),
}
"""Between these numbers float64 keeps the posterior's digits."""


def longley() -> Table:
    """Employment in the United States, 1947 to 1962 (Longley 1967); NIST certifies its least-squares fit."""
    source = "Longley 1967, An appraisal of least squares programs; public data of NIST"
    return beside(__file__, "longley", "employed", "regression", source)


def rugged() -> Table:
    """Log GDP of 170 countries by ruggedness, within Africa and outside: as in both libraries' regression tutorials."""
    source = "Nunn & Puga 2012, Ruggedness: the blessing of bad geography in Africa"
    table = beside(__file__, "rugged", "rgdppc_2000", "regression", source)
    africa, terrain = table.inputs.T
    inputs = np.column_stack([africa, terrain, africa * terrain])
    columns = ("cont_africa", "rugged", "cont_africa x rugged")
    return replace(table, columns=columns, inputs=inputs, target="log GDP", targets=np.log(table.targets))


DATASETS = {"longley": longley, "diabetes": diabetes, "rugged": rugged}


@dataclass(frozen=True)
class LinearData(Data):
    """The regression's table, its prior and its noise. ``prior`` and ``intercept_sd`` become what auto means.

    Make a new one rather than use `dataclasses.replace`, which keeps what auto became.

    Attributes:
        design: The `Design` that ``data`` and ``target`` name.

    Raises:
        ValueError: no such data, data from which nothing can be learnt (see `models.designs.load`), numbers out of
            their range, or noise that the data say nothing of.
    """

    data: str = option("longley", "longley, diabetes, rugged, or a CSV file with a header", str)
    target: str | None = option(None, "the column of the CSV file that is predicted", str)
    prior: str = option(
        "auto", "of the noise; auto: uniform for rugged, as in the tutorials, else conjugate", str, PRIORS
    )
    noise: float = option(0.1, "sd of the known noise, in sds of a standardised target", parse_number)
    shape: float = option(1.0, "of the conjugate prior, variance ~ InverseGamma(shape, rate)", parse_number)
    rate: float = option(1.0, "of the conjugate prior, variance ~ InverseGamma(shape, rate)", parse_number)
    scale: float = option(10.0, "sigma ~ Uniform(0, scale) or HalfNormal(scale)", parse_number)
    prior_sd: float = option(1.0, "sd of the weights' prior; if conjugate, in sds of the noise", parse_number)
    intercept_sd: Any = option(
        "auto", "sd of the intercept's prior; auto: 10 for rugged, else that of the weights", str
    )
    formula: str | None = option(
        None, "for a CSV file, the target and the inputs, such as 'y ~ a * b'; needs formulaic", str
    )
    design: Design = derived()

    def __post_init__(self) -> None:
        if self.prior not in PRIORS:
            raise ValueError(f"prior is {self.prior!r}: give {', '.join(PRIORS)}")
        prior = self.prior
        if prior == "auto":
            prior = "uniform" if self.data == "rugged" else "conjugate"
        intercept_sd = self.intercept_sd
        if intercept_sd == "auto":
            intercept_sd = 10.0 if self.data == "rugged" else self.prior_sd
        self._set(prior=prior, intercept_sd=parse_number(str(intercept_sd)))
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not low <= value <= high:
                why = "; under a flat prior there is no evidence" if value == np.inf else ""
                raise ValueError(f"{name} is {value}: give a number from {low:g} to {high:g}{why}")
        design = designs.load(self.data, self.target, "regression", DATASETS, ("rugged",), self.formula)
        self._set(design=design)
        if prior == "conjugate" and self.shape + len(design.targets) / 2 <= 2.1:
            rows = len(design.targets)
            raise ValueError(
                f"{rows} rows and shape {self.shape:g} give the noise no sd: give more rows or a larger shape"
            )
        if prior in ("uniform", "half_normal") and is_noiseless(design):
            raise ValueError(
                f"the target is a linear function of the columns without any noise, and sigma has no posterior under "
                f"--prior {prior}: use known or conjugate"
            )

    @property
    def prior_sds(self) -> np.ndarray:
        """Prior sds of the intercept and the weights, shape (1 + columns,); if conjugate, in sds of the noise."""
        return np.array([self.intercept_sd] + [self.prior_sd] * len(self.design.columns))

    @property
    def noise_options(self) -> dict[str, float]:
        """The numbers that the noise's prior has."""
        names = {"known": ("noise",), "conjugate": ("shape", "rate")}.get(self.prior, ("scale",))
        return {name: float(getattr(self, name)) for name in names}

    def arguments(self) -> dict[str, Any]:
        sds = {"prior_sd": np.float64(self.prior_sd), "intercept_sd": np.float64(self.intercept_sd)}
        noise = {name: np.float64(value) for name, value in self.noise_options.items()}
        return {"inputs": self.design.inputs, "targets": self.design.targets, "prior": self.prior, **sds, **noise}

    def describe(self) -> dict[str, Any]:
        sds = {"prior_sd": float(self.prior_sd), "intercept_sd": float(self.intercept_sd)}
        return {"data": self.data, "prior": self.prior, **self.noise_options, **sds, **self.design.about}


def is_noiseless(design: Design) -> bool:
    """Whether the target lies in fewer dimensions than it has rows, in those that the columns span."""
    features = design.with_ones
    fit, _, rank, _ = np.linalg.lstsq(features, design.targets, rcond=None)
    misfit = np.abs(design.targets - features @ fit).max()
    return bool(rank < len(design.targets) and misfit <= 1e-9 * np.abs(design.targets).max())
