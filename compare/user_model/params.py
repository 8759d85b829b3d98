"""Params of a user's model: estimated once, then held fixed for every fit, so that the posterior is given them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from compare.user_model.arguments import Container, hold
from compare.user_model.sites import Inspection, Site
from compare.user_model.tracing import draw


def learn_params(
    user: Any, values: Mapping[str, Any], given: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What holds the model's params, as further values, and what the reader should know of them; empty without any.

    A param that the log joint depends on is set where ``given`` has it, beside the params of a guide that was trained
    with it, else where the ELBO of a full-rank guide is highest (empirical Bayes); any other stays where it starts.

    Raises:
        ValueError: they cannot be estimated; one line says what to do instead.
    """
    side, inspection = import_module(f"compare.user_model.in_{user.library}"), Inspection()
    try:
        sites: Mapping[str, Site] = draw(side, user, values, inspection, 0)
    except Exception:  # what is wrong with the model is said when it is inspected
        return {}, ()
    if not inspection.params:
        return {}, ()
    refuse_unlearnable(inspection, sites)
    library = import_module(f"compare.user_model.params_{user.library}")
    latents = {name: site.raw["value"] for name, site in sites.items() if site.kind == "latent"}
    names = library.used(user, values, inspection.params, latents)
    fixed = {name: plain_value(name, given[name], inspection.params[name]) for name in names if name in (given or {})}
    unknown = [name for name in names if name not in fixed]
    best = (library.learn(user, values, unknown) if unknown else {}) | fixed
    held = hold(inspection.params | best)
    for name, value in held.items():
        if isinstance(value, np.ndarray | np.generic) and not np.isfinite(value).all():
            raise ValueError(f"{name.replace(':', ' ')} ends at no number when it is estimated; pass its value as data")
    return held, tuple(note(name, held[f"param:{name}"], name in fixed) for name in names)


def plain_value(name: str, value: Any, start: Any) -> Any:
    """A given param as arrays of NumPy.

    Raises:
        ValueError: it has other parts or another shape than the model's.
    """
    parts = [set(nested) if isinstance(nested, Mapping) else None for nested in (value, start)]
    if parts[0] != parts[1]:
        raise ValueError(f"params: {name!r} has other parts than the model's")
    if isinstance(value, Mapping):
        return {key: plain_value(f"{name}.{key}", item, start[key]) for key, item in value.items()}
    array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    if np.shape(start) != array.shape:
        raise ValueError(f"params: {name!r} has shape {array.shape}, in the model {np.shape(start)}")
    return array.astype(float)


def refuse_unlearnable(inspection: Inspection, sites: Mapping[str, Site]) -> None:
    """Raise ValueError for params that SVI cannot estimate here, or that cannot be held."""
    name = next(iter(inspection.params))
    if any(site.kind == "discrete" for site in sites.values()):
        raise ValueError(
            f"site {name!r} is a param beside discrete latents, with which it is not estimated here: give it a prior, "
            "or pass its value as data"
        )
    if inspection.weights:
        raise ValueError(
            f"site {inspection.weights[0]!r} is a param, a weight of a torch module, which cannot be held fixed while "
            "the module is the user's: make it a PyroParam, give it a prior (PyroSample), or detach it"
        )


def note(name: str, value: Any, is_given: bool) -> str:
    """What the reader should know of a param that is held."""
    at = "" if isinstance(value, Container) or np.size(value) > 3 else f" at {np.array2string(value, precision=4)}"
    if is_given:
        return f"param {name!r} is held where it is given{at}, for every fit: the posterior is given it"
    return (
        f"param {name!r} is estimated once, by maximising the ELBO of a full-rank guide, and held{at} for every fit: "
        "the posterior is given it"
    )
