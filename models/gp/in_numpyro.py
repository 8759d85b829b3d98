"""Gaussian process regression and classification in NumPyro."""

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist


def covariance(a, b, kernel, length, variance):
    """The kernel between inputs of shapes (n, columns) and (m, columns)."""
    r = jnp.sqrt(jnp.sum((a[:, None] - b) ** 2, axis=-1)) / length
    if kernel == "rbf":
        return variance * jnp.exp(-0.5 * r**2)
    r = jnp.sqrt(5.0) * r  # matern52
    return variance * (1 + r + r**2 / 3) * jnp.exp(-r)


def model(
    inputs,
    targets=None,
    kernel="rbf",
    length=0.3,
    variance=1.0,
    noise=0.1,
    jitter=1e-6,
    latents="whitened",
    hyperparameters="known",
    spread=0.5,
    likelihood="normal",
):
    """f ~ GP(0, kernel), targets ~ N(f(inputs), noise) or Bernoulli(logits=f(inputs)).

    Without targets, the prior predictive.
    """
    if hyperparameters == "unknown":
        length = numpyro.sample("length", dist.LogNormal(jnp.log(length), spread))
        if likelihood == "normal":
            noise = numpyro.sample("noise", dist.LogNormal(jnp.log(noise), spread))
    n = len(inputs)
    factor = jnp.linalg.cholesky(covariance(inputs, inputs, kernel, length, variance) + variance * jitter * jnp.eye(n))
    if latents == "whitened":
        u = numpyro.sample("u", dist.Normal(0, 1).expand([n]).to_event(1))
        f = numpyro.deterministic("f", factor @ u)
    else:
        f = numpyro.sample("f", dist.MultivariateNormal(jnp.zeros(n), scale_tril=factor))
    with numpyro.plate("data", n):
        numpyro.sample(
            "targets", dist.Normal(f, noise) if likelihood == "normal" else dist.Bernoulli(logits=f), obs=targets
        )
