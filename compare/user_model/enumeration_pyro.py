"""Discrete latents of a user's Pyro model, summed out by the library's own enumeration (`pyro.poutine.enum`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.infer import config_enumerate
from pyro.infer.mcmc.util import TraceEinsumEvaluator
from pyro.ops import packed
from pyro.ops.einsum import torch_log
from pyro.poutine.enum_messenger import EnumMessenger
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample

from compare.user_model import enumeration
from compare.user_model.held_pyro import Held, Tensors, Trace

Model = Callable[..., Any]
Message = Any


class Continuous(Messenger):
    """Let outer handlers see the continuous latents and the plates only; a discrete latent takes its first value."""

    def __init__(self) -> None:
        super().__init__()
        self.latents: dict[str, Message] = {}
        self.derived: Tensors = {}
        self.nesting = 0

    def _pyro_sample(self, message: Message) -> None:
        if site_is_subsample(message):
            return
        if not message["is_observed"]:
            if not message["fn"].has_enumerate_support:
                self.latents[message["name"]] = message  # outer handlers may make it an observed one
                return
            first = message["fn"].enumerate_support(expand=False)[0]
            message["value"], message["done"] = first.expand(message["fn"].shape()), True
        message["stop"] = True

    def _pyro_post_sample(self, message: Message) -> None:
        if site_is_subsample(message):
            return
        frames = (frame for frame in message["cond_indep_stack"] if frame.vectorized)
        self.nesting = max([self.nesting, *(-frame.dim for frame in frames)])
        if message["infer"].get("_deterministic"):
            self.derived[message["name"]] = message["value"]


class Enumerated(EnumMessenger):
    """The library's enumeration, which also runs under torch.func.vmap: there it may see shapes only."""

    def _pyro_post_sample(self, message: Message) -> None:
        value = message["value"]
        message["value"] = value if value is None else torch.empty(value.shape, device="meta")
        super()._pyro_post_sample(message)
        message["value"] = value


class SafeLog(torch.autograd.Function):
    """The logarithm with a gradient that is finite at 0, as the library's, but also under torch.func.vmap."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: torch.Tensor) -> torch.Tensor:
        return x.log()

    @staticmethod
    def setup_context(context: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        context.save_for_backward(*inputs)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        (x,) = context.saved_tensors
        return gradient / x.clamp(min=torch.finfo(x.dtype).eps)


@contextmanager
def under_vmap() -> Iterator[None]:
    """The library's sums of products with a logarithm that runs under torch.func.vmap."""
    original, torch_log.safe_log = torch_log.safe_log, SafeLog.apply
    try:
        yield
    finally:
        torch_log.safe_log = original


def is_observed(site: Message) -> bool:
    return site["type"] == "sample" and site["is_observed"] and not site_is_subsample(site)


def enumerated(function: Model, data: Tensors, latents: Tensors, nesting: int) -> Trace:
    """The trace of the model at continuous latents, with all values of its discrete ones."""
    model = Held(latents)(Enumerated(-1 - nesting)(config_enumerate(function)))
    with poutine.block():
        return poutine.trace(model).get_trace(**data)


def summed(function: Model, data: Tensors, latents: Tensors, nesting: int) -> tuple[torch.Tensor, Trace]:
    """log p(x, z) of the continuous latents z, the discrete ones summed out, and the trace with all their values."""
    trace = enumerated(function, data, latents, nesting)
    with under_vmap():
        return TraceEinsumEvaluator(trace, True, nesting).log_prob(trace), trace


def marginal(function: Model, data: Tensors) -> None:
    """Run the model with its discrete latents summed out: its continuous latents, and the rest as factors.

    What turns the product of the continuous latents' densities, at the discrete ones' first values, into their prior
    is a factor of the prior (`compare.user_model.density_pyro.summed` counts it there). Deterministic sites that depend
    on discrete ones are left out.
    """
    seen = Continuous()
    with seen:
        function(**data)
    values = {name: site["value"] for name, site in seen.latents.items()}
    joint, trace = summed(function, data, values, seen.nesting)
    alone = sum(weighed(site) for site in seen.latents.values())
    prior: Any = 0.0
    if any(len(trace.nodes[name]["fn"].batch_shape) > seen.nesting for name in seen.latents):
        prior = summed(poutine.block(function, hide_fn=is_observed), data, values, seen.nesting)[0] - alone
        pyro.sample("_prior", dist.Unit(prior), obs=torch.zeros(0), infer={"of_prior": True})  # type: ignore[arg-type]
    pyro.factor("_likelihood", joint - alone - prior)
    for name, value in seen.derived.items():
        if value.shape == trace.nodes[name]["value"].shape:
            pyro.deterministic(name, value)


def weighed(site: Message) -> torch.Tensor:
    """The log density of a site, with the scale and the mask that handlers give it."""
    return scale_and_mask(site["fn"].log_prob(site["value"]), site["scale"], site["mask"]).sum()


def check(function: Model, data: Tensors, traces: Sequence[Mapping[str, Message]], discrete: Sequence[str]) -> str:
    """What the reader should know of discrete latents that can be summed out.

    Raises:
        ValueError: they cannot; one line says why, and what to do.
    """

    def log_joints(trace: Mapping[str, Message], nesting: int) -> tuple[torch.Tensor, Any]:
        with Held(latents_of(trace)):
            plain = poutine.trace(function).get_trace(**data).log_prob_sum()
        return held(function, data, trace, nesting), plain

    return enumeration.check(traces, discrete, "pyro", log_joints)


def latents_of(trace: Mapping[str, Message]) -> Tensors:
    return {name: site["value"] for name, site in trace.items() if not site["is_observed"]}


def held(function: Model, data: Tensors, drawn: Mapping[str, Message], nesting: int) -> torch.Tensor:
    """The enumerated log joint at the values of a drawn trace, discrete ones too: the plain log joint, if the model
    does with all values of a discrete latent at once what it does with each.
    """
    values = latents_of(drawn)
    discrete = {name for name in values if drawn[name]["fn"].has_enumerate_support}
    trace = enumerated(function, data, {n: v for n, v in values.items() if n not in discrete}, nesting)
    trace.compute_log_prob()
    trace.pack_tensors()
    places = {}
    for name in discrete:
        site = trace.nodes[name]
        same = site["fn"].enumerate_support(expand=False) == values[name]
        same = same.flatten(same.ndim - site["fn"].event_dim).all(-1) if site["fn"].event_dim else same
        symbols = site["infer"]["_dim_to_symbol"]
        plates = {frame.dim: symbols[frame.dim] for frame in site["cond_indep_stack"] if frame.vectorized}
        places[site["infer"]["_enumerate_symbol"]] = packed.pack(same.int().argmax(0), plates)
    total = torch.zeros(())
    for site in trace.nodes.values():
        if site["type"] != "sample" or site_is_subsample(site):
            continue
        factor = site["packed"]["log_prob"]
        for symbol in set(factor._pyro_dims) & set(places):
            factor = packed.gather(factor, places[symbol], symbol)
        total = total + factor.sum()
    return total
