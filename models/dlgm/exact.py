"""The posterior of every image over z2 and z1: by quadrature in two ways, or in closed form where all is linear.

In the coordinates of the layers' noise the prior is N(0, I), and the trapezoid rule on a plane gives the evidence, the
density and draws. An image depends on z2 through z1 alone, and so a nested integral gives the evidence anew,

    p(image) = int p(image | z1) p(z1) dz1,    p(z1) = int p(z1 | z2) p(z2) dz2,

and the distributions of z1 and z2 given the image. The two evidences differ by the tolerance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from scipy import special, stats

from models.contract import Exact, Latents, Marginal
from models.dlgm.data import DeepData
from models.dlgm.layers import Layers
from models.image_posteriors import Posteriors, posteriors
from models.marginals import BandLimited

GOAL = 1e-9  # in nats: the lattices are fine enough when half of their steps change no log evidence by more
FIRST, LAST = 8, 12  # the powers of two that the lattices begin and end with
REACH = 9.0  # sds of each layer's noise that the lattices span


@dataclass(frozen=True)
class Nested:
    """The integrals of images over z1 and z2, one latent each.

    Attributes:
        z2, z1: The lattices, shapes (n2,) and (n1,).
        of_z2, of_z1: The probability of each of their points given the image, shapes (n, n2) and (n, n1).
        log_evidences: In nats, shape (n,).
        change: By how much twice the steps change one of these, at most.
    """

    z2: np.ndarray
    z1: np.ndarray
    of_z2: np.ndarray
    of_z1: np.ndarray
    log_evidences: np.ndarray
    change: float

    @property
    def information(self) -> np.ndarray:
        """KL(p(z2 | image), p(z2)) in nats, shape (n,): 0 where the upper layer has collapsed."""
        prior = stats.norm.pdf(self.z2) * (self.z2[1] - self.z2[0])
        return special.rel_entr(self.of_z2, prior).sum(axis=1)

    def marginal(self, site: str, image: int) -> BandLimited:
        """The distribution of ``z2`` or ``z1`` given an image."""
        places, masses = (self.z2, self.of_z2) if site == "z2" else (self.z1, self.of_z1)
        return BandLimited(places, masses[image], places[1] - places[0])


def nested(layers: Layers, images: np.ndarray) -> Nested:
    """The integrals of images, shape (n, pixels), on lattices that become finer until they change nothing.

    They are computed once for the same layers and the same images.
    """
    images = np.ascontiguousarray(images, dtype=np.float64)
    return refined(layers, images.tobytes(), len(images))


@lru_cache(maxsize=8)
def refined(layers: Layers, content: bytes, n_images: int) -> Nested:
    """The same of images that are given as bytes."""
    images = np.frombuffer(content).reshape(n_images, -1)
    before = summed(layers, images, 2**FIRST)
    for power in range(FIRST + 1, LAST + 1):
        after = summed(layers, images, 2**power)
        change = float(np.abs(after.log_evidences - before.log_evidences).max())
        if change < GOAL:
            break
        before = after
    return replace(after, change=change)


def summed(layers: Layers, images: np.ndarray, count: int) -> Nested:
    """The integrals on lattices of about ``count`` points."""
    z2 = np.linspace(-REACH, REACH, count // 2 + 1)
    means = layers.upper(z2[:, None])[:, 0]
    z1 = np.linspace(means.min() - REACH * layers.noise, means.max() + REACH * layers.noise, count + 1)
    log_cells = math.log((z2[1] - z2[0]) * (z1[1] - z1[0]))
    log_pairs = stats.norm.logpdf(z2) + stats.norm.logpdf(z1[:, None], means, layers.noise)
    highest = log_pairs.max()
    pairs = np.exp(log_pairs - highest)
    prior = pairs.sum(axis=1)
    likelihood = layers.lower.log_likelihood(images, z1[:, None])
    tops = likelihood.max(axis=1, keepdims=True)
    likelihood = np.exp(likelihood - tops)
    evidences = likelihood @ prior
    log_evidences = np.log(evidences) + tops[:, 0] + highest + log_cells
    of_z2, of_z1 = (likelihood @ pairs) / evidences[:, None], likelihood * prior / evidences[:, None]
    return Nested(z2, z1, of_z2, of_z1, log_evidences, np.inf)


class DeepPosterior(Exact):
    """p(z2, z1 | image) of the images shown, or of e2 and e1, each site of shape (images, size)."""

    def __init__(self, data: DeepData) -> None:
        self.data, self.layers = data, data.network
        decoder = self.layers.linear() if self.layers.is_linear else self.layers
        self.plane: Posteriors = posteriors(decoder, data.observed)
        if self.layers.is_linear:
            self.method, self.tolerance = "closed form: all is linear and Gaussian", 0.0
        else:
            self.method = "quadrature: trapezoid over the layers' noise, and nested over z1 and z2"
            other = self.nested.log_evidences - self.plane.log_evidences
            each = max(self.plane.tolerance, self.nested.change)
            self.tolerance = max(len(other) * each, float(np.abs(other).sum()))
        self.log_evidence = self.plane.log_evidence

    @cached_property
    def nested(self) -> Nested:
        return nested(self.layers, self.data.observed)

    @property
    def is_values(self) -> bool:
        return self.data.latents == "values"

    def sites(self, e: np.ndarray) -> dict[str, np.ndarray]:
        """The latents by site, each (..., images, size), at the layers' noise, shape (..., images, latent)."""
        parts = self.layers.latents(e) if self.is_values else np.split(e, [self.layers.upper.latent], axis=-1)
        return dict(zip(self.data.sites, parts, strict=True))

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        return self.sites(self.plane.draw(rng, count)["z"])

    def log_posterior(self, latents: Latents) -> np.ndarray:
        top, below = (latents[site] for site in self.data.sites)
        if not self.is_values:
            return self.plane.log_posterior({"z": np.concatenate([top, below], axis=-1)})
        stretch = below[0].size * math.log(self.layers.noise)
        return self.plane.log_posterior({"z": self.layers.noises(top, below)}) - stretch

    def marginal(self, site: str, index: tuple[int, ...] = ()) -> Marginal:
        image, axis = index
        place = axis + self.layers.upper.latent * (site == self.data.sites[1])
        if self.layers.is_linear:
            return stats.norm(self.means[image, place], math.sqrt(self.covariances[image, place, place]))
        return self.nested.marginal(site, image) if self.is_values else self.plane.marginal("z", (image, place))

    @cached_property
    def means(self) -> np.ndarray:
        """Where all is linear: of all latents of each image, shape (images, latent)."""
        return np.concatenate([*self.sites(self.plane.means).values()], axis=-1)

    @cached_property
    def covariances(self) -> np.ndarray:
        """Where all is linear: of all latents of each image, shape (images, latent, latent)."""
        unit = np.eye(self.layers.latent)
        zero = np.zeros((1, self.layers.latent))
        slopes = np.concatenate([*self.sites(unit).values()], -1) - np.concatenate([*self.sites(zero).values()], -1)
        return slopes.T @ self.plane.covariances @ slopes

    def extra_summary(self) -> dict[str, Any]:
        """The information of each image about the upper layer."""
        if self.layers.is_linear:
            return {}
        return {"KL(p(z2 | x), p(z2)) of the images shown, in nats": self.nested.information.tolist()}
