"""The tails that a reference has not seen: an identity which its draws keep only where they go as far as the posterior.

NUTS stops short of a neck that its steps are too long for, often without a divergence. Its draws tell: for a density
p on R^d and a function f, integration by parts gives

    E[f(z_k) d log p / d z_k + f'(z_k)] = 0,

and for draws that end at a point u, where p goes on, the mean is -f(u) p(u) in place of 0. With f(z) = max(c - z, 0)
only the tail below c counts. The mean of the same identity along other directions is 0 as well, wherever the draws end
in z_k; regressed on these, it is known much better.

Source: Stein (1972); Mira, Solgi & Imparato (2013), Zero variance MCMC, section 2; Gorham & Mackey (2015), section 2.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import xarray as xr

from compare import standard_errors
from compare.comparison import Job
from compare.fit.reference.evidence import MOST_DIMENSIONS, draws_of, space_of
from compare.fit.reference.missed import LEAST_MASS, without_evidence
from compare.fit.reference.target import SHARE, Refused, Target, evaluate_gradient, why_not
from compare.user_model.unconstrained import Unconstrained
from models.selection import evenly

__all__ = ["Tail", "missed_tails", "with_missed_tails"]

MOST_DRAWS = 8192
"""Draws of the reference, evenly spaced in its chains, at which gradients are taken."""

PIECE = 512
"""Draws between two looks at the clock."""

TAIL, END = 0.2, 0.02
"""Share of the draws below c, and of those whose slope says how the posterior goes on."""

LOOK, ERRORS = 1.5, 5.0
"""Standard errors below 0 from which a tail is looked at closely, and from which it convicts: there are up to 200."""

FEW_DIMENSIONS = 20
"""Most dimensions in which the other directions are all linear fields; beyond, constant ones and those along axes."""

N_WALKS, N_STEPS, N_HALVINGS = 256, 32, 16
"""Lines along which a jump is looked for, the steps of each, and how often its worst step is halved."""

JUMP, ROUNDING = 1e-3, 1e-10
"""Nats, beyond this share of the log joint, by which that step's ends may then differ from what the slopes say."""


@dataclass(frozen=True)
class Tail:
    """A tail that the posterior has and the draws do not.

    Attributes:
        coordinate: Which unconstrained coordinate.
        draw: Which of the draws is furthest out.
        mass: The share of the mass beyond it, if the density goes on falling as it does there.
    """

    coordinate: int
    draw: int
    mass: float


def with_missed_tails(job: Job, tree: xr.DataTree) -> xr.DataTree:
    """The tree of a reference, with ``missed``, the sentence about a tail of `LEAST_MASS` or more that no chain has
    seen, in place of its log evidence. The search takes its share of the budget after the chains have ended; beside an
    unseen mode, which says enough, there is none."""
    if "missed" in tree.attrs:
        return tree
    deadline = time.perf_counter() + job.options.reference_budget / SHARE
    try:
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            missed = describe_missed(job, tree, deadline)
    except Exception as error:  # a search that cannot be made costs nobody a reference
        why_not(error, 0.0)  # raises what Ctrl-C has become
        return tree
    return without_evidence(tree, "the chains of the reference stop short of a tail", missed=missed) if missed else tree


def describe_missed(job: Job, tree: xr.DataTree, deadline: float) -> str:
    """The sentence about the heaviest tail that the reference misses, empty where it misses none.

    Raises:
        Refused: there are too many dimensions, or the identity does not hold here.
        OutOfTime: the deadline has passed.
    """
    space = space_of(job)
    d = space.prior_draws.shape[1]
    if d > MOST_DIMENSIONS:
        raise Refused(f"it is tried in up to {MOST_DIMENSIONS} unconstrained dimensions; here are {d}")
    draws = draws_of(space, job, tree)
    draws = draws[:, evenly(draws.shape[1], MOST_DRAWS // len(draws))]
    target = Target(d, space.log_joint, space.value_and_gradient, deadline=deadline)
    tails = missed_tails(target, draws, np.random.default_rng([job.fit_seed, 4]))
    if not tails:
        return ""
    worst = max(tails, key=lambda tail: tail.mass)
    where = place_of(worst, draws.reshape(-1, d), space)
    share = f"{worst.mass:.0%}"
    return f"The reference misses about {share} of the mass: its chains end at {where}, where the posterior goes on."


def missed_tails(target: Target, draws: np.ndarray, rng: np.random.Generator) -> list[Tail]:
    """The tails in which draws (chain, draw, d) stop short of the posterior.

    Raises:
        Refused: the log joint or its gradient is not finite at some draw.
        OutOfTime: the deadline has passed.
    """
    points = draws.reshape(-1, draws.shape[-1])
    parts = [evaluate_gradient(target, piece) for piece in np.split(points, range(PIECE, len(points), PIECE))]
    values, gradients = (np.concatenate(part) for part in zip(*parts, strict=True))
    if not (np.isfinite(points).all() and np.isfinite(values).all()):
        raise Refused("some draws lie at the edge of the support")
    shape, sides = draws.shape[:2], [(k, sign) for k in range(target.dimension) for sign in (1.0, -1.0)]
    missed = [tail for k, sign in sides if (tail := tail_beyond(points, gradients, k, sign, shape))]
    if missed and jumps(target, points, rng):
        raise Refused("the log joint is not continuous")
    return missed


def tail_beyond(points: np.ndarray, gradients: np.ndarray, k: int, sign: float, shape: tuple[int, int]) -> Tail | None:
    """What draws miss beyond their end at the low side of sign times coordinate k; None where that is too little."""
    z, slope = sign * points[:, k], sign * gradients[:, k]
    edge = np.quantile(z, TAIL)
    hinge, inside = np.maximum(edge - z, 0.0), z < edge
    terms = hinge * slope - inside
    if not score(terms, shape)[0] < -LOOK:
        return None
    others = directions(np.delete(points, k, 1), np.delete(gradients, k, 1), hinge)
    errors, mean = score(regressed(terms, others, inside, shape), shape)
    length = edge - z.min()
    density, rate = -mean / length, slope[z < np.quantile(z, END)].mean()
    odds = density * (min(1 / rate, length) if rate > 0 else length)
    mass = odds / (1 + odds)
    return Tail(k, int(np.argmin(z)), float(mass)) if errors < -ERRORS and mass >= LEAST_MASS else None


def score(terms: np.ndarray, shape: tuple[int, int]) -> tuple[float, float]:
    """The mean of terms (chain draw) over its standard error, and the mean."""
    mean = terms.mean()
    return float(mean / standard_errors.of_mean(terms.reshape(shape))), float(mean)


def directions(points: np.ndarray, gradients: np.ndarray, hinge: np.ndarray) -> np.ndarray:
    """The terms of the identity along constant and linear fields of other coordinates, times the hinge: (n, fields)."""
    d = points.shape[1]
    if not d:
        return np.empty((len(points), 0))
    inside = hinge > 0
    scale = points[inside].std(0)
    standard = (points - points[inside].mean(0)) / scale
    along = gradients * scale
    if d <= FEW_DIMENSIONS:
        fields = along[:, :, None] * standard[:, None, :] + np.eye(d)
        fields = fields.reshape(len(points), -1)
    else:
        fields = along * standard + 1
    return hinge[:, None] * np.concatenate([along, fields], 1)


def regressed(terms: np.ndarray, others: np.ndarray, inside: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The terms less what is explained by others of mean 0: each half of the chains by a regression on the other."""
    first = np.tile(np.arange(shape[1]) < shape[1] // 2, shape[0])
    residual = terms.copy()
    for here, there in ((first, ~first), (~first, first)):
        known = there & inside
        weights = np.linalg.lstsq(others[known], terms[known] - terms[known].mean(), rcond=None)[0]
        residual[here] -= others[here] @ weights
    return residual


def jumps(target: Target, points: np.ndarray, rng: np.random.Generator) -> bool:
    """Whether the density jumps somewhere between some points (n, d) or as far beyond, as where a parameter bounds the
    support of the data: the identity does not hold then."""
    starts, ends = rng.choice(points, (2, N_WALKS))
    along = 2 * (ends - starts) / N_STEPS
    left = starts + np.arange(N_STEPS)[:, None, None] * along
    left = left[mismatch(target, left, along).argmax(0), np.arange(N_WALKS)]
    for _ in range(N_HALVINGS):
        along = along / 2
        halves = np.stack([left, left + along])
        differs = mismatch(target, halves, along)
        left = halves[differs.argmax(0), np.arange(N_WALKS)]
    return bool((differs.max(0) > JUMP).any())


def mismatch(target: Target, left: np.ndarray, along: np.ndarray) -> np.ndarray:
    """By how many nats the log joint grows along steps otherwise than its slopes at both ends say, beyond rounding.

    Args:
        target: The posterior.
        left: Where the steps begin, shape (count, walk, d).
        along: The steps, shape (walk, d).

    Returns:
        Shape (count, walk); inf at the edge of the support, 0 beyond it.
    """
    values, slopes = [], []
    for points in (left, left + along):
        value, gradient = evaluate_gradient(target, points.reshape(-1, target.dimension))
        values.append(value.reshape(left.shape[:2]))
        slopes.append((gradient.reshape(left.shape) * along).sum(-1))
    with np.errstate(invalid="ignore"):
        differs = np.abs(values[1] - values[0] - (slopes[0] + slopes[1]) / 2)
    rounding = ROUNDING * np.abs(np.where(np.isfinite(values), values, 0.0)).sum(0)
    return np.nan_to_num(differs - rounding, nan=0.0, posinf=np.inf)


def place_of(tail: Tail, points: np.ndarray, space: Unconstrained) -> str:
    """The element that is furthest out, and where."""
    site, index = space.coordinates()[tail.coordinate]
    value = space.latents(points[tail.draw][None])[site][0]
    name = f"{site}[{', '.join(map(str, index))}]" if index else site
    same = value.shape == space.shapes[site]
    return f"{name} {value[index]:.3g}" if same else f"{name} {points[tail.draw, tail.coordinate]:.3g} (unconstrained)"
