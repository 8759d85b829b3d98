"""Sheets of images: what went in, and below it what each posterior makes of it."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from scipy import special

from models.contract import Predictions
from models.drawing import STEP, draw_images
from models.plotting import EXACT, GREY, Fits, flat_draws, one_per_family, save
from models.vae import questions, tasks
from models.vae.baselines import guesses

N_DRAWS = 256  # draws of a posterior that a mean image averages
MOST = 10  # most images in a row

QUESTIONS = {
    "reconstruct": "the image again, given itself",
    "denoise": "the clean image, given that each pixel was flipped with probability {flip:g}",
    "inpaint": "the hidden half (shaded), given the other",
}
"""The task's question, after "log p of"."""


class Row(NamedTuple):
    """A row of images: its name and colour, the images, shape (shown, pixels), and a line below each."""

    name: str
    color: str
    images: np.ndarray
    lines: list[str]


def draw_rows(rows: list[Row], shape: tuple[int, int], note: str, path: Path) -> None:
    """Draw the rows, images of (height, width), with a note below."""
    from matplotlib.figure import Figure

    tall = shape[0] / shape[1]
    pitch, count = tall + 0.3, len(rows[0].images)
    names, wide, high, below = 1.75, 0.98 * count, 0.91 * pitch * len(rows), 0.5  # inches
    size = (names + wide + 0.05, high + below)
    figure = Figure(figsize=size)
    axes = figure.add_axes((names / size[0], below / size[1], wide / size[0], high / size[1]), anchor="NW")
    draw_images(axes, [list(row.images) for row in rows], shape, pitch)
    axes.set_ylim((1 - len(rows)) * pitch - 0.26, tall + 0.02)
    for i, row in enumerate(rows):
        axes.text(-0.12, 0.5 * tall - i * pitch, row.name, color=row.color, fontsize=10, ha="right", va="center")
        for j, line in enumerate(row.lines):
            axes.text(STEP * j + 0.5, -i * pitch - 0.04, line, fontsize=9, ha="center", va="top")
    figure.text(0.5, 0.1 / size[1], note, fontsize=9, color="#444444", ha="center", wrap=True)
    save(figure, path)


def draws_of(tree: xr.DataTree, group: str = "posterior") -> np.ndarray:
    """A fit's draws of z, evenly thinned to `N_DRAWS`, shape (draws, n, latent)."""
    return flat_draws(tree, N_DRAWS, group)["z"][:N_DRAWS]


def reconstructions(fits: Fits, data: Any, exact: Any, path: Path) -> None:
    """Draw the images shown, and the mean image over each posterior, with its expected log likelihood."""
    images, shown = data.dataset.test[data.shown][:MOST], slice(MOST)
    originals, error = Row("test image", EXACT, images, [""] * len(images)), 0.0
    posteriors = [(fit.name, fit.color, draws_of(fit.tree)) for fit in one_per_family(fits) if fit.family != "nuts"]
    if exact is not None:
        originals = originals._replace(lines=[f"log p {value:.1f}" for value in exact.log_evidences[shown]])
        posteriors.insert(0, ("exact", EXACT, exact.draw(np.random.default_rng(0), N_DRAWS)["z"]))
    rows = [originals]
    for name, color, z in posteriors:
        logits = data.network(z[:, shown])
        likelihood = questions.log_bernoulli(images, logits)
        error = max(error, float(likelihood.std(axis=0).max() / np.sqrt(len(z))))
        lines = [f"{value:.1f}" for value in likelihood.mean(axis=0)]
        rows.append(Row(name, color, special.expit(logits).mean(axis=0), lines))
    note = (
        f"Grey is probability, averaged over {N_DRAWS} draws. Below each image, E_q[log p(x | z)] in nats, "
        f"with standard errors up to {error:.1g}."
    )
    draw_rows(rows, data.dataset.shape, note, path)


def answers(fits: Fits, data: Any, exact: object, path: Path) -> None:
    """Draw a task's question and its answers: the exact posterior's, the encoders' and the baselines'."""
    question: Any = tasks.question(data)
    places = np.asarray(data.shown)[:MOST]
    blank = [""] * len(places)
    rows = [Row("clean image", EXACT, question.clean[places], blank)]
    if data.task != "reconstruct":
        rows.append(Row("observed", EXACT, question.observed[places], blank))
    if tasks.is_known(data):
        rows.append(answer("exact", EXACT, question, questions.exactly(question, data.network), places))
        if data.task == "inpaint":
            rows += completions(question, data, places)
    for fit in one_per_family(fits, "queries"):
        predictions = questions.draws(question, data.network, draws_of(fit.tree, "queries"))
        rows.append(answer(fit.name, fit.color, question, predictions, places))
    rows += [answer(name, GREY, question, guess, places) for name, guess in guesses(data).items()]
    words = QUESTIONS[data.task].format(flip=question.flip)
    note = (
        f"Grey is probability. Below each image, log p of {words}, in nats;\n"
        f"beside each name the mean over {len(question.clean)} test images ± its standard error."
    )
    draw_rows(rows, data.dataset.shape, note, path)


def answer(name: str, color: str, question: questions.Question, predictions: Predictions, places: np.ndarray) -> Row:
    """The mean images that answer a question, and their log densities, for the images at these places."""
    target = question.places
    images = question.observed[places].copy() if len(target) < question.clean.shape[1] else question.clean[places]
    images[:, target] = predictions.mean.mean(axis=0)[places]
    density = special.logsumexp(predictions.log_density, axis=0) - np.log(len(predictions.log_density))
    error = density.std(ddof=1) / np.sqrt(len(density))
    title = "\n".join([*name.split(", "), f"{density.mean():.2f} ± {error:.2f} nats"])
    return Row(title, color, images, [f"{value:.1f}" for value in density[places]])


def completions(question: questions.Question, data: Any, places: np.ndarray, count: int = 2) -> list[Row]:
    """Images drawn from the exact predictive distribution, each row from a z of its own."""
    rng = np.random.default_rng(0)
    rows = []
    for z in questions.posterior(question, data.network).draw(rng, count)["z"]:
        probabilities = special.expit(question.answer(data.network(z)))[places]
        images = question.observed[places].copy()
        images[:, question.places] = rng.random(probabilities.shape) < probabilities
        rows.append(Row("exact, one draw", EXACT, images, [""] * len(places)))
    return rows
