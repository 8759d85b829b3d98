"""What the founding text says of autoencoders, and what is true."""

from __future__ import annotations

import numpy as np
from scipy import stats

from models.contract import Claim
from models.vae.decoder import Decoder
from models.vae.exact import posteriors

__all__ = ["claims"]


def claims(data: object) -> list[Claim]:
    """The text's statements, judged on the smallest autoencoder: two pixels, p(pixel = 1 | z) = logistic(2 z)."""
    decoder = Decoder({"output_weights": np.array([[2.0, 2.0]]), "output_biases": np.zeros(2)})
    image = np.ones((1, 2))
    node, weight = np.polynomial.hermite_e.hermegauss(80)
    weight = weight / weight.sum()

    def elbo(mean: float, sd: float) -> tuple[float, float]:
        """Of q = N(mean, sd^2): E_q[log p(image, z) - log q(z)], and data fit - KL(q, prior), in nats."""
        z = mean + sd * node
        data_fit = decoder.log_likelihood(image, z[:, None])[0]
        ratio = data_fit + stats.norm.logpdf(z) - stats.norm.logpdf(z, mean, sd)
        complexity = 0.5 * (mean**2 + sd**2 - 1) - np.log(sd)
        return float(weight @ ratio), float(weight @ data_fit - complexity)

    whole, parts = elbo(0.6, 0.7)
    gap = posteriors(decoder, image).log_evidence - elbo(0.0, 1.0)[0]
    return [
        Claim(
            "the ELBO is the reconstruction term minus KL(q, prior)",
            f"{whole:.6f} = {parts:.6f} nats, for a Gaussian q and two pixels",
            bool(np.isclose(whole, parts, rtol=1e-9)),
        ),
        Claim(
            "the encoder infers the posterior of z given the image",
            "it names a member of a family: log p(x) - ELBO(q) = KL(q, posterior) is left, with two pixels and "
            f"q = prior {gap:.4f} nats",
            abs(gap) < 1e-9,
        ),
    ]
