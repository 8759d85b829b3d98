"""Planted faults: deliberate mistakes in the real parts of the zoo, and what must catch each of them.

A fault is a piece of a module's source and what stands there instead. `planted` puts it into the running process: every
function of the module whose code differs gets the other code, so that every reference to it, wherever it is held, does
the wrong thing; constants are set anew. What was compiled or computed before is forgotten, and again at the end, when
everything is put back.
"""

from __future__ import annotations

import ast
import functools
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

__all__ = ["Fault", "complaint", "planted"]

OURS = ("models", "guides", "compare", "battery")


@dataclass(frozen=True)
class Fault:
    """A mistake: in the source of ``module`` stands ``new`` where ``old`` stands, once.

    ``model`` and ``library`` say where it is felt ("all": anywhere). ``caught_by`` names a check of the quick battery,
    or a test (``test_file.test_name``), which is called with ``arguments``. ``slow``: the catch takes long.
    """

    name: str
    module: str
    old: str
    new: str
    model: str
    library: str
    caught_by: str
    arguments: dict[str, Any] = field(default_factory=dict)
    slow: bool = False


def complaint(fault: Fault) -> str | None:
    """What the check or test that must catch a fault complains of now, in one line; None where all is well.

    Any other error than a complaint is raised: a fault that makes a program crash is no test of a check.
    """
    if fault.caught_by.startswith("test_"):
        file, _, name = fault.caught_by.partition(".")
        test = getattr(import_module(file), name)
        try:
            test(**fault.arguments)
        except (AssertionError, pytest.fail.Exception) as error:
            return " ".join(str(error).split()) or "an assertion failed"
        return None
    from battery.checks import CHECKS

    return CHECKS[fault.caught_by]()


@contextmanager
def planted(fault: Fault) -> Iterator[None]:
    """The zoo with this fault.

    Raises:
        ValueError: the old text is not there exactly once, or nothing that runs differs with the new one.
    """
    module = import_module(fault.module)
    source = Path(module.__file__).read_text(encoding="utf-8")
    if source.count(fault.old) != 1:
        raise ValueError(f"{fault.name}: {fault.old!r} is {source.count(fault.old)} times in {fault.module}")
    wrong = source.replace(fault.old, fault.new)
    codes, constants = changed_codes(module, source, wrong), changed_constants(module, source, wrong)
    functions, caches = held(module)
    changed = [
        (function, function.__code__, codes[key(function.__code__)])
        for function in functions
        if key(function.__code__) in codes
    ]
    if not changed and not constants:
        raise ValueError(f"{fault.name}: nothing that runs is different")
    right = {key(code): code for code in inside(compile(source, module.__file__, "exec", dont_inherit=True))}
    restored = {id(code): right[place] for place, code in codes.items()}
    forget(caches)
    try:
        for function, _, code in changed:
            function.__code__ = code
        for holder, name, _, value in constants:
            setattr(holder, name, value)
        yield
    finally:
        for function, code, _ in changed:
            function.__code__ = code
        functions, caches = held(module)
        for function in functions:  # closures that a module imported meanwhile holds
            if id(function.__code__) in restored:
                function.__code__ = restored[id(function.__code__)]
        for holder, name, value, _ in constants:
            setattr(holder, name, value)
        forget(caches)


def held(module: ModuleType) -> tuple[list[FunctionType], list[Any]]:
    """The functions that stand in the module's source, and all caches of ours, wherever they are held.

    Functions refer to their module's names, and caches to their type: of the million objects that a process holds, only
    these are looked at.
    """
    functions, caches = [], []
    for holder in gc.get_referrers(vars(module), functools._lru_cache_wrapper):
        if type(holder) is FunctionType and holder.__code__.co_filename == module.__file__:
            functions.append(holder)
        elif type(holder) is functools._lru_cache_wrapper:
            home = (getattr(holder, "__module__", None) or "").partition(".")[0]
            if home in OURS or home.startswith("test_"):
                caches.append(holder)
    return functions, caches


def key(code: CodeType) -> tuple[str, int]:
    return code.co_qualname, code.co_firstlineno


def inside(code: CodeType) -> list[CodeType]:
    """The codes of all functions within, in the order in which they stand."""
    codes = []
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            codes += [constant, *inside(constant)]
    return codes


def essence(code: CodeType) -> tuple:
    """What a code does, wherever it stands."""
    constants = tuple(
        essence(constant) if isinstance(constant, CodeType) else (type(constant), constant)
        for constant in code.co_consts
    )
    return code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars, constants


def changed_codes(module: ModuleType, source: str, wrong: str) -> dict[tuple[str, int], CodeType]:
    """The codes that are different in the wrong source, by name and line in the right one."""
    right, other = (inside(compile(text, module.__file__, "exec", dont_inherit=True)) for text in (source, wrong))
    if [function.co_qualname for function in right] != [function.co_qualname for function in other]:
        raise ValueError(f"the functions of {module.__name__} are not the same with the fault")
    pairs = [(a, b) for a, b in zip(right, other, strict=True) if essence(a) != essence(b)]
    changed = {key(a): b for a, b in pairs}
    if any(sum(key(a) == key(function) for function in right) > 1 for a, _ in pairs):
        raise ValueError(f"two functions of {module.__name__} stand in one line: which of them is at fault?")
    return changed


def changed_constants(module: ModuleType, source: str, wrong: str) -> list[tuple[ModuleType, str, Any, Any]]:
    """The module's constants that are different in the wrong source, with both values, wherever they are held."""
    changes = []
    for right, other in zip(ast.parse(source).body, ast.parse(wrong).body, strict=True):
        if not isinstance(right, ast.Assign) or ast.dump(right) == ast.dump(other):
            continue
        scratch = dict(vars(module))
        exec(compile(ast.Module([other], []), module.__file__, "exec", dont_inherit=True), scratch)
        for name in {node.id for target in right.targets for node in ast.walk(target) if isinstance(node, ast.Name)}:
            value = getattr(module, name)
            holders = [holder for known, holder in list(sys.modules.items()) if known.partition(".")[0] in OURS]
            changes += [(holder, name, value, scratch[name]) for holder in holders if vars(holder).get(name) is value]
    return changes


def forget(caches: list[Any]) -> None:
    """Forget all that was compiled, fitted or found."""
    for cache in caches:
        cache.cache_clear()
    if "compare.fit.amortized.local_posteriors" in sys.modules:
        sys.modules["compare.fit.amortized.local_posteriors"]._best.clear()
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()
