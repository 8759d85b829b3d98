"""The variational Gaussian process in NumPyro: an auxiliary input, and a factor for its auxiliary density."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax.scipy.linalg import solve_triangular
from numpyro.distributions import constraints
from numpyro.distributions.transforms import LowerCholeskyAffine

from guides.autoguide_numpyro import AutoScaled
from guides.contract import Implementation, sites_named
from guides.variational_gp import JITTER, POSITIVE, start


class AutoVariationalGP(AutoScaled):
    """Draws through a Gaussian process of a latent input: z = loc + scale_tril u, u | xi ~ N(f(xi), noise^2).

    It starts as independent normals of sd ``init_scale``, about.
    """

    def _get_posterior(self) -> dist.Distribution:
        raise NotImplementedError("its density is an integral over the latent input")

    def _sample_latent(self, *args: Any, **kwargs: Any) -> jax.Array:
        param = {name: self._param(name, value) for name, value in start(self.latent_dim).items()}
        loc = numpyro.param(f"{self.prefix}_loc", self._init_latent)
        scale = self._init_scale * jnp.eye(self.latent_dim)
        scale_tril = numpyro.param(f"{self.prefix}_scale_tril", scale, constraint=constraints.lower_cholesky)
        affine, name = LowerCholeskyAffine(loc, scale_tril), f"_{self.prefix}"
        standard = dist.Normal(0, 1).expand(kwargs.pop("sample_shape", ()))
        xi = numpyro.sample(f"{name}_input", standard, infer={"is_auxiliary": True})
        posterior = dist.TransformedDistribution(mapping(param, xi), affine)
        latent = numpyro.sample(f"{name}_latent", posterior, infer={"is_auxiliary": True})
        log_reverse = reverse(param, affine.inv(latent)).log_prob(xi)
        numpyro.factor(f"{name}_reverse", -log_reverse)
        return latent

    def _param(self, name: str, value: Any) -> jax.Array:
        constraint = constraints.positive if name in POSITIVE else constraints.real
        return numpyro.param(f"{self.prefix}_{name}", jnp.asarray(value), constraint=constraint)


def mapping(param: dict[str, jax.Array], xi: jax.Array) -> dist.Distribution:
    """u given latent inputs, shape (...), with the Gaussian process integrated out."""

    def kernel(x: jax.Array) -> jax.Array:
        return jnp.exp(-0.5 * ((x[..., None] - param["inputs"]) / param["length"]) ** 2)

    eye = jnp.eye(len(param["inputs"]))
    factor = jnp.linalg.cholesky(kernel(param["inputs"]) + JITTER * eye)
    a = kernel(xi) @ solve_triangular(factor, eye, lower=True).T
    noise = param["noise"] * jnp.exp(a @ param["stretch"])
    variance = (1 - jnp.sum(a**2, -1, keepdims=True)) * param["amplitude"] ** 2 + noise**2
    return dist.Normal(xi[..., None] * param["slope"] + a @ param["targets"], jnp.sqrt(variance)).to_event(1)


def reverse(param: dict[str, jax.Array], u: jax.Array) -> dist.Distribution:
    """r(xi | z), the auxiliary density."""
    units = jnp.tanh(u @ param["reverse_inward"] + param["reverse_biases"])
    outputs = units @ param["reverse_outward"] + param["reverse_level"]
    return dist.Normal(u @ param["reverse_slope"] + outputs[..., 0], jnp.exp(outputs[..., 1]))


def guide(twin: Any) -> AutoVariationalGP:
    return AutoVariationalGP(twin.model)


IMPLEMENTATION = Implementation(guide, sites_named("auto_"), is_forward=True)
