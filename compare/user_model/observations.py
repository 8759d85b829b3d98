"""Which argument of a user's model holds what each site observes, so that other observations can be put in its place.

Every argument is given values that no two of its elements share. Where a site then observes these values, its elements
are that argument's, one by one; what a model computes from its arguments before it observes it is not recognised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from compare.user_model import tracing
from compare.user_model.arguments import Fixed
from compare.user_model.sites import Inspection

NOWHERE = -1
"""The place of an element that is no argument's, such as one that stands for a missing value."""


class Source(NamedTuple):
    """Where a site's observations come from.

    Attributes:
        argument: The name of the flat argument.
        places: For each element of the site, shape of the site, its place in the flattened argument; -1 where it has
            none.
    """

    argument: str
    places: np.ndarray


def find_sources(user: Any, values: Mapping[str, Any], observed: Mapping[str, np.ndarray]) -> dict[str, Source]:
    """The source of every observed site's values.

    Args:
        user: The user's model.
        values: Its flat arguments.
        observed: The observed values by site.

    Raises:
        ValueError: a site observes what is no argument, or two of them; or an element is observed twice.
    """
    sources: dict[str, Source] = {}
    for name, value in values.items():
        if not is_numeric(name, value):
            continue
        labels = labels_of(np.asarray(value))
        runs = [run(user, {**values, name: label[()]}) for label in labels]
        for site, given in observed.items():
            seen = [sites[site] for sites in runs if site in sites and sites[site].shape == given.shape]
            places = places_of(seen, labels) if len(seen) == len(labels) else np.full(given.shape, NOWHERE)
            if np.any(places != NOWHERE):
                if site in sources:
                    raise ValueError(
                        f"site {site!r} observes elements of both {sources[site].argument!r} and {name!r}, so that no "
                        "other data can be given to it; pass what it observes as one argument"
                    )
                sources[site] = Source(name, places)
    for site in observed:
        if site not in sources:
            refuse_fixed(site, observed[site], values)
            raise ValueError(
                f"site {site!r} observes no argument of the model as it is, so that no other data can be given to it; "
                "pass what it observes as an argument of its own, obs=y, an array of numbers"
            )
    refuse_repeated(sources)
    return sources


def refuse_fixed(site: str, observed: np.ndarray, values: Mapping[str, Any]) -> None:
    """Raise ValueError for a site that observes an argument which is held fixed."""
    for name, value in values.items():
        if not isinstance(value, Fixed):
            continue
        array = np.asarray(value.array())
        if array.shape == observed.shape:
            is_same = np.all((array == observed) | np.isnan(array))  # what stands for NaN may be anything
        else:
            is_same = np.all(np.isin(observed, array))
        if is_same:
            raise ValueError(
                f"site {site!r} observes the argument {name!r}, which is held fixed because the model needs its values "
                f"to run, as in np.isnan({name}) or if {name}[0] > 0, so that no other data can be given to it; let "
                "another argument decide that, such as a mask or a flag"
            )


def is_numeric(name: str, value: Any) -> bool:
    """Whether an argument may hold observations: an array, a number or a count, and no param that is held."""
    if name.startswith("param:") or isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf")


def labels_of(value: np.ndarray) -> list[np.ndarray]:
    """Values of the argument's shape and kind that label its elements: no two have the same in all of them, none the
    same in every one. Missing values stay missing."""
    numbers = np.arange(value.size).reshape(value.shape)
    if value.dtype.kind == "b":
        bits = [np.asarray((numbers >> bit) & 1 == 1) for bit in range(max(1, (value.size - 1).bit_length()))]
        return [*bits, np.asarray(~bits[0])]
    labels = [numbers + 1, numbers + 1 + value.size]
    if value.dtype.kind == "f":
        return [np.where(np.isnan(value), np.nan, label) for label in labels]
    return labels


def run(user: Any, values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The observed values by site where the model can be run on these arguments, else none."""
    side = import_module(f"compare.user_model.in_{user.library}")
    try:
        return tracing.observed_values(tracing.draw(side, user, values, Inspection(), 0))
    except Exception:  # a count that shapes the program, say
        return {}


def places_of(seen: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> np.ndarray:
    """The place in the flattened argument of each element of a site, from what it observes under each label."""
    known = {column: place for place, column in enumerate(columns(labels))}
    return np.array([known.get(column, NOWHERE) for column in columns(seen)], int).reshape(seen[0].shape)


def columns(values: Sequence[np.ndarray]) -> list[tuple[float, ...]]:
    return list(zip(*(np.ravel(value).astype(float).tolist() for value in values), strict=True))


def refuse_repeated(sources: Mapping[str, Source]) -> None:
    """Raise ValueError for an argument of which an element is observed more than once."""
    for argument in {source.argument for source in sources.values()}:
        parts = [np.ravel(source.places) for source in sources.values() if source.argument == argument]
        places = np.concatenate(parts)
        places = places[places != NOWHERE]
        if len(np.unique(places)) < len(places):
            raise ValueError(
                f"data: elements of {argument!r} are observed more than once, which no draw of them can be"
            )


def replace_observed(
    values: Mapping[str, Any], sources: Mapping[str, Source], observed: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """The flat arguments with other observations, by site; what is missing stays missing."""
    replaced = dict(values)
    for argument in {source.argument for source in sources.values()}:
        given = np.asarray(values[argument])
        sites = [site for site, source in sources.items() if source.argument == argument]
        flat = given.astype(np.result_type(given, *(observed[site] for site in sites))).ravel()
        for site in sites:
            there = sources[site].places != NOWHERE
            flat[sources[site].places[there]] = observed[site][there]
        filled = flat.reshape(given.shape)
        if given.dtype.kind == "f":
            filled = np.where(np.isnan(given), np.nan, filled)
        elif np.all(np.isfinite(filled)) and np.array_equal(filled, filled.astype(given.dtype)):
            filled = np.asarray(filled.astype(given.dtype))
        replaced[argument] = filled[()]
    return replaced
