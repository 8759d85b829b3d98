"""Training an encoder, in some cases its decoder too, until the validation ELBO has stopped rising."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
import xarray as xr

import guides
from compare import registry
from compare.comparison import Job
from compare.user_model import twins
from guides.contract import LocalPosterior
from models.contract import Training

__all__ = ["Networks", "Trainer", "Training", "TrainingRun", "Weights", "learn", "local_posterior", "weights_dataset"]

STAGES = ((3e-3, 0.7, 8), (1e-3, 0.9, 4), (3e-4, 1.0, 4))
"""Adam's learning rates, one after the other; by which share of the epochs, and after how many looks without a rise of
the validation ELBO, the next one follows or the training ends."""

LOOK = 10
"""Epochs between two looks at the validation ELBO."""

RISE = 0.01
"""Nats an observation that count as a rise."""

NOISE = 16
"""Draws an observation with which the validation ELBO is estimated, the same at every look."""

Weights = Mapping[str, np.ndarray]


class Trainer(Protocol):
    """An encoder in training, and the decoder where that is trained too; float32."""

    def epochs(self, count: int, rate: float) -> None:
        """Train on for ``count`` epochs at this learning rate."""

    def elbo(self, observations: np.ndarray, eps: np.ndarray) -> np.ndarray:
        """Each draw's contribution to each observation's ELBO, (draws, n), at ``eps``, (draws, n, strata, latent)."""

    def weights(self) -> dict[str, Weights]:
        """The networks' weights, float64: ``encoder``, and ``decoder`` where that is trained too."""


class Networks(ABC):
    """What a library computes for one family on one model with z of ``latent`` dimensions. Arrays are NumPy's.

    The model's twin has ``vae``, the model of some observations given its decoder, and ``Encoder`` and ``Decoder``,
    networks made of their weights by name.
    """

    library: str

    def __init__(self, model: str, family: str, latent: int) -> None:
        self.twin: Any = twins.twin(model, self.library)
        self.latent, self.form = latent, local_posterior(family)
        self.posterior = partial(guides.implementation(family, self.library).local_posterior, latent=latent)

    @abstractmethod
    def trainer(self, weights: Mapping[str, Weights], training: Training, seed: int) -> Trainer:
        """A trainer that starts from these ``weights``."""

    @abstractmethod
    def rows(self, encoder: Weights, observations: np.ndarray) -> np.ndarray:
        """The encoder's row of parameters for each observation, float64."""

    @abstractmethod
    def best(self, rows: np.ndarray, training: Training, rates: np.ndarray, draws: int, seed: int) -> np.ndarray:
        """Each test observation's row after steps of Adam on its ELBO at these learning ``rates``."""

    @abstractmethod
    def weigh(self, rows: np.ndarray, observations: np.ndarray, decoder: Weights, eps: np.ndarray) -> tuple:
        """Draws at ``eps``, shape (draws, n, strata, latent): z, and log p(z), log p(x | z), log q(z) and the strata's
        weights, shape (draws, n, strata); float64."""


@dataclass
class TrainingRun:
    """The way of a training, look by look, and where it ended.

    Attributes:
        weights: The networks with the highest validation ELBO.
        epoch_gradients: The gradients of one epoch.
        looks: The epoch, the mean ELBO of the validation observations, and the summed ELBO of the observations that are
            shown with its Monte Carlo error, in nats.
        reason: Why it is not converged, None if it is.
        seconds: The time spent on training, the looks not counted.
    """

    weights: dict[str, Weights]
    epoch_gradients: int
    epoch_observations: int
    looks: list[tuple[int, float, float, float]] = field(default_factory=list)
    reason: str | None = None
    seconds: float = 0.0

    @property
    def converged(self) -> bool:
        return self.reason is None

    @property
    def gradients(self) -> int:
        """Gradient evaluations until the last look."""
        return self.looks[-1][0] * self.epoch_gradients

    def look(self, trainer: Trainer, epoch: int, training: Training, eps: np.ndarray, noise: np.ndarray) -> float:
        """Note the ELBOs at this epoch; that of the validation observations."""
        value = float(trainer.elbo(training.validation, eps).mean())
        if not math.isfinite(value):
            raise FloatingPointError(f"the validation ELBO is not finite after {epoch} epochs")
        sums = trainer.elbo(training.test[training.shown], noise).sum(axis=1)
        self.looks.append((epoch, value, sums.mean(), sums.std(ddof=1) / math.sqrt(len(sums))))
        return value

    def dataset(self, **known: Any) -> xr.Dataset:
        """The looks over ``step``, and the ending as attributes. How far the encoder is from the best is not known."""
        epochs, validation, shown, errors = map(np.array, zip(*self.looks, strict=True))
        looks = {
            "gradients": epochs * self.epoch_gradients,
            "elbo": shown,
            "elbo_mcse": errors,
            "epochs": epochs,
            "validation": validation,
        }
        ending = {
            "gap": np.inf,
            "gap_mcse": np.inf,
            "tolerance": RISE,
            "converged": int(self.converged),
            "reason": self.reason or "",
            "epochs": self.looks[-1][0],
            "speed": self.looks[-1][0] * self.epoch_observations / max(self.seconds, 1e-9),
        }
        return xr.Dataset({name: ("step", value) for name, value in looks.items()}, attrs=known | ending)


def training_of(job: Job) -> Training:
    part = registry.load(job.model).amortization
    assert part is not None, f"{job.model} has no guides with encoders"
    return part.training(job.data)


def local_posterior(family: str) -> LocalPosterior:
    """The family's rows of parameters.

    Raises:
        ValueError: the family has none, and so no guide with an encoder.
    """
    form = guides.load(family).local_posterior
    if form is None:
        raise ValueError(f"the family {family} has no guide with an encoder")
    return form


def weights_dataset(weights: Weights) -> xr.Dataset:
    return xr.Dataset(
        {name: ([f"{name}_{axis}" for axis in range(np.ndim(value))], value) for name, value in weights.items()}
    )


def learn(networks: Networks, training: Training, seed: int, budget: float) -> TrainingRun:
    """Train from random weights; the weights with the highest validation ELBO are kept.

    Raises:
        FloatingPointError: the ELBO is not finite.
    """
    rng, form, latent = np.random.default_rng([seed, 4]), networks.form, training.latent
    start: dict[str, Weights] = {"encoder": training.start_encoder(rng, form.start(latent))}
    if training.decoder is None:
        start["decoder"] = training.start_decoder(rng)
    trainer = networks.trainer(start, training, seed)
    eps = rng.standard_normal((NOISE, len(training.validation), form.strata, latent))
    noise = rng.standard_normal((4 * NOISE, len(training.shown), form.strata, latent))
    observations = len(training.train) // training.batch * training.batch
    run = TrainingRun(trainer.weights(), observations * form.strata, observations)
    began, epoch = time.perf_counter(), 0
    highest = run.look(trainer, epoch, training, eps, noise)
    for rate, share, patience in STAGES:
        idle, last = 0, max(round(share * training.epochs), 1)
        while idle < patience and epoch < last and run.converged:
            if time.perf_counter() - began > budget:
                run.reason = f"its budget of {budget:g} s ended after {epoch} epochs; give it a larger --budget"
                break
            more, moment = min(LOOK, last - epoch), time.perf_counter()
            trainer.epochs(more, rate)
            run.seconds, epoch = run.seconds + time.perf_counter() - moment, epoch + more
            value = run.look(trainer, epoch, training, eps, noise)
            idle = 0 if value > highest + RISE else idle + 1
            if value > highest:
                highest, run.weights = value, trainer.weights()
    if run.converged and idle == 0:
        run.reason = f"the validation ELBO still rose after {epoch} epochs; allow more --epochs"
    return run
