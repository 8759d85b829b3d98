"""What a program needs of a file: the definitions that some names rest on, as they were written."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

OURS = ("models", "guides", "compare")
"""Packages whose definitions are written out: the program must run without them."""


def path_of(module: str) -> Path | None:
    """Where a module's source stands, None if there is none; it is not imported, though the packages above it are."""
    try:
        spec = importlib.util.find_spec(module)
    except ImportError:
        return None
    return Path(spec.origin) if spec and spec.origin else None


def definition(path: Path, name: str) -> ast.FunctionDef | None:
    """A file's function of that name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return next((node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name), None)


def bound(statement: ast.stmt) -> set[str]:
    """The names that a statement gives a meaning to, its own functions' and classes' insides aside."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name.split(".")[0] for alias in statement.names}
    names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for inner in ast.iter_child_nodes(statement):  # what an if or a try defines
        names |= bound(inner) if isinstance(inner, ast.stmt) else set()
    return names


def used(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


@dataclass
class Program:
    """A program on its way: the imports it needs, and its definitions in order.

    ``origins`` says of each name what it stands for, so that two meanings of one name are noticed.
    """

    imports: set[tuple[str, str, str]] = field(default_factory=set)
    definitions: list[str] = field(default_factory=list)
    origins: dict[str, str] = field(default_factory=dict)

    def add(self, path: Path, names: Iterable[str]) -> None:
        """Add what a file's ``names`` rest on, and themselves.

        Raises:
            ValueError: the file imports what a script cannot, or gives a name another meaning than an earlier one.
        """
        text = path.read_text(encoding="utf-8")
        body = ast.parse(text).body
        needed, waiting, names = set(), set(names), set(names)
        absent = names - set().union(*(bound(statement) for statement in body))
        if absent:
            raise ValueError(f"{path.name} defines no {min(absent)!r}")
        while waiting:
            name = waiting.pop()
            for number, statement in enumerate(body):
                if number not in needed and name in bound(statement):
                    needed.add(number)
                    waiting |= used(statement)
        names_needed = names.union(*(used(body[number]) for number in needed))
        for number in sorted(needed):
            statement = body[number]
            if isinstance(statement, ast.Import | ast.ImportFrom):
                self.add_import(statement, names_needed, path)
            else:
                self.add_definition(statement, text, path)

    def add_import(self, statement: ast.Import | ast.ImportFrom, names_needed: set[str], path: Path) -> None:
        """Add those of an import's names that are needed; what is imported from our own files is written out."""
        module = "" if isinstance(statement, ast.Import) else statement.module or ""
        if getattr(statement, "level", 0):
            raise ValueError(f"{path.name} has {ast.unparse(statement)!r}, which no script can: import it absolutely")
        aliases = [alias for alias in statement.names if (alias.asname or alias.name.split(".")[0]) in names_needed]
        if (module or aliases[0].name).split(".")[0] in OURS:
            place = path_of(module) if module else None
            if place is None or any(alias.asname for alias in aliases):
                raise ValueError(f"{path.name} has {ast.unparse(statement)!r}, which cannot be written out")
            self.add(place, [alias.name for alias in aliases])
            return
        for alias in aliases:
            self.claim(alias.asname or alias.name.split(".")[0], f"{module}:{alias.name}", path)
            self.imports.add((module, alias.name, alias.asname or ""))

    def add_definition(self, statement: ast.stmt, text: str, path: Path) -> None:
        """Add a statement as it stands in the file, with the comment above it."""
        lines = text.splitlines()
        first = (
            min([statement.lineno, *(decorator.lineno for decorator in getattr(statement, "decorator_list", []))]) - 1
        )
        while first and lines[first - 1].startswith("#"):
            first -= 1
        piece = "\n".join(lines[first : statement.end_lineno])
        for name in bound(statement):
            self.claim(name, piece, path)
        if piece not in self.definitions:
            self.definitions.append(piece)

    def claim(self, name: str, meaning: str, path: Path) -> None:
        """Note what a name stands for.

        Raises:
            ValueError: it already stands for something else.
        """
        if self.origins.setdefault(name, meaning) != meaning:
            raise ValueError(f"{name!r} of {path.name} has another meaning elsewhere in the program")

    def text(self, *before: str, after: str) -> str:
        """The program: what goes before, the imports among it, the definitions, and what comes after."""
        text, spacious = "\n\n".join(before), False
        for piece in [*self.definitions, after]:
            large = "\n" in piece.strip() or piece is after
            text += ("\n\n\n" if large or spacious else "\n") + piece
            spacious = large
        return text + "\n"

    def head(self) -> str:
        """The imports: the standard library's, the others', and the zoo's; modules before the names in them."""
        groups: dict[str, list[str]] = {"standard": [], "other": [], "zoo": []}
        plain = sorted((name, asname) for module, name, asname in self.imports if not module)
        for name, asname in plain:
            line = f"import {name} as {asname}" if asname else f"import {name}"
            groups[group_of(name)].append(line)
        for module in sorted({module for module, _, _ in self.imports if module}):
            names = sorted(
                ((name, asname) for origin, name, asname in self.imports if origin == module),
                key=lambda pair: (not pair[0].isupper(), pair[0][0].islower(), pair),
            )
            listed = ", ".join(f"{name} as {asname}" if asname else name for name, asname in names)
            groups[group_of(module)].append(f"from {module} import {listed}")
        return "\n\n".join("\n".join(lines) for lines in groups.values() if lines)


def group_of(module: str) -> str:
    """Where an import stands: "standard", "other" or "zoo"."""
    package = module.split(".")[0]
    if package == "models":
        return "zoo"
    return "standard" if package in sys.stdlib_module_names else "other"
