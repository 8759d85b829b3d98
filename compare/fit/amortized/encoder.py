"""Training an encoder, and the decoder with it where that is learnt, until the validation ELBO has stopped rising."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Protocol

import numpy as np

from models.contract import Training

__all__ = ["RISE", "Learnt", "Library", "Trainer", "Weights", "learn", "member", "strata"]

STAGES = ((3e-3, 0.7, 8), (1e-3, 0.9, 4), (3e-4, 1.0, 4))
"""Adam's learning rates, one after the other; by which share of the epochs, and after how many looks without a rise of
the validation ELBO, the next one follows or the training ends."""

LOOK = 10
"""Epochs between two looks at the validation ELBO."""

RISE = 0.01
"""Nats an observation that count as a rise."""

NOISE = 16
"""Draws an observation with which the validation ELBO is estimated, the same at every look."""

Weights = dict[str, np.ndarray]


class Trainer(Protocol):
    """An encoder on the way, and the decoder where it is learnt along; float32."""

    def epochs(self, count: int, rate: float) -> None:
        """Train on for so many epochs at this learning rate."""

    def elbo(self, observations: np.ndarray, eps: np.ndarray) -> np.ndarray:
        """Each draw's contribution to each observation's ELBO, (draws, n), at ``eps``, (draws, n, strata, latent)."""

    def weights(self) -> dict[str, Weights]:
        """The networks' weights, float64: ``encoder``, and ``decoder`` where it is learnt."""


class Library(Protocol):
    """What a library computes for one family on one model, of so many dimensions of z. Arrays are NumPy's."""

    latent: int

    def trainer(
        self,
        weights: Mapping[str, Weights],
        fixed: Weights | None,
        observations: np.ndarray,
        strata: int,
        batch: int,
        seed: int,
    ) -> Trainer:
        """Something to be trained from these ``weights``. ``fixed`` is the decoder, where it is known."""

    def rows(self, encoder: Weights, observations: np.ndarray) -> np.ndarray:
        """The encoder's row of parameters for each observation, float64."""

    def best(
        self,
        rows: np.ndarray,
        decoder: Weights,
        observations: np.ndarray,
        rates: np.ndarray,
        strata: int,
        draws: int,
        seed: int,
    ) -> np.ndarray:
        """Each observation's row after steps of Adam on its ELBO at these learning ``rates``."""

    def weigh(self, rows: np.ndarray, observations: np.ndarray, decoder: Weights, eps: np.ndarray) -> tuple:
        """Draws at ``eps``, shape (draws, n, strata, latent): z, and log p(z), log p(x | z), log q(z) and the strata's
        weights, shape (draws, n, strata); float64."""


@dataclass(frozen=True)
class Learnt:
    """Where a training ended, and the way there: of each look the epoch, the ELBO of the validation observations (their
    mean, in nats) and of those that are shown (their sum), with its Monte Carlo error. ``speed`` is in observations a
    second, the looks not counted."""

    weights: dict[str, Weights]
    epochs: list[int]
    validation: list[float]
    shown: list[float]
    shown_mcse: list[float]
    converged: bool
    reason: str | None
    gradients: list[int]
    speed: float


def member(family: str) -> ModuleType:
    """The family's rows of parameters.

    Raises:
        ValueError: the family has none, and so no guide with an encoder.
    """
    name = f"guides.{family}.member"
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ValueError(f"the family {family} has no guide with an encoder") from None


def strata(family: str) -> int:
    """The strata that draws of a member are made in: the components of a mixture, else one."""
    return getattr(member(family), "STRATA", 1)


def learn(library: Library, told: Training, family: str, seed: int, budget: float) -> Learnt:
    """Train from random weights; the weights with the highest validation ELBO are kept.

    Raises:
        FloatingPointError: the ELBO is not finite.
    """
    rng, kinds = np.random.default_rng([seed, 4]), strata(family)
    start = {"encoder": told.start_encoder(rng, member(family).start(told.latent))}
    if told.decoder is None:
        start["decoder"] = told.start_decoder(rng)
    trainer = library.trainer(start, told.decoder, told.train, kinds, told.batch, seed)
    eps = rng.standard_normal((NOISE, len(told.validation), kinds, told.latent))
    noise = rng.standard_normal((4 * NOISE, len(told.shown), kinds, told.latent))
    began, spent, epoch, reason = time.perf_counter(), 0.0, 0, None
    looks: dict[str, list] = {"epochs": [], "validation": [], "shown": [], "shown_mcse": []}

    def look() -> float:
        value = float(trainer.elbo(told.validation, eps).mean())
        if not math.isfinite(value):
            raise FloatingPointError(f"the validation ELBO is not finite after {epoch} epochs")
        each = trainer.elbo(told.test[told.shown], noise).sum(axis=1)
        error = each.std(ddof=1) / math.sqrt(len(each))
        for name, number in zip(looks, (epoch, value, each.mean(), error), strict=True):
            looks[name].append(number)
        return value

    highest, kept = look(), trainer.weights()
    for rate, share, patience in STAGES:
        idle, last = 0, max(round(share * told.epochs), 1)
        while idle < patience and epoch < last and reason is None:
            if time.perf_counter() - began > budget:
                reason = f"its budget of {budget:g} s ended after {epoch} epochs; give it a larger --budget"
                break
            more, moment = min(LOOK, last - epoch), time.perf_counter()
            trainer.epochs(more, rate)
            spent, epoch = spent + time.perf_counter() - moment, epoch + more
            value = look()
            idle = 0 if value > highest + RISE else idle + 1
            if value > highest:
                highest, kept = value, trainer.weights()
    if reason is None and idle == 0:
        reason = f"the validation ELBO still rose after {epoch} epochs; allow more --epochs"
    an_epoch = len(told.train) // told.batch * told.batch
    gradients = [number * an_epoch * kinds for number in looks["epochs"]]
    speed = epoch * an_epoch / max(spent, 1e-9)
    return Learnt(kept, **looks, converged=reason is None, reason=reason, gradients=gradients, speed=speed)
