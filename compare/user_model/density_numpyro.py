"""A model's log densities in its own constrained space, in NumPyro."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.infer.util import log_density

from compare import registry
from compare.user_model import twins
from compare.user_model.arguments import Static, split
from compare.user_model.jit_numpyro import compiled, is_quick, unvalidated

CHUNK = 1024
"""Points a density is evaluated at in one go: one shape, one compilation. Fewer where they hold many numbers."""

LARGEST = 2_000_000
"""Numbers that are evaluated in one go."""

split_arguments = partial(split, convert=jnp.asarray)
"""A twin's arguments: the data as traced arrays, and the static ones."""


@registry.cached_by_model(64)
def density(model: str, static: Static) -> Density:
    """The compiled densities of a model, for these static arguments."""
    return Density(twins.twin(model, "numpyro"), static)


class Density:
    """The model's log densities at given latents, in its own constrained space."""

    def __init__(self, twin: Any, static: Static = ()) -> None:
        self.model = partial(twin.model, **dict(static))
        self.compiled = compiled(jax.vmap(self.terms, in_axes=(0, None)))

    @unvalidated
    def terms(self, latents: dict[str, jax.Array], data: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
        """log p(z) and log p(x | z) of one point."""
        joint, trace = log_density(self.model, (), data, latents)
        prior = jnp.zeros(())
        for site in trace.values():
            if site["type"] != "sample" or not (site["name"] in latents or site["infer"].get("of_prior")):
                continue
            scale = 1.0 if site["scale"] is None else site["scale"]
            prior = prior + jnp.sum(scale * site["fn"].log_prob(site["value"]))
        return prior, joint - prior

    def __call__(self, latents: dict[str, np.ndarray], data: dict[str, jax.Array]) -> tuple[np.ndarray, np.ndarray]:
        """Latents of shapes (count, *site) in, log p(z) and log p(x | z) of shape (count,) out."""
        count = len(next(iter(latents.values())))
        size = sum(np.size(value) for value in latents.values()) // count
        run, chunk = self.compiled[is_quick(size, data)], max(16, min(CHUNK, 1 << (LARGEST // size).bit_length()))
        pieces = []
        for begin in range(0, count, chunk):
            rows = np.minimum(np.arange(begin, begin + chunk), count - 1)
            pieces.append(run({name: value[rows] for name, value in latents.items()}, data))
        prior, likelihood = (np.concatenate([np.asarray(piece[term]) for piece in pieces])[:count] for term in (0, 1))
        return prior, likelihood
