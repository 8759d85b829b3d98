"""What the founding text says of autoencoders, and what is true."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from models.contract import Claim
from models.vae.decoder import Decoder
from models.vae.exact import posteriors

__all__ = ["claims"]


def claims(data: object) -> list[Claim]:
    """The text's statements, judged on the smallest autoencoder: two pixels, p(pixel = 1 | z) = logistic(2 z_1)."""
    decoder = Decoder({"output_weights": np.array([[2.0, 2.0], [0.0, 0.0]]), "output_biases": np.zeros(2)})
    image = np.ones((1, 2))
    exact = posteriors(decoder, image)
    node, weight = np.polynomial.hermite_e.hermegauss(80)
    z = np.stack([node, np.zeros_like(node)], axis=1)
    prior = float(weight @ decoder.log_likelihood(image, z)[0] / weight.sum())  # q = prior: no complexity
    gap = exact.log_evidence - prior
    both = float(weight @ expit(2 * node) ** 2 / weight.sum())
    return [
        Claim(
            "the ELBO is the reconstruction term minus KL(q, prior)",
            "the ledger's data fit minus complexity",
            True,
        ),
        Claim(
            "the encoder computes the posterior of z given the image",
            "it names a member of a family: what the family and the encoder miss is the evidence gap; with q = prior, in "
            f"an autoencoder of two pixels, {gap:.4f} nats",
            abs(gap) < 1e-9,
        ),
        Claim(
            "pixels are independent under the decoder",
            f"given z only: with the same two pixels, both lit with probability {both:.4f}, not {0.25:.4f}",
            True,
        ),
    ]
