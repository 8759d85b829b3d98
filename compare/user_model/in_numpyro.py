"""What a NumPyro model consists of, and the form in which the fits take a user's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from types import ModuleType
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp
from numpyro import handlers
from numpyro.distributions import biject_to
from numpyro.infer.util import log_density
from numpyro.primitives import Messenger

from compare import registry
from compare.messages import one_line
from compare.user_model import twins
from compare.user_model.arguments import without_params
from compare.user_model.density_numpyro import split_arguments
from compare.user_model.jit_numpyro import ONCE, unvalidated
from compare.user_model.likelihoods_numpyro import bounded
from compare.user_model.priors_numpyro import place, startable, unmasked
from compare.user_model.sites import Inspection, Site, underscored
from compare.user_model.twin_numpyro import enumeration, summed_out

Message = dict[str, Any]


class Unsplit(Messenger):
    """One posterior for all fits: no plate is subsampled, an empty site is given, and no slash is in a name; every
    latent has a prior that can be drawn from, and with ``unmask`` a density everywhere; and observed values have none
    outside of their support. ``params`` are held at these values."""

    def __init__(self, params: Mapping[str, Any], unmask: bool = True) -> None:
        self.params, self.unmask = params, unmask
        super().__init__(None)

    def process_message(self, message: Message) -> None:
        if message["type"] == "plate" and message["value"] is None:
            size, _ = message["args"]
            message["value"], message["args"] = jnp.arange(size), (size, size)
        elif message["type"] in ("sample", "deterministic", "param"):
            message["name"] = underscored(message["name"])
            if message["type"] == "param" and message["name"] in self.params:
                message["value"], message["stop"] = restored(message, self.params[message["name"]]), True
            if message["type"] != "sample":
                return
            if message["is_observed"]:
                message["fn"] = bounded(message["fn"])
            elif is_undrawn(message) and 0 in shape_of(message):
                message["value"], message["is_observed"] = jnp.zeros(shape_of(message)), True
            elif not message["fn"].support.is_discrete:
                fn = unmasked(message["fn"])[0] if self.unmask else message["fn"]
                message["fn"] = startable(fn)


def plain(value: Any) -> Any:
    """A param's value as an array, a dict of arrays, or of any other tree of them its leaves by number."""
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if hasattr(value, "shape") or isinstance(value, int | float):
        return np.asarray(value)
    return dict(enumerate(map(np.asarray, jax.tree.leaves(value))))


def restored(message: Message, value: Any) -> Any:
    """A param's value in the form that the model gives it."""
    if not isinstance(value, Mapping) or 0 not in value:
        return jax.tree.map(jnp.asarray, value)
    start = message["fn"](*message["args"])
    return jax.tree.unflatten(jax.tree.structure(start), [jnp.asarray(leaf) for leaf in value.values()])


def shape_of(message: Message) -> tuple[int, ...]:
    return message["fn"].shape(message["kwargs"].get("sample_shape", ()))


def is_undrawn(message: Message) -> bool:
    return not message["is_observed"] and message["value"] is None


class Inspector(Messenger):
    """Tell an `Inspection` of every plate, param and site."""

    def __init__(self, inspection: Inspection) -> None:
        self.inspection = inspection
        super().__init__(None)

    def process_message(self, message: Message) -> None:
        kind, name, inspection = message["type"], str(message.get("name")), self.inspection
        inspection.scans = inspection.scans or kind == "control_flow"
        if kind == "plate" and message["value"] is None:
            inspection.plate(name, *message["args"])
        elif kind in ("sample", "deterministic"):
            inspection.name(name)
            if kind == "sample" and not message["is_observed"]:
                inspection.latent(name, message["fn"], shape_of(message), "numpyro", unmasked(message["fn"])[1])

    def postprocess_message(self, message: Message) -> None:
        if message["type"] == "param" and message["value"] is not None:
            self.inspection.params[message["name"]] = plain(message["value"])


class Placed(Messenger):
    """Give continuous latents values by their shapes and supports: a prior may not be drawn from, or overflow."""

    def __init__(self, seed: int, radius: float) -> None:
        self.rng, self.radius = np.random.default_rng(seed), radius
        super().__init__(None)

    def process_message(self, message: Message) -> None:
        if message["type"] == "sample" and is_undrawn(message) and not message["fn"].support.is_discrete:
            with suppress(NotImplementedError):  # of a support without a transform the prior itself is drawn from
                message["value"] = place(message["fn"], shape_of(message), self.rng, self.radius)


def sites_of(trace: Mapping[str, Message]) -> dict[str, Site]:
    """The sites of a trace, their values in NumPy where they are numbers and not yet to be computed."""
    sites = {}
    for name, raw in trace.items():
        if raw["type"] not in ("sample", "deterministic"):
            continue
        kind = "derived" if raw["type"] == "deterministic" else "observed" if raw["is_observed"] else "latent"
        if kind == "latent" and raw["fn"].support.is_discrete:
            kind = "discrete"
        value = None if isinstance(raw["value"], jax.core.Tracer) else np.asarray(raw["value"])
        sites[name] = Site(kind, np.shape(raw["value"]), value, raw)
    return sites


def abstract(model: str, arguments: Mapping[str, Any]) -> dict[str, Site]:
    """The sites of a catalogue model's twin on these arguments: shapes, and the values that are observed."""
    data, static = split_arguments(arguments)
    program = handlers.seed(partial(twins.as_written(model, "numpyro"), **data, **dict(static)), 0)
    traces: list[Any] = []
    jax.eval_shape(unvalidated(lambda: traces.append(handlers.trace(program).get_trace())))
    sites = sites_of(traces[0])
    if any(site.kind == "observed" and site.value is None for site in sites.values()):  # obs is computed in the model
        with Placed(0, 1.0):  # to compile a prior's sampler may take seconds
            sites = sites_of(handlers.trace(program).get_trace())
    return sites


def draw(user: Any, values: Mapping[str, Any], inspection: Inspection, seed: int, radius: float) -> dict[str, Site]:
    """The sites of a user's model at values of its latents near the origin of the unconstrained space."""
    data, static = split_arguments(values)
    given, params = without_params(data | dict(static))
    with Placed(seed, radius), Unsplit(params), Inspector(inspection):
        model = handlers.seed(user.run, jax.random.key(seed))
        return sites_of(handlers.trace(model).get_trace(**given))


def log_joints(
    user: Any,
    values: Mapping[str, Any],
    points: Sequence[Mapping[str, Any]],
    jit: bool,
    unmask: bool = True,
    seed: int = 0,
) -> tuple[tuple[float, ...], set[str]]:
    """log p(x, z) in nats at values of the latents, and the names of the deterministic sites that are left.

    Without ``unmask`` elements that are masked out have no density, as in the model as written. The seed is that of
    what the model draws itself.
    """
    data, static = split_arguments(values)
    model, derived = partial(twin(user).model if unmask else partial(unsplit, user, False), **dict(static)), set[str]()
    model = handlers.seed(model, seed)

    def joint(data: Any, latents: Any) -> jax.Array:
        total, trace = log_density(model, (), data, latents)
        derived.update(name for name, site in trace.items() if site["type"] == "deterministic")
        return total

    if jit:  # with all values of discrete latents at once it would take seconds op by op
        joint = jax.jit(unvalidated(joint), compiler_options=ONCE)
    return tuple(float(joint(data, dict(point))) for point in points), derived


def points_of(draws: Mapping[str, np.ndarray]) -> list[dict[str, jax.Array]]:
    """Draws of shape (count, *site) one by one."""
    count = len(next(iter(draws.values())))
    return [{name: jnp.asarray(value[row]) for name, value in draws.items()} for row in range(count)]


def check_discrete(
    user: Any, values: Mapping[str, Any], traces: Sequence[Mapping[str, Message]], discrete: Sequence[str], scans: bool
) -> str:
    """What the reader should know of discrete latents that are summed out; ValueError where they cannot be."""
    data, static = split_arguments(values)
    return enumeration().check(partial(unsplit, user, **dict(static)), data, traces, discrete, scans)


def merge(there: np.ndarray, first: Any, second: Any) -> Any:
    """A value that is the first where ``there`` holds, else the second."""
    return jnp.where(there, first, second)


def support_point(site: Message, first: Message) -> jax.Array:
    """A fixed point of the unconstrained space, mapped to the support of the site; ``first`` has its size."""
    transform = biject_to(site["fn"].support)
    return transform(0.5 + jnp.zeros_like(transform.inv(first["value"])))


def runs(user: Any, values: Mapping[str, Any]) -> bool:
    """Whether a user's model runs on the shapes of its arrays, and the values of those that are held fixed."""
    data, static = split_arguments(values)
    model = handlers.seed(partial(unsplit, user, **dict(static)), 0)

    def run(data: Any) -> None:
        model(**data)

    try:
        jax.eval_shape(unvalidated(run), data)
    except Exception:  # what is wrong is said when the model is inspected
        return False
    return True


def refuse_uncompilable(user: Any, values: Mapping[str, Any]) -> None:
    """Raise ValueError for a model that needs the values of its latents, not only their shapes, to run."""
    data, static = split_arguments(values)
    model = partial(twin(user).model, **dict(static))
    try:
        jax.eval_shape(lambda data: handlers.seed(model, 0)(**data), data)
    except Exception as error:
        raise ValueError(
            "the model needs the values of its latents to run, and so cannot be compiled; compute with jax.numpy and "
            f"jnp.where, not with NumPy and if: {one_line(error)}"
        ) from error


@lru_cache(maxsize=64)
def twin(user: Any) -> ModuleType:
    """A user's model as a module of its own, like the catalogue's; its discrete latents are summed out."""
    return summed_out(f"user_model.{user.name}", partial(unsplit, user))


def unsplit(user: Any, unmask: bool = True, /, **data: Any) -> Any:
    """The model as its user wrote it, its plates not subsampled, its params held; without ``unmask`` its masks too."""
    given, params = without_params(data)
    with Unsplit(params, unmask):
        return user.run(**given)


@registry.cached_by_model(64)
def deterministic(model: str, static: tuple, names: tuple[str, ...]) -> Callable[..., Any]:
    """The deterministic sites of many points, compiled."""
    program = partial(twins.twin(model, "numpyro").model, **dict(static))

    @unvalidated
    def at_point(latents: Any, data: Any) -> Any:
        trace = handlers.trace(handlers.seed(handlers.substitute(program, latents), 0)).get_trace(**data)
        return {name: trace[name]["value"] for name in names}

    return jax.jit(jax.vmap(at_point, in_axes=(0, None)), compiler_options=ONCE)


def derive(
    model: str, arguments: Mapping[str, Any], names: Sequence[str], latents: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The deterministic sites of these names at latents of shapes (count, *site)."""
    data, static = split_arguments(arguments)
    return {
        name: np.asarray(value) for name, value in deterministic(model, static, tuple(names))(latents, data).items()
    }
