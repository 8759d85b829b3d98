"""A fitted guide in NumPyro's own form."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import jax
from numpyro import handlers
from numpyro.infer.autoguide import AutoContinuous

import guides
from compare.fit.svi.objective_numpyro import in_model_order
from compare.user_model.density_numpyro import split_arguments
from compare.user_model.guides import caller, find
from guides.contract import Settings


def guide_of(user: Any, name: str, values: Mapping[str, Any], params: Mapping[str, Any], settings: Settings) -> Any:
    """The guide, ready for ``Predictive(guide, params=params, num_samples=...)``, or for SVI with ``init_params``.

    A user's own guide is given back as it came. An autoguide that is made here has been run once.
    """
    brought = find(user.name, name)
    if brought is None:
        guide: Any = guides.implementation(name, "numpyro", settings).guide(SimpleNamespace(model=user.function))
    elif isinstance(brought.guide, type):
        guide = brought.guide(user.function)
    else:
        return brought.guide
    data, static = split_arguments(values)
    handlers.seed(caller(guide, name, user, values), jax.random.key(0))(**data, **dict(static))
    if brought is None and isinstance(guide, AutoContinuous):
        in_model_order(guide)  # the params were found for this order
    return guide
