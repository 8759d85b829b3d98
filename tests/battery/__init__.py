"""The quick battery: cheap checks over tiny cases of every model and both libraries, each with a name and a seed.

A check says nothing where all is well, and complains in one line where it is not. Those that draw random numbers hold
them to `ERRORS` standard errors: 200 seeds of the whole battery make some hundred thousand comparisons, of which a
normal deviate exceeds 5 standard errors less than once in ten times. Where the error is itself estimated from few
numbers, `exceeded` takes the same probability from Student's t.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

__all__ = ["CHECKS", "ERRORS", "Check", "beyond", "check", "exceeded", "first"]

ERRORS = 5
"""Standard errors beyond which a random number is called wrong."""

Complaint = str | None


@dataclass(frozen=True)
class Check:
    """``complaints(seeds)`` has one entry for each seed; ``random`` says that the seed changes what is looked at.

    ``repeats``: `test_battery` looks at the same of the same model, in more data sets and at more points.
    """

    name: str
    complaints: Callable[[Sequence[int]], list[Complaint]]
    random: bool
    repeats: bool = False

    def __call__(self, seed: int = 0) -> Complaint:
        return self.complaints([seed])[0]


CHECKS: dict[str, Check] = {}


def check(
    name: str, function: Callable[..., Complaint], *arguments: object, random: bool = True, repeats: bool = False
) -> None:
    """List a check that is called as ``function(*arguments, seed)``, without the seed where it is not ``random``."""

    def complaints(seeds: Sequence[int]) -> list[Complaint]:
        return [function(*arguments, seed) if random else function(*arguments) for seed in seeds]

    list_as(Check(name, complaints, random, repeats))


def list_as(entry: Check) -> None:
    if entry.name in CHECKS:
        raise ValueError(f"two checks are named {entry.name!r}")
    CHECKS[entry.name] = entry


def first(complaints: Sequence[Complaint]) -> Complaint:
    """The first of them that is one."""
    return next((complaint for complaint in complaints if complaint is not None), None)


def exceeded(count: int, errors: float = ERRORS) -> float:
    """The number of standard errors, estimated from ``count`` numbers, exceeded as rarely as ``errors`` known ones."""
    return float(stats.t.isf(stats.norm.sf(errors), count - 1))


def beyond(what: str, value: object, truth: object, allowed: object) -> Complaint:
    """A complaint where numbers are further from the truth than is allowed, or are none; the worst of them is named."""
    value, truth, allowed = np.broadcast_arrays(
        *(np.asarray(numbers, dtype=float) for numbers in (value, truth, allowed))
    )
    excess = np.abs(value - truth) - allowed
    if np.all(excess <= 0):
        return None
    worst = int(np.argmax(np.where(np.isnan(excess), np.inf, excess)))
    wrong, right, most = (numbers.ravel()[worst] for numbers in (value, truth, allowed))
    return f"{what}: {wrong:.6g} instead of {right:.6g} (allowed: {most:.1g} away)"
