"""What z means in each class: ten planes, and one z decoded as ten classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from models.contract import Picture
from models.drawing import draw_images, draw_sheet, tile
from models.image_posteriors import QuadraturePosteriors
from models.plotting import CLASS_COLORS, Fits, new_figure, save
from models.ssvae.data import SemiSupervised
from models.ssvae.exact import class_posteriors

N_SIDE = {1: 13, 2: 7}  # decoded images along a line, and along each side of a plane


def planes(fits: Fits, data: Any, exact: object, path: Path) -> None:
    """Draw for each class the decoded line or plane of z, in quantiles of the prior."""
    latent = data.network.latent
    line = special.ndtri((np.arange(N_SIDE[latent]) + 0.5) / N_SIDE[latent])
    z = np.stack(np.meshgrid(line, -line), axis=-1).reshape(-1, 2) if latent == 2 else line[:, None]
    figure = new_figure(12.0, 5.4 if latent == 2 else 4.4)
    panels = figure.subplots(2, -(-data.n_classes // 2)) if latent == 2 else figure.subplots(-(-data.n_classes // 2), 2)
    for label, (axes, decoder) in enumerate(zip(panels.ravel(), data.network.by_class, strict=False)):
        draw_sheet(axes, tile(special.expit(decoder(z)), data.dataset.shape, len(line)))
        axes.set_title(f"y = {label}", color=CLASS_COLORS[label % len(CLASS_COLORS)])
    save(figure, path)


def analogies(fits: Fits, data: Any, exact: object, path: Path) -> None:
    """Draw for each image that is shown its posterior mean of z, given its likeliest class, decoded as every class."""
    images, decoder = data.dataset.test[data.shown], data.network
    probabilities = class_posteriors(decoder, images)
    rows = []
    for image, likeliest in zip(images, probabilities.argmax(axis=1), strict=True):
        z = QuadraturePosteriors(decoder.by_class[likeliest], image[None]).means[0]
        rows.append([image, *(special.expit(part(z)) for part in decoder.by_class)])
    figure = new_figure(9.0, 0.4 + 0.8 * len(rows))
    axes = figure.subplots()
    draw_images(axes, rows, data.dataset.shape, 1.08)
    for row, (values, label) in enumerate(zip(probabilities, data.dataset.test_labels[data.shown], strict=True)):
        best = int(values.argmax())
        axes.text(-0.1, 0.5 - 1.08 * row, f"{label}: p({best} | x) = {values[best]:.2f}", ha="right", va="center")
    save(figure, path)


def is_trained(data: SemiSupervised) -> bool:
    return data.network is not None


PICTURES = (
    Picture(
        "planes",
        "For each class the images decoded over z, a line or a plane, in quantiles of the prior. Where a class holds "
        "other digits, the model uses y for what it likes: a few labels do not hold it to their meaning.",
        planes,
        is_trained,
    ),
    Picture(
        "analogies",
        "Test images, and on their right the mean of z given the image and its likeliest class, decoded as each of the "
        "classes 0 to 9. On the left the image's true class and the exact probability of the likeliest.",
        analogies,
        is_trained,
    ),
)
