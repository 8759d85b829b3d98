"""The chain's length, and what was seen of it."""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.options import Data, option, parse_int
from models.selection import evenly

LONGEST, LARGEST = 1_000_000, 1e100
"""The most nodes, of each of which hundreds of draws are made; and the largest observation: its square is finite."""

EVERY = 100
"""Length up to which every node is reported and described; longer chains report 20 nodes and a few observations."""


def parse_numbers(text: str) -> tuple[float, ...]:
    """One number, numbers separated by commas, or the numbers in a file (separated by commas, spaces or lines).

    Raises:
        ValueError: it is none of these; the message names the line that is wrong.
    """
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
class Chain(Data):
    """The chain's length and what was seen of it.

    ``x`` becomes a tuple: one number where ``observe`` is ``last``, one for each node where it is ``all``.

    Raises:
        ValueError: a length that is not a whole number from 1 to a million, observations that are not finite numbers
            or are beyond 1e100, or not as many as the nodes observed.
    """

    length: int = option(2, "number of nodes", parse_int)
    x: Any = option(1.0, "what was seen: one number, one for each node (0.5,1,2), or a file of numbers", parse_numbers)
    observe: str = option("last", "the nodes that are seen", str, ("last", "all"))

    def __post_init__(self) -> None:
        length = checked_length(self.length)
        if self.observe not in ("last", "all"):
            raise ValueError(f"observe is {self.observe!r}: give last or all")
        x = checked_numbers(self.x)
        if self.observe == "last" and x.size != 1:
            raise ValueError(f"--observe last takes one number, x has {x.size}: give one, or use --observe all")
        if self.observe == "all" and x.size not in (1, length):
            raise ValueError(f"x has {x.size} numbers for {length} nodes: give 1 or {length}")
        if self.observe == "all" and x.size == 1:
            x = np.repeat(x, length)
        self._set(length=length, x=tuple(x.tolist()))

    def arguments(self) -> dict[str, Any]:
        return {"length": self.length, "x": np.array(self.x), "observe_all": self.observe == "all"}

    def describe(self) -> dict[str, Any]:
        x: Any = list(self.x) if self.observe == "all" else self.x[0]
        if len(self.x) > EVERY:
            digest = hashlib.sha256(np.array(self.x, dtype="<f8").tobytes()).hexdigest()
            x = {"first": list(self.x[:5]), "count": len(self.x), "sha256": digest}
        return {"length": self.length, "x": x, "observe": self.observe}


def checked_length(length: Any) -> int:
    if isinstance(length, bool) or not isinstance(length, (int, float, np.number)):
        raise ValueError(f"length is {length!r}: give a whole number, 1 or more")
    if not math.isfinite(length) or int(length) != length:
        raise ValueError(f"length is {length}: give a whole number, 1 or more")
    if length < 1:
        raise ValueError(f"length is {length}: give 1 or more")
    if length > LONGEST:
        raise ValueError(f"length is {length}: give at most {LONGEST:,}")
    return int(length)


def checked_numbers(x: Any) -> np.ndarray:
    try:
        values = np.atleast_1d(np.asarray(parse_numbers(x) if isinstance(x, str) else x, dtype=np.float64))
    except TypeError:
        raise ValueError(f"x is {x!r}: give numbers") from None
    if values.ndim != 1:
        raise ValueError(f"x has shape {values.shape}: give one number, or a list with one for each node")
    if not np.isfinite(values).all():
        where = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ValueError(f"x[{where}] is {values[where]}: give finite numbers")
    if np.abs(values).max(initial=0.0) > LARGEST:
        where = int(np.abs(values).argmax())
        raise ValueError(f"x[{where}] is {values[where]:g}: give numbers from {-LARGEST:g} to {LARGEST:g}")
    return values


def report(data: Chain) -> list[tuple[str, tuple[int, ...]]]:
    """Every node up to a length of `EVERY`, beyond it 20 of them."""
    nodes = evenly(data.length, data.length if data.length <= EVERY else 20)
    return [("z", (int(node),)) for node in nodes]
