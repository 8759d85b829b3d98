r"""The Gaussian chain: what mean-field gets right, and what it gets wrong.

A random walk is seen through unit noise, at its last node or at every node:

    z_1 ~ N(0, 1)        z_k ~ N(z_{k-1}, 1)        x_k ~ N(z_k, 1)

Its posterior is Gaussian, and its precision matrix is tridiagonal, so everything is known in closed form at a cost
linear in the length. With two nodes and x = 1 seen at the last, the means are (1/3, 2/3), both variances 2/3 and the
correlation 1/2. A factorised guide, q(z_1) q(z_2), finds those means, but its variances are 1/2: it reports how much
each node may move while the other stands still. The price is KL(q, posterior) = log(4/3) / 2 = 0.1438 nats.
A Gaussian whose precision couples neighbours only, the family ``markov``, pays nothing at any length.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from models.chain.claims import claims
from models.chain.coordinate_ascent import coordinate_ascent
from models.chain.exact import GaussianChain, best, coverage
from models.chain.pictures import PICTURES
from models.chain.published import published
from models.contract import Model, Simulated, count, option

__all__ = ["MODEL", "Chain"]

MOST, LARGEST = 1_000_000, 1e100
"""Nodes, of each of which hundreds of draws are made, and what is seen, whose square must be finite."""

EVERY = 100
"""Up to this length every node is reported and described; beyond it, about 20 nodes and a few observations."""


def numbers(text: str) -> tuple[float, ...]:
    """One number, numbers separated by commas, or the numbers in a file (separated by commas, spaces or lines)."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        path = Path(text)
    try:
        lines = [line.partition("#")[0] for line in path.read_text(encoding="utf-8").splitlines()]
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(
            f"{text!r} is neither a number nor a file; give one number, one for each node (0.5,1,2), or a file of them"
        ) from None
    except (OSError, UnicodeDecodeError):
        raise ValueError(f"{text!r} cannot be read as a file of numbers; give a text file, a number a line") from None
    values = []
    for row, line in enumerate(lines, 1):
        for part in line.replace(",", " ").split():
            try:
                values.append(float(part))
            except ValueError:
                raise ValueError(f"{part!r} in line {row} of {text} is not a number; give numbers only") from None
    if not values:
        raise ValueError(f"{text} holds no numbers; give a text file, a number a line")
    return tuple(values)


@dataclass(frozen=True)
class Chain:
    """The chain's length and what was seen of it.

    ``x`` becomes a tuple: one number where ``observe`` is ``last``, one for each node where it is ``all``.

    Raises:
        ValueError: a length that is not a whole number above 0 or is beyond a million, observations that are not finite
            numbers or are beyond 1e100, or not as many as the nodes observed.
    """

    length: int = option(2, "number of nodes", count)
    x: Any = option(1.0, "what was seen: one number, one for each node (0.5,1,2), or a file of numbers", numbers)
    observe: str = option("last", "the nodes that are seen", str, ("last", "all"))

    def __post_init__(self) -> None:
        if isinstance(self.length, bool) or not isinstance(self.length, (int, float, np.number)):
            raise ValueError(f"length is {self.length!r}: give a whole number, 1 or more")
        if not math.isfinite(self.length) or int(self.length) != self.length:
            raise ValueError(f"length is {self.length}: give a whole number, 1 or more")
        if self.length < 1:
            raise ValueError(f"length is {self.length}: give 1 or more")
        if self.length > MOST:
            raise ValueError(f"length is {self.length}: give at most {MOST:,}")
        if self.observe not in ("last", "all"):
            raise ValueError(f"observe is {self.observe!r}: give last or all")
        try:
            x = np.atleast_1d(np.asarray(numbers(self.x) if isinstance(self.x, str) else self.x, dtype=np.float64))
        except TypeError:
            raise ValueError(f"x is {self.x!r}: give numbers") from None
        if x.ndim != 1:
            raise ValueError(f"x has shape {x.shape}: give one number, or a list with one for each node")
        if not np.isfinite(x).all():
            where = int(np.flatnonzero(~np.isfinite(x))[0])
            raise ValueError(f"x[{where}] is {x[where]}: give finite numbers")
        if np.abs(x).max(initial=0.0) > LARGEST:
            where = int(np.abs(x).argmax())
            raise ValueError(f"x[{where}] is {x[where]:g}: give numbers from {-LARGEST:g} to {LARGEST:g}")
        if self.observe == "last" and x.size != 1:
            raise ValueError(f"--observe last takes one number, x has {x.size}: give one, or use --observe all")
        if self.observe == "all" and x.size not in (1, self.length):
            raise ValueError(f"x has {x.size} numbers for {self.length} nodes: give 1 or {self.length}")
        if self.observe == "all" and x.size == 1:
            x = np.repeat(x, int(self.length))
        object.__setattr__(self, "length", int(self.length))
        object.__setattr__(self, "x", tuple(x.tolist()))

    def arguments(self) -> dict[str, Any]:
        return {"length": self.length, "x": np.array(self.x), "observe_all": self.observe == "all"}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"z": (self.length,)}

    def reported(self) -> list[tuple[str, tuple[int, ...]]]:
        nodes = np.arange(self.length)
        if self.length > EVERY:
            nodes = np.unique(np.linspace(0, self.length - 1, 20).round().astype(int))
        return [("z", (int(node),)) for node in nodes]

    def observed(self) -> dict[str, np.ndarray]:
        return {"x": np.array(self.x)}

    def describe(self) -> dict[str, Any]:
        x: Any = list(self.x) if self.observe == "all" else self.x[0]
        if len(self.x) > EVERY:
            digest = hashlib.sha256(np.array(self.x, dtype="<f8").tobytes()).hexdigest()
            x = {"first": list(self.x[:5]), "count": len(self.x), "sha256": digest}
        return {"length": self.length, "x": x, "observe": self.observe}


def simulate(data: Chain, rng: np.random.Generator, count: int) -> Simulated:
    """Walks from the prior, each seen through noise where the data's is."""
    z = rng.standard_normal((count, data.length)).cumsum(axis=1)
    seen = z if data.observe == "all" else z[:, -1:]
    x = seen + rng.standard_normal(seen.shape)
    return Simulated({"z": z}, tuple(replace(data, x=tuple(row.tolist())) for row in x))


MODEL = Model(
    name="chain",
    title="a random walk z seen through noise, at its last node or at every node",
    data=Chain,
    guides=("mean_field", "full_rank", "markov"),
    exact=GaussianChain,
    best=best,
    claims=claims,
    published=published,
    coordinate_ascent=coordinate_ascent,
    simulate=simulate,
    coverage=coverage,
    pictures=PICTURES,
    cases=(
        Chain(1),
        Chain(2, (-1.5, 2.0), "all"),
        Chain(3),
        Chain(3, (0.5, -1.0, 2.0), "all"),
        Chain(10, 4.0),
        Chain(10, 0.7, "all"),
        Chain(1000, -30.0),
        Chain(1000, tuple(np.random.default_rng(0).normal(size=1000).cumsum().tolist()), "all"),
    ),
)
