"""The best member of a family for each observation, found without an encoder, and how good a member is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from compare.fit.amortized.encoder import Library, Weights, member, strata
from models.contract import Training

__all__ = ["Members", "at_once", "best", "weighed"]

ASCENT = 0.02 * 0.5 * (1 + np.cos(np.pi * np.arange(500) / 500))
"""Learning rates of Adam's steps."""

FEW = 8
"""Draws an observation and step, those of all strata together."""

SWEEP, CHOICE = 512, 256
"""Draws with which an observation's ELBO is measured, and with which the better of two members is chosen."""

NUMBERS = 4_000_000
"""Pixels (or other elements of observations) that are decoded in one go."""

PRIOR = 2000
"""Draws from the prior by which a start is sought."""

NARROW = 0.05
"""No start has a smaller sd."""


@dataclass(frozen=True)
class Members:
    """One member of a family for each observation: its row, its ELBO and its data fit with errors, (n,), in nats."""

    rows: np.ndarray
    elbo: np.ndarray
    elbo_mcse: np.ndarray
    data_fit: np.ndarray
    data_fit_mcse: np.ndarray

    def where(self, better: np.ndarray, other: Members) -> Members:
        """These, but the other ones where they are ``better``, shape (n,)."""
        rows = np.where(better[:, None], other.rows, self.rows)
        names = ("elbo", "elbo_mcse", "data_fit", "data_fit_mcse")
        return Members(rows, **{name: np.where(better, getattr(other, name), getattr(self, name)) for name in names})


def weighed(
    library: Library,
    rows: np.ndarray,
    observations: np.ndarray,
    decoder: Weights,
    kinds: int,
    seed: int,
    draws: int = SWEEP,
) -> Members:
    """How good the members with these rows are."""
    rng, total = np.random.default_rng([seed, 5]), 0
    chunk = at_once(observations.size * kinds, 64)
    sums = np.zeros((4, len(rows)))
    while total < draws:
        eps = rng.standard_normal((chunk, len(rows), kinds, library.latent))
        _, prior, likelihood, guide, weights = library.weigh(rows, observations, decoder, eps)
        each = (weights * (prior + likelihood - guide)).sum(-1)
        fit = (weights * likelihood).sum(-1)
        sums += [each.sum(0), (each**2).sum(0), fit.sum(0), (fit**2).sum(0)]
        total += chunk
    elbo, squares, data_fit, fit_squares = sums / total
    error, fit_error = (
        np.sqrt(np.maximum(square - value**2, 0) / (total - 1))
        for square, value in ((squares, elbo), (fit_squares, data_fit))
    )
    return Members(rows, elbo, error, data_fit, fit_error)


def at_once(numbers: int, most: int) -> int:
    """How many draws are decoded in one go, ``most`` or a power of two, where each has so many numbers."""
    return min(most, 1 << max(NUMBERS // numbers, 1).bit_length() - 1)


_found: dict[tuple, Members] = {}


def best(factory: Callable[..., Library], model: str, family: str, told: Training) -> Members:
    """The best member for each test observation: Adam from the best member of the families that this one contains.

    It depends on the model and the data alone, not on the encoder or on what was fitted before.
    """
    parts = [told.test, *(value for _, value in sorted(told.decoder.items()))]
    key = (factory, family, hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).digest())
    if key not in _found:
        while len(_found) > 16:
            _found.pop(next(iter(_found)))
        _found[key] = search(factory, model, family, told)
    return _found[key]


def search(factory: Callable[..., Library], model: str, family: str, told: Training) -> Members:
    library, kinds = factory(model, family, told.latent), strata(family)
    seed = int.from_bytes(hashlib.sha256(family.encode()).digest()[:4])
    smaller = member(family).CONTAINS
    starts = [widen(best(factory, model, name, told).rows, told.latent) for name, widen in smaller.items()]
    found = None
    for rows in starts or guesses(library, family, told):
        tried = weighed(library, rows, told.test, told.decoder, kinds, seed, CHOICE)
        found = tried if found is None else found.where(tried.elbo > found.elbo, tried)
    rows = library.best(found.rows, told.decoder, told.test, ASCENT, kinds, 2 * -(-FEW // (2 * kinds)), seed)
    climbed = weighed(library, rows, told.test, told.decoder, kinds, seed, CHOICE)
    return found.where(climbed.elbo > found.elbo, climbed)


def guesses(library: Library, family: str, told: Training) -> list[np.ndarray]:
    """Rows of Gaussians: with the posterior's moments, and about its likeliest point, as draws from the prior say."""
    gaussian, prior = member(family).gaussian, member(family).start(told.latent)
    rng, n = np.random.default_rng(0), len(told.test)
    chunk = at_once(told.test.size, 64)
    z, likelihood = [], []
    for _ in range(0, PRIOR, chunk):
        eps = np.repeat(rng.standard_normal((chunk, 1, 1, told.latent)), n, axis=1)
        found = library.weigh(np.tile(prior, (n, 1)), told.test, told.decoder, eps)
        z.append(found[0][:, :, 0])
        likelihood.append(found[2][:, :, 0])
    z, likelihood = np.concatenate(z), np.concatenate(likelihood)
    weights = np.exp(likelihood - likelihood.max(axis=0))
    weights /= weights.sum(axis=0)
    mean = np.einsum("dn,dnl->nl", weights, z)
    sd = np.sqrt(np.maximum(np.einsum("dn,dnl->nl", weights, z**2) - mean**2, NARROW**2))
    top = z[likelihood.argmax(axis=0), np.arange(n)]
    return [gaussian(mean, sd), gaussian(top, np.full_like(top, 4 * NARROW))]
