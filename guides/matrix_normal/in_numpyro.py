"""The matrix normal family in NumPyro: matrix normals side by side, and their autoguide."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.distributions.util import validate_sample

from guides.autoguide_numpyro import AutoGaussian
from guides.contract import Implementation, sites_named


class MatrixNormals(dist.Distribution):
    """Independent matrix normals on the pieces of a vector: each is loc + A E B', E (n, m) standard normals.

    ``rows`` holds each one's A (n, n), ``columns`` its B (m, m), lower triangular; loc (..., d), d the sum of all nm.
    """

    arg_constraints = {"loc": constraints.real_vector}
    support = constraints.real_vector
    reparametrized_params = ["loc", "rows", "columns"]
    pytree_data_fields = ("loc", "rows", "columns")

    def __init__(self, loc: jax.Array, rows: Any, columns: Any, *, validate_args: bool | None = None) -> None:
        self.loc, self.rows, self.columns = loc, tuple(rows), tuple(columns)
        super().__init__(jnp.shape(loc)[:-1], jnp.shape(loc)[-1:], validate_args=validate_args)

    def pieces(self, flat: jax.Array) -> Iterator[jax.Array]:
        """A vector (..., d) as one matrix (..., n, m) each."""
        begin = 0
        for a, b in zip(self.rows, self.columns, strict=True):
            end = begin + len(a) * len(b)
            yield flat[..., begin:end].reshape(*flat.shape[:-1], len(a), len(b))
            begin = end

    def from_base(self, eps: jax.Array) -> jax.Array:
        each = zip(self.rows, self.pieces(eps), self.columns, strict=True)
        spread = [(a @ e @ b.T).reshape(*eps.shape[:-1], -1) for a, e, b in each]
        return self.loc + jnp.concatenate(spread, axis=-1)

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        return self.from_base(jax.random.normal(key, self.shape(sample_shape)))

    @validate_sample
    def log_prob(self, value: jax.Array) -> jax.Array:
        each = zip(self.pieces(value - self.loc), self.rows, self.columns, strict=True)
        return sum(dist.MatrixNormal(jnp.zeros_like(z), a, b).log_prob(z) for z, a, b in each)

    @property
    def mean(self) -> jax.Array:
        return self.loc

    @property
    def variance(self) -> jax.Array:
        each = zip(self.rows, self.columns, strict=True)
        spread = [jnp.outer((a**2).sum(-1), (b**2).sum(-1)).reshape(-1) for a, b in each]
        return jnp.broadcast_to(jnp.concatenate(spread), self.shape())


class AutoMatrixNormal(AutoGaussian):
    """A matrix normal for each site; sites are independent of each other.

    A site of shape (..., m) is a matrix with m columns, a vector or a scalar one with a single column. The factors are
    numbered by the order of the sites in the model.
    """

    def _factor(self, name: str, number: int, size: int, scale: float = 1.0) -> jax.Array:
        start = scale * jnp.eye(size)
        return numpyro.param(f"{self.prefix}_{name}_{number}", start, constraint=constraints.lower_cholesky)

    def _get_posterior(self) -> dist.Distribution:
        loc = numpyro.param(f"{self.prefix}_loc", self._init_latent)
        latents = self._unpack_latent(self._init_latent)  # in the order of loc, which need not be the model's
        order = [name for name in self.prototype_trace if name in latents]
        rows, columns = [], []
        for name, value in latents.items():
            number, last = order.index(name), value.shape[-1] if value.ndim > 1 else 1
            rows.append(self._factor("rows", number, math.prod(value.shape) // last, self._init_scale))
            columns.append(self._factor("columns", number, last) if last > 1 else jnp.ones((1, 1)))
        return MatrixNormals(loc, rows, columns)


def guide(twin: Any) -> AutoMatrixNormal:
    return AutoMatrixNormal(twin.model)


IMPLEMENTATION = Implementation(guide, sites_named("auto_"))
