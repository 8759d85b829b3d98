"""Gal's UCI sets: his splits, the scores of predictions in the target's own units, and a linear model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import special

from models.bnn import BnnData
from models.bnn.baselines import linear_model

SETS = ("yacht", "bostonHousing", "energy", "concrete")


class Split(NamedTuple):
    """Rows to fit and rows held out, in the data's own units."""

    inputs: np.ndarray
    targets: np.ndarray
    test_inputs: np.ndarray
    test_targets: np.ndarray


class Scaled(NamedTuple):
    """A split in units of the fitted rows' mean and sd; ``sd`` is the target's."""

    split: Split
    sd: float


def splits_of(folder: Path) -> list[Split]:
    values = np.loadtxt(folder / "data.txt")
    columns = np.loadtxt(folder / "index_features.txt", dtype=int)
    target = int(np.loadtxt(folder / "index_target.txt"))
    splits = []
    for number in range(int(np.loadtxt(folder / "n_splits.txt"))):
        train, test = (np.loadtxt(folder / f"index_{part}_{number}.txt", dtype=int) for part in ("train", "test"))
        parts = (part for rows in (train, test) for part in (values[rows][:, columns], values[rows, target]))
        splits.append(Split(*parts))
    return splits


def validation(split: Split) -> Split:
    """The training rows alone, of which the first int(0.8 n) are fitted and the others held back, as Gal does."""
    first = int(0.8 * len(split.targets))
    return Split(split.inputs[:first], split.targets[:first], split.inputs[first:], split.targets[first:])


def scaled(split: Split) -> Scaled:
    mean, sd = split.inputs.mean(0), split.inputs.std(0)
    sd = np.where(sd == 0, 1.0, sd)
    centre, spread = split.targets.mean(), float(split.targets.std())
    parts = (split.inputs - mean) / sd, (split.targets - centre) / spread
    return Scaled(Split(*parts, (split.test_inputs - mean) / sd, (split.test_targets - centre) / spread), spread)


def mixture(f: np.ndarray, scaled_split: Scaled, tau: float | np.ndarray) -> tuple[float, float]:
    """Log likelihood per held-out row in nats, and RMSE, of a mixture of Gaussians about the draws of f.

    Args:
        f: Draws of the function at the held-out rows, shape (draws, rows), in the scaled target's units.
        scaled_split: The split.
        tau: The Gaussians' precision in the target's own units, a number or one for each draw, shape (draws, 1).
    """
    apart = scaled_split.sd * (np.asarray(f, np.float64) - scaled_split.split.test_targets)
    log_densities = 0.5 * np.log(np.asarray(tau) / (2 * np.pi)) - 0.5 * tau * apart**2
    rows = special.logsumexp(log_densities, axis=0) - np.log(len(f))
    return float(rows.mean()), float(np.sqrt(np.mean(apart.mean(0) ** 2)))


def bnn_data(split: Split, **options) -> BnnData:
    """A scaled split as data of the zoo's Bayesian neural network, its noise unknown."""
    data = BnnData(noise="unknown", **options)
    names = ("inputs", "targets", "test_inputs", "test_targets")
    given = replace(data.dataset, **dict(zip(names, split, strict=True)), grid=split.test_inputs)
    return data.with_derived(dataset=given)


def linear_on(folder: Path) -> dict[str, list[float]]:
    """Bayesian linear regression with unknown noise, by its exact predictive distribution, by split."""
    parts: dict[str, list[float]] = {"log likelihood": [], "rmse": []}
    for split, sd in map(scaled, splits_of(folder)):
        predicted = linear_model(bnn_data(split))
        parts["log likelihood"].append(float(predicted.log_density.mean() - np.log(sd)))
        parts["rmse"].append(float(sd * np.sqrt(np.mean((predicted.mean[0] - predicted.observed) ** 2))))
    return parts


def about(values) -> str:
    """Mean ± standard error over the splits."""
    error = f" ± {np.std(values, ddof=1) / len(values) ** 0.5:.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{error}"
