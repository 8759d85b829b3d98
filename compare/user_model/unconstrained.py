"""A model, most often a user's, as a log density over unconstrained vectors, in either library."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from compare.comparison import Element, Layout
from compare.user_model import twins

LARGEST = 4_000_000, 400_000
"""Numbers, points times data, of a call for values, and of one for gradients, which are often wanted of few points."""

Arrays = dict[str, np.ndarray]


class Functions(Protocol):
    """What a library computes of a user's model, at points given by site, shapes (count, *unconstrained site).

    No call gets more than ``size`` points, which is the same in all calls of a function.

    Attributes:
        largest: The points of a call of `value` or `constrain`, and of `gradient`; fewer where the data are long.
    """

    largest: tuple[int, int]

    def draw(self, count: int, seed: int) -> Arrays:
        """Draws from the prior."""

    def value(self, points: Arrays, size: int) -> np.ndarray:
        """log p(x, z) + log |Jacobian| in nats, shape (count,)."""

    def gradient(self, points: Arrays, size: int) -> tuple[np.ndarray, Arrays]:
        """The same, and its gradient."""

    def constrain(self, points: Arrays, size: int) -> Arrays:
        """The latents and the deterministic sites."""

    def unconstrain(self, latents: Arrays, size: int) -> Arrays:
        """The points of latents, shapes (count, *site); not finite at the edge of a support."""


@dataclass(frozen=True)
class Catalogued:
    """A catalogue model in the form in which `Unconstrained` takes a user's.

    Attributes:
        name: Its name.
        library: The library of the twin.
    """

    name: str
    library: str

    def run(self, **values: Any) -> Any:
        """Run the twin on its arguments."""
        return twins.twin(self.name, self.library).model(**values)


class Unconstrained:
    """A model on its data, as a function of points of shape (count, d).

    Attributes:
        prior_draws: Draws from the prior, shape (n_draws, d).
    """

    def __init__(self, user: Any, values: dict[str, Any], layout: Layout, n_draws: int, seed: int) -> None:
        side = import_module(f"compare.user_model.unconstrained_{user.library}")
        self.functions: Functions = side.Functions(user, values, tuple(layout.latents))
        draws = self.functions.draw(n_draws, seed)
        self.shapes = {name: draws[name].shape[1:] for name in layout.latents}
        self.prior_draws = self._packed(draws)
        observed = sum(np.size(value) for value in (*layout.observed.values(), *values.values()))
        self.n_values, self.n_gradients = (
            max(16, min(count, numbers // max(1, observed)))
            for count, numbers in zip(self.functions.largest, LARGEST, strict=True)
        )

    def log_joint(self, points: np.ndarray) -> np.ndarray:
        """log p(x, z) + log |Jacobian| in nats, shape (count,)."""
        return np.concatenate(list(self._in_pieces(self.functions.value, points, self.n_values)))

    def value_and_gradient(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`log_joint` and its gradient, shape (count, d)."""
        pieces = list(self._in_pieces(self.functions.gradient, points, self.n_gradients))
        return np.concatenate([value for value, _ in pieces]), np.concatenate([self._packed(g) for _, g in pieces])

    def elements(self, points: np.ndarray, chosen: tuple[Element, ...]) -> np.ndarray:
        """Elements of latents and deterministic sites, shape (count, elements)."""
        pieces = self._in_pieces(self.functions.constrain, points, self.n_values)
        columns = [[piece[site][(slice(None), *index)] for site, index in chosen] for piece in pieces]
        return np.concatenate([np.stack(column, axis=1).astype(float) for column in columns])

    def latents(self, points: np.ndarray) -> Arrays:
        """The latents, shapes (count, *site)."""
        pieces = list(self._in_pieces(self.functions.constrain, points, self.n_values))
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in self.shapes}

    def points(self, latents: Arrays) -> np.ndarray:
        """The points of latents, shapes (count, *site): shape (count, d), not finite at the edge of a support."""
        count, size = len(next(iter(latents.values()))), self.n_values
        pieces = [{name: z[begin : begin + size] for name, z in latents.items()} for begin in range(0, count, size)]
        return np.concatenate([self._packed(self.functions.unconstrain(piece, size)) for piece in pieces])

    def coordinates(self) -> list[Element]:
        """What each coordinate is: a site and an index, in the site's unconstrained shape."""
        return [(name, tuple(map(int, at))) for name, shape in self.shapes.items() for at in np.ndindex(shape)]

    def _in_pieces(self, function: Callable[[Arrays, int], Any], points: np.ndarray, size: int) -> Iterator[Any]:
        ends = np.cumsum([math.prod(shape) for shape in self.shapes.values()])
        for begin in range(0, len(points), size):
            columns = np.split(points[begin : begin + size], ends[:-1], axis=1)
            shaped = zip(self.shapes.items(), columns, strict=True)
            yield function({name: column.reshape(-1, *shape) for (name, shape), column in shaped}, size)

    def _packed(self, sites: Arrays) -> np.ndarray:
        return np.concatenate([sites[name].reshape(len(sites[name]), -1) for name in self.shapes], axis=1)
