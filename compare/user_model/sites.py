"""A model's sites, and what is noted or refused of a user's while it runs; the same for both libraries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from compare.messages import one_line


@dataclass(frozen=True, eq=False)
class Site:
    """One site of a trace.

    Attributes:
        kind: ``latent``, ``discrete`` (a latent that is summed out), ``observed`` or ``derived`` (deterministic).
        shape: Its shape.
        value: Its value, None where the trace is abstract.
        raw: The library's own record of it.
    """

    kind: str
    shape: tuple[int, ...]
    value: np.ndarray | None = None
    raw: Any = None


@dataclass
class Inspection:
    """What is noted while a user's model runs.

    Attributes:
        notes: What the reader should know, by what it is about.
        empty: Latent sites without an element.
        names: The sites by the names that they get.
        improper: Latent sites whose prior is improper, by the names that they get.
        masked: Which elements of a latent site have a density, for those that a mask takes it from; by the names too.
        params: The values that params start from, by the names that they get.
        weights: Those params that are weights of a torch module, which no handler can hold.
        scans: Whether the model has control flow of the library's own.
    """

    notes: dict[Any, str] = field(default_factory=dict)
    empty: set[str] = field(default_factory=set)
    names: dict[str, str] = field(default_factory=dict)
    improper: set[str] = field(default_factory=set)
    masked: dict[str, np.ndarray] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    weights: list[str] = field(default_factory=list)
    scans: bool = False

    def plate(self, name: str, size: int, part: int) -> None:
        """Note a plate that is not subsampled here."""
        self.notes[name] = (
            f"plate {name!r} is not subsampled: every fit sees all {size} of its points, not {part} at a time"
        )

    def name(self, name: str) -> None:
        """Note a name that changes; refuse one that then is another's."""
        plain = underscored(name)
        if self.names.setdefault(plain, name) != name:
            raise ValueError(f"sites {self.names[plain]!r} and {name!r} cannot be told apart without the slash")
        if plain != name:
            self.notes[name] = f"site {name!r} appears as {plain!r}: no slash can be in a name"

    def latent(self, name: str, fn: Any, shape: Sequence[int], library: str, mask: Any = None) -> None:
        """Refuse a latent site that the fits cannot handle; note one that is empty, and where it has no density."""
        improper, is_partial = mask is False or is_improper(fn), mask is not None and not np.asarray(mask).all()
        refuse_unusable(name, fn, library, improper or is_partial)
        if improper:
            self.improper.add(underscored(name))
        elif is_partial:
            self.mask(name, fn, shape, np.asarray(mask, bool))
        if 0 in shape:
            self.empty.add(name)
            self.notes[name] = f"site {name!r} is empty (shape {tuple(shape)}): there is nothing to infer"

    def mask(self, name: str, fn: Any, shape: Sequence[int], mask: np.ndarray) -> None:
        """Note the elements of a latent site that a mask takes the density from; it may stand behind ``to_event``."""
        carrier = next((layer for layer in layers(fn) if not isinstance(getattr(layer, "_mask", True), bool)), fn)
        batch = shape[: len(shape) - carrier.event_dim]
        there = np.broadcast_to(np.broadcast_to(mask, batch).reshape(*batch, *(1,) * carrier.event_dim), shape)
        self.masked[underscored(name)] = there
        count = int(np.sum(~np.broadcast_to(mask, batch)))
        elements = "one element is" if count == 1 else f"{count} elements are"
        self.notes[name] = (
            f"site {name!r}: {elements} masked out and not reported: nothing depends on them, so that their posterior "
            "is their prior"
        )


def underscored(name: str) -> str:
    """The site's name without slashes, which NetCDF could not hold."""
    return name.replace("/", "_")


def make_twin(
    name: str, run: Callable[..., Any], has_discrete: Callable[[dict[str, Any]], bool], marginal: Callable[..., Any]
) -> ModuleType:
    """A model as a module of its own, its discrete latents summed out.

    Args:
        name: The module's name.
        run: The model as written, its plates not subsampled.
        has_discrete: ``has_discrete(data)``: whether it has discrete latents.
        marginal: ``marginal(run, data)`` runs it with them summed out.
    """
    module, known = ModuleType(name), dict[tuple, bool]()

    def model(**data: Any) -> None:
        form = tuple((name, tuple(value.shape) if hasattr(value, "shape") else value) for name, value in data.items())
        if form not in known:
            known[form] = has_discrete(data)
        if known[form]:
            marginal(run, data)
        else:
            run(**data)

    model.__module__, module.model = module.__name__, model  # type: ignore[attr-defined]
    module.joint = run  # type: ignore[attr-defined]  # with its discrete latents
    return module


def layers(fn: Any) -> Iterator[Any]:
    """A distribution, and those that it is made of, the innermost last."""
    while True:
        yield fn
        if not hasattr(fn, "base_dist"):
            return
        fn = fn.base_dist


def innermost(fn: Any) -> Any:
    """The distribution that others repeat, mask, or take for one event; one that is transformed is not looked into."""
    kinds = {"Independent", "ExpandedDistribution", "MaskedDistribution"}
    return next(layer for layer in layers(fn) if not kinds & {kind.__name__ for kind in type(layer).__mro__})


def is_improper(fn: Any) -> bool:
    """Whether a prior has the same density everywhere: ``ImproperUniform``, or all of it masked out."""
    kinds = [type(layer).__name__ for layer in layers(fn)]
    return "ImproperUniform" in kinds or any(getattr(layer, "_mask", None) is False for layer in layers(fn))


def is_delta(fn: Any) -> bool:
    """Whether a site takes the value that it is given, whatever density it counts."""
    *_, base = layers(fn)
    return type(base).__name__ == "Delta"


def is_point(fn: Any) -> bool:
    """Whether a site is a point, with no density of its own."""
    *_, base = layers(fn)
    return is_delta(fn) and not np.any(np.asarray(base.log_density != 0))


def is_by_hand(fn: Any) -> bool:
    """Whether a site adds a density that its user computed: a factor, or a point with a log density."""
    *_, base = layers(fn)
    return type(base).__name__ in ("Unit", "Delta") and not is_point(fn)


def is_same_by_hand(fn: Any, other: Any) -> bool:
    """Whether a site whose density its user computed (`is_by_hand`) adds the same one in two runs."""
    bases = [list(layers(run))[-1] for run in (fn, other)]
    own, others = (base.log_factor if type(base).__name__ == "Unit" else base.log_density for base in bases)
    return np.shape(own) == np.shape(others) and bool(np.all(np.asarray(own == others)))


def has_mask(fn: Any, mask: Any = None) -> bool:
    """Whether a mask, its own or that of a handler, takes the density from some element of a site."""
    masks = [mask, *(getattr(layer, "_mask", None) for layer in layers(fn))]
    return not all(np.all(np.asarray(there)) for there in masks if there is not None)


def refuse_unusable(name: str, fn: Any, library: str, is_masked: bool) -> None:
    """Raise ValueError for a discrete latent site with values that cannot be summed over."""
    if not (fn.has_enumerate_support or fn.support.is_discrete):
        return
    if is_masked:
        raise ValueError(
            f"site {name!r} is discrete and has its prior masked out, of some elements or all; sample it outside of "
            "the mask"
        )
    *_, base = layers(fn)
    kind = type(base).__name__
    if not (fn.has_enumerate_support or base.has_enumerate_support):
        raise ValueError(
            f"site {name!r} is discrete ({kind}) and has no finite list of values to sum over: guides and NUTS need "
            "continuous latents; sum it out in the model, or replace it by a Categorical over the values that matter"
        )
    try:
        fn.enumerate_support(expand=False)
    except Exception as error:
        raise ValueError(
            f"site {name!r} is discrete ({kind}) and its values cannot be listed ({one_line(error)}); sample its "
            f"elements one by one, in {library}.plate instead of to_event"
        ) from error
