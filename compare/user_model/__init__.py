"""Users' models, and what a model consists of, the catalogue's too.

`read` takes a user's model from a file or a module, `register` from a caller of this process; both adapt it to
`models.contract.Model` and give it a name by which `compare.registry` knows it. `trace` says what a model's sites are.
A name that says where the model stands (``eight_schools.py``, ``package.module:model``) is read anew by any other
process that asks for it.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np

from compare import registry
from compare.comparison import Layout
from compare.user_model import drawing, given_params, guides, tracing
from compare.user_model.arguments import Positional, arguments, assemble, call, signature_of, without_params
from compare.user_model.exact import UserExact, check_exact
from compare.user_model.handlers import name_of
from compare.user_model.needed import fix_needed
from compare.user_model.params import learn_params
from compare.user_model.posterior import Estimated, Tabulated, TabulatedExact
from compare.user_model.source import is_model_spec, library_of, locate, under_main_guard
from compare.user_model.surroundings import surroundings
from models import CATALOGUE
from models.contract import Exact, Model, Reference, Simulated

__all__ = [
    "GUIDES",
    "Estimated",
    "UserData",
    "UserModel",
    "bring",
    "check_guides",
    "data_of",
    "find",
    "knows",
    "read",
    "references",
    "register",
    "trace",
]

GUIDES = ("mean_field", "full_rank")
"""The families that are tried unless the user names others."""

ACCEPTANCE = 0.98
"""What NUTS adapts its step sizes to for a reference: a user's model may hold a funnel."""

RESERVED = ("chain", "draw")
"""The dimensions of every tree, whose names no site can have."""


@dataclass(frozen=True, eq=False)
class UserModel:
    """One user's model.

    Attributes:
        name: Its name.
        function: The model as written.
        library: The library that it is written in.
        model: The model in the catalogue's form.
        exact: The posterior, if known, or a function of the arguments that returns it.
        beside: What else its file defines, such as ``guide``, ``params`` and ``draws``.
    """

    name: str
    function: Callable[..., Any]
    library: str
    model: Model
    exact: Any = None
    beside: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def signature(self) -> inspect.Signature:
        """The parameters of the model."""
        return signature_of(self.function)

    def run(self, **values: Any) -> Any:
        """Run the model as written, on flat arguments."""
        return call(self.function, self.signature, values)

    @property
    def exact_follows_data(self) -> bool:
        """Whether ``exact`` is a function of the arguments, which gives the posterior of other data too."""
        return self.exact is not None and (not hasattr(self.exact, "draw") or isinstance(self.exact, type))

    def exact_on(self, values: Mapping[str, Any]) -> Any:
        """The posterior on these flat arguments as the user gave it; None where it is not known."""
        return self.exact(**without_params(values)[0]) if self.exact_follows_data else self.exact


@dataclass(frozen=True, eq=False)
class UserData:
    """The data of a user's model.

    Attributes:
        values: The model's arguments, flat, and the values that its params are held at.
        layout: What tracing it on them tells.
        truth: The exact posterior as the user gave it, if known.
        posterior: The posterior by quadrature or importance sampling, if either was accepted.
    """

    values: dict[str, Any]
    layout: Layout
    truth: Any = None
    posterior: Tabulated | None = None

    def arguments(self) -> dict[str, Any]:
        return self.values

    def describe(self) -> dict[str, Any]:
        return {name: described(value) for name, value in assemble(self.values).items()}


def described(value: Any) -> Any:
    """A value in JSON's types; of a long array its shape."""
    if isinstance(value, Mapping):
        return {str(key): described(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [described(item) for item in value]
    if isinstance(value, np.ndarray) and value.dtype.kind == "U" and value.size > 100:
        return f"{' x '.join(map(str, value.shape))} words"
    if not isinstance(value, np.ndarray | np.generic):
        return value if isinstance(value, bool | int | float | str | None) else str(value)
    return value.tolist() if value.size <= 100 else f"{' x '.join(map(str, value.shape))} numbers"


_known: dict[str, UserModel] = {}

_surroundings: dict[str, dict[str, Any]] = {}
"""What each model read beside its arguments when it was registered."""


def knows(name: str) -> bool:
    """Whether the name is that of a user's model."""
    return name in _known or is_model_spec(name)


def find(name: str) -> UserModel:
    """The model of that name, read from where the name says it stands unless this process has it already.

    Raises:
        ValueError: it cannot be read.
    """
    return _known[name] if name in _known else read(name)[0]


def references() -> list[str]:
    """The names of the users' models that this process has read from where they stand."""
    return [name for name in _known if is_model_spec(name)]


def trace(model: str, data: Any, library: str) -> Layout:
    """What a model is on these data, by tracing its twin in a library; a user's was traced when its data were read."""
    return data.layout if knows(model) else tracing.trace(registry.load(model), data, library)


def register(
    function: Callable[..., Any],
    library: str | None = None,
    exact: Any = None,
    name: str | None = None,
    beside: Mapping[str, Any] | None = None,
) -> UserModel:
    """Give a model a name: that of its function, with a number behind it where another model or the catalogue has that.

    Under a ``name`` that says where it stands it takes the place of what was read from there before; and a function of
    which a global or an enclosing value has changed takes its own.

    Raises:
        ValueError: it is no function, its library is not clear, or the guide beside it is none.
    """
    beside = beside or {}
    if not callable(function):
        raise ValueError(f"model is {function!r}: give a function with sample statements, or an object that is called")
    first = name or name_of(function)
    library, name, number, around = library_of(function, library), first, 1, surroundings(function)
    while name in _known or name in CATALOGUE:
        other = _known.get(name)
        if other and other.function is function and other.exact is exact and other.library == library:
            if _surroundings[name] == around:
                return other
            break
        if first == name and is_model_spec(name):
            guides.forget(name)
            break
        number += 1
        name = f"{first}-{number}"
    way = Reference(
        f"a long run of {registry.TITLES[library]}'s NUTS on the model itself", library=library, acceptance=ACCEPTANCE
    )

    def truth(data: UserData) -> Exact | Reference:
        if data.truth is not None:
            return UserExact(data.truth)
        if data.posterior is None:
            return way
        shapes, known = data.layout.latents | data.layout.derived, data.posterior
        return (TabulatedExact if known.is_exact else Estimated)(known, shapes, name, library, data.values)

    def simulate(data: UserData, rng: np.random.Generator, count: int) -> Simulated:
        from compare.user_model import simulation  # with SciPy's distributions, which are slow to import

        return simulation.simulate(user, data, rng, count)

    model = Model(
        name=name,
        title=f"a model of your own, in {registry.TITLES[library]}",
        data=UserData,
        guides=(*GUIDES, *([guides.add(name, beside["guide"])] if "guide" in beside else [])),
        truth=truth,
        simulate=simulate,
    )
    user = _known[name] = UserModel(name, function, library, model, exact, beside)
    _surroundings[name] = around
    registry.add(model, lambda side: import_module(f"compare.user_model.in_{side}").twin(user))
    return user


def read(reference: str, library: str | None = None) -> tuple[UserModel, Mapping[str, Any] | None]:
    """The model of a file or module as it now is, and the data that stand beside it (``data``, or ``args`` and
    ``kwargs``), None if none do.

    Raises:
        ValueError: there is no such file, module or model, or its code ends in an error.
    """
    function, beside, library = locate(reference, library)
    data, args, kwargs = (beside.get(name) for name in ("data", "args", "kwargs"))
    if data is None and isinstance(args, list | tuple | None) and isinstance(kwargs, dict | None):
        data = Positional(args or (), kwargs) if args or kwargs else None
    return register(function, library, beside.get("exact"), reference, beside), data


def data_of(user: UserModel, data: Any, params: Mapping[str, Any] | None = None) -> UserData:
    """The data of a user's model, from its arguments in any form of `arguments`; None for a model that holds its data
    itself.

    Args:
        user: The model.
        data: Its data.
        params: Params that a guide was trained to; the model's own among them are held there.

    Raises:
        ValueError: an argument that is missing, too many or of no use; a site that cannot be handled, with what to do;
            an exact posterior that is not this model's.
    """
    try:
        values = arguments(user.function, data)
    except ValueError as error:
        raise (ValueError(missing_data(user)) if data is None else error) from None
    values = fix_needed(user, values)
    held, notes = learn_params(user, values, params)
    values |= held
    layout = tracing.inspect_model(user, values, with_derived=user.exact is None)
    notes = (*layout.notes, *notes, *((drawing.NOTE,) if user.beside.get(drawing.DRAWN) else ()))
    layout = replace(layout, notes=notes)
    if data is None and tracing.NOTHING_OBSERVED in layout.notes:
        raise ValueError(missing_data(user))
    for name in (*layout.latents, *layout.derived):
        if name in RESERVED:
            raise ValueError(f"site {name!r}: ArviZ gives that name to the draws' own dimensions; rename the site")
    if not sum(math.prod(shape) for shape in layout.latents.values()):
        raise ValueError("the model has no latent site with an element: there is nothing to infer; add a sample site")
    truth = user.exact_on(values)
    if truth is not None:
        check_exact(user, values, layout, truth)
    if not layout.reported_elements:
        raise ValueError("no element of any latent site varies under the prior: there is nothing to infer")
    return UserData(values, layout, truth)


def missing_data(user: UserModel) -> str:
    """The line about a model that needs data and has none."""
    name = user.name
    if not is_model_spec(name):
        return f"{name} has no data: give a dict of the model's arguments"
    if "data" in under_main_guard(name):
        return (
            f'{name} has no data: they stand under if __name__ == "__main__", which is not run when the file is read; '
            "move them above it, or give --data"
        )
    return f"{name} has no data: define data, a dict of the model's arguments, or give --data"


def check_guides(user: UserModel, data: UserData, names: Sequence[str]) -> UserData:
    """Run each of these guides that is a user's once, and compare its sites with the model's.

    Returns:
        The data, with notes on the guides' params.

    Raises:
        ValueError: it cannot be run, has other sites than the model, or params that are not its own.
    """
    notes: list[str] = []
    for name in names:
        guide = guides.find(user.name, name)
        if guide is not None:
            import_module(f"compare.user_model.guide_{user.library}").check(user, guide, data.values, data.layout)
            notes += given_params.notes_on(guide.params or {})
    return replace(data, layout=replace(data.layout, notes=(*data.layout.notes, *notes)))


def bring(
    user: UserModel, data: Any, chosen: Sequence[str] | None, given: Any, params: str | None
) -> tuple[UserData, bool]:
    """The data, with the draws and the params of a guide that are given, else those that stand beside the model.

    Args:
        user: The model.
        data: Its data, as for `data_of`.
        chosen: The guides that are requested; all that the model has where None is given.
        given: Draws, or a file of them.
        params: A file with the params of the guide that stands beside the model.

    Returns:
        The data, with notes on the params, and whether there are draws.

    Raises:
        ValueError: draws or params that are not this model's, or this guide's; a guide with other sites.
    """
    if params is not None and "guide" not in user.beside:
        raise ValueError(f"params {params}: there is no guide beside the model that they could be of; define guide")
    known = params if params is not None else user.beside.get("params")
    trained = None
    if "guide" in user.beside and known is not None:
        trained = given_params.params_in(known, user.library)
        name = guides.add(user.name, user.beside["guide"], trained)
        if params is not None and chosen is not None and name not in chosen:
            raise ValueError(f"params {params}: they are of guide {name!r}, which is not among --guides; add it there")
    brought = check_guides(user, data_of(user, data, trained), user.model.guides if chosen is None else chosen)
    given = user.beside.get("draws") if given is None else given
    if given is None or isinstance(given, int | float):  # how many draws to make is another matter
        return brought, False
    from compare.user_model import draws  # with xarray, which is slow to import

    draws.add(user.name, given, brought.layout)
    draws.refuse_outside(user.name, user.library, brought.values)
    return brought, True
