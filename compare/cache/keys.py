"""The keys of fits and reports: hashes of a document that names everything they depend on.

That is the data by their content, the source of every file that decides the numbers, the versions of Python and of the
packages, the kind of machine, and the environment variables that the libraries read. `joblib.hash` would hash functions
by their names, and tell a list from a tuple and one copy of a string from another.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import sys
import sysconfig
from collections.abc import Callable, Iterable, Mapping
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

import guides
from compare import user_model
from compare.registry import LIBRARIES

if TYPE_CHECKING:
    from compare.comparison import Job, Request

FORMAT = 2
"""The version of the entries; those of another version are not used."""

ROOT = Path(__file__).parents[2]
"""The folder of models, guides and compare."""

COMMON = ("numpy", "scipy", "xarray", "arviz_base", "arviz_stats", "scikit-learn", "pandas", "threadpoolctl")
PACKAGES = {
    "numpyro": ("numpyro", "jax", "jaxlib", "optax", "equinox", "flax"),
    "pyro": ("pyro-ppl", "torch"),
}
REPORT_PACKAGES = ("arviz_plots", "matplotlib", "jinja2", "rich", "h5netcdf", "h5py")

ENVIRONMENT = ("JAX_", "XLA_", "NUMPYRO_", "PYRO_")
"""Prefixes of environment variables that can affect results."""

FIT_SOURCES = (
    "compare/fit/**/*",
    "compare/user_model/**/*",
    "compare/comparison.py",
    "compare/messages.py",
    "compare/options.py",
    "compare/registry.py",
    "compare/standard_errors.py",
    "compare/summary.py",
    "models/*",
    "guides/*",
)
REPORT_SOURCES = ("compare/**/*", "guides/**/*", "models/*")

NOT_SOURCE = (".pyc", ".png")


class Uncacheable(TypeError):
    """A value that cannot be hashed, so results that depend on it are not cached."""


def digest(document: Mapping[str, Any]) -> str:
    """The key of a document."""
    return sha256(json.dumps(document, sort_keys=True).encode())


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def canonical(value: Any) -> Any:
    """A value in JSON's types, the same for the same content: arrays by their hash, floats to the last digit.

    Raises:
        Uncacheable: it is or holds something that has no content of its own, such as a function.
    """
    if type(value) in (bool, int, str, type(None)):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return canonical_array(np.asarray(value))
    if isinstance(value, float):
        return ["float", value.hex()]
    if isinstance(value, bytes):
        return ["bytes", sha256(value)]
    if isinstance(value, int | str | PurePath):
        return [type(value).__name__, str(value)]
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
    is_code = callable(value) and not isinstance(type(value).__call__, FunctionType)
    if isinstance(value, type | ModuleType) or is_code or not hasattr(value, "__dict__"):
        raise Uncacheable(f"a {type(value).__name__} cannot be hashed")
    return {"type": f"{type(value).__module__}.{type(value).__qualname__}", "attributes": canonical(attributes(value))}


def canonical_array(value: np.ndarray) -> list[Any]:
    if value.dtype.kind in "biufcSUmM":
        content: Any = sha256(np.ascontiguousarray(value).tobytes())
    else:
        content = [canonical(item) for item in value.ravel().tolist()]
    return ["array", value.dtype.str, list(value.shape), content]


def attributes(value: Any) -> dict[str, Any]:
    """The attributes of an object, but for cached properties."""
    computed = {
        name for kind in type(value).__mro__ for name, entry in vars(kind).items() if isinstance(entry, cached_property)
    }
    slots = [field.name for field in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else []
    every = {name: getattr(value, name) for name in slots} | vars(value)
    return {name: entry for name, entry in every.items() if name not in computed}


def hash_sources(patterns: Iterable[str], without: Iterable[str] = ()) -> dict[str, str]:
    """The hash of each source file by its path below `ROOT`, but of files named for a library in ``without``."""
    suffixes = tuple(f"_{library}" for library in without)
    hashes = {}
    for path in sorted({path for pattern in patterns for path in ROOT.glob(pattern)}):
        name = path.relative_to(ROOT)
        hidden = any(part.startswith((".", "__pycache__")) for part in name.parts)
        if not hidden and path.suffix not in NOT_SOURCE and not path.stem.endswith(suffixes) and path.is_file():
            hashes[name.as_posix()] = sha256(path.read_bytes())
    return hashes


def fit_sources(model: str, library: str, guide: str | None) -> dict[str, str]:
    """The hash of every file that decides the numbers of a fit, a user's own files included."""
    families = [guide, *guides.load(guide).built_on] if guide in guides.FAMILIES else []
    patterns = [*FIT_SOURCES, *(f"guides/{family}/**/*" for family in families)]
    user = find_user_sources(model)
    patterns += [f"models/{model}/**/*"] if user is None else []
    house = hash_sources(patterns, without=[side for side in LIBRARIES if side != library])
    house.pop("models/__init__.py", None)  # the list of the other models
    return house | (user or {})


def user_sources(function: Callable[..., Any]) -> dict[str, str]:
    """The hash of the file of a user's model and of every loaded module that is neither ours nor installed.

    Where the model itself is installed, the modules of its package are included.
    """
    kinds = ("stdlib", "platstdlib", "purelib", "platlib")
    places = [Path(sysconfig.get_path(kind)).resolve() for kind in kinds]
    places += [ROOT / name for name in ("models", "guides", "compare")]
    package = str(getattr(function, "__module__", "")).partition(".")[0]
    hashes = {}
    for name, module in sorted(sys.modules.items()):
        path = Path(getattr(module, "__file__", None) or os.devnull).resolve()
        installed = {"site-packages", "dist-packages"} & set(path.parts) or any(map(path.is_relative_to, places))
        if path.is_file() and (not installed or name.partition(".")[0] == package):
            hashes[name] = sha256(path.read_bytes())
    return hashes


def find_user_sources(model: str) -> dict[str, str] | None:
    """`user_sources` of a user's model; None for a model of the catalogue."""
    return user_sources(user_model.find(model).function) if user_model.knows(model) else None


@cache
def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """The versions of those packages that are installed."""
    installed = {}
    for package in packages:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            continue
    return installed


def surroundings(packages: tuple[str, ...]) -> dict[str, Any]:
    """What besides source and data decides the numbers."""
    return {
        "format": FORMAT,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "machine": f"{platform.system()} {platform.machine()}",
        "versions": versions(packages),
        "environment": {name: value for name, value in sorted(os.environ.items()) if name.startswith(ENVIRONMENT)},
    }


def canonical_fields(value: Any, without: Iterable[str]) -> dict[str, Any]:
    return {
        field.name: canonical(getattr(value, field.name))
        for field in dataclasses.fields(value)
        if field.name not in without
    }


def fit_document(job: Job, library: str, source: Mapping[str, str]) -> dict[str, Any]:
    """What a fit depends on; its layout follows from the data and the source, which `fit_sources` gives.

    Raises:
        Uncacheable: the job holds a value that cannot be hashed.
    """
    return {
        "kind": "fit",
        "job": canonical_fields(job, without=["layout"]),
        "sources": dict(source),
        **surroundings(COMMON + PACKAGES[library]),
    }


def report_document(request: Request) -> dict[str, Any]:
    """What a finished report depends on: all that its fits do, and the source of what measures, judges and reports.

    Raises:
        Uncacheable: the request holds a value that cannot be hashed.
    """
    name = request.model.name
    if request.draws or any(user_model.guides.find(name, guide) for guide in request.guides):
        raise Uncacheable("what a user brought cannot be hashed")
    user = find_user_sources(name)
    source = hash_sources([*REPORT_SOURCES, *([f"models/{name}/**/*"] if user is None else [])])
    return {
        "kind": "report",
        "model": name,
        "request": canonical_fields(request, without=["model"]),
        "sources": source | (user or {}),
        **surroundings((*COMMON, *PACKAGES["numpyro"], *PACKAGES["pyro"], *REPORT_PACKAGES)),
    }
