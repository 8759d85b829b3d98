"""``python -m compare MODEL --calibrate N``: calibrate every fit of a model."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from compare.cli.options import Invocation

if TYPE_CHECKING:
    from rich.console import Console

FOLDER = "calibration"
"""The folder beside a comparison's files."""


def run(invocation: Invocation, count: int, console: Console, arguments: Sequence[str]) -> int:
    """Calibrate the model's fits over ``count`` data sets, write the files and print the table."""
    from compare.calibration import calibrate
    from compare.calibration.report import show, write
    from compare.execute.processes import workers
    from compare.execute.progress import show_progress
    from compare.report.console import name_files
    from compare.report.files import as_json

    request, settings = invocation.request, invocation.settings
    with show_progress() as progress, workers(request.libraries, settings.workers, settings.scheduler) as helpers:
        calibration = calibrate(request, count, helpers, progress)
    paths = write(calibration, settings.out / FOLDER, shlex.join(["python", "-m", "compare", *arguments]))
    if settings.format == "json":
        print(as_json(calibration.summary), end="")
    else:
        show(calibration, console)
        name_files(paths, console)
    return 0
