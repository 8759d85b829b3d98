"""The data and the size of the network: what the command line's options say."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from models.bnn.datasets import DATASETS, Dataset, load
from models.options import Data, check_choices, derived, option, parse_int, parse_number

TASKS = ("auto", "regression", "classification")
ACTIVATIONS = ("tanh", "relu")

MIN_NOISE, MAX_NOISE = 1e-4, 1e4
"""Between these sds of the noise float64 keeps the digits of the output layer's posterior."""

RATE = 0.1
"""The rate of dropout that the twins' guides have by default."""

MIN_RATE, MAX_RATE = 1e-3, 0.999
"""Between these rates dropout leaves some units, and drops some."""

MAX_WEIGHTS = 10_000  # most weights and biases: thousands of draws of them are kept for every fit


def parse_noise(text: str) -> float | str:
    """An sd, ``auto`` or ``unknown`` from the command line."""
    try:
        return text if text in ("auto", "unknown") else float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number; give the noise's sd, such as 0.2, or unknown") from None


def whole_number(name: str, value: Any, least: int) -> int:
    """The option's value, made sure to be a whole number and not below ``least``."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or value != value // 1:  # type: ignore[operator]
        raise ValueError(f"{name} is {value!r}: give a whole number, {least} or more")
    if value < least:
        raise ValueError(f"{name} is {value}: give {least} or more")
    return int(value)


@dataclass(frozen=True)
class BnnData(Data):
    """The data and the network's shape. The fields stay as the user gave them.

    Attributes:
        dataset: The `Dataset` that the first four fields name; its ``noise`` is the sd where it is known, else None.
            Where the target is standardised that is in units of the target's sd.

    Raises:
        ValueError: no such data, data from which nothing can be learnt (see `models.bnn.datasets.load`), a network
            without hidden units or with too many, noise that is not positive, noise for two classes, or a rate that
            drops nothing or everything.
    """

    data: str = option("gap", "gap, diabetes, breast_cancer, moons, or a CSV file with a header", str)
    target: str | None = option(None, "the column of the CSV file that is predicted", str)
    task: str = option("auto", "auto: classification if the target has two values", str, TASKS)
    split: int = option(0, "seed of the split into rows fitted and rows held out", parse_int)
    hidden: int = option(5, "hidden units", parse_int)
    activation: str = option("tanh", "the activation of the hidden units", str, ACTIVATIONS)
    noise: Any = option(
        "auto",
        "sd of the Gaussian noise (in sds of a standardised target), or unknown; auto: known for gap",
        parse_noise,
    )
    rate: float = option(RATE, "probability with which --guides dropout drops each input and unit", parse_number)
    dataset: Dataset = derived()

    def __post_init__(self) -> None:
        if not isinstance(self.data, str | os.PathLike) or not str(self.data).isprintable():
            raise ValueError(f"data is {self.data!r}: give {', '.join(DATASETS)} or the name of a CSV file")
        if not isinstance(self.target, str | None):
            raise ValueError(f"target is {self.target!r}: give the name of a column")
        check_choices(self, {"task": TASKS, "activation": ACTIVATIONS})
        split, hidden = whole_number("split", self.split, 0), whole_number("hidden", self.hidden, 1)
        dataset = load(str(self.data), self.target, self.task, split)
        weights = (dataset.inputs.shape[1] + 2) * hidden + 1
        if weights > MAX_WEIGHTS:
            shape = f"hidden is {hidden}, inputs are {dataset.inputs.shape[1]}"
            raise ValueError(f"{shape}: that is {weights:,} weights; give fewer, for at most {MAX_WEIGHTS:,}")
        dataset = replace(dataset, noise=known_noise(self.noise, dataset))
        noise = self.noise if isinstance(self.noise, str) else dataset.noise
        if isinstance(self.rate, bool) or not MIN_RATE <= self.rate <= MAX_RATE:
            why = "0 drops nothing, and 1 leaves nothing"
            raise ValueError(f"rate is {self.rate}: give a number from {MIN_RATE:g} to {MAX_RATE:g}; {why}")
        self._set(data=str(self.data), split=split, hidden=hidden, noise=noise, dataset=dataset)

    def arguments(self) -> dict[str, Any]:
        noise = {} if self.dataset.noise is None else {"noise": np.float64(self.dataset.noise)}
        shape = {"hidden": self.hidden, "activation": self.activation, "classes": self.dataset.classes}
        rate = {} if self.rate == RATE else {"rate": np.float64(self.rate)}
        return {"inputs": self.dataset.inputs, "targets": self.dataset.targets, **noise, **rate, **shape}

    def describe(self) -> dict[str, Any]:
        task = "classification" if self.dataset.classes else "regression"
        noise = {} if self.dataset.classes else {"noise": self.dataset.noise or "unknown"}
        shape = {"hidden": self.hidden, "activation": self.activation, "rate": self.rate}
        return {"data": self.data, "split": self.split, "task": task, **noise, **shape, **self.dataset.about}


def known_noise(noise: Any, dataset: Dataset) -> float | None:
    """The noise's sd where it is known: as the user says, else as the data set says.

    Raises:
        ValueError: noise that is no sd, or that two classes do not have.
    """
    if dataset.classes and noise != "auto":
        raise ValueError(f"noise is {noise}, but the target is two classes, which have none: leave --noise out")
    if noise == "auto":
        return dataset.noise
    if noise == "unknown":
        return None
    if isinstance(noise, bool) or not isinstance(noise, int | float | np.number) or not MIN_NOISE <= noise <= MAX_NOISE:
        raise ValueError(f"noise is {noise!r}: give its sd, from {MIN_NOISE:g} to {MAX_NOISE:g}, or unknown")
    return float(noise)
