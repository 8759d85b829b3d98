"""A user's guide in Pyro: run on the model's data, and its sites and params."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyro
import torch
from pyro import poutine
from pyro.distributions import Unit, constraints
from pyro.infer.autoguide import AutoGuide
from pyro.poutine.guide import GuideMessenger
from pyro.poutine.util import site_is_subsample

from compare.comparison import Layout
from compare.messages import one_line
from compare.user_model.density_pyro import split_arguments
from compare.user_model.given_params import constraint_name, refuse_params, unconstrained
from compare.user_model.guides import (
    GuideSite,
    UserGuide,
    caller,
    instance,
    refuse_mismatch,
    sites_in,
)
from compare.user_model.in_pyro import Plain, twin, unsplit_plates
from compare.user_model.sites import is_by_hand


class Begun(NamedTuple):
    """A guide that has been run once.

    Attributes:
        program: The guide as a function of the data.
        trace: What it did.
        leaves: The unconstrained tensors behind its params by name, in float64; their values are the given ones, else
            those that it starts from.
    """

    program: Callable[..., Any]
    trace: Any
    leaves: dict[str, torch.Tensor]


@contextmanager
def begin(user: Any, guide: UserGuide, values: Mapping[str, Any], seed: int = 0) -> Iterator[Begun]:
    """Run the guide once, with the modules that it uses in float64 until the end of the block.

    Raises:
        ValueError: it cannot be made, cannot be run, or has other params than those given.
    """
    data, static = split_arguments(values)
    pyro.clear_param_store()
    pyro.set_rng_seed(seed)
    function, is_flat = instantiate(guide, partial(twin(user).model, **dict(static)))
    plain = function if is_flat else caller(function, guide.name, user, values)

    is_messenger = isinstance(function, GuideMessenger)

    def is_no_part(site: Any) -> bool:
        """Whether a site of the guide is no part of q: data, unlike factors, which a guide that runs the model has."""
        is_data = site["type"] == "sample" and site["is_observed"] and not site_is_subsample(site)
        return is_data and (is_messenger or not isinstance(site["fn"], Unit))

    def program(**data: Any) -> Any:
        with unsplit_plates(), Plain({}, unmask=False), poutine.block(hide_fn=is_no_part):
            return plain(**data, **dict(static))

    with in_float64(modules_of(function)):
        try:
            with pyro.validation_enabled(False):
                trace: Any = poutine.trace(program).get_trace(**data)
        except Exception as error:
            raise ValueError(f"guide {guide.name!r} cannot be run on the data: {one_line(error)}") from error
        store: Any = pyro.get_param_store()
        leaves = {name: store._params[name] for name in trace.param_nodes if name in store._params}
        leaves = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
        for leaf in leaves.values():
            leaf.data = leaf.data.double()
        if guide.params is not None:
            put(guide, leaves, store)
        yield Begun(program, trace, leaves)


def instantiate(guide: UserGuide, model: Callable[..., Any]) -> tuple[Any, bool]:
    """The guide's function, and whether it takes flat arguments, as ``model`` does. An autoguide, or another module, is
    copied: the user's own keeps its params."""
    function: Any = guide.guide
    if isinstance(guide.guide, type):
        return instance(guide, model), True
    if isinstance(function, torch.nn.Module):
        function = copied(function)
    return function, False


def copied(module: torch.nn.Module) -> Any:
    """A copy of a module. Pyro's autoguides forget their model when they are copied: both are given it back."""
    own: list[Any] = [part for part in module.modules() if isinstance(part, AutoGuide)]
    models = [(part._model, part.master) for part in own]
    try:
        duplicate = copy.deepcopy(module, {id(tensor): tensor.detach().clone() for tensor in computed_in(module)})
    finally:
        for part, (model, master) in zip(own, models, strict=True):
            part._model, part.master = model, master
    parts: list[Any] = [part for part in duplicate.modules() if isinstance(part, AutoGuide)]
    for part, (model, _) in zip(parts, models, strict=True):
        part._model = model
    return duplicate


def computed_in(value: Any, seen: set[int] | None = None) -> Iterator[torch.Tensor]:
    """The results of computations that a module stores, as a flow's transforms do once it has been trained: torch
    copies no such tensor."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, torch.Tensor):
        if not value.is_leaf:
            yield value
        return
    parts: Any = value if isinstance(value, list | tuple) else ()
    if isinstance(value, Mapping):
        parts = value.values()
    elif isinstance(value, torch.nn.Module | torch.distributions.Transform | torch.distributions.Distribution):
        parts = vars(value).values()
    for part in list(parts):
        yield from computed_in(part, seen)


def modules_of(function: Any) -> list[torch.nn.Module]:
    """The modules that a guide is, or that its code names."""
    inner = inspect.unwrap(getattr(function, "__func__", function))
    candidates: list[Any] = [function, getattr(function, "__self__", None)]
    if inspect.isfunction(inner):
        known = inspect.getclosurevars(inner)
        candidates += [*known.nonlocals.values(), *known.globals.values()]
    return [value for value in candidates if isinstance(value, torch.nn.Module)]


@contextmanager
def in_float64(modules: list[torch.nn.Module]) -> Iterator[None]:
    """A block in which the modules compute in float64; afterwards their params and buffers are what they were."""
    tensors = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
    before = [(tensor, tensor.data) for tensor in tensors if tensor.is_floating_point()]
    try:
        for tensor, value in before:
            tensor.data = value.double().clone()
        yield
    finally:
        for tensor, value in before:
            tensor.data = value


def put(guide: UserGuide, leaves: Mapping[str, torch.Tensor], store: Any) -> None:
    """Give the guide's params the values that its user found."""
    given = {name: np.asarray(torch.as_tensor(value).detach().cpu()) for name, value in (guide.params or {}).items()}
    refuse_params(guide.name, given, {name: tuple(store[name].shape) for name in leaves})
    for name, leaf in leaves.items():
        constraint, value = store._constraints[name], torch.as_tensor(given[name], dtype=torch.float64)
        transform = torch.distributions.transform_to(constraint)
        leaf.data = unconstrained(name, value, transform, constraint_name(constraint, vars(constraints))).clone()


def check(user: Any, guide: UserGuide, values: Mapping[str, Any], layout: Layout) -> None:
    """Raise ValueError where the guide's sites or params are not those that the model and the guide have."""
    data, static = split_arguments(values)
    model = partial(twin(user).model, **dict(static))
    with begin(user, guide, values) as begun, pyro.validation_enabled(False), torch.no_grad():
        known = sites_of(poutine.trace(model).get_trace(**data))
        first, again = (run_again(begun, data) for _ in range(2))
        refuse_mismatch(guide.name, sites_of(first, again), layout.latents, known)


def run_again(begun: Begun, data: Mapping[str, Any]) -> Any:
    """The trace of the guide at its params; the first one where no density is by hand, and nothing depends on it."""
    if not any(is_by_hand(site["fn"]) for site in samples_in(begun.trace).values()):
        return begun.trace
    return poutine.trace(begun.program).get_trace(**data)


def sites_of(trace: Any, again: Any = None) -> dict[str, GuideSite]:
    """The sample sites of a trace that are not observed, plates apart; see `sites_in`."""

    def describe(site: Any) -> GuideSite:
        shape, scale = tuple(np.shape(site["value"].detach())), float(torch.as_tensor(site["scale"]).double().mean())
        return GuideSite(shape, scale, bool(getattr(site["fn"], "has_enumerate_support", False)))

    return sites_in(samples_in(trace), None if again is None else samples_in(again), describe)


def samples_in(trace: Any) -> dict[str, Any]:
    """The sample sites of a trace, plates apart."""
    nodes = trace.nodes.items()
    return {name: site for name, site in nodes if site["type"] == "sample" and not site_is_subsample(site)}
