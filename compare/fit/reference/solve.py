"""A user's posterior by quadrature or importance sampling, where either can be trusted, in place of a long run."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from compare import user_model
from compare.comparison import Element, Layout, Request
from compare.fit import one_thread
from compare.fit.reference.acceptance import sample_by_importance
from compare.fit.reference.cells import ORDERS
from compare.fit.reference.importance import WeightedDraws, resample
from compare.fit.reference.modes import MANY_PROBES, PROBES, ModeSearch, find_modes
from compare.fit.reference.proper import NoMaximum, flat_direction
from compare.fit.reference.quadrature import EDGE, Quadrature, integrate
from compare.fit.reference.target import SHARE, OutOfTime, Refused, Target, why_not
from compare.user_model.posterior import Tabulated
from compare.user_model.unconstrained import Unconstrained

__all__ = ["with_posterior"]

LARGEST = 80
"""Elements of all latents beyond which nothing is tried: 20 Cholesky factors of 2 x 2 correlations have 20
free ones."""

MOST_DIMENSIONS = 20
"""Unconstrained dimensions beyond which importance sampling is not tried."""

N_DRAWS, MANY_DRAWS = 256, 1024
"""Draws from the prior that the search for modes begins with, and in more than three dimensions."""

N_POINTS = 2**15
"""Weighted points that stand for the posterior."""

PRECISE = 0.02
"""Largest error of a mean or an sd, in sds, a fifth of what verdicts tolerate; and of the log evidence by importance
sampling, in nats."""

N_STARTS = 1024
"""Starts of the optimiser; half of them in each of the two searches in more than three dimensions."""

LEAST_STARTS, MANY_STARTS = 64, 256
"""The fewest, where an evaluation takes long, and in more than three dimensions, where it is they that meet modes."""

EVALUATIONS = 600
"""Evaluations of the log joint that the optimisation of one start takes, its gradients counted as several."""

FIRST, LONGER = (16, 256), 4
"""Numbers of points timed before a full batch, which could outlast the deadline; and the ratio of the two times above
which points count as evaluated one after another."""

MOST_CHECKED = 16
"""Coordinates with improper priors along which a posterior is followed."""

VISIBLE = 0.001
"""Least share of the mass of a mode that is mentioned."""


def with_posterior(request: Request) -> Any:
    """The request's data; a user's with the posterior, by quadrature or importance sampling, or a note why by neither.

    Only models of users whose exact posterior is not given are tried, by quadrature in up to three unconstrained
    dimensions and by importance sampling in more.

    Raises:
        ValueError: the posterior is improper.
    """
    data = request.data
    if isinstance(data, user_model.UserData) and data.truth is None and data.layout.improper:
        data = checked(request, data)
    if not isinstance(data, user_model.UserData) or data.truth is not None or data.layout.dimension > LARGEST:
        return data
    seconds = request.options.reference_budget / SHARE
    deadline, seed = time.perf_counter() + seconds, zlib.crc32(f"{request.seed} quadrature".encode())
    n_draws = N_DRAWS if data.layout.dimension in ORDERS else MANY_DRAWS
    method = "quadrature or importance sampling"
    try:
        with one_thread(), np.errstate(over="ignore", invalid="ignore"):  # far away, where nothing is decided
            space = Unconstrained(user_model.find(request.model.name), data.values, data.layout, n_draws, seed)
            solver, method = way(space)
            posterior = solver(space, data.layout, deadline, np.random.default_rng(seed)) if solver else None
    except Exception as error:
        reason = why_not(error, seconds)
        if reason == EDGE and data.layout.improper:
            raise ValueError(improper_posterior(data.layout, "in some direction")) from None
    else:
        return data if posterior is None else replace(data, posterior=posterior)
    instead = "A long run of NUTS is the reference" if not request.quick else "--quick leaves a long run of NUTS out"
    note = f"the posterior is not known by {method}: {reason}. {instead}"
    return replace(data, layout=replace(data.layout, notes=(*data.layout.notes, note)))


def checked(request: Request, data: user_model.UserData) -> user_model.UserData:
    """The data of a model with improper priors, with a note where the posterior could not be checked.

    Raises:
        ValueError: the posterior is improper; one line names the direction in which it does not fall off.
    """
    seed = zlib.crc32(f"{request.seed} proper".encode())
    user = user_model.find(request.model.name)
    try:
        with one_thread(), np.errstate(over="ignore", invalid="ignore"):
            space = Unconstrained(user, data.values, data.layout, 1, seed)
            names = space.coordinates()
            deadline = time.perf_counter() + request.options.reference_budget / SHARE
            target = target_of(space, data.layout.reported_elements, deadline)
            flat = [place for place, (site, _) in enumerate(names) if site in data.layout.improper][:MOST_CHECKED]
            direction = flat_direction(target, flat, np.random.default_rng(seed))
    except (OutOfTime, NoMaximum) as error:
        why = "there was no time" if isinstance(error, OutOfTime) else "its density has no highest point"
        unchecked = f"whether the posterior is proper is not known: {why}; do not trust the fits without a proof"
        return replace(data, layout=replace(data.layout, notes=(*data.layout.notes, unchecked)))
    if direction is None:
        return data
    largest = np.argsort(-np.abs(direction))[:4]
    parts = [(names[place], direction[place]) for place in sorted(largest) if abs(direction[place]) > 0.01]
    where = ", ".join(f"{part:+.2f} {data.layout.label(*name)}" for name, part in parts)
    raise ValueError(improper_posterior(data.layout, f"in the unconstrained direction {where}"))


def improper_posterior(layout: Layout, where: str) -> str:
    """The line about a posterior whose mass is infinite."""
    names = ", ".join(layout.improper)
    remedy = f"give {names} a proper prior, or leave out what the data do not tell apart"
    if all(name.endswith("_unwrapped") for name in layout.improper):
        remedy = "an angle may have any number of full turns added: leave out CircularReparam"
    return f"the posterior is improper: under the improper prior on {names} it does not fall off {where}; {remedy}"


def way(space: Unconstrained) -> tuple[Callable[..., Tabulated] | None, str]:
    """What is tried in this many dimensions, and its name; nothing in very many."""
    dimension = space.prior_draws.shape[1]
    if dimension in ORDERS:
        return by_quadrature, "quadrature"
    return by_importance if dimension <= MOST_DIMENSIONS else None, "importance sampling"


def by_quadrature(space: Unconstrained, layout: Layout, deadline: float, rng: np.random.Generator) -> Tabulated:
    """The posterior by adaptive quadrature.

    Raises:
        Refused: the tolerance was not met, or moments do not exist.
        UnboundedDensity: the log joint is +inf somewhere.
        OutOfTime: the deadline has passed, or would before modes have been looked for.
    """
    target = target_of(space, layout.reported_elements, deadline)
    search = search_modes(target, space, rng, starts_in_time(space, deadline, LEAST_STARTS))
    quadrature = integrate(target, search)
    refuse(quadrature)
    points, weights = quadrature.sample(N_POINTS, rng)
    modes, n_modes = describe(search, points, weights, space, layout)
    n_evaluations = search.n_probes + quadrature.n_evaluations
    method = f"adaptive quadrature, {n_modes}, {n_evaluations:,} evaluations"
    return tabulate(method, quadrature, layout.reported_elements, points, weights, modes, space)


def by_importance(space: Unconstrained, layout: Layout, deadline: float, rng: np.random.Generator) -> Tabulated:
    """The posterior by importance sampling, at all elements that verdicts look at.

    Raises:
        Refused: weights, errors, a second proposal or a walk through the posterior speak against it.
        UnboundedDensity: the log joint is +inf somewhere.
        OutOfTime: the deadline has passed, or would before modes have been looked for.
    """
    now = time.perf_counter()
    target = replace(target_of(space, layout.judged, deadline), extended=deadline + (deadline - now))
    n_starts = starts_in_time(space, now + (deadline - now) / 4, MANY_STARTS)  # two searches take half of the time
    n_starts = min(N_STARTS // 2, n_starts)
    search, other = (search_modes(target, space, rng, n_starts) for _ in range(2))
    result = sample_by_importance(target, (search, other), rng, PRECISE)
    points = result.points[resample(result.weights, N_POINTS, rng)]
    weights = np.full(N_POINTS, 1 / N_POINTS)
    modes, n_modes = describe(search, points, weights, space, layout)
    method = (
        f"importance sampling, {n_modes}, {len(result.points):,} draws with k-hat {result.khat:.2f} and relative ESS "
        f"{result.relative_ess:.2f}; two proposals agree"
    )
    return tabulate(method, result, layout.judged, points, weights, modes, space)


def tabulate(
    method: str,
    known: Quadrature | WeightedDraws,
    elements: tuple[Element, ...],
    points: np.ndarray,
    weights: np.ndarray,
    modes: str,
    space: Unconstrained,
) -> Tabulated:
    """A posterior as arrays, with the points (n, d) and their weights (n,) that stand for it."""
    return Tabulated(
        method=method,
        is_exact=isinstance(known, Quadrature),
        log_evidence=known.log_evidence,
        error=known.error,
        elements=elements,
        mean=known.mean,
        sd=known.sd,
        mean_error=known.mean_error,
        sd_error=known.sd_error,
        values=space.elements(points, elements),
        latents=space.latents(points),
        weights=weights,
        modes=modes,
    )


def search_modes(target: Target, space: Unconstrained, rng: np.random.Generator, n_starts: int) -> ModeSearch:
    """All modes.

    Raises:
        Refused: none was found.
    """
    search = find_modes(target, rng, n_starts)
    if search.trouble:
        raise Refused(search.trouble)
    return search


def target_of(space: Unconstrained, elements: tuple[Element, ...], deadline: float) -> Target:
    """A user's posterior as the search for modes and what follows it see it."""
    return Target(
        space.prior_draws.shape[1],
        space.log_joint,
        space.value_and_gradient,
        space.prior_draws,
        lambda points: space.elements(points, elements),
        deadline,
    )


def starts_in_time(space: Unconstrained, deadline: float, least: int, n_probes: int | None = None) -> int:
    """How many starts can be optimised before the deadline, judged by the time that some evaluations take.

    Args:
        space: The model.
        deadline: When the search ends, by `time.perf_counter`.
        least: The fewest starts.
        n_probes: As for `find_modes`.

    Raises:
        OutOfTime: not even the probes could be evaluated.
    """
    dimension = space.prior_draws.shape[1]
    points = np.resize(space.prior_draws, (space.n_values, dimension))
    probes = PROBES.get(dimension, MANY_PROBES) if n_probes is None else n_probes
    few, many = FIRST
    space.log_joint(points[:few])  # the first call compiles, for many points as for few
    seconds, left = seconds_of(space, points[:many]), deadline - time.perf_counter()
    if seconds / many * probes > left:  # points may be evaluated one after another: more of them then take longer
        seconds = min(seconds, seconds_of(space, points[:many]))  # other work may delay either
        is_looped = seconds > LONGER * seconds_of(space, points[:few])
        if is_looped and seconds / many * probes > left:
            raise OutOfTime
    one_point, left = seconds_of(space, points) / len(points), deadline - time.perf_counter()
    if probes * one_point > left:
        raise OutOfTime
    affordable = int(left / (EVALUATIONS * one_point))
    return min(N_STARTS, max(least, 1 << affordable.bit_length() - 1 if affordable else 0))


def seconds_of(space: Unconstrained, points: np.ndarray) -> float:
    """The seconds that evaluating points takes."""
    start = time.perf_counter()
    space.log_joint(points)
    return time.perf_counter() - start


def refuse(quadrature: Quadrature) -> None:
    """Raise `Refused` for a quadrature that does not decide verdicts."""
    if not quadrature.is_accepted:
        raise Refused(quadrature.reason)
    errors = np.concatenate([quadrature.mean_error, quadrature.sd_error]) / np.tile(quadrature.sd, 2)
    if not np.isfinite(errors).all():
        raise Refused("moments do not exist or lie too far in the tails")
    if errors.max() > PRECISE:
        raise Refused(f"moments are known to {errors.max():.2g} sds only")


def mode_shares(search: ModeSearch, points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The share of the mass that is nearest to each mode, by the Gaussian approximations at its members."""
    heights = [np.max(mode.member_log_mass - mode.squares(points) / 2, axis=1) for mode in search.modes]
    return np.bincount(np.argmax(heights, axis=0), weights, len(search.modes))


def describe(
    search: ModeSearch, points: np.ndarray, weights: np.ndarray, space: Unconstrained, layout: Layout
) -> tuple[str, str]:
    """Where the modes are and how much of the mass each has, the heaviest first, if there are several; their number."""
    shares = mode_shares(search, points, weights)
    n_modes = int(np.sum(shares > VISIBLE))
    if n_modes == 1:
        return "", "1 mode"
    elements = layout.reported_elements[:4]
    values = space.elements(np.array([mode.location for mode in search.modes]), elements)
    texts = []
    for place in np.argsort(-shares)[: min(n_modes, 5)]:
        where = ", ".join(f"{layout.label(*e)} {v:.3g}" for e, v in zip(elements, values[place], strict=True))
        texts.append(f"{100 * shares[place]:.3g}% at {where}")
    return "; ".join(texts), f"{n_modes} modes"
