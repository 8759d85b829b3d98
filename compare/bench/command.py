"""The benchmark's command line: ``python -m compare bench [MODEL ...]``."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from compare.atomic import explain_write_errors
from compare.bench import cases
from compare.bench.runner import Plan, machine, run
from compare.cli.main import Parser, positive, split, whole, writable
from models.contract import UnknownName, nearest

__all__ = ["main", "parse"]

LIBRARIES = ("numpyro", "pyro")


def parser() -> Parser:
    """The benchmark's options."""
    build = Parser(
        prog="python -m compare bench",
        description="the zoo's fits beside the library's usual way: seconds, gradients, gaps, memory",
        allow_abbrev=False,
    )
    default = Plan((), ())
    build.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help="NAME or NAME:OPTION=VALUE,... (default: all models without encoders)",
    )
    build.add_argument("--libraries", default=",".join(LIBRARIES), help="numpyro,pyro (default: both)")
    build.add_argument("--guides", default=None, help="families of guides (default: all of each model's)")
    build.add_argument("--no-nuts", action="store_true", help="leave NUTS out")
    for name, kind, meaning in (
        ("repeats", whole, "warm fits of each kind, each with a seed of its own"),
        ("cold_repeats", whole, "fresh processes of each kind; 0 leaves cold times and memory out"),
        ("seed", whole, "everything random follows from it"),
        ("steps", whole, "steps of the usual way's Adam"),
        ("limit", positive, "seconds that one process may take"),
    ):
        value = getattr(default, name)
        option = "--" + name.replace("_", "-")
        build.add_argument(option, type=kind, default=value, help=f"{meaning} (default {value:g})")
    build.add_argument("--out", default="out/bench", help="folder for bench.json and bench.md (default out/bench)")
    build.add_argument("--format", choices=("text", "json"), default="text", help="json: bench.json on standard output")
    build.add_argument("--markdown", action="store_true", help="print the tables in Markdown")
    return build


def parse(arguments: Sequence[str]) -> tuple[Plan, Path, str]:
    """The plan, the folder, and what to print: ``text``, ``json`` or ``markdown``.

    Raises:
        ValueError: a bad argument; the message is one line that says what would be right.
    """
    build = parser()
    given, unknown = build.parse_known_intermixed_args(list(arguments))
    if unknown:
        known = [text for action in build._actions for text in action.option_strings]
        raise ValueError(f"no option {unknown[0]!r}; {nearest(unknown[0].partition('=')[0], known)}")
    libraries = split(given.libraries, "--libraries")
    for library in libraries:
        if library not in LIBRARIES:
            raise UnknownName(f"no library named {library!r}; {nearest(library, LIBRARIES)}")
    chosen = tuple(dict.fromkeys(given.models or cases.offered()))
    offered = {family for case in chosen for family in cases.parse(case)[0].guides}
    families = None if given.guides is None else split(given.guides, "--guides")
    for family in families or ():
        if family not in offered:
            raise UnknownName(f"no guide named {family!r} on {', '.join(chosen)}; {nearest(family, sorted(offered))}")
    for name in ("repeats", "steps"):
        if getattr(given, name) < 1:
            raise ValueError(f"--{name} is {getattr(given, name)}: give 1 or more")
    plan = Plan(
        cases=chosen,
        libraries=tuple(dict.fromkeys(libraries)),
        guides=None if families is None else tuple(families),
        nuts=not given.no_nuts,
        repeats=given.repeats,
        cold_repeats=given.cold_repeats,
        seed=given.seed,
        steps=given.steps,
        limit=given.limit,
    )
    return plan, Path(given.out), "markdown" if given.markdown else given.format


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark, write ``bench.json`` and ``bench.md``, and print the tables."""
    plan, folder, form = parse(arguments)
    writable(folder)
    from compare.execute import progress

    with progress.show() as tell:
        rows = run(plan, tell)
    # What follows imports much: the processes above must not inherit its memory.
    from compare.bench import tables
    from compare.cache.keys import versions
    from compare.pipeline import PACKAGES
    from compare.report.files import as_json, save_text, strict
    from compare.report.tables.terminal import console_for

    summary = strict(
        {
            "schema": 1,
            "machine": machine(),
            "versions": versions(PACKAGES),
            "settings": dataclasses.asdict(plan),
            "rows": rows,
        }
    )
    for row in summary["rows"]:
        row["data"] = strict(cases.parse(row["model"])[1].describe())
    with explain_write_errors(folder):
        save_text(as_json(summary), folder / "bench.json")
        save_text(tables.markdown(summary), folder / "bench.md")
    if form == "json":
        sys.stdout.write(as_json(summary))
    elif form == "markdown":
        sys.stdout.write(tables.markdown(summary))
    else:
        tables.show(summary, console_for())
        print(f"\n{folder}: bench.json, bench.md")
    return 0
