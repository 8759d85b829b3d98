"""Arrays that are held fixed in a NumPyro model: their values are known while it is compiled."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

__all__ = ["FixedArray", "fixed_array"]


class FixedArray(np.ndarray):
    """A NumPy array with what a model may ask of JAX's: ``x.at[...]``, and elements at places yet to be computed."""

    @property
    def at(self) -> Any:
        return jnp.asarray(self).at

    def __getitem__(self, index: Any) -> Any:
        parts = index if isinstance(index, tuple) else (index,)
        if any(isinstance(part, jax.core.Tracer) for part in parts):
            return jnp.asarray(self)[index]
        return super().__getitem__(index)


def fixed_array(array: np.ndarray) -> Any:
    """A copy, which the model may write into; a number as it is."""
    return array.copy().view(FixedArray)[()]
