"""The command line: ``python -m compare``, ``python -m compare coin --heads 7``."""

from __future__ import annotations

import argparse
import dataclasses
import os
import shlex
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import models
from compare.atomic import WriteError, explain_write_errors
from compare.user_model.source import is_model_spec
from models.contract import UnknownName, nearest

if TYPE_CHECKING:
    from rich.console import Console

    from compare.options import Options
    from models.contract import Model

__all__ = ["main"]

LIBRARIES = ("numpyro", "pyro")

PROCESSES = 1000
"""Most that are started on one machine."""

LINE = 1000
"""Characters beyond which what is said of an error is cut in its middle."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[argparse.Namespace, list[str]]:
        """As the base class; ``--option=--``, which that takes for no value at all, is an option without its value."""
        found, unknown = super().parse_known_args(args, namespace)
        for action in self._actions:
            if action.option_strings and action.nargs is None and getattr(found, action.dest, None) == []:
                self.error(f"argument {action.option_strings[0]}: expected one argument")
        return found, unknown


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status: 0 made, 1 could not be made, 2 bad arguments or data, 130 interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    unraisable, sys.unraisablehook = sys.unraisablehook, insist
    try:
        readable(arguments)
        if not arguments:
            return catalogue()
        if arguments[0] == "all":
            from compare.cli.compare_all import main as zoo

            return zoo(arguments[1:])
        if arguments[0] == "bench":
            from compare.bench import main as bench

            return bench(arguments[1:])
        return compare_model(arguments)
    except (ValueError, UnknownName) as error:
        print(f"compare: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("compare: interrupted; nothing half-written is left", file=sys.stderr)
        return 130
    except WriteError as error:
        print(f"compare: {one_line(error)}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        print(f"compare: the comparison could not be made: {one_line(error)}", file=sys.stderr)
        return 1
    finally:
        sys.unraisablehook = unraisable


def readable(arguments: Sequence[str]) -> None:
    """Make sure that all arguments are text, which the summary and the page can repeat.

    Raises:
        ValueError: one is not, as the name of a file may be.
    """
    for argument in arguments:
        if "\0" in argument or any("\ud800" <= letter <= "\udfff" for letter in argument):
            raise ValueError(f"the argument {argument!a} is not text in UTF-8; where it names a file, rename that")


def one_line(error: Exception) -> str:
    """What an error says, or its name where it says nothing: one line, cut in its middle where it is too long."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(error))
    text = " ".join(text.split()) or type(error).__name__
    return text if len(text) <= LINE else f"{text[: LINE // 2]} ... {text[-LINE // 2 :]}"


def insist(lost: sys.UnraisableHookArgs) -> None:
    """Repeat a Ctrl-C that came while Python was in a callback that cannot raise (jax has one at every collection)."""
    if lost.exc_type is KeyboardInterrupt:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(lost)


def catalogue() -> int:
    """One line a model."""
    width = max(map(len, models.CATALOGUE))
    for name, line in models.CATALOGUE.items():
        print(f"{name:{width}}  {line}")
    return 0


def parser(name: str) -> Parser:
    """The options of one model: its data first, then those that every comparison has."""
    model = models.load(name)
    build = Parser(prog=f"python -m compare {name}", description=model.title, allow_abbrev=False)
    data = build.add_argument_group("the data")
    for field in options_of(model):
        choices = field.metadata["choices"] or None
        shown = f" (default {field.default})"
        data.add_argument(
            flag(field.name),
            dest=f"data.{field.name}",
            default=None,
            choices=choices,
            metavar=None if choices else field.name.upper(),
            help=field.metadata["help"].replace("%", "%%") + shown,
        )
    which = build.add_argument_group("the fits")
    which.add_argument("--libraries", default=None, help="numpyro,pyro (default: both)")
    add_general(build, which, model.guides, model.defaults, name)
    return build


def options_of(model: Any) -> list[dataclasses.Field]:
    """The fields of a model's data that are options of the command line."""
    return [field for field in dataclasses.fields(model.data) if "help" in field.metadata]


def parser_of_own(reference: str) -> Parser:
    """The options of a user's own model: where its data are, then those that every comparison has."""
    from compare.user_model import GUIDES
    from compare.user_model.source import stem

    about = "Your own model: a file (my_model.py, my_model.py:name) or package.module:name."
    build = Parser(prog=f"python -m compare {reference}", description=about, allow_abbrev=False)
    data = build.add_argument_group("the data")
    data.add_argument("--data", default=None, help="JSON file of its arguments (default: the data beside the model)")
    which = build.add_argument_group("the fits")
    which.add_argument("--library", default=None, help="numpyro or pyro (default: that which the model uses)")
    add_general(build, which, GUIDES, {}, stem(reference))
    return build


def add_general(build: Parser, which: Any, families: Sequence[str], defaults: Mapping[str, float], name: str) -> None:
    """Add the options that every comparison has, those of the fits to the group ``which``."""
    from compare.cache.store import folder
    from compare.options import Options

    which.add_argument("--guides", default=None, help=f"families of guides (default {','.join(families)})")
    which.add_argument("--no-nuts", action="store_true", help="leave NUTS out")
    which.add_argument("--seed", type=whole, default=0, help="everything random follows from it (default 0)")
    default = Options(**defaults)
    which.add_argument("--optimiser", choices=("zoo", "adam"), default="zoo", help="adam: the libraries' usual way")
    for option, kind, meaning in (
        ("tolerance", positive, "nats of optimisation gap within which a guide counts as converged"),
        ("budget", positive, "seconds a fit may take"),
        ("steps", counted, "steps of --optimiser adam"),
        ("learning_rate", positive, "learning rate of --optimiser adam"),
        ("ess", positive, "effective sample size that NUTS goes on for, bulk and tail"),
        ("reference_ess", positive, "the same for the reference, where no exact posterior is known"),
        ("reference_budget", positive, "seconds the reference may take"),
        ("cavi_tolerance", positive, "largest change at which coordinate ascent stops"),
        ("sweeps", whole, "most sweeps of coordinate ascent"),
    ):
        shown = f"{meaning} (default {getattr(default, option):g})"
        which.add_argument(flag(option), type=kind, default=getattr(default, option), help=shown)
    which.add_argument(
        "--calibrate",
        type=counted,
        default=None,
        metavar="DATA_SETS",
        help="instead of one comparison, calibrate every fit over so many data sets drawn from the prior, such as 1000",
    )
    where = build.add_argument_group("where, and what is kept")
    where.add_argument("--workers", type=counted, default=None, help="processes (default: one a library)")
    where.add_argument(
        "--scheduler", default=None, help="address of a Dask scheduler, on whose workers the fits are made"
    )
    where.add_argument(
        "--fresh", action="store_true", help=f"make everything anew; what was made is kept in {folder()}"
    )
    output = build.add_argument_group("the output")
    output.add_argument("--out", default=None, help=f"folder for the files (default out/{name})")
    output.add_argument(
        "--format", choices=("text", "json"), default="text", help="json: the summary on standard output"
    )
    output.add_argument(
        "--show",
        action="store_true",
        help="fit nothing; print the model, the guide and the few lines of the library that reproduce the fit, one "
        "program that runs without the zoo for each of --libraries and --guides (default: the first of each)",
    )


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def whole(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative; give 0 or more")
    return value


def counted(text: str) -> int:
    if whole(text) == 0:
        raise argparse.ArgumentTypeError("0 is too few; give 1 or more")
    return whole(text)


def positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a finite number above 0")
    return value


def parse(arguments: Sequence[str]) -> tuple[Any, Any, argparse.Namespace]:
    """The model, its data and the options; raises ValueError with one line."""
    name = arguments[0]
    if name.startswith("-") and name not in ("-h", "--help"):
        raise ValueError(f"give a model first, such as: python -m compare {next(iter(models.CATALOGUE))} {name}")
    if name in ("-h", "--help"):
        print("usage: python -m compare [MODEL [options]] | MY_MODEL.py [options] | all | bench [MODEL ...]\n\nmodels:")
        catalogue()
        print("\npython -m compare MODEL --help lists a model's options.")
        raise SystemExit(0)
    if is_model_spec(name):
        return parse_own(arguments)
    if name not in models.CATALOGUE:
        raise UnknownName(f"no model named {name!r}; {nearest(name, [*models.CATALOGUE, 'all', 'bench'])}")
    options = given_options(parser(name), arguments[1:])
    model = models.load(name)
    given = {}
    for field in options_of(model):
        text = getattr(options, f"data.{field.name}")
        if text is not None:
            try:
                given[field.name] = field.metadata["parse"](text)
            except ValueError as error:
                raise ValueError(f"{flag(field.name)}: {error}") from None
    options.out = Path(options.out or Path("out") / name)
    return model, model.data(**given), options


def given_options(build: Parser, arguments: Sequence[str]) -> argparse.Namespace:
    """The options by name; raises ValueError with the nearest right name for one that is not known."""
    options, unknown = build.parse_known_args(arguments)
    if unknown:
        known = [text for action in build._actions for text in action.option_strings]
        raise ValueError(f"no option {unknown[0]!r}; {nearest(unknown[0], known)}")
    return options


def parse_own(arguments: Sequence[str]) -> tuple[Any, Any, argparse.Namespace]:
    """The same for a user's own model, read from its file or module."""
    from compare import user_model
    from compare.user_model.arguments import from_json
    from compare.user_model.source import stem

    options = given_options(parser_of_own(arguments[0]), arguments[1:])
    beside = from_json(options.data) if options.data else None
    mine, data = user_model.read(arguments[0], options.library)
    if beside is None and data is None:
        raise ValueError(f"{arguments[0]} has no data: define data, a dict of the model's arguments, or give --data")
    options.libraries = mine.library
    options.out = Path(options.out or Path("out") / stem(arguments[0]))
    return mine.model, user_model.data_of(mine, data if beside is None else beside), options


def writable(folder: Path) -> None:
    """Make sure the folder can be written before any work is done; leaves nothing behind.

    Raises:
        ValueError: it cannot.
    """
    nearest_folder = folder
    try:
        while not nearest_folder.exists() and nearest_folder != nearest_folder.parent:
            nearest_folder = nearest_folder.parent
        with tempfile.TemporaryFile(dir=nearest_folder):
            pass
    except OSError as error:
        raise ValueError(f"--out {folder}: cannot be written ({error.strerror}); name a folder that can") from None


class Wish(NamedTuple):
    """What a command line asks for; ``asked`` is what `compare.pipeline.compare` takes after the model and data."""

    model: Model
    data: Any
    given: argparse.Namespace
    asked: tuple[list[str], list[str] | None, bool, Options, int]
    command: str | None
    own: dict[str, str] | None


class Made(NamedTuple):
    """Where a comparison was written, what is to be printed of it, and how many of its fits were kept, of how many."""

    paths: list[Path]
    text: str
    kept: int
    fits: int


def wish(arguments: Sequence[str]) -> Wish:
    """What one model's command line asks for, checked.

    Raises:
        ValueError: a bad option or bad data.
    """
    model, data, given = parse(arguments)
    from compare.cache.keys import sources_of
    from compare.options import Options

    names = {field.name for field in dataclasses.fields(Options)}
    options = Options(**{name: value for name, value in vars(given).items() if name in names})
    libraries = split(given.libraries, "--libraries") if given.libraries is not None else list(LIBRARIES)
    families = split(given.guides, "--guides") if given.guides is not None else None
    if given.scheduler is not None and not given.scheduler.strip():
        raise ValueError("--scheduler: give the address of a Dask scheduler, such as tcp://10.0.0.1:8786")
    if given.workers and given.workers > PROCESSES:
        raise ValueError(f"--workers is {given.workers}: give at most {PROCESSES:,}")
    if given.workers and given.scheduler:
        raise ValueError("--workers is for this machine and --scheduler for others: give one of them")
    command = shlex.join(["python", "-m", "compare", *arguments]) if is_model_spec(arguments[0]) else None
    asked = (libraries, families, not given.no_nuts, options, given.seed)
    return Wish(model, data, given, asked, command, sources_of(model.name))


def made(wanted: Wish, console: Console, tell: Callable[[str], None] | None = None) -> Made:
    """Make the comparison and write it, or restore what was kept of the same one; ``tell`` hears how it goes."""
    from compare.cache.reports import Report
    from compare.cache.store import Store

    model, data, given, folder = wanted.model, wanted.data, wanted.given, wanted.given.out
    as_json = given.format == "json"
    store = Store(fresh=given.fresh)
    finished = Report.of(store, model.name, data, [*wanted.asked, wanted.command], wanted.own)
    with explain_write_errors(folder):
        restored = finished.restore(folder)
    text = restored and (restored.summary if as_json else finished.text(console))
    if text:
        return Made(restored.paths, text, restored.fits, restored.fits)
    from compare import pipeline, report
    from compare.cache.fits import FitCache
    from compare.comparison import Request
    from compare.execute import progress
    from compare.execute.processes import workers
    from compare.plan import plan
    from compare.report.files import as_json as as_text

    request = Request(model, data, *wanted.asked, wanted.command)
    jobs = plan(request)
    libraries = [*request.libraries, *(job.library for job in jobs if job.library and job.reason is None)]
    with ExitStack() as stack:
        tell = tell or stack.enter_context(progress.show())
        helpers = stack.enter_context(workers(list(dict.fromkeys(libraries)), given.workers, given.scheduler))
        draw = helpers.plot_executor
        # Who draws imports what drawing needs while the last fits are made.
        warm_up = partial(draw.submit, report.prepare) if draw else lambda: None
        comparison = pipeline.compare(request, helpers, tell, FitCache(store), warm_up)
        paths = restored.paths if restored else None
        if paths is None:
            tell("writing the report")
            with explain_write_errors(folder):
                paths = report.write(comparison, folder, helpers.plot_executor)
    with printing(folder):
        text = as_text(comparison.summary) if as_json else report.text(comparison, console)
    fits = [*comparison.trainings.values(), *comparison.fits.values()]
    done = sum(fit.status == "done" for fit in fits)
    if all(fit.status != "failed" for fit in fits):
        if not restored:
            finished.keep(paths, report.possible(model), done)
        if not as_json:
            finished.keep_text(text, console)
    return Made(paths, text, sum(fit.cached for fit in fits), done)


def printing(folder: Path) -> AbstractContextManager[None]:
    """Say of an error of standard output, to which a captured console too writes, that the files are there."""
    return explain_write_errors("standard output", f"the files are in {folder}")


def compare_model(arguments: Sequence[str]) -> int:
    """Compare one model and show what was found, or was kept; with ``--show``, print what would be fitted."""
    wanted = wish(arguments)
    given = wanted.given
    if given.show:
        from compare.export import programs

        libraries, families, _, options, seed = wanted.asked
        chosen = libraries if given.libraries else None
        print(programs(wanted.model, wanted.data, chosen, families, options, seed), end="")
        return 0
    writable(given.out)
    from compare.report.console import console_for, name_files

    console = console_for(sys.stdout)
    if given.calibrate is not None:
        return calibrate(wanted, console, arguments)
    found = made(wanted, console)
    text = found.text
    if given.format != "json":
        with printing(given.out), console.capture() as named:
            name_files(found.paths, console)
        text += named.get()
        if found.kept:
            text += f"{found.kept} of {found.fits} fits were kept from an earlier run; --fresh makes them anew\n"
    with printing(given.out):
        sys.stdout.write(text)
        sys.stdout.flush()
    return 0


def calibrate(wanted: Wish, console: Console, arguments: Sequence[str]) -> int:
    """Calibrate the model's fits, and show and write what was found."""
    from compare.calibration import command
    from compare.report.console import name_files
    from compare.report.files import as_json

    given = wanted.given
    if wanted.own is not None:
        raise ValueError("--calibrate: the zoo cannot draw data for a model of your own; give a model of the catalogue")
    calibration = command.make(wanted.model, wanted.data, wanted.asked, given.calibrate, given.workers, given.scheduler)
    paths = command.write(calibration, Path(given.out) / command.FOLDER, arguments)
    if given.format == "json":
        print(as_json(calibration.summary), end="")
    else:
        command.show(calibration, console)
        name_files(paths, console)
    return 0


def split(text: str, option: str) -> list[str]:
    """A list of names from the command line."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise ValueError(f"{option}: give at least one name")
    return names


def leave(status: int) -> NoReturn:
    """End at once: everything is written, and to take the libraries down piece by piece would take another second.

    Nor does what an interrupted library still does hold up the end.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # whoever read it is gone
            status = status or 1
    os._exit(status)
