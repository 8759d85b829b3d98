"""How many generated command lines are planned and how many refused, and why: a table in Markdown.

    python -m tests.experiments.properties [INPUTS] [MODEL ...]

The inputs are those of ``tests/test_properties.py``, 2,000 a model unless told otherwise: the same ones every time.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import generated
from test_properties import RESULT, every, outcome

import models

WHERE = re.compile(r"'(?:[^'\\]|\\.)*'|\S*/\S*|-?[\d.,]+(?:e[+-]?\d+)?|nan|inf")
"""What differs between refusals of one kind: quoted text, paths and numbers."""


def kind(line: str) -> str:
    """A refusal without what was refused."""
    return WHERE.sub("_", line.removeprefix("compare: ").removesuffix("\n"))[:60].replace("|", "\\|")


def tallied(name: str, count: int) -> tuple[Counter[str], list[str]]:
    """How often each thing was said of a model's command lines, and what ended in anything else."""
    tally: Counter[str] = Counter()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:

        def check(options: list[generated.Option]) -> None:
            arguments = [name, *generated.spelt(options, Path(folder))]
            try:
                tally[outcome(arguments)] += 1
            except Exception as error:
                wrong.append(f"{type(error).__name__}: {error}: {arguments}")

        every(generated.command_lines(name), check, count)
    return tally, wrong


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print("| model | inputs | planned | refused in one line | tracebacks, warnings | seconds | commonest refusals |")
    print("|---|---|---|---|---|---|---|")
    for name in sys.argv[2:] or models.CATALOGUE:
        start = time.perf_counter()
        tally, wrong = tallied(name, count)
        seconds, planned, kinds = time.perf_counter() - start, tally.pop(RESULT, 0), Counter()
        for line, times in tally.items():
            kinds[kind(line)] += times
        total = f"{planned + kinds.total() + len(wrong):,}"
        common = "; ".join(f"{text} ({times})" for text, times in kinds.most_common(3))
        row = [name, total, f"{planned:,}", f"{kinds.total():,}", str(len(wrong)), f"{seconds:.0f}", common]
        print(f"| {' | '.join(row)} |", flush=True)
        for line in wrong:
            print(line, file=sys.stderr)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        main()
        os.chdir("/")
