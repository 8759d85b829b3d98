"""Discrete latents of a user's NumPyro model, summed out by the library's enumeration (`numpyro.contrib.funsor`)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import funsor
import jax
import numpyro
import numpyro.distributions as dist
from jax import jit, random
from jax import numpy as jnp
from numpyro import handlers, infer
from numpyro.contrib.funsor import config_enumerate, enum, log_density, plate_to_enum_plate
from numpyro.contrib.funsor import trace as packed_trace
from numpyro.primitives import Messenger

from compare.user_model import enumeration
from compare.user_model.jit_numpyro import ONCE, unvalidated

Model = Callable[..., Any]
Message = Any
Arrays = dict[str, Any]


class Continuous(Messenger):
    """Let outer handlers see the continuous latents and the plates only; a discrete latent takes its first value."""

    def __init__(self) -> None:
        self.latents: dict[str, Message] = {}
        self.derived: Arrays = {}
        self.nesting = 0
        self.let_through: Message | None = None
        super().__init__(None)

    def process_message(self, message: Message) -> None:
        if self.let_through is not None:  # outer handlers of a latent add sites of their own, such as its Jacobian
            return
        if message["type"] == "control_flow" and message["kwargs"].get("rng_key") is None:
            message["kwargs"]["rng_key"] = random.key(0)  # for its discrete latents, whose values are not used
        if message["type"] not in ("sample", "deterministic"):
            return
        if message["type"] == "sample" and not message["is_observed"]:
            if not message["fn"].support.is_discrete:
                self.let_through = self.latents[message["name"]] = message  # which outer handlers may make observed
                return
            if message["value"] is None:
                first = message["fn"].enumerate_support(expand=False)[0]
                message["value"] = jnp.broadcast_to(first, message["fn"].shape(message["kwargs"]["sample_shape"]))
        message["stop"] = True

    def postprocess_message(self, message: Message) -> None:
        if self.let_through is not None and message is not self.let_through:
            return
        self.let_through = None
        if message["type"] == "sample":
            self.nesting = max([self.nesting, *(-frame.dim for frame in message["cond_indep_stack"])])
        elif message["type"] == "deterministic":
            self.derived[message["name"]] = message["value"]


class Derived(Messenger):
    """Keep the deterministic sites, which the library's packed trace leaves out."""

    def __init__(self, function: Model) -> None:
        self.values: Arrays = {}
        super().__init__(function)

    def postprocess_message(self, message: Message) -> None:
        if message["type"] == "deterministic":
            self.values[message["name"]] = message["value"]


def is_observed(site: Message) -> bool:
    return site["type"] == "sample" and site["is_observed"]


def summed(function: Model, data: Arrays, latents: Arrays, nesting: int) -> tuple[jax.Array, dict[str, Message]]:
    """log p(x, z) of the continuous latents z, the discrete ones summed out, and the trace with all their values."""
    with handlers.block():
        return log_density(enum(config_enumerate(function), -1 - nesting), (), data, latents)


def marginal(function: Model, data: Arrays) -> None:
    """Run the model with its discrete latents summed out: its continuous latents, and the rest as factors.

    What turns the product of the continuous latents' densities, at the discrete ones' first values, into their prior
    is a factor of the prior (`compare.user_model.density_numpyro.Density` counts it there). Deterministic sites that
    depend on discrete ones are left out.
    """
    seen = Continuous()
    with seen:
        function(**data)
    values = {name: site["value"] for name, site in seen.latents.items()}
    derived = Derived(function)
    joint, trace = summed(derived, data, values, seen.nesting)
    alone = sum(weighed(site) for site in seen.latents.values())
    prior: Any = 0.0
    if any(len(trace[name]["fn"].batch_shape) > seen.nesting for name in seen.latents):
        prior = summed(handlers.block(function, hide_fn=is_observed), data, values, seen.nesting)[0] - alone
        numpyro.sample("_prior", dist.Unit(prior), obs=jnp.zeros((0,)), infer={"of_prior": True})
    numpyro.factor("_likelihood", joint - alone - prior)
    for name, value in seen.derived.items():
        if jnp.shape(value) == jnp.shape(derived.values[name]):
            numpyro.deterministic(name, value)


def weighed(site: Message) -> jax.Array:
    """The log density of a site, with the scale that handlers give it."""
    scale = 1.0 if site["scale"] is None else site["scale"]
    return jnp.sum(scale * site["fn"].log_prob(site["value"]))


def check(
    function: Model, data: Arrays, traces: Sequence[Mapping[str, Message]], discrete: Sequence[str], scans: bool
) -> str:
    """What the reader should know of discrete latents that can be summed out.

    Raises:
        ValueError: they cannot; one line says why, and what to do.
    """

    @partial(jit, compiler_options=ONCE, static_argnums=2)  # op by op it would take seconds
    @unvalidated
    def both(data: Arrays, latents: Arrays, nesting: int) -> tuple[jax.Array, jax.Array]:
        with handlers.block():
            plain = infer.util.log_density(function, (), data, latents)[0]
        return held(function, data, latents, discrete, nesting), plain

    def log_joints(trace: Mapping[str, Message], nesting: int) -> tuple[jax.Array, jax.Array]:
        return both(data, {name: site["value"] for name, site in trace.items() if is_latent(site)}, nesting)

    return enumeration.check(traces, discrete, "numpyro", log_joints, scans)


def held(function: Model, data: Arrays, values: Arrays, discrete: Sequence[str], nesting: int) -> jax.Array:
    """The enumerated log joint at values of all latents: the plain log joint, if the model does with all values of a
    discrete latent at once what it does with each.
    """
    continuous = {name: value for name, value in values.items() if name not in discrete}
    model = handlers.substitute(enum(config_enumerate(function), -1 - nesting), continuous)
    with handlers.block(), plate_to_enum_plate():
        trace = packed_trace(model).get_trace(**data)
    chosen, factors = {}, []
    for name, site in trace.items():
        if site["type"] != "sample":
            continue
        names = site["infer"]["dim_to_name"]
        log_prob = site["fn"].log_prob(site["value"]) * (1.0 if site["scale"] is None else site["scale"])
        log_prob = log_prob if names else jnp.squeeze(log_prob)
        factors.append(funsor.to_funsor(log_prob, output=funsor.Real, dim_to_name=names))
        if name in discrete:
            support = site["fn"].enumerate_support(expand=False).reshape(-1)
            place = jnp.argmax(support == values[name][..., None], axis=-1)
            plates = OrderedDict((frame.dim, frame.name) for frame in site["cond_indep_stack"])
            chosen[name] = funsor.to_funsor(place, output=funsor.Bint[len(support)], dim_to_name=plates)
    factors = [factor(**{name: place for name, place in chosen.items() if name in factor.inputs}) for factor in factors]
    return sum(factor.reduce(funsor.ops.add).data for factor in factors)


def is_latent(site: Message) -> bool:
    return site["type"] == "sample" and not site["is_observed"]
