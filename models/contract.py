"""What a model's folder fills in. NumPy only: nothing here knows a probabilistic programming library."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

__all__ = [
    "Amortised",
    "Best",
    "Claim",
    "CoordinateAscent",
    "Data",
    "Evidences",
    "Exact",
    "Latents",
    "Model",
    "Picture",
    "Predictions",
    "Published",
    "Reference",
    "Scores",
    "Simulated",
    "UnknownName",
    "count",
    "element",
    "nearest",
    "nothing",
    "option",
]

Latents = Mapping[str, np.ndarray]
"""Values of the latent sites by name, each of shape (count, *shape of the site)."""

Scores = Mapping[str, Mapping[str, "float | None"]]
"""Scores by name, each ``{"value", "mcse", "sampling"}`` as `compare.measure.predictive` has them."""


class UnknownName(ValueError):
    """A name that is in no catalogue."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error message: the nearest right name, or all of them."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(known)}"


def element(site: str, index: tuple[int, ...] = ()) -> str:
    """The name of one element of a site: ``theta``, ``z[0]``, ``w[1,2]``."""
    return f"{site}[{','.join(map(str, index))}]" if index else site


def option(default: Any, help: str, parse: Callable[[str], Any] | None = None, choices: Sequence[str] = ()) -> Any:
    """A field of a model's data that is also an option of the command line.

    ``parse`` turns the option's text into the value; without it the default's own type does.
    """
    metadata = {"help": help, "parse": parse or type(default), "choices": tuple(choices)}
    return dataclasses.field(default=default, metadata=metadata)


def count(text: str) -> int:
    """A whole number from the command line; ``6.5`` and ``six`` are refused with a reason.

    Raises:
        ValueError: it is not one.
    """
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number; give a whole number, such as 6") from None
    if not math.isfinite(value) or value != math.floor(value):
        raise ValueError(f"{text} is not a whole number; give one, such as 6")
    return int(text) if text.lstrip("+-").isdigit() else int(value)


class Data(Protocol):
    """A model's data and constants: a frozen dataclass whose fields are made by `option`.

    Its ``__post_init__`` validates and raises ``ValueError`` with one line that says what is wrong and what
    would be right.
    """

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of both twins: numbers and float64 arrays."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The latent sites and their shapes."""

    def reported(self) -> list[tuple[str, tuple[int, ...]]]:
        """The elements that the table, the summary and the plots speak of, as (site, index)."""

    def observed(self) -> dict[str, np.ndarray]:
        """The observed sites, for the group ``observed_data``."""

    def describe(self) -> dict[str, Any]:
        """The same in JSON's types, for the summary."""


class Exact(Protocol):
    """A posterior that is known, with the method and the tolerance it is known to.

    All log densities are in nats, in the model's own constrained space, float64, normalised.
    """

    method: str
    tolerance: float
    log_evidence: float

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        """Independent draws, each site of shape (count, *shape)."""

    def log_prior(self, latents: Latents) -> np.ndarray:
        """log p(z), shape (count,)."""

    def log_likelihood(self, latents: Latents) -> np.ndarray:
        """log p(x | z), shape (count,)."""

    def log_posterior(self, latents: Latents) -> np.ndarray:
        """log p(z | x), shape (count,)."""

    def mean(self) -> dict[str, np.ndarray]:
        """Posterior means, each of its site's shape."""

    def sd(self) -> dict[str, np.ndarray]:
        """Posterior standard deviations, each of its site's shape."""

    def quantile(self, probability: float) -> dict[str, np.ndarray]:
        """Marginal quantiles, each of its site's shape."""

    def density(self, site: str, index: tuple[int, ...], grid: np.ndarray) -> np.ndarray:
        """The marginal density of one element on a grid."""

    def correlations(self) -> dict[str, float]:
        """Correlations of the reported elements, keyed ``z[0],z[1]``; empty where there is one element."""

    def facts(self) -> dict[str, Any]:
        """What else is known and worth printing (mode, variance, intervals), in JSON's types."""


def as_they_are(data: Any, latents: Latents, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Nothing was integrated out."""
    return dict(latents)


@dataclass(frozen=True)
class Reference:
    """How a posterior is known that has no closed form: a long NUTS run, held to targets as
    posteriordb's are.

    ``program`` is the function of the twin that is sampled: ``model``, or one in which some latents are integrated
    out. ``complete(data, latents, rng)`` then adds those, drawn from their exact conditional distribution.
    ``acceptance`` is the rate that NUTS adapts its step sizes to: higher than usual, so that few transitions diverge.
    """

    method: str
    program: str = "model"
    complete: Callable[[Any, Latents, np.random.Generator], dict[str, np.ndarray]] = as_they_are
    library: str = "numpyro"
    acceptance: float = 0.9


@dataclass(frozen=True)
class Predictions:
    """What draws of the latents, shape (count, ...), say of observations that were held out, shape (points,).

    ``log_density`` is log p(y | z) of each, shape (count, points), in nats; ``mean`` is E[y | z], of two classes the
    probability of 1. ``below`` is P(y' <= y | z) for y' from the predictive distribution; None for classes.

    A point may be an image: ``observed`` then has shape (points, pixels), ``log_density`` is that of all its pixels
    jointly, and ``mean`` has shape (parts, points, pixels), each part the average over as many consecutive draws, so
    that the pixels of all draws need not be kept.
    """

    observed: np.ndarray
    log_density: np.ndarray
    mean: np.ndarray
    below: np.ndarray | None = None


@dataclass(frozen=True)
class Amortised:
    """What a guide with an encoder is trained and judged on.

    ``train``, ``validation`` and ``test`` are independent observations, shape (n, size), each with a latent z of shape
    (latent,) of its own; ``shown`` are the positions of those test observations that the comparison's posterior is of.
    ``decoder`` are the weights of the model's network by name; None where they are to be learnt, from ``start(rng)``.
    An encoder starts from ``encoder(rng, row)``, where it gives nearly this row for every observation. ``epochs`` are
    the most passes over the training set, in batches of ``batch``. ``queries`` are other observations, shape (n, size),
    of which the encoder's posterior is wanted. ``every``: whether each guide learns a network of its own, to see which
    is best; else the first alone does.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    shown: np.ndarray
    latent: int
    epochs: int
    batch: int
    decoder: Mapping[str, np.ndarray] | None
    start: Callable[[np.random.Generator], dict[str, np.ndarray]]
    encoder: Callable[[np.random.Generator, np.ndarray], dict[str, np.ndarray]]
    queries: np.ndarray | None = None
    every: bool = True


@dataclass(frozen=True)
class Evidences:
    """The log evidence of each test observation, shape (n,), in nats, with its standard error and how it is known."""

    values: np.ndarray
    mcse: np.ndarray
    method: str


@dataclass(frozen=True)
class Simulated:
    """Draws from the joint distribution p(z, x): latents from the prior, and the data that they gave.

    ``latents`` have shape (count, *site), ``data`` are as many data sets, in the same order. Where each observation has
    latents of its own, one data set with as many observations does: then ``data`` is that alone, ``plate`` is True, and
    the first axis of a site counts the observations.
    """

    latents: dict[str, np.ndarray]
    data: tuple[Any, ...]
    plate: bool = False


@dataclass(frozen=True)
class Best:
    """The best member q* of a family: its ELBO in nats, and how that is known."""

    elbo: float
    tolerance: float
    method: str
    parameters: dict[str, np.ndarray]


@dataclass(frozen=True)
class Claim:
    """A number or a statement of the founding text, and what is true."""

    claim: str
    truth: float | str
    agrees: bool


@dataclass(frozen=True)
class Published:
    """What others published of a model or of a way to fit, and what is found here.

    ``source`` names the paper or book with its section, equation, table or page; where ``published`` is no number that
    is printed there but follows from a formula, it says "by formula". ``ours`` is computed, never typed in: numbers
    with their errors, and from what. ``agrees`` is None where these data and fits do not speak to the claim.
    """

    claim: str
    source: str
    published: str
    ours: str
    agrees: bool | None


@dataclass(frozen=True)
class CoordinateAscent:
    """A model's closed-form updates for a factorised guide.

    ``updates`` is one sweep: it yields the parameters after each update. A ``state`` maps parameter names to
    arrays. All other functions take a state.
    """

    title: str
    start: Mapping[str, np.ndarray]
    updates: Callable[[Mapping[str, np.ndarray]], Iterator[dict[str, np.ndarray]]]
    elbo: Callable[[Mapping[str, np.ndarray]], float]
    draw: Callable[[Mapping[str, np.ndarray], np.random.Generator, int], dict[str, np.ndarray]]
    log_guide: Callable[[Mapping[str, np.ndarray], Latents], np.ndarray]
    family: str = "mean_field"


def always(data: Any) -> bool:
    """Whatever the data."""
    return True


def nothing(data: Any, *arguments: Any) -> Any:
    """There is none."""
    return None


def nothing_more(data: Any, *arguments: Any) -> dict[str, Any]:
    """None of them."""
    return {}


def no_updates(data: Any) -> dict[str, CoordinateAscent]:
    """No closed-form updates."""
    return {}


def unpublished(data: Any, summary: Mapping[str, Any]) -> list[Published]:
    """Nothing of it was published by others."""
    return []


@dataclass(frozen=True)
class Picture:
    """A picture of the model's own: ``draw(fits, data, exact, path)`` saves one PNG.

    ``fits`` maps the names of the finished fits to their trees. ``applies(data)`` says whether it makes sense.
    """

    name: str
    caption: str
    draw: Callable[..., None]
    applies: Callable[[Any], bool] = always


@dataclass(frozen=True)
class Model:
    """One model of the zoo.

    ``exact(data)`` is the posterior where it is known, None where it is not; then ``reference(data)`` says how a long
    run gets it. ``cases`` are data sets that the tests try beside the defaults, the extreme ones above all.

    What a user wants to know may be a function of the latents: ``derive(data, latents)`` gives such quantities by
    name, shape (count, *shape). They may be among the reported elements, and then the chains are judged by them.
    ``pointwise(data, latents)`` gives log p(x_i | z) of each observed site, shape (count, observations);
    ``predict(data, latents)`` the `Predictions` of held-out observations, and ``baselines(data)`` those of simpler
    models, by name, or finished `Scores`; ``scores(data, tree)`` gives what else a fit is scored by, from its whole
    tree. Where ``data.queries()`` are observations of their own, ``predict`` is given the latents of those, the tree's
    group ``queries``; ``exact_queries(data, rng, count)`` draws them from their exact posterior. What that says of
    held-out observations without draws is ``exact_predictions(data)``. ``defaults`` are those options of the fits in
    which this model differs from the others, such as the tolerance within which a guide counts as converged; the user
    may say otherwise.

    ``sampled(data)`` says whether NUTS belongs to the comparison. A model whose latents belong to one observation each
    has guides with encoders: ``amortised(data)`` says what they are trained on, ``learnt(data, weights)`` are the data
    with a network of the model's own that was learnt along, and ``save(data, path)`` writes it to a file.
    ``held_out(data)`` gives the `Evidences` of the test observations, ``rivals(data)`` their log densities under
    simpler models by name, shape (n,).

    ``simulate(data, rng, count)`` draws latents from the prior and data sets from them, `Simulated`, of the size and
    with the constants of ``data``: what calibration needs. ``coverage(data, family, probability)`` says, where theory
    does, how often the central interval of that probability of the best member of a family holds the true value over
    such data sets, by element.

    ``published(data, summary)`` holds the model against what others published of it; ``summary`` is that of the
    finished comparison, in JSON's types, with its ``fits`` and ``held_out``.
    """

    name: str
    title: str
    data: type
    guides: tuple[str, ...]
    exact: Callable[[Any], Exact | None]
    best: Callable[[Any, str], Best | None]
    claims: Callable[[Any], list[Claim]]
    reference: Callable[[Any], Reference | None] = nothing
    derive: Callable[[Any, Latents], dict[str, np.ndarray]] = nothing_more
    pointwise: Callable[[Any, Latents], dict[str, np.ndarray]] = nothing_more
    predict: Callable[[Any, Latents], Predictions | None] = nothing
    baselines: Callable[[Any], dict[str, Predictions | Scores]] = nothing_more
    scores: Callable[[Any, Any], Scores] = nothing_more
    exact_queries: Callable[[Any, np.random.Generator, int], dict[str, np.ndarray] | None] = nothing
    exact_predictions: Callable[[Any], Predictions | Scores | None] = nothing
    sampled: Callable[[Any], bool] = always
    coordinate_ascent: Callable[[Any], dict[str, CoordinateAscent]] = no_updates
    amortised: Callable[[Any], Amortised | None] = nothing
    learnt: Callable[[Any, Mapping[str, np.ndarray]], Any] = nothing
    save: Callable[[Any, Path], Any] = nothing
    held_out: Callable[[Any], Evidences | None] = nothing
    rivals: Callable[[Any], dict[str, np.ndarray]] = nothing_more
    simulate: Callable[[Any, np.random.Generator, int], Simulated | None] = nothing
    coverage: Callable[[Any, str, float], dict[str, float] | None] = nothing
    published: Callable[[Any, Mapping[str, Any]], list[Published]] = unpublished
    pictures: tuple[Picture, ...] = ()
    defaults: Mapping[str, float] = dataclasses.field(default_factory=dict)
    cases: tuple[Any, ...] = ()
