"""The mixture's own picture: the plane of two locations with each guide in its mode, and the density with bands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import stats

from models.contract import Exact, Latents, Picture
from models.mixture.data import MixtureData
from models.plotting import (
    EXACT,
    GREY,
    PALE,
    Fits,
    find_reference,
    flat_draws,
    new_figure,
    one_per_family,
    save,
)

MOST_DRAWS = 1000


def density(data: MixtureData, latents: Latents, grid: np.ndarray) -> np.ndarray:
    """The density of a new value at places, shape (n_draws, places)."""
    locations = np.asarray(latents["locations"])
    weights, scale = latents.get("weights", np.ones((len(locations), 1))), latents.get("scale", data.known_scale)
    if data.has_own_scales:
        scales = np.sqrt(np.asarray(latents["variances"]))
    else:
        scales = np.broadcast_to(np.asarray(scale), (data.components, len(locations))).T
    total = np.zeros((len(locations), len(grid)))
    for k in range(data.components):
        total += weights[:, k, None] * stats.norm.pdf(grid, locations[:, k, None], scales[:, k, None])
    return total


def has_names(data: MixtureData) -> bool:
    return data.components > 1


def plane(fits: Fits, data: MixtureData, exact: Exact | None, path: Path) -> None:
    """Draw the first two locations and the density of a new value, by each fit."""
    figure = new_figure(11.0, 4.8)
    left, right = figure.subplots(1, 2)
    low, high = data.values.min(), data.values.max()
    room = 0.35 * (high - low or 1.0)
    grid = np.linspace(low - room, high + room, 300)
    reference = find_reference(fits)
    if reference:
        draws = flat_draws(fits[reference], 4 * MOST_DRAWS)
        left.scatter(*draws["locations"][:, :2].T, s=3, color=PALE, lw=0)
        values = density(data, {site: value[::4] for site, value in draws.items()}, grid)
        right.fill_between(grid, *np.quantile(values, (0.025, 0.975), axis=0), color=PALE, alpha=0.6, lw=0)
        right.plot(grid, values.mean(axis=0), color=EXACT, lw=1.6, label=reference)
    for fit in one_per_family(fits):
        draws = flat_draws(fit.tree, MOST_DRAWS)
        left.scatter(*draws["locations"][:, :2].T, s=4, color=fit.color, alpha=0.5, lw=0)
        values = density(data, draws, grid)
        for level in np.quantile(values, (0.025, 0.975), axis=0):
            right.plot(grid, level, color=fit.color, lw=0.8, ls=":")
        right.plot(grid, values.mean(axis=0), color=fit.color, lw=1.4, label=fit.label)
    ends = (low - room, high + room)
    left.plot(ends, ends, color=GREY, lw=0.9, ls="--")
    left.set(xlim=ends, ylim=ends, xlabel="location of component 1", ylabel="location of component 2", aspect="equal")
    left.set_title("equal modes, mirrored at the diagonal")
    right.plot(data.values, np.zeros(len(data.values)), "|", color=EXACT, ms=12)
    right.set(xlabel="value", ylabel="density", xlim=ends, ylim=(0, None))
    right.set_title("density of a new value: mean and 95% band")
    right.legend(fontsize=8)
    save(figure, path)


PICTURES = (
    Picture(
        "modes",
        "Left: the plane of the first two locations. Grey is the truth, whose modes are mirrored at the dashed line, "
        "where components change names; each guide sits in one. Right: the density of a new value, which no name "
        "enters: its mean (solid) and 95% band (grey, or dotted) by each fit; ticks are the values.",
        plane,
        has_names,
    ),
)
