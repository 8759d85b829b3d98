"""What a user's NumPyro model consists of, and the form in which the fits take it."""

from functools import lru_cache, partial
from importlib import import_module
from types import ModuleType

import jax
import numpy as np
import numpyro.distributions as dist
from jax import numpy as jnp
from numpyro import handlers
from numpyro.distributions import biject_to
from numpyro.infer.util import log_density
from numpyro.primitives import Messenger

from compare.fit.svi.density_numpyro import density, split_arguments
from compare.fit.svi.jit_numpyro import ONCE, unvalidated
from compare.user_model import Sites, complain_of_missing, complain_of_nothing, observes

__all__ = ["derive", "log_joint", "look", "twin"]

SEEDS = 3
"""Draws from the prior that a look takes."""


class Whole(Messenger):
    """One posterior for all fits: no plate is subsampled, an empty site is given; and no slash is in a name, which
    NetCDF could not hold."""

    def process_message(self, message):
        if message["type"] == "plate" and message["value"] is None:
            size, _ = message["args"]
            message["value"], message["args"] = jnp.arange(size), (size, size)
        elif message["type"] in ("sample", "deterministic", "param"):
            message["name"] = message["name"].replace("/", "_")
            if message["type"] == "sample" and is_empty(message):
                message["value"], message["is_observed"] = jnp.zeros(shape_of(message)), True


def shape_of(message):
    return message["fn"].shape(message["kwargs"].get("sample_shape", ()))


def is_empty(message):
    """Whether a latent site has no element."""
    return not message["is_observed"] and message["value"] is None and 0 in shape_of(message)


class Inspector(Messenger):
    """Refuse what the fits cannot handle, site by site, and note what they change."""

    def __init__(self, fn=None):
        self.notes, self.names, self.empty, self.scans = {}, {}, set(), False
        super().__init__(fn)

    def process_message(self, message):
        name, self.scans = message.get("name"), self.scans or message["type"] == "control_flow"
        if message["type"] == "plate" and message["value"] is None:
            size, part = message["args"]
            self.notes[name] = (
                f"plate {name!r} is not subsampled: every fit sees all {size} of its points, not {part} at a time"
            )
        elif message["type"] == "param":
            raise ValueError(f"site {name!r} is a param, which has no prior: give it one, or pass its value as data")
        elif message["type"] in ("sample", "deterministic"):
            plain = name.replace("/", "_")
            if self.names.setdefault(plain, name) != name:
                raise ValueError(f"sites {self.names[plain]!r} and {name!r} cannot be told apart without the slash")
            if plain != name:
                self.notes[name] = f"site {name!r} appears as {plain!r}: no slash can be in a name"
            if message["type"] == "sample" and not message["is_observed"]:
                refuse(name, message["fn"])
                if is_empty(message):
                    self.empty.add(name)
                    self.notes[name] = f"site {name!r} is empty (shape {shape_of(message)}): there is nothing to infer"


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
    if fn.support.is_discrete:
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
            "one by one, in numpyro.plate instead of to_event"
        ) from error


def look(own, values):
    """What the model consists of on these data.

    Raises:
        ValueError: the model cannot be run, or has a site that cannot be handled; one line names it.
    """
    data, static = split(values)
    inspector = Inspector()
    traces = []
    try:
        for seed in range(SEEDS):
            with Whole(), inspector:
                model = handlers.seed(partial(own.function, **static), jax.random.key(seed))
                traces.append(handlers.trace(model).get_trace(**data))
        model = partial(twin(own).model, **static)
        discrete = [name for name, site in traces[0].items() if is_discrete(site)]
        latents = {name: site for name, site in traces[0].items() if is_latent(site) and name not in discrete}
        if discrete:
            inspector.notes[tuple(discrete)] = enumeration().check(
                partial(plain, own, **static), data, traces, discrete, inspector.scans
            )
        derived = {}

        def joint(data, latents):
            total, trace = log_density(model, (), data, latents)
            derived.update({name: traces[0][name] for name in trace if trace[name]["type"] == "deterministic"})
            return total

        if discrete:  # with all values of these at once it would take seconds op by op
            joint = jax.jit(unvalidated(joint), compiler_options=ONCE)
        joints = [joint(data, {name: trace[name]["value"] for name in latents}) for trace in traces]
    except ValueError as error:
        if str(error).startswith(("site ", "sites ")):
            raise
        raise ValueError(f"the model could not be run on its data: {line(error)}") from error
    except Exception as error:
        raise ValueError(f"the model could not be run on its data: {line(error)}") from error
    complain_of_missing(values, joints)
    complain_of_nothing(latents, discrete, joints)
    fixed_supports(traces, latents)
    compiles(model, data)
    varying = {
        name: np.any([np.asarray(t[name]["value"]) != np.asarray(traces[0][name]["value"]) for t in traces[1:]], axis=0)
        for name in (*latents, *derived)
    }
    derived = {name: np.shape(site["value"]) for name, site in derived.items() if numeric(site["value"])}
    observed = {
        name: np.asarray(site["value"])
        for name, site in traces[0].items()
        if site["type"] == "sample" and site["is_observed"] and np.size(site["value"])
    }
    shapes = {name: np.shape(site["value"]) for name, site in latents.items()}
    seen = [site for site in traces[0].values() if site["type"] == "sample" and site["is_observed"]]
    notes = observes(len(seen) - len(inspector.empty), tuple(inspector.notes.values()))
    return Sites(shapes, derived, varying, observed, notes, tuple(map(float, joints)))


def split(values):
    """The arguments that are data and those that shape the program; the latter must be hashable."""
    data, static = split_arguments(values)
    return data, dict(static)


def is_latent(site):
    return site["type"] == "sample" and not site["is_observed"]


def is_discrete(site):
    return is_latent(site) and site["fn"].support.is_discrete


def enumeration():
    """The file that sums discrete latents out.

    Raises:
        ValueError: what it needs is not installed.
    """
    try:
        return import_module("compare.user_model.enumeration_numpyro")
    except ImportError as error:
        raise ValueError(
            "discrete latents are summed out by funsor, which is not installed: pip install funsor"
        ) from error


def numeric(value):
    return np.asarray(value).dtype.kind in "fiub" and np.size(value) > 0


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
                ends.append(np.asarray(transform(0.5 + jnp.zeros_like(transform.inv(site["value"])))))
        except Exception as error:
            raise ValueError(f"site {name!r} cannot be mapped to an unconstrained space: {line(error)}") from error
        if any(not np.allclose(end, ends[0], rtol=1e-12, atol=0) for end in ends):
            raise ValueError(
                f"site {name!r} has a support that depends on other latents, which guides cannot follow; sample it on "
                "a fixed one, such as the unit interval, and scale it with numpyro.deterministic"
            )


def compiles(model, data):
    """Refuse a model that needs the values of its data, not only their shapes, to run.

    Raises:
        ValueError: it does.
    """
    try:
        jax.eval_shape(lambda data: handlers.seed(model, 0)(**data), data)
    except Exception as error:
        raise ValueError(
            "the model needs the values of its data to run, and so cannot be compiled; pass what shapes it as an int, "
            f"a flag or a word: {line(error)}"
        ) from error


@lru_cache(maxsize=64)
def twin(own):
    """The model as a module of its own, like the catalogue's; its discrete latents are summed out."""
    module, known = ModuleType(f"own.{own.name}"), {}

    def model(**data):
        form = tuple((name, np.shape(value) if hasattr(value, "dtype") else value) for name, value in data.items())
        if form not in known:
            with handlers.block():
                trace = handlers.trace(handlers.seed(partial(plain, own), 0)).get_trace(**data)
            known[form] = any(map(is_discrete, trace.values()))
        if known[form]:
            enumeration().marginal(partial(plain, own), data)
        else:
            plain(own, **data)

    model.__module__, module.model = module.__name__, model
    return module


def plain(own, **data):
    """The model as its user wrote it, but whole."""
    with Whole():
        return own.function(**data)


@lru_cache(maxsize=64)
def deterministic(own, static, names):
    """The deterministic sites of many points, compiled."""
    model = partial(twin(own).model, **dict(static))

    @unvalidated
    def one(latents, data):
        trace = handlers.trace(handlers.seed(handlers.substitute(model, latents), 0)).get_trace(**data)
        return {name: trace[name]["value"] for name in names}

    return jax.jit(jax.vmap(one, in_axes=(0, None)), compiler_options=ONCE)


def derive(own, data, latents):
    """The deterministic sites at latents of shapes (count, *site)."""
    traced, static = split_arguments(data.arguments())
    chosen = {name: latents[name] for name in data.shapes()}
    found = deterministic(own, static, tuple(data.sites.derived))(chosen, traced)
    return {name: np.asarray(value) for name, value in found.items()}


def log_joint(own, data, latents):
    """log p(x, z) at latents of shapes (count, *site), shape (count,)."""
    traced, static = split_arguments(data.arguments())
    return sum(density(own.name, static)({name: latents[name] for name in data.shapes()}, traced))
