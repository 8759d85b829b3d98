"""What a fit and a report depend on, as a document, and the hash of it that is their key.

A document names: what is to be made (data by their content), the source of every file that decides the numbers, the
versions of the packages and of Python, the kind of machine, and the environment variables by which the libraries are
told what to do.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

import guides
import models
from compare import user_model

__all__ = [
    "Uncacheable",
    "canonical",
    "content",
    "digest",
    "fit_document",
    "own_sources",
    "report_document",
    "sources",
    "sources_of",
]

FORMAT = 1
"""Of the entries: a change of it leaves all earlier ones unused."""

HOUSE = {name: Path(__file__).parents[1] for name in ("compare",)} | {
    module.__name__: Path(module.__file__).parent for module in (models, guides)
}
"""The three folders of source by name."""

SIDES = ("numpyro", "pyro")

COMMON = ("numpy", "scipy", "xarray", "arviz_base", "arviz_stats", "scikit-learn", "pandas", "threadpoolctl")
PACKAGES = {
    "numpyro": ("numpyro", "jax", "jaxlib", "optax", "equinox", "flax"),
    "pyro": ("pyro-ppl", "torch"),
}
SHOWN = ("arviz_plots", "matplotlib", "jinja2", "rich", "h5netcdf", "h5py")
"""Packages that a report depends on besides."""

TOLD = ("JAX_", "XLA_", "NUMPYRO_", "PYRO_")
"""How the environment variables begin that may change what the libraries compute."""

UNREAD = (".pyc", ".png")
"""Files of the source folders that nothing is made from."""


class Uncacheable(TypeError):
    """Something whose content cannot be told, so that nothing that depends on it can be kept."""


def digest(document: Mapping[str, Any]) -> str:
    """The key of a document."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def canonical(value: Any) -> Any:
    """A value in JSON's types, the same for the same content: arrays by their hash, floats to the last digit.

    Raises:
        Uncacheable: it is, or holds, something that has no content of its own, such as a function.
    """
    if value is None or isinstance(value, bool | int | str):
        return value if type(value) in (bool, int, str, type(None)) else [type(value).__name__, str(value)]
    if isinstance(value, float) and not isinstance(value, np.generic):
        return ["float", value.hex()]
    if isinstance(value, PurePath):
        return ["path", str(value)]
    if isinstance(value, bytes):
        return ["bytes", hashlib.sha256(value).hexdigest()]
    if isinstance(value, np.ndarray | np.generic):
        return array(np.asarray(value))
    if hasattr(value, "subtree"):  # an xarray tree
        return {"tree": {node.path: canonical(node.to_dataset()) for node in value.subtree}}
    if hasattr(value, "to_dict") and hasattr(value, "dims"):  # an xarray dataset or array
        return {"xarray": canonical(value.to_dict(data="array"))}
    if isinstance(value, Mapping):
        return {"mapping": sorted(([canonical(key), canonical(item)] for key, item in value.items()), key=json.dumps)}
    if isinstance(value, set | frozenset):
        return {"set": sorted((canonical(item) for item in value), key=json.dumps)}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    code = callable(value) and not isinstance(type(value).__call__, FunctionType)
    if isinstance(value, type | ModuleType) or code or not hasattr(value, "__dict__"):
        raise Uncacheable(f"{type(value).__name__} has no content to be told by")
    return {"type": f"{type(value).__module__}.{type(value).__qualname__}", "holds": canonical(attributes(value))}


def array(value: np.ndarray) -> list[Any]:
    """An array's type, shape and hash."""
    if value.dtype.kind not in "biufcSUmM":
        return ["array", value.dtype.str, list(value.shape), [canonical(item) for item in value.ravel().tolist()]]
    flat = np.ascontiguousarray(value)
    return ["array", value.dtype.str, list(value.shape), hashlib.sha256(flat.tobytes()).hexdigest()]


def attributes(value: Any) -> dict[str, Any]:
    """What an object holds, but for what it has computed from that and cached."""
    computed = {
        name for kind in type(value).__mro__ for name, one in vars(kind).items() if isinstance(one, cached_property)
    }
    names = [field.name for field in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else []
    held = {name: getattr(value, name) for name in names}
    return {**held, **{name: one for name, one in vars(value).items() if name not in computed}}


def content(data: Any) -> Any:
    """A model's data: what they hold, and what they say to the fits, as far as they can yet say it.

    Raises:
        Uncacheable: they hold something that has no content of its own.
    """
    said: dict[str, Any] = {}
    for name in ("arguments", "shapes", "reported", "observed"):
        try:
            said[name] = getattr(data, name)()
        except Exception:  # such as the arguments of a model whose network is still to be learnt
            said[name] = None
    return canonical({"data": data} | said)


def hashes(paths: Iterable[Path], root: Path) -> dict[str, str]:
    """The hash of each file, by its path below ``root``."""
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(paths)}


def files(folder: Path, deep: bool = True) -> Iterator[Path]:
    """The files of a folder that something may be made from."""
    for path in folder.rglob("*") if deep else folder.glob("*"):
        hidden = any(part.startswith((".", "__pycache__")) for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden and path.suffix not in UNREAD:
            yield path


def another_side(path: Path, library: str | None) -> bool:
    """Whether a file is named for a library other than this one: by the library wall, the fit does not touch it."""
    return any(path.stem.endswith(f"_{side}") and side != library for side in SIDES)


def sources(model: str, library: str | None, guide: str | None, catalogued: bool = True) -> dict[str, str]:
    """The hash of every file of ours that decides the numbers of such a fit, by its path.

    The folders of the model and of the guide with what stands beside them, and the ways to fit; of each the files of
    this library and those of none.
    """
    beside = ("registry.py", "comparison.py", "summary.py", "options.py")
    chosen = [*files(HOUSE["compare"] / "fit"), *(HOUSE["compare"] / name for name in beside)]
    chosen += [path for path in files(HOUSE["models"], deep=False) if path.name != "__init__.py"]  # it only lists them
    chosen += files(HOUSE["guides"], deep=False)
    if guide is not None:
        chosen += files(HOUSE["guides"] / guide)
    chosen += files(HOUSE["models"] / model) if catalogued else files(HOUSE["compare"] / "user_model")
    wanted = [path for path in chosen if not another_side(path, library)]
    return {
        f"{name}/{path}": one
        for name, root in HOUSE.items()
        for path, one in hashes([path for path in wanted if path.is_relative_to(root)], root).items()
    }


def own_sources(function: Callable[..., Any]) -> dict[str, str]:
    """The hash of a user's model's file and of its neighbours: every module loaded here that is neither ours nor
    installed, and of an installed model all that is loaded of its package."""
    kinds = ("stdlib", "platstdlib", "purelib", "platlib")
    places = [*(Path(sysconfig.get_path(kind)).resolve() for kind in kinds), *HOUSE.values()]
    package = str(getattr(function, "__module__", "")).partition(".")[0]
    found = {}
    for name, module in sorted(sys.modules.items()):
        path = Path(getattr(module, "__file__", None) or os.devnull).resolve()
        installed = {"site-packages", "dist-packages"} & set(path.parts) or any(map(path.is_relative_to, places))
        if path.is_file() and (not installed or name.partition(".")[0] == package):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def sources_of(model: str) -> dict[str, str] | None:
    """Those of a user's own model; None for a model of the catalogue."""
    return own_sources(user_model.find(model).function) if user_model.knows(model) else None


def sources_of_fit(model: str, library: str | None, guide: str | None) -> dict[str, str]:
    """All sources that decide the numbers of a fit, ours and a user's."""
    mine = sources_of(model)
    return sources(model, library, guide, mine is None) | (mine or {})


@cache
def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """The versions of those that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def surroundings(packages: tuple[str, ...]) -> dict[str, Any]:
    """What besides source and data decides the numbers."""
    return {
        "format": FORMAT,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "machine": f"{platform.system()} {platform.machine()}",
        "versions": versions(packages),
        "environment": {name: value for name, value in sorted(os.environ.items()) if name.startswith(TOLD)},
    }


def fit_document(job: Any, read: Mapping[str, str]) -> dict[str, Any]:
    """What a fit depends on; ``read`` are the sources, as `sources_of_fit` has them.

    Raises:
        Uncacheable: the job holds something whose content cannot be told.
    """
    fields = {field.name: getattr(job, field.name) for field in dataclasses.fields(job)}
    data = fields.pop("data")
    return {
        "kind": "fit",
        "job": {name: canonical(value) for name, value in fields.items()},
        "data": content(data),
        "sources": dict(read),
        **surroundings(COMMON + PACKAGES.get(job.library, ())),
    }


def report_document(
    model: str, data: Any, asked: Sequence[Any], own: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What a finished report depends on: all that its fits do, and the source of what measures, judges and shows.

    Raises:
        Uncacheable: the data hold something whose content cannot be told.
    """
    chosen = {"compare": files(HOUSE["compare"]), "guides": files(HOUSE["guides"])}
    chosen["models"] = [*files(HOUSE["models"], deep=False), *(files(HOUSE["models"] / model) if own is None else ())]
    said = {f"{name}/{path}": one for name in HOUSE for path, one in hashes(chosen[name], HOUSE[name]).items()}
    packages = (*COMMON, *PACKAGES["numpyro"], *PACKAGES["pyro"], *SHOWN)
    return {
        "kind": "report",
        "model": model,
        "data": content(data),
        "asked": canonical(asked),
        "sources": said | dict(own or {}),
        **surroundings(packages),
    }
