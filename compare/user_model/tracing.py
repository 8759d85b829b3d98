"""What a model consists of on its data, by tracing its twin: the one place where models are inspected.

`trace` looks at a model of the catalogue in the abstract: sites and shapes, no number is computed. `inspect_model`
looks at a user's model at a few values of its latents, refuses what no fit could handle, and notes what the fits
change.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np

from compare.comparison import Element, Layout
from compare.messages import one_line
from compare.user_model import enumeration
from compare.user_model.arguments import Fixed, Words
from compare.user_model.sites import Inspection, Site
from models.contract import Model
from models.selection import evenly

N_DRAWS = 3
"""Values of the latents that an inspection looks at."""

RADII = (2.0, 0.2, 0.02)
"""Largest distances from the origin of the unconstrained space, tried in turn until the model can be run."""

NOTHING_OBSERVED = "the model observes nothing on these data (no site has obs, no factor): its posterior is its prior"
"""The note on a model without observations."""

MAX_REPORTED = 20
"""Most elements that are reported where the model does not choose them."""


def trace(model: Model, data: Any, library: str) -> Layout:
    """What the twin of a catalogue model is on these data: sites and shapes, and the observed values."""
    side = import_module(f"compare.user_model.in_{library}")
    sites: Mapping[str, Site] = side.abstract(model.name, data.arguments())
    counts = {name: len(site.raw["fn"].enumerate_support(expand=False)) for name, site in of_kind(sites, "discrete")}
    notes = (enumeration.note(counts),) if counts else ()
    latents, derived = shapes_of(sites, "latent"), shapes_of(sites, "derived")
    return replace(lay_out(model, data, latents, derived, observed_values(sites), notes), discrete=tuple(counts))


def lay_out(
    model: Model,
    data: Any,
    latents: dict[str, tuple[int, ...]],
    derived: dict[str, tuple[int, ...]],
    observed: dict[str, np.ndarray],
    notes: tuple[str, ...] = (),
) -> Layout:
    """The layout of these sites, with the quantities that the model adds and the elements that it reports."""
    part = model.quantities
    if part and part.derive:
        zeros = {name: np.zeros((1, *shape)) for name, shape in latents.items()}
        derived = derived | {name: value.shape[1:] for name, value in part.derive(data, zeros).items()}
    reported_elements = part.report(data) if part and part.report else report(latents | derived)
    symmetric = {name: np.ones(shape, bool) for name, shape in latents.items()} if part and part.derive else {}
    return Layout(latents, derived, observed, tuple(reported_elements), notes, unjudged=symmetric)


def inspect_model(user: Any, values: Mapping[str, Any], with_derived: bool = True) -> Layout:
    """What a user's model is on these data; without its deterministic sites among the reported ones where asked.

    Raises:
        ValueError: the model cannot be run, or has a site that cannot be handled; one line names it.
    """
    side, inspection = import_module(f"compare.user_model.in_{user.library}"), Inspection()
    try:
        traces = [draw(side, user, values, inspection, seed) for seed in range(N_DRAWS)]
        discrete = [name for name, site in traces[0].items() if site.kind == "discrete"]
        if discrete:
            raws = [{name: site.raw for name, site in drawn.items()} for drawn in traces]
            inspection.notes[tuple(discrete)] = side.check_discrete(user, values, raws, discrete, inspection.scans)
        latents = shapes_of(traces[0], "latent")
        points = [{name: drawn[name].raw["value"] for name in latents} for drawn in traces]
        log_joints, remaining = side.log_joints(user, values, points, jit=bool(discrete))
    except Exception as error:
        if isinstance(error, ValueError) and str(error).startswith(("site ", "sites ")):
            raise
        raise ValueError(f"{cannot_be_run(values)}: {one_line(error)}") from error
    refuse_missing(values, log_joints)
    if not discrete:
        refuse_own_draws(user, *log_joints[:1], *side.log_joints(user, values, points[:1], jit=False, seed=1)[0])
    for name, there in inspection.masked.items():
        other = points[1][name]
        moved = points[0] | {name: side.merge(there, points[0][name], other)}
        refuse_used(name, *side.log_joints(user, values, [points[0], moved], jit=False, unmask=False)[0])
    if discrete and not latents:
        raise ValueError(
            "all latents of the model are discrete: summed out exactly they leave nothing to approximate; log evidence "
            f"{float(log_joints[0]):.10g} nats, and infer_discrete draws from the posterior"
        )
    refuse_moving_supports(side, traces, latents)
    side.refuse_uncompilable(user, values)
    derived = {name: shape for name, shape in shapes_of(traces[0], "derived").items() if name in remaining}
    derived = {name: shape for name, shape in derived.items() if is_numeric(traces[0][name].value)}
    varying = {
        name: np.any([differs(drawn[name].value, traces[0][name].value) for drawn in traces[1:]], axis=0)
        for name in (*latents, *derived)
    }
    for name, there in inspection.masked.items():
        varying[name] = varying[name] & there
    n_observed = sum(site.kind == "observed" for site in traces[0].values()) - len(inspection.empty)
    notes = tuple(inspection.notes.values())
    if not n_observed:
        notes += (NOTHING_OBSERVED,)
    reported_elements = report(latents | (derived if with_derived else {}), varying)
    singles = frozenset(name for name, shape in (latents | derived).items() if math.prod(shape) == 1)
    improper = tuple(name for name in latents if name in inspection.improper)
    if improper:
        notes += (
            f"the prior on {', '.join(improper)} is improper: the evidence is not defined, and ELBOs only up to a "
            "constant; what each lacks, its evidence gap, is",
        )
    unjudged = {name: ~varying[name] for name in latents if not np.all(varying[name])}
    observed = observed_values(traces[0])
    parts = latents, derived, observed, reported_elements, notes, log_joints, singles, improper, unjudged
    return Layout(*parts, discrete=tuple(discrete))


def draw(side: Any, user: Any, values: Mapping[str, Any], inspection: Inspection, seed: int) -> Mapping[str, Site]:
    """The sites of a user's model at values of its latents, as far from the origin as the model can be run."""
    for radius in RADII[:-1]:
        with suppress(Exception):
            return side.draw(user, values, inspection, seed, radius)
    return side.draw(user, values, inspection, seed, RADII[-1])


def refuse_own_draws(user: Any, first: float, second: float) -> None:
    """Raise ValueError for a model that draws random numbers itself: its log joint at a point is not one number."""
    if not np.isclose(first, second, rtol=1e-9, atol=1e-9, equal_nan=True):
        raise ValueError(
            f"two runs of the model on the same latents give the log joints {first:.6g} and {second:.6g}: it draws "
            f"something itself, such as a batch; leave that to {user.library}.plate(..., subsample_size=...)"
        )


def refuse_used(name: str, first: float, second: float) -> None:
    """Raise ValueError for a latent whose elements are masked out, and yet decide the log joint."""
    if not np.isclose(first, second, rtol=1e-9, atol=1e-9, equal_nan=True):
        raise ValueError(
            f"site {name!r} has elements that are masked out, so that they have no prior, and yet the model depends on "
            "them; leave them out of the mask, or give them a prior such as ImproperUniform"
        )


def cannot_be_run(values: Mapping[str, Any]) -> str:
    """The beginning of the line about a model that ends in an error."""
    words = next((name for name, value in values.items() if isinstance(value, Words)), None)
    if words is None:
        return "the model could not be run on its data"
    return (
        f"the model could not be run on its data, of which {words!r} holds {values[words].values[0]!r} and other "
        "words; where it computes with them, give their codes"
    )


def shapes_of(sites: Mapping[str, Site], kind: str) -> dict[str, tuple[int, ...]]:
    return {name: site.shape for name, site in of_kind(sites, kind)}


def of_kind(sites: Mapping[str, Site], kind: str) -> list[tuple[str, Site]]:
    return [(name, site) for name, site in sites.items() if site.kind == kind]


def observed_values(sites: Mapping[str, Site]) -> dict[str, np.ndarray]:
    """The values of the observed sites; a factor has none."""
    return {name: site.value for name, site in sites.items() if site.kind == "observed" and np.size(site.value)}


def differs(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Where two values differ; NaN, for what is missing, is as NaN."""
    return (first != second) & ~(np.isnan(first) & np.isnan(second))


def is_numeric(value: Any) -> bool:
    return np.asarray(value).dtype.kind in "fiub" and np.size(value) > 0


def report(
    shapes: Mapping[str, tuple[int, ...]], varying: Mapping[str, np.ndarray] | None = None
) -> tuple[Element, ...]:
    """All elements up to 20; beyond, those of sites with one element and others, spread evenly.

    Elements that do not vary under the prior, such as the zeros of a Cholesky factor, are left out.
    """
    flags = {name: np.ones(shape, dtype=bool) if varying is None else varying[name] for name, shape in shapes.items()}
    single = [(name, (0,) * len(shape)) for name, shape in shapes.items() if math.prod(shape) == 1][:MAX_REPORTED]
    single = [(name, index) for name, index in single if flags[name][index]]
    long = {name: shape for name, shape in shapes.items() if math.prod(shape) > 1}
    ends = np.cumsum([0, *(math.prod(shape) for shape in long.values())])
    free = np.flatnonzero(np.concatenate([np.zeros(0, dtype=bool), *(np.ravel(flags[name]) for name in long)]))
    room = MAX_REPORTED - len(single)
    chosen = set(single)
    for position in free[evenly(len(free), room)]:
        place = int(np.searchsorted(ends, position, side="right")) - 1
        name = list(long)[place]
        index = np.unravel_index(int(position - ends[place]), long[name])
        chosen.add((name, tuple(int(i) for i in index)))
    order = list(shapes)
    return tuple(sorted(chosen, key=lambda element: (order.index(element[0]), element[1])))


def refuse_missing(values: Mapping[str, Any], log_joints: Sequence[float]) -> None:
    """Raise ValueError for missing values that the model does not deal with: log p(x, z) is finite at no prior draw."""
    arrays = {name: value.array() if isinstance(value, Fixed) else value for name, value in values.items()}
    arrays = {name: array for name, array in arrays.items() if isinstance(array, np.ndarray | np.floating)}
    missing = [name for name, array in arrays.items() if np.isnan(array).any()]
    if missing and not np.isfinite(log_joints).any():
        raise ValueError(f"data: {missing[0]!r} has missing values (NaN), which the model cannot take; leave them out")


def refuse_moving_supports(side: Any, traces: Sequence[Mapping[str, Site]], latents: Mapping[str, Any]) -> None:
    """Raise ValueError for a support that depends on other latents: guides keep that of the first draw."""
    for name in latents:
        try:
            points = [np.asarray(side.support_point(drawn[name].raw, traces[0][name].raw)) for drawn in traces]
        except Exception as error:
            raise ValueError(f"site {name!r} cannot be mapped to an unconstrained space: {one_line(error)}") from error
        if any(not np.allclose(point, points[0], rtol=1e-12, atol=0) for point in points):
            raise ValueError(
                f"site {name!r} has a support that depends on other latents, which guides cannot follow; sample it on "
                f"a fixed one, such as the unit interval, and scale it with {side.__name__.rpartition('_')[2]}"
                ".deterministic"
            )
