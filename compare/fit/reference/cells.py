"""A tree of boxes with a Gauss-Legendre rule in each: the mechanics of adaptive quadrature."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from compare.fit.reference.target import Target, evaluate, quantities_of

__all__ = ["ORDERS", "Cells", "SinhMap", "rule"]

ORDERS = {1: 16, 2: 10, 3: 6}
"""Nodes an axis by dimension."""


@cache
def rule(dimension: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes (m, d) and weights (m,) of the tensor rule on the unit cube, and the index of each node an axis (m, d)."""
    order = ORDERS[dimension]
    nodes, weights = np.polynomial.legendre.leggauss(order)
    index = np.stack(np.meshgrid(*[np.arange(order)] * dimension, indexing="ij"), -1).reshape(-1, dimension)
    return (nodes[index] + 1) / 2, np.prod(weights[index] / 2, 1), index


ROUGH = 0.1
"""Relative difference between the rule and one of about half its nodes above which an axis is not resolved."""

CUT = 0.01
"""Share of the largest integrand times the volume of a box that may be wrong along an axis where an edge of the support
runs through it."""


@cache
def embedded(dimension: int) -> np.ndarray:
    """Weights of the rules that have about half the nodes along one axis, a column an axis, shape (m, d)."""
    order = ORDERS[dimension]
    nodes, weights = np.polynomial.legendre.leggauss(order)
    left = np.arange(0, order // 2, 2)
    some = np.concatenate([left, order - 1 - left[::-1]])
    moments = np.zeros(len(some))
    moments[0] = 1.0  # of the Legendre polynomials over the interval, relative to its length
    coarse = np.zeros(order)
    coarse[some] = np.linalg.solve(np.polynomial.legendre.legvander(nodes[some], len(some) - 1).T, moments)
    _, full, index = rule(dimension)
    return full[:, None] * (coarse / (weights / 2))[index]


@dataclass(frozen=True)
class SinhMap:
    """The map z = center + basis sinh(t), which makes Gaussian tails doubly exponential and power laws exponential.

    Attributes:
        center: Shape (d,).
        basis: Columns are the axes, scaled, shape (d, d).
    """

    center: np.ndarray
    basis: np.ndarray

    def points(self, t: np.ndarray) -> np.ndarray:
        """Points z of t, both (n, d)."""
        return self.center + np.sinh(t) @ self.basis.T

    def inverse(self, points: np.ndarray) -> np.ndarray:
        """The t of points z, both (n, d)."""
        return np.arcsinh(np.linalg.solve(self.basis, (points - self.center).T).T)

    def log_jacobian(self, t: np.ndarray) -> np.ndarray:
        """log |dz/dt| of t (n, d), shape (n,)."""
        return np.linalg.slogdet(self.basis)[1] + np.log(np.cosh(t)).sum(1)


class Cells:
    """Boxes in t with the integrals of the density, and of the density times the quantities and their squares.

    Attributes:
        lower, upper: Corners, shape (n, d).
        log_density: At the nodes, Jacobian included, relative to ``offset``, shape (n, m), in nats.
        peaks: The largest log density at a node, and the largest log of the density times the sum of q^2, shape (n, 2).
        roughness: The relative difference to a rule with half the nodes along each axis, shape (n, d).
        integrals: Of p (1, q, q^2), with q the shifted quantities, shape (n, 1 + 2 k).
        layers: The same integrals over the outermost nodes at each face only, shape (n, d, 2, 1 + 2 k).
        highest: The largest integrands in absolute value at the nodes, times the volume, shape (n, 1 + 2 k).
        hidden: What an edge of the support may hide from the nodes along each axis, shape (n, d, 1 + 2 k).
        changes: How the integrals changed when a box was last halved along each axis, shape (n, d, 1 + 2 k).
        errors: What remains of these changes: where they fell by more than ten from one halving to the next, they are
            taken to go on falling, shape (n, d, 1 + 2 k).
        is_tested: Whether a box, or one it came from, has been halved along each axis, shape (n, d).
        has_edges: Whether an edge of the support has been seen inside a box.
    """

    def __init__(self, target: Target, mapping: SinhMap, offset: float, shift: np.ndarray, spread: np.ndarray) -> None:
        """An empty set of boxes; q = (quantities - shift) / spread, both of shape (k,)."""
        self.target, self.mapping, self.offset, self.shift, self.spread = target, mapping, offset, shift, spread
        d, size = target.dimension, 1 + 2 * len(shift)
        self.nodes, self.weights, index = rule(d)
        self.ends = np.stack([index == 0, index == index.max()], -1).astype(float)  # (m, d, 2)
        self.lower, self.upper = np.empty((0, d)), np.empty((0, d))
        self.log_density = np.empty((0, len(self.nodes)))
        self.peaks, self.roughness = np.empty((0, 2)), np.empty((0, d))
        self.integrals, self.layers = np.empty((0, size)), np.empty((0, d, 2, size))
        self.changes, self.errors = np.empty((0, d, size)), np.empty((0, d, size))
        self.highest, self.hidden = np.empty((0, size)), np.empty((0, d, size))
        self.is_tested = np.empty((0, d), bool)
        self.n_evaluations, self.has_edges = 0, False

    def t(self, which: np.ndarray | slice = slice(None)) -> np.ndarray:
        """The nodes of boxes in t, shape (n m, d)."""
        lower, upper = self.lower[which], self.upper[which]
        return (lower[:, None] + self.nodes * (upper - lower)[:, None]).reshape(-1, self.lower.shape[1])

    def log_in_t(self, t: np.ndarray) -> np.ndarray:
        """The log density of t (n, d) with respect to t, relative to the offset, shape (n,)."""
        self.n_evaluations += len(t)
        return evaluate(self.target, self.mapping.points(t)) + self.mapping.log_jacobian(t) - self.offset

    def scaled(self, t: np.ndarray) -> np.ndarray:
        """The shifted and scaled quantities at t (n, d), shape (n, k)."""
        with np.errstate(all="ignore"):
            return (quantities_of(self.target, self.mapping.points(t)) - self.shift) / self.spread

    @staticmethod
    def log_with_moment(log_density: np.ndarray, scaled: np.ndarray) -> np.ndarray:
        """The log density (n,), and the log of the density times the sum of the scaled quantities' squares, (n, 2)."""
        with np.errstate(all="ignore"):
            moment = log_density + np.log(np.sum(scaled**2, 1))
        return np.stack([log_density, np.where(np.isfinite(moment), moment, -np.inf)], 1)

    def add(self, lower: np.ndarray, upper: np.ndarray) -> None:
        """Evaluate new boxes, not yet halved along any axis, and append them; corners have shape (n, d)."""
        block, had_edges = max(1, 65_536 // len(self.nodes)), self.has_edges
        for start in range(0, len(lower), block):
            self._add_block(lower[start : start + block], upper[start : start + block])
        if self.has_edges and not had_edges:  # boxes that were added before the first edge may be cut at a face too
            self.hidden = self._hidden(slice(None))
            self.errors = np.maximum(self.errors, self.hidden[: len(self.errors)])
        n, d, size = len(lower), lower.shape[1], self.integrals.shape[1]
        self.changes = np.concatenate([self.changes, np.zeros((n, d, size))])
        self.errors = np.concatenate([self.errors, np.zeros((n, d, size))])
        self.is_tested = np.concatenate([self.is_tested, np.zeros((n, d), bool)])

    def _add_block(self, lower: np.ndarray, upper: np.ndarray) -> None:
        n, first = len(lower), len(self.lower)
        self.lower, self.upper = np.concatenate([self.lower, lower]), np.concatenate([self.upper, upper])
        t = self.t(slice(first, None))
        log_density = self.log_in_t(t)
        density = np.exp(np.minimum(log_density, 700.0))
        scaled = self.scaled(t)
        with np.errstate(all="ignore"):
            powers = np.concatenate([np.ones((len(t), 1)), scaled, scaled**2], 1)
            integrands = np.where(density[:, None] > 0, density[:, None] * powers, 0.0)
        volumes = np.prod(upper - lower, 1)
        weighted = integrands.reshape(n, len(self.nodes), -1) * (self.weights[:, None] * volumes[:, None, None])
        peaks = self.log_with_moment(log_density, scaled).reshape(n, -1, 2).max(1)
        self.peaks = np.concatenate([self.peaks, peaks])
        self.log_density = np.concatenate([self.log_density, log_density.reshape(n, -1)])
        totals = weighted.sum(1)
        self.integrals = np.concatenate([self.integrals, totals])
        coarse = np.einsum("nmk,md->ndk", integrands.reshape(n, len(self.nodes), -1), embedded(self.lower.shape[1]))
        with np.errstate(all="ignore"):
            differences = np.abs(coarse * volumes[:, None, None] - totals[:, None]) / np.abs(totals)[:, None]
        even = [0, *range(1 + len(self.shift), totals.shape[1])]
        self.roughness = np.concatenate([self.roughness, np.nan_to_num(differences[..., even]).max(2)])
        highest = np.abs(integrands).reshape(n, len(self.nodes), -1).max(1) * volumes[:, None]
        self.highest = np.concatenate([self.highest, highest])
        self.hidden = np.concatenate([self.hidden, self._hidden(slice(first, None))])
        layers = np.einsum("nmk,mde->ndek", np.abs(weighted), self.ends, optimize=True)
        self.layers = np.concatenate([self.layers, layers])

    def _hidden(self, which: slice) -> np.ndarray:
        """What an edge of the support may hide in boxes some of whose nodes have no density, (n, d, 1 + 2 k).

        It is in proportion to the ``highest`` integrands at the nodes times the volume, not to the integrals: boxes
        that seem to hold little would not be looked at again, and what they hide would not cancel. Once an edge has
        been seen between nodes, it is looked for between the outermost ones and the faces too, in all boxes.
        """
        lower, upper, highest = self.lower[which], self.upper[which], self.highest[which]
        holes = np.isneginf(self.log_density[which])
        d, is_empty = lower.shape[1], np.all(holes, 1)
        is_cut = np.any(holes, 1) & ~is_empty
        self.has_edges |= bool(is_cut.any())
        hidden = np.where(is_cut[:, None, None], CUT * highest[:, None], 0.0) * np.ones((1, d, 1))
        uncut = np.flatnonzero(~is_cut)
        if not self.has_edges or not len(uncut):
            return hidden
        axes, lower, upper = np.arange(d), lower[uncut], upper[uncut]
        middles = np.repeat((lower + upper)[:, None] / 2, 2 * d, axis=1)  # of the faces, (boxes, 2 d, d)
        middles[:, axes, axes], middles[:, d + axes, axes] = lower, upper
        t = middles.reshape(-1, d)
        log_density, scaled = self.log_in_t(t), self.scaled(t)
        with np.errstate(all="ignore"):
            powers = np.concatenate([np.ones((len(t), 1)), np.abs(scaled), scaled**2], 1)
            beside = np.nan_to_num(np.exp(np.minimum(log_density, 700.0))[:, None] * powers)
        beside *= np.repeat(CUT * np.prod(upper - lower, 1), 2 * d)[:, None]
        within = np.repeat(CUT * highest[uncut], 2 * d, axis=0) * np.isneginf(log_density)[:, None]
        at_faces = np.where(np.repeat(is_empty[uncut], 2 * d)[:, None], beside, within)
        hidden[uncut] = at_faces.reshape(len(uncut), 2, d, -1).max(1)
        return hidden

    def halve(self, which: np.ndarray, axes: np.ndarray) -> None:
        """Replace the boxes at indices ``which`` by their halves along ``axes``, and record how integrals change."""
        n = len(which)
        lower, upper, parents = self.lower[which], self.upper[which], self.integrals[which]
        rows = np.arange(n)
        middle = (lower[rows, axes] + upper[rows, axes]) / 2
        left, right = upper.copy(), lower.copy()
        left[rows, axes] = right[rows, axes] = middle
        changes, errors, is_tested = self.changes[which] / 2, self.errors[which] / 2, self.is_tested[which]
        keep = np.ones(len(self.lower), bool)
        keep[which] = False
        names = (
            "lower",
            "upper",
            "log_density",
            "peaks",
            "roughness",
            "integrals",
            "layers",
            "highest",
            "hidden",
            "changes",
            "errors",
        )
        for name in (*names, "is_tested"):
            setattr(self, name, getattr(self, name)[keep])
        first = len(self.lower)
        self.add(np.concatenate([lower, right]), np.concatenate([left, upper]))
        change = (self.integrals[first : first + n] + self.integrals[first + n :] - parents) / 2
        before = np.where(is_tested[rows, axes, None], np.abs(changes[rows, axes]), 0.0)
        with np.errstate(all="ignore"):
            falls = np.where(before > 0, np.clip(10 * np.abs(change) / before, 0.1, 1), 1.0)
        changes[rows, axes], errors[rows, axes] = change, change * falls
        is_tested[rows, axes] = True
        for half in (slice(first, first + n), slice(first + n, None)):
            self.changes[half], self.is_tested[half] = changes, is_tested
            # Halving along one axis shows nothing while another is unresolved: an axis that looks so is tried again.
            rough = np.where(self.roughness[half] > ROUGH, 0.1 * self.roughness[half], 0.0)
            unresolved = np.maximum(rough[:, :, None] * np.abs(self.integrals[half])[:, None], self.hidden[half])
            self.errors[half] = np.maximum(np.abs(errors), unresolved)

    def distrust(self, which: np.ndarray) -> None:
        """Have boxes halved again along every axis, whatever their changes were."""
        self.is_tested[which] = False

    def steps_across(self, least: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points just outside each face from the node next to it with the highest density, and the boxes they left.

        Args:
            least: Evidence, and sum of the scaled second moments, of the nodes next to a face below which it is left
                out, shape (2,).

        Returns:
            Points t (n, d) and indices of boxes (n,).
        """
        lengths, k = self.upper - self.lower, len(self.shift)
        points, origins = [], []
        for axis in range(self.lower.shape[1]):
            for end in (0, 1):
                layer = self.layers[:, axis, end]
                heavy = (layer[:, 0] > least[0]) | (layer[:, 1 + k :].sum(1) > least[1])
                boxes = np.flatnonzero(heavy)
                at_face = np.flatnonzero(self.ends[:, axis, end])
                highest = at_face[self.log_density[boxes][:, at_face].argmax(1)]
                t = self.lower[boxes] + self.nodes[highest] * lengths[boxes]
                face = (self.upper if end else self.lower)[boxes, axis]
                t[:, axis] = face + (2 * end - 1) * 0.02 * lengths[boxes, axis]
                points.append(t)
                origins.append(boxes)
        return np.concatenate(points), np.concatenate(origins)

    def locate(self, t: np.ndarray) -> np.ndarray:
        """The index of the box that holds each t (n, d), -1 for none, shape (n,)."""
        holder = np.full(len(t), -1)
        for start in range(0, len(t), 256):
            part = t[start : start + 256]
            inside = np.ones((len(part), len(self.lower)), bool)
            for axis in range(t.shape[1]):
                inside &= part[:, axis, None] >= self.lower[:, axis]
                inside &= part[:, axis, None] <= self.upper[:, axis]
            holder[start : start + 256] = np.where(inside.any(1), inside.argmax(1), -1)
        return holder
