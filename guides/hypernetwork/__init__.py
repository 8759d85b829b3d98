"""Hypernetwork: independent Gaussians whose means and scales a small network makes of learned embeddings.

The unconstrained latent i has an embedding e_i (`EMBEDDING` numbers), and one network with one hidden layer (`HIDDEN`
units, tanh), the same for all latents, gives

    (mean_i, log sd_i) = tanh(e_i W + b) V + c.

The parameters are ``embeddings`` (d, `EMBEDDING`), the latents in the order of the model, ``hidden_weights`` W
(`EMBEDDING`, `HIDDEN`), ``hidden_biases`` b, ``output_weights`` V (`HIDDEN`, 2) and ``output_biases`` c (Ha, Dai & Le
2016, HyperNetworks, section 3.1, with an embedding for each latent, and a distribution for what comes out).

Every member is a member of mean field, so its ELBO is at most mean field's. An embedding holds more numbers than the
two that are made of it, so each latent can have a mean and a scale of its own: the family is as rich as mean field.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg

from guides.contract import Family, Parameters, Preconditioner

EMBEDDING = 4
"""Numbers in one embedding."""

HIDDEN = 16
"""Hidden units of the network."""

SPREAD = (2.0, 1.0)
"""Sds that the weights of the means and of the log sds start with, times sqrt(`HIDDEN`). The units' values are some 0.6
in size, so the means start about as wide as uniform on (-2, 2), like NumPyro's own guides. Where they start close to 0,
the fit of a network may end with all of its weights at their prior."""


def outputs(parameters: Parameters) -> np.ndarray:
    """The means and the log sds, shape (2, d)."""
    units = np.tanh(parameters["embeddings"] @ parameters["hidden_weights"] + parameters["hidden_biases"])
    return (units @ parameters["output_weights"] + parameters["output_biases"]).T


class OutputCoordinates(Preconditioner):
    """The outputs as begin + transform x, and the network that makes them, found from ``start`` by short steps.

    There are more parameters than outputs: -ELBO is flat along curves in them, which no whitening straightens. In the
    outputs it has no such curves. At first they are in units of what the guide itself tells apart (Fisher's
    information): means in sds, log sds times sqrt 2.
    """

    def first_transform(self) -> np.ndarray:
        scale = np.exp(self.begin[self.size // 2 :])
        return np.diag(np.concatenate([scale, np.full_like(scale, 0.5**0.5)]))

    def values(self, parameters: Parameters) -> np.ndarray:
        return outputs(parameters).ravel()

    def from_values(self, values: np.ndarray) -> Parameters:
        return follow(self.start, values.reshape(2, -1))

    def slope(self, x: np.ndarray, gradient: Parameters) -> np.ndarray:
        slopes = Slopes(self.parameters(x))
        return slopes.solve(slopes.pull(gradient))


class Slopes:
    """The derivatives J of the 2 d outputs in all parameters: a latent's in its own embedding, all in the weights."""

    def __init__(self, parameters: Parameters) -> None:
        embeddings, weights = parameters["embeddings"], parameters["hidden_weights"]
        units = np.tanh(embeddings @ weights + parameters["hidden_biases"])
        before = parameters["output_weights"].T[:, None] * (1 - units**2)  # in what the units see: (2, d, HIDDEN)
        self.own = before @ weights.T
        self.shared = {
            "hidden_weights": np.einsum("kih,ie->kieh", before, embeddings),
            "hidden_biases": before,
            "output_weights": np.einsum("ih,kl->kihl", units, np.eye(2)),
            "output_biases": np.repeat(np.eye(2)[:, None], len(embeddings), axis=1),
        }

    def pull(self, gradient: Parameters) -> np.ndarray:
        """J times a gradient, shape (2 d,)."""
        result = np.einsum("kie,ie->ki", self.own, gradient["embeddings"])
        for name, slope in self.shared.items():
            result += np.tensordot(slope, gradient[name], axes=gradient[name].ndim)
        return result.ravel()

    def push(self, weights: np.ndarray) -> Parameters:
        """J' times weights, shape (2 d,)."""
        weights = weights.reshape(2, -1)
        result = {name: np.tensordot(weights, slope, axes=2) for name, slope in self.shared.items()}
        return result | {"embeddings": np.einsum("kie,ki->ie", self.own, weights)}

    def solve(self, right: np.ndarray) -> np.ndarray:
        """(J J')^-1 right. With g = J' r, the gradient of what depends on the outputs alone, it gets r from J g."""
        shared = np.concatenate([slope.reshape(right.size, -1) for slope in self.shared.values()], axis=1)
        product = (shared @ shared.T).reshape(2, right.size // 2, 2, -1)
        latent = np.arange(right.size // 2)
        product[:, latent, :, latent] += np.einsum("kie,lie->ikl", self.own, self.own)
        return scipy.linalg.cho_solve(scipy.linalg.cho_factor(product.reshape(right.size, -1)), right)


def follow(start: Parameters, target: np.ndarray, steps: int = 50) -> Parameters:
    """Parameters whose outputs are the target, shape (2, d): from ``start`` by Gauss and Newton's steps, each the
    shortest that would do if the network were linear, or half of it and so on. Not numbers where they do not get there.
    """
    here, miss = start, target - outputs(start)
    for _ in range(steps):
        if np.abs(miss).max() <= 1e-11 * (1 + np.abs(target).max()):
            return here
        slopes, length, before = Slopes(here), 1.0, np.sum(miss**2)
        try:
            step = slopes.push(slopes.solve(miss.ravel()))
        except np.linalg.LinAlgError:  # the units are all at their ends
            break
        while length > 1e-3:
            there = {name: value + length * step[name] for name, value in here.items()}
            miss = target - outputs(there)
            if np.sum(miss**2) < before:
                break
            length /= 2
        here = there
    return {name: np.full_like(value, np.nan) for name, value in start.items()}


FAMILY = Family(preconditioner=OutputCoordinates)
