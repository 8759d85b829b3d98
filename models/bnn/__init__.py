r"""The Bayesian neural network: does it know what it does not know?

One hidden layer with random weights and biases,

    f(x) = b + sum_k v_k tanh(w_k x + b_k),      w_k ~ N(0, 1 / inputs),  b_k, b ~ N(0, 1),  v_k ~ N(0, 1 / hidden),

and targets ~ N(f(x), noise^2), or, for two classes, targets ~ Bernoulli(logistic(f(x))).
"""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from models.bnn import network
from models.bnn.baselines import baselines
from models.bnn.datasets import SETS, DataSet, load
from models.bnn.exact import exact
from models.bnn.literature import claims, published
from models.bnn.pictures import PICTURES
from models.contract import Exact, Literature, Model, Prediction, Quantities, Reference, Simulated
from models.options import Data, option, parse_int

__all__ = ["MODEL", "BnnData"]

TASKS = ("auto", "regression", "classification")

LEAST, MOST = 1e-4, 1e4
"""Between these sds of the noise float64 keeps the digits of the output layer's posterior."""

WEIGHTS = 10_000
"""Most weights and biases: thousands of draws of them are kept for every fit."""


def spread(text: str) -> float | str:
    if text in ("auto", "unknown"):
        return text
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number; give the noise's sd, such as 0.2, or unknown") from None


def whole(name: str, value: Any, least: int) -> int:
    """The option's value, made sure to be a whole number and not below ``least``."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or value != value // 1:
        raise ValueError(f"{name} is {value!r}: give a whole number, {least} or more")
    if value < least:
        raise ValueError(f"{name} is {value}: give {least} or more")
    return int(value)


@dataclass(frozen=True)
class BnnData(Data):
    """The data and the network's shape.

    ``dataset`` is the `DataSet` that the first four fields name. Where the target is standardised the noise's sd is in
    units of the target's. The fields stay as the user gave them; ``dataset.noise`` is what follows: the sd where it is
    known, else None.

    Raises:
        ValueError: no such data, data from which nothing can be learnt (see `models.bnn.datasets.load`), a network without
            hidden units or with too many, noise that is not positive, or noise for two classes.
    """

    data: str = option("gap", "gap, diabetes, breast_cancer, moons, or a CSV file with a header", str)
    target: str | None = option(None, "the column of the CSV file that is predicted", str)
    task: str = option("auto", "auto: classification if the target has two values", str, TASKS)
    split: int = option(0, "seed of the split into rows fitted and rows held out", parse_int)
    hidden: int = option(5, "hidden units", parse_int)
    activation: str = option("tanh", "of the hidden units", str, tuple(network.ACTIVATIONS))
    noise: Any = option(
        "auto", "sd of the Gaussian noise (in sds of a standardised target), or unknown; auto: known for gap", spread
    )

    def __post_init__(self) -> None:
        if not isinstance(self.data, str | os.PathLike) or not str(self.data).isprintable():
            raise ValueError(f"data is {self.data!r}: give {', '.join(SETS)} or the name of a CSV file")
        if not isinstance(self.target, str | None):
            raise ValueError(f"target is {self.target!r}: give the name of a column")
        for name, choices in (("task", TASKS), ("activation", tuple(network.ACTIVATIONS))):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}: give {' or '.join(choices)}")
        data, split, hidden = str(self.data), whole("split", self.split, 0), whole("hidden", self.hidden, 1)
        chosen = load(data, self.target, self.task, split)
        weights = (chosen.inputs.shape[1] + 2) * hidden + 1
        if weights > WEIGHTS:
            shape = f"hidden is {hidden}, inputs are {chosen.inputs.shape[1]}"
            raise ValueError(f"{shape}: that is {weights:,} weights; give fewer, for at most {WEIGHTS:,}")
        chosen = replace(chosen, noise=known(self.noise, chosen))
        noise = self.noise if isinstance(self.noise, str) else chosen.noise
        values = {"data": data, "split": split, "hidden": hidden, "noise": noise, "dataset": chosen}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def arguments(self) -> dict[str, Any]:
        noise = {} if self.dataset.noise is None else {"noise": np.float64(self.dataset.noise)}
        shape = {"hidden": self.hidden, "activation": self.activation, "classes": self.dataset.classes}
        return {"inputs": self.dataset.inputs, "targets": self.dataset.targets, **noise, **shape}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        shapes = {
            "hidden_weights": (self.dataset.inputs.shape[1], self.hidden),
            "hidden_biases": (self.hidden,),
            "output_weights": (self.hidden,),
            "output_bias": (),
        }
        return shapes if self.dataset.classes or self.dataset.noise is not None else {**shapes, "noise": ()}

    def reported(self) -> list[tuple[str, tuple[int, ...]]]:
        return report(self)

    def observed(self) -> dict[str, np.ndarray]:
        return {"targets": self.dataset.targets}

    def describe(self) -> dict[str, Any]:
        task = "classification" if self.dataset.classes else "regression"
        noise = {} if self.dataset.classes else {"noise": self.dataset.noise or "unknown"}
        shape = {"hidden": self.hidden, "activation": self.activation}
        return {"data": self.data, "split": self.split, "task": task, **noise, **shape, **self.dataset.about}


def known(noise: Any, data: DataSet) -> float | None:
    """The noise's sd where it is known: as the user says, else as the data set says.

    Raises:
        ValueError: noise that is no sd, or that two classes do not have.
    """
    if data.classes and noise != "auto":
        raise ValueError(f"noise is {noise}, but the target is two classes, which have none: leave --noise out")
    if noise == "auto":
        return data.noise
    if noise == "unknown":
        return None
    if isinstance(noise, bool) or not isinstance(noise, int | float | np.number) or not LEAST <= noise <= MOST:
        raise ValueError(f"noise is {noise!r}: give its sd, from {LEAST:g} to {MOST:g}, or unknown")
    return float(noise)


def truth(data: BnnData) -> Exact | Reference:
    """Quadrature for one hidden unit; else NUTS, on the hidden layer alone where the output layer integrates out."""
    known = exact(data)
    if known is not None:
        return known
    if data.dataset.classes:
        return Reference("NUTS on all weights")
    return Reference("NUTS with the output layer integrated out", "collapsed", network.complete)


def report(data: BnnData) -> list[tuple[str, tuple[int, ...]]]:
    """The function at the grid, and the noise where it is unknown."""
    values = [("f", (point,)) for point in range(len(data.dataset.grid))]
    return values if data.dataset.classes or data.dataset.noise is not None else [*values, ("noise", ())]


def simulate(data: BnnData, rng: np.random.Generator, count: int) -> Simulated:
    """Networks from the prior, and targets of each at the same inputs."""
    latents = network.prior(data, rng, count)
    targets = network.observe(data, latents, rng)
    return Simulated(latents, tuple(with_targets(data, one) for one in targets))


def with_targets(data: BnnData, targets: np.ndarray) -> BnnData:
    """The same with other targets, shape (rows,)."""
    other = copy.copy(data)
    object.__setattr__(other, "dataset", replace(data.dataset, targets=targets))
    return other


MODEL = Model(
    name="bnn",
    title="a neural network with random weights: does it know what it does not know?",
    data=BnnData,
    guides=("mean_field", "full_rank", "matrix_normal", "hypernetwork"),
    truth=truth,
    test_cases=(BnnData(hidden=1), BnnData(hidden=2), BnnData(noise="unknown"), BnnData(activation="relu")),
    simulate=simulate,
    quantities=Quantities(network.derive, report),
    prediction=Prediction(network.predict, network.pointwise, baselines),
    literature=Literature(claims, published),
    pictures=PICTURES,
    defaults={"budget": 120.0},  # NUTS takes long paths here, and full rank many steps
)
