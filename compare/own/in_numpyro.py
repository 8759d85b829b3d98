"""What a user's NumPyro model consists of, and the form in which the fits take it."""

from functools import lru_cache, partial
from types import ModuleType

import jax
import numpy as np
import numpyro.distributions as dist
from jax import numpy as jnp
from numpyro import handlers
from numpyro.distributions import biject_to
from numpyro.infer.util import log_density
from numpyro.primitives import Messenger

from compare.fits.objective_numpyro import ONCE, density, split_arguments, unvalidated
from compare.own import Sites, complain_of_missing

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
        self.notes, self.names = {}, {}
        super().__init__(fn)

    def process_message(self, message):
        name = message["name"]
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
        raise ValueError(
            f"site {name!r} is discrete ({type(base).__name__}): guides and NUTS need continuous latents; sum it out "
            "in the model, for a mixture with MixtureSameFamily"
        )


def look(own, values):
    """What the model consists of on these data.

    Raises:
        ValueError: the model cannot be run, or has a site that cannot be handled; one line names it.
    """
    data, static = split(values)
    inspector = Inspector()
    traces, joints = [], []
    try:
        for seed in range(SEEDS):
            with Whole(), inspector:
                model = handlers.seed(partial(own.function, **static), jax.random.key(seed))
                traces.append(handlers.trace(model).get_trace(**data))
        model = partial(twin(own).model, **static)
        latents = {name: site for name, site in traces[0].items() if is_latent(site)}
        for trace in traces:
            joints.append(log_density(model, (), data, {name: trace[name]["value"] for name in latents})[0])
    except ValueError as error:
        if str(error).startswith(("site ", "sites ")):
            raise
        raise ValueError(f"the model could not be run on its data: {line(error)}") from error
    except Exception as error:
        raise ValueError(f"the model could not be run on its data: {line(error)}") from error
    complain_of_missing(values, joints)
    fixed_supports(traces, latents)
    compiles(model, data)
    derived = {name: site for name, site in traces[0].items() if site["type"] == "deterministic"}
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
    return Sites(shapes, derived, varying, observed, tuple(inspector.notes.values()), tuple(map(float, joints)))


def split(values):
    """The arguments that are data and those that shape the program; the latter must be hashable."""
    data, static = split_arguments(values)
    return data, dict(static)


def is_latent(site):
    return site["type"] == "sample" and not site["is_observed"]


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
    """The model as a module of its own, like the catalogue's."""
    module = ModuleType(f"own.{own.name}")

    def model(**data):
        with Whole():
            return own.function(**data)

    model.__module__, module.model = module.__name__, model
    return module


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
