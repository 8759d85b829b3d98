"""What a Pyro model consists of, and the form in which the fits take a user's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import lru_cache, partial
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pyro
import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from pyro.poutine.subsample_messenger import SubsampleMessenger, _Subsample
from torch.distributions import biject_to

from compare.user_model import enumeration_pyro, twins
from compare.user_model.arguments import without_params
from compare.user_model.density_pyro import split_arguments
from compare.user_model.held_pyro import Held
from compare.user_model.likelihoods_pyro import bounded
from compare.user_model.mixed_pyro import Promoted, is_mixed
from compare.user_model.priors_pyro import place, startable, unmasked
from compare.user_model.sites import Inspection, Site, underscored
from compare.user_model.twin_pyro import summed_out

Message = dict[str, Any]

MIXED: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()
"""Whether a user's model was refused by torch for tensors of float32 beside the zoo's of float64."""


@contextmanager
def unsplit_plates(inspection: Inspection | None = None) -> Iterator[None]:
    """One posterior for all fits: no plate is subsampled. A plate's size is not to be changed by a message."""
    original = SubsampleMessenger._subsample

    def whole_plate(name: str, size: Any = None, subsample_size: Any = None, subsample: Any = None, *more: Any) -> Any:
        part = len(subsample) if subsample is not None else subsample_size
        if size is None or part in (None, size):
            return original(name, size, subsample_size, subsample, *more)
        if inspection is not None:
            inspection.plate(name, size, part)
        return original(name, size, None, None, *more)

    SubsampleMessenger._subsample = staticmethod(whole_plate)  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        SubsampleMessenger._subsample = staticmethod(original)  # type: ignore[method-assign]


class Plain(Messenger):
    """No slash in a name, which NetCDF could not hold; an empty site is given; every latent has a prior that can be
    drawn from, in float64, and with ``unmask`` a density everywhere; and observed values have none outside of their
    support. ``params`` are held at these values."""

    def __init__(self, params: Mapping[str, Any], unmask: bool = True) -> None:
        super().__init__()
        self.params, self.unmask = params, unmask

    def _pyro_param(self, message: Message) -> None:
        if message["name"] in self.params:
            message["value"], message["done"] = torch.as_tensor(self.params[message["name"]]), True
            message["stop"] = True

    def _pyro_sample(self, message: Message) -> None:
        if isinstance(message["fn"], _Subsample):
            return
        message["name"] = underscored(message["name"])
        if message["is_observed"]:
            message["fn"] = bounded(message["fn"])
        elif is_undrawn(message) and 0 in message["fn"].shape():
            message["value"], message["is_observed"] = torch.zeros(message["fn"].shape()), True
        elif not getattr(message["fn"], "has_enumerate_support", False):
            fn = message["fn"]
            if self.unmask:
                fn = unmasked(fn)[0]
                message["mask"] = None if isinstance(message["mask"], torch.Tensor) else message["mask"]
            message["fn"] = startable(fn)

    def _pyro_post_sample(self, message: Message) -> None:
        if not message["is_observed"] and getattr(message["value"], "dtype", None) == torch.float32:
            message["value"] = message["value"].double()


def is_undrawn(message: Message) -> bool:
    return not message["is_observed"] and message["value"] is None


class Inspector(Messenger):
    """Tell an `Inspection` of every param and site."""

    def __init__(self, inspection: Inspection) -> None:
        super().__init__()
        self.inspection = inspection

    def _pyro_post_param(self, message: Message) -> None:
        if any(isinstance(argument, torch.nn.Parameter) for argument in message["args"]):
            self.inspection.weights.append(message["name"])
        self.inspection.params[message["name"]] = message["value"].detach().numpy().copy()

    def _pyro_sample(self, message: Message) -> None:
        if isinstance(message["fn"], _Subsample):
            return
        self.inspection.name(message["name"])
        if not message["is_observed"]:
            fn, inner = message["fn"], unmasked(message["fn"])[1]
            mask = message["mask"] if inner is None or message["mask"] is False else inner
            self.inspection.latent(message["name"], fn, tuple(fn.shape()), "pyro", mask)


class Placed(Messenger):
    """Give continuous latents values by their shapes and supports: a prior may not be drawn from, or overflow."""

    def __init__(self, seed: int, radius: float) -> None:
        super().__init__()
        self.rng, self.radius = np.random.default_rng(seed), radius

    def _pyro_sample(self, message: Message) -> None:
        fn = message["fn"]
        if is_undrawn(message) and not isinstance(fn, _Subsample) and not getattr(fn, "has_enumerate_support", False):
            with suppress(NotImplementedError):  # of a support without a transform the prior itself is drawn from
                message["value"], message["done"] = place(fn, tuple(fn.shape()), self.rng, self.radius), True


def promotion(user: Any, given: Mapping[str, Any], params: Mapping[str, Any]) -> AbstractContextManager[Any]:
    """What a user's model runs in: `Promoted`, which takes time, only where a first run cannot do without it."""
    if user not in MIXED:
        with (
            torch.no_grad(),
            torch.random.fork_rng(devices=[]),
            pyro.get_param_store().scope(),
            poutine.block(),
            Placed(0, 1.0),
            Plain(params),
        ):
            MIXED[user] = is_mixed(partial(user.run, **given))
    return Promoted() if MIXED[user] else nullcontext()


def sites_of(trace: poutine.Trace) -> dict[str, Site]:
    """The sample sites of a trace, plates apart."""
    sites = {}
    for name, raw in trace.nodes.items():
        if raw["type"] != "sample" or isinstance(raw["fn"], _Subsample):
            continue
        if raw["is_observed"]:
            kind = "derived" if raw["infer"].get("_deterministic") else "observed"
        else:
            kind = "discrete" if getattr(raw["fn"], "has_enumerate_support", False) else "latent"
        is_tensor = isinstance(raw["value"], torch.Tensor)
        value = raw["value"].detach().numpy() if is_tensor else np.zeros(0)
        sites[name] = Site(kind, tuple(value.shape), value, raw)
    return sites


def abstract(model: str, arguments: Mapping[str, Any]) -> dict[str, Site]:
    """The sites of a catalogue model's twin on these arguments, at a draw from its prior."""
    data, static = split_arguments(arguments)
    with torch.no_grad(), torch.random.fork_rng(devices=[]), pyro.validation_enabled(False), poutine.block():
        return sites_of(poutine.trace(twins.as_written(model, "pyro")).get_trace(**data, **dict(static)))


@torch.no_grad()
def draw(user: Any, values: Mapping[str, Any], inspection: Inspection, seed: int, radius: float) -> dict[str, Site]:
    """The sites of a user's model at values of its latents near the origin of the unconstrained space."""
    data, static = split_arguments(values)
    given, params = without_params(data | dict(static))
    pyro.set_rng_seed(seed)
    with (
        pyro.validation_enabled(True),
        unsplit_plates(inspection),
        poutine.trace() as tracer,
        Placed(seed, radius),
        Plain(params),
        Inspector(inspection),
        promotion(user, given, params),
    ):
        user.run(**given)
    return sites_of(tracer.trace)


@torch.no_grad()
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
    model = partial(twin(user).model if unmask else partial(unsplit, user, False), **dict(static))
    joints, derived = [], set[str]()
    for point in points:
        with torch.random.fork_rng(devices=[]), pyro.validation_enabled(True), Held(dict(point)):
            torch.manual_seed(seed)
            trace = poutine.trace(model).get_trace(**data)
            joints.append(float(trace.log_prob_sum()))
        derived = {name for name, site in sites_of(trace).items() if site.kind == "derived"}
    return tuple(joints), derived


def points_of(draws: Mapping[str, np.ndarray]) -> list[dict[str, torch.Tensor]]:
    """Draws of shape (count, *site) one by one."""
    count = len(next(iter(draws.values())))
    return [{name: torch.as_tensor(value[row]) for name, value in draws.items()} for row in range(count)]


@torch.no_grad()
def check_discrete(
    user: Any, values: Mapping[str, Any], traces: Sequence[Mapping[str, Message]], discrete: Sequence[str], scans: bool
) -> str:
    """What the reader should know of discrete latents that are summed out; ValueError where they cannot be."""
    data, static = split_arguments(values)
    with pyro.validation_enabled(True):
        return enumeration_pyro.check(partial(unsplit, user, **dict(static)), data, traces, discrete)


def merge(there: np.ndarray, first: Any, second: Any) -> Any:
    """A value that is the first where ``there`` holds, else the second."""
    return torch.where(torch.as_tensor(np.array(there)), first, second)


def support_point(site: Message, first: Message) -> torch.Tensor:
    """A fixed point of the unconstrained space, mapped to the support of the site; ``first`` has its size."""
    transform = biject_to(site["fn"].support)
    return transform(torch.full_like(transform.inv(first["value"]), 0.5))


def runs(user: Any, values: Mapping[str, Any]) -> bool:
    """Whether a user's model runs on the data as they are: Pyro has their values, whatever they are needed for."""
    return True


def refuse_uncompilable(user: Any, values: Mapping[str, Any]) -> None:
    """Pyro compiles nothing: every model that runs will do."""


@lru_cache(maxsize=64)
def twin(user: Any) -> ModuleType:
    """A user's model as a module of its own, like the catalogue's; its discrete latents are summed out."""
    return summed_out(f"user_model.{user.name}", partial(unsplit, user))


def unsplit(user: Any, unmask: bool = True, /, **data: Any) -> Any:
    """The model as its user wrote it, its plates not subsampled, its params held; without ``unmask`` its masks too."""
    given, params = without_params(data)
    with unsplit_plates(), Plain(params, unmask), promotion(user, given, params):
        return user.run(**given)


@torch.no_grad()
def derive(
    model: str, arguments: Mapping[str, Any], names: Sequence[str], latents: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The deterministic sites of these names at latents of shapes (count, *site)."""
    data, static = split_arguments(arguments)
    program = partial(twins.twin(model, "pyro").model, **dict(static))
    program(**data)  # outside of vmap: whether there are discrete latents is found out by drawing

    def at_point(latents: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        with Held(latents):
            trace = poutine.trace(program).get_trace(**data)
        return {name: trace.nodes[name]["value"] for name in names}

    with pyro.validation_enabled(False):
        values = torch.func.vmap(at_point)({name: torch.as_tensor(value) for name, value in latents.items()})
    return {name: value.numpy() for name, value in values.items()}
