"""The best posterior of a family for each observation, found without an encoder, and what a posterior is worth."""

from __future__ import annotations

import hashlib
from types import ModuleType
from typing import NamedTuple

import numpy as np

from compare.fit.amortized.encoder import Networks, Weights
from models.contract import Training

ASCENT = 0.02 * 0.5 * (1 + np.cos(np.pi * np.arange(500) / 500))
"""Learning rates of Adam's steps."""

FEW = 8
"""Draws an observation and step, those of all strata together."""

SWEEP, CHOICE = 512, 256
"""Draws with which an observation's ELBO is measured, and with which the better of two posteriors is chosen."""

NUMBERS = 4_000_000
"""Pixels (or other elements of observations) that are decoded in one go."""

PRIOR = 2000
"""Draws from the prior by which a start is sought."""

NARROW = 0.05
"""No start has a smaller sd."""


class LocalPosteriors(NamedTuple):
    """A posterior of a family for each observation: its row, its ELBO and its data fit with errors, (n,), in nats."""

    rows: np.ndarray
    elbo: np.ndarray
    elbo_mcse: np.ndarray
    data_fit: np.ndarray
    data_fit_mcse: np.ndarray

    def where(self, better: np.ndarray, other: LocalPosteriors) -> LocalPosteriors:
        """These, but the other ones where they are ``better``, shape (n,)."""
        pairs = zip(self, other, strict=True)
        return LocalPosteriors(*(np.where(better[:, None] if a.ndim == 2 else better, b, a) for a, b in pairs))


def weighed(networks: Networks, rows: np.ndarray, training: Training, seed: int, draws: int = SWEEP) -> LocalPosteriors:
    """What the posteriors of the test observations with these rows are worth."""
    rng, total, strata = np.random.default_rng([seed, 5]), 0, networks.form.strata
    test, decoder = training.test, known_decoder(training)
    chunk = at_once(test.size * strata, 64)
    sums = np.zeros((4, len(rows)))
    while total < draws:
        eps = rng.standard_normal((chunk, len(rows), strata, networks.latent))
        _, prior, likelihood, guide, weights = networks.weigh(rows, test, decoder, eps)
        elbos, fits = (weights * (prior + likelihood - guide)).sum(-1), (weights * likelihood).sum(-1)
        sums += [elbos.sum(0), (elbos**2).sum(0), fits.sum(0), (fits**2).sum(0)]
        total += chunk
    elbo, squares, data_fit, fit_squares = sums / total
    error, fit_error = (
        np.sqrt(np.maximum(square - value**2, 0) / (total - 1))
        for square, value in ((squares, elbo), (fit_squares, data_fit))
    )
    return LocalPosteriors(rows, elbo, error, data_fit, fit_error)


def at_once(numbers: int, most: int) -> int:
    """How many draws of ``numbers`` numbers each are decoded in one go: ``most``, or a smaller power of two."""
    return min(most, 1 << max(NUMBERS // numbers, 1).bit_length() - 1)


_best: dict[tuple, LocalPosteriors] = {}


def best(library: ModuleType, model: str, family: str, training: Training) -> LocalPosteriors:
    """The best posterior for each test observation: Adam from the best one of the families that this one contains.

    It depends on the model and the data alone, not on the encoder or on what was fitted before.
    """
    parts = [training.test, *(value for _, value in sorted(known_decoder(training).items()))]
    content = hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).digest()
    key = (library, family, content)
    if key not in _best:
        while len(_best) > 16:
            _best.pop(next(iter(_best)))
        _best[key] = search(library, model, family, training)
    return _best[key]


def known_decoder(training: Training) -> Weights:
    assert training.decoder is not None, "the decoder is learnt first"
    return training.decoder


def search(library: ModuleType, model: str, family: str, training: Training) -> LocalPosteriors:
    networks = library.networks(model, family, training.latent)
    form = networks.form
    seed = int.from_bytes(hashlib.sha256(family.encode()).digest()[:4])
    smaller = [(best(library, model, name, training).rows, widen) for name, widen in form.contains.items()]
    starts = [widen(rows, training.latent) for rows, widen in smaller] or guesses(networks, training)
    tried = [weighed(networks, rows, training, seed, CHOICE) for rows in starts]
    start = tried[0]
    for other in tried[1:]:
        start = start.where(other.elbo > start.elbo, other)
    draws = 2 * -(-FEW // (2 * form.strata))
    rows = networks.best(start.rows, training, ASCENT, draws, seed)
    climbed = weighed(networks, rows, training, seed, CHOICE)
    return start.where(climbed.elbo > start.elbo, climbed)


def guesses(networks: Networks, training: Training) -> list[np.ndarray]:
    """Rows of Gaussians: with the posterior's moments, and about its likeliest point, by draws from the prior."""
    form = networks.form
    assert form.gaussian is not None, "a family that contains no smaller one holds Gaussians"
    test, latent = training.test, training.latent
    rng, n, chunk = np.random.default_rng(0), len(test), at_once(test.size, 64)
    prior, parts = np.tile(form.start(latent), (n, 1)), []
    for _ in range(0, PRIOR, chunk):
        eps = np.repeat(rng.standard_normal((chunk, 1, 1, latent)), n, axis=1)
        parts.append(networks.weigh(prior, test, known_decoder(training), eps))
    z, likelihood = (np.concatenate([part[term][:, :, 0] for part in parts]) for term in (0, 2))
    weights = np.exp(likelihood - likelihood.max(axis=0))
    weights /= weights.sum(axis=0)
    mean = np.einsum("dn,dnl->nl", weights, z)
    sd = np.sqrt(np.maximum(np.einsum("dn,dnl->nl", weights, z**2) - mean**2, NARROW**2))
    top = z[likelihood.argmax(axis=0), np.arange(n)]
    return [form.gaussian(mean, sd), form.gaussian(top, np.full_like(top, 4 * NARROW))]
