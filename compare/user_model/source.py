"""Where a user's model stands, and which library it is written in."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from compare.messages import one_line
from compare.user_model.drawing import DRAWN
from compare.user_model.handlers import ROOTS, innermost
from models.contract import nearest


def is_model_spec(name: str) -> bool:
    """Whether a name says where a model stands: ``my_model.py``, ``my_model.py:model``, ``package.module:model``."""
    place, _, function = name.partition(":")
    return place.endswith(".py") or bool(function and place)


def stem(reference: str) -> str:
    """A reference's short name, for a folder: its file, and its function unless that is called ``model``."""
    place, _, function = reference.partition(":")
    short = Path(place).stem if place.endswith(".py") else place.rpartition(".")[2]
    return f"{short}-{function}" if function and function != "model" else short


def locate(reference: str, library: str | None = None) -> tuple[Callable[..., Any], dict[str, Any], str | None]:
    """The model, the names that stand beside it, and its library as far as its file's imports tell.

    The library is prepared (float64) before the user's code runs, so that arrays made there are what they should be.

    Raises:
        ValueError: there is no such file, module or model, or its code ends in an error.
    """
    place, _, name = reference.partition(":")
    name = name or "model"
    path = path_of(place)
    known = {library} if library else libraries_in(path)
    watched: AbstractContextManager[set[str]] = nullcontext(set())
    if len(known) == 1:
        (library,) = known
        if library in ROOTS.values() and importlib.util.find_spec(library):
            import_module(f"compare.user_model.in_{library}")
            watched = import_module(f"compare.user_model.process_{library}").watch_draws()
    with watched as drawn:
        module = run(place, path)
    if not callable(getattr(module, name, None)):
        own = [n for n, v in vars(module).items() if inspect.isfunction(v) and v.__module__ == module.__name__]
        hint = nearest(name, own) if own else "define one"
        raise ValueError(f"{place} has no function {name!r}; {hint}")
    return getattr(module, name), vars(module) | {DRAWN: bool(drawn)}, library


def path_of(place: str) -> Path:
    """The file of a model's module.

    Raises:
        ValueError: there is none.
    """
    if place.endswith(".py"):
        try:
            if not Path(place).is_file():
                raise ValueError(f"no file {place!r}; name a Python file with a model and its data")
        except OSError as error:
            raise ValueError(f"{place} cannot be read ({error.strerror}); name a Python file with a model") from None
        return Path(place).resolve()
    try:
        spec = importlib.util.find_spec(place)
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None:
        raise ValueError(f"no module {place!r}; give a file such as my_model.py, or package.module:model")
    return Path(spec.origin)


def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file; empty where it has none: what is wrong is said when it is run."""
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module([], [])


def under_main_guard(reference: str) -> set[str]:
    """The names that a model's file gives under ``if __name__ == "__main__"``."""
    body = parsed(path_of(reference.partition(":")[0])).body
    guards = [part for part in body if isinstance(part, ast.If) and "__main__" in ast.dump(part.test)]
    nodes = [node for guard in guards for node in ast.walk(guard)]
    return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def libraries_in(path: Path) -> set[str]:
    tree = parsed(path)
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    return {ROOTS[name.split(".")[0]] for name in names if name.split(".")[0] in ROOTS}


_neighbours: set[str] = set()
"""Names of the modules that the last model's file imported from its own folder."""


def run(place: str, path: Path) -> ModuleType:
    """The module; a file is run anew, with the modules beside it that it or another model's file brought in.

    Raises:
        ValueError: its code ends in an error.
    """
    try:
        if not place.endswith(".py"):
            return import_module(place)
        name = f"own_{path.stem}"
        while _neighbours:
            sys.modules.pop(_neighbours.pop(), None)
        before, folder = set(sys.modules), str(path.parent)
        sys.path[:] = [folder, *(entry for entry in sys.path if entry != folder)]
        importlib.invalidate_caches()
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} is no Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        writes_none = sys.dont_write_bytecode
        sys.dont_write_bytecode = (
            True  # that of a file which is changed within a second, at equal length, is not made anew
        )
        try:
            spec.loader.exec_module(module)
        finally:
            sys.dont_write_bytecode = writes_none
            _neighbours.update(new for new in set(sys.modules) - before if is_beside(new, path))
    except Exception as error:
        raise ValueError(f"{place} ends in an error when it is read: {one_line(error)}") from error
    return module


def is_beside(name: str, path: Path) -> bool:
    """Whether a loaded module is another file in the folder of this one."""
    place = Path(getattr(sys.modules[name], "__file__", None) or "/")
    return name != f"own_{path.stem}" and place.parent == path.parent


def library_of(function: Callable[..., Any], library: str | None = None) -> str:
    """The library that a model is written in, ``numpyro`` or ``pyro``: as told, or by the names that it uses.

    Raises:
        ValueError: it is named wrongly, is not installed, or cannot be inferred.
    """
    if library is None:
        used = libraries_used(function)
        if len(used) != 1:
            why = "it uses both" if used else "it uses neither by name"
            raise ValueError(f"is the model written in NumPyro or in Pyro ({why})? Say library numpyro or pyro")
        (library,) = used
    if library not in ROOTS.values():
        raise ValueError(f"no library named {library!r}; {nearest(library, sorted(set(ROOTS.values())))}")
    if not importlib.util.find_spec(library):
        raise ValueError(f"the model is written in {library}, which is not installed")
    return library


def libraries_used(function: Callable[..., Any]) -> set[str]:
    """By what the model's code names or imports; where that shows none, by all of its module's globals."""
    inner = innermost(function)
    homes = [getattr(inner, "__module__", None) or "", *(kind.__module__ for kind in type(inner).__mro__)]
    roots = {home.split(".")[0] for home in homes}
    if not hasattr(inner, "__code__"):
        inner = getattr(type(inner), "forward", None) or type(inner).__call__
    names, code = getattr(inner, "__globals__", {}), getattr(inner, "__code__", None)
    used: list[Any] = []
    if inspect.isfunction(inner) or inspect.ismethod(inner):
        known = inspect.getclosurevars(inner)
        used = [*known.globals.values(), *known.nonlocals.values()]
    roots |= {name.split(".")[0] for name in getattr(code, "co_names", ())} & ROOTS.keys()  # imported inside
    for values in (used, list(names.values())):
        modules = [v.__name__ if isinstance(v, ModuleType) else str(getattr(v, "__module__", "")) for v in values]
        libraries = {ROOTS[root] for root in roots | {name.split(".")[0] for name in modules} if root in ROOTS}
        if libraries:
            return libraries
    return set()
