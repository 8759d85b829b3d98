"""The plane of two latents: posteriors of single images with every guide's, and where all images and classes lie."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from models.drawing import MASSES, SHADES, contour_levels, draw_images, tile
from models.image_posteriors import Posteriors, posteriors
from models.plotting import (
    CLASS_COLORS,
    EXACT,
    Fits,
    ShownFit,
    dataset,
    legend_line,
    legend_patch,
    new_figure,
    one_per_family,
    save,
)

DASHES = (0, (2, 1.2))

N_SIDE = 15  # decoded images along each side of the plane

QUANTILE_TICKS = np.array([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0])
"""Latent values that are marked on axes in quantiles of the prior."""


class Window(NamedTuple):
    """Log densities of an encoder and of its family's best on a grid of the plane.

    Attributes:
        first, second: The grid's coordinates, each of shape (points,).
        guide: The encoder's log densities, shape (points, points).
        best: Those of the best member of its family for the image, shape (points, points).
    """

    first: np.ndarray
    second: np.ndarray
    guide: np.ndarray
    best: np.ndarray


def choose_images(fits: Fits, data: Any, exact: Posteriors) -> list[tuple[int, str]]:
    """The images where mean field (or else the first family) is worst and best.

    Returns:
        Each image's place among those shown, and in words why it was chosen.
    """
    families = one_per_family(fits, "window")
    if not families:
        return []
    fit = next((fit for fit in families if fit.family == "mean_field"), families[0])
    if "test_set" not in fit.tree:
        return [(place, "") for place in range(min(4, len(data.shown)))]
    best, elbo = (dataset(fit.tree, "test_set")[name].values[data.shown] for name in ("best_elbo", "elbo"))
    family, amortisation = exact.log_evidences - best, best - elbo
    order = np.argsort(family + amortisation)
    rankings = (
        (np.argsort(family)[::-1], "family gap", "the largest"),
        (np.argsort(amortisation)[::-1], "amortisation gap", "the largest"),
        (np.roll(order, -(len(order) // 2)), "gap", "a middling"),
        (order, "gap", "the smallest"),
    )
    chosen: list[tuple[int, str]] = []
    for ranking, gap, which in rankings:
        taken = [place for place, _ in chosen]
        left = [int(place) for place in ranking if place not in taken]
        if left:
            if which == "the largest" and left[0] != ranking[0]:
                which = "the next largest"
            chosen.append((left[0], f"{which}\n{gap}\nof {fit.label}"))
    return chosen


def plane(fits: Fits, data: Any, exact: Posteriors, path: Path) -> None:
    """Draw a row an image: it, then a panel a family with the exact posterior, the encoder's and the family's best."""
    families, images = one_per_family(fits, "window"), choose_images(fits, data, exact)
    n_rows, n_columns = max(1, len(images)), max(1, len(families))
    figure = new_figure(2.5 + 2.55 * n_columns, 2.6 * n_rows + 0.6)
    panels = figure.subplots(n_rows, 1 + n_columns, squeeze=False, width_ratios=[0.62] + [1] * n_columns)
    for number, (row, (place, reason)) in enumerate(zip(panels, images, strict=False)):
        draw_images(row[0], [[data.dataset.test[data.shown[place]]]], data.dataset.shape)
        row[0].set_title(reason, fontsize=9)
        row[0].set_xlabel(f"log p(x) = {exact.log_evidences[place]:.2f}", fontsize=9)
        windows = [window_of(fit, place) for fit in families]
        grid = grid_over(windows, exact, place)
        for axes, fit, window in zip(row[1:], families, windows, strict=True):
            draw_posteriors(axes, fit, window, grid)
            name = f"{fit.name}\n" if number == 0 else ""
            axes.set_title(name + gaps_in_words(fit, data, exact, place), fontsize=9)
    for axes in panels[-1][1:]:
        axes.set_xlabel("z[0]", fontsize=9)
    for axes in panels[:, 1]:
        axes.set_ylabel("z[1]", fontsize=9, labelpad=0)
    figure.legend(
        handles=[
            *(legend_patch(f"exact, {mass:.0%}", shade) for mass, shade in zip(MASSES, SHADES, strict=True)),
            legend_line("the encoder's q(z | x)", lw=1.8),
            legend_line("the family's best for this image", lw=1.3, ls=DASHES),
        ],
        loc="outside lower center", ncols=5, title=errors_in_words(families, data),
    )  # fmt: skip
    save(figure, path)


def draw_posteriors(axes: Any, fit: ShownFit, window: Window, grid: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Draw the exact posterior on a `grid_over` the plane, and a fit's contours on it."""
    first, second, density = grid
    axes.contourf(first, second, density.T, [*contour_levels(density, MASSES), np.inf], colors=SHADES[::-1])
    for log_density, line, width in ((window.best, DASHES, 1.3), (window.guide, "-", 1.8)):
        axes.contour(
            window.first, window.second, log_density.T, contour_levels(log_density, MASSES), colors=fit.color,
            linewidths=width, linestyles=[line],
        )  # fmt: skip
    axes.set(xlim=first[[0, -1]], ylim=second[[0, -1]])
    axes.tick_params(labelsize=8)


def errors_in_words(families: list[ShownFit], data: Any) -> str | None:
    """The largest Monte Carlo standard error of the gaps shown."""
    trees = [dataset(fit.tree, "test_set") for fit in families if "test_set" in fit.tree]
    names = ("elbo_mcse", "best_elbo_mcse")
    errors = [np.hypot(*(tree[name].values[data.shown] for name in names)).max() for tree in trees]
    return f"gaps in nats, with Monte Carlo standard errors up to {max(errors):.1g}" if errors else None


def gaps_in_words(fit: ShownFit, data: Any, exact: Posteriors, place: int) -> str:
    if "test_set" not in fit.tree:
        return ""
    best, elbo = (
        float(dataset(fit.tree, "test_set")[name].values[data.shown[place]]) for name in ("best_elbo", "elbo")
    )
    return f"family {exact.log_evidences[place] - best:z.2f} + amortisation {best - elbo:z.2f}"


def window_of(fit: ShownFit, place: int) -> Window:
    """A fit's log densities for one of the images shown."""
    names = ("first", "second", "log_guide", "best_log_guide")
    return Window(*(dataset(fit.tree, "window")[name].values[place] for name in names))


def grid_over(windows: list[Window], exact: Posteriors, place: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A grid that holds every contour of one image, and the exact posterior's log density on it.

    Returns:
        The coordinates, each of shape (points,), and the log densities, shape (points, points).
    """
    ends = []
    for window in windows:
        for log_density in (window.guide, window.best):
            inside = log_density >= contour_levels(log_density, (MASSES[-1],))[0]
            sides = ((window.first, 1), (window.second, 0))
            ends.append([line[inside.any(axis=axis)][[0, -1]] for line, axis in sides])
    corners, sd = np.array(ends).reshape(-1, 2, 2), np.sqrt(np.diagonal(exact.covariances[place]))
    low = np.minimum(corners[:, :, 0].min(axis=0), exact.means[place] - 2.6 * sd)
    high = np.maximum(corners[:, :, 1].max(axis=0), exact.means[place] + 2.6 * sd)
    room = 0.06 * (high - low)
    first, second = np.linspace(low - room, high + room, 121).T
    points = np.stack(np.meshgrid(first, second, indexing="ij"), axis=-1).reshape(-1, 2)
    for_every_image = np.broadcast_to(points, (len(exact.means), *points.shape))
    return first, second, exact.log_density(for_every_image)[place].reshape(len(first), len(second))


def latent(fits: Fits, data: Any, exact: object, path: Path) -> None:
    """Draw posterior means of all test images by their class, beside the images decoded at the same places.

    Both panels measure the plane in quantiles of the prior, so that draws from it would fill them evenly.
    """
    places, labels = special.ndtr(posteriors(data.network, data.dataset.test).means), data.dataset.test_labels
    figure = new_figure(13.2, 6.7)
    means, sheet = figure.subplots(1, 2)
    if labels is None:
        means.plot(*places.T, "o", ms=4, color=EXACT, alpha=0.6)
    for number, name in enumerate([] if labels is None else np.unique(labels)):
        color = CLASS_COLORS[number % len(CLASS_COLORS)]
        for x, y in places[labels == name]:
            words = {"fontsize": 10, "weight": "bold", "ha": "center", "va": "center", "clip_on": True}
            means.text(x, y, str(name), color=color, **words)
    quantiles = (np.arange(N_SIDE) + 0.5) / N_SIDE
    second, first = np.meshgrid(quantiles[::-1], quantiles, indexing="ij")
    decoded = special.expit(data.network(special.ndtri(np.column_stack([first.ravel(), second.ravel()]))))
    image = tile(decoded, data.dataset.shape, N_SIDE)
    sheet.imshow(image, cmap="Greys", vmin=0, vmax=1, extent=(0, 1, 0, 1), interpolation="nearest", aspect="equal")
    sheet.grid(False)
    by_class = "" if labels is None else ", by class"
    means.set_title(f"where {len(places)} test images lie: exact posterior means{by_class}")
    sheet.set_title("what the decoder draws at the same places")
    ticks = special.ndtr(QUANTILE_TICKS), [f"{tick:g}" for tick in QUANTILE_TICKS]
    for axes in (means, sheet):
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal", xlabel="z[0]", ylabel="z[1]")
        axes.set_xticks(*ticks)
        axes.set_yticks(*ticks)
    save(figure, path)
