"""What is known of the autoencoder without training: members that are posteriors, and evidences found in two ways."""

from __future__ import annotations

import math
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np
from scipy import special, stats

from battery import ERRORS, Complaint, beyond, exceeded, first
from compare.fit.amortized.encoder import local_posterior
from models.decoder import Decoder
from models.image_posteriors import Posteriors, QuadraturePosteriors, posteriors
from models.sampling import ais, importance
from models.vae import MODEL, Autoencoder

__all__ = [
    "annealing_differs",
    "digits",
    "importance_differs",
    "member_is_no_posterior",
    "quadrature_differs",
    "report_differs",
]


@lru_cache(maxsize=8)
def digits(**fields: Any) -> Autoencoder:
    """Digits with a network whose every weight is random."""
    data = Autoencoder(**fields)
    rng = np.random.default_rng(5)
    weights = MODEL.amortization.training(data).start_decoder(rng)
    moved = {name: value + 0.3 * rng.normal(size=np.shape(value)) for name, value in weights.items()}
    return MODEL.amortization.with_decoder(data, moved)


def linear(latent: int = 2, pixels: int = 12) -> Decoder:
    """A linear decoder with Gaussian pixels, whose posteriors are Gaussians with correlations."""
    rng = np.random.default_rng(1)
    weights = {"output_weights": rng.normal(size=(latent, pixels)), "output_biases": rng.normal(size=pixels)}
    return Decoder(weights | {"noise": np.array(0.7)})


def bent(pixels: int = 12, hidden: int = 6) -> Decoder:
    """A decoder of binary pixels with softplus units, two latent dimensions."""
    rng = np.random.default_rng(2)
    return Decoder(
        {
            "hidden_weights": rng.normal(size=(2, hidden)),
            "hidden_biases": rng.normal(size=hidden),
            "output_weights": rng.normal(size=(hidden, pixels)),
            "output_biases": rng.normal(size=pixels),
        }
    )


def images_of(decoder: Decoder, count: int, rng: np.random.Generator) -> np.ndarray:
    """Images from the decoder, shape (count, pixels)."""
    outputs = decoder(rng.normal(size=(count, decoder.latent)))
    if decoder.grey:
        return outputs + decoder.weights["noise"] * rng.normal(size=outputs.shape)
    return (rng.random(outputs.shape) < special.expit(outputs)).astype(float)


def posterior_rows(known: Posteriors, family: str) -> np.ndarray:
    """The member of a family that is the Gaussian posterior; of mean field the best one (Bishop 2006, 10.1.2)."""
    if family == "mean_field":
        precisions = np.linalg.inv(known.covariances)
        return np.concatenate([known.means, -0.5 * np.log(np.diagonal(precisions, axis1=1, axis2=2))], axis=1)
    lower = np.linalg.cholesky(known.covariances)
    latent = known.means.shape[1]
    logs = np.log(np.diagonal(lower, axis1=1, axis2=2))
    rows = np.concatenate([known.means, logs, lower[(slice(None), *np.tril_indices(latent, -1))]], axis=1)
    if family == "full_rank":
        return rows
    if family == "flow":
        return local_posterior("flow").contains["full_rank"](rows, latent)
    return local_posterior(family).contains["mean_field"](posterior_rows(known, "mean_field"), latent)


def member_is_no_posterior(library: str, family: str, seed: int) -> Complaint:
    """On a linear decoder of grey pixels full rank and flow hold the posterior: each draw's weight is the evidence.

    Mean field's best member, which a mixture holds too, is short of it by (sum_i log P_ii - log det P) / 2.
    """
    decoder, rng = linear(3), np.random.default_rng(seed)
    images = images_of(decoder, 4, rng)
    known = posteriors(decoder, images)
    weights = dict(decoder.weights)
    weights["log_noise"] = np.log(weights.pop("noise"))
    eps = rng.standard_normal((512, len(images), local_posterior(family).strata, decoder.latent))
    ours = import_module(f"compare.fit.amortized.amortised_{library}").networks("vae", family, decoder.latent)
    z, prior, likelihood, guide, shares = ours.weigh(posterior_rows(known, family), images, weights, eps)
    held = local_posterior(family).log_density(posterior_rows(known, family), z[:, :, 0].swapaxes(0, 1)).T
    each = (shares * (prior + likelihood - guide)).sum(axis=-1)
    looks = [
        beyond("log prior", prior, -0.5 * (z**2).sum(-1) - 1.5 * math.log(2 * math.pi), 1e-9),
        beyond("log density of a member in NumPy", held, guide[:, :, 0], 1e-8),
    ]
    if family in ("full_rank", "flow"):
        return first([*looks, beyond("log weight of a draw", each, known.log_evidences, 1e-7)])
    precisions = np.linalg.inv(known.covariances)
    short = 0.5 * np.log(np.diagonal(precisions, axis1=1, axis2=2)).sum(1) - 0.5 * np.linalg.slogdet(precisions)[1]
    error = each.std(axis=0, ddof=1) / math.sqrt(len(each))
    return first([*looks, beyond("ELBO", each.mean(axis=0), known.log_evidences - short, ERRORS * error)])


def quadrature_differs(seed: int) -> Complaint:
    """Where all is linear and Gaussian, the sum over the plane and the closed form agree, and with SciPy's Gaussian."""
    decoder = linear(2)
    images = images_of(decoder, 3, np.random.default_rng(seed))
    closed, plane = posteriors(decoder, images), QuadraturePosteriors(decoder, images)
    weights = decoder.weights["output_weights"]
    covariance = weights.T @ weights + float(decoder.weights["noise"]) ** 2 * np.eye(decoder.pixels)
    known = stats.multivariate_normal(decoder.weights["output_biases"], covariance).logpdf(images)
    looks = [
        beyond("log evidence in closed form", closed.log_evidences, known, 1e-8),
        beyond("log evidence by quadrature", plane.log_evidences, known, 1e-6),
        beyond("means by quadrature", plane.means, closed.means, 1e-6),
        beyond("covariances by quadrature", plane.covariances, closed.covariances, 1e-6),
    ]
    for probability in (0.025, 0.6):
        estimate, truth = (posterior.quantile(probability)["z"] for posterior in (plane, closed))
        looks.append(beyond(f"{probability:.1%} quantiles by quadrature", estimate, truth, 1e-6))
    grid = np.linspace(-1, 1, 9) + closed.means[0, 0]
    estimate, truth = (posterior.density("z", (0, 0), grid) for posterior in (plane, closed))
    return first([*looks, beyond("density by quadrature", estimate, truth, 1e-5)])


def importance_differs(seed: int) -> Complaint:
    """Importance sampling, and the estimate's own error, against quadrature."""
    decoder, rng, count = bent(), np.random.default_rng(seed), 4000
    images = images_of(decoder, 4, rng)
    known = posteriors(decoder, images)
    z, log_q = np.empty((4, count, 2)), np.empty((4, count))
    for image in range(4):
        proposal = stats.multivariate_t(known.means[image], 1.5 * known.covariances[image], df=5)
        z[image] = proposal.rvs(count, random_state=rng)
        log_q[image] = proposal.logpdf(z[image])
    estimate = importance(decoder, images, z, log_q)
    looks = [
        beyond("importance-sampled log evidence", estimate.log_evidences, known.log_evidences, ERRORS * estimate.mcse),
        None if estimate.mcse.max() < 0.1 else f"its error is {estimate.mcse.max():.2g} nats",
        beyond("its bias", estimate.bias, -0.5 * estimate.mcse**2, 1e-12),
    ]
    return first(looks)


def annealing_differs(seed: int) -> Complaint:
    """Annealed importance sampling against quadrature; its error is estimated from as many numbers as chains."""
    decoder, rng, count = bent(), np.random.default_rng(seed), 48
    images = images_of(decoder, 4, rng)
    known = posteriors(decoder, images)
    values, mcse = ais(decoder, images, rng, chains=count, temperatures=80)
    return first(
        [
            beyond("annealed log evidence", values, known.log_evidences, exceeded(count) * mcse),
            None if mcse.max() < 0.3 else f"its error is {mcse.max():.2g} nats",
        ]
    )


def report_differs() -> Complaint:
    """What is said of held-out images: their evidence in nats an image, and in bits a pixel."""
    from compare.measure.held_out import per_observation
    from models.contract import Evidences

    values = np.array([-30.0, -50.0])
    evidence = per_observation(Evidences(values, np.zeros(2), "by hand"), 64)
    return first(
        [
            beyond("nats an image", evidence.value, -40.0, 1e-12),
            beyond("bits a pixel", evidence.bits, 40 / (64 * math.log(2)), 1e-12),
        ]
    )
