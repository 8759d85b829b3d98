"""Which fits a comparison consists of, and which of them are not worth attempting."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import guides
from compare.fits import Job
from compare.fits.nuts import BLOCK
from compare.fits.options import Options
from compare.fits.tree import CHAINS
from models.contract import Model, UnknownName, nearest

__all__ = ["LIBRARIES", "plan"]

LIBRARIES = {"numpyro": "numpyro", "pyro": "pyro"}
"""The libraries by name, and the module that shows each is installed."""


def plan(
    model: Model,
    data: Any,
    libraries: Sequence[str] = tuple(LIBRARIES),
    families: Sequence[str] | None = None,
    nuts: bool = True,
    options: Options | None = None,
    seed: int = 0,
) -> list[Job]:
    """The jobs of a comparison, the exact posterior (or the reference in its place) first.

    Raises:
        UnknownName: a library or family that does not exist, or a family that this model has none of.
    """
    options = options or Options()
    families = list(dict.fromkeys(model.guides if families is None else families))
    for library in libraries:
        if library not in LIBRARIES:
            raise UnknownName(f"no library named {library!r}; {nearest(library, LIBRARIES)}")
    for family in families:
        guides.load(family)
        if family == "conjugate" and family not in model.guides:
            raise UnknownName(f"{model.name} has no {family} guide; choose from {', '.join(model.guides)}")
    dimension = sum(math.prod(shape) for shape in data.shapes().values())

    def job(name: str, method: str, library: str | None = None, family: str | None = None, reason: str | None = None):
        if reason is None and library and not importlib.util.find_spec(LIBRARIES[library]):
            reason = f"{library} is not installed"
        return Job(name, model.name, data, method, library, family, seed, options, reason)

    reference = None if model.exact(data) else model.reference(data)
    jobs = [job("exact", "exact")]
    if reference:
        patient = replace(options, budget=options.reference_budget, warmup=options.reference_warmup)
        jobs = [job("reference", "reference", reference.library, reason=too_long(dimension, patient))]
    jobs += [job(name, "coordinate_ascent") for name in model.coordinate_ascent(data)]
    for library in dict.fromkeys(libraries):
        jobs += [
            job(f"{library}-{family}", "svi", library, family, too_large(family, dimension)) for family in families
        ]
        if nuts:
            jobs.append(job(f"{library}-nuts", "nuts", library, reason=too_long(dimension, options)))
    return jobs


def too_large(family: str, dimension: int) -> str | None:
    """Why a family is not attempted at this dimension, or None."""
    largest = getattr(guides.load(family), "LARGEST", math.inf)
    if dimension <= largest:
        return None
    return f"{family} is not attempted beyond dimension {largest:,}; here it is {dimension:,}"


def too_long(dimension: int, options: Options) -> str | None:
    """Why NUTS is not attempted at this dimension, or None: its time is foretold and held against the budget.

    Each transition takes some 8 sqrt(d) gradients, at most 1,023 (the trajectory must cross the posterior's widest
    direction in steps of its narrowest), and a gradient at least 10 ns a dimension.
    """
    transitions = CHAINS * (options.warmup + BLOCK)
    seconds = transitions * min(1023.0, 8 * math.sqrt(dimension)) * dimension * 1e-8
    if seconds <= options.budget:
        return None
    return f"NUTS at dimension {dimension:,} would take about {seconds:,.0f} s; the budget is {options.budget:g} s"
