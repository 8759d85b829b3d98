"""Draws from the common distributions in NumPy, by their names and parameters in NumPyro.

NumPyro compiles a sampler in seconds where NumPy draws in milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from models import dirichlet
from models.marginals import draw_beta


class Sampler(NamedTuple):
    """How to draw from a distribution.

    Attributes:
        parameters: Names of its parameters, each with the number of axes that belong to an event.
        draw: ``draw(rng, shape, *parameters)``: draws of this batch shape, to which the parameters are broadcast.
    """

    parameters: Mapping[str, int]
    draw: Callable[..., np.ndarray]


def elementwise(function: Callable[..., np.ndarray], *names: str) -> Sampler:
    return Sampler(dict.fromkeys(names, 0), function)


def draw_categorical(rng: np.random.Generator, shape: tuple[int, ...], probs: np.ndarray) -> np.ndarray:
    ladder = np.cumsum(probs / probs.sum(-1, keepdims=True), axis=-1)[..., :-1]
    return (rng.random(shape)[..., None] > ladder).sum(axis=-1)


def draw_binomial(rng: np.random.Generator, shape: tuple[int, ...], n: np.ndarray, p: np.ndarray) -> np.ndarray:
    return rng.binomial(np.rint(n).astype(np.int64), np.clip(p, 0.0, 1.0), shape)


def draw_normals(rng: np.random.Generator, shape: tuple[int, ...], loc: np.ndarray, lower: np.ndarray) -> np.ndarray:
    eps = rng.standard_normal((*shape, loc.shape[-1], 1))
    return loc + (lower @ eps)[..., 0]


SAMPLERS: dict[str, Sampler] = {
    "Normal": elementwise(lambda rng, shape, loc, scale: loc + scale * rng.standard_normal(shape), "loc", "scale"),
    "LogNormal": elementwise(
        lambda rng, shape, loc, scale: np.exp(loc + scale * rng.standard_normal(shape)), "loc", "scale"
    ),
    "HalfNormal": elementwise(lambda rng, shape, scale: scale * np.abs(rng.standard_normal(shape)), "scale"),
    "Cauchy": elementwise(lambda rng, shape, loc, scale: loc + scale * rng.standard_cauchy(shape), "loc", "scale"),
    "HalfCauchy": elementwise(lambda rng, shape, scale: scale * np.abs(rng.standard_cauchy(shape)), "scale"),
    "Laplace": elementwise(lambda rng, shape, loc, scale: rng.laplace(loc, scale, shape), "loc", "scale"),
    "Logistic": elementwise(lambda rng, shape, loc, scale: rng.logistic(loc, scale, shape), "loc", "scale"),
    "StudentT": elementwise(
        lambda rng, shape, df, loc, scale: loc + scale * rng.standard_t(df, shape), "df", "loc", "scale"
    ),
    "Uniform": elementwise(lambda rng, shape, low, high: low + (high - low) * rng.random(shape), "low", "high"),
    "Exponential": elementwise(lambda rng, shape, rate: rng.standard_exponential(shape) / rate, "rate"),
    "Gamma": elementwise(lambda rng, shape, a, rate: rng.standard_gamma(a, shape) / rate, "concentration", "rate"),
    "InverseGamma": elementwise(
        lambda rng, shape, a, rate: rate / rng.standard_gamma(a, shape), "concentration", "rate"
    ),
    "Beta": elementwise(lambda rng, shape, a, b: draw_beta(rng, a, b, shape), "concentration1", "concentration0"),
    "Dirichlet": Sampler({"concentration": 1}, lambda rng, shape, a: dirichlet.draw(a, rng)),
    "MultivariateNormal": Sampler({"loc": 1, "scale_tril": 2}, draw_normals),
    "BernoulliProbs": elementwise(lambda rng, shape, probs: (rng.random(shape) < probs).astype(int), "probs"),
    "BernoulliLogits": elementwise(
        lambda rng, shape, logits: (rng.random(shape) < special.expit(logits)).astype(int), "logits"
    ),
    "BinomialProbs": elementwise(draw_binomial, "total_count", "probs"),
    "BinomialLogits": elementwise(
        lambda rng, shape, n, logits: draw_binomial(rng, shape, n, special.expit(logits)), "total_count", "logits"
    ),
    "BetaBinomial": elementwise(
        lambda rng, shape, n, a, b: draw_binomial(rng, shape, n, rng.beta(a, b, shape)),
        *("total_count", "concentration1", "concentration0"),
    ),
    "Poisson": elementwise(lambda rng, shape, rate: rng.poisson(rate, shape), "rate"),
    "CategoricalProbs": Sampler({"probs": 1}, draw_categorical),
    "CategoricalLogits": Sampler(
        {"logits": 1}, lambda rng, shape, logits: draw_categorical(rng, shape, special.softmax(logits, axis=-1))
    ),
} | {
    name: elementwise(
        lambda rng, shape, a, rate: rng.poisson(rng.standard_gamma(a, shape) / rate), "concentration", "rate"
    )
    for name in ("GammaPoisson", "NegativeBinomial2", "NegativeBinomialProbs", "NegativeBinomialLogits")
}
"""The distributions by NumPyro's names of them."""


def draw(kind: str, parameters: Mapping[str, Any], batch: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Draws from a distribution of `SAMPLERS`, shape (count, *batch, *event).

    Args:
        kind: Its name.
        parameters: Its parameters, each of shape (count, *its own batch, *event), broadcast to ``batch``.
        batch: The batch shape.
        rng: The generator.

    Raises:
        ValueError: a parameter is out of its range, or a count too large for NumPy.
    """
    sampler, values, count = SAMPLERS[kind], [], len(next(iter(parameters.values())))
    for name, axes in sampler.parameters.items():
        value = np.asarray(parameters[name])
        event = value.shape[value.ndim - axes :]
        inner = value.shape[1 : value.ndim - axes]
        value = value.reshape(count, *(1,) * (len(batch) - len(inner)), *inner, *event)
        values.append(np.broadcast_to(value, (count, *batch, *event)))
    return np.asarray(sampler.draw(rng, (count, *batch), *values))
