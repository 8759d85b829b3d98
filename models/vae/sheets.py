"""Sheets of images: what went in, and below it what each posterior makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from models.contract import Predictions
from models.vae import questions, tasks
from models.vae.guesses import guesses
from models.vae.look import GREY, TRUTH, Fits, board, one_a_family

__all__ = ["answers", "reconstructions"]

DRAWS = 256
"""Draws of a posterior that a mean image averages."""

SHOWN = 10
"""Most images in a row."""


class Row(NamedTuple):
    """A row of images: its name and colour, the images (shown, pixels), and a line below each."""

    name: str
    colour: str
    images: np.ndarray
    lines: list[str]


def sheet(rows: list[Row], shape: tuple[int, int], note: str, path: Path) -> None:
    """Draw the rows, images of (height, width), with a note below."""
    from matplotlib.figure import Figure

    tall = shape[0] / shape[1]
    pitch, count = tall + 0.3, len(rows[0].images)
    names, wide, high, below = 1.75, 0.98 * count, 0.91 * pitch * len(rows), 0.5  # inches
    size = (names + wide + 0.05, high + below)
    figure = Figure(figsize=size)
    axes = figure.add_axes((names / size[0], below / size[1], wide / size[0], high / size[1]), anchor="NW")
    board(axes, [row.images for row in rows], shape, pitch)
    axes.set_ylim((1 - len(rows)) * pitch - 0.26, tall + 0.02)
    for i, row in enumerate(rows):
        axes.text(-0.12, 0.5 * tall - i * pitch, row.name, color=row.colour, fontsize=10, ha="right", va="center")
        for j, line in enumerate(row.lines):
            axes.text(1.08 * j + 0.5, -i * pitch - 0.04, line, fontsize=9, ha="center", va="top")
    figure.text(0.5, 0.1 / size[1], note, fontsize=9, color="#444444", ha="center", wrap=True)
    figure.savefig(path, dpi=140)


def drawn(tree: Any, group: str = "posterior") -> np.ndarray:
    """A fit's draws of z, evenly thinned to `DRAWS`, shape (draws, n, latent)."""
    z = tree[group]["z"]
    flat = z.values.reshape(-1, *z.shape[-2:])
    return flat[:: max(1, len(flat) // DRAWS)][:DRAWS]


def reconstructions(fits: Fits, data: Any, exact: Any, path: Path) -> None:
    """The images shown, and the mean image over each posterior, with what it expects of their log likelihood."""
    images, kept = data.dataset.test[data.shown][:SHOWN], slice(SHOWN)
    rows, error = [Row("test image", TRUTH, images, [""] * len(images))], 0.0
    posteriors = [(one.name, one.colour, drawn(one.tree)) for one in one_a_family(fits) if one.family != "nuts"]
    if exact is not None:
        rows[0] = rows[0]._replace(lines=[f"log p {value:.1f}" for value in exact.log_evidences[kept]])
        posteriors.insert(0, ("exact", TRUTH, exact.draw(np.random.default_rng(0), DRAWS)["z"]))
    for name, colour, z in posteriors:
        logits = data.network(z[:, kept])
        likelihood = questions.log_bernoulli(images, logits)
        error = max(error, float(likelihood.std(axis=0).max() / np.sqrt(len(z))))
        lines = [f"{value:.1f}" for value in likelihood.mean(axis=0)]
        rows.append(Row(name, colour, special.expit(logits).mean(axis=0), lines))
    note = (
        f"Grey is probability, averaged over {DRAWS} draws. Below each image, E_q[log p(x | z)] in nats, "
        f"of standard errors up to {error:.1g}."
    )
    sheet(rows, data.dataset.shape, note, path)


def answers(fits: Fits, data: Any, exact: object, path: Path) -> None:
    """A task's question and its answers: the exact posterior's, the encoders' and the baselines'."""
    question, places = tasks.question(data), np.asarray(data.shown)[:SHOWN]
    target = question.places

    def row(name: str, colour: str, predictions: Predictions) -> Row:
        images = question.observed[places].copy() if len(target) < question.clean.shape[1] else question.clean[places]
        images[:, target] = predictions.mean.mean(axis=0)[places]
        density = special.logsumexp(predictions.log_density, axis=0) - np.log(len(predictions.log_density))
        error = density.std(ddof=1) / np.sqrt(len(density))
        label = "\n".join([*name.split(", "), f"{density.mean():.2f} ± {error:.2f} nats"])
        return Row(label, colour, images, [f"{value:.1f}" for value in density[places]])

    blank = [""] * len(places)
    rows = [Row("clean image", TRUTH, question.clean[places], blank)]
    if data.task != "reconstruct":
        rows.append(Row("observed", TRUTH, question.observed[places], blank))
    if tasks.known(data):
        rows.append(row("exact", TRUTH, questions.exactly(question, data.network)))
        if data.task == "inpaint":
            rows += completions(question, data, places)
    rows += [
        row(one.name, one.colour, questions.draws(question, data.network, drawn(one.tree, "queries")))
        for one in one_a_family(fits, "queries")
    ]
    rows += [row(name, GREY, one) for name, one in guesses(data).items()]
    asked = {
        "reconstruct": "the image again, given itself",
        "denoise": f"the clean image, given that each pixel was flipped with probability {question.flip:g}",
        "inpaint": "the hidden half (shaded), given the other",
    }[data.task]
    note = (
        f"Grey is probability. Below each image, log p of {asked}, in nats;\n"
        f"beside each name the mean over {len(question.clean)} test images ± its standard error."
    )
    sheet(rows, data.dataset.shape, note, path)


def completions(question: questions.Question, data: Any, places: np.ndarray, count: int = 2) -> list[Row]:
    """Images drawn from the exact predictive distribution: each from a z of its own."""
    rng = np.random.default_rng(0)
    z = questions.posterior(question, data.network).draw(rng, count)["z"]
    found = []
    for one in z:
        probabilities = special.expit(question.answer(data.network(one)))[places]
        images = question.observed[places].copy()
        images[:, question.places] = rng.random(probabilities.shape) < probabilities
        found.append(Row("exact, one draw", TRUTH, images, [""] * len(places)))
    return found
