"""A user's posterior by quadrature or importance sampling, where either can be trusted, in place of a long run."""

from __future__ import annotations

import time
import zlib
from dataclasses import replace
from typing import Any

import numpy as np

from compare import user_model
from compare.comparison import Element, Layout, Request
from compare.fit import one_thread
from compare.fit.reference.cells import ORDERS
from compare.fit.reference.importance import sample_by_importance
from compare.fit.reference.modes import MANY_PROBES, PROBES, ModeSearch, find_modes
from compare.fit.reference.quadrature import Quadrature, integrate
from compare.fit.reference.target import OutOfTime, Refused, Target, UnboundedDensity
from compare.fit.tree import N_CHAINS
from compare.user_model.posterior import Tabulated
from compare.user_model.sites import one_line
from compare.user_model.unconstrained import Unconstrained

__all__ = ["with_posterior"]

SHARE = 8
"""The search for modes and what follows may take one part in so many of the reference's budget."""

LARGEST = 100
"""Elements of all latents beyond which nothing is tried: a Cholesky factor of 10 x 10 has 45 free ones."""

MOST_DIMENSIONS = 50
"""Unconstrained dimensions beyond which importance sampling is not tried."""

N_DRAWS, MANY_DRAWS = 256, 512
"""Draws from the prior that the search for modes begins with, and in more than three dimensions."""

N_POINTS, N_RESAMPLED = 2**15, 2**14
"""Weighted points of quadrature that stand for the posterior, and resampled ones of importance sampling."""

PRECISE = 0.02
"""Largest error of a mean or an sd, in sds, and of the log evidence by importance sampling, in nats."""

N_STARTS, LEAST_STARTS = 1024, 64
"""Starts of the optimiser, and the fewest, where an evaluation takes long."""

EVALUATIONS = 600
"""Evaluations of the log joint that the optimisation of one start takes, its gradients counted as several."""

VISIBLE = 0.001
"""Least share of the mass of a mode that is mentioned."""


class Unsolved(ValueError):
    """Neither quadrature nor importance sampling is to be trusted here; the message says why.

    Attributes:
        starts: Unconstrained points for chains to start at, where modes are apart.
    """

    def __init__(self, reason: str, starts: dict[str, np.ndarray] | None = None) -> None:
        super().__init__(reason)
        self.starts = starts


def with_posterior(request: Request) -> Any:
    """The request's data; a user's with the posterior by quadrature or importance sampling, or a note why by neither.

    Only models of users whose exact posterior is not given are tried.
    """
    data = request.data
    if not isinstance(data, user_model.UserData) or data.truth is not None or data.layout.dimension > LARGEST:
        return data
    try:
        with one_thread():
            posterior = solve(request, data)
    except Unsolved as error:
        return replace(data, layout=with_note(data.layout, str(error)), starts=error.starts)
    except Exception as error:
        if "KeyboardInterrupt" in str(error):  # it came while a library was calling back into Python
            raise KeyboardInterrupt from error
        return replace(data, layout=with_note(data.layout, f"the posterior is not known: {one_line(error)}"))
    return data if posterior is None else replace(data, posterior=posterior)


def with_note(layout: Layout, reason: str) -> Layout:
    return replace(layout, notes=(*layout.notes, f"{reason}. A long run of NUTS is the reference"))


def solve(request: Request, data: user_model.UserData) -> Tabulated | None:
    """The posterior by quadrature, in more than three dimensions by importance sampling; None in very many.

    Raises:
        Unsolved: the method's own checks do not hold, its share of the time is over, or the density is unbounded.
    """
    seconds = request.options.reference_budget / SHARE
    deadline = time.perf_counter() + seconds
    seed = zlib.crc32(f"{request.seed} quadrature".encode())
    n_draws = N_DRAWS if data.layout.dimension in ORDERS else MANY_DRAWS
    space = Unconstrained(user_model.find(request.model.name), data.values, data.layout, n_draws, seed)
    dimension = space.prior_draws.shape[1]
    if dimension > MOST_DIMENSIONS:
        return None
    small = dimension in ORDERS
    elements = data.layout.reported if small else judged_elements(data.layout, space)
    target = Target(
        dimension,
        space.log_joint,
        space.value_and_gradient,
        space.prior_draws,
        lambda points: space.elements(points, elements),
        deadline,
    )
    rng, search = np.random.default_rng(seed), None
    method = "quadrature" if small else "importance sampling"
    try:
        search = find_modes(target, rng, n_starts=starts_in_time(space, dimension, deadline))
        if search.trouble:
            raise Refused(search.trouble)
        return (by_quadrature if small else by_importance)(target, search, rng, space, data.layout, elements)
    except OutOfTime:
        reason = f"it is not done within {seconds:.3g} s, its share of --reference-budget"
    except (Refused, UnboundedDensity) as error:
        reason = str(error)
    raise Unsolved(f"the posterior is not known by {method}: {reason}", chain_starts(search, space))


def judged_elements(layout: Layout, space: Unconstrained) -> tuple[Element, ...]:
    """The reported elements, and all others of latents that vary."""
    others = [
        (site, index)
        for site, shape in layout.latents.items()
        for index in np.ndindex(shape)
        if (site, index) not in layout.reported
    ]
    vary = np.ptp(space.elements(space.prior_draws[:16], tuple(others)), axis=0) > 0 if others else []
    return (*layout.reported, *(element for element, varies in zip(others, vary, strict=True) if varies))


def by_quadrature(
    target: Target,
    search: ModeSearch,
    rng: np.random.Generator,
    space: Unconstrained,
    layout: Layout,
    elements: tuple[Element, ...],
) -> Tabulated:
    """The posterior by adaptive quadrature.

    Raises:
        Refused: the tolerance was not met, or moments do not exist.
        UnboundedDensity: the log joint is +inf somewhere.
        OutOfTime: the deadline has passed.
    """
    quadrature = integrate(target, search)
    check_precision(quadrature)
    points, weights = quadrature.sample(N_POINTS, rng)
    modes, n_modes = describe(search, points, weights, space, layout)
    return Tabulated(
        f"adaptive quadrature, {n_modes}, {search.n_probes + quadrature.n_evaluations:,} evaluations",
        True,
        quadrature.log_evidence,
        quadrature.error,
        elements,
        quadrature.mean,
        quadrature.sd,
        quadrature.mean_error,
        quadrature.sd_error,
        space.elements(points, elements),
        space.latents(points),
        weights,
        modes,
    )


def by_importance(
    target: Target,
    search: ModeSearch,
    rng: np.random.Generator,
    space: Unconstrained,
    layout: Layout,
    elements: tuple[Element, ...],
) -> Tabulated:
    """The posterior by importance sampling.

    Raises:
        Refused: weights, errors or a second proposal speak against it.
        UnboundedDensity: the log joint is +inf somewhere.
        OutOfTime: the deadline has passed.
    """
    weighting = sample_by_importance(target, search, rng, PRECISE)
    points, weights = weighting.draw(N_RESAMPLED, rng), np.full(N_RESAMPLED, 1 / N_RESAMPLED)
    modes, n_modes = describe(search, points, weights, space, layout)
    return Tabulated(
        f"importance sampling, {n_modes}, {len(weighting.points):,} draws with relative ESS "
        f"{weighting.relative_ess:.2f} and k-hat {weighting.khat:.2f}; a second proposal agrees",
        False,
        weighting.log_evidence,
        weighting.error,
        elements,
        weighting.mean,
        weighting.sd,
        weighting.mean_error,
        weighting.sd_error,
        space.elements(points, elements),
        space.latents(points),
        weights,
        modes,
    )


def chain_starts(search: ModeSearch | None, space: Unconstrained) -> dict[str, np.ndarray] | None:
    """A point for each chain, in the heaviest modes in turn; None where there is only one mode."""
    if search is None or len(search.modes) < 2:
        return None
    masses = np.array([mode.log_mass for mode in search.modes])
    heavy = [mode for mode, mass in zip(search.modes, masses, strict=True) if mass > masses.max() + np.log(VISIBLE)]
    if len(heavy) < 2:
        return None
    return space.by_site(np.array([heavy[chain % len(heavy)].location for chain in range(N_CHAINS)]))


def starts_in_time(space: Unconstrained, dimension: int, deadline: float) -> int:
    """How many starts can be optimised before the deadline, as the time tells that some log joints take.

    Raises:
        OutOfTime: not even the probes could be evaluated.
    """
    points = np.resize(space.prior_draws, (space.n_values, dimension))
    space.log_joint(points)  # the first call compiles
    start = time.perf_counter()
    space.log_joint(points)
    one_point, left = (time.perf_counter() - start) / len(points), deadline - time.perf_counter()
    if PROBES.get(dimension, MANY_PROBES) * one_point > left:
        raise OutOfTime
    affordable = int(left / (EVALUATIONS * one_point))
    return min(N_STARTS, max(LEAST_STARTS, 1 << affordable.bit_length() - 1 if affordable else 0))


def check_precision(quadrature: Quadrature) -> None:
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
        gaps = np.stack([(points - z) @ r.T for z, r in zip(mode.members, mode.member_factors, strict=True)], axis=1)
        heights.append(np.max(mode.member_log_mass - np.einsum("nmi,nmi->nm", gaps, gaps) / 2, axis=1))
    return np.bincount(np.argmax(heights, axis=0), weights, len(search.modes))


def describe(
    search: ModeSearch, points: np.ndarray, weights: np.ndarray, space: Unconstrained, layout: Layout
) -> tuple[str, str]:
    """Where the modes are and how much of the mass each has, the heaviest first, if there are several; their number."""
    shares = mode_shares(search, points, weights)
    n_modes = int(np.sum(shares > VISIBLE))
    if n_modes == 1:
        return "", "1 mode"
    elements = layout.reported[:4]
    values = space.elements(np.array([mode.location for mode in search.modes]), elements)
    texts = []
    for place in np.argsort(-shares)[: min(n_modes, 5)]:
        where = ", ".join(f"{layout.label(*e)} {v:.3g}" for e, v in zip(elements, values[place], strict=True))
        texts.append(f"{100 * shares[place]:.3g}% at {where}")
    return "; ".join(texts), f"{n_modes} modes"
