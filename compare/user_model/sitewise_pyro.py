"""What a Pyro model says of many points site by site."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample

from compare.user_model import twins
from compare.user_model.density_pyro import CHUNK, split_arguments, stacked
from compare.user_model.held_pyro import Held, Tensors
from compare.user_model.likelihoods import original
from compare.user_model.priors_pyro import Startable
from compare.user_model.sites import innermost, layers
from compare.user_model.sitewise import Arrays, Form, Terms
from compare.user_model.variates import SAMPLERS

PATIENCE = 2.0
"""Seconds that one block of points may take of a model which can only be run point by point."""

KINDS = {
    "Bernoulli": "BernoulliProbs",
    "Binomial": "BinomialProbs",
    "Categorical": "CategoricalProbs",
}
"""Distributions whose names are others in NumPyro."""


class Replaced(Messenger):
    """Observed sites at other values than the data's."""

    def __init__(self, values: Tensors) -> None:
        super().__init__()
        self.values = values

    def _pyro_sample(self, message: dict[str, Any]) -> None:
        if message["is_observed"] and message["name"] in self.values:
            message["value"] = self.values[message["name"]]


def kind_of(base: Any) -> str | None:
    """The name of a distribution that NumPy draws from: Pyro's own, and no other that has its name."""
    name = type(base).__name__
    kind = KINDS.get(name, name)
    return kind if kind in SAMPLERS and original(base) is getattr(dist, name, None) else None


def parameters_of(fn: Any) -> dict[str, torch.Tensor]:
    """The parameters of a distribution that NumPy draws from; empty where it does not."""
    kind = kind_of(fn)
    names = SAMPLERS[kind].parameters if kind else ()
    return {part: torch.as_tensor(getattr(fn, part)) for part in names}


def weights_of(site: Mapping[str, Any]) -> torch.Tensor:
    """What the density of a site's elements is multiplied by: its scale, every mask, and the density of a point."""
    parts = [site["scale"], True if site["mask"] is None else site["mask"]]
    for layer in layers(site["fn"]):
        if hasattr(layer, "_mask"):
            parts.append(layer._mask)
        if isinstance(layer, dist.Delta):
            parts.append(torch.as_tensor(layer.log_density, dtype=torch.float64).exp())
    return torch.cat([torch.as_tensor(part, dtype=torch.float64).reshape(-1) for part in parts])


class Program:
    """A model on its data at many points: by torch.func.vmap, else one by one, if that takes these seconds at most."""

    def __init__(self, model: Callable[..., Any], data: Tensors, prior: bool, patience: float) -> None:
        self.model, self.data, self.prior, self.patience = model, data, prior, patience
        self.forms: dict[str, Form] = {}
        self.problems: dict[str, str] = {}
        self.is_mapped: bool | None = None

    def run(self, latents: Mapping[str, Any], observed: Mapping[str, Any], seed: int) -> Terms:
        """The terms at values of the latent and the observed sites.

        Raises:
            ValueError: the model can only be run point by point, which would take too long.
        """
        points, given = ({n: torch.tensor(np.asarray(v)) for n, v in part.items()} for part in (latents, observed))
        with torch.no_grad(), torch.random.fork_rng(devices=[]), pyro.validation_enabled(False):
            torch.manual_seed(seed)
            if self.is_mapped is None:
                # Outside of vmap: whether there are discrete latents is found out by drawing.
                poutine.block(self.model)(**self.data)  # type: ignore[no-untyped-call]
                self.is_mapped = self.can_map(points, given)
            if self.is_mapped:
                mapped = torch.func.vmap(self.at_point, chunk_size=CHUNK, randomness="different")
                return in_numpy(mapped(points, given))
            return self.looped(points, given)

    def can_map(self, latents: Tensors, observed: Tensors) -> bool:
        """Whether vmap gives what single runs give."""
        first = {n: v[:2] for n, v in latents.items()}, {n: v[:2] for n, v in observed.items()}
        try:
            mapped = in_numpy(torch.func.vmap(self.at_point, randomness="different")(*first))
        except Exception:  # what vmap cannot do it says in many ways
            return False
        alone = self.looped(*first)
        return all(
            np.allclose(ours[name], theirs[name], rtol=1e-9, equal_nan=True)
            for ours, theirs in zip(mapped[:2], alone[:2], strict=True)
            for name in theirs
        )

    def looped(self, latents: Tensors, observed: Tensors) -> Terms:
        """The terms of points one after another."""
        count, begin, points = len(next(iter(latents.values()))), time.perf_counter(), list[Terms]()
        for row in range(count):
            point = ({name: value[row] for name, value in part.items()} for part in (latents, observed))
            points.append(self.at_point(*point))
            seconds = (time.perf_counter() - begin) / (row + 1) * count
            if row == 10 and seconds > self.patience:
                raise ValueError(f"the model can only be run point by point, which would take {seconds:.0f} s or more")
        return in_numpy(Terms(*stacked(points)))

    def at_point(self, latents: Tensors, observed: Tensors) -> Terms:
        with Held(latents), Replaced(observed):
            trace: Any = poutine.trace(self.model).get_trace(**self.data)
        trace.compute_log_prob()
        terms = Terms({}, {}, {}, {}, {})
        for name, site in trace.nodes.items():
            if site["type"] != "sample" or site_is_subsample(site) or site["infer"].get("_deterministic"):
                continue
            of_prior = name in latents or site["infer"].get("of_prior", False)
            (terms.prior if of_prior else terms.likelihood)[name] = site["log_prob"]
            terms.weights[name] = weights_of(site)  # type: ignore[assignment]
            if not isinstance(innermost(site["fn"]), dist.Unit):
                self.note(name, site["fn"], terms, name in latents)
        return terms

    def note(self, name: str, fn: Any, terms: Terms, is_latent: bool) -> None:
        """Note how a site is drawn, and add what that takes to the terms."""
        base = innermost(fn)
        parameters = parameters_of(base)
        self.problems.pop(name, None)
        if any(isinstance(layer, Startable) for layer in layers(fn)):
            self.problems[name] = f"the prior of site {name!r} cannot be drawn from"
        self.forms[name] = Form(kind_of(base), base.event_dim)
        if parameters:
            terms.parameters[name] = parameters  # type: ignore[index]
        elif self.prior or not is_latent:
            try:
                terms.drawn[name] = fn.sample()
            except RuntimeError:  # vmap knows only some random numbers
                self.problems[name] = (
                    f"{type(base).__name__} at site {name!r} cannot be drawn from at many points at once"
                )


def in_numpy(terms: Terms) -> Terms:
    def convert(value: Any) -> Any:
        return {n: convert(v) for n, v in value.items()} if isinstance(value, Mapping) else value.detach().numpy()

    return Terms(*map(convert, terms))


def program(
    model: str,
    arguments: Mapping[str, Any],
    prior: bool = False,
    joint: bool = False,
    patience: float = PATIENCE,
) -> Program:
    """A model on its arguments; with ``joint`` a user's with its discrete latents, where they are not summed out."""
    data, static = split_arguments(arguments)
    function = getattr(twins.twin(model, "pyro"), "joint" if joint else "model")
    return Program(partial(function, **dict(static)), data, prior, patience)


def latents_of(program: Program, count: int) -> Arrays:
    """Zeros of the shapes of all latent sites, the discrete ones too."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]), pyro.validation_enabled(False):
        nodes = poutine.trace(program.model).get_trace(**program.data).nodes
    sites = {n: site for n, site in nodes.items() if site["type"] == "sample" and not site_is_subsample(site)}
    return {
        name: np.zeros((count, *site["value"].shape), site["value"].numpy().dtype)
        for name, site in sites.items()
        if not site["is_observed"]
    }
