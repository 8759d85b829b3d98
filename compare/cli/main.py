"""The command line: ``python -m compare``, ``python -m compare coin --heads 7``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import models
from compare.cli.errors import check_text, exit_status

COMMANDS = ("all", "bench")
"""The commands that are no model's name."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status: 0 done, 1 it failed, 2 bad arguments or data, 130 interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    os.environ.setdefault("MPLBACKEND", "agg")  # for every process that draws: none has to show a window
    return exit_status(lambda: run(arguments))


def run(arguments: Sequence[str]) -> int:
    check_text(arguments)
    if not arguments:
        return show_catalogue()
    if arguments[0] in ("-h", "--help"):
        print("usage: python -m compare [MODEL [options]] | MY_MODEL.py [options] | all | bench [MODEL ...]\n\nmodels:")
        show_catalogue()
        print("\npython -m compare MODEL --help lists a model's options.")
        raise SystemExit(0)  # as argparse does
    if arguments[0] in COMMANDS:
        return import_module(f"compare.cli.commands.{arguments[0]}").run(arguments[1:])
    return import_module("compare.cli.commands.compare").run(arguments)


def show_catalogue() -> int:
    width = max(map(len, models.CATALOGUE))
    for name, line in models.CATALOGUE.items():
        print(f"{name:{width}}  {line}")
    return 0
