"""``python -m compare MODEL``: compare a model's fits, or restore the cached report of the same comparison."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from compare.atomic import explain_write_errors
from compare.cache.reports import ReportCache, Restored
from compare.cache.store import Store
from compare.cli.errors import check_writable, hold_interrupts
from compare.cli.options import Invocation, parse

if TYPE_CHECKING:
    from rich.console import Console

    from compare.comparison import Comparison
    from compare.execute.progress import Progress


class Outcome(NamedTuple):
    """A comparison that is written: its files, what to print, and how many of its fits came from the cache."""

    paths: list[Path]
    text: str
    n_cached: int
    n_fits: int


def run(arguments: Sequence[str]) -> int:
    """Compare one model and print the result."""
    invocation = parse(arguments)
    settings = invocation.settings
    if settings.show:
        from compare.export import programs

        print(programs(invocation.request), end="")
        return 0
    check_writable(settings.out)
    from compare.report.console import console_for, name_files

    console = console_for(sys.stdout)
    if settings.calibrate is not None:
        from compare.cli.commands import calibrate

        return calibrate.run(invocation, settings.calibrate, console, arguments)
    outcome = compare(invocation, console)
    text = outcome.text
    if settings.format != "json":
        with printing(settings.out), console.capture() as files:
            name_files(outcome.paths, console)
        text += files.get()
        if outcome.n_cached:
            text += f"{outcome.n_cached} of {outcome.n_fits} fits were cached by an earlier run; --fresh repeats them\n"
    with printing(settings.out):
        sys.stdout.write(text)
        sys.stdout.flush()
    return 0


def printing(folder: Path) -> AbstractContextManager[None]:
    """Report that standard output cannot be written; a captured console writes to it too."""
    return explain_write_errors("standard output", f"the files are in {folder}")


def compare(invocation: Invocation, console: Console, progress: Progress | None = None) -> Outcome:
    """Make a comparison and write it, or restore its cached report."""
    settings, store = invocation.settings, Store(fresh=invocation.settings.fresh)
    as_json = settings.format == "json"
    reports = ReportCache(store, invocation.request)
    with explain_write_errors(settings.out):
        restored = reports.restore(settings.out)
    if restored:
        text = restored.summary if as_json else reports.load_text(console, settings.verbose)
        if text:
            return Outcome(restored.paths, text, restored.n_fits, restored.n_fits)
    from compare import report
    from compare.report.files import as_json as to_text

    comparison, paths = fit(invocation, store, restored, progress)
    with printing(settings.out):
        text = to_text(comparison.summary) if as_json else report.text(comparison, console, settings.verbose)
    fits = [*comparison.trainings.values(), *comparison.fits.values()]
    n_done = sum(fit.status == "done" for fit in fits)
    if all(fit.status != "failed" for fit in fits):
        if not restored:
            reports.save(paths, report.possible(comparison.model), n_done)
        if not as_json:
            reports.save_text(text, console, settings.verbose)
    return Outcome(paths, text, sum(fit.cached for fit in fits), n_done)


def fit(
    invocation: Invocation, store: Store, restored: Restored | None, progress: Progress | None
) -> tuple[Comparison, list[Path]]:
    """Make all fits that are not cached, and write the report unless it is restored."""
    from compare import pipeline, report
    from compare.cache.fit_cache import FitCache
    from compare.execute.processes import workers
    from compare.execute.progress import show_progress
    from compare.plan import needed_libraries
    from compare.registry import first_installed

    request, settings = invocation.request, invocation.settings
    libraries = needed_libraries(request)  # before the helpers are forked no library may be imported
    with ExitStack() as stack:
        progress = progress or stack.enter_context(show_progress())
        helpers = stack.enter_context(workers(libraries, settings.workers, settings.scheduler))
        with hold_interrupts():  # after the helpers are forked
            import_module(f"compare.user_model.in_{first_installed(request.libraries)}")

        def prepare_plots() -> None:
            """Import what drawing needs while the last fits are made."""
            if helpers.plot_executor:
                helpers.plot_executor.submit(report.prepare)

        comparison = pipeline.compare(request, helpers, progress, FitCache(store), prepare_plots)
        if restored:
            return comparison, restored.paths
        progress("writing the report")
        with explain_write_errors(settings.out):
            return report.write(comparison, settings.out, helpers.plot_executor)
