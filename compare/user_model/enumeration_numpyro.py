"""Discrete latents of a user's NumPyro model, summed out by the library's enumeration (`numpyro.contrib.funsor`)."""

from collections import OrderedDict
from functools import partial

import funsor
import numpyro
import numpyro.distributions as dist
from jax import jit, random
from jax import numpy as jnp
from numpyro import handlers, infer
from numpyro.contrib.funsor import config_enumerate, enum, log_density, plate_to_enum_plate
from numpyro.contrib.funsor import trace as packed_trace
from numpyro.primitives import Messenger

from compare.user_model.enumeration import cannot_be_summed, complain_of_batch, complain_of_coupling, note
from compare.user_model.jit_numpyro import ONCE, unvalidated

__all__ = ["check", "marginal"]


class Continuous(Messenger):
    """Let outer handlers see the continuous latents and the plates only; a discrete latent takes its first value."""

    def __init__(self, fn=None):
        self.latents, self.derived, self.nesting, self.let_through = {}, {}, 0, None
        super().__init__(fn)

    def process_message(self, message):
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

    def postprocess_message(self, message):
        if self.let_through is not None and message is not self.let_through:
            return
        self.let_through = None
        if message["type"] == "sample":
            self.nesting = max([self.nesting, *(-frame.dim for frame in message["cond_indep_stack"])])
        elif message["type"] == "deterministic":
            self.derived[message["name"]] = message["value"]


class Derived(Messenger):
    """Keep the deterministic sites, which the library's packed trace leaves out."""

    def __init__(self, fn=None):
        self.values = {}
        super().__init__(fn)

    def postprocess_message(self, message):
        if message["type"] == "deterministic":
            self.values[message["name"]] = message["value"]


def is_observed(site):
    return site["type"] == "sample" and site["is_observed"]


def summed(function, data, latents, nesting):
    """log p(x, z) of the continuous latents z, the discrete ones summed out, and the trace with all their values."""
    with handlers.block():
        return log_density(enum(config_enumerate(function), -1 - nesting), (), data, latents)


def marginal(function, data):
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
    prior = 0.0
    if any(len(trace[name]["fn"].batch_shape) > seen.nesting for name in seen.latents):
        prior = summed(handlers.block(function, hide_fn=is_observed), data, values, seen.nesting)[0] - alone
        numpyro.sample("_prior", dist.Unit(prior), obs=jnp.zeros((0,)), infer={"of_prior": True})
    numpyro.factor("_likelihood", joint - alone - prior)
    for name, value in seen.derived.items():
        if jnp.shape(value) == jnp.shape(derived.values[name]):
            numpyro.deterministic(name, value)


def weighed(site):
    """The log density of a site, with the scale that handlers give it."""
    scale = 1.0 if site["scale"] is None else site["scale"]
    return jnp.sum(scale * site["fn"].log_prob(site["value"]))


def check(function, data, traces, discrete, scans):
    """What the reader should know of discrete latents that can be summed out.

    At drawn values of all latents the enumerated log joint must be the plain one: the model does with all values of a
    discrete latent at once what it does with each. Where there are scans neither that nor the plates are checked.

    Raises:
        ValueError: they cannot; one line says why, and what to do.
    """
    sites = {name: site for name, site in traces[0].items() if site["type"] == "sample"}
    nesting = 0
    for name, site in sites.items():
        plates = {frame.dim for frame in site["cond_indep_stack"]}
        nesting = max([nesting, *(-dim for dim in plates)])
        if scans:
            continue
        batch = jnp.shape(site["value"])[: jnp.ndim(site["value"]) - site["fn"].event_dim]
        complain_of_batch(name, jnp.broadcast_shapes(batch, site["fn"].batch_shape), plates, "numpyro")

    @partial(jit, compiler_options=ONCE)  # op by op it would take seconds
    @unvalidated
    def both(data, latents):
        return held(function, data, latents, discrete, nesting), plain_density(function, data, latents)

    try:
        for trace in () if scans else traces:
            latents = {name: site["value"] for name, site in trace.items() if is_latent(site)}
            complain_of_coupling(discrete, *both(data, latents))
    except ValueError as error:
        if str(error).startswith("site"):
            raise
        raise cannot_be_summed(discrete, error) from error
    except Exception as error:
        raise cannot_be_summed(discrete, error) from error
    return note({name: len(sites[name]["fn"].enumerate_support(expand=False)) for name in discrete})


def plain_density(function, data, latents):
    """log p(x, z) of all latents, discrete ones too."""
    with handlers.block():
        return infer.util.log_density(function, (), data, latents)[0]


def held(function, data, values, discrete, nesting):
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
        found = site["fn"].log_prob(site["value"]) * (1.0 if site["scale"] is None else site["scale"])
        found = found if names else jnp.squeeze(found)
        factors.append(funsor.to_funsor(found, output=funsor.Real, dim_to_name=names))
        if name in discrete:
            support = site["fn"].enumerate_support(expand=False).reshape(-1)
            place = jnp.argmax(support == values[name][..., None], axis=-1)
            plates = OrderedDict((frame.dim, frame.name) for frame in site["cond_indep_stack"])
            chosen[name] = funsor.to_funsor(place, output=funsor.Bint[len(support)], dim_to_name=plates)
    factors = [factor(**{name: place for name, place in chosen.items() if name in factor.inputs}) for factor in factors]
    return sum(factor.reduce(funsor.ops.add).data for factor in factors)


def is_latent(site):
    return site["type"] == "sample" and not site["is_observed"]
