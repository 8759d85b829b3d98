"""The groups of a fit's tree that ArviZ's functions ask for, beside the posterior and the observed data.

`log_likelihood` (log p of each observation), `log_prior` (log p of each latent's elements), `posterior_predictive`,
`prior` and `prior_predictive`. A group that cannot be had, or would be too large, is left out: the tree's attribute
``no_GROUP`` says why. It never fails a fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import arviz_base
import numpy as np
import xarray as xr

from compare import registry
from compare.comparison import Job
from compare.fit.density import layout_of
from compare.fit.tree import N_CHAINS, keep, split
from compare.messages import one_line
from compare.user_model.sitewise import Arrays, Sitewise, draw_prior, evaluate
from models.contract import Latents

GROUPS = ("log_likelihood", "log_prior", "posterior_predictive", "prior", "prior_predictive")
"""The groups that are added."""

LARGEST = 1 << 22
"""Numbers that a group may hold; the draws of 1,000 observations are about as many."""

DOUBLES = 1 << 20
"""Numbers beyond which a group is stored in single precision."""

PRIOR_DRAWS = 1024
"""Draws from the prior, at least as many as any chain needs for a picture."""

SUM_ERROR = 1e-6
"""How far the sum of a site's terms may be from the density that the fit itself was weighed by, relative to it."""


class Prior(NamedTuple):
    """Draws from the prior and of observations from it; the problem says why either is empty."""

    latents: Arrays
    observed: Arrays
    problem: str
    problem_observed: str


_priors: dict[tuple[str, str, int, int], tuple[Any, Prior]] = {}  # with the data, so that no other gets their address


def with_groups(job: Job, tree: xr.DataTree) -> xr.DataTree:
    """The tree with the groups of ArviZ's schema, and the reasons for those that are left out in its attributes."""
    if "posterior" not in tree or "sample_stats" not in tree:
        return tree
    try:
        groups, lacking = groups_of(job, tree)
    except Exception as error:
        groups, lacking = {}, dict.fromkeys(GROUPS, one_line(error))
    observed = {name: with_axis(np.asarray(value), 0) for name, value in layout_of(job).observed.items()}
    added = arviz_base.from_dict({**groups, "observed_data": observed}) if groups else {}
    for name in (*groups, "observed_data") if groups else ():
        tree[name] = xr.DataTree(added[name].to_dataset())
    if "log_likelihood" in groups:
        tree["log_likelihood"].attrs["observations"] = "; ".join(observations(groups["log_likelihood"]))
    tree.attrs |= {f"no_{name}": lacking.get(name, "the model has none") for name in GROUPS if name not in groups}
    return tree


def groups_of(job: Job, tree: xr.DataTree) -> tuple[dict[str, Arrays], dict[str, str]]:
    """The groups, each array of shape (chain, draw, ...), and why the others are left out."""
    layout, posterior = layout_of(job), tree["posterior"].dataset
    shape = posterior.sizes["chain"], posterior.sizes["draw"]
    latents = {site: np.asarray(posterior[site]) for site in layout.latents if site in posterior}
    short = [site for site, full in layout.latents.items() if site not in latents or latents[site].shape[2:] != full]
    if short:
        raise ValueError(f"the tree holds only some elements of site {short[0]!r}")
    flat = {site: value.reshape(-1, *value.shape[2:]) for site, value in latents.items()}
    n_observed = sum(map(np.size, layout.observed.values()))
    size = int(np.prod(shape)) * max(n_observed, layout.dimension)
    if size > LARGEST:
        raise ValueError(f"it would hold {size:,} numbers, more than {LARGEST:,}; ask for fewer draws")
    library = registry.fitting_library(job)
    side = import_module(f"compare.user_model.sitewise_{library}")
    program = side.program(job.model, job.data.arguments())
    seen = evaluate(program, flat, layout.observed, job.fit_seed)
    refuse_other_density(seen, tree)
    prior = prior_of(job, library, flat)
    groups = {
        "log_likelihood": in_chains(seen.log_likelihood, shape, 0),
        "log_prior": in_chains(seen.log_prior, shape),
        "posterior_predictive": in_chains(seen.replicated, shape, 0),
        "prior": split(prior.latents),
        "prior_predictive": in_chains(prior.observed, (N_CHAINS, -1), 0),
    }
    lacking = {
        "posterior_predictive": seen.problem,
        "prior": prior.problem,
        "prior_predictive": prior.problem or prior.problem_observed,
    }
    return {name: group for name, group in groups.items() if group}, lacking


def refuse_other_density(seen: Sitewise, tree: xr.DataTree) -> None:
    """Raise ValueError where the terms do not add up to the densities that the tree already has."""
    stats = tree["sample_stats"].dataset
    known = {"log_prior": stats["log_prior"], "log_likelihood": stats["log_joint"] - stats["log_prior"]}
    for name, density in known.items():
        values = np.asarray(density).ravel()
        terms = [value.reshape(len(values), -1).sum(axis=1) for value in getattr(seen, name).values()]
        size = 1 + np.abs(stats["log_joint"].values.ravel())
        total = sum(terms, np.zeros(len(values)))
        if not np.all((total == values) | (np.abs(total - values) <= SUM_ERROR * size)):  # both may be -inf
            raise ValueError(f"its terms do not add up to the {name.replace('_', ' ')} of the whole model")


def prior_of(job: Job, library: str, latents: Latents) -> Prior:
    """Draws from the prior, the same for every fit of a comparison that a library's twin can make."""
    key = (job.model, library, job.seed, id(job.data))
    if key not in _priors:
        if len(_priors) > 8:
            _priors.clear()
        _priors[key] = job.data, drawn_prior(job, library, latents)
    return _priors[key][1]


def drawn_prior(job: Job, library: str, latents: Latents) -> Prior:
    """Draws from the prior; ``latents`` are some points of the support to start from."""
    layout, side = layout_of(job), import_module(f"compare.user_model.sitewise_{library}")
    if layout.improper:
        reason = f"the prior of site {layout.improper[0]!r} is improper"
        return Prior({}, {}, reason, reason)
    size = max(1, layout.dimension, sum(map(np.size, layout.observed.values())))
    count = PRIOR_DRAWS if size * PRIOR_DRAWS <= LARGEST else N_CHAINS * 16
    rows = np.arange(count) % len(next(iter(latents.values())))
    start = {site: value[rows] for site, value in latents.items()}
    try:
        drawn, observed, problem = draw_prior(side, job.model, job.data.arguments(), start, layout.observed, job.seed)
        bad = next((site for site, value in drawn.items() if not np.isfinite(value).all()), None)
        if bad is not None:
            raise ValueError(f"draws of site {bad!r} from the prior are not finite")
        known, _ = keep({site: drawn[site] for site in layout.latents}, job)
    except Exception as error:
        return Prior({}, {}, one_line(error), one_line(error))
    bad = next((site for site, value in observed.items() if not np.isfinite(value).all()), None)
    if bad is not None:
        return Prior(known, {}, "", f"draws of site {bad!r} from the prior predictive are not finite")
    return Prior(known, observed, "", problem)


def in_chains(values: Mapping[str, np.ndarray], shape: tuple[int, int], least: int | None = None) -> Arrays:
    """Values of shape (count, ...) by chain and draw; with ``least`` one number a draw is one observation's."""
    chains = {name: value.reshape(*shape, *value.shape[1:]) for name, value in values.items()}
    if least is not None:
        chains = {name: with_axis(value, 2) for name, value in chains.items()}
    total = sum(value.size for value in chains.values())
    kind = np.float32 if total > DOUBLES else np.float64
    return {name: value.astype(kind) if value.dtype.kind == "f" else value for name, value in chains.items()}


def with_axis(value: np.ndarray, axes: int) -> np.ndarray:
    """A value of one observation with an axis of length 1 for it, behind ``axes`` others."""
    return value[..., None] if value.ndim == axes else value


def observations(log_likelihood: Arrays) -> list[str]:
    """What counts as an observation, site by site."""
    counts = {name: int(np.prod(value.shape[2:])) for name, value in log_likelihood.items()}
    return [f"{name}: {count:,} observation{'s' * (count != 1)}" for name, count in counts.items()]
