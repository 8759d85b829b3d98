"""Discrete latents of a user's Pyro model, summed out by the library's own enumeration (`pyro.poutine.enum`)."""

from contextlib import contextmanager

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

from compare.user_model.density_pyro import Held
from compare.user_model.enumeration import cannot_be_summed, complain_of_batch, complain_of_coupling, note

__all__ = ["check", "marginal"]


class Continuous(Messenger):
    """Let outer handlers see the continuous latents and the plates only; a discrete latent takes its first value."""

    def __init__(self):
        super().__init__()
        self.latents, self.derived, self.nesting = {}, {}, 0

    def _pyro_sample(self, message):
        if site_is_subsample(message):
            return
        if not message["is_observed"]:
            if not message["fn"].has_enumerate_support:
                self.latents[message["name"]] = message  # outer handlers may make it an observed one
                return
            first = message["fn"].enumerate_support(expand=False)[0]
            message["value"], message["done"] = first.expand(message["fn"].shape()), True
        message["stop"] = True

    def _pyro_post_sample(self, message):
        if site_is_subsample(message):
            return
        frames = (frame for frame in message["cond_indep_stack"] if frame.vectorized)
        self.nesting = max([self.nesting, *(-frame.dim for frame in frames)])
        if message["infer"].get("_deterministic"):
            self.derived[message["name"]] = message["value"]


class Enumerated(EnumMessenger):
    """The library's enumeration, which also runs under torch.func.vmap: there it may see shapes only."""

    def _pyro_post_sample(self, message):
        value = message["value"]
        message["value"] = value if value is None else torch.empty(value.shape, device="meta")
        super()._pyro_post_sample(message)
        message["value"] = value


class SafeLog(torch.autograd.Function):
    """The logarithm with a gradient that is finite at 0, as the library's, but also under torch.func.vmap."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x.log()

    @staticmethod
    def setup_context(context, inputs, output):
        context.save_for_backward(*inputs)

    @staticmethod
    def backward(context, gradient):
        (x,) = context.saved_tensors
        return gradient / x.clamp(min=torch.finfo(x.dtype).eps)


@contextmanager
def under_vmap():
    """The library's sums of products with a logarithm that runs under torch.func.vmap."""
    original, torch_log.safe_log = torch_log.safe_log, SafeLog.apply
    try:
        yield
    finally:
        torch_log.safe_log = original


def is_observed(site):
    return site["type"] == "sample" and site["is_observed"] and not site_is_subsample(site)


def enumerated(function, data, latents, nesting):
    """The trace of the model at continuous latents, with all values of its discrete ones."""
    model = Held(latents)(Enumerated(-1 - nesting)(config_enumerate(function)))
    with poutine.block():
        return poutine.trace(model).get_trace(**data)


def summed(function, data, latents, nesting):
    """log p(x, z) of the continuous latents z, the discrete ones summed out, and the trace with all their values."""
    trace = enumerated(function, data, latents, nesting)
    with under_vmap():
        return TraceEinsumEvaluator(trace, True, nesting).log_prob(trace), trace


def marginal(function, data):
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
    prior = 0.0
    if any(len(trace.nodes[name]["fn"].batch_shape) > seen.nesting for name in seen.latents):
        prior = summed(poutine.block(function, hide_fn=is_observed), data, values, seen.nesting)[0] - alone
        pyro.sample("_prior", dist.Unit(prior), obs=torch.zeros(0), infer={"of_prior": True})
    pyro.factor("_likelihood", joint - alone - prior)
    for name, value in seen.derived.items():
        if value.shape == trace.nodes[name]["value"].shape:
            pyro.deterministic(name, value)


def weighed(site):
    """The log density of a site, with the scale and the mask that handlers give it."""
    return scale_and_mask(site["fn"].log_prob(site["value"]), site["scale"], site["mask"]).sum()


def check(function, data, traces, discrete):
    """What the reader should know of discrete latents that can be summed out.

    At drawn values of all latents the enumerated log joint must be the plain one: the model does with all values of a
    discrete latent at once what it does with each.

    Raises:
        ValueError: they cannot; one line says why, and what to do.
    """
    sites, nesting = traces[0], 0
    for name, site in sites.items():
        plates = {frame.dim for frame in site["cond_indep_stack"] if frame.vectorized}
        nesting = max([nesting, *(-dim for dim in plates)])
        batch = site["value"].shape[: site["value"].ndim - site["fn"].event_dim]
        complain_of_batch(name, torch.broadcast_shapes(batch, site["fn"].batch_shape), plates, "pyro")
    try:
        for trace in traces:
            latents = {name: site["value"] for name, site in trace.items() if not site["is_observed"]}
            with Held(latents):
                plain = poutine.trace(function).get_trace(**data).log_prob_sum()
            complain_of_coupling(discrete, held(function, data, trace, nesting), plain)
    except ValueError as error:
        if str(error).startswith("site"):
            raise
        raise cannot_be_summed(discrete, error) from error
    except Exception as error:
        raise cannot_be_summed(discrete, error) from error
    return note({name: len(sites[name]["fn"].enumerate_support(expand=False)) for name in discrete})


def held(function, data, drawn, nesting):
    """The enumerated log joint at the values of a drawn trace, discrete ones too: the plain log joint, if the model
    does with all values of a discrete latent at once what it does with each.
    """
    values = {name: site["value"] for name, site in drawn.items() if not site["is_observed"]}
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
