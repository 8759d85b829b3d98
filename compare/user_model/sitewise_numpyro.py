"""What a NumPyro model says of many points site by site."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro import handlers
from numpyro.primitives import Messenger

from compare import registry
from compare.user_model import twins
from compare.user_model.arguments import Static
from compare.user_model.density_numpyro import split_arguments
from compare.user_model.jit_numpyro import compiled, is_quick, unvalidated
from compare.user_model.likelihoods import original
from compare.user_model.priors_numpyro import Startable
from compare.user_model.sites import innermost, layers
from compare.user_model.sitewise import Arrays, Form, Terms
from compare.user_model.variates import SAMPLERS


class Replaced(Messenger):
    """Observed sites at other values than the data's; control flow, into which no handler reaches, is noted."""

    def __init__(self, function: Callable[..., Any], values: Mapping[str, Any]) -> None:
        self.values, self.scans = values, False
        super().__init__(function)

    def process_message(self, message: dict[str, Any]) -> None:
        self.scans |= message["type"] == "control_flow"
        if message["type"] == "sample" and message["is_observed"] and message["name"] in self.values:
            message["value"] = self.values[message["name"]]


def kind_of(base: Any) -> str | None:
    """The name of a distribution that NumPy draws from: NumPyro's own, and no other that has its name."""
    name = type(base).__name__
    return name if name in SAMPLERS and original(base) is getattr(dist, name, None) else None


def weights_of(site: Mapping[str, Any]) -> Any:
    """What the density of a site's elements is multiplied by: its scale, every mask, and the density of a point."""
    parts = [1.0 if site["scale"] is None else site["scale"]]
    for layer in layers(site["fn"]):
        if hasattr(layer, "_mask"):
            parts.append(layer._mask)
        if isinstance(layer, dist.Delta):
            parts.append(jnp.exp(layer.log_density))
    return jnp.concatenate([jnp.ravel(jnp.asarray(part, float)) for part in parts])


class Compiled:
    """A model at many points, compiled; with ``prior`` latents whose distribution only NumPyro draws are drawn too."""

    def __init__(self, function: Callable[..., Any], prior: bool) -> None:
        self.function, self.prior = function, prior
        self.forms: dict[str, Form] = {}
        self.problems: dict[str, str] = {}
        self.compiled = compiled(jax.vmap(self.at_point, in_axes=(0, 0, 0, None)))

    @unvalidated
    def at_point(self, latents: Any, observed: Any, row: Any, data: Any) -> Terms:
        replaced = Replaced(self.function, observed)
        program = handlers.substitute(handlers.seed(replaced, 0), latents)
        terms = Terms({}, {}, {}, {}, {})
        for number, (name, site) in enumerate(handlers.trace(program).get_trace(**data).items()):
            if site["type"] != "sample":
                continue
            is_latent, fn = name in latents, site["fn"]
            density = (1.0 if site["scale"] is None else site["scale"]) * fn.log_prob(site["value"])
            of_prior = is_latent or site["infer"].get("of_prior", False)
            (terms.prior if of_prior else terms.likelihood)[name] = density
            terms.weights[name] = weights_of(site)
            if not isinstance(innermost(fn), dist.Unit):
                self.note(name, fn, terms, partial(jax.random.fold_in, jax.random.key(row), number), is_latent)
        if replaced.scans:
            self.problems[""] = "the model has control flow of the library's own, within which nothing can be drawn"
        return terms

    def note(self, name: str, fn: Any, terms: Terms, key: Callable[[], Any], is_latent: bool) -> None:
        """Note how a site is drawn, and add what that takes to the terms."""
        base = innermost(fn)
        kind = kind_of(base)
        if any(isinstance(layer, Startable) for layer in layers(fn)):
            self.problems[name] = f"the prior of site {name!r} cannot be drawn from"
        self.forms[name] = Form(kind, base.event_dim)
        if kind is not None:
            names = SAMPLERS[kind].parameters
            terms.parameters[name] = {part: jnp.asarray(getattr(base, part)) for part in names}  # type: ignore[index]
        elif self.prior or not is_latent:
            try:
                terms.drawn[name] = fn.sample(key())
            except NotImplementedError:
                self.problems[name] = f"{type(base).__name__} at site {name!r} cannot be drawn from"


class Bound:
    """A compiled model on its data."""

    def __init__(self, model: Compiled, data: Mapping[str, Any]) -> None:
        self.model, self.data = model, data
        self.forms, self.problems = model.forms, model.problems

    def run(self, latents: Mapping[str, Any], observed: Mapping[str, Any], seed: int) -> Terms:
        """The terms at values of the latent and the observed sites."""
        count, size = len(next(iter(latents.values()))), sum(np.size(value) for value in latents.values())
        rows = np.random.default_rng(seed).integers(2**63, size=count)
        run = self.model.compiled[is_quick(size // count, dict(self.data))]
        return jax.tree.map(np.asarray, run(dict(latents), dict(observed), rows, self.data))


@registry.cached_by_model(64)
def compiled_model(model: str, static: Static, entry: str, prior: bool) -> Compiled:
    return Compiled(partial(getattr(twins.twin(model, "numpyro"), entry), **dict(static)), prior)


def program(
    model: str,
    arguments: Mapping[str, Any],
    prior: bool = False,
    joint: bool = False,
    patience: float = math.inf,
) -> Bound:
    """A model on its arguments; with ``joint`` a user's with its discrete latents, where they are not summed out.

    ``patience`` is Pyro's: here all points are run at once.
    """
    data, static = split_arguments(arguments)
    return Bound(compiled_model(model, static, "joint" if joint else "model", prior), data)


def latents_of(bound: Bound, count: int) -> Arrays:
    """Zeros of the shapes of all latent sites, the discrete ones too."""
    zeros: Arrays = {}

    def note() -> None:
        for name, site in handlers.trace(handlers.seed(bound.model.function, 0)).get_trace(**bound.data).items():
            if site["type"] == "sample" and not site["is_observed"]:
                zeros[name] = np.zeros((count, *site["value"].shape), site["value"].dtype)

    jax.eval_shape(unvalidated(note))
    return zeros
