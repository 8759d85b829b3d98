"""The autoencoder against what others found of its gaps, and what is proven of bounds and of linear decoders."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from models.contract import Published
from models.published import by_formula
from models.vae import linear
from models.vae.exact import exact, normal

if TYPE_CHECKING:
    from models.vae import Autoencoder

__all__ = ["published"]

CREMER = "Cremer, Li & Duvenaud 2018, Inference Suboptimality in Variational Autoencoders, abstract"
TIPPING = "Tipping & Bishop 1999, Probabilistic Principal Component Analysis, section 3.2"
BURDA = "Burda, Grosse & Salakhutdinov 2016, Importance Weighted Autoencoders, theorem 1"

RICHER = ("full_rank", "mixture", "flow")
"""Families that hold every member of mean field, up to the search for their best one."""

IMAGES = 2000
"""Most training images whose principal components are taken."""

BOUNDS = {1: 1024, 8: 128, 64: 32}
"""So often is the bound of so many samples drawn, for each of at most `FEW` images."""

FEW = 10
ERRORS = 4

Means = Mapping[str, Any]


def published(data: Autoencoder, summary: Mapping[str, Any]) -> list[Published]:
    """The order of the gaps, the importance weighted bound, and the most likely linear decoder."""
    return [*gaps(summary["held_out"]), *bounds(data), *components(data)]


def gaps(held_out: Mapping[str, Any] | None) -> list[Published]:
    """Cremer et al.'s findings, on the test images; the errors are Monte Carlo's."""
    guides = {
        name: ledger
        for name, ledger in (held_out or {"guides": {}})["guides"].items()
        if ledger["family_gap"] and ledger["amortisation_gap"]
    }
    larger = {name: difference(one["amortisation_gap"], one["family_gap"]) for name, one in guides.items()}
    most = [name for name, (value, error) in larger.items() if value > ERRORS * error]
    said = "; ".join(
        f"{name} {gap(one['amortisation_gap'])} and {gap(one['family_gap'])}" for name, one in guides.items()
    )
    return [
        Published(
            "suboptimal inference is often due to the encoder rather than to the limited family",
            CREMER,
            "amortisation gap above approximation (family) gap, often",
            f"for {len(most)} of {len(guides)} guides, in nats an image: {said}" if guides else "no gaps were measured",
            2 * len(most) > len(guides) if guides else None,
        ),
        against_mean_field(
            "a more expressive family has the smaller approximation gap",
            "Rezende & Mohamed 2015, Variational Inference with Normalizing Flows; the families are nested; by formula",
            "family gap below mean field's",
            guides,
            "family_gap",
            RICHER,
            every=True,
        ),
        against_mean_field(
            "parameters that make the approximation more expressive also help the encoder to generalise",
            CREMER,
            "amortisation gap of a flow below that of a factorised Gaussian",
            guides,
            "amortisation_gap",
            ("flow",),
            every=False,
        ),
    ]


def difference(one: Means, other: Means) -> tuple[float, float]:
    """One mean less the other, and its Monte Carlo error."""
    return one["value"] - other["value"], math.hypot(one["mcse"], other["mcse"])


def gap(term: Means) -> str:
    return f"{term['value']:.3f} ± {term['mcse']:.1g}"


def against_mean_field(
    claim: str,
    source: str,
    said: str,
    guides: Mapping[str, Any],
    term: str,
    families: tuple[str, ...],
    every: bool,
) -> Published:
    """A gap of richer families less mean field's, library by library: below it in all of them, or in most."""
    found = {}
    for name, ledger in guides.items():
        library, _, family = name.partition("-")
        plain = guides.get(f"{library}-mean_field")
        if family in families and plain:
            found[name] = difference(ledger[term], plain[term])
    if not found:
        return Published(claim, source, said, "the guides to be compared were not fitted", None)
    below = [name for name, (value, error) in found.items() if value < -ERRORS * error]
    text = "; ".join(f"{name} by {-value:.3f} ± {error:.1g}" for name, (value, error) in found.items())
    agrees = len(below) == len(found) if every else 2 * len(below) > len(found)
    return Published(claim, source, said, f"below it, in nats an image: {text}", agrees)


def bounds(data: Autoencoder) -> list[Published]:
    """The bound of k samples, E[log of the mean of k weights], from Gaussians with the posteriors' moments."""
    claim = "the bound of k importance samples rises with k and never exceeds the log evidence"
    said = "L_1 <= L_8 <= L_64 <= log p(x)"
    images = None if data.network is None else data.dataset.test[data.shown][:FEW]
    found = None if images is None else exact(data, images)
    if found is None:
        return [Published(claim, BURDA, said, "the log evidence is not known exactly here", None)]
    rng, lower = np.random.default_rng(0), np.linalg.cholesky(found.covariances)
    half = np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)[:, None]
    values, errors = [], []
    for samples, times in BOUNDS.items():
        eps = rng.standard_normal((len(images), times * samples, found.means.shape[1]))
        z = found.means[:, None] + eps @ lower.swapaxes(1, 2)
        weights = (found.log_joint(z) - (normal(eps) - half)).reshape(len(images), times, samples)
        bound = special.logsumexp(weights, axis=2) - math.log(samples)
        values.append(float(bound.mean()))
        errors.append(float(np.linalg.norm(bound.std(axis=1, ddof=1)) / math.sqrt(times) / len(images)))
    evidence = float(found.log_evidences.mean())
    steps = zip([*values[1:], evidence], values, np.hypot([*errors[1:], 0.0], errors), strict=True)
    rises = all(above - below >= -ERRORS * error - 1e-9 * abs(evidence) for above, below, error in steps)
    text = ", ".join(f"{value:.4f} ± {error:.1g}" for value, error in zip(values, errors, strict=True))
    return [Published(claim, BURDA, said, f"{text}; {evidence:.4f} nats an image, over {len(images)}", bool(rises))]


def components(data: Autoencoder) -> list[Published]:
    """The most likely linear decoder of the training images, against its formulas in their singular values."""
    images = data.dataset.train[:IMAGES]
    count, size = images.shape
    latent = min(data.latent, size - 1)
    variances = np.linalg.svd(images - images.mean(axis=0), compute_uv=False) ** 2 / count
    variances = np.pad(variances, (0, size - len(variances)))
    noise = float(variances[latent:].mean())
    if not noise > 1e-6:  # the decoder's own floor
        return []
    decoder = linear.most_likely(images, latent)
    ours = float(linear.posteriors(decoder, images)[0].mean())
    value = -0.5 * float(
        np.log(variances[:latent]).sum() + (size - latent) * math.log(noise) + size * (1 + math.log(2 * math.pi))
    )
    plane = f"{latent} latent dimensions, {count:,} training images"
    return [
        by_formula(
            f"the most likely noise of a linear decoder is the mean of the variances left over ({plane})",
            TIPPING,
            f"mean of the {size - latent} smallest eigenvalues",
            noise,
            float(decoder.weights["noise"]) ** 2,
            1e-9 * noise,
        ),
        by_formula(
            "with it the log likelihood, in nats an image, depends on the eigenvalues alone",
            TIPPING,
            "-(sum log lambda_j + (d - q) log noise + d log 2 pi + d)/2",
            value,
            ours,
            1e-9 * (1 + abs(value)) * size,
        ),
    ]
