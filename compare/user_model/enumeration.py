"""What is said of discrete latents that are summed out, or cannot be; the same for both libraries."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

import numpy as np

__all__ = ["cannot_be_summed", "complain_of_batch", "complain_of_coupling", "note"]

INSTEAD = "or sum it out in the model, for a mixture with MixtureSameFamily"


def note(counts: Mapping[str, int]) -> str:
    """What the reader should know of discrete latents that are summed out: their numbers of values by name."""
    names = list(counts)
    most = max(counts.values())
    whose = "its" if len(names) == 1 else "their"
    values = f"{whose} {most} values" if min(counts.values()) == most else f"{whose} values, at most {most},"
    said = f"{named(names)} discrete: {values} are summed out by the library's enumeration"
    return f"{said} and appear in no posterior; infer_discrete draws them afterwards"


def named(names: Sequence[str]) -> str:
    """The sites as the subject of a sentence, the verb included."""
    if len(names) == 1:
        return f"site {names[0]!r} is"
    if len(names) <= 3:
        return f"sites {', '.join(map(repr, names))} are"
    return f"sites {names[0]!r} to {names[-1]!r} ({len(names)} of them) are"


def complain_of_batch(name: str, batch: Sequence[int], plates: Container[int], library: str) -> None:
    """Refuse a site with a batch dimension (counted from the right) of which no plate tells that it is independent.

    Raises:
        ValueError: it is such a site.
    """
    if any(size > 1 and dim not in plates for dim, size in zip(range(-len(batch), 0), batch, strict=True)):
        raise ValueError(
            f"site {name!r} has the batch shape {tuple(batch)} outside of a plate: to sum out discrete latents the "
            f"library must know what is independent; put it in {library}.plate, or, if continuous, add "
            f".to_event({len(batch)})"
        )


def complain_of_coupling(names: Sequence[str], found: float, expected: float) -> None:
    """Refuse a model that does with all values of a discrete latent at once not what it does with each.

    ``found`` is the log joint at some values as picked from the enumerated one, ``expected`` the plain one, in nats.

    Raises:
        ValueError: they differ.
    """
    if np.allclose(found, expected, rtol=1e-9, atol=1e-9, equal_nan=True):
        return
    raise cannot_be_summed(names, f"its log joint is then {float(found):.6g} where it should be {float(expected):.6g}")


def cannot_be_summed(names: Sequence[str], error: object) -> ValueError:
    """The line about discrete latents that the library cannot sum out."""
    said = str(error) if isinstance(error, str) else f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return ValueError(
        f"{named(names)} discrete and cannot be summed out by running the model on all values at once ({said}); index "
        f"or use where instead of branching, let no element of a plate depend on another's, {INSTEAD}"
    )
