"""What independence between the layers costs: the best Gaussian of a family for each image, and its ELBO.

Mean field takes the layers for independent, in z2 and z1 or in e2 and e1; full rank is a Gaussian with any covariance.
Expectations are taken by the Gauss-Hermite rule; where all is linear they have a closed form. An image's best member
does not depend on the other images, so the best one for several images is their product.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import optimize

from models.contract import Best
from models.decoder import softplus_and_slope
from models.dlgm.data import DeepData
from models.dlgm.exact import DeepPosterior, Nested, nested
from models.dlgm.layers import Layers
from models.image_posteriors import normal

FAMILIES = ("mean_field", "full_rank")

NODES, MANY = 10, (24, 32)
"""Nodes a dimension: to search for a member; and of the two rules for its ELBO, whose difference gives its error."""


@dataclass(frozen=True)
class Members:
    """A Gaussian over z2 and z1, or e2 and e1, of one dimension each, for each of n images.

    Attributes:
        means: Shape (n, 2).
        factors: The lower Cholesky factors of the covariances, shape (n, 2, 2).
        elbos: In nats, shape (n,).
        tolerance: How far one of them may be off.
    """

    means: np.ndarray
    factors: np.ndarray
    elbos: np.ndarray
    tolerance: float

    @property
    def information(self) -> np.ndarray:
        """KL(q(z2), p(z2)) in nats, shape (n,): what this Gaussian takes the image to say of z2."""
        location, scale = self.means[:, 0], self.factors[:, 0, 0]
        return 0.5 * (location**2 + scale**2 - 1) - np.log(scale)


def log_joint(layers: Layers, images: np.ndarray, points: np.ndarray, latents: str) -> tuple[np.ndarray, np.ndarray]:
    """log p(image, point) in nats, (..., n), of each image at points of its own, (..., n, 2), and its slope there."""
    top, below = points[..., :1], points[..., 1:]
    units, turns = softplus_and_slope(layers.upper.activations(top))
    mean = units @ layers.upper.weights["output_weights"] + layers.upper.weights["output_biases"]
    rise = (turns * layers.upper.weights["hidden_weights"]) @ layers.upper.weights["output_weights"]
    eps = (below - mean) / layers.noise if latents == "values" else below
    value, slope = layers.lower.at(images, mean + layers.noise * eps)
    value = value + normal(np.concatenate([top, eps], axis=-1))
    if latents == "values":
        pull = eps / layers.noise
        return value - np.log(layers.noise), np.concatenate([rise * pull - top, slope - pull], axis=-1)
    return value, np.concatenate([rise * slope - top, layers.noise * slope - eps], axis=-1)


@lru_cache(maxsize=8)
def rule(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of the plane, shape (nodes^2, 2), and weights for expectations under N(0, I)."""
    places, weights = np.polynomial.hermite_e.hermegauss(nodes)
    weights = weights / weights.sum()
    points = np.stack(np.meshgrid(places, places, indexing="ij"), axis=-1).reshape(-1, 2)
    return points, np.outer(weights, weights).ravel()


def unpacked(row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and Cholesky factor of a row: the mean, the logs of the factor's diagonal, and what is below it, if any."""
    factor = np.diag(np.exp(row[2:4]))
    factor[1, 0] = row[4] if len(row) > 4 else 0.0
    return row[:2], factor


def elbo(
    layers: Layers, image: np.ndarray, row: np.ndarray, latents: str, nodes: int = NODES
) -> tuple[float, np.ndarray]:
    """The ELBO of a row in nats, and its gradient."""
    points, weights = rule(nodes)
    mean, factor = unpacked(row)
    values, slopes = log_joint(layers, image[None], (mean + points @ factor.T)[:, None], latents)
    pulls = weights[:, None] * slopes[:, 0]
    turn = pulls.T @ points
    gradient = np.concatenate([pulls.sum(axis=0), 1 + np.diag(turn) * np.diag(factor), turn[1:, 0]])
    entropy = 1 + np.log(2 * np.pi) + row[2:4].sum()
    return float(weights @ values[:, 0] + entropy), gradient[: len(row)]


def starts(layers: Layers, known: Nested, image: int, latents: str) -> list[np.ndarray]:
    """Rows of mean field from which one is sought: with the posterior's moments, and narrow about its likeliest z2."""
    marginals = [known.marginal(site, image) for site in ("z2", "z1")]
    mean, sd = np.array([[each.mean(), each.std()] for each in marginals]).T
    top = np.array([known.z2[known.of_z2[image].argmax()], known.z1[known.of_z1[image].argmax()]])
    rows = [(mean, sd), (top, 0.3 * sd)]
    if latents == "noise":
        rows = [(layers.noises(at[:1], at[1:]), np.array([spread[0], 0.9])) for at, spread in rows]
    return [np.concatenate([at, np.log(spread)]) for at, spread in rows]


def best_members(layers: Layers, images: np.ndarray, family: str, latents: str) -> Members:
    """The best members for images, shape (n, pixels), of layers with one latent each that are not linear."""
    known, rows, elbos, errors = nested(layers, images), [], [], []
    for number, image in enumerate(images):

        def objective(row: np.ndarray, image: np.ndarray = image) -> tuple[float, np.ndarray]:
            value, gradient = elbo(layers, image, row, latents)
            return -value, -gradient

        sought = [
            optimize.minimize(objective, np.append(start, [0.0] * (family == "full_rank")), jac=True, method="BFGS")
            for start in starts(layers, known, number, latents)
        ]
        best = min(sought, key=lambda end: end.fun)
        rows.append(best.x)
        fewer, value = (elbo(layers, image, best.x, latents, nodes)[0] for nodes in MANY)
        elbos.append(value)
        errors.append(abs(value - fewer))
    means, factors = (np.stack(part) for part in zip(*map(unpacked, rows), strict=True))
    return Members(means, factors, np.array(elbos), max(errors))


def best_member(data: DeepData, family: str) -> Best | None:
    """The best Gaussian for all images shown."""
    if family not in FAMILIES:
        return None
    if data.network.is_linear:
        exact = DeepPosterior(data)
        precisions = np.linalg.inv(exact.covariances)
        factors = np.linalg.cholesky(exact.covariances)
        short = np.zeros(len(factors))
        if family == "mean_field":
            diagonals = np.diagonal(precisions, axis1=1, axis2=2)
            factors = np.sqrt(1 / diagonals)[:, :, None] * np.eye(exact.layers.latent)
            short = 0.5 * (np.log(diagonals).sum(axis=1) - np.linalg.slogdet(precisions)[1])
        parameters = flattened(data, exact.means, factors, family)
        return Best(exact.log_evidence - short.sum(), 1e-9 * abs(exact.log_evidence), "closed form", parameters)
    members = best_members(data.network, data.observed, family, data.latents)
    parameters = flattened(data, members.means, members.factors, family)
    method = f"Gauss-Hermite quadrature, {MANY[-1]} nodes a layer; BFGS"
    return Best(float(members.elbos.sum()), members.tolerance * len(members.elbos) + 1e-6, method, parameters)


def flattened(data: DeepData, means: np.ndarray, factors: np.ndarray, family: str) -> dict[str, np.ndarray]:
    """The parameters of the product of all images' Gaussians, the upper site first.

    ``means`` has shape (n, latent), ``factors`` (n, latent, latent), z2's dimensions first.
    """
    n, latent = means.shape
    places, upper = np.arange(n * latent).reshape(n, latent), data.network.upper.latent
    order = np.concatenate([places[:, :upper].ravel(), places[:, upper:].ravel()])
    covariance = np.zeros((n * latent, n * latent))
    for place, factor in zip(places, factors, strict=True):
        covariance[np.ix_(place, place)] = factor @ factor.T
    covariance, location = covariance[np.ix_(order, order)], means.ravel()[order]
    if family == "mean_field":
        return {"location": location, "scale": np.sqrt(np.diag(covariance))}
    return {"location": location, "scale_tril": np.linalg.cholesky(covariance)}
