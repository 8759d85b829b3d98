"""What a model says of many points site by site, and what it would observe: the same for both libraries.

A library runs the model at given values of its sites and tells each site's log density and the parameters of its
distribution (`Program`); the draws are NumPy's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from compare.messages import one_line
from compare.user_model.variates import draw

Arrays = dict[str, np.ndarray]
"""Values by site, shape (count, *site)."""

LARGEST = 4_000_000
"""Numbers that are evaluated in one go."""

CHUNK = 1024
"""Most points that are evaluated in one go: one shape, one compilation."""

NOTHING_DRAWN = "no site is observed; from a factor nothing can be drawn"


class Form(NamedTuple):
    """A site's distribution: its name in `variates.SAMPLERS`, None where it is not there, and the axes of its event."""

    kind: str | None
    event_dim: int


class Terms(NamedTuple):
    """What a model gives at many points, by site, each array of shape (count, ...).

    Attributes:
        prior: log p of the latent sites' elements in nats.
        likelihood: log p of the observations in nats, of factors too.
        parameters: The parameters of each distribution that NumPy draws from.
        drawn: Draws from the others, by the library.
        weights: What the density of a site's elements is multiplied by, all such factors one after another, shape
            (count, factors): 1 for none, 0 where a mask takes an element out.
    """

    prior: Arrays
    likelihood: Arrays
    parameters: Mapping[str, Arrays]
    drawn: Arrays
    weights: Arrays

    def log_densities(self) -> Arrays:
        """log p of each site in nats at each point, shape (count,)."""
        return {n: part.reshape(len(part), -1).sum(axis=1) for n, part in (self.prior | self.likelihood).items()}


class Joint(NamedTuple):
    """Draws from the joint distribution.

    Attributes:
        latents: The latent sites, the discrete ones too, each of shape (count, *site).
        observed: The observed sites, likewise.
        log_densities: log p of each site in nats, shape (count,).
    """

    latents: Arrays
    observed: Arrays
    log_densities: Arrays


class Program(Protocol):
    """A model in a library, on its data.

    Attributes:
        forms: The sites that may be drawn, in the model's order, once it has been run; factors are none.
        problems: Why some of them cannot be, by site; of "" the reason is the whole model's.
    """

    forms: dict[str, Form]
    problems: dict[str, str]

    def run(self, latents: Mapping[str, Any], observed: Mapping[str, Any], seed: int) -> Terms:
        """The terms at values of the latent and the observed sites, shape (count, *site)."""


@dataclass(frozen=True, eq=False)
class Sitewise:
    """What a model says of points site by site.

    Attributes:
        log_prior: log p of each latent site's elements in nats, shape (count, *batch).
        log_likelihood: log p of each observation in nats, shape (count, *batch), of observed sites and factors.
        replicated: Observations drawn at each point, shape (count, *site); empty where there are none.
        problem: Why there are none.
    """

    log_prior: Arrays
    log_likelihood: Arrays
    replicated: Arrays = field(default_factory=dict)
    problem: str = ""


def evaluate(program: Program, latents: Arrays, observed: Mapping[str, np.ndarray], seed: int) -> Sitewise:
    """Log densities by site, and replicated observations, at latents of shape (count, *site)."""
    count = len(next(iter(latents.values())))
    size = max(1, sum(map(np.size, observed.values())) + sum(map(np.size, latents.values())) // count)
    chunk = min(count, max(16, min(CHUNK, 1 << (LARGEST // size).bit_length())))
    pieces, problem, rounds = list[Sitewise](), "", 0
    for begin in range(0, count, chunk):
        rows = np.minimum(np.arange(begin, begin + chunk), count - 1)
        points = {name: np.asarray(value)[rows] for name, value in latents.items()}
        given = repeated(observed, chunk)
        terms = program.run(points, given, seed + begin)
        problem = problem or undrawable(program, list(observed))
        replicated: Arrays = {}
        if not problem:
            try:
                replicated, rounds = settle(program, points, given, list(observed), seed + begin, terms, rounds)
            except Exception as error:  # a rate that NumPy cannot draw from, say
                problem = one_line(error)
        pieces.append(Sitewise(terms.prior, terms.likelihood, replicated))
    prior, likelihood = (stacked([getattr(p, part) for p in pieces], count) for part in ("log_prior", "log_likelihood"))
    if problem or not observed:
        return Sitewise(prior, likelihood, problem=problem or NOTHING_DRAWN)
    return Sitewise(prior, likelihood, stacked([piece.replicated for piece in pieces], count))


def draw_prior(
    side: Any, model: str, arguments: Mapping[str, Any], latents: Arrays, observed: Mapping[str, np.ndarray], seed: int
) -> tuple[Arrays, Arrays, str]:
    """Draws from the prior, observations drawn from it, and why there are none of these.

    Args:
        side: The module of the library.
        model: The model's name.
        arguments: Its arguments.
        latents: Points of the support to start from, as many as there are to be draws.
        observed: The values of the observed sites.
        seed: What the random numbers follow from.

    Raises:
        ValueError: the prior cannot be drawn from.
    """
    count = len(next(iter(latents.values())))
    given, program = repeated(observed, count), side.program(model, arguments)
    terms = program.run(latents, given, seed)
    if any(name not in program.forms for name in observed):  # discrete latents are summed out: here they are drawn
        program = side.program(model, arguments, prior=True, joint=True)
        latents = side.latents_of(program, count) | latents
        terms = program.run(latents, given, seed)
    elif any(program.forms[name].kind is None for name in latents):
        program = side.program(model, arguments, prior=True)
        terms = program.run(latents, given, seed)
    problem = undrawable(program, list(latents))
    if problem:
        raise ValueError(problem)
    drawn, _ = settle(program, latents, given, list(latents), seed, terms)
    problem = undrawable(program, list(observed)) if observed else NOTHING_DRAWN
    if problem:
        return drawn, {}, problem
    try:
        return drawn, settle(program, drawn, given, list(observed), seed + 1)[0], ""
    except Exception as error:
        return drawn, {}, one_line(error)


def draw_joint(program: Program, start: Arrays, observed: Mapping[str, np.ndarray], seed: int) -> Joint:
    """Draws of all latent and observed sites together.

    Args:
        program: A model with its discrete latents, and with ``prior``.
        start: Points of the support to start from, as many as there are to be draws.
        observed: The values of the observed sites.
        seed: What the random numbers follow from.

    Raises:
        ValueError: the joint density is not that of draws: a scale, a mask that depends on latents; or it cannot be
            drawn from.
    """
    given = repeated(observed, len(next(iter(start.values()))))
    terms, names = program.run(start, given, seed), [*start, *given]
    problem = undrawable(program, names)
    if problem:
        raise ValueError(problem)
    try:
        values, _ = settle(program, start, given, names, seed, terms)
    except ValueError as error:
        raise ValueError(f"the prior cannot be drawn from: {one_line(error)}") from error
    latents, drawn = alike(values, start), alike(values, given)
    terms = program.run(latents, drawn, seed)
    for name, weight in terms.weights.items():
        refuse_weights(name, np.asarray(weight), name in latents)
    return Joint(latents, drawn, terms.log_densities())


def refuse_weights(name: str, weight: np.ndarray, is_latent: bool) -> None:
    """Raise ValueError where a site's density, multiplied by this in each draw, is not what its draws come from."""
    scaled = weight[(weight != 1) & (is_latent | (weight != 0))]
    if scaled.size:
        raise ValueError(
            f"the density of site {name!r} is scaled by {scaled[0]:g}, which no draws have; leave the scale out"
        )
    if np.any(weight != weight[:1]):
        raise ValueError(
            f"which elements of site {name!r} are masked out depends on other sites: no data set has one such "
            "distribution; mask by the data alone"
        )


def repeated(observed: Mapping[str, np.ndarray], count: int) -> Arrays:
    return {name: np.broadcast_to(value, (count, *np.shape(value))) for name, value in observed.items()}


def stacked(pieces: Sequence[Arrays], count: int) -> Arrays:
    return {name: np.concatenate([piece[name] for piece in pieces])[:count] for name in pieces[0]}


def undrawable(program: Program, names: Sequence[str]) -> str:
    """Why a program, once it has been run, cannot draw these sites; empty where it can."""
    for name in names:
        if name not in program.forms:
            return f"site {name!r} depends on discrete latents, which are summed out"
    reasons = (program.problems.get(name, "") for name in ("", *names))
    return next((reason for reason in reasons if reason), "")


def settle(
    program: Program,
    latents: Arrays,
    observed: Arrays,
    names: Sequence[str],
    seed: int,
    terms: Terms | None = None,
    rounds: int = 0,
) -> tuple[Arrays, int]:
    """Draws of these sites together, the others held, and the rounds that it took.

    Every site is drawn given the others, with the same random numbers each time, until nothing changes: after as many
    rounds as sites depend on each other in a row all are draws from their joint distribution.

    Args:
        program: The model.
        latents: Values of the latent sites.
        observed: Values of the observed sites.
        names: The sites to draw.
        seed: What the random numbers follow from.
        terms: Those at these values, where they are known.
        rounds: How many rounds are enough, where that is known.

    Raises:
        ValueError: a distribution cannot be drawn from at its parameters.
    """
    values = {**latents, **observed}
    for number in range(1, len(names) + 2):
        terms = terms or program.run(alike(values, latents), alike(values, observed), seed)
        draws = {name: draw_site(program, terms, name, values[name].shape, seed) for name in names}
        is_settled = all(np.array_equal(draws[name], values[name], equal_nan=True) for name in names)
        values, terms = values | draws, None
        if is_settled or number == rounds:
            break
    return {name: values[name] for name in names}, max(1, number - is_settled)


def alike(values: Arrays, start: Arrays) -> Arrays:
    """The values of these sites, numbers of the kind that they have at the start: counts may be floats in a model."""
    return {name: values[name].astype(np.result_type(values[name], value)) for name, value in start.items()}


def draw_site(program: Program, terms: Terms, name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Draws of a site given the others, of this shape, (count, *site)."""
    if name in terms.drawn:
        return np.asarray(terms.drawn[name])
    kind, event_dim = program.forms[name]
    assert kind is not None
    rng = np.random.default_rng([seed, list(program.forms).index(name)])
    return draw(kind, terms.parameters[name], shape[1 : len(shape) - event_dim], rng)
