"""Mutation testing: do the tests notice a small mistake, wherever it is, in the modules that decide what users read?

    python -m tests.experiments.mutants run FILE [--count N] [--modules NAME ...] [--seed S]
    python -m tests.experiments.mutants again FILE     run the survivors that are not explained once more
    python -m tests.experiments.mutants show FILE      print the survivors that are not explained
    python -m tests.experiments.mutants table FILE     print the scores in Markdown, as in tests/README.md

A mutant is a module with one mistake: another operator, a constant one larger or smaller, a negated condition, a lost
argument, ``mcse`` for ``value``. A seeded sample is drawn of each module, place by place. A server process imports the
libraries and nothing of this project; it forks a child for each mutant, in which an import hook supplies the module
with its mistake and pytest runs the tests that should notice it. FILE has one JSON object a line; a run that was
interrupted is resumed. Most mutants are made by Cosmic Ray (``pip install cosmic-ray``).
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import re
import resource
import select
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from itertools import islice
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from tests.experiments.equivalent_mutants import EQUIVALENT, TESTS

ROOT = Path(__file__).parents[2]

OURS = ("models", "guides", "compare", "tests", "conftest", "experiments", "battery", "faults", "__main__")

COLUMNS = ("module", "mutants", "caught at first", "caught", "survived, equivalent", "survived, others", "score")
COLUMNS += ("score without the equivalent",)

MEMORY = 16 << 30
"""Bytes of address space that a child may take."""


@dataclass(frozen=True)
class Mutant:
    """A module with one mistake, and what is known of it once it was run.

    Attributes:
        module: The module's name.
        line: The first line that differs.
        operator: What made the mistake.
        old: That line, and others that differ, without the mistake.
        new: The same with it.
        outcome: ``caught``, ``survived`` or ``timeout``; empty before it ran.
        by: The test that failed first.
        seconds: How long the tests took.
    """

    module: str
    line: int
    operator: str
    old: str
    new: str
    outcome: str = ""
    by: str = ""
    seconds: float = 0.0

    @property
    def key(self) -> tuple[str, ...]:
        return self.module, self.operator, self.old, self.new


def path_of(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def essence(source: str) -> str:
    """What a source does: without annotations, docstrings, lists of names, and what only guards, such as assertions."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign | ast.arg):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.FunctionDef | ast.Lambda):
            node.returns = None
        elif isinstance(node, ast.Call):
            node.keywords = [keyword for keyword in node.keywords if keyword.arg not in ("strict", "frozen")]
        for name in ("body", "orelse"):
            if isinstance(body := getattr(node, name, None), list):
                setattr(node, name, [line for line in body if not is_idle(line)] or [ast.Pass()])
    return ast.dump(tree)


def is_idle(line: ast.stmt) -> bool:
    is_list = isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "__all__"
    is_text = isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)
    return is_list or is_text or isinstance(line, ast.Assert)


def mutants(module: str, seed: int, known: Iterable[Mutant] = ()) -> Iterator[tuple[Mutant, str]]:
    """All mutants of a module with their sources, in an order in which every place has its turn.

    Of ``known`` mutants, where they are given, and few others besides.
    """
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code

    from tests.experiments._mutation_operators import OPERATORS

    source = path_of(module).read_text(encoding="utf-8")
    nodes = list(ast_nodes(get_ast(source)))
    places: dict[Any, list[tuple[Any, int, int]]] = {}
    for operator in OPERATORS:
        for occurrence, place in enumerate(p for node in nodes for p in operator.mutation_positions(node)):
            places.setdefault(place, []).append((operator, occurrence, place[0][0]))
    rng, turns = random.Random(f"{seed} {module}"), list(places.values())
    rng.shuffle(turns)
    for several in turns:
        rng.shuffle(several)
    seen = {essence(source)}
    lines = [" ".join(line.split()) for line in source.splitlines()]
    for turn in range(max(map(len, turns), default=0)):
        for operator, occurrence, position in (several[turn] for several in turns if turn < len(several)):
            name, line = operator_name(operator), lines[position - 1]
            if known and not any(name == row.operator and line in row.old for row in known):
                continue
            wrong = mutate_code(source, operator, occurrence)
            try:
                meaning = essence(wrong)
                compile(wrong, module, "exec")
            except SyntaxError:
                continue
            if meaning not in seen:
                seen.add(meaning)
                yield describe(module, name, source, wrong), wrong


def operator_name(operator: Any) -> str:
    return re.sub("Replacer?", "", type(operator).__name__)


def describe(module: str, operator: str, source: str, wrong: str) -> Mutant:
    left, right = source.splitlines(), wrong.splitlines()
    first = next(n for n, (a, b) in enumerate(zip(left, right, strict=False)) if a != b)
    last = next(n for n, (a, b) in enumerate(zip(left[::-1], right[::-1], strict=False)) if a != b)
    old, new = (" ".join(" ".join(lines[first : max(len(lines) - last, first + 1)]).split()) for lines in (left, right))
    return Mutant(module, first + 1, operator, old, new)


class Hook(SourceFileLoader):
    """Finds and loads one module, with its mistake."""

    def __init__(self, module: str, source: str) -> None:
        super().__init__(module, str(path_of(module)))
        self.wrong = source

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return spec_from_file_location(name, self.path, loader=self) if name == self.name else None

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.wrong, self.path, "exec", dont_inherit=True)


class Recorder:
    """A plugin of pytest: the first test, or file, that failed."""

    by = ""

    def pytest_runtest_logreport(self, report) -> None:
        self.by = self.by or (report.nodeid if report.failed else "")

    def pytest_collectreport(self, report) -> None:
        self.by = self.by or (report.nodeid if report.failed else "")


def child(module: str, source: str, pipe: int) -> None:
    """Run the module's tests with this source and write to the pipe which failed and what was imported."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    sys.meta_path.insert(0, Hook(module, source))
    recorder = Recorder()
    arguments = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", *TESTS[module]]
    code = int(pytest.main(arguments, plugins=[recorder]))
    libraries = [name for name in sys.modules if name.partition(".")[0] not in OURS and not name.startswith("test_")]
    os.write(pipe, json.dumps([code, recorder.by or (f"pytest ended with {code}" if code else ""), libraries]).encode())
    os._exit(0)


def run_tests(module: str, source: str, limit: float) -> tuple[str, str, float, list[str]]:
    """The outcome, the test that failed, the seconds, and the libraries that were imported."""
    start, (here, there) = time.monotonic(), os.pipe()
    process = os.fork()
    if not process:
        try:
            child(module, source, there)
        finally:
            os._exit(1)  # an error of the mutant's that pytest does not catch
    os.close(there)
    written, text = b"", b" "
    while text and (left := start + limit - time.monotonic()) > 0:
        ready = select.select([here], [], [], left)[0]
        text = os.read(here, 1 << 16) if ready else b" "
        written += text if ready else b""
    os.close(here)
    with suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
    seconds = time.monotonic() - start
    if text:
        return "timeout", "", seconds, []
    code, by, libraries = json.loads(written) if written else (1, "the process died", [])
    return "caught" if code else "survived", by, seconds, libraries


def warm(module: str) -> float:
    """Import the libraries that a module's tests need, and measure how long the tests take without a mistake."""
    source = path_of(module).read_text(encoding="utf-8")
    for _ in range(2):  # the first compiles and imports
        outcome, by, seconds, libraries = run_tests(module, source, 600)
        if outcome != "survived":
            raise SystemExit(f"{module}: without a mistake the tests give: {outcome}, {by}")
        for name in libraries:
            with suppress(Exception):
                import_module(name)
    threads = re.search(r"Threads:\s+(\d+)", Path("/proc/self/status").read_text())
    print(
        f"{module}: {seconds:.1f} s without a mistake; threads: {threads and threads[1]}", file=sys.stderr, flush=True
    )
    return seconds


def read(file: Path, first: bool = False) -> dict[tuple, Mutant]:
    """The mutants that were run, the last outcome of each, or the first, but for lines that were rewritten since."""
    rows = [Mutant(**json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []
    sources = {row.module: " ".join(path_of(row.module).read_text(encoding="utf-8").split()) for row in rows}
    return {row.key: row for row in (rows[::-1] if first else rows) if row.old in sources[row.module]}


def run(file: Path, chosen: Iterable[tuple[Mutant, str]]) -> None:
    """Run mutants and append their outcomes to the file."""
    limits: dict[str, float] = {}
    for mutant, source in chosen:
        if mutant.module not in limits:
            limits[mutant.module] = 30 + 4 * warm(mutant.module)
        outcome, by, seconds, _ = run_tests(mutant.module, source, limits[mutant.module])
        row = asdict(mutant) | {"outcome": outcome, "by": by, "seconds": round(seconds, 1)}
        with file.open("a") as stream:
            stream.write(json.dumps(row) + "\n")
        print(f"{outcome} {seconds:.1f} s {mutant.module}:{mutant.line} {mutant.new[:90]}", file=sys.stderr, flush=True)


def again(rows: Iterable[Mutant], seed: int) -> Iterator[tuple[Mutant, str]]:
    """These mutants once more, as far as their lines still stand."""
    for module in TESTS:
        if mine := [row for row in rows if row.module == module]:
            keys = {row.key for row in mine}
            yield from (pair for pair in mutants(module, seed, mine) if pair[0].key in keys)


def is_equivalent(mutant: Mutant) -> bool:
    return any(part in mutant.new for part in EQUIVALENT.get(mutant.module, {}))


def unexplained(file: Path) -> list[Mutant]:
    return [row for row in read(file).values() if row.outcome == "survived" and not is_equivalent(row)]


def table(file: Path) -> None:
    """Print the scores, and how many were caught at first; of the survivors those that are explained are equivalent."""
    rows: dict[str, list[Mutant]] = {}
    for row in read(file).values():
        rows.setdefault(row.module, []).append(row)
    rows["all"] = [row for several in rows.values() for row in several]
    first = read(file, first=True)
    print(f"| {' | '.join(COLUMNS)} |\n| --- {'| ---: ' * (len(COLUMNS) - 1)}|")
    for module, several in rows.items():
        survivors = [row for row in several if row.outcome == "survived"]
        equivalent = sum(is_equivalent(row) for row in survivors)
        count, caught = len(several), len(several) - len(survivors)
        early = sum(first[row.key].outcome != "survived" for row in several)
        cells = [count, early, caught, equivalent, count - caught - equivalent]
        scores = [f"{caught / total:.0%}" for total in (count, count - equivalent)]
        print("|", " | ".join([f"`{module}`" if module != "all" else module, *map(str, cells), *scores]), "|")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["run", "again", "show", "table"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--modules", nargs="+", default=list(TESTS))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    os.chdir(ROOT)
    if given.command == "table":
        table(given.file)
    elif given.command == "show":
        for row in unexplained(given.file):
            print(f"{row.module}:{row.line} {row.operator}\n  - {row.old}\n  + {row.new}")
    elif given.command == "again":
        run(given.file, again([row for row in unexplained(given.file) if row.module in given.modules], given.seed))
    else:
        done = read(given.file)
        sampled = (pair for module in given.modules for pair in islice(mutants(module, given.seed), given.count))
        run(given.file, (pair for pair in sampled if pair[0].key not in done))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="programs-") as programs:  # what one child compiles serves the others
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", programs)
        os.environ |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "OMP_NUM_THREADS": "1"}
        main()
