"""Multi-path Pathfinder in NumPyro: the library's MixtureSameFamily of multivariate normals."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import ndtr, ndtri
from numpyro.distributions import constraints

from guides.autoguide_numpyro import AutoScaled
from guides.contract import Implementation, sites_named


class GaussianMixture(dist.MixtureSameFamily):
    """A mixture of multivariate normals whose draws are made of as many standard normals as one of them has."""

    def from_base(self, eps: jax.Array) -> jax.Array:
        """The first normal's rank chooses the component; where it lies within that one's share is a rank again."""
        component, share = self.component_distribution, self.mixing_distribution.probs
        rank, upper = ndtr(eps[..., :1]), jnp.cumsum(share, axis=-1)
        edge = jnp.finfo(eps.dtype)
        inner = jnp.clip((rank - upper + share) / share, edge.tiny, 1 - edge.epsneg)
        others = jnp.broadcast_to(eps[..., None, 1:], (*inner.shape, eps.shape[-1] - 1))
        each = jnp.concatenate([ndtri(inner)[..., None], others], axis=-1)
        values = component.loc + (component.scale_tril @ each[..., None])[..., 0]
        chosen = jax.nn.one_hot(jnp.sum(rank > upper[..., :-1], axis=-1), share.shape[-1], dtype=eps.dtype)
        return jnp.sum(chosen[..., None] * values, axis=-2)

    def component_log_probs(self, value: jax.Array) -> jax.Array:
        """As the library's, with each factor inverted once: vectorised, it would solve for every draw and component."""
        component, log_share = self.component_distribution, jax.nn.log_softmax(self.mixing_distribution.logits)
        factor, eye = component.scale_tril, jnp.eye(value.shape[-1], dtype=value.dtype)
        inverse = solve_triangular(factor, jnp.broadcast_to(eye, factor.shape), lower=True)
        eps = (inverse @ (value[..., None, :] - component.loc)[..., None])[..., 0]
        log_volume = jnp.log(jnp.diagonal(factor, axis1=-2, axis2=-1)).sum(-1)
        return log_share - 0.5 * (eps**2 + jnp.log(2 * jnp.pi)).sum(-1) - log_volume


class AutoMultipath(AutoScaled):
    """A mixture of Gaussians over the entire latent space, as many as its params say: 1 where it starts."""

    def _get_posterior(self) -> dist.Distribution:
        logits = numpyro.param(f"{self.prefix}_logits", jnp.zeros(1))
        locations = numpyro.param(f"{self.prefix}_locations", self._init_latent[None])
        scale = self._init_scale * jnp.eye(self.latent_dim)[None]
        scale_trils = numpyro.param(f"{self.prefix}_scale_trils", scale, constraint=constraints.lower_cholesky)
        components = dist.MultivariateNormal(locations, scale_tril=scale_trils)
        return GaussianMixture(dist.Categorical(logits=logits), components)


def guide(twin: Any) -> AutoMultipath:
    return AutoMultipath(twin.model)


IMPLEMENTATION = Implementation(guide, sites_named("auto_"))
