"""Bits a pixel: what a code built on the model achieves, and what general-purpose compressors need.

A model that gives an image the probability p(x) can code it in -log2 p(x) bits, and with an approximate posterior q in
-ELBO / log 2 by bits back (Hinton & van Camp 1993; Townsend, Bird & Barber 2019). Both are what arithmetic coding
achieves over many images, without the few bits that are lost once; sender and receiver share the decoder, whose own
size is not counted. Nor is that of the compressors' programs.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.contract import Scores
from models.image_posteriors import posteriors
from models.plotting import EXACT, GREY, PALE, Fits, ShownFit, legend_line, list_fits, new_figure, save
from models.vae.baselines import baselines
from models.vae.data import Autoencoder

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

WINDOW = 32_768  # bytes that zlib can look back


def bits(log_probabilities: np.ndarray, pixels: int, errors: np.ndarray | None = None) -> dict[str, float | None]:
    """Mean bits a pixel of images with these log probabilities in nats, (n,), and these independent errors, (n,)."""
    each = -np.asarray(log_probabilities) / (math.log(2) * pixels)
    mcse = 0.0 if errors is None else float(np.sqrt(np.sum(np.square(errors))) / (len(each) * math.log(2) * pixels))
    return {"value": float(each.mean()), "mcse": mcse, "sampling": float(each.std(ddof=1) / np.sqrt(len(each)))}


def exact_bits(data: Autoencoder, log_evidences: np.ndarray) -> Scores:
    """By the exact evidence of the test images, shape (n,)."""
    return {"bits": bits(log_evidences, data.dataset.test.shape[1])}


def fit_bits(data: Autoencoder, tree: xr.DataTree) -> Scores:
    """Bits back with a fit's guide, and with the best member of its family for each image; none where not measured."""
    if "test_set" not in tree:
        return {}
    bounds, pixels = tree["test_set"].dataset, data.dataset.test.shape[1]
    return {
        name: bits(bounds[elbo].values, pixels, bounds[f"{elbo}_mcse"].values)
        for name, elbo in (("bits", "elbo"), ("bits_best", "best_elbo"))
        if elbo in bounds
    }


def compressors(data: Autoencoder) -> dict[str, Scores]:
    """The test images by simpler models and by general-purpose compressors, one by one or all of them in one file.

    One by one a file's fixed costs weigh, together they do not. zlib packs eight pixels a byte (level 9); with the
    training images as its dictionary it knows, as the model does, what such images look like. PNG has one bit a pixel.
    """
    test, (height, width) = data.dataset.test.astype(bool), data.dataset.shape
    pixels = height * width
    train = np.packbits(data.dataset.train.astype(bool), axis=1).tobytes()[-WINDOW:]
    packed = [np.packbits(image).tobytes() for image in test]
    one_by_one = {
        "zlib": [len(zlib.compress(image, 9)) for image in packed],
        "zlib and training images": [len(with_dictionary(image, train)) for image in packed],
        "PNG": [len(png(image.reshape(height, width))) for image in test],
    }
    together = {
        "zlib": len(zlib.compress(b"".join(packed), 9)),
        "zlib and training images": len(with_dictionary(b"".join(packed), train)),
        "PNG": len(png(test.reshape(-1, width))),
    }
    scores = {name: bits(densities, pixels) for name, densities in baselines(data.dataset).items()}
    for name, sizes in one_by_one.items():
        scores[f"{name}, one by one"] = bits(-8 * math.log(2) * np.array(sizes), pixels)
    for name, size in together.items():
        scores[f"{name}, all together"] = {"value": 8 * size / test.size, "mcse": 0.0, "sampling": None}
    return {name: {"bits": score} for name, score in scores.items()}


def with_dictionary(content: bytes, dictionary: bytes) -> bytes:
    """What zlib makes of the content, at level 9, if both sides have the dictionary."""
    compressor = zlib.compressobj(level=9, zdict=dictionary)
    return compressor.compress(content) + compressor.flush()


def png(image: np.ndarray) -> bytes:
    """A picture, shape (height, width), as a PNG of one bit a pixel, as small as Pillow makes it."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).convert("1").save(file, "png", optimize=True)
    return file.getvalue()


def compressed(fits: Fits, data: Autoencoder, exact: object, path: Path) -> None:
    """Bits a pixel: of the model and of compressors, and how much more than the exact evidence each guide needs."""
    guides = [(fit, fit_bits(data, fit.tree)) for fit in list_fits(fits, "test_set")]
    rows = [(name, GREY, scores["bits"]) for name, scores in compressors(data).items()]
    rows += [(fit.name, fit.color, scores["bits"]) for fit, scores in guides]
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

    for height, (_, color, bits) in enumerate(rows):
        half = 1.96 * np.hypot(bits["mcse"], bits["sampling"] or 0.0)
        axes.errorbar(bits["value"], height, xerr=half, fmt="o", color=color, ms=5.5, capsize=2, lw=1.4)
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
    for height, (fit, scores) in enumerate(guides):
        for name, face in (("bits_best", "white"), ("bits", fit.color)):
            if name in scores:
                more, half = scores[name]["value"] - exact, 1.96 * scores[name]["mcse"]
                axes.errorbar(more, height, xerr=half, fmt="o", color=fit.color, mfc=face, ms=6, capsize=2, lw=1.4)
    axes.set_yticks(range(len(guides)), [fit.name for fit, _ in guides])
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
