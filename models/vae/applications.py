"""Pictures of generation, interpolation and compression."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from models.vae.compression import compressors, exact_bits, fit_bits
from models.vae.exact import posteriors
from models.vae.generation import generate
from models.vae.guesses import mean_image
from models.vae.interpolation import MIXED, paths
from models.vae.look import GREY, PALE, TRUTH, Fits, every, ink, put, tidy, tiled
from models.vae.questions import differing

__all__ = ["compressed", "generated", "interpolated"]

MODEL, MIX = "#0072B2", "#D55E00"
SHOWN = 60
"""Generated images shown."""

COLUMNS = 10


def generated(fits: Fits, data: Any, exact: object, path: Path) -> None:
    """Images from the prior, the training image nearest to each in the same place, and how probable both kinds are."""
    from matplotlib.figure import Figure

    made = generate(data)
    away = differing(made.images, data.set.train)
    near = np.argmin(away, axis=1)
    known = data.network.latent <= 2
    figure = Figure(figsize=(14.6 if known else 10.4, 4.4), layout="constrained")
    panels = figure.subplots(1, 4 if known else 3, width_ratios=[1, 1, 1, 1.25] if known else None)
    share = np.mean(away.min(axis=1) == 0)
    for axes, images, title in (
        (panels[0], made.probabilities, "probabilities of the pixels"),
        (panels[1], made.images, "images drawn from them"),
        (panels[2], data.set.train[near], "the training image nearest to each"),
    ):
        ink(axes, tiled(images[:SHOWN], data.set.shape, COLUMNS))
        axes.set_title(title, loc="left", fontsize=11)
    differ = f"{away.min(axis=1).mean():.1f} pixels differ on average; {share:.0%} are copies"
    panels[2].set_xlabel(f"{differ} of a training image", fontsize=9)
    if known:
        probable(panels[3], data, made.images)
    figure.savefig(path, dpi=140)


def probable(axes: Any, data: Any, images: np.ndarray) -> None:
    """The exact log evidence of generated images, test images and images of independent pixels, as shares below."""
    chance = np.random.default_rng((data.split, 4)).random(data.set.test.shape) < mean_image(data.set.train)
    kinds = (
        ("test images", data.set.test, TRUTH, "-"),
        ("generated images", images, MODEL, "-"),
        ("independent pixels", chance.astype(np.float64), GREY, "--"),
    )
    for name, some, colour, line in kinds:
        evidence = np.sort(posteriors(data.network, some).log_evidences)
        error = evidence.std(ddof=1) / np.sqrt(len(evidence))
        share = np.arange(1, len(evidence) + 1) / len(evidence)
        label = f"{name}: {evidence.mean():.2f} ± {error:.2f}"
        axes.step(evidence, share, where="post", color=colour, ls=line, lw=1.8, label=label)
    axes.set(xlabel="exact log p(x) in nats", ylabel="share of images below", ylim=(0, 1))
    axes.grid(color="#e6e6e6", lw=0.6)
    axes.set_axisbelow(True)
    tidy(axes, "are they as probable as real ones?")
    axes.legend(
        title="mean ± standard error", title_fontsize=9, fontsize=9, frameon=False, loc="upper center",
        bbox_to_anchor=(0.5, -0.16),
    )  # fmt: skip


def interpolated(fits: Fits, data: Any, exact: object, path: Path) -> None:
    """A row a pair: the two test images and what is decoded between them; below, how probable the way is."""
    from matplotlib.figure import Figure

    found = paths(data)
    steps = len(found[0].z)
    figure = Figure(figsize=(1.05 * (steps + 2), 1.12 * len(found) + 4.2), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=[1.12 * len(found), 4.2])
    grid = top.subplots(len(found), steps + 2, squeeze=False)
    for row, one in zip(grid, found, strict=True):
        images = [data.set.test[one.first], *one.probabilities, data.set.test[one.second]]
        for axes, image in zip(row, images, strict=True):
            put(axes, image, data.set.shape)
        for axes in (row[0], row[-1]):
            axes.spines[:].set(color=TRUTH, linewidth=1.4)
    for axes, title in ((grid[0][0], "test image"), (grid[0][1], "t = 0"), (grid[0][-2], "t = 1"), (grid[0][-1], "test")):
        axes.set_title(title, fontsize=9)
    grid[0][1 + steps // 2].set_title("decoded along the straight line", fontsize=9)
    t = np.linspace(0, 1, steps)
    images, plane = bottom.subplots(1, 2)
    lines = (
        (images, "log_evidence", MODEL, "-", "the most probable image at each point"),
        (images, "log_mixed", MIX, "--", f"pixels of the two, mixed at random (mean of {MIXED})"),
        (plane, "log_aggregate", MODEL, "-", "the test images' average posterior"),
        (plane, "log_prior", GREY, "--", "the prior"),
    )
    for axes, name, colour, line, label in lines:
        values = np.array([getattr(one, name) for one in found])
        axes.plot(t, values.T, color=colour, lw=0.8, ls=line, alpha=0.4)
        axes.plot(t, values.mean(axis=0), color=colour, lw=2.4, ls=line, label=label)
    for axes, title, label in (
        (images, "is what is decoded on the way an image?", "exact log p(image), nats"),
        (plane, "does the way lead through empty space?", "log density of z, nats"),
    ):
        tidy(axes, title)
        axes.set(xlabel="t", ylabel=label, xlim=(0, 1))
        axes.grid(color="#e6e6e6", lw=0.6)
        axes.set_axisbelow(True)
        axes.legend(fontsize=9, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.18))
    figure.savefig(path, dpi=140)


def compressed(fits: Fits, data: Any, exact: object, path: Path) -> None:
    """Bits a pixel, fewest first: by the exact evidence, by bits back with every guide, and by compressors."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import NullLocator, StrMethodFormatter

    rows = [(name, GREY, scores) for name, scores in compressors(data).items()]
    rows += [(one.name, one.colour, fit_bits(data, one.tree)) for one in every(fits, "test_set")]
    if data.network.latent <= 2:
        rows.append(("exact evidence", TRUTH, exact_bits(data, posteriors(data.network, data.set.test).log_evidences)))
    rows.sort(key=lambda row: row[2]["bits"]["value"], reverse=True)
    figure = Figure(figsize=(9.6, 0.31 * len(rows) + 1.7), layout="constrained")
    axes = figure.subplots()
    for height, (_, colour, scores) in enumerate(rows):
        bits = scores["bits"]
        error = np.hypot(bits["mcse"], bits["sampling"] or 0.0)
        axes.errorbar(bits["value"], height, xerr=1.96 * error, fmt="o", color=colour, ms=6, capsize=2, lw=1.4)
        if "bits_best" in scores:
            axes.plot(scores["bits_best"]["value"], height, "o", color=colour, ms=6, mfc="white", mew=1.4, zorder=1)
        axes.annotate(
            f"{bits['value']:.3f}", (bits["value"] + 1.96 * error, height), (9, 0), textcoords="offset points",
            va="center", fontsize=9,
        )  # fmt: skip
    axes.axvline(1.0, color=PALE, lw=1.2, ls=":")
    axes.text(1.0, len(rows) - 0.4, " as it is: 1 bit", fontsize=9, color=GREY, va="bottom")
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.set_xscale("log")
    low, high = min(row[2]["bits"]["value"] for row in rows), max(row[2]["bits"]["value"] for row in rows)
    axes.set(xlim=(0.85 * low, 1.5 * high), xlabel="bits a pixel (log scale)", ylim=(-0.6, len(rows) + 0.4))
    axes.set_xticks([tick for tick in (0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 20) if 0.85 * low < tick < 1.5 * high])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.grid(axis="x", color="#e6e6e6", lw=0.6)
    axes.set_axisbelow(True)
    tidy(axes, f"bits a pixel of {len(data.set.test)} test images")
    axes.legend(
        handles=[
            Line2D([], [], color=GREY, marker="o", ms=6, lw=1.4, label="mean and its 95% interval"),
            Line2D([], [], color=GREY, marker="o", ms=6, mfc="white", ls="", label="the family's best for each image"),
        ],
        loc="lower right", fontsize=9, frameon=False,
    )  # fmt: skip
    figure.savefig(path, dpi=140)
