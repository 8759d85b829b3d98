"""log p(x, z) at single points, in the latents' own space, and what a climb has seen: curvature, edges, saddles."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from compare.fit.svi.gap import lanczos
from compare.fit.svi.laplace import precision_by_differences
from compare.fit.svi.protocol import DENSE, Objective
from guides.contract import Parameters

EDGE = 20.0
"""The distance, in an unconstrained param, from which a climb that has not arrived has gone to the support's edge."""

BENT = 1e-5
"""Curvature upwards, in units of that along the axes, that differences may show at a maximum."""

LANCZOS = 12
"""Products with the Hessian of a long model that look for a direction which bends upwards."""

NO_DRAWS = np.zeros((1, 0))


class Late(Exception):
    """The budget is over."""


class Surface:
    """log p(x, z) of one data set at a point with params x, shape (size,), and what was seen of it.

    Attributes:
        history: (gradient evaluations, parameters) at the start and wherever a curvature was taken.
        gradients: The gradient evaluations so far.
        highest: The finite value that was highest, and where it was.
        curvature: Minus the Hessian, as last seen.
        gained: Nats by which the last climb raised the highest value.
    """

    def __init__(self, objective: Objective, data: Any, start: Parameters, deadline: float) -> None:
        self.objective, self.data, self.deadline, self.gradients = objective, data, deadline, 0
        self.history: list[tuple[int, Parameters]] = [(0, start)]
        self.highest: tuple[float, np.ndarray] = (-np.inf, start["flat"])
        self.curvature, self.gained = np.eye(start["flat"].size), 0.0

    def at(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """The value in nats, and its gradient."""
        if time.perf_counter() > self.deadline:
            raise Late
        self.gradients += 1
        there = self.objective.evaluate({"flat": x}, NO_DRAWS, self.data)
        value, slope = float(there.log_ratio[0]), -np.asarray(there.total["flat"], float)
        if value > self.highest[0] and np.isfinite(value) and np.isfinite(slope).all():
            self.highest = value, x.copy()
        return value, slope

    def many(self, _: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`at` for rows of params, as `laplace` asks for it."""
        values, slopes = zip(*map(self.at, rows), strict=True)
        return np.array(values), np.array(slopes)

    def precisions(self, _: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Minus the Hessian at the only row, likewise."""
        self.history.append((self.gradients, {"flat": rows[0].copy()}))
        self.curvature = precision_by_differences(lambda ends: self.many(_, ends)[1], rows[0])
        return self.curvature[None]

    def downhill(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Minus `at`, and a wall where that is not finite."""
        value, slope = self.at(x)
        if not (np.isfinite(value) and np.isfinite(slope).all()):
            return 1e300, np.zeros_like(x)
        return -value, -slope

    def is_top(self, x: np.ndarray, rng: np.random.Generator) -> bool:
        """Whether x looks like a maximum: no direction bends upwards by more than rounding.

        Long models are probed by Lanczos steps from a random direction, others by the last curvature.
        """
        if x.size > DENSE:
            values = self.ritz_values(x, rng)
            return bool(values.min() > -BENT * np.abs(values).max())
        root = np.sqrt(np.abs(np.diag(self.curvature)) + np.finfo(float).tiny)
        return bool(np.linalg.eigvalsh(self.curvature / np.outer(root, root)).min() > -BENT)

    def ritz_values(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Estimates of extreme eigenvalues of minus the Hessian, from inside its spectrum, in a unit of their own."""
        step = 1e-4 * max(1.0, float(np.abs(x).max()))

        def product(directions: np.ndarray) -> np.ndarray:
            return self.product(x, directions[0], step)[None]

        begin = rng.standard_normal((1, x.size))
        unit = float(np.linalg.norm(product(begin / np.linalg.norm(begin)))) or 1.0
        (metric,) = lanczos(lambda directions: product(directions) / unit, begin, LANCZOS)
        return np.linalg.eigvalsh(metric.matrix)

    def product(self, x: np.ndarray, direction: np.ndarray, step: float) -> np.ndarray:
        """Minus the Hessian times a direction."""
        return (self.at(x - step * direction)[1] - self.at(x + step * direction)[1]) / (2 * step)


def no_maximum(surface: Surface) -> str:
    """A sentence that the density has no maximum, with the element that the climb moved furthest."""
    name, end = furthest(surface)
    return (
        f"the density has no maximum: log p(x, z) is {surface.highest[0]:.4g} at {name} = {end:.3g} and still rises; "
        "take laplace, whose mode is that of the unconstrained latents, or another guide with a spread"
    )


def is_remote(surface: Surface) -> bool:
    """Whether the climb moved an unconstrained param by more than `EDGE`, other than a real latent.

    A real latent moves by as much as its param does, and has no edge.
    """
    begin, end = surface.history[0][1]["flat"], surface.highest[1]

    def latents(at: np.ndarray) -> np.ndarray:
        drawn = surface.objective.evaluate({"flat": at}, NO_DRAWS, surface.data).latents
        return np.concatenate([np.ravel(value[0]) for value in drawn.values()])

    here = latents(end)
    for j in np.flatnonzero(np.abs(end - begin) > EDGE):
        back = end.copy()
        back[j] -= np.sign(end[j] - begin[j])
        if abs(float(np.abs(latents(back) - here).max()) - 1) > 1e-3:
            return True
    return False


def furthest(surface: Surface) -> tuple[str, float]:
    """The element of the latents that the climb moved furthest, in the logarithm of its size: its name, and its value
    where the density was highest."""
    ends = surface.history[0][1]["flat"], surface.highest[1]
    begin, end = (surface.objective.evaluate({"flat": at}, NO_DRAWS, surface.data).latents for at in ends)
    tiny, moved = np.finfo(float).tiny, []
    for site in end:
        before, after = (np.abs(np.asarray(part[site][0], float)) for part in (begin, end))
        far = np.abs(np.log(np.maximum(after, tiny)) - np.log(np.where(before > 0, before, 1.0)))
        place = np.unravel_index(int(np.argmax(far)), far.shape)
        label = f"{site}[{','.join(map(str, place))}]" if place else site
        moved.append((float(far[place]), label, float(np.asarray(end[site][0])[place])))
    return max(moved)[1:]
