"""What was written about autoencoders: by the founding text (the tutorial that the zoo began from), by others of their
gaps, and what is proven of bounds and of linear decoders."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import special, stats

from models import linear_decoder
from models.contract import Claim, Published
from models.decoder import Decoder
from models.image_posteriors import normal, posteriors
from models.literature import ERRORS, by_formula
from models.vae.data import Autoencoder
from models.vae.exact import exact

CREMER = "Cremer, Li & Duvenaud 2018, Inference Suboptimality in Variational Autoencoders, abstract"
TIPPING = "Tipping & Bishop 1999, Probabilistic Principal Component Analysis, section 3.2"
BURDA = "Burda, Grosse & Salakhutdinov 2016, Importance Weighted Autoencoders, theorem 1"

RICHER = ("full_rank", "mixture", "flow")
"""Families that hold every member of mean field, up to the search for their best one."""

IMAGES = 2000  # most training images whose principal components are taken

BOUNDS = {1: 1024, 8: 128, 64: 32}
"""How often the bound of each number of samples is drawn, for each of at most `FEW` images."""

FEW = 10

Mean = Mapping[str, Any]


def claims(data: object) -> list[Claim]:
    """The founding text's claims, judged on the smallest autoencoder: two pixels, p(pixel = 1 | z) = logistic(2 z)."""
    decoder = Decoder({"output_weights": np.array([[2.0, 2.0]]), "output_biases": np.zeros(2)})
    image = np.ones((1, 2))
    node, weight = np.polynomial.hermite_e.hermegauss(80)
    weight = weight / weight.sum()

    def elbo(mean: float, sd: float) -> tuple[float, float]:
        """E_q[log p(image, z) - log q(z)] for q = N(mean, sd^2), and data fit - KL(q, prior), in nats."""
        z = mean + sd * node
        data_fit = decoder.log_likelihood(image, z[:, None])[0]
        ratio = data_fit + stats.norm.logpdf(z) - stats.norm.logpdf(z, mean, sd)
        complexity = 0.5 * (mean**2 + sd**2 - 1) - np.log(sd)
        return float(weight @ ratio), float(weight @ data_fit - complexity)

    direct, parts = elbo(0.6, 0.7)
    gap = posteriors(decoder, image).log_evidence - elbo(0.0, 1.0)[0]
    return [
        Claim(
            "the ELBO is the reconstruction term minus KL(q, prior)",
            f"{direct:.6f} = {parts:.6f} nats, for a Gaussian q and two pixels",
            bool(np.isclose(direct, parts, rtol=1e-9)),
        ),
        Claim(
            "the encoder infers the posterior of z given the image",
            "it names a member of a family: log p(x) - ELBO(q) = KL(q, posterior) is left, with two pixels and "
            f"q = prior {gap:.4f} nats",
            abs(gap) < 1e-9,
        ),
    ]


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
    larger = {name: difference(ledger["amortisation_gap"], ledger["family_gap"]) for name, ledger in guides.items()}
    most = [name for name, (value, error) in larger.items() if value > ERRORS * error]
    listed = "; ".join(
        f"{name} {describe(ledger['amortisation_gap'])} and {describe(ledger['family_gap'])}"
        for name, ledger in guides.items()
    )
    ours = f"for {len(most)} of {len(guides)} guides, in nats an image: {listed}" if guides else "no gaps were measured"
    return [
        Published(
            "suboptimal inference is often due to the encoder rather than to the limited family",
            CREMER,
            "amortisation gap above approximation (family) gap, often",
            ours,
            2 * len(most) > len(guides) if guides else None,
        ),
        Published(
            "a more expressive family has the smaller approximation gap",
            "Rezende & Mohamed 2015, Variational Inference with Normalizing Flows; the families are nested; by formula",
            "family gap below mean field's",
            *against_mean_field(guides, "family_gap", RICHER, every=True),
        ),
        Published(
            "parameters that make the approximation more expressive also help the encoder to generalise",
            CREMER,
            "amortisation gap of a flow below that of a factorised Gaussian",
            *against_mean_field(guides, "amortisation_gap", ("flow",), every=False),
        ),
    ]


def difference(term: Mean, other: Mean) -> tuple[float, float]:
    """One mean less the other, and its Monte Carlo error."""
    return term["value"] - other["value"], math.hypot(term["mcse"], other["mcse"])


def describe(term: Mean) -> str:
    return f"{term['value']:.3f} ± {term['mcse']:.1g}"


def against_mean_field(
    guides: Mapping[str, Any], term: str, families: tuple[str, ...], every: bool
) -> tuple[str, bool | None]:
    """A gap of richer families less mean field's, library by library, and whether all, or most, are below it."""
    differences = {}
    for name, ledger in guides.items():
        library, _, family = name.partition("-")
        mean_field = guides.get(f"{library}-mean_field")
        if family in families and mean_field:
            differences[name] = difference(ledger[term], mean_field[term])
    if not differences:
        return "the guides to be compared were not fitted", None
    below = [name for name, (value, error) in differences.items() if value < -ERRORS * error]
    listed = "; ".join(f"{name} by {-value:.3f} ± {error:.1g}" for name, (value, error) in differences.items())
    agrees = len(below) == len(differences) if every else 2 * len(below) > len(differences)
    return f"below it, in nats an image: {listed}", agrees


def bounds(data: Autoencoder) -> list[Published]:
    """The bound of k samples, E[log of the mean of k weights], from Gaussians with the posteriors' moments."""
    claim = "the bound of k importance samples rises with k and never exceeds the log evidence"
    expected = "L_1 <= L_8 <= L_64 <= log p(x)"
    images = None if data.network is None else data.dataset.test[data.shown][:FEW]
    posterior = None if images is None else exact(data, images)
    if posterior is None:
        return [Published(claim, BURDA, expected, "the log evidence is not known exactly here", None)]
    rng, lower = np.random.default_rng(0), np.linalg.cholesky(posterior.covariances)
    half = np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)[:, None]
    values, errors = [], []
    for samples, times in BOUNDS.items():
        eps = rng.standard_normal((len(images), times * samples, posterior.means.shape[1]))
        z = posterior.means[:, None] + eps @ lower.swapaxes(1, 2)
        weights = (posterior.log_joint(z) - (normal(eps) - half)).reshape(len(images), times, samples)
        bound = special.logsumexp(weights, axis=2) - math.log(samples)
        values.append(float(bound.mean()))
        errors.append(float(np.linalg.norm(bound.std(axis=1, ddof=1)) / math.sqrt(times) / len(images)))
    evidence = float(posterior.log_evidences.mean())
    steps = zip([*values[1:], evidence], values, np.hypot([*errors[1:], 0.0], errors), strict=True)
    rises = all(above - below >= -ERRORS * error - 1e-9 * abs(evidence) for above, below, error in steps)
    text = ", ".join(f"{value:.4f} ± {error:.1g}" for value, error in zip(values, errors, strict=True))
    return [Published(claim, BURDA, expected, f"{text}; {evidence:.4f} nats an image, over {len(images)}", bool(rises))]


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
    decoder = linear_decoder.most_likely(images, latent)
    ours = float(linear_decoder.posteriors(decoder, images)[0].mean())
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
