"""A model's log densities in its own constrained space, in Pyro.

Many points are evaluated at once: in a particle plate, the library's own way, else by torch.func.vmap over the model as
it is, else one by one. A faster form is used only where it gives what plain traces give (`choose_form`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import pyro
import torch
from pyro import poutine
from pyro.poutine.util import site_is_subsample
from torch.overrides import TorchFunctionMode

from compare import registry
from compare.user_model import twins
from compare.user_model.arguments import Static, split
from compare.user_model.held_pyro import Held, Tensors, Trace

CHUNK = 512
"""Points a model that does not broadcast is evaluated at in one go."""

MOST = 8192
"""Such points where data and latents are few: one go takes as long for these as for one, so that a model that many
sites make slow, as a chain of discrete latents, is some ten times faster."""

LARGEST = 2_000_000
"""Numbers in one go, if a point makes as many as a matrix of all pairs of data and latents has."""

Form = Literal["plate", "vmap", "writable", "loop"]
"""How many points are evaluated at once: in a plate, by vmap, by vmap with new tensors that belong to the points, or
one after another."""

FORMS: tuple[Form, ...] = ("plate", "vmap", "writable", "loop")
"""The forms, the fastest first."""

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)  # more threads wait for each other longer than these tensors take, the more so beside others

split_arguments = partial(split, convert=torch.tensor)
"""A twin's arguments: the data as tensors, and the static ones."""


@registry.cached_by_model(64)
def density(model: str, static: Static) -> Density:
    """The densities of a model, for these static arguments."""
    return Density(twins.twin(model, "pyro"), static)


class Writable(TorchFunctionMode):
    """New tensors belong to the points under torch.func.vmap, so that a model, or a distribution as OrderedLogistic,
    may write what depends on latents into them."""

    makers = (torch.zeros, torch.ones, torch.empty, torch.full, torch.zeros_like, torch.ones_like, torch.empty_like)
    methods = (torch.Tensor.new_zeros, torch.Tensor.new_ones, torch.Tensor.new_empty, torch.Tensor.new_full)

    def __init__(self, zero: torch.Tensor) -> None:
        super().__init__()
        self.zero = zero

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        is_new = func in self.makers or func in self.methods
        return result + self.zero.to(result.dtype) if is_new and result.is_floating_point() else result


def with_writable(function: Callable[[Any], Any], point: Any) -> Any:
    """A function of one point, a tensor or tensors by name, under `Writable`."""
    value = next(iter(point.values())) if isinstance(point, Mapping) else point
    zero = torch.zeros_like(value.detach()).sum()
    with Writable(zero):
        return function(point)


def tensors(arrays: dict[str, Any]) -> Tensors:
    return {name: torch.as_tensor(value) for name, value in arrays.items()}


def nesting(*traces: Trace) -> int:
    """The number of plate dimensions in use."""
    sites: Any = (site for trace in traces for site in trace.nodes.values() if site["type"] == "sample")
    return max((-frame.dim for site in sites for frame in site["cond_indep_stack"] if frame.vectorized), default=0)


def per_particle(site_log_prob: torch.Tensor, rows: int) -> torch.Tensor:
    """A site's log probability summed to one number a particle, shape (rows,)."""
    if site_log_prob.ndim and site_log_prob.shape[0] == rows:
        return site_log_prob.reshape(rows, -1).sum(-1)
    return site_log_prob.sum().expand(rows)


def summed(
    trace: Trace, latents: Tensors, total: Callable[[torch.Tensor], torch.Tensor], zero: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """log p(z) and log p(x | z): the totals of the trace's sites that are of the prior, and of the others."""
    trace.compute_log_prob()
    prior, likelihood = zero, zero
    for name, site in trace.nodes.items():
        if site["type"] == "sample" and "log_prob" in site:
            if name in latents or site["infer"].get("of_prior", False):  # a latent, or a factor that is marked so
                prior = prior + total(site["log_prob"])
            else:
                likelihood = likelihood + total(site["log_prob"])
    return prior, likelihood


def terms(model: Callable[..., Any], latents: Tensors, data: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
    """log p(z) and log p(x | z) at one point: latents of the sites' own shapes."""
    with Held(latents):
        trace = poutine.trace(model).get_trace(**data)
    return summed(trace, latents, torch.sum, torch.zeros(()))


def plated(
    model: Callable[..., Any], latents: Tensors, data: Tensors, alone: Trace | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """`terms` of many points, latents of shapes (count, *site), in a particle plate: each of shape (count,).

    ``alone`` is a trace of the model outside of the plate, which tells its plates; taken here where none is given.
    """
    known: Trace = alone or poutine.trace(model).get_trace(**data)
    deep, count = nesting(known), len(next(iter(latents.values())))
    values = {
        name: value.reshape(count, *(1,) * (deep - len(known.nodes[name]["fn"].batch_shape)), *value.shape[1:])
        for name, value in latents.items()
    }
    with Held(values), pyro.plate("particles", count, dim=-1 - deep):
        trace = poutine.trace(model).get_trace(**data)
    return summed(trace, latents, lambda log_prob: per_particle(log_prob, count), torch.zeros(count))


def stacked(points: Sequence[Any]) -> Any:
    """Single points' results as one with the points first: tensors, and tuples and dicts of them."""
    if isinstance(points[0], Mapping):
        return {name: stacked([point[name] for point in points]) for name in points[0]}
    if isinstance(points[0], tuple):
        return tuple(map(stacked, zip(*points, strict=True)))
    return torch.stack(list(points))


def over_points(function: Callable[[Any], Any], points: Any, form: Form, chunk: int = CHUNK) -> Any:
    """A function of one point at many, a tensor or tensors by name: by torch.func.vmap, else one after another."""
    if form == "vmap":
        return torch.func.vmap(function, chunk_size=chunk)(points)
    if form == "writable":
        return torch.func.vmap(partial(with_writable, function), chunk_size=chunk)(points)
    if not isinstance(points, Mapping):
        return stacked([function(point) for point in points])
    count = len(next(iter(points.values())))
    return stacked([function({name: value[row] for name, value in points.items()}) for row in range(count)])


def terms_of_many(
    form: Form, model: Callable[..., Any], latents: Tensors, data: Tensors, alone: Trace | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """`terms` of many points in this form; ``alone`` as for `plated`."""
    if form == "plate":
        return plated(model, latents, data, alone)
    prior, likelihood = over_points(partial(terms, model, data=data), latents, form, chunk_of(latents, data))
    return prior, likelihood


def chunk_of(latents: Tensors, data: Tensors) -> int:
    """How many points, latents of shapes (count, *site), are evaluated in one go."""
    count = max((len(value) for value in latents.values()), default=1)
    size = sum(value.numel() for value in data.values()) + sum(value.numel() for value in latents.values()) // count
    return max(CHUNK, min(MOST, LARGEST // max(size, 1) ** 2))


def choose_form(model: Callable[..., Any], data: Tensors) -> Form:
    """The fastest way to evaluate many points that gives what plain traces give, tried on three draws from the prior.

    A particle plate is for latents outside of plates only.
    """
    draws = []
    is_plated = False
    with torch.no_grad(), pyro.validation_enabled(False):
        for _ in range(3):
            trace: Trace = poutine.trace(model).get_trace(**data)
            sites = {name: trace.nodes[name] for name in trace.stochastic_nodes}
            sites = {name: site for name, site in sites.items() if not site_is_subsample(site)}
            is_plated |= any(frame.vectorized for site in sites.values() for frame in site["cond_indep_stack"])
            draws.append({name: site["value"] for name, site in sites.items()})
        if not draws[0]:
            return "plate"
        points = stacked(draws)
        return fastest(lambda form: terms_of_many(form, model, points, data), "vmap" if is_plated else "plate")


def fastest(evaluate: Callable[[Form], Sequence[torch.Tensor]], first: Form) -> Form:
    """The fastest form from the ``first`` on in which evaluating many points gives what they give one by one."""
    alone, forms = evaluate("loop"), FORMS[FORMS.index(first) : -1]
    return next((form for form in forms if is_same(partial(evaluate, form), alone)), "loop")


def is_same(together: Callable[[], Sequence[torch.Tensor]], alone: Sequence[torch.Tensor]) -> bool:
    """Whether evaluating points together gives the same tensors as one by one."""
    try:
        return all(
            every.shape == each.shape and torch.allclose(every, each, rtol=1e-9, equal_nan=True)
            for every, each in zip(together(), alone, strict=True)
        )
    except Exception:  # shapes that do not fit are said in many ways
        return False


class Density:
    """The model's log densities at given latents, in its own constrained space."""

    def __init__(self, twin: Any, static: Static = ()) -> None:
        self.model = partial(twin.model, **dict(static))
        self.forms: dict[tuple, Form] = {}

    @torch.no_grad()
    def __call__(self, latents: dict[str, np.ndarray], data: Tensors) -> tuple[np.ndarray, np.ndarray]:
        """Latents of shapes (count, *site) in, log p(z) and log p(x | z) of shape (count,) out."""
        values = tensors(latents)
        shapes = tuple(value.shape for value in data.values())
        with pyro.validation_enabled(False):
            if shapes not in self.forms:
                self.forms[shapes] = choose_form(self.model, data)
            prior, likelihood = terms_of_many(self.forms[shapes], self.model, values, data)
        return prior.numpy(), likelihood.numpy()
