"""The plane of two latents: posteriors of single images with every guide's, and where all images and classes lie."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from models.vae.exact import Posteriors, posteriors
from models.vae.look import GREY, TRUTH, Fits, Shown, levels, one_a_family, put, tidy, tiled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["chosen", "latent", "plane"]

MASSES = (0.5, 0.8, 0.95)
"""What the contours hold of a posterior."""

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
    figure = Figure(figsize=(2.5 + 2.55 * max(1, len(families)), 2.6 * max(1, len(rows)) + 0.6), layout="constrained")
    grid = figure.subplots(
        max(1, len(rows)), 1 + max(1, len(families)), squeeze=False, width_ratios=[0.62] + [1] * max(1, len(families))
    )
    for row, (place, why) in zip(grid, rows, strict=False):
        put(row[0], data.set.test[data.shown[place]], data.set.shape)
        row[0].set_title(why, loc="left", fontsize=9)
        row[0].set_xlabel(f"log p(x) = {exact.log_evidences[place]:.2f}", fontsize=9)
        for axes, one in zip(row[1:], families, strict=True):
            panel(axes, one, data, exact, place)
    for axes, one in zip(grid[0][1:], families, strict=False):
        axes.set_title(f"{one.name}\n{axes.get_title(loc='left')}", loc="left", fontsize=9)
    for axes in [*grid[:, 1:][-1]] if rows else []:
        axes.set_xlabel("z[0]", fontsize=9)
    for axes in grid[:, 1] if rows else []:
        axes.set_ylabel("z[1]", fontsize=9, labelpad=0)
    figure.legend(
        handles=[
            *(Patch(color=shade, label=f"exact, {mass:.0%}") for mass, shade in zip(MASSES, shades(), strict=True)),
            Line2D([], [], color=GREY, lw=1.8, label="the encoder's q(z | x)"),
            Line2D([], [], color=GREY, lw=1.3, ls=(0, (2, 1.2)), label="the family's best for this image"),
        ],
        loc="outside lower center", ncols=5, fontsize=9, frameon=False,
    )  # fmt: skip
    figure.savefig(path, dpi=140)


def shades() -> tuple[str, ...]:
    return ("#8c8c8c", "#b8b8b8", "#dcdcdc")


def panel(axes: Axes, one: Shown, data: Any, exact: Posteriors, place: int) -> None:
    """The window of one image: the exact posterior filled, the guide's contours over it, and what they cost."""
    window = {name: values.values[place] for name, values in one.tree["window"].data_vars.items()}
    first, second = window["first"], window["second"]
    points = np.stack(np.meshgrid(first, second, indexing="ij"), axis=-1).reshape(-1, 2)
    every = np.broadcast_to(points, (len(data.shown), *points.shape))
    truth = exact.log_density(every)[place].reshape(len(first), len(second))
    axes.contourf(first, second, truth.T, [*levels(truth, MASSES), np.inf], colors=shades()[::-1])
    for name, width, line in (("best_log_guide", 1.3, (0, (2, 1.2))), ("log_guide", 1.8, "-")):
        if name in window:
            values, look = window[name], {"colors": one.colour, "linewidths": width, "linestyles": [line]}
            axes.contour(first, second, values.T, levels(values, MASSES), **look)
    if "test_set" in one.tree:
        best, elbo = (float(one.tree["test_set"][name].values[data.shown[place]]) for name in ("best_elbo", "elbo"))
        family, amortisation = exact.log_evidences[place] - best, best - elbo
        axes.set_title(f"family {family:z.2f} + amortisation {amortisation:z.2f}", loc="left", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.set(xlim=(first[0], first[-1]), ylim=(second[0], second[-1]))
    axes.spines[["top", "right"]].set_visible(False)


def latent(fits: Fits, data: Any, exact: object, path: Path) -> None:
    """Posterior means of all test images by their class, beside the images decoded at the same places.

    Both panels measure the plane in quantiles of the prior, so that draws from it would fill them evenly.
    """
    from matplotlib.figure import Figure

    of_test = posteriors(data.network, data.set.test)
    place = special.ndtr(of_test.means)
    figure = Figure(figsize=(13.2, 6.7), layout="constrained")
    means, sheet = figure.subplots(1, 2)
    labels = data.set.test_labels
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
    image = tiled(decoded, data.set.shape, SHEET)
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
