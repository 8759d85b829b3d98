"""Quadrature of a user's posterior, where that is small enough, in place of a long run."""

from __future__ import annotations

import time
import zlib
from dataclasses import replace
from typing import Any

import numpy as np

from compare import user_model
from compare.comparison import Layout, Request
from compare.fit import one_thread
from compare.fit.reference.cells import ORDERS
from compare.fit.reference.modes import PROBES, ModeSearch, find_modes
from compare.fit.reference.proper import NoMaximum, flat_direction
from compare.fit.reference.quadrature import EDGE, Quadrature, integrate
from compare.fit.reference.target import OutOfTime, Target, UnboundedDensity
from compare.user_model.posterior import Tabulated
from compare.user_model.sites import one_line
from compare.user_model.unconstrained import Unconstrained

__all__ = ["with_posterior"]

SHARE = 8
"""Quadrature may take one part in so many of the reference's budget."""

LARGEST = 9
"""Elements of all latents beyond which nothing is tried: a Cholesky factor of 3 x 3 has three free ones."""

N_DRAWS = 256
"""Draws from the prior that the search for modes begins with."""

N_POINTS = 2**15
"""Weighted points that stand for the posterior."""

PRECISE = 0.02
"""Largest error of a mean or an sd, in sds: a fifth of what verdicts tolerate, which take the truth as exact."""

N_STARTS, LEAST_STARTS = 1024, 64
"""Starts of the optimiser, and the fewest, where an evaluation takes long."""

EVALUATIONS = 600
"""Evaluations of the log joint that the optimisation of one start takes, its gradients counted as several."""

MOST_CHECKED = 16
"""Coordinates with improper priors along which a posterior is followed."""

VISIBLE = 0.001
"""Least share of the mass of a mode that is mentioned."""


class Refused(ValueError):
    """Quadrature is not to be trusted here; the message says why."""


def with_posterior(request: Request) -> Any:
    """The request's data; a user's with the posterior by quadrature, or with a note why there is none.

    Only models of users in up to three unconstrained dimensions whose exact posterior is not given are tried.

    Raises:
        ValueError: the posterior is improper.
    """
    data = request.data
    if isinstance(data, user_model.UserData) and data.truth is None and data.layout.improper:
        data = checked(request, data)
    if not isinstance(data, user_model.UserData) or data.truth is not None or data.layout.dimension > LARGEST:
        return data
    seconds = request.options.reference_budget / SHARE
    try:
        with one_thread():
            posterior = solve(request, data, time.perf_counter() + seconds)
    except OutOfTime:
        reason = f"it is not done within {seconds:.3g} s, its share of --reference-budget"
    except (Refused, UnboundedDensity) as error:
        reason = str(error)
        if reason == EDGE and data.layout.improper:
            raise ValueError(improper_posterior(data.layout, "in some direction")) from None
    except Exception as error:
        if "KeyboardInterrupt" in str(error):  # it came while a library was calling back into Python
            raise KeyboardInterrupt from error
        reason = one_line(error)
    else:
        return data if posterior is None else replace(data, posterior=posterior)
    note = f"the posterior is not known by quadrature: {reason}. A long run of NUTS is the reference"
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
            target = target_of(space, data.layout, time.perf_counter() + request.options.reference_budget / SHARE)
            flat = [place for place, (site, _) in enumerate(names) if site in data.layout.improper][:MOST_CHECKED]
            direction = flat_direction(target, flat, np.random.default_rng(seed))
    except (OutOfTime, NoMaximum) as error:
        why = "there was no time" if isinstance(error, OutOfTime) else "its density has no highest point"
        unchecked = f"whether the posterior is proper was not found out: {why}; do not trust the fits without a proof"
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
    return (
        f"the posterior is improper: under the improper prior on {names} it does not fall off {where}; give {names} a "
        "proper prior, or leave out what the data do not tell apart"
    )


def solve(request: Request, data: user_model.UserData, deadline: float) -> Tabulated | None:
    """The posterior by quadrature; None in more than three dimensions.

    Raises:
        Refused: the tolerance was not met, or moments do not exist.
        UnboundedDensity: the log joint is +inf somewhere.
        OutOfTime: the deadline has passed, or would before modes have been looked for.
    """
    seed = zlib.crc32(f"{request.seed} quadrature".encode())
    user = user_model.find(request.model.name)
    space = Unconstrained(user, data.values, data.layout, N_DRAWS, seed)
    dimension = space.prior_draws.shape[1]
    if dimension not in ORDERS:
        return None
    elements = data.layout.reported
    target = target_of(space, data.layout, deadline)
    rng = np.random.default_rng(seed)
    with np.errstate(over="ignore", invalid="ignore"):  # far away, where nothing is decided
        search = find_modes(target, rng, n_starts=starts_in_time(space, dimension, deadline))
    if search.trouble:
        raise Refused(search.trouble)
    quadrature = integrate(target, search)
    refuse(quadrature)
    points, weights = quadrature.sample(N_POINTS, rng)
    shares = mode_shares(search, points, weights)
    n_modes = int(np.sum(shares > VISIBLE))
    n_evaluations = search.n_probes + quadrature.n_evaluations
    return Tabulated(
        f"adaptive quadrature, {n_modes} {'mode' if n_modes == 1 else 'modes'}, {n_evaluations:,} evaluations",
        quadrature.log_evidence,
        quadrature.error,
        elements,
        quadrature.mean,
        quadrature.sd,
        space.elements(points, elements),
        space.latents(points),
        weights,
        describe(search, shares, space, data.layout) if n_modes > 1 else "",
    )


def target_of(space: Unconstrained, layout: Layout, deadline: float) -> Target:
    """A user's posterior as the search for modes and quadrature see it."""
    return Target(
        space.prior_draws.shape[1],
        space.log_joint,
        space.value_and_gradient,
        space.prior_draws,
        lambda points: space.elements(points, layout.reported),
        deadline,
    )


def starts_in_time(space: Unconstrained, dimension: int, deadline: float) -> int:
    """How many starts can be optimised before the deadline, judged by the time that some evaluations take.

    Raises:
        OutOfTime: not even the probes could be evaluated.
    """
    points = np.resize(space.prior_draws, (space.n_values, dimension))
    space.log_joint(points)  # the first call compiles
    start = time.perf_counter()
    space.log_joint(points)
    one_point, left = (time.perf_counter() - start) / len(points), deadline - time.perf_counter()
    if PROBES[dimension] * one_point > left:
        raise OutOfTime
    affordable = int(left / (EVALUATIONS * one_point))
    return min(N_STARTS, max(LEAST_STARTS, 1 << affordable.bit_length() - 1 if affordable else 0))


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
    heights = []
    for mode in search.modes:
        gaps = np.einsum("mij,nmj->nmi", mode.member_factors, points[:, None] - mode.members)
        heights.append(np.max(mode.member_log_mass - np.einsum("nmi,nmi->nm", gaps, gaps) / 2, axis=1))
    return np.bincount(np.argmax(heights, axis=0), weights, len(search.modes))


def describe(search: ModeSearch, shares: np.ndarray, space: Unconstrained, layout: Layout) -> str:
    """Where the modes are and how much of the mass each has, the heaviest first."""
    elements = layout.reported[:4]
    values = space.elements(np.array([mode.location for mode in search.modes]), elements)
    shown = [place for place in np.argsort(-shares) if shares[place] > VISIBLE][:5]
    texts = []
    for place in shown:
        where = ", ".join(f"{layout.label(*e)} {v:.3g}" for e, v in zip(elements, values[place], strict=True))
        texts.append(f"{100 * shares[place]:.3g}% at {where}")
    return "; ".join(texts)
