"""``python -m compare bench``: the zoo's fits beside the libraries' default loops."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compare.atomic import explain_write_errors
from compare.bench import targets
from compare.bench.runner import Plan, describe_machine, run_plan
from compare.cli.errors import check_writable
from compare.cli.options import Parser, build
from compare.registry import LIBRARIES
from models.contract import UnknownName, nearest
from models.options import option


@dataclass(frozen=True)
class BenchOutput:
    """What to print and to write."""

    out: Path = option(Path("out/bench"), "folder for bench.json and bench.md", Path)
    format: str = option("text", "json: bench.json on standard output", choices=("text", "json"))
    markdown: bool = option(False, "print the tables in Markdown")


def parse(arguments: Sequence[str]) -> tuple[Plan, BenchOutput]:
    """The plan, and what to print.

    Raises:
        ValueError: a bad argument; the message is one line that says what would be right.
    """
    parser = Parser("bench", "the zoo's fits beside the library's default loop: seconds, gradients, gaps, memory")
    about = "NAME or NAME:OPTION=VALUE,... (default: all models without encoders)"
    parser.add_argument("models", nargs="*", metavar="MODEL", help=about)
    parser.add_fields("the fits", Plan)
    parser.add_fields("the output", BenchOutput)
    given = parser.parse(arguments)
    plan = build(Plan, given, targets=tuple(dict.fromkeys(given["models"] or targets.offered())))
    for library in plan.libraries:
        if library not in LIBRARIES:
            raise UnknownName(f"no library named {library!r}; {nearest(library, LIBRARIES)}")
    offered = sorted({family for case in plan.targets for family in targets.parse(case)[0].guides})
    for family in plan.guides or ():
        if family not in offered:
            raise UnknownName(f"no guide named {family!r} on {', '.join(plan.targets)}; {nearest(family, offered)}")
    return plan, build(BenchOutput, given)


def run(arguments: Sequence[str]) -> int:
    """Run the benchmark, write ``bench.json`` and ``bench.md``, and print the tables."""
    plan, output = parse(arguments)
    check_writable(output.out)
    from compare.execute.progress import show_progress

    with show_progress() as progress:
        rows = run_plan(plan, progress)
    # These imports are slow, and the processes above must not inherit their memory.
    from compare.bench import tables
    from compare.cache.keys import versions
    from compare.pipeline import PACKAGES
    from compare.report.console import console_for
    from compare.report.files import as_json, save_text, strict

    for row in rows:
        row["data"] = targets.parse(row["model"])[1].describe()
    summary = strict(
        {
            "schema": 2,
            "machine": describe_machine(),
            "versions": versions(PACKAGES),
            "settings": dataclasses.asdict(plan),
            "rows": rows,
        }
    )
    with explain_write_errors(output.out):
        save_text(as_json(summary), output.out / "bench.json")
        save_text(tables.markdown(summary), output.out / "bench.md")
    if output.format == "json" and not output.markdown:
        sys.stdout.write(as_json(summary))
    elif output.markdown:
        sys.stdout.write(tables.markdown(summary))
    else:
        tables.show(summary, console_for())
        print(f"\n{output.out}: bench.json, bench.md")
    return 0
