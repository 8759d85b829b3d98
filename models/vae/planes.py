"""The plane of two latents: posteriors of single images with every guide's, and where all images and classes lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from models.vae.exact import Posteriors, posteriors
from models.vae.look import GREY, TRUTH, Fits, Shown, levels, one_a_family, put, tidy, tiled

__all__ = ["chosen", "latent", "plane"]

MASSES = (0.5, 0.8, 0.95)
"""What the contours hold of a posterior."""

SHADES = ("#8c8c8c", "#b8b8b8", "#dcdcdc")
DASHES = (0, (2, 1.2))

SHEET = 15
"""Images decoded along each side of the sheet."""

CLASSES = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#332288", "#882255", "#666666", "#117733",
)  # fmt: skip


def chosen(fits: Fits, data: Any, exact: Posteriors) -> list[tuple[int, str]]:
    """Which of the shown images to look at, by their place among them, and why: where mean field fares worst and best.

    Without mean field the first family takes its place.
    """
    found = one_a_family(fits, "window")
    if not found:
        return []
    one = next((one for one in found if one.family == "mean_field"), found[0])
    if "test_set" not in one.tree:
        return [(place, "") for place in range(min(4, len(data.shown)))]
    best, elbo = (one.tree["test_set"][name].values[data.shown] for name in ("best_elbo", "elbo"))
    family, amortisation = exact.log_evidences - best, best - elbo
    order = np.argsort(family + amortisation)
    wanted = (
        (np.argsort(family)[::-1], "family gap", "the largest"),
        (np.argsort(amortisation)[::-1], "amortisation gap", "the largest"),
        (np.roll(order, -(len(order) // 2)), "gap", "a middling"),
        (order, "gap", "the smallest"),
    )
    places: list[tuple[int, str]] = []
    for ranked, what, which in wanted:
        left = [int(place) for place in ranked if place not in [taken for taken, _ in places]]
        if left:
            if which == "the largest" and left[0] != ranked[0]:
                which = "the next largest"
            places.append((left[0], f"{which}\n{what}\nof {one.label}"))
    return places


def plane(fits: Fits, data: Any, exact: Posteriors, path: Path) -> None:
    """A row an image: it, then a panel a family with the exact posterior, the encoder's and the family's best."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    families, rows = one_a_family(fits, "window"), chosen(fits, data, exact)
    height, columns = max(1, len(rows)), max(1, len(families))
    figure = Figure(figsize=(2.5 + 2.55 * columns, 2.6 * height + 0.6), layout="constrained")
    grid = figure.subplots(height, 1 + columns, squeeze=False, width_ratios=[0.62] + [1] * columns)
    for row, (place, why) in zip(grid, rows, strict=False):
        put(row[0], data.dataset.test[data.shown[place]], data.dataset.shape)
        row[0].set_title(why, loc="left", fontsize=9)
        row[0].set_xlabel(f"log p(x) = {exact.log_evidences[place]:.2f}", fontsize=9)
        windows = [window(one, place) for one in families]
        truth = seen(windows, exact, place)
        for axes, one, mine in zip(row[1:], families, windows, strict=True):
            axes.contourf(*truth[:2], truth[2].T, [*levels(truth[2], MASSES), np.inf], colors=SHADES[::-1])
            for log_density, line in ((mine.best, DASHES), (mine.guide, "-")):
                look = {"colors": one.colour, "linewidths": 1.8 if line == "-" else 1.3, "linestyles": [line]}
                axes.contour(mine.first, mine.second, log_density.T, levels(log_density, MASSES), **look)
            axes.set_title(cost(one, data, exact, place), loc="left", fontsize=9)
            axes.set(xlim=truth[0][[0, -1]], ylim=truth[1][[0, -1]])
            axes.tick_params(labelsize=8)
            axes.spines[["top", "right"]].set_visible(False)
    for axes, one in zip(grid[0][1:], families, strict=False):
        axes.set_title(f"{one.name}\n{axes.get_title(loc='left')}", loc="left", fontsize=9)
    for axes in grid[-1][1:]:
        axes.set_xlabel("z[0]", fontsize=9)
    for axes in grid[:, 1]:
        axes.set_ylabel("z[1]", fontsize=9, labelpad=0)
    figure.legend(
        handles=[
            *(Patch(color=shade, label=f"exact, {mass:.0%}") for mass, shade in zip(MASSES, SHADES, strict=True)),
            Line2D([], [], color=GREY, lw=1.8, label="the encoder's q(z | x)"),
            Line2D([], [], color=GREY, lw=1.3, ls=DASHES, label="the family's best for this image"),
        ],
        loc="outside lower center", ncols=5, fontsize=9, frameon=False, title=certainty(families, data),
        title_fontsize=9,
    )  # fmt: skip
    figure.savefig(path, dpi=140)


def certainty(families: list[Shown], data: Any) -> str | None:
    """How well the gaps are known."""
    known = [one.tree["test_set"] for one in families if "test_set" in one.tree]
    names = ("elbo_mcse", "best_elbo_mcse")
    errors = [np.hypot(*(tree[name].values[data.shown] for name in names)).max() for tree in known]
    return f"gaps in nats, of Monte Carlo standard errors up to {max(errors):.1g}" if errors else None


class Window(NamedTuple):
    """A grid on the plane, (points,) each way, and on it the log densities of an encoder and of its family's best."""

    first: np.ndarray
    second: np.ndarray
    guide: np.ndarray
    best: np.ndarray


def window(one: Shown, place: int) -> Window:
    """A fit's window of one of the images shown."""
    names = ("first", "second", "log_guide", "best_log_guide")
    return Window(*(one.tree["window"][name].values[place] for name in names))


def seen(windows: list[Window], exact: Posteriors, place: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a row shows: a grid that holds every contour, (points,) each way, and the exact log density on it."""
    corners = []
    for one in windows:
        for log_density in (one.guide, one.best):
            inside = log_density >= levels(log_density, (MASSES[-1],))[0]
            for line, axis in ((one.first, 1), (one.second, 0)):
                corners.append(line[inside.any(axis=axis)][[0, -1]])
    ends, spread = np.array(corners).reshape(-1, 2, 2), np.sqrt(np.diagonal(exact.covariances[place]))
    low = np.minimum(ends[:, :, 0].min(axis=0), exact.means[place] - 2.6 * spread)
    high = np.maximum(ends[:, :, 1].max(axis=0), exact.means[place] + 2.6 * spread)
    room = 0.06 * (high - low)
    first, second = np.linspace(low - room, high + room, 121).T
    points = np.stack(np.meshgrid(first, second, indexing="ij"), axis=-1).reshape(-1, 2)
    every = np.broadcast_to(points, (len(exact.means), *points.shape))
    return first, second, exact.log_density(every)[place].reshape(len(first), len(second))


def cost(one: Shown, data: Any, exact: Posteriors, place: int) -> str:
    """A fit's gaps of one image, in nats."""
    if "test_set" not in one.tree:
        return ""
    best, elbo = (float(one.tree["test_set"][name].values[data.shown[place]]) for name in ("best_elbo", "elbo"))
    return f"family {exact.log_evidences[place] - best:z.2f} + amortisation {best - elbo:z.2f}"


def latent(fits: Fits, data: Any, exact: object, path: Path) -> None:
    """Posterior means of all test images by their class, beside the images decoded at the same places.

    Both panels measure the plane in quantiles of the prior, so that draws from it would fill them evenly.
    """
    from matplotlib.figure import Figure

    of_test = posteriors(data.network, data.dataset.test)
    place = special.ndtr(of_test.means)
    figure = Figure(figsize=(13.2, 6.7), layout="constrained")
    means, sheet = figure.subplots(1, 2)
    labels = data.dataset.test_labels
    if labels is None:
        means.plot(*place.T, "o", ms=4, color=TRUTH, alpha=0.6)
    else:
        for number, name in enumerate(np.unique(labels)):
            for x, y in place[labels == name]:
                means.text(
                    x, y, str(name), color=CLASSES[number % len(CLASSES)], fontsize=10, weight="bold", ha="center",
                    va="center", clip_on=True,
                )  # fmt: skip
    quantiles = (np.arange(SHEET) + 0.5) / SHEET
    second, first = np.meshgrid(quantiles[::-1], quantiles, indexing="ij")
    decoded = special.expit(data.network(special.ndtri(np.column_stack([first.ravel(), second.ravel()]))))
    image = tiled(decoded, data.dataset.shape, SHEET)
    sheet.imshow(image, cmap="Greys", vmin=0, vmax=1, extent=(0, 1, 0, 1), interpolation="nearest", aspect="equal")
    ticks = np.array([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0])
    for axes, title in (
        (means, f"where {len(place)} test images lie: exact posterior means" + (", by class" * (labels is not None))),
        (sheet, "what the decoder draws at the same places"),
    ):
        tidy(axes, title)
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal", xlabel="z[0]", ylabel="z[1]")
        axes.set_xticks(special.ndtr(ticks), [f"{tick:g}" for tick in ticks])
        axes.set_yticks(special.ndtr(ticks), [f"{tick:g}" for tick in ticks])
    means.grid(color="#e6e6e6", lw=0.6)
    means.set_axisbelow(True)
    figure.savefig(path, dpi=140)
