"""What a user's Pyro model consists of, and the form in which the fits take it."""

from contextlib import contextmanager
from functools import lru_cache, partial
from types import ModuleType

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from pyro.poutine.subsample_messenger import SubsampleMessenger, _Subsample
from torch.distributions import biject_to

from compare.fit.svi.base_pyro import Held
from compare.fit.svi.density_pyro import density, split_arguments
from compare.user_model import Sites, complain_of_missing, complain_of_nothing, enumeration_pyro, observes

__all__ = ["derive", "log_joint", "look", "twin"]

SEEDS = 3
"""Draws from the prior that a look takes."""


@contextmanager
def whole_plates(notes=None):
    """One posterior for all fits: no plate is subsampled. A plate's size is not to be changed by a message."""
    original = SubsampleMessenger._subsample

    def whole(name, size=None, subsample_size=None, subsample=None, *rest):
        part = len(subsample) if subsample is not None else subsample_size
        if size is None or part in (None, size):
            return original(name, size, subsample_size, subsample, *rest)
        if notes is not None:
            notes[name] = (
                f"plate {name!r} is not subsampled: every fit sees all {size} of its points, not {part} at a time"
            )
        return original(name, size, None, None, *rest)

    SubsampleMessenger._subsample = staticmethod(whole)
    try:
        yield
    finally:
        SubsampleMessenger._subsample = staticmethod(original)


class Plain(Messenger):
    """No slash in a name, which NetCDF could not hold; and an empty site is given."""

    def _pyro_sample(self, message):
        if not isinstance(message["fn"], _Subsample):
            message["name"] = message["name"].replace("/", "_")
            if is_empty(message):
                message["value"], message["is_observed"] = torch.zeros(message["fn"].shape()), True


def is_empty(message):
    """Whether a latent site has no element."""
    return not message["is_observed"] and message["value"] is None and 0 in message["fn"].shape()


class Inspector(Messenger):
    """Refuse what the fits cannot handle, site by site, and note what they change."""

    def __init__(self):
        super().__init__()
        self.notes, self.names, self.empty = {}, {}, set()

    def _pyro_param(self, message):
        name = message["name"]
        raise ValueError(f"site {name!r} is a param, which has no prior: give it one, or pass its value as data")

    def _pyro_sample(self, message):
        name = message["name"]
        if isinstance(message["fn"], _Subsample):
            return
        plain = name.replace("/", "_")
        if self.names.setdefault(plain, name) != name:
            raise ValueError(f"sites {self.names[plain]!r} and {name!r} cannot be told apart without the slash")
        if plain != name:
            self.notes[name] = f"site {name!r} appears as {plain!r}: no slash can be in a name"
        if not message["is_observed"]:
            refuse(name, message["fn"])
            if is_empty(message):
                self.empty.add(name)
                shape = tuple(message["fn"].shape())
                self.notes[name] = f"site {name!r} is empty (shape {shape}): there is nothing to infer"


def refuse(name, fn):
    """Raise ValueError for a latent site that the fits cannot handle."""
    base = fn
    while True:
        if isinstance(base, dist.ImproperUniform):
            raise ValueError(
                f"site {name!r} has an improper prior (ImproperUniform): there is no evidence, no ELBO and perhaps no "
                "posterior; give it a proper one, such as a wide Normal"
            )
        if isinstance(base, dist.MaskedDistribution) and base._mask is False:
            raise ValueError(f"site {name!r} has its prior masked out, which makes it improper; give it a proper one")
        if not hasattr(base, "base_dist"):
            break
        base = base.base_dist
    if fn.has_enumerate_support or fn.support.is_discrete:
        refuse_discrete(name, fn, base)


def refuse_discrete(name, fn, base):
    """Raise ValueError for a discrete latent site that has no finite list of values."""
    kind = type(base).__name__
    if not (fn.has_enumerate_support or base.has_enumerate_support):
        raise ValueError(
            f"site {name!r} is discrete ({kind}) and has no finite list of values to sum over: guides and NUTS need "
            "continuous latents; sum it out in the model, or replace it by a Categorical over the values that matter"
        )
    try:
        fn.enumerate_support(expand=False)
    except Exception as error:
        raise ValueError(
            f"site {name!r} is discrete ({kind}) and its values cannot be listed ({line(error)}); sample its elements "
            "one by one, in pyro.plate instead of to_event"
        ) from error


def look(own, values):
    """What the model consists of on these data.

    Raises:
        ValueError: the model cannot be run, or has a site that cannot be handled; one line names it.
    """
    data, static = split_arguments(values)
    inspector, traces, joints = Inspector(), [], []
    try:
        with torch.no_grad(), pyro.validation_enabled(True):
            for seed in range(SEEDS):
                pyro.set_rng_seed(seed)
                with whole_plates(inspector.notes), poutine.trace() as tracer, Plain(), inspector:
                    own.function(**data, **dict(static))
                traces.append(sites(tracer.trace))
            latents = {name: site for name, site in traces[0].items() if not site["is_observed"]}
            discrete = [name for name, site in latents.items() if site["fn"].has_enumerate_support]
            latents = {name: site for name, site in latents.items() if name not in discrete}
            model = partial(twin(own).model, **dict(static))
            if discrete:
                inspector.notes[tuple(discrete)] = enumeration_pyro.check(
                    partial(plain, own, **dict(static)), data, traces, discrete
                )
            for trace in traces:
                with Held({name: trace[name]["value"] for name in latents}):
                    last = poutine.trace(model).get_trace(**data)
                joints.append(float(last.log_prob_sum()))
    except ValueError as error:
        if str(error).startswith(("site ", "sites ")):
            raise
        raise ValueError(f"the model could not be run on its data: {line(error)}") from error
    except Exception as error:
        raise ValueError(f"the model could not be run on its data: {line(error)}") from error
    complain_of_missing(values, joints)
    complain_of_nothing(latents, discrete, joints)
    fixed_supports(traces, latents)
    derived = {name: site for name, site in sites(last).items() if site["infer"].get("_deterministic")}
    varying = {
        name: np.any([(t[name]["value"] != traces[0][name]["value"]).numpy() for t in traces[1:]], axis=0)
        for name in (*latents, *derived)
    }
    observed = {
        name: site["value"].numpy()
        for name, site in traces[0].items()
        if site["is_observed"] and not site["infer"].get("_deterministic") and isinstance(site["value"], torch.Tensor)
        and site["value"].numel()
    }  # fmt: skip
    shapes = {name: tuple(site["value"].shape) for name, site in latents.items()}
    derived = {name: tuple(site["value"].shape) for name, site in derived.items() if site["value"].numel()}
    seen = [s for s in traces[0].values() if s["is_observed"] and not s["infer"].get("_deterministic")]
    notes = observes(len(seen) - len(inspector.empty), tuple(inspector.notes.values()))
    return Sites(shapes, derived, varying, observed, notes, tuple(map(float, joints)))


def sites(trace):
    """The sample sites of a trace by name, plates apart."""
    return {
        name: site
        for name, site in trace.nodes.items()
        if site["type"] == "sample" and not isinstance(site["fn"], _Subsample)
    }


def line(error):
    """An error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def fixed_supports(traces, latents):
    """Refuse a site whose support depends on other latents: the library's own guides keep that of the first draw."""
    for name, site in latents.items():
        try:
            ends = []
            for trace in traces:
                transform = biject_to(trace[name]["fn"].support)
                ends.append(transform(torch.full_like(transform.inv(site["value"]), 0.5)))
        except Exception as error:
            raise ValueError(f"site {name!r} cannot be mapped to an unconstrained space: {line(error)}") from error
        if any(not torch.allclose(end, ends[0], rtol=1e-12, atol=0) for end in ends):
            raise ValueError(
                f"site {name!r} has a support that depends on other latents, which guides cannot follow; sample it on "
                "a fixed one, such as the unit interval, and scale it with pyro.deterministic"
            )


@lru_cache(maxsize=64)
def twin(own):
    """The model as a module of its own, like the catalogue's; its discrete latents are summed out."""
    module, known = ModuleType(f"own.{own.name}"), {}

    def model(**data):
        form = tuple((name, value.shape if hasattr(value, "shape") else value) for name, value in data.items())
        if form not in known:
            with torch.random.fork_rng(devices=[]), poutine.block():
                found = sites(poutine.trace(partial(plain, own)).get_trace(**data))
            known[form] = any(not site["is_observed"] and site["fn"].has_enumerate_support for site in found.values())
        if known[form]:
            enumeration_pyro.marginal(partial(plain, own), data)
        else:
            plain(own, **data)

    model.__module__, module.model = module.__name__, model
    return module


def plain(own, **data):
    """The model as its user wrote it, but whole."""
    with whole_plates(), Plain():
        return own.function(**data)


@torch.no_grad()
def derive(own, data, latents):
    """The deterministic sites at latents of shapes (count, *site)."""
    tensors, static = split_arguments(data.arguments())
    model = partial(twin(own).model, **dict(static))

    model(**tensors)  # outside of vmap: whether there are discrete latents is found out by drawing

    def one(latents):
        with Held(latents):
            trace = poutine.trace(model).get_trace(**tensors)
        return {name: trace.nodes[name]["value"] for name in data.sites.derived}

    with pyro.validation_enabled(False):
        found = torch.func.vmap(one)({name: torch.as_tensor(latents[name]) for name in data.shapes()})
    return {name: value.numpy() for name, value in found.items()}


def log_joint(own, data, latents):
    """log p(x, z) at latents of shapes (count, *site), shape (count,)."""
    tensors, static = split_arguments(data.arguments())
    return sum(density(own.name, static)({name: latents[name] for name in data.shapes()}, tensors))
