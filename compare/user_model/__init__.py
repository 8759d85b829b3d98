"""A user's own model: found, asked what it consists of, and passed on as if it stood in the catalogue.

`read` takes it from a file or a module, `register` from a caller of this process; both give it a name by which
`compare.registry` finds it again. A name that says where the model stands (``eight_schools.py``,
``package.module:model``) is read anew by any other process that asks for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from compare.user_model.arguments import arguments
from compare.user_model.source import is_model_spec, library_of, locate
from models.contract import Exact, Latents, Model, Quantities, Reference

__all__ = [
    "GUIDES",
    "Given",
    "Own",
    "Sites",
    "complain_of_missing",
    "complain_of_nothing",
    "data_of",
    "find",
    "knows",
    "observes",
    "read",
    "references",
    "register",
]

GUIDES = ("mean_field", "full_rank")
"""The families that are tried unless the user names others."""

ACCEPTANCE = 0.98
"""What NUTS adapts its step sizes to for a reference: a user's model may hold a funnel."""

MOST = 20
"""Elements that are reported."""

LIBRARIES = {"numpyro": "NumPyro", "pyro": "Pyro"}
RESERVED = ("chain", "draw")
ASKED = ("draw", "log_prior", "log_likelihood", "log_posterior", "mean", "sd", "quantile", "density", "correlations")


@dataclass(frozen=True, eq=False)
class Own:
    """One user's model: ``function`` is what the user wrote, ``exact`` the posterior if the user knows it."""

    name: str
    function: Callable[..., Any]
    library: str
    model: Model
    exact: Exact | Callable[..., Exact] | None = None


@dataclass(frozen=True, eq=False)
class Sites:
    """What one look at a model finds.

    ``latents`` and ``derived`` (the deterministic sites) map names to shapes, ``varying`` the same names to flags of
    that shape: whether the element differs between draws from the prior. ``notes`` are what the reader should know.
    ``log_joints`` are log p(x, z) at a few draws from the prior: they tell a model from another of the same source.
    """

    latents: dict[str, tuple[int, ...]]
    derived: dict[str, tuple[int, ...]]
    varying: dict[str, np.ndarray]
    observed: dict[str, np.ndarray]
    notes: tuple[str, ...] = ()
    log_joints: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Given:
    """The data of a user's model (`models.contract.Data`): its arguments, and what a look at it with them found."""

    values: dict[str, Any]
    sites: Sites
    truth: Exact | None = None
    notes: tuple[str, ...] = field(default=())

    def arguments(self) -> dict[str, Any]:
        return self.values

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self.sites.latents

    def reported(self) -> list[tuple[str, tuple[int, ...]]]:
        """All elements up to 20; of more, those of sites with one element and others spread evenly.

        Elements that are fixed, such as the zeros of a Cholesky factor, are left out, and so are deterministic sites
        where an exact posterior knows the latents only.
        """
        shapes = self.sites.latents if self.truth else {**self.sites.latents, **self.sites.derived}
        single = [(name, (0,) * len(shape)) for name, shape in shapes.items() if math.prod(shape) == 1][:MOST]
        single = [(name, index) for name, index in single if self.sites.varying[name][index]]
        long = {name: shape for name, shape in shapes.items() if math.prod(shape) > 1}
        ends = np.cumsum([0, *(math.prod(shape) for shape in long.values())])
        flags = np.concatenate([np.zeros(0, dtype=bool), *(np.ravel(self.sites.varying[name]) for name in long)])
        free = np.flatnonzero(flags)
        if len(free) > MOST - len(single):
            free = free[np.unique(np.linspace(0, len(free) - 1, MOST - len(single)).round().astype(int))]
        chosen = {element: None for element in single}
        for position in free:
            place = int(np.searchsorted(ends, position, side="right")) - 1
            name = list(long)[place]
            index = np.unravel_index(int(position - ends[place]), long[name])
            chosen[name, tuple(int(i) for i in index)] = None
        order = list(shapes)
        return sorted(chosen, key=lambda element: (order.index(element[0]), element[1]))

    def observed(self) -> dict[str, np.ndarray]:
        return self.sites.observed

    def describe(self) -> dict[str, Any]:
        return {name: described(value) for name, value in self.values.items()}


def described(value: Any) -> Any:
    """A value in JSON's types; of a long array its shape."""
    if not isinstance(value, np.ndarray | np.generic):
        return value if isinstance(value, bool | int | str | None) else str(value)
    return value.tolist() if value.size <= 100 else f"{' x '.join(map(str, value.shape))} numbers"


_known: dict[str, Own] = {}


def knows(name: str) -> bool:
    """Whether the name is that of a user's own model."""
    return name in _known or is_model_spec(name)


def find(name: str) -> Own:
    """The model of that name, read from where the name says it stands unless this process has it already.

    Raises:
        ValueError: it cannot be read.
    """
    return _known[name] if name in _known else read(name)[0]


def references() -> list[str]:
    """The names of the users' models that this process has read from where they stand."""
    return [name for name in _known if is_model_spec(name)]


def register(
    function: Callable[..., Any],
    library: str | None = None,
    exact: Exact | Callable[..., Exact] | None = None,
    name: str | None = None,
) -> Own:
    """Give a model a name; that of its function, with a number behind it where another model has that already.

    Raises:
        ValueError: it is no function, or its library cannot be told.
    """
    if not callable(function):
        raise ValueError(f"model is {function!r}: give a function with sample statements, or an object that is called")
    first = name or getattr(function, "__name__", type(function).__name__)
    library, name, number = library_of(function, library), first, 1
    while name in _known:
        other = _known[name]
        if other.function is function and other.exact is exact and other.library == library:
            return other
        number += 1
        name = f"{first}-{number}"
    way = Reference(
        f"a long run of {LIBRARIES[library]}'s NUTS on the model itself", library=library, acceptance=ACCEPTANCE
    )

    def derive(data: Given, latents: Latents) -> dict[str, np.ndarray]:
        if not data.sites.derived:
            return {}
        return import_module(f"compare.user_model.in_{library}").derive(_known[name], data, latents)

    model = Model(
        name=name,
        title=f"a model of your own, in {LIBRARIES[library]}",
        data=Given,
        guides=GUIDES,
        truth=lambda data: way if data.truth is None else data.truth,
        quantities=Quantities(derive),
    )
    _known[name] = Own(name, function, library, model, exact)
    return _known[name]


def read(reference: str, library: str | None = None) -> tuple[Own, Mapping[str, Any] | None]:
    """The model of a file or module, and the data that stand beside it, None if none do.

    Raises:
        ValueError: there is no such file, module or model, or its code ends in an error.
    """
    function, beside, library = locate(reference, library)
    if reference in _known:
        return _known[reference], beside.get("data")
    return register(function, library, beside.get("exact"), reference), beside.get("data")


def data_of(own: Own, data: Any) -> Given:
    """The data of a user's model, from a dict of its arguments, a pandas frame, or a function that returns one.

    Raises:
        ValueError: an argument that is missing, too many or of no use; a site that cannot be handled, with what to do;
            an exact posterior that is not this model's.
    """
    values = arguments(own.function, data)
    side = import_module(f"compare.user_model.in_{own.library}")
    sites = side.look(own, values)
    for name in (*sites.latents, *sites.derived):
        if name in RESERVED:
            raise ValueError(f"site {name!r}: ArviZ gives that name to the draws' own dimensions; rename the site")
    if not sum(math.prod(shape) for shape in sites.latents.values()):
        raise ValueError("the model has no latent site with an element: there is nothing to infer; add a sample site")
    known = own.exact is None or (hasattr(own.exact, "draw") and not isinstance(own.exact, type))
    truth = own.exact if known else own.exact(**values)
    given = Given(values, sites, truth, sites.notes)
    if truth is not None:
        check(own, given, truth)
    if not given.reported():
        raise ValueError("no element of any latent site varies under the prior: there is nothing to infer")
    return given


def complain_of_missing(values: Mapping[str, Any], log_joints: Sequence[float]) -> None:
    """Refuse data with missing values that the model does not deal with: log p(x, z) is finite at no prior draw.

    Raises:
        ValueError: it is not, and there are some.
    """
    missing = [
        name for name, value in values.items() if isinstance(value, np.ndarray | np.floating) and np.isnan(value).any()
    ]
    if missing and not np.isfinite(log_joints).any():
        raise ValueError(f"data: {missing[0]!r} has missing values (NaN), which the model cannot take; leave them out")


def complain_of_nothing(latents: Mapping[str, Any], discrete: Sequence[str], log_joints: Sequence[float]) -> None:
    """Refuse a model of which nothing is left to infer when its discrete latents are summed out.

    Raises:
        ValueError: it is such a model; the line says what the sum is, log p(x) in nats.
    """
    if discrete and not latents:
        raise ValueError(
            "all latents of the model are discrete: summed out exactly they leave nothing to approximate; log evidence "
            f"{float(log_joints[0]):.10g} nats, and infer_discrete draws from the posterior"
        )


def observes(count: int, notes: tuple[str, ...]) -> tuple[str, ...]:
    """The notes, with one more where the model observes nothing, by the number of its observed sites and factors."""
    more = "the model observes nothing on these data (no site has obs, no factor): its posterior is its prior"
    return notes if count else (*notes, more)


def check(own: Own, data: Given, exact: Exact) -> None:
    """Hold a user's exact posterior to the identity log p(x, z) - log p(z | x) = log p(x), at draws from it.

    Raises:
        ValueError: something is missing from it, or it is not this model's posterior.
    """
    for name in (*ASKED, "method", "tolerance", "log_evidence"):
        if not hasattr(exact, name):
            raise ValueError(f"the exact posterior has no {name}; it must offer all of models.contract.Exact")
    draws = exact.draw(np.random.default_rng(0), 16)
    for site, shape in data.shapes().items():
        if np.shape(draws.get(site)) != (16, *shape):
            raise ValueError(f"the exact posterior's draw(rng, 16) gives no {site!r} of shape {(16, *shape)}")
    joint = import_module(f"compare.user_model.in_{own.library}").log_joint(own, data, draws)
    found = joint - exact.log_posterior(draws)
    worst = found[np.argmax(np.abs(found - exact.log_evidence))]
    if not abs(worst - exact.log_evidence) <= max(1e-6 * (1 + abs(exact.log_evidence)), 4 * exact.tolerance):
        raise ValueError(
            f"the exact posterior is not this model's: at a draw from it log p(x, z) - log p(z | x) is {worst:.6g}, "
            f"but its log evidence is {exact.log_evidence:.6g}"
        )
