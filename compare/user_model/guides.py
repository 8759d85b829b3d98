"""Users' own guides: what a caller brings, checked against the model, and known by a name like the zoo's families.

A guide is a function of the model's arguments, an autoguide of the library, or an autoguide's class. With params it is
a fit that the user made, which is judged as it is (`compare.user_model.given_params`).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import guides
from compare.messages import one_line
from compare.user_model.arguments import bound, call, signature_of, without_params
from compare.user_model.sites import has_mask, is_by_hand, is_delta, is_point, is_same_by_hand

SHOWN = 8
"""Names that an error lists at most."""


@dataclass(frozen=True, eq=False)
class UserGuide:
    """A guide that its user wrote or chose.

    Attributes:
        name: What it is called in tables.
        guide: A function, an autoguide, or an autoguide's class.
        params: The params that its user found, by name and constrained; None where it is to be fitted.
    """

    name: str
    guide: Any
    params: Mapping[str, Any] | None = None


class GuideSite(NamedTuple):
    """A sample site of a guide or of a model: its shape, by what its density is scaled, and what kind it is; masked
    where its density, or some elements', does not count; open where a latent is still to be made of it."""

    shape: tuple[int, ...]
    scale: float = 1.0
    is_discrete: bool = False
    is_auxiliary: bool = False
    is_masked: bool = False
    is_point: bool = False
    is_open: bool = False


_known: dict[tuple[str, str], UserGuide] = {}


def sites_in(
    drawn: Mapping[str, Any], again: Mapping[str, Any] | None, describe: Callable[[Any], GuideSite]
) -> dict[str, GuideSite]:
    """The sites of a run that are not observed, by name.

    A guide with a factor, or a point with a log density, counts densities by its own hand: what it masks is then no
    fault. Auxiliary draws stay open where these densities are the same ``again``, with other draws: a reverse density
    r(auxiliary | latents) would change with them.

    Args:
        drawn: The library's records of all sample sites of a run.
        again: Those of a run with other draws; None where there is none.
        describe: From a record to the shape, the scale and the kind of a site.
    """
    masked = {name: has_mask(site["fn"], site.get("mask")) for name, site in drawn.items()}
    by_hand = {name: site["fn"] for name, site in drawn.items() if not masked[name] and is_by_hand(site["fn"])}
    is_reverse = any(again is None or not is_same_by_hand(fn, again[name]["fn"]) for name, fn in by_hand.items())
    sites = {}
    for name, site in drawn.items():
        if not site["is_observed"]:
            is_auxiliary, is_fixed = bool(site["infer"].get("is_auxiliary")), is_delta(site["fn"])
            sites[name] = describe(site)._replace(
                is_auxiliary=is_auxiliary,
                is_masked=masked[name] and not is_point(site["fn"]) and not by_hand,
                is_point=is_fixed,
                is_open=is_auxiliary and not is_fixed and not is_reverse,
            )
    return sites


def add(model: str, guide: Any, params: Mapping[str, Any] | None = None, among: Sequence[str] = ()) -> str:
    """Know a guide for the model of this name; the guide's own name, with a number where ``among`` has that already.

    Raises:
        ValueError: it is no guide.
    """
    if not callable(guide):
        raise ValueError(f"guide is {guide!r}: give a family's name, a function, an autoguide or an autoguide's class")
    first = guide.__name__ if inspect.isclass(guide) or inspect.isroutine(guide) else type(guide).__name__
    name, number = first, 1
    while name in (*among, *guides.FAMILIES, "nuts"):
        number += 1
        name = f"{first}-{number}"
    _known[model, name] = UserGuide(name, guide, params)
    return name


def forget(model: str) -> None:
    """Remove the guides of the model of this name, which another model replaces."""
    for key in [key for key in _known if key[0] == model]:
        del _known[key]


def names_of(model: str, chosen: Sequence[Any]) -> tuple[str, ...]:
    """The names of families and of users' guides, which are then known, in the order given.

    Raises:
        ValueError: it is no list, or holds what is no guide.
    """
    if isinstance(chosen, str) or not isinstance(chosen, Iterable):
        raise ValueError(f"guides is {chosen!r}: give a list, such as [{chosen!r}]")
    names: list[str] = []
    for guide in chosen:
        names.append(guide if isinstance(guide, str) else add(model, guide, among=names))
    return tuple(names)


def find(model: str, name: str | None) -> UserGuide | None:
    """A user's guide for a model; None where the name is that of a family."""
    return _known.get((model, name or ""))


def caller(function: Callable[..., Any], name: str, user: Any, values: Mapping[str, Any]) -> Callable[..., Any]:
    """A guide as a function of the model's flat arguments. It takes them by name, or, where its own names differ, in
    the model's order; an autoguide or a module takes what its model takes.

    Raises:
        ValueError: it takes other arguments.
    """
    signature = signature_of(function) if inspect.isroutine(function) else user.signature
    given, _ = without_params(values)
    try:
        bound(signature, given)
        return lambda **data: call(function, signature, without_params(data)[0])
    except TypeError as error:
        order = tuple(bound(user.signature, given).arguments)
        try:
            signature.bind(*order)
        except TypeError:
            names = ", ".join(order) or "none"
            raise ValueError(f"guide {name!r} does not take the model's arguments ({names}): {error}") from None
    return lambda **data: function(*map(without_params(data)[0].get, order))


def refuse_mismatch(
    name: str, sites: Mapping[str, GuideSite], latents: Mapping[str, tuple[int, ...]], model: Mapping[str, GuideSite]
) -> None:
    """Raise ValueError for a guide whose sites are not the model's latents, one by one and scaled alike, that masks its
    density, or that draws more than it makes latents of."""
    refuse_masked(name, sites)
    refuse_integrated(name, sites)
    own = {site: known for site, known in sites.items() if not known.is_auxiliary}
    for site, known in own.items():
        if known.is_discrete:
            raise ValueError(
                f"guide {name!r}: site {site!r} is discrete; discrete latents are summed out here, leave it out"
            )
        if site not in latents:
            raise ValueError(
                f"guide {name!r} has a site {site!r} that is no latent of the model ({listed(latents)}); remove it, or "
                "say infer={'is_auxiliary': True} where it only helps to make others"
            )
    for site, shape in latents.items():
        if site not in own:
            raise ValueError(
                f"guide {name!r} has no site {site!r}, which is a latent of the model; it has {listed(own)}"
            )
        if tuple(own[site].shape) != tuple(shape):
            raise ValueError(f"guide {name!r}: site {site!r} has shape {own[site].shape}, in the model {tuple(shape)}")
        if not math.isclose(own[site].scale, model[site].scale):
            raise ValueError(
                f"guide {name!r}: the density of site {site!r} is scaled by {own[site].scale:g}, in the model by "
                f"{model[site].scale:g}; put it into the same plates"
            )


def refuse_masked(name: str, sites: Mapping[str, GuideSite]) -> None:
    """Raise ValueError for a continuous site whose density is masked out: what is left is not log q, nor its mean with
    the log joint a bound. (Dropout's masks are discrete: `no_density`.)"""
    for site, known in sites.items():
        if known.is_masked and not known.is_discrete:
            raise ValueError(
                f"guide {name!r}: the density of site {site!r} is masked out, so that what is left is not log q, and "
                "its ELBO no bound; remove the mask (what the model masks out has its prior as posterior)"
            )


def refuse_integrated(name: str, sites: Mapping[str, GuideSite]) -> None:
    """Raise ValueError for auxiliary draws beyond the latents that are points made of them. What is left is integrated
    out of q, and a bound then needs a reverse model of it (Ranganath, Tran & Blei 2016, Hierarchical Variational
    Models)."""
    drawn = {site: math.prod(known.shape) for site, known in sites.items() if known.is_open and not known.is_discrete}
    computed = sum(math.prod(known.shape) for known in sites.values() if known.is_point)
    if sum(drawn.values()) > computed:
        raise ValueError(
            f"guide {name!r} draws {sum(drawn.values())} auxiliary numbers ({listed(drawn)}) and makes latents of "
            f"{computed}; its density is then an integral over the others, and its ELBO no bound: draw each latent "
            "from a density of its own, make it a Delta of as many auxiliary numbers, or subtract a reverse density of "
            "the auxiliary draws given the latents in a factor (which then changes with them)"
        )


def instance(guide: UserGuide, model: Callable[..., Any]) -> Any:
    """An autoguide of the class that was given.

    Raises:
        ValueError: it needs more than a model.
    """
    try:
        return guide.guide(model)
    except Exception as error:
        needs = f"guide {guide.name} needs more than a model: give {guide.name}(...)"
        raise ValueError(f"{needs} ({one_line(error)})") from None


def no_density(name: str, where: str = "") -> ValueError:
    """The error for a guide whose draws take one value, or a few."""
    # Pyro's becomes another guide, and NumPyro's has its Gaussian in its draws, once they have been fitted.
    instead = "; take the family laplace, or give its draws as draws=" if name.startswith("AutoLaplace") else ""
    return ValueError(
        f"guide {name!r} gives {where or 'the latents'} one point, or a few: without a density its ELBO is no bound"
        f"{instead}"
    )


def listed(names: Mapping[str, Any]) -> str:
    shown = ", ".join(list(names)[:SHOWN]) or "none"
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown
