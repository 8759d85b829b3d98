"""Pictures of generation, interpolation and compression."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.contract import Scores
from models.plotting import EXACT, GREY, PALE, Fits, ShownFit, legend_line, list_fits, new_figure, save
from models.vae.compression import compressors, exact_bits, fit_bits
from models.vae.drawing import STEP, draw_images, draw_sheet, tile
from models.vae.exact import posteriors
from models.vae.generation import DRAWN, generate, paths, scattered
from models.vae.questions import n_differing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["compressed", "generated", "interpolated"]

MODEL, MIX = "#0072B2", "#D55E00"
SHOWN = 60
"""Generated images shown."""

COLUMNS = 6


def generated(fits: Fits, data: Any, exact: object, path: Path) -> None:
    """Images from the prior, the training image nearest to each in the same place, and how probable both kinds are."""
    made = generate(data)
    away = n_differing(made.images, data.dataset.train)
    near = np.argmin(away, axis=1)
    known = data.network.latent <= 2
    figure = new_figure(14.6 if known else 9.0, 5.0)
    panels = figure.subplots(1, 4 if known else 3, width_ratios=[1, 1, 1, 1.6] if known else None)
    for axes, images, title in (
        (panels[0], made.probabilities, "probabilities of the pixels"),
        (panels[1], made.images, "images drawn from them"),
        (panels[2], data.dataset.train[near], "nearest training images"),
    ):
        draw_sheet(axes, tile(images[:SHOWN], data.dataset.shape, COLUMNS))
        axes.set_title(title)
    least = away.min(axis=1)
    panels[2].set_xlabel(
        f"{least.mean():.1f} pixels differ on average;\n{np.mean(least == 0):.1%} are copies", fontsize=9
    )
    if known:
        probable(panels[3], data, made.images)
    save(figure, path)


def probable(axes: Axes, data: Any, images: np.ndarray) -> None:
    """The exact log evidence of generated images, test images and images of independent pixels, as shares below."""
    kinds = (
        ("test images", data.dataset.test, EXACT, "-"),
        ("generated images", images, MODEL, "-"),
        ("independent pixels", scattered(data), GREY, "--"),
    )
    for name, some, colour, line in kinds:
        evidence = np.sort(posteriors(data.network, some).log_evidences)
        error = evidence.std(ddof=1) / np.sqrt(len(evidence))
        share = np.arange(1, len(evidence) + 1) / len(evidence)
        label = f"{name}: {evidence.mean():.2f} ± {error:.2f}"
        axes.step(evidence, share, where="post", color=colour, ls=line, lw=1.8, label=label)
    axes.set(xlabel="exact log p(x) in nats", ylabel="share of images below", ylim=(0, 1))
    axes.set_title("are they as probable as real ones?")
    axes.legend(title="mean ± standard error", loc="upper left")


def interpolated(fits: Fits, data: Any, exact: object, path: Path) -> None:
    """A row a pair: the two test images and what is decoded between them; below, how probable the way is."""
    found = paths(data)
    steps = len(found[0].z)
    tall = data.dataset.shape[0] / data.dataset.shape[1]
    above = len(found) * (tall + 0.08) + 0.35
    figure = new_figure(STEP * (steps + 2), above + 4.2)
    top, bottom = figure.subfigures(2, 1, height_ratios=[above, 4.2])
    rows = [[data.dataset.test[one.first], *one.probabilities, data.dataset.test[one.second]] for one in found]
    sheet = top.subplots()
    draw_images(sheet, rows, data.dataset.shape, tall + 0.08)
    titles = {0: "test image", 1: "t = 0", 1 + steps // 2: "decoded along the straight line", steps: "t = 1"}
    for column, title in {**titles, steps + 1: "test image"}.items():
        sheet.text(STEP * column + 0.5, tall + 0.06, title, fontsize=9, ha="center")
    sheet.set_ylim(top=tall + 0.3)
    t = np.linspace(0, 1, steps)
    images, plane = bottom.subplots(1, 2)
    lines = (
        (images, "log_decoded", MODEL, "-", f"images drawn at each point (mean of {DRAWN}, ± 2 errors)"),
        (images, "log_mixed", MIX, "--", "pixels of the two, mixed at random (the same)"),
        (plane, "log_aggregate", MODEL, "-", "the test images' average posterior"),
        (plane, "log_prior", GREY, "--", "the prior"),
    )
    for axes, name, colour, line, label in lines:
        values = np.array([getattr(one, name) for one in found])
        axes.plot(t, values.T, color=colour, lw=0.8, ls=line, alpha=0.4)
        axes.plot(t, values.mean(axis=0), color=colour, lw=2.4, ls=line, label=label)
    for kind, colour in enumerate((MODEL, MIX)):
        middle = np.array([one.log_mixed if kind else one.log_decoded for one in found]).mean(axis=0)
        error = np.sqrt(np.sum([one.errors[kind] ** 2 for one in found], axis=0)) / len(found)
        images.fill_between(t, middle - 2 * error, middle + 2 * error, color=colour, alpha=0.2, lw=0)
    of_test = posteriors(data.network, data.dataset.test).log_evidences.mean()
    images.axhline(of_test, color=EXACT, lw=1.2, ls=":", label="test images, mean")
    for axes, title, label in (
        (images, "is what is decoded on the way an image?", "exact log p(image), nats"),
        (plane, "does the way lead through empty space?", "log density of z, nats"),
    ):
        axes.set_title(title)
        axes.set(xlabel="t", ylabel=label, xlim=(0, 1))
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18))
    save(figure, path)


def compressed(fits: Fits, data: Any, exact: object, path: Path) -> None:
    """Bits a pixel: of the model and of compressors, and how much more than the exact evidence each guide needs."""
    guides = [(one, fit_bits(data, one.tree)) for one in list_fits(fits, "test_set")]
    rows = [(name, GREY, scores["bits"]) for name, scores in compressors(data).items()]
    rows += [(one.name, one.color, scores["bits"]) for one, scores in guides]
    known = data.network.latent <= 2
    if known:
        bits = exact_bits(data, posteriors(data.network, data.dataset.test).log_evidences)["bits"]
        rows.append(("exact evidence", EXACT, bits))
    rows.sort(key=lambda row: row[2]["value"], reverse=True)
    both = known and guides
    figure = new_figure(14.4 if both else 8.4, 0.3 * len(rows) + 1.5)
    panels = figure.subplots(1, 2 if both else 1, squeeze=False)[0]
    ranked(panels[0], rows)
    panels[0].set_title(f"bits a pixel of {len(data.dataset.test)} test images, with 95% intervals")
    if both:
        excess(panels[1], guides, bits["value"])
        panels[1].set_title("what each guide adds to the exact evidence")
    save(figure, path)


def ranked(axes: Axes, rows: list[tuple[str, str, Mapping[str, float | None]]]) -> None:
    """A dot a row, named, with its value."""
    from matplotlib.ticker import NullLocator, StrMethodFormatter

    for height, (_, colour, bits) in enumerate(rows):
        half = 1.96 * np.hypot(bits["mcse"], bits["sampling"] or 0.0)
        axes.errorbar(bits["value"], height, xerr=half, fmt="o", color=colour, ms=5.5, capsize=2, lw=1.4)
        axes.annotate(
            f"{bits['value']:.3f}", (bits["value"] + half, height), (8, 0), textcoords="offset points", va="center",
            fontsize=9,
        )  # fmt: skip
    values = [bits["value"] for _, _, bits in rows]
    low, high = 0.85 * min(values), 1.6 * max(values)
    axes.axvline(1.0, color=PALE, lw=1.2, ls=":")
    axes.text(1.0, len(rows) - 0.4, " as it is: 1 bit", fontsize=9, color=GREY, va="bottom")
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.set_xscale("log")
    axes.set(xlim=(low, high), xlabel="bits a pixel (log scale)", ylim=(-0.6, len(rows) + 0.4))
    axes.set_xticks([tick for tick in (0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 20) if low < tick < high])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.grid(visible=False, axis="y")


def excess(axes: Axes, guides: list[tuple[ShownFit, Scores]], exact: float) -> None:
    """Bits a pixel beyond the exact evidence of the same images: by the encoder, and by the best of its family."""
    guides = sorted(guides, key=lambda guide: guide[1]["bits"]["value"], reverse=True)
    for height, (one, scores) in enumerate(guides):
        for name, face in (("bits_best", "white"), ("bits", one.color)):
            if name in scores:
                more, half = scores[name]["value"] - exact, 1.96 * scores[name]["mcse"]
                axes.errorbar(more, height, xerr=half, fmt="o", color=one.color, mfc=face, ms=6, capsize=2, lw=1.4)
    axes.set_yticks(range(len(guides)), [one.name for one, _ in guides])
    axes.set(xlabel="bits a pixel more than the exact evidence, of the same images", ylim=(-0.6, len(guides) - 0.4))
    axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))
    axes.axvline(0.0, color=EXACT, lw=1.2)
    axes.grid(visible=False, axis="y")
    axes.legend(
        handles=[
            legend_line("the encoder", marker="o", ms=6, ls=""),
            legend_line("the family's best for each image", marker="o", ms=6, mfc="white", ls=""),
        ],
        title="with 95% Monte Carlo intervals", loc="upper center",
        bbox_to_anchor=(0.5, -0.09), ncols=2,
    )  # fmt: skip
