"""The optional parts of a model: what it may say beyond its posterior. `models.contract.Model` has them as fields."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Latents = Mapping[str, np.ndarray]  # values of the latent sites by name, each of shape (n_draws, *shape of the site)
Element = tuple[str, tuple[int, ...]]  # one element of a site: the site's name, and the index in it

Scores = Mapping[str, Mapping[str, "float | None"]]
"""Scores by name, each ``{"value", "mcse", "sampling"}`` as `compare.measure.predictive` has them."""


@dataclass(frozen=True)
class Best:
    """The best member q* of a family.

    Attributes:
        elbo: Its ELBO in nats.
        tolerance: How far that may be off.
        method: How it is known.
        parameters: The family's parameters by name.
    """

    elbo: float
    tolerance: float
    method: str
    parameters: dict[str, np.ndarray]


@dataclass(frozen=True)
class CoordinateAscent:
    """A model's closed-form updates for a factorised guide. A state maps parameter names to arrays.

    Attributes:
        title: What the reports call it.
        start: The state before the first update.
        updates: One sweep: yields the state after each update.
        elbo: The ELBO of a state in nats.
        draw: ``draw(state, rng, count)``: draws from the guide.
        log_guide: ``log_guide(state, latents)``: log q(z), shape (n_draws,).
        family: The family that the guide belongs to.
    """

    title: str
    start: Mapping[str, np.ndarray]
    updates: Callable[[Mapping[str, np.ndarray]], Iterator[dict[str, np.ndarray]]]
    elbo: Callable[[Mapping[str, np.ndarray]], float]
    draw: Callable[[Mapping[str, np.ndarray], np.random.Generator, int], dict[str, np.ndarray]]
    log_guide: Callable[[Mapping[str, np.ndarray], Latents], np.ndarray]
    family: str = "mean_field"


@dataclass(frozen=True)
class Quantities:
    """Functions of the latents that a reader wants to know.

    Attributes:
        derive: ``derive(data, latents)``: such quantities by name, each of shape (n_draws, *shape). The reported ones
            are what chains are judged by.
        report: ``report(data)``: the elements, of latents and derived quantities, that tables and plots show. Without
            it all are shown, or 20 of them spread evenly.
    """

    derive: Callable[[Any, Latents], dict[str, np.ndarray]] | None = None
    report: Callable[[Any], Sequence[Element]] | None = None


@dataclass(frozen=True)
class Symmetry:
    """Maps of the latents, such as new names for a mixture's components, that change neither prior nor likelihood.

    So the posterior has copies of every mode. The maps carry one region of the latents into as many regions as there
    are maps, and the posterior gives each the same probability: to be in one of them only costs a guide the log of
    their number, however right it is there. What the maps leave alone is what `Quantities` derives and reports.

    Attributes:
        copies: ``copies(data)``: the number of maps, and so of equal modes.
        region: ``region(data, latents)``: whole numbers that name the region of each draw, shape
            (n_draws, numbers).
        canonical: ``canonical(data, latents)``: each draw carried by one of the maps into a region, the same for all.
    """

    copies: Callable[[Any], int]
    region: Callable[[Any, Latents], np.ndarray]
    canonical: Callable[[Any, Latents], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Predictions:
    """What draws of the latents say of held-out observations. A point may be an image.

    Attributes:
        observed: The observations, shape (points,); of images (points, pixels).
        log_density: log p(y | z) of each point in nats, shape (n_draws, points); of an image's pixels jointly.
        mean: E[y | z], of two classes the probability of 1, shape (n_draws, points). Of images shape (parts, points,
            pixels), each part the average over as many consecutive draws.
        below: P(y' <= y | z) for y' from the predictive distribution; None for classes.
    """

    observed: np.ndarray
    log_density: np.ndarray
    mean: np.ndarray
    below: np.ndarray | None = None


@dataclass(frozen=True)
class Prediction:
    """What the posterior says of observations, fitted or held out.

    Attributes:
        predict: ``predict(data, latents)``: the `Predictions` of the held-out observations, None if there are none.
        pointwise: ``pointwise(data, latents)``: log p(x_i | z) by observed site, each (n_draws, observations).
        baselines: ``baselines(data)``: `Predictions`, or finished `Scores`, of simpler models by name.
        scores: ``scores(data, tree)``: what else a fit is scored by, from its whole tree.
        queries: ``queries(data)``: observations, shape (n, size), whose posteriors ``predict`` is given, as the tree's
            group ``queries`` holds them; None if it takes the posterior's own latents.
        exact_queries: ``exact_queries(data, rng, count)``: draws from those observations' exact posteriors.
        exact_predictions: ``exact_predictions(data)``: what the exact posterior says of them without draws.
    """

    predict: Callable[[Any, Latents], Predictions | None]
    pointwise: Callable[[Any, Latents], dict[str, np.ndarray]] | None = None
    baselines: Callable[[Any], Mapping[str, Predictions | Scores]] | None = None
    scores: Callable[[Any, Any], Scores] | None = None
    queries: Callable[[Any], np.ndarray | None] | None = None
    exact_queries: Callable[[Any, np.random.Generator, int], dict[str, np.ndarray] | None] | None = None
    exact_predictions: Callable[[Any], Predictions | Scores | None] | None = None


@dataclass(frozen=True)
class Decision:
    """What draws are acted on for, and what it costs that they are not the posterior's. The posterior is exact.

    Attributes:
        loss: The name of what is lost, such as "regret".
        meaning: ``meaning(data)``: what exactly is lost, as a sentence.
        evaluate: ``evaluate(data, latents)``: the expected loss, by the exact posterior, of whoever acts on these draws
            in its place; and the influence of each draw on it, shape (n_draws,): their mean has the loss's error.
        exact: ``exact(data)``: the expected loss of whoever acts on the exact posterior.
    """

    loss: str
    meaning: Callable[[Any], str]
    evaluate: Callable[[Any, Latents], tuple[float, np.ndarray]]
    exact: Callable[[Any], float]


@dataclass(frozen=True)
class Training:
    """What a guide with an encoder is trained and judged on. Observations are independent, each with a latent z.

    Attributes:
        train: Observations to train on, shape (n, size); ``validation`` and ``test`` likewise.
        shown: The positions of those test observations that the comparison's posterior is of.
        latent: The dimension of z.
        epochs: The most passes over the training set, in batches of ``batch``.
        decoder: The weights of the model's network by name; None where they are to be trained.
        start_decoder: ``start_decoder(rng)``: the weights that their training starts from.
        start_encoder: ``start_encoder(rng, row)``: an encoder that gives nearly this row for every observation.
        queries: Other observations, shape (n, size), whose posteriors are drawn from too; None if there are none.
        every_family: Whether each guide trains a decoder of its own, to see which is best; else the first alone does.
        n_elements: How many elements of an observation, the first ones, the model explains; the others are given to
            it, such as classes that are possible. None: all.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    shown: np.ndarray
    latent: int
    epochs: int
    batch: int
    decoder: Mapping[str, np.ndarray] | None
    start_decoder: Callable[[np.random.Generator], dict[str, np.ndarray]]
    start_encoder: Callable[[np.random.Generator, np.ndarray], dict[str, np.ndarray]]
    queries: np.ndarray | None = None
    every_family: bool = True
    n_elements: int | None = None


@dataclass(frozen=True)
class Evidences:
    """The log evidence of each test observation.

    Attributes:
        values: In nats, shape (n,).
        mcse: Their standard errors, shape (n,).
        method: How they are known.
    """

    values: np.ndarray
    mcse: np.ndarray
    method: str


@dataclass(frozen=True)
class Amortization:
    """A model with one latent per observation, whose guides have encoders, and perhaps a network that is trained too.

    Attributes:
        training: ``training(data)``: what encoders are trained on.
        with_decoder: ``with_decoder(data, weights)``: the data with a trained network.
        save: ``save(data, path)``: write the network to a file.
        held_out: ``held_out(data)``: the evidence of each test observation.
        baselines: ``baselines(data)``: the test observations' log densities under simpler models by name, (n,).
        is_sampled: ``is_sampled(data)``: whether NUTS belongs to the comparison.
    """

    training: Callable[[Any], Training]
    with_decoder: Callable[[Any, Mapping[str, np.ndarray]], Any]
    save: Callable[[Any, Path], Any]
    held_out: Callable[[Any], Evidences]
    baselines: Callable[[Any], dict[str, np.ndarray]]
    is_sampled: Callable[[Any], bool]


@dataclass(frozen=True)
class Claim:
    """A number or a statement of the founding text, what is true, and whether the two agree."""

    claim: str
    truth: float | str
    agrees: bool


@dataclass(frozen=True)
class Published:
    """What others published of a model or of a way to fit, and what is computed here.

    Attributes:
        claim: What is claimed.
        source: The paper or book with its section, equation, table or page.
        published: The claim's numbers; "by formula" in ``source`` says that they are not printed but follow from one.
        ours: Computed here, never typed in: numbers with their errors, and from what.
        agrees: None where these data and fits do not speak to the claim.
    """

    claim: str
    source: str
    published: str
    ours: str
    agrees: bool | None


@dataclass(frozen=True)
class Literature:
    """What is written about the model.

    Attributes:
        claims: ``claims(data)``: the founding text's claims, judged.
        published: ``published(data, summary)``: what others published, compared with the finished comparison's summary.
    """

    claims: Callable[[Any], list[Claim]] | None = None
    published: Callable[[Any, Mapping[str, Any]], list[Published]] | None = None


@dataclass(frozen=True)
class Picture:
    """A picture of the model's own.

    Attributes:
        name: The file's name, without the ending.
        caption: What it shows.
        draw: ``draw(fits, data, exact, path)`` saves one PNG; ``fits`` maps the finished fits' names to their trees.
        applies: ``applies(data)``: whether it makes sense; None where it always does.
    """

    name: str
    caption: str
    draw: Callable[..., None]
    applies: Callable[[Any], bool] | None = None
