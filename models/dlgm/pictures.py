"""The model's own pictures: the posteriors of the images shown, and what independence costs over the test images."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.contract import Picture
from models.dlgm.data import LATENTS, DeepData
from models.dlgm.exact import DeepPosterior, Nested, nested
from models.dlgm.independence import FAMILIES, Members, best_members, log_joint
from models.dlgm.layers import Layers
from models.drawing import MASSES, SHADES, contour_levels, draw_images
from models.images import Images
from models.plotting import EXACT, FAMILY_COLORS, Fits, legend_line, legend_patch, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIDE = 161  # points a side of a posterior's grid
OUTSIDE = 1e-4  # the exact probability, at most, beyond each of its sides
MOST = 6  # most images drawn
MEASURED = 60  # test images whose gaps are drawn, the first ones
LEAST = 1e-3  # nats; smaller gaps are drawn at this edge

NAMES = {"values": "z2 and z1", "noise": "e2 and e1"}
LINES = {"values": "-", "noise": "--"}


@lru_cache(maxsize=4)
def costs(layers: Layers, images: Images) -> tuple[Nested, dict[tuple[str, str], Members]]:
    """What is known of the first test images, and the best members by coordinates and family."""
    some = images.test[:MEASURED]
    return nested(layers, some), {(a, b): best_members(layers, some, b, a) for a in LATENTS for b in FAMILIES}


def is_plane(data: DeepData) -> bool:
    """Whether the posterior is one of two latents, and not linear."""
    return data.pixels == "binary"


def layers(fits: Fits, data: DeepData, exact: DeepPosterior, path: Path) -> None:
    """Draw a column an image: it, and below it the exact posterior and the best members in both coordinates."""
    count = min(MOST, len(data.shown))
    figure = new_figure(2.3 * count + 0.6, 6.4)
    panels = figure.subplots(3, count, squeeze=False, height_ratios=[0.75, 1, 1])
    known = exact.nested
    for image, axes in enumerate(panels[0]):
        draw_images(axes, [[data.observed[image]]], data.dataset.shape)
        axes.set_title(f"log p(x) = {known.log_evidences[image]:.2f}", fontsize=9)
    for row, latents in zip(panels[1:], LATENTS, strict=True):
        members = {family: best_members(data.network, data.observed[:count], family, latents) for family in FAMILIES}
        for image, axes in enumerate(row):
            draw_posterior(axes, data, exact, members, image, latents)
            gaps = [known.log_evidences[image] - members[family].elbos[image] for family in FAMILIES]
            axes.set_title(f"gaps {gaps[0]:.2f} and {gaps[1]:.2f}", fontsize=9)
            axes.set_xlabel(NAMES[latents][:2], fontsize=9)
        row[0].set_ylabel(NAMES[latents][-2:], fontsize=9)
    figure.legend(
        handles=[
            *(legend_patch(f"exact, {mass:.0%}", shade) for mass, shade in zip(MASSES, SHADES, strict=True)),
            *(legend_line(f"best {name.replace('_', ' ')}", FAMILY_COLORS[name], lw=1.6) for name in FAMILIES),
        ],
        loc="outside lower center", ncols=5, title="gaps in nats, of mean field and of full rank",
    )  # fmt: skip
    save(figure, path)


def grid(exact: DeepPosterior, members: dict[str, Members], image: int, latents: str) -> list[np.ndarray]:
    """The places along each axis that are drawn, shape (SIDE,) each: where the posterior or a member has mass."""
    marginals = [
        exact.nested.marginal(site, image) if latents == "values" else exact.plane.marginal("z", (image, axis))
        for axis, site in enumerate(("z2", "z1"))
    ]
    ends = [[marginal.ppf(share) for marginal in marginals] for share in (OUTSIDE, 1 - OUTSIDE)]
    for gaussian in members.values():
        sd = np.sqrt(np.sum(gaussian.factors[image] ** 2, axis=1))
        ends += [gaussian.means[image] - 4 * sd, gaussian.means[image] + 4 * sd]
    return [np.linspace(*span, SIDE) for span in zip(np.min(ends, axis=0), np.max(ends, axis=0), strict=True)]


def draw_posterior(
    axes: Axes, data: DeepData, exact: DeepPosterior, members: dict[str, Members], image: int, latents: str
) -> None:
    """Draw the contours of an image's posterior, filled, and those of the best members."""
    first, second = grid(exact, members, image, latents)
    points = np.stack(np.meshgrid(first, second, indexing="ij"), axis=-1).reshape(-1, 1, 2)
    density = log_joint(data.network, data.observed[[image]], points, latents)[0].reshape(SIDE, SIDE)
    axes.contourf(first, second, density.T, [*contour_levels(density, MASSES), np.inf], colors=SHADES[::-1])
    for family, gaussian in members.items():
        white = np.linalg.solve(gaussian.factors[image], (points[:, 0] - gaussian.means[image]).T)
        log_q = -0.5 * np.sum(white**2, axis=0).reshape(SIDE, SIDE)
        color = FAMILY_COLORS[family]
        axes.contour(
            first, second, log_q.T, contour_levels(log_q, MASSES), colors=color, linewidths=1.3, linestyles="solid"
        )
    axes.tick_params(labelsize=8)


def independence(fits: Fits, data: DeepData, exact: DeepPosterior, path: Path) -> None:
    """Draw the gaps of test images, and what each of them says of z2 by the posterior and by the best members."""
    known, members = costs(data.network, data.dataset)
    figure = new_figure(11.6, 5.2)
    gaps, information = figure.subplots(1, 2)
    share = np.arange(1, len(known.log_evidences) + 1) / len(known.log_evidences)
    for (latents, family), gaussian in members.items():
        gap = known.log_evidences - gaussian.elbos
        look = {"color": FAMILY_COLORS[family], "ls": LINES[latents], "lw": 1.8}
        label = f"{family.replace('_', ' ')} in {NAMES[latents]}"
        gaps.step(np.sort(np.maximum(gap, LEAST)), share, where="post", label=f"{label}: {gap.mean():.3f}", **look)
        claimed = np.sort(gaussian.information)
        information.step(claimed, share, where="post", label=f"{label}: {claimed.mean():.3f}", **look)
    truth = np.sort(known.information)
    information.step(truth, share, where="post", color=EXACT, lw=2.2, label=f"exact: {truth.mean():.3f}")
    gaps.set(xscale="log", xlabel="log p(x) − ELBO of the family's best, nats", title="what the family costs")
    information.set(xlabel="KL(q(z2), p(z2)), nats", title="what an image says of the upper layer")
    gaps.set_ylabel(f"share of {len(share)} test images below")
    for axes in (gaps, information):
        axes.set_ylim(0, 1)
        axes.legend(title="mean, in nats an image", loc="upper center", bbox_to_anchor=(0.5, -0.14))
    save(figure, path)


PICTURES = (
    Picture(
        "layers",
        "The posterior of each image shown, exact in grey, with the contours of the best mean field and the best full "
        "rank: above over the layers' values z2 and z1, below over their noise e2 and e1. It is the same posterior. "
        "The gaps are what independence between the layers, and a Gaussian, cost for this image.",
        layers,
        is_plane,
    ),
    Picture(
        "independence",
        "Left, the gaps of the best member for each test image, as shares below. Right, how much each image says of "
        "the upper layer, KL between posterior and prior of z2, exactly and as the best members have it. All at 0 "
        "would be posterior collapse.",
        independence,
        is_plane,
    ),
)
