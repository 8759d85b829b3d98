"""The Markov family in NumPyro: a Gaussian with a bidiagonal precision factor, and its autoguide."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.distributions.util import validate_sample

from guides.autoguide_numpyro import AutoGaussian
from guides.contract import Implementation, sites_named


def step_back(following: jax.Array, row: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """One row of the back-substitution; outside of it, so that a scan outside of jit is compiled once."""
    diagonal, off_diagonal, eps = row
    value = (eps - off_diagonal * following) / diagonal
    return value, value


def substitute_back(diagonal: jax.Array, off_diagonal: jax.Array, eps: jax.Array) -> jax.Array:
    """B^-T eps for B lower bidiagonal and eps of shape (..., d): y_i = (eps_i - off_diagonal_i y_{i+1}) / diagonal_i.

    A scan compiles in a fraction of a second at any length, where an associative scan takes seconds, and unlike a
    tridiagonal solver it needs no minimal size.
    """
    below = jnp.append(off_diagonal, jnp.zeros(1, off_diagonal.dtype))
    start = jnp.zeros(eps.shape[:-1], jnp.result_type(diagonal, off_diagonal, eps))
    _, y = jax.lax.scan(step_back, start, (diagonal, below, jnp.moveaxis(eps, -1, 0)), reverse=True)
    return jnp.moveaxis(y, 0, -1)


class MarkovNormal(dist.Distribution):
    """N(loc, (B B')^-1), B lower bidiagonal with ``diagonal`` (d,) and ``off_diagonal`` (d - 1,); loc (..., d)."""

    arg_constraints = {
        "loc": constraints.real_vector,
        "diagonal": constraints.independent(constraints.positive, 1),
        "off_diagonal": constraints.real_vector,
    }
    support = constraints.real_vector
    reparametrized_params = ["loc", "diagonal", "off_diagonal"]

    def __init__(
        self, loc: jax.Array, diagonal: jax.Array, off_diagonal: jax.Array, *, validate_args: bool | None = None
    ) -> None:
        self.loc, self.diagonal, self.off_diagonal = loc, diagonal, off_diagonal
        super().__init__(jnp.shape(loc)[:-1], jnp.shape(loc)[-1:], validate_args=validate_args)

    def from_base(self, eps: jax.Array) -> jax.Array:
        return self.loc + substitute_back(self.diagonal, self.off_diagonal, eps)

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        return self.from_base(jax.random.normal(key, self.shape(sample_shape)))

    @validate_sample
    def log_prob(self, value: jax.Array) -> jax.Array:
        centred = value - self.loc
        eps = (self.diagonal * centred).at[..., :-1].add(self.off_diagonal * centred[..., 1:])
        constant = jnp.log(self.diagonal).sum(-1) - 0.5 * self.event_shape[0] * jnp.log(2 * jnp.pi)
        return constant - 0.5 * (eps**2).sum(-1)

    @property
    def mean(self) -> jax.Array:
        return self.loc

    @property
    def variance(self) -> jax.Array:
        slope = self.off_diagonal / self.diagonal[:-1]
        variance = substitute_back(jnp.ones_like(self.diagonal), -(slope**2), self.diagonal**-2)
        return jnp.broadcast_to(variance, self.shape())


class AutoMarkovNormal(AutoGaussian):
    """A Gaussian over the entire latent space whose precision couples neighbours only."""

    def _get_posterior(self) -> dist.Distribution:
        loc = numpyro.param(f"{self.prefix}_loc", self._init_latent)
        diagonal = numpyro.param(
            f"{self.prefix}_diagonal",
            jnp.full(self.latent_dim, 1 / self._init_scale),
            constraint=constraints.independent(constraints.positive, 1),
        )
        off_diagonal = numpyro.param(f"{self.prefix}_off_diagonal", jnp.zeros(self.latent_dim - 1))
        return MarkovNormal(loc, diagonal, off_diagonal)


def guide(twin: Any) -> AutoMarkovNormal:
    return AutoMarkovNormal(twin.model)


IMPLEMENTATION = Implementation(guide, sites_named("auto_"))
