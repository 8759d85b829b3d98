"""Data sets drawn from a user's model: latents from their prior, then what is observed given them.

The library tells each site's distribution and NumPy draws from it (`compare.user_model.sitewise`). The model is then
run on the drawn data as on its user's own, and must give them the density that they were drawn with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np

from compare.messages import one_line
from compare.user_model import tracing
from compare.user_model.observations import find_sources, replace_observed
from compare.user_model.sites import Inspection, is_by_hand
from compare.user_model.sitewise import LARGEST, Arrays, Joint, draw_joint
from models.contract import Simulated

CHECKED = 64
"""Drawn data sets that the model is run on to compare densities."""

ROUNDING = 1e-6
"""Relative difference of two log densities that rounding explains."""


def simulate(user: Any, data: Any, rng: np.random.Generator, count: int) -> Simulated:
    """``count`` draws from the joint distribution of a user's model, in the shapes and with the constants of its data.

    Args:
        user: The model.
        data: Its `UserData`.
        rng: What the draws follow from.
        count: How many.

    Raises:
        ValueError: the model cannot be simulated: nothing is observed, a prior is improper or cannot be drawn from, a
            factor, a scaled density, a mask that moves, observations that are no argument or are used elsewhere.
    """
    layout, seed = data.layout, int(rng.integers(2**31))
    if layout.improper:
        raise ValueError(f"the prior of site {layout.improper[0]!r} is improper: nothing can be drawn from it")
    if not layout.observed:
        raise ValueError("the model observes nothing on its data: there is no data set to draw")
    sources = find_sources(user, data.values, layout.observed)
    joint = draw_all(user, data, seed, count)
    rows = [{site: value[row] for site, value in joint.observed.items()} for row in range(count)]
    arguments = [replace_observed(data.values, sources, row) for row in rows]
    refuse_other_density(user, arguments[:CHECKED], joint, sorted({source.argument for source in sources.values()}))
    sets = [
        replace(
            data,
            values=values,
            layout=replace(layout, observed=layout.observed | row),
            truth=user.exact_on(values) if user.exact_follows_data else None,
            posterior=None,
        )
        for values, row in zip(arguments, rows, strict=True)
    ]
    return Simulated({site: joint.latents[site] for site in layout.latents}, tuple(sets))


def draw_all(user: Any, data: Any, seed: int, count: int) -> Joint:
    """Draws from the joint distribution, in pieces that fit into memory."""
    side = import_module(f"compare.user_model.sitewise_{user.library}")
    layout = data.layout
    size = layout.dimension + sum(map(np.size, layout.observed.values()))
    chunk = min(count, max(16, LARGEST // size))
    program = side.program(user.name, data.values, prior=True, joint=True, patience=math.inf)
    start = side.latents_of(program, chunk) | starts(user, data.values, chunk)
    with np.errstate(over="ignore", invalid="ignore"):  # draws that overflow are refused
        pieces = [draw_joint(program, start, layout.observed, seed + begin) for begin in range(0, count, chunk)]
    refuse_not_finite(pieces)
    latents = joined([piece.latents for piece in pieces], count)
    observed = joined([piece.observed for piece in pieces], count)
    return Joint(latents, observed, joined([piece.log_densities for piece in pieces], count))


def starts(user: Any, values: Mapping[str, Any], count: int) -> Arrays:
    """Points of the support of the continuous latents, shape (count, *site).

    Raises:
        ValueError: a site is a factor.
    """
    side = import_module(f"compare.user_model.in_{user.library}")
    sites = tracing.draw(side, user, values, Inspection(), 0)
    for name, site in sites.items():
        if site.kind != "derived" and is_by_hand(site.raw["fn"]):
            raise ValueError(f"site {name!r} is a factor, from which nothing can be drawn; sample what it stands for")
    latents = {name: np.asarray(site.value) for name, site in sites.items() if site.kind == "latent"}
    return {name: np.repeat(value[None], count, axis=0) for name, value in latents.items()}


def joined(pieces: list[Arrays], count: int) -> Arrays:
    return {name: np.concatenate([piece[name] for piece in pieces])[:count] for name in pieces[0]}


def refuse_not_finite(pieces: list[Joint]) -> None:
    """Raise ValueError for draws that overflow."""
    for piece in pieces:
        for site, value in (piece.latents | piece.observed).items():
            bad = ~np.isfinite(value)
            if bad.any():
                raise ValueError(
                    f"{np.sum(bad.reshape(len(bad), -1).any(axis=1)):,} of {len(bad):,} draws of site {site!r} are "
                    "not finite; give the model priors whose draws it can be run on"
                )


def refuse_other_density(user: Any, arguments: list[dict[str, Any]], joint: Joint, names: list[str]) -> None:
    """Raise ValueError for a model that gives drawn data another density than the one they were drawn from.

    Such a model uses its observations elsewhere too, as covariates, say.
    """
    side = import_module(f"compare.user_model.sitewise_{user.library}")
    observed = " and ".join(map(repr, names))
    for row, values in enumerate(arguments):
        point = {site: value[[row]] for site, value in joint.latents.items()}
        try:
            terms = side.program(user.name, values, joint=True).run(point, {}, 0)
        except Exception as error:
            raise ValueError(f"the model could not be run on drawn values of {observed}: {one_line(error)}") from error
        drawn = {site: float(value[row]) for site, value in joint.log_densities.items()}
        again = {site: float(value[0]) for site, value in terms.log_densities().items()}
        for site in drawn | again:
            first, second = (part.get(site, math.nan) for part in (drawn, again))
            if not np.isclose(first, second, rtol=ROUNDING, atol=ROUNDING):
                raise ValueError(
                    f"the model depends on {observed} other than by what it observes: on drawn data the log density of "
                    f"site {site!r} is {abs(first - second):.3g} nats from the one that it was drawn with; what is "
                    "observed must not be a covariate, a size or a prior's parameter too"
                )
