"""A linear decoder with Gaussian pixels: probabilistic principal component analysis, all in closed form.

With f(z) = b + zV and noise sd s, an image is N(b, V'V + s^2 I), and the posterior of z has the covariance
C = (I + VV'/s^2)^-1 and the mean C V (x - b) / s^2 (Tipping & Bishop 1999, Probabilistic principal component analysis,
Journal of the Royal Statistical Society B 61).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.decoder import Decoder


def applies(decoder: Any) -> bool:
    """Whether all is linear and Gaussian."""
    return isinstance(decoder, Decoder) and decoder.grey and not decoder.hidden


def posteriors(decoder: Decoder, images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log evidences, means and covariances of images, shape (n, pixels); a pixel that is nan was not observed.

    Returns:
        In nats, shape (n,); shape (n, latent); shape (n, latent, latent).
    """
    output, noise = decoder.weights["output_weights"], float(decoder.weights["noise"])
    seen = ~np.isnan(images)
    residuals = np.where(seen, images - decoder.weights["output_biases"], 0.0) / noise
    scaled = output / noise
    if seen.all():  # then they have one precision
        precisions = (np.eye(decoder.latent) + scaled @ scaled.T)[None]
    else:
        precisions = np.eye(decoder.latent) + np.einsum("ip,np,jp->nij", scaled, seen, scaled, optimize=True)
    covariances = np.broadcast_to(np.linalg.inv(precisions), (len(images), decoder.latent, decoder.latent))
    means = (covariances @ (residuals @ scaled.T)[:, :, None])[:, :, 0]
    # What is left over the mean is squared, not the image itself: no large squares are subtracted from each other.
    unexplained = np.where(seen, residuals - means @ scaled, 0.0)
    constant = seen.sum(axis=1) * (math.log(2 * math.pi) + 2 * math.log(noise)) + np.linalg.slogdet(precisions)[1]
    log_evidences = -0.5 * (np.sum(unexplained**2, axis=1) + np.sum(means**2, axis=1) + constant)
    return log_evidences, means, covariances


@dataclass(frozen=True)
class Principal:
    """The principal components of images.

    Attributes:
        mean: Shape (pixels,).
        variances: The largest first, shape (pixels,).
        directions: One a row, shape (pixels, pixels).
    """

    mean: np.ndarray
    variances: np.ndarray
    directions: np.ndarray

    def decoder(self, latent: int) -> Decoder:
        """The most likely linear decoder with this number of latent dimensions.

        The noise's variance is the mean of the variances left over (Tipping & Bishop 1999, section 3.2), and at least
        1e-6, so that nothing becomes infinite where there are none.

        Raises:
            ValueError: there are not more pixels than latent dimensions.
        """
        if not 0 < latent < len(self.mean):
            shape = f"{latent} latent dimensions for {len(self.mean)} pixels"
            raise ValueError(f"{shape}; give 1 or more, and fewer than these")
        variance = max(float(self.variances[latent:].mean()), 1e-6)
        lengths = np.sqrt(np.maximum(self.variances[:latent] - variance, 0.0))
        weights = lengths[:, None] * self.directions[:latent]
        return Decoder({"output_weights": weights, "output_biases": self.mean, "noise": np.array(math.sqrt(variance))})


def principal(images: np.ndarray) -> Principal:
    """The principal components of images, shape (n, pixels)."""
    mean = images.mean(axis=0)
    variances, directions = np.linalg.eigh((images - mean).T @ (images - mean) / len(images))
    return Principal(mean, np.maximum(variances[::-1], 0.0), directions.T[::-1])


def most_likely(images: np.ndarray, latent: int) -> Decoder:
    """The linear decoder with Gaussian pixels under which images, shape (n, pixels), are most likely."""
    return principal(images).decoder(latent)
