"""The whole zoo: ``python -m compare all`` compares every model and writes one page of them all."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import guides
import models
from compare.atomic import explain_write_errors
from compare.cli.main import Parser, Wish, add_general, flag, given_options, made, split, wish, writable
from compare.comparison import Request
from compare.plan import plan as jobs_of
from models.contract import UnknownName, nearest

__all__ = ["main"]

OURS = ("models", "guides", "out", "format", "show", "calibrate", "page_only")
"""What this command sees to itself; all other options are passed on to every model."""


def parser() -> Parser:
    """The options: which models, and what every comparison has."""
    build = Parser(
        prog="python -m compare all",
        description="Compare every model of the catalogue on its defaults, each into a folder of its own, and write "
        "index.html: one page of them all. Options that are given hold for every model.",
        allow_abbrev=False,
    )
    build.add_argument("--models", default=None, help=f"which (default: all, {','.join(models.CATALOGUE)})")
    build.add_argument(
        "--page-only", action="store_true", help="fit nothing: write index.html anew from the summaries that are there"
    )
    which = build.add_argument_group("the fits")
    which.add_argument("--libraries", default=None, help="numpyro,pyro (default: both)")
    add_general(build, which, ("each model's own",), {}, "MODEL")
    for action in build._actions:
        if action.dest == "guides":
            action.help = "families of guides, each where the model has it; a model that has none of them is left out"
        if action.dest == "out":
            action.help = "folder for the models' folders and index.html (default out)"
        if action.dest in ("show", "calibrate"):
            action.help = argparse.SUPPRESS
        if action.dest != "help":
            action.default = argparse.SUPPRESS  # so that what is not given is each model's own default
    return build


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be done: the checked wishes by model, those left out, and where it all goes."""

    wishes: dict[str, Wish]
    left_out: tuple[str, ...]
    folder: Path
    page_only: bool
    as_json: bool


def parse(arguments: Sequence[str]) -> Plan:
    """The plan.

    Raises:
        ValueError: a bad option; nothing has been done yet.
    """
    build = parser()
    given = vars(given_options(build, arguments))
    first = next(iter(models.CATALOGUE))
    if given.get("show"):
        raise ValueError(f"--show prints one model: name it, as in python -m compare {first} --show")
    if given.get("calibrate"):
        raise ValueError(f"--calibrate takes one model: name it, as in python -m compare {first} --calibrate 1000")
    names = split(given["models"], "--models") if "models" in given else list(models.CATALOGUE)
    for name in names:
        if name not in models.CATALOGUE:
            raise UnknownName(f"no model named {name!r}; {nearest(name, models.CATALOGUE)}")
    families = split(given["guides"], "--guides") if "guides" in given else None
    for family in families or ():
        guides.load(family)
    flags = {action.dest for action in build._actions if action.nargs == 0}
    shared = [
        word
        for option, value in given.items()
        if option not in OURS
        for word in ([flag(option)] if option in flags else [flag(option), str(value)])
    ]
    folder, wishes, left_out = Path(given.get("out", "out")), {}, []
    for name in dict.fromkeys(names):
        chosen = None if families is None else [one for one in families if one in models.load(name).guides]
        if chosen == []:
            left_out.append(name)
            continue
        mine = [] if chosen is None else ["--guides", ",".join(chosen)]
        wishes[name] = wish([name, *shared, *mine, "--out", str(folder / name)])
        # A wrong name is refused before any fit.
        jobs_of(Request(wishes[name].model, wishes[name].data, *wishes[name].asked))
    if not wishes:
        raise UnknownName(f"none of {', '.join(names)} has a guide {' or '.join(families or ())}")
    return Plan(wishes, tuple(left_out), folder, "page_only" in given, given.get("format") == "json")


def main(arguments: Sequence[str]) -> int:
    """Compare, write the page and say what was found; 1 if some model could not be compared."""
    plan = parse(arguments)
    writable(plan.folder)
    failed = set() if plan.page_only else compare_all(plan)
    from compare.report.html import index

    command = None if plan.page_only else shlex.join(["python", "-m", "compare", "all", *arguments])
    entries = index.read(plan.folder)
    if not entries:
        raise ValueError(f"there is no summary in {plan.folder}; leave --page-only out to make some")
    with explain_write_errors(plan.folder):
        path = index.write(entries, plan.folder, command)
    if plan.as_json:
        print(json.dumps({entry.name: entry.summary for entry in entries}, indent=1, ensure_ascii=False))
    else:
        for entry in entries:
            print(index.line(entry))
        for name in plan.left_out:
            print(f"{name} has none of these guides and was left out")
        print(path)
    failed |= {entry.name for entry in entries if entry.failure}
    return 1 if failed & set(plan.wishes) else 0


def compare_all(plan: Plan) -> set[str]:
    """One model after another; one that cannot be compared is noted in its folder, and the others go on.

    Returns:
        The names of those that could not be compared.
    """
    failed = set()
    from compare.execute import progress
    from compare.report.console import console_for
    from compare.report.files import as_json, save_text

    console = console_for(sys.stdout)
    with progress.show() as tell:
        for name, wanted in plan.wishes.items():
            note, start = Path(wanted.given.out) / "failure.json", time.perf_counter()
            try:
                made(wanted, console, lambda line, name=name: tell(f"{name}: {line}"))
                note.unlink(missing_ok=True)
            except Exception as error:
                line = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
                found: dict[str, Any] = {"model": name, "reason": line, "seconds": time.perf_counter() - start}
                failed.add(name)
                with suppress(OSError):  # what is wrong may be that nothing can be written
                    save_text(as_json(found), note)
                print(f"compare: {name} could not be compared: {line}", file=sys.stderr)
    return failed
