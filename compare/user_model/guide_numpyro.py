"""A user's guide in NumPyro: run on the model's data, and its sites and params."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from numpyro import handlers
from numpyro.distributions import Unit, biject_to, constraints
from numpyro.infer.autoguide import AutoGuide

from compare.comparison import Layout
from compare.messages import one_line
from compare.user_model.density_numpyro import split_arguments
from compare.user_model.given_params import constraint_name, refuse_params, unconstrained
from compare.user_model.guides import (
    GuideSite,
    UserGuide,
    caller,
    instance,
    refuse_mismatch,
    sites_in,
)
from compare.user_model.in_numpyro import Unsplit, twin
from compare.user_model.sites import is_by_hand


class Begun(NamedTuple):
    """A guide that has been run once.

    Attributes:
        program: The guide as a function of the data.
        trace: What it did; params in float64.
        params: Its params by name, constrained: the given ones, else those that it starts from.
        transforms: How each param is made from an unconstrained one.
    """

    program: Callable[..., Any]
    trace: dict[str, Any]
    params: dict[str, Any]
    transforms: dict[str, Any]


def begin(user: Any, guide: UserGuide, values: Mapping[str, Any], seed: int = 0) -> Begun:
    """Run the guide once.

    Raises:
        ValueError: it cannot be made, cannot be run, or has other params than those given.
    """
    data, static = split_arguments(values)
    function, is_flat = instantiate(guide, partial(twin(user).model, **dict(static)), user.function)
    plain = function if is_flat else caller(function, guide.name, user, values)

    def is_no_part(site: Any) -> bool:
        """Whether a site of the guide is no part of q: data; factors are a part."""
        return bool(site["type"] == "sample" and site["is_observed"] and not isinstance(site["fn"], Unit))

    def program(**data: Any) -> Any:
        with Unsplit({}, unmask=False), handlers.block(hide_fn=is_no_part):
            return plain(**data, **dict(static))

    try:
        with numpyro.validation_enabled(False):
            trace = handlers.trace(handlers.seed(program, jax.random.key(seed))).get_trace(**data)
    except Exception as error:
        raise ValueError(f"guide {guide.name!r} cannot be run on the data: {one_line(error)}") from error
    sites = {name: site for name, site in trace.items() if site["type"] == "param"}
    params = {name: in_float64(site["value"]) for name, site in sites.items()}
    within = {name: site["kwargs"].get("constraint", constraints.real) for name, site in sites.items()}
    if guide.params is not None:
        params = own_params(guide, params, within)
    transforms = {name: biject_to(constraint) for name, constraint in within.items()}
    return Begun(program, trace, params, transforms)


def instantiate(guide: UserGuide, model: Callable[..., Any], own_model: Callable[..., Any]) -> tuple[Any, bool]:
    """The guide's function, and whether it takes flat arguments, as ``model`` does. An autoguide is copied: the user's
    own keeps what it knows."""
    function: Any = guide.guide
    if isinstance(guide.guide, type):
        return instance(guide, model), True
    if isinstance(function, AutoGuide):
        function = copy.deepcopy(function)
        if function.prototype_trace is None and function.model is own_model:
            function.model = model
            return function, True
    return function, False


def own_params(guide: UserGuide, params: Mapping[str, Any], within: Mapping[str, Any]) -> dict[str, Any]:
    """The given params in the guide's own form; nested ones may also be given flat, their names joined by dots."""
    given, own = flat(guide.params or {}), flat(params)
    refuse_params(guide.name, given, {name: np.shape(value) for name, value in own.items()})
    leaves = [in_float64(given[name]) for name in own]
    values: dict[str, Any] = jax.tree.unflatten(jax.tree.structure(dict(params)), leaves)
    for name, constraint in within.items():
        if name in own:  # a nested param has no constraint
            unconstrained(name, values[name], biject_to(constraint), constraint_name(constraint, vars(constraints)))
    return values


def flat(params: Mapping[str, Any]) -> dict[str, Any]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(dict(params))
    return {".".join(str(getattr(part, "key", part)) for part in path): value for path, value in leaves}


def in_float64(value: Any) -> Any:
    """A param, which may be a tree of arrays, in float64."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype=float), value)


def check(user: Any, guide: UserGuide, values: Mapping[str, Any], layout: Layout) -> None:
    """Raise ValueError where the guide's sites or params are not those that the model and the guide have."""
    data, static = split_arguments(values)
    begun = begin(user, guide, values)
    model = handlers.seed(partial(twin(user).model, **dict(static)), 0)
    with numpyro.validation_enabled(False):
        known = sites_of(handlers.trace(model).get_trace(**data))
        first, again = (run_again(begun, data, seed) for seed in (1, 2))
    refuse_mismatch(guide.name, sites_of(first, again), layout.latents, known)


def run_again(begun: Begun, data: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The trace of the guide at its params; the first one where no density is by hand, and nothing depends on it."""
    if not any(is_by_hand(site["fn"]) for site in begun.trace.values() if site["type"] == "sample"):
        return begun.trace
    held = handlers.substitute(handlers.seed(begun.program, seed), begun.params)
    trace: dict[str, Any] = handlers.trace(held).get_trace(**data)
    return trace


def sites_of(trace: Mapping[str, Any], again: Mapping[str, Any] | None = None) -> dict[str, GuideSite]:
    """The sample sites of a trace that are not observed; see `sites_in`."""

    def describe(site: Any) -> GuideSite:
        scale = float(np.mean(1.0 if site["scale"] is None else site["scale"]))
        is_discrete = bool(site["fn"].support is not None and site["fn"].support.is_discrete)
        return GuideSite(np.shape(site["value"]), scale, is_discrete)

    return sites_in({name: site for name, site in trace.items() if site["type"] == "sample"}, again, describe)
