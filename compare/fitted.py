"""Fitted guides in the library's own form, from a comparison or from `fit_guide`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np
import xarray as xr

import guides
from compare import user_model
from compare.comparison import Fit, Request
from compare.execute.progress import show_progress
from compare.fit import run
from compare.fit.reference.solve import with_posterior
from compare.measure.diagnostics import optimisation
from compare.options import Options
from compare.plan import plan, seconds_at_most
from compare.summary import Estimate, Optimisation
from compare.user_model import guides as user_guides
from compare.user_model.process import undisturbed


@dataclass(frozen=True, eq=False)
class FittedGuide:
    """A guide at the best member of its family that was found.

    Attributes:
        name: The fit's name, such as ``numpyro-full_rank``.
        params: The guide's params by name, constrained, as the library has them.
        tree: The draws, and what the optimiser did; where given params were judged, the draws are from these.
        fit: The fit as the comparison holds it.
    """

    name: str
    params: Mapping[str, Any]
    tree: xr.DataTree
    fit: Fit

    @property
    def optimisation(self) -> Optimisation:
        """Where the optimiser ended: its ``gap``, whether it ``converged``, and the ``reason`` if it did not."""
        return optimisation(self.fit)

    @property
    def gap(self) -> Estimate | None:
        """How many nats the fit is short of the best member, with its Monte Carlo error."""
        return self.optimisation.gap

    @property
    def elbo(self) -> Estimate:
        """The ELBO in nats, with its Monte Carlo error; of a guide without a density its objective, no bound."""
        end = self.tree["optimisation"].attrs
        if "objective" in end:
            return Estimate(float(end["objective"]), float(end["objective_mcse"]))
        return Estimate(float(end["elbo"]), float(end["elbo_mcse"]))

    @property
    def draws(self) -> xr.Dataset:
        """Draws from the guide, dimensions (chain, draw) and the sites' own."""
        return self.tree["posterior"].to_dataset()

    @cached_property
    def guide(self) -> Any:
        """The guide in the library's own form. In NumPyro it goes with ``params``; in Pyro an autoguide holds them, and
        those of a function go into the param store: ``pyro.get_param_store()[name] = value``."""
        job = self.fit.job
        library = import_module(f"compare.fit.svi.hand_back_{job.library}")
        settings = guides.load(job.guide).settings_in(job.options) if job.guide in guides.FAMILIES else ()
        return library.guide_of(user_model.find(job.model), job.guide, job.data.arguments(), self.params, settings)


def fitted(fit: Fit) -> FittedGuide | None:
    """The guide of a fit; None where it failed, or is not the fit of a guide to a user's model."""
    if fit.tree is None or "params" not in fit.tree or not user_model.knows(fit.job.model):
        return None
    return FittedGuide(fit.job.name, params_of(fit.tree.children["params"]), fit.tree, fit)


def params_of(group: xr.DataTree) -> dict[str, Any]:
    """A guide's params, nested as they were: the inverse of `compare.fit.svi.svi.as_group`."""
    params: dict[str, Any] = {}
    for value in group.dataset.data_vars.values():
        *path, name = json.loads(value.attrs["path"])
        place = params
        for key in path:
            place = place.setdefault(key, {})
        place[name] = value.values
    return {name: with_sequences(value) for name, value in params.items()}


def with_sequences(value: Any) -> Any:
    """A param with tuples in place of the mappings that stand for sequences."""
    if not isinstance(value, Mapping):
        return value
    items = {key: with_sequences(item) for key, item in value.items()}
    places = [re.fullmatch(r"\[(\d*)\]", key) for key in items]
    if not all(places):
        return items
    return tuple(items[f"[{place}]"] for place in sorted(int(match[1]) for match in places if match and match[1]))


def fit_guide(
    model: Callable[..., Any],
    data: Any = None,
    guide: Any = "full_rank",
    library: str | None = None,
    seed: int = 0,
    **options: Any,
) -> FittedGuide:
    """SVI without tuning: the best member of a family, and how far from it the optimiser stopped.

    Nothing is compared: the result says neither how far the family is from the posterior nor whether its means and sds
    are right.

    Args:
        model: A NumPyro or Pyro model.
        data: As for `compare.result.compare`.
        guide: The name of a family, or a guide of your own: a function, an autoguide, or its class.
        library: ``numpyro`` or ``pyro``; by default the one that the model uses.
        seed: Seed of all randomness.
        **options: Those of `compare.options.Options`.

    Raises:
        ValueError: the model or the guide cannot be handled, or the fit failed: one line says why.

    Examples:
        >>> import numpyro
        >>> import numpyro.distributions as dist
        >>> def model(y):
        ...     mean = numpyro.sample("mean", dist.Normal(0, 1))
        ...     numpyro.sample("y", dist.Normal(mean, 1), obs=y)
        >>> best = fit_guide(model, {"y": 1.0}, "mean_field")  # the posterior is Normal(0.5, sqrt(0.5))
        >>> {name: round(float(value[0]), 3) for name, value in best.params.items()}, best.optimisation.converged
        ({'auto_loc': 0.5, 'auto_scale': 0.707}, True)
    """
    settings = Options.given(options)
    own = user_model.register(model, library)
    (name,) = user_guides.names_of(own.name, [guide])
    with show_progress() as progress, undisturbed(own.library):
        given = user_model.check_guides(own, user_model.data_of(own, data), [name])
        request = Request(own.model, given, (own.library,), (name,), False, settings, seed)
        if given.layout.improper:  # an improper posterior is refused
            request = replace(request, data=with_posterior(request))
        (job,) = (job for job in plan(request) if job.guide == name)
        progress(f"{job.name}, up to {seconds_at_most(job):,.0f} s")
        fit = run(job)
    best = fitted(fit)
    if best is None:
        raise ValueError(f"guide {name!r} could not be fitted: {fit.reason}")
    if not all(np.isfinite(value) for value in (best.elbo.value, best.elbo.mcse)):
        raise ValueError(f"guide {name!r} could not be fitted: its ELBO is not finite where the fit ended")
    return best
