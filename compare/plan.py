"""Which fits a comparison consists of, and which of them are not worth attempting."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

import guides
from compare.comparison import TRUTH_METHODS, Job, Layout, Request
from compare.fit.mcmc.nuts import BLOCK
from compare.fit.tree import N_CHAINS
from compare.messages import one_line
from compare.options import Options
from compare.registry import LIBRARIES, first_installed, is_installed
from compare.user_model import Estimated, trace
from compare.user_model.guides import find
from compare.user_model.tracing import lay_out
from models.contract import Best, CoordinateAscent, Exact, Model, Reference, UnknownName, nearest

LEFT_OUT = "would be a long run of NUTS, which --quick leaves out"
"""Why there is no reference where neither quadrature nor importance sampling gives one and NUTS is left out."""


def plan(request: Request) -> list[Job]:
    """The jobs of a comparison, the exact posterior (or the reference in its place) first.

    Raises:
        UnknownName: a library or family that does not exist, or a family that this model has none of.
        ValueError: a rank beyond the number of the latents' elements.
    """
    check_names(request)
    model, data, options = request.model, request.data, request.options
    twin = first_installed(request.libraries)
    truth = model.truth(data)
    layout = trace_or_exact(model, data, twin, truth)
    dimension, encoders = layout.dimension, model.amortization is not None
    check_rank(request, dimension)
    jobs = [make_job(request, "exact", "exact")]
    if isinstance(truth, Estimated):
        jobs = [make_job(request, "reference", "importance")]
    elif isinstance(truth, Reference):
        patient = replace(options, budget=options.reference_budget, warmup=options.reference_warmup)
        reason = LEFT_OUT if request.quick else too_long(dimension, patient)
        jobs = [make_job(request, "reference", "reference", truth.library, reason=reason)]
    jobs += [make_job(request, name, "coordinate_ascent") for name in coordinate_ascents(model, data)]
    for library in request.libraries:
        for family in request.guides:
            brought = find(model.name, family) is not None
            reason = None if encoders or brought else too_large(family, dimension)
            method = "guide" if brought else "amortised" if encoders else "svi"
            jobs.append(make_job(request, f"{library}-{family}", method, library, family, reason))
        if request.nuts and (model.amortization is None or model.amortization.is_sampled(data)):
            jobs.append(make_job(request, f"{library}-nuts", "nuts", library, reason=too_long(dimension, options)))
    if request.draws:
        jobs.append(make_job(request, "draws", "draws"))
    return [replace(job, layout=layout, twin=None if job.library else twin) for job in jobs]


def trace_or_exact(model: Model, data: Any, twin: str, truth: Exact | Reference) -> Layout:
    """What tracing the twin tells. Where it cannot be traced, the exact posterior gives the latents: the fits of that
    twin then fail, and the others go on."""
    try:
        return trace(model.name, data, twin)
    except Exception as error:
        if isinstance(truth, Reference):
            raise
        latents = {site: np.shape(mean) for site, mean in truth.mean().items()}
        note = f"the model in {twin} cannot be run: {one_line(error, bare=True)}"
        return lay_out(model, data, latents, {}, {}, (note,))


def trainings(request: Request) -> list[Job]:
    """The jobs that train the model's own network, each along with another guide's encoder; none where it is known.

    Raises:
        UnknownName: as `plan`.
    """
    check_names(request)
    part = request.model.amortization
    training = part.training(request.data) if part else None
    if training is None or training.decoder is not None:
        return []
    pairs = [(library, family) for library in request.libraries for family in request.guides]
    return [
        make_job(request, f"{library}-{family}", "training", library, family)
        for library, family in (pairs if training.every_family else pairs[:1])
    ]


def make_job(
    request: Request,
    name: str,
    method: str,
    library: str | None = None,
    family: str | None = None,
    reason: str | None = None,
) -> Job:
    """A job of the request, skipped where its library is not installed."""
    reason = reason or not_installed(library)
    model = request.model.name
    return Job(name, model, request.data, method, library, family, request.seed, request.options, reason)


def needed_libraries(request: Request) -> list[str]:
    """The libraries of a comparison's fits, known before the model is traced, which imports one of them.

    Raises:
        UnknownName: as `plan`.
    """
    check_names(request)
    truth = request.model.truth(request.data)
    if not isinstance(truth, Reference) or request.quick or not is_installed(truth.library):
        return list(request.libraries)
    return list(dict.fromkeys([*request.libraries, truth.library]))


def check_names(request: Request) -> None:
    """Raise `UnknownName` for a library or family that does not exist, or that this model has none of."""
    encoders = request.model.amortization is not None
    for library in request.libraries:
        if library not in LIBRARIES:
            raise UnknownName(f"no library named {library!r}; {nearest(library, LIBRARIES)}")
    for family in request.guides:
        if find(request.model.name, family) is not None:
            continue
        particular = encoders or guides.load(family).is_particular
        offered = (*request.model.guides, *request.model.optional_guides)
        if particular and family not in offered:
            known = ", ".join(offered)
            raise UnknownName(f"{request.model.name} has no {family} guide; choose from {known}")


def check_rank(request: Request, dimension: int) -> None:
    """Raise `ValueError` for a rank beyond the latents' elements, where a guide takes it.

    Unconstrained they may be fewer, as a simplex's are: the fit then refuses the rank.
    """
    families = [guides.load(name) for name in request.guides if name in guides.FAMILIES]
    rank = request.options.rank if any("rank" in family.settings for family in families) else None
    if rank is not None and not 1 <= rank <= dimension:
        most = f"the number of unconstrained latents, here at most {dimension:,}"
        raise ValueError(f"--rank is {rank}: give 1 to {most}; mean_field has rank 0")


def coordinate_ascents(model: Model, data: Any) -> dict[str, CoordinateAscent]:
    """The model's closed-form updates by the name of the fit; none if it has none."""
    return model.coordinate_ascent(data) if model.coordinate_ascent else {}


def family_of(model: Model, data: Any, job: Job) -> str | None:
    """The family whose best member a fit seeks, or is compared with."""
    updates = coordinate_ascents(model, data)
    if job.name in updates:
        return updates[job.name].family
    return (guides.load(job.guide).member_of if job.guide in guides.FAMILIES else None) or job.guide


def best_member(model: Model, data: Any, family: str) -> Best | None:
    """The best member of a family, None if it is not known."""
    return model.best_member(data, family) if model.best_member else None


def not_installed(library: str | None) -> str | None:
    """Why nothing can be made with this library, or None."""
    if library and not is_installed(library):
        return f"{library} is not installed"
    return None


def seconds_at_most(job: Job) -> float:
    """The budget in seconds of a fit that searches or samples, without compilation; 0 for the others."""
    if job.reason is not None or job.method in (*TRUTH_METHODS, "draws", "coordinate_ascent"):
        return 0.0
    return job.options.reference_budget if job.method == "reference" else job.options.budget


def too_large(family: str, dimension: int) -> str | None:
    """Why a family is not attempted at this dimension, or None."""
    largest, beyond = guides.load(family).largest_dimension, guides.load(family).beyond
    if dimension <= largest:
        return None
    others = " or ".join(name for name in beyond if guides.load(name).largest_dimension >= dimension)
    remedy = f"; take {others}" if others else ""
    return f"{family} is not attempted beyond dimension {largest:,}, here {dimension:,}{remedy}"


def too_long(dimension: int, options: Options) -> str | None:
    """Why NUTS is not attempted at this dimension, or None: its predicted time is compared with the budget.

    Each transition takes some 8 sqrt(d) gradients, at most 1,023 (the trajectory must cross the posterior's widest
    direction in steps of its narrowest), and a gradient at least 10 ns a dimension.
    """
    transitions = N_CHAINS * (options.warmup + BLOCK)
    seconds = transitions * min(1023.0, 8 * math.sqrt(dimension)) * dimension * 1e-8
    if seconds <= options.budget:
        return None
    return f"NUTS at dimension {dimension:,} would take about {seconds:,.0f} s; the budget is {options.budget:g} s"
