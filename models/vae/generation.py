"""What is decoded from the latent space: images from the prior, and images between two others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import special

from models.contract import Scores
from models.drawing import STEP, draw_images, draw_sheet, tile
from models.image_posteriors import normal, posteriors
from models.plotting import EXACT, GREY, Fits, new_figure, save
from models.vae.baselines import independent
from models.vae.data import Autoencoder
from models.vae.questions import n_differing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STEPS = 9  # points of a line between two images, its ends included
MAX_PAIRS = 5  # most pairs of images
DRAWN = 20  # images of either kind that are drawn at each point of a line
SHOWN, COLUMNS = 60, 6  # generated images that are drawn, and how many of them in a row
MODEL, MIX = "#0072B2", "#D55E00"


def average(values: np.ndarray, drawn: bool = False) -> dict[str, float | None]:
    """The mean of values, shape (n,), as a score; their standard error is Monte Carlo where they were drawn."""
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    errors = {"mcse": error or 0.0, "sampling": None} if drawn else {"mcse": 0.0, "sampling": error}
    return {"value": float(values.mean()), **errors}


class Generated(NamedTuple):
    """Draws of z (n, latent), the pixels' probabilities (n, pixels), and images drawn from those, (n, pixels)."""

    z: np.ndarray
    probabilities: np.ndarray
    images: np.ndarray


def generate(data: Autoencoder) -> Generated:
    """Decoded images of z ~ N(0, I), one for each test image, drawn by the split's seed."""
    rng = np.random.default_rng((data.split, 2))
    z = rng.standard_normal((len(data.dataset.test), data.network.latent))
    probabilities = special.expit(data.network(z))
    return Generated(z, probabilities, (rng.random(probabilities.shape) < probabilities).astype(np.float64))


def scattered(data: Autoencoder) -> np.ndarray:
    """Images of independent pixels, each lit as often as in training, one for each test image, (n, pixels)."""
    chance = np.random.default_rng((data.split, 4)).random(data.dataset.test.shape)
    return (chance < independent(data.dataset.train).means).astype(np.float64)


def generation(data: Autoencoder) -> dict[str, Scores]:
    """Scores of generated images, of test images and of images with independent pixels, by name.

    ``log_evidence``, exact, in nats an image (where quadrature knows it): are they as probable as real ones? ``lit``,
    the share of lit pixels. ``distance``, in how many pixels an image differs from the nearest training image: are they
    copies? Images that are drawn have the Monte Carlo error of their number.
    """

    def scores(images: np.ndarray, drawn: bool) -> Scores:
        numbers = {"log_evidence": posteriors(data.network, images).log_evidences} if data.network.latent <= 2 else {}
        numbers |= {"lit": images.mean(axis=1), "distance": n_differing(images, data.dataset.train).min(axis=1)}
        return {name: average(values, drawn) for name, values in numbers.items()}

    return {
        "generated images": scores(generate(data).images, True),
        "test images": scores(data.dataset.test, False),
        "independent pixels": scores(scattered(data), True),
    }


class Line(NamedTuple):
    """A straight line between the posterior means of two test images, at ``STEPS`` points t from 0 to 1.

    Attributes:
        first, second: The numbers of the test images at t = 0 and t = 1.
        z: The points, shape (steps, latent).
        probabilities: Of the pixels decoded there, shape (steps, pixels).
        log_prior: log N(z; 0, I) in nats, shape (steps,).
        log_aggregate: The log density of z under the average of the test images' exact posteriors, shape (steps,).
        log_decoded: The mean exact log evidence of images drawn from the probabilities, shape (steps,).
        log_mixed: That of images without the model, each pixel that of the second image with probability t, else that
            of the first, shape (steps,).
        errors: The standard errors of these two, shape (2, steps).
    """

    first: int
    second: int
    z: np.ndarray
    probabilities: np.ndarray
    log_prior: np.ndarray
    log_aggregate: np.ndarray
    log_decoded: np.ndarray
    log_mixed: np.ndarray
    errors: np.ndarray


def pairs(data: Autoencoder) -> list[tuple[int, int]]:
    """Test images by number: the first of a class with the first of the next; without classes, by twos as they come."""
    labels, every = data.dataset.test_labels, np.arange(len(data.dataset.test))
    firsts = every if labels is None else np.unique(labels, return_index=True)[1]
    firsts = firsts if len(firsts) > 1 else every
    return [(int(a), int(b)) for a, b in zip(firsts[0::2], firsts[1::2], strict=False)][:MAX_PAIRS]


def lines(data: Autoencoder) -> list[Line]:
    """The lines of all `pairs`. Needs a latent space of at most two dimensions."""
    test, decoder = data.dataset.test, data.network
    exact = posteriors(decoder, test)
    rng = np.random.default_rng((data.split, 3))
    t = np.linspace(0, 1, STEPS)[:, None]
    all_lines = []
    for first, second in pairs(data):
        z = (1 - t) * exact.means[first] + t * exact.means[second]
        probabilities = special.expit(decoder(z))
        aggregate = special.logsumexp(exact.log_density(np.broadcast_to(z, (len(test), *z.shape))), axis=0)
        chance, turn = rng.random((2, DRAWN, STEPS, test.shape[1]))
        drawn = np.stack([chance < probabilities, np.where(turn < t, test[second], test[first])]).astype(np.float64)
        evidence = posteriors(decoder, drawn.reshape(-1, test.shape[1])).log_evidences.reshape(2, DRAWN, STEPS)
        decoded, mixed = evidence.mean(axis=1)
        errors = evidence.std(axis=1, ddof=1) / np.sqrt(DRAWN)
        aggregate -= np.log(len(test))
        all_lines.append(Line(first, second, z, probabilities, normal(z), aggregate, decoded, mixed, errors))
    return all_lines


def interpolation(data: Autoencoder) -> dict[str, Scores]:
    """Means over the lines at their ends and in their middles, in nats, beside images of mixed pixels."""
    all_lines = lines(data)

    def mean(name: str, places: list[int]) -> dict[str, float | None]:
        score = average(np.array([getattr(line, name)[places].mean() for line in all_lines]))
        kinds = ("log_decoded", "log_mixed")
        if name in kinds:
            errors = np.array([line.errors[kinds.index(name), places] for line in all_lines])
            score["mcse"] = float(np.sqrt(np.sum(errors**2)) / errors.size)
        return score

    names = {"log_prior": "log_prior", "log_aggregate": "log_aggregate", "log_evidence": "log_decoded"}
    ends, middle = [0, STEPS - 1], [STEPS // 2]
    return {
        "ends of the lines": {score: mean(name, ends) for score, name in names.items()},
        "middles of the lines": {score: mean(name, middle) for score, name in names.items()},
        "pixels mixed half and half": {"log_evidence": mean("log_mixed", middle)},
    }


# Pictures


def generated(fits: Fits, data: Autoencoder, exact: object, path: Path) -> None:
    """Images from the prior, the training image nearest to each in the same place, and how probable both kinds are."""
    new, train = generate(data), data.dataset.train
    away = n_differing(new.images, train)
    is_known = data.network.latent <= 2
    figure = new_figure(14.6 if is_known else 9.0, 5.0)
    panels = figure.subplots(1, 4 if is_known else 3, width_ratios=[1, 1, 1, 1.6] if is_known else None)
    for axes, images, title in (
        (panels[0], new.probabilities, "probabilities of the pixels"),
        (panels[1], new.images, "images drawn from them"),
        (panels[2], train[np.argmin(away, axis=1)], "nearest training images"),
    ):
        draw_sheet(axes, tile(images[:SHOWN], data.dataset.shape, COLUMNS))
        axes.set_title(title)
    least = away.min(axis=1)
    words = f"{least.mean():.1f} pixels differ on average;\n{np.mean(least == 0):.1%} are copies"
    panels[2].set_xlabel(words, fontsize=9)
    if is_known:
        draw_evidences(panels[3], data, new.images)
    save(figure, path)


def draw_evidences(axes: Axes, data: Autoencoder, images: np.ndarray) -> None:
    """The exact log evidence of generated images, test images and images of independent pixels, as shares below."""
    for name, some, color, style in (
        ("test images", data.dataset.test, EXACT, "-"),
        ("generated images", images, MODEL, "-"),
        ("independent pixels", scattered(data), GREY, "--"),
    ):
        evidence = np.sort(posteriors(data.network, some).log_evidences)
        error = evidence.std(ddof=1) / np.sqrt(len(evidence))
        share = np.arange(1, len(evidence) + 1) / len(evidence)
        label = f"{name}: {evidence.mean():.2f} ± {error:.2f}"
        axes.step(evidence, share, where="post", color=color, ls=style, lw=1.8, label=label)
    axes.set(xlabel="exact log p(x) in nats", ylabel="share of images below", ylim=(0, 1))
    axes.set_title("are they as probable as real ones?")
    axes.legend(title="mean ± standard error", loc="upper left")


def interpolated(fits: Fits, data: Autoencoder, exact: object, path: Path) -> None:
    """A row a pair: the two test images and what is decoded between them; below, how probable the way is."""
    all_lines, test, shape = lines(data), data.dataset.test, data.dataset.shape
    tall = shape[0] / shape[1]
    above = len(all_lines) * (tall + 0.08) + 0.35
    figure = new_figure(STEP * (STEPS + 2), above + 4.2)
    top, bottom = figure.subfigures(2, 1, height_ratios=[above, 4.2])
    sheet = top.subplots()
    rows = [[test[line.first], *line.probabilities, test[line.second]] for line in all_lines]
    draw_images(sheet, rows, shape, tall + 0.08)
    titles = {0: "test image", 1: "t = 0", 1 + STEPS // 2: "decoded along the straight line", STEPS: "t = 1"}
    for column, title in {**titles, STEPS + 1: "test image"}.items():
        sheet.text(STEP * column + 0.5, tall + 0.06, title, fontsize=9, ha="center")
    sheet.set_ylim(top=tall + 0.3)
    t = np.linspace(0, 1, STEPS)
    images, plane = bottom.subplots(1, 2)
    for axes, name, color, style, label in (
        (images, "log_decoded", MODEL, "-", f"images drawn at each point (mean of {DRAWN}, ± 2 errors)"),
        (images, "log_mixed", MIX, "--", "pixels of the two, mixed at random (the same)"),
        (plane, "log_aggregate", MODEL, "-", "the test images' average posterior"),
        (plane, "log_prior", GREY, "--", "the prior"),
    ):
        values = np.array([getattr(line, name) for line in all_lines])
        axes.plot(t, values.T, color=color, lw=0.8, ls=style, alpha=0.4)
        axes.plot(t, values.mean(axis=0), color=color, lw=2.4, ls=style, label=label)
    for kind, color in enumerate((MODEL, MIX)):
        middle = np.mean([line.log_mixed if kind else line.log_decoded for line in all_lines], axis=0)
        error = np.sqrt(np.sum([line.errors[kind] ** 2 for line in all_lines], axis=0)) / len(all_lines)
        images.fill_between(t, middle - 2 * error, middle + 2 * error, color=color, alpha=0.2, lw=0)
    of_test = posteriors(data.network, test).log_evidences.mean()
    images.axhline(of_test, color=EXACT, lw=1.2, ls=":", label="test images, mean")
    for axes, title, label in (
        (images, "is what is decoded on the way an image?", "exact log p(image), nats"),
        (plane, "does the way lead through empty space?", "log density of z, nats"),
    ):
        axes.set_title(title)
        axes.set(xlabel="t", ylabel=label, xlim=(0, 1))
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18))
    save(figure, path)
