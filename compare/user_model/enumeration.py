"""Whether discrete latents can be summed out, and what is said of them; the same for both libraries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from compare.messages import one_line

Message = Any
"""A library's own record of a site."""


def check(
    traces: Sequence[Mapping[str, Message]],
    discrete: Sequence[str],
    library: str,
    log_joints: Callable[[Mapping[str, Message], int], tuple[Any, Any]],
    scans: bool = False,
) -> str:
    """What the reader should know of discrete latents that can be summed out.

    At drawn values of all latents the enumerated log joint must be the plain one: the model does with all values of a
    discrete latent at once what it does with each. Where there are scans neither that nor the plates are checked.

    Args:
        traces: Draws from the prior.
        discrete: The discrete latents' names.
        library: The library.
        log_joints: ``log_joints(trace, nesting)``: the enumerated log joint at the drawn values and the plain one, in
            nats; ``nesting`` is the number of plate dimensions.
        scans: Whether the model has control flow of the library's own.

    Raises:
        ValueError: they cannot; one line says why, and what to do.
    """
    sites = {name: site for name, site in traces[0].items() if site["type"] == "sample"}
    nesting = max([0, *(-dim for site in sites.values() for dim in plates_of(site))])
    for name, site in () if scans else sites.items():
        refuse_batch(name, site, library)
    try:
        for trace in () if scans else traces:
            refuse_coupling(discrete, *map(float, log_joints(trace, nesting)))
    except Exception as error:
        if isinstance(error, ValueError) and str(error).startswith("site"):
            raise
        raise cannot_be_summed(discrete, one_line(error)) from error
    return note({name: len(sites[name]["fn"].enumerate_support(expand=False)) for name in discrete})


def plates_of(site: Message) -> set[int]:
    """The plate dimensions of a site, counted from the right."""
    return {frame.dim for frame in site["cond_indep_stack"] if frame.dim is not None}


def refuse_batch(name: str, site: Message, library: str) -> None:
    """Raise ValueError for a batch dimension of which no plate tells that it is independent."""
    shape, plates = np.shape(site["value"]), plates_of(site)
    batch = np.broadcast_shapes(shape[: len(shape) - site["fn"].event_dim], tuple(site["fn"].batch_shape))
    if any(size > 1 and dim not in plates for dim, size in zip(range(-len(batch), 0), batch, strict=True)):
        raise ValueError(
            f"site {name!r} has the batch shape {batch} outside of a plate: to sum out discrete latents the "
            f"library must know what is independent; put it in {library}.plate, or, if continuous, add "
            f".to_event({len(batch)})"
        )


def refuse_coupling(discrete: Sequence[str], enumerated: float, plain: float) -> None:
    """Raise ValueError for a model that does with all values at once not what it does with each."""
    if not np.allclose(enumerated, plain, rtol=1e-9, atol=1e-9, equal_nan=True):
        raise cannot_be_summed(discrete, f"its log joint is then {enumerated:.6g} where it should be {plain:.6g}")


def cannot_be_summed(names: Sequence[str], why: str) -> ValueError:
    """The line about discrete latents that the library cannot sum out."""
    return ValueError(
        f"{subject(names)} discrete and cannot be summed out by running the model on all values at once ({why}); index "
        "or use where instead of branching, let no element of a plate depend on another's, or sum it out in the model, "
        "for a mixture with MixtureSameFamily"
    )


def note(counts: Mapping[str, int]) -> str:
    """What the reader should know of discrete latents that are summed out: their numbers of values by name."""
    names, most = list(counts), max(counts.values())
    whose = "its" if len(names) == 1 else "their"
    values = f"{whose} {most} values" if min(counts.values()) == most else f"{whose} values, at most {most},"
    return (
        f"{subject(names)} discrete: {values} are summed out by the library's enumeration and appear in no posterior; "
        "infer_discrete draws them afterwards"
    )


def subject(names: Sequence[str]) -> str:
    """The sites as the subject of a sentence, the verb included."""
    if len(names) == 1:
        return f"site {names[0]!r} is"
    if len(names) <= 3:
        return f"sites {', '.join(map(repr, names))} are"
    return f"sites {names[0]!r} to {names[-1]!r} ({len(names)} of them) are"
