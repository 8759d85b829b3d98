"""Adaptive quadrature in up to three dimensions, seeded at all modes, to a tolerance that it verifies."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.stats import qmc

from compare.fit.reference.cells import ORDERS, Cells, SinhMap, rule
from compare.fit.reference.modes import ModeSearch
from compare.fit.reference.target import OutOfTime, Target, quantities_of

__all__ = ["EDGE", "Quadrature", "integrate"]

TOLERANCES = {1: 1e-9, 2: 1e-9, 3: 1e-6}
"""Default relative errors of the evidence by dimension."""

BUDGETS = {1: 100_000, 2: 1_000_000, 3: 2_500_000}
"""Default numbers of evaluations at most, by dimension."""

COARSE = 1e-5
"""Relative error of the evidence that is reached first, and accepted where the evaluations do not suffice for more."""

ROUGHEST = 1e-3
"""The same where they do not suffice for that either, as where a density jumps to zero along a curve."""

FARTHEST, FARTHEST_MOMENTS = 40.0, 20.0
"""How far in t the window is widened for the evidence, and for moments (sinh 20 is 2e8 scales)."""

EDGE = "mass remains at the edge of the widest window: the posterior may be improper"
"""The reason for giving up where the mass does not end."""

UNSEEN = "a density was met that no mode explains"
"""The reason for giving up where the search missed a mode: no earlier stage can be trusted, either."""

MOMENT_FACTOR, ROUGHEST_MOMENTS = 100.0, 1.9e-3
"""Moments are computed to this multiple of the evidence's tolerance, in sds and squared sds, and to this at most: ten
times as much, which is claimed then, still decides verdicts."""


@dataclass(frozen=True)
class Quadrature:
    """A posterior by quadrature.

    Attributes:
        is_accepted: Whether the tolerance was reached.
        reason: Why it was accepted or not, in one sentence.
        log_evidence: In nats.
        error: Bound on the error of ``log_evidence`` (sum of absolute changes at the last halving), in nats.
        mean, sd: Of the quantities, shape (k,); NaN where the tails carry them out of reach.
        mean_error, sd_error: Bounds on their errors, in the quantities' units, shape (k,).
        n_evaluations: Points at which the log joint was evaluated.
        cells: The boxes.
    """

    is_accepted: bool
    reason: str
    log_evidence: float
    error: float
    mean: np.ndarray
    sd: np.ndarray
    mean_error: np.ndarray
    sd_error: np.ndarray
    n_evaluations: int
    cells: Cells = field(repr=False)

    def sample(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Weighted points that stand for the posterior, nearly as even as a lattice: (n, d), and weights (n,), sum 1.

        Each node owns a box whose volume is its weight in the rule (the nodes separate these boxes, by Chebyshev,
        Markov and Stieltjes). A scrambled Sobol sequence picks boxes by their mass and points uniformly in them;
        the weights make up for what the density does within a box.
        """
        cells, d = self.cells, self.cells.lower.shape[1]
        edges = np.concatenate([[0], np.cumsum(np.polynomial.legendre.leggauss(ORDERS[d])[1] / 2)])
        index = rule(d)[2]
        lengths = cells.upper - cells.lower
        mass = np.exp(cells.log_density) * cells.weights * np.prod(lengths, 1)[:, None]
        below = np.cumsum(mass.ravel())
        uniform = qmc.Sobol(d + 1, rng=rng).random(n)
        picked = np.searchsorted(below, uniform[:, 0] * below[-1], side="right")
        box, node = np.divmod(np.minimum(picked, mass.size - 1), mass.shape[1])
        inside = edges[index[node]] + uniform[:, 1:] * np.diff(edges)[index[node]]
        t = cells.lower[box] + inside * lengths[box]
        weights = np.exp(cells.log_in_t(t) - cells.log_density[box, node])
        return cells.mapping.points(t), weights / weights.sum()


def integrate(target: Target, search: ModeSearch, max_evaluations: int | None = None) -> Quadrature:
    """The evidence and moments of a posterior in up to three dimensions.

    A window around all modes is cut into boxes, those near a mode into boxes of a few of its sds; boxes whose integrals
    change when they are halved are halved again, and the window is widened until nothing lies at its faces. The points
    that the search for modes evaluated are witnesses: where one shows a density that its box has not seen, the box is
    halved further.

    Args:
        target: The posterior, ``dimension`` at most 3.
        search: All modes, and the witnesses.
        max_evaluations: Evaluations at most; twice as many where a rough result is then within reach.

    Returns:
        The posterior; where the tolerance was not reached, ``is_accepted`` is False and ``reason`` says why.

    Raises:
        ValueError: In more than three dimensions; use chains there.
        OutOfTime: The deadline passed before anything was accepted.
    """
    if target.dimension not in ORDERS:
        raise ValueError(f"quadrature is for up to three dimensions, not {target.dimension}")
    tolerance = TOLERANCES[target.dimension]
    max_evaluations = max_evaluations or BUDGETS[target.dimension]
    mapping = _mapping(search)
    cells = _first_cells(target, search, mapping)
    accepted, moments_known = None, True
    for stage in sorted({max(COARSE, tolerance), tolerance}, reverse=True):
        cells = copy(cells)  # what is accepted stays as it is
        try:
            trouble, moments_known = _refine(cells, search, stage, max_evaluations, moments_known)
        except OutOfTime:
            if accepted is None or cells.has_edges > accepted.cells.has_edges:
                raise
            accepted.cells.target = replace(target, deadline=np.inf)  # for a few draws
            break
        if trouble:
            if accepted and (trouble == UNSEEN or cells.has_edges > accepted.cells.has_edges):
                accepted = None  # it missed a mode, or a hole in the support
            break
        accepted = _result(cells, "", moments_known, stage)
    if accepted is None and trouble not in (UNSEEN, EDGE):
        trouble, moments_known = _refine(cells, search, ROUGHEST, 2 * max_evaluations, moments_known)
        accepted = None if trouble else _result(cells, "", moments_known, ROUGHEST)
    return accepted or _result(cells, trouble, moments_known, tolerance)


def moment_tolerance(tolerance: float) -> float:
    """The tolerance of moments that goes with the evidence's."""
    return min(MOMENT_FACTOR * tolerance, ROUGHEST_MOMENTS)


def _mapping(search: ModeSearch) -> SinhMap:
    """The principal axes of the mixture of all modes' Gaussian approximations."""
    centers = np.concatenate([mode.members for mode in search.modes])
    masses = np.concatenate([mode.member_log_mass for mode in search.modes])
    factors = np.concatenate([mode.member_factors for mode in search.modes])
    weights = np.exp(masses - masses.max()) + 1e-3
    weights /= weights.sum()
    inverses = np.linalg.inv(factors)
    covariance = np.einsum("n,nij,nkj->ik", weights, inverses, inverses)
    mean = weights @ centers
    covariance += np.einsum("n,ni,nj->ij", weights, centers - mean, centers - mean)
    values, vectors = np.linalg.eigh(covariance)
    return SinhMap(mean, vectors * np.sqrt(np.maximum(values, 1e-24 * values.max())))


def _first_cells(target: Target, search: ModeSearch, mapping: SinhMap) -> Cells:
    """The window around all modes, cut into boxes of at most ten conditional sds where a mode lies."""
    centers = np.concatenate([mode.members for mode in search.modes])
    factors = np.concatenate([mode.member_factors for mode in search.modes])
    t = mapping.inverse(centers)
    scaled = np.einsum("nij,jk->nik", factors, mapping.basis) * np.cosh(t)[:, None]  # factors of the precisions in t
    widths = 1 / np.linalg.norm(scaled, axis=1)  # conditional sds in t
    reach = 8 * np.cosh(t) * widths  # in units of sinh(t)
    lower = np.minimum(np.arcsinh(np.sinh(t) - reach).min(0), -2.6)[None]
    upper = np.maximum(np.arcsinh(np.sinh(t) + reach).max(0), 2.7)[None]  # the middle of the window is no symmetry's
    while True:
        gaps = np.maximum(lower[:, None] - t, t - upper[:, None])  # (boxes, modes, d)
        meets = np.all(gaps < 3 * widths, 2)
        excess = np.where(meets[:, :, None], (upper - lower)[:, None] / (10 * widths), 0).max(1)
        wide = excess.max(1) > 1
        if not wide.any() or len(lower) > 3000:
            break
        axes, rows = excess[wide].argmax(1), np.arange(wide.sum())
        left, right = upper[wide].copy(), lower[wide].copy()
        left[rows, axes] = right[rows, axes] = (lower[wide] + upper[wide])[rows, axes] / 2
        lower = np.concatenate([lower[~wide], lower[wide], right])
        upper = np.concatenate([upper[~wide], left, upper[wide]])
    quantities = quantities_of(target, centers[:1])[0]
    sample = quantities_of(target, search.probes)
    with np.errstate(all="ignore"):
        spread = np.nanstd(np.concatenate([sample, quantities_of(target, centers)]), 0)
    spread = np.where(np.isfinite(spread) & (spread > 0), spread, 1.0)
    shift = np.where(np.isfinite(quantities), quantities, 0.0)
    offset = max(float(np.max(search.probe_log_joint)), search.modes[0].log_density)
    offset += float(mapping.log_jacobian(np.zeros((1, target.dimension)))[0])
    cells = Cells(target, mapping, offset, shift, spread)
    cells.add(lower, upper)
    return cells


def _moments(cells: Cells) -> tuple[float, np.ndarray, np.ndarray]:
    """The evidence (relative to the offset), and mean and sd of the scaled quantities."""
    total = cells.integrals.sum(0)
    k = (len(total) - 1) // 2
    with np.errstate(all="ignore"):
        mean = total[1 : 1 + k] / total[0]
        sd = np.sqrt(np.maximum(total[1 + k :] / total[0] - mean**2, 0))
    return float(total[0]), mean, sd


def _standardised(values: np.ndarray, evidence: float, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Changes of integrals (..., 1 + 2 k) as relative change of the evidence, and of mean and variance in sds."""
    k = len(mean)
    zeroth, first, second = values[..., :1], values[..., 1 : 1 + k], values[..., 1 + k :]
    with np.errstate(all="ignore"):
        shifted = (first - mean * zeroth) / sd
        squared = (second - 2 * mean * first + mean**2 * zeroth) / sd**2
        return np.abs(np.concatenate([zeroth, shifted, squared], -1)) / evidence


def _errors(cells: Cells) -> np.ndarray:
    """The standardised error of each box, shape (n, 1 + 2 k); inf where a box was never halved along some axis."""
    evidence, mean, sd = _moments(cells)
    errors = _standardised(cells.errors, evidence, mean, sd).sum(1)
    errors = np.where(np.isnan(errors), 0.0, errors)  # a moment that is not finite decides nothing
    errors[~cells.is_tested.all(1)] = np.inf
    return errors


def _refine(
    cells: Cells, search: ModeSearch, tolerance: float, max_evaluations: int, moments_known: bool
) -> tuple[str, bool]:
    """Halve boxes and widen the window until the tolerance is met.

    Returns:
        The reason for giving up, empty where the tolerance was met, and whether moments are within reach.
    """
    size = cells.integrals.shape[1]
    limits = np.array([tolerance] + [moment_tolerance(tolerance)] * (size - 1))
    while True:
        if cells.log_density.max() > 300:
            return UNSEEN, moments_known
        if cells.n_evaluations > max_evaluations:
            return f"the tolerance was not met in {cells.n_evaluations:,} evaluations", moments_known
        relative = (_errors(cells) / limits)[:, : size if moments_known else 1].max(1)
        if relative.sum() > 1:
            order = np.argsort(-relative)
            untested = int(np.isinf(relative).sum())
            share = np.cumsum(relative[order])
            n_halved = untested or 1 + int(np.searchsorted(share, 0.8 * share[-1]))
            _halve(cells, order[:n_halved], limits)
            continue
        heavy = _heavy_faces(cells, limits / 1000)
        edges = np.stack([-cells.lower.min(0), cells.upper.max(0)], 1)
        if np.any(heavy[..., 0] & (edges >= FARTHEST)):
            return EDGE, moments_known
        if np.any(heavy[..., 1:].any(2) & ~heavy[..., 0] & (edges >= FARTHEST_MOMENTS)):
            moments_known = False
        open_faces = heavy[..., : size if moments_known else 1].any(2)
        doubted, crossed = _contradicted(cells, search, tolerance, moments_known)
        open_faces |= crossed & (edges < (FARTHEST_MOMENTS if moments_known else FARTHEST))
        if not len(doubted) and not open_faces.any():
            return "", moments_known
        cells.distrust(doubted)
        for axis, end in np.argwhere(open_faces):
            _widen(cells, axis, end)


def _halve(cells: Cells, which: np.ndarray, limits: np.ndarray) -> None:
    """Halve boxes along the axis never tried (the longest), or else the one whose last halving changed most."""
    evidence, mean, sd = _moments(cells)
    scores = np.nan_to_num(_standardised(cells.errors[which], evidence, mean, sd) / limits).max(2)
    untested = ~cells.is_tested[which]
    lengths = (cells.upper - cells.lower)[which]
    scores = np.where(untested, 1e300 * (1 + lengths / lengths.max()), scores)
    cells.halve(which, scores.argmax(1))


def _heavy_faces(cells: Cells, limits: np.ndarray) -> np.ndarray:
    """Whether nodes next to each face of the window carry more than ``limits`` of each integral, (d, 2, 1 + 2 k)."""
    return np.nan_to_num(_at_faces(cells), nan=np.inf) > limits


def _at_faces(cells: Cells) -> np.ndarray:
    """The standardised integrals over the nodes next to each face of the window, shape (d, 2, 1 + 2 k)."""
    evidence, mean, sd = _moments(cells)
    is_outer = np.stack([cells.lower == cells.lower.min(0), cells.upper == cells.upper.max(0)], 2)
    return _standardised(np.einsum("nde,ndek->dek", is_outer, cells.layers), evidence, mean, sd)


def _widen(cells: Cells, axis: int, end: int) -> None:
    """Add a slab to the window beyond one face."""
    lower, upper = cells.lower.min(0), cells.upper.max(0)
    lower[axis], upper[axis] = (upper[axis], upper[axis] + 1.5) if end else (lower[axis] - 1.5, lower[axis])
    cells.add(lower[None], upper[None])


def _contradicted(
    cells: Cells, search: ModeSearch, tolerance: float, moments_known: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Where witnesses show densities that no node has seen, and that matter.

    Witnesses are the points that the search for modes evaluated, and steps across the faces of all boxes from where the
    density is highest: they follow narrow necks and valleys into boxes whose nodes lie beside them.

    Returns:
        Indices of boxes (n,) to halve again, and whether the window must be widened at each face (d, 2).
    """
    volumes = np.prod(cells.upper - cells.lower, 1)
    total, k = cells.integrals.sum(0), len(cells.shift)
    least = 0.1 * tolerance * np.array([total[0], np.inf])
    if moments_known:
        least[1] = 0.1 * moment_tolerance(tolerance) * np.nan_to_num(total[1 + k :].sum(), nan=np.inf)
    points = np.concatenate([search.probes, *[mode.members for mode in search.modes]])
    t, reach = cells.mapping.inverse(points), np.full(len(points), 1e-3)
    across, origin = cells.steps_across(0.1 * least)
    t, reach = np.concatenate([t, across]), np.concatenate([reach, volumes[origin]])
    log_values = cells.log_with_moment(cells.log_in_t(t), cells.scaled(t))
    with np.errstate(all="ignore"):
        matters = np.any(np.exp(log_values) * reach[:, None] > least, 1)
    t, reach, log_values = t[matters], reach[matters], log_values[matters]
    held = cells.locate(t)
    smaller = np.where(held >= 0, np.minimum(volumes[held], reach), reach)
    with np.errstate(all="ignore"):
        matters = np.exp(log_values) * smaller[:, None] > least
    surprising = matters & (held >= 0)[:, None] & (log_values > cells.peaks[held] + 2.0)
    outside = t[matters.any(1) & (held < 0)]
    crossed = np.stack([(outside < cells.lower.min(0)).any(0), (outside > cells.upper.max(0)).any(0)], 1)
    return np.unique(held[surprising.any(1)]), crossed


def _result(cells: Cells, trouble: str, moments_known: bool, tolerance: float) -> Quadrature:
    evidence, mean, sd = _moments(cells)
    k = len(mean)
    errors = _errors(cells).sum(0) + 300 * _at_faces(cells).sum((0, 1))  # what lies beyond the faces, generously
    errors[0] += 1e-15 * abs(cells.offset)  # rounding
    # Necks narrower than a box are not bounded: nothing better is claimed, and less without a stage to confirm it.
    times = 1 if cells.lower.shape[1] == 1 else 10 if tolerance >= COARSE else 5
    claimed = np.where(np.arange(len(errors)) == 0, tolerance, moment_tolerance(tolerance))
    errors = np.maximum(errors, times * claimed)
    if not moments_known:
        mean, sd = np.full(k, np.nan), np.full(k, np.nan)
    reason = trouble or (
        f"adaptive quadrature, {cells.n_evaluations:,} evaluations, error of the log evidence at most {errors[0]:.0e}"
        f" nats (tolerance {tolerance:.0e})" + ("" if moments_known else "; moments are out of reach in the tails")
    )
    return Quadrature(
        is_accepted=not trouble,
        reason=reason,
        log_evidence=float(np.log(evidence) + cells.offset) if evidence > 0 else -np.inf,
        error=float(errors[0]),
        mean=cells.shift + cells.spread * mean,
        sd=cells.spread * sd,
        mean_error=cells.spread * sd * errors[1 : 1 + k],
        sd_error=cells.spread * sd * (errors[1 + k :] / 2),
        n_evaluations=cells.n_evaluations,
        cells=cells,
    )
