"""``python -m compare all``: compare every model of the catalogue, and write one page of them all."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import guides
import models
from compare.atomic import explain_write_errors
from compare.cli.commands.compare import compare
from compare.cli.errors import check_writable
from compare.cli.options import OUT, Invocation, Parser, Settings, build, invoke
from compare.messages import one_line
from compare.options import Options, option_fields, parse_names
from compare.plan import needed_libraries
from models.contract import UnknownName, nearest
from models.options import option

if TYPE_CHECKING:
    from compare.execute.progress import Progress


@dataclass(frozen=True)
class Zoo:
    """Which models to compare."""

    models: tuple[str, ...] | None = option(
        tuple(models.CATALOGUE), "names separated by commas (default: the whole catalogue)", parse_names
    )
    page_only: bool = option(False, "fit nothing: write index.html anew from the summaries that are there")


@dataclass(frozen=True)
class Tour:
    """A checked command line: the models to compare by name, those that have none of the guides, and the settings."""

    invocations: dict[str, Invocation]
    left_out: tuple[str, ...]
    settings: Settings
    page_only: bool


def parse(arguments: Sequence[str]) -> Tour:
    """The checked command line; nothing has been done yet.

    Raises:
        ValueError: a bad option.
    """
    first = next(iter(models.CATALOGUE))
    for text, instead in (("--show", "prints one model"), ("--calibrate", "takes one model")):
        if any(argument.partition("=")[0] == text for argument in arguments):
            raise ValueError(f"{text} {instead}: name it, as in python -m compare {first} {text}")
    about = "Compare every model of the catalogue on its defaults, each into a folder of its own, and write index.html:"
    parser = Parser("all", f"{about} one page of them all. Options that are given hold for every model.")
    parser.add_fields("the models", Zoo)
    own = {field.name: "default: each model's own" for field in option_fields(Options)}
    notes = {"guides": own["budget"], "out": "default out"}
    parser.add_fields("the comparisons", Settings, notes=notes, omit=("show", "calibrate"))
    parser.add_fields("the fits", Options, notes=own)
    given = parser.parse(arguments)
    names = dict.fromkeys(given.get("models", models.CATALOGUE))
    for name in names:
        if name not in models.CATALOGUE:
            raise UnknownName(f"no model named {name!r}; {nearest(name, models.CATALOGUE)}")
    families = given.get("guides")
    for family in families or ():
        guides.load(family)
    folder, invocations = given.get("out", OUT), {}
    for name in names:
        model = models.load(name)
        chosen = model.guides if families is None else tuple(family for family in families if family in model.guides)
        if chosen:
            options = given | {"guides": chosen, "out": folder / name}
            invocations[name] = invoke(model, model.data(), options)
            needed_libraries(invocations[name].request)  # refuses wrong names before any fit
    if not invocations:
        raise UnknownName(f"none of {', '.join(names)} has a guide {' or '.join(families or ())}")
    left_out = tuple(name for name in names if name not in invocations)
    return Tour(invocations, left_out, build(Settings, given), "page_only" in given)


def run(arguments: Sequence[str]) -> int:
    """Compare the models, write the page and print a line a model; 1 if a model could not be compared."""
    tour = parse(arguments)
    folder = tour.settings.out
    check_writable(folder)
    failed = set() if tour.page_only else compare_all(tour)
    from compare.report.html import index

    command = None if tour.page_only else shlex.join(["python", "-m", "compare", "all", *arguments])
    entries = index.read(folder)
    if not entries:
        raise ValueError(f"there is no summary in {folder}; leave --page-only out to make some")
    with explain_write_errors(folder):
        path = index.write(entries, folder, command)
    if tour.settings.format == "json":
        print(json.dumps({entry.name: entry.summary for entry in entries}, indent=1, ensure_ascii=False))
    else:
        for entry in entries:
            print(index.line(entry))
        for name in tour.left_out:
            print(f"{name} has none of these guides and was left out")
        print(path)
    failed |= {entry.name for entry in entries if entry.failure}
    return 1 if failed & set(tour.invocations) else 0


def compare_all(tour: Tour) -> set[str]:
    """Compare one model after another; a failure is noted in the model's folder, and the others go on.

    Returns:
        The names of the models that could not be compared.
    """
    from compare.execute.progress import show_progress
    from compare.report.console import console_for
    from compare.report.files import as_json, save_text

    console, failed = console_for(sys.stdout), set()
    with show_progress() as progress:
        for name, invocation in tour.invocations.items():
            note, start = invocation.settings.out / "failure.json", time.perf_counter()
            try:
                compare(invocation, console, partial(tell, progress, name))
                note.unlink(missing_ok=True)
            except Exception as error:
                reason = one_line(error)
                failure: dict[str, Any] = {"model": name, "reason": reason, "seconds": time.perf_counter() - start}
                failed.add(name)
                with suppress(OSError):  # the disk may be the reason
                    save_text(as_json(failure), note)
                print(f"compare: {name} could not be compared: {reason}", file=sys.stderr)
    return failed


def tell(progress: Progress, name: str, line: str, done: int = 0, total: int | None = None) -> None:
    progress(f"{name}: {line}", done, total)
