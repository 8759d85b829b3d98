"""What stands between the models and the verdicts: references, scaled sites, and the founding text's numbers."""

from __future__ import annotations

import math
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import xarray as xr
from scipy import special, stats
from test_bnn_exact import collapsed, sine

import models
from battery import ERRORS, Complaint, beyond, first
from compare.measure.truth import Sampled
from models.bnn.exact import exact

__all__ = ["network_differs", "reference_differs", "scale_is_lost", "text_differs"]


def reference_differs(seed: int) -> Complaint:
    """A reference of independent draws: its moments, quantiles and errors, element by element."""
    rng = np.random.default_rng(seed)
    location, spread, count = np.array([0.0, 3.0]), np.array([1.0, 2.0]), 4 * 1000
    draws = location + spread * rng.standard_normal((4, 1000, 2))
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset({"z": (("chain", "draw", "z_dim_0"), draws)})})
    known = Sampled(SimpleNamespace(tree=tree), "draws")
    error = spread / math.sqrt(count)
    looks = [
        beyond("mean of a reference", known.mean()["z"], location, ERRORS * error),
        beyond("sd of a reference", known.sd()["z"], spread, ERRORS * error / math.sqrt(2)),
    ]
    for probability in (0.025, 0.5, 0.975):
        truth = stats.norm.ppf(probability, location, spread)
        room = math.sqrt(probability * (1 - probability) / count) / stats.norm.pdf(truth, location, spread)
        estimates = known.quantile(probability)["z"]
        looks.append(beyond(f"{probability:.1%} quantile of a reference", estimates, truth, ERRORS * room))
    for position in range(2):  # ArviZ estimates the effective sample size, from which its errors are, to some 20%
        estimates = known.errors("z", (position,))
        truth = error[position] * np.array([1.0, 1 / math.sqrt(2)])
        looks.append(beyond("standard errors of a reference", estimates, truth, 0.5 * truth))
    return first(looks)


def scale_is_lost(library: str) -> Complaint:
    """Two rows that stand for six count three times each, latents and observations alike."""
    side = import_module(f"compare.user_model.density_{library}")
    twin = import_module(f"user_models.scaled_{library}")
    z, x = np.array([[0.3, -1.2], [2.0, 0.1]]), np.array([0.5, -0.5])
    arguments, static = side.split_arguments({"x": x})
    densities = side.Density(twin, static)({"z": z}, arguments)
    return first(
        [
            beyond("log prior of scaled rows", densities[0], 3 * stats.norm.logpdf(z).sum(axis=1), 1e-9),
            beyond("log likelihood of scaled rows", densities[1], 3 * stats.norm.logpdf(x, z).sum(axis=1), 1e-9),
        ]
    )


def network_differs() -> Complaint:
    """The evidence of a tiny network and the moments of f, by its quadrature and by a sum over a plain square.

    The square reaches 7 sds of the prior, and its step is a small part of the density's narrowest sd: the sum converges
    faster than any power of the step.
    """
    data = sine(1, rows=6)
    posterior = exact(data)
    line = np.linspace(-7, 7, 701)
    theta = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2, 1)
    parts = [collapsed(data, piece[:, 0], piece[:, 1]) for piece in np.array_split(theta, 400)]
    log_joint, mean, variance = (np.concatenate(column) for column in zip(*parts, strict=True))
    weights = special.softmax(log_joint)
    evidence = special.logsumexp(log_joint) + 2 * math.log(line[1] - line[0])
    means = weights @ mean
    sds = np.sqrt(weights @ (variance + (mean - means) ** 2))
    return first(
        [
            beyond("log evidence by quadrature", posterior.log_evidence, evidence, posterior.tolerance + 1e-6),
            beyond("means of f by quadrature", posterior.mean()["f"], means, posterior.tolerance * sds + 1e-6),
            beyond("sds of f by quadrature", posterior.sd()["f"], sds, posterior.tolerance * sds + 1e-6),
        ]
    )


TEXT = {
    "coin": {
        "mean 0.571": 8 / 14,
        "median 0.568": 0.5749,
        "mode 0.538": 7 / 12,
        "variance 0.021": 0.01633,
        "P(5 heads of 10 | theta = 0.5) 0.246": 252 / 1024,
        "P(10 heads of 10 | theta = 0.5) 0.001": 1 / 1024,
        "95% interval [0.412, 0.718]": "[0.3158, 0.8078]; the text's interval holds 75.5%",
        "entropy is always non-negative": "not for a continuous variable",
        "Jensen: log of an integral of f >= integral of f log f": "log E[f] >= E[log f]",
        "ELBO = log p(x) for every q": "log p(x) - ELBO(q) = KL(q, posterior)",
        "KL with the natural logarithm is in bits": "it is in nats",
    },
    "chain": {
        "the chain's posterior is intractable": "mean (0.3333, 0.6667), covariance (0.6667, 0.3333) (0.3333, 0.6667)",
        "coordinate update mu1 = (mu2 + x)/2": "mu1 = 0.5 mu2; the text's pair walks to (1, 1) instead of",
        "coordinate update mu2 = (mu1 + x)/2": "mu2 = 0.5 mu1 + 0.5 x",
        "mean-field variances sigma1^2 = sigma2^2 = 1/2": 0.5,
    },
}
"""What is true of each claim: a number to the digits given, or words that the truth must hold."""

RIGHT = {
    "mean 0.571",
    "P(5 heads of 10 | theta = 0.5) 0.246",
    "P(10 heads of 10 | theta = 0.5) 0.001",
    "coordinate update mu2 = (mu1 + x)/2",
    "mean-field variances sigma1^2 = sigma2^2 = 1/2",
}
"""The claims with which the text is right."""


def text_differs(name: str) -> Complaint:
    """The founding text's claims are judged as they deserve, beside the right numbers."""
    model = models.load(name)
    judged = {claim.claim: claim for claim in model.literature.claims(model.data())}
    if set(judged) != set(TEXT[name]):
        return f"claims judged: {sorted(judged)}"
    for claim, truth in TEXT[name].items():
        judgement = judged[claim]
        if bool(judgement.agrees) != (claim in RIGHT):
            return f"{claim!r} is called {'right' if judgement.agrees else 'wrong'}"
        if isinstance(truth, str):
            if truth not in str(judgement.truth):
                return f"{claim!r}: the truth is said to be {judgement.truth!r}"
            continue
        complaint = beyond(f"truth of {claim!r}", judgement.truth, truth, 5e-5 if truth > 0.1 else 5e-6)
        if complaint:
            return complaint
    return None
