"""The params of a fit that its user made: taken from whatever holds them, and checked against the guide."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from compare.user_model.guides import listed


def guide_in(svi: Any, guide: Any) -> Any:
    """The guide of a library's SVI object; the other guide where that is None.

    Raises:
        ValueError: it is no such object, or there are two guides.
    """
    if svi is None:
        return guide
    if guide is not None:
        raise ValueError("svi= has a guide of its own: give it, or guide=, but not both")
    if not callable(getattr(svi, "guide", None)):
        raise ValueError(f"svi is a {type(svi).__name__}: give the library's SVI object, SVI(model, guide, ...)")
    return svi.guide


def params_in(given: Any, library: str, svi: Any = None) -> Mapping[str, Any]:
    """A guide's params as its user gave them: a dict, the result or the state of a run, a param store, or a file.

    Args:
        given: The params.
        library: The library of the guide.
        svi: The library's SVI object, which knows the params in a state.

    Raises:
        ValueError: they are something else.
    """
    if isinstance(given, str | Path):
        if library == "pyro" and Path(given).suffix != ".npz":
            stored: Mapping[str, Any] = import_module(f"compare.user_model.store_{library}").read(given)
            return stored
        return read_params(given)
    if hasattr(given, "optim_state"):
        if not hasattr(svi, "get_params"):
            raise ValueError("params is the state of a run: give svi= too, or params=svi.get_params(state)")
        given = svi.get_params(given)
    params = getattr(given, "params", given)  # the result of a run
    if not isinstance(params, Mapping) and hasattr(params, "named_parameters") and hasattr(params, "items"):
        params = dict(params.items())  # a param store
    if not isinstance(params, Mapping):
        raise ValueError(
            f"params is a {type(params).__name__}: give a dict of arrays by the names of the guide's params"
        )
    return params


def read_params(path: Path | str) -> dict[str, Any]:
    """The params in a file of NumPy's (``np.savez("fit.npz", **params)``).

    Raises:
        ValueError: there is no such file, or it holds something else.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except OSError as error:
        raise ValueError(f"params {path} cannot be read: {error.strerror or error}") from None
    except (ValueError, AttributeError):
        raise ValueError(
            f"params {path} is no .npz file of arrays; write it by np.savez('fit.npz', **params)"
        ) from None


def refuse_params(name: str, given: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ValueError for params that are not this guide's, of other shapes, or not finite.

    Args:
        name: The guide.
        given: Arrays by name.
        shapes: The shapes of the guide's own params.
    """
    for param, shape in shapes.items():
        if param not in given:
            raise ValueError(
                f"params: there is no {param!r}, a param of guide {name!r}; there is {listed(given)}: {why_none(given)}"
            )
        value = np.asarray(given[param])
        if value.shape != tuple(shape):
            raise ValueError(f"params: {param!r} has shape {value.shape}, in guide {name!r} {tuple(shape)}")
        if not np.isfinite(value).all():
            raise ValueError(f"params: {param!r} is not finite (NaN or infinite): the fit diverged; train it again")


def why_none(given: Mapping[str, Any]) -> str:
    """What params without the guide's names may be."""
    if any(name.endswith("_unconstrained") for name in given):  # torch's names for what Pyro constrains
        return "these are a module's state_dict; give the param store, pyro.get_param_store(), or a file that it saved"
    return "these are another guide's, or it was not trained"


def unconstrained(param: str, value: Any, transform: Any, constraint: str) -> Any:
    """A param's unconstrained value.

    Raises:
        ValueError: it lies outside its constraint, so that transforming it there and back changes it.
    """
    free = transform.inv(value)
    given, inner, again = (np.asarray(part, dtype=float) for part in (value, free, transform(free)))
    is_right = np.isclose(again, given, rtol=1e-4, atol=1e-6)
    if inner.shape == given.shape:
        is_right &= np.isfinite(inner)
    if not is_right.all() or not np.isfinite(inner).all():
        wrong = given[~is_right]
        shown = f"{wrong[0]:.4g}" if wrong.size and inner.shape == given.shape else np.array2string(given, precision=4)
        raise ValueError(f"params: {param!r} lies outside its constraint ({constraint}): {' '.join(shown.split())}")
    return free


def constraint_name(constraint: Any, known: Mapping[str, Any]) -> str:
    """What a library calls a constraint; ``known`` are the names in its module of constraints."""
    name = next((name for name, value in known.items() if value is constraint), None)
    return name or type(constraint).__name__.strip("_")


def notes_on(params: Mapping[str, Any]) -> tuple[str, ...]:
    """What a reader should know of given params."""
    if any(str(getattr(value, "dtype", "")).endswith("float32") for value in params.values()):
        return ("the given params are float32; they, and a copy that goes on from them, are measured in float64",)
    return ()
