"""The options of the command line: fields of dataclasses, declared with `models.options.option`.

Built on argparse, which starts in 10 ms: typer and tyro take 60 to 100 ms more at every start, and read options off
annotations, where a model's options, their parsers and the errors' words are known only once the model is loaded.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import models
from compare.cache.store import cache_folder
from compare.comparison import Request
from compare.options import Options, option_fields, parse_count, parse_field, parse_names, parse_whole
from compare.registry import LIBRARIES
from compare.user_model.source import is_model_spec
from models.contract import Model, UnknownName, nearest
from models.options import option

MOST_PROCESSES = 1000

OUT = Path("out")

T = TypeVar("T")


@dataclass(frozen=True)
class Settings:
    """What to fit, where, and what to print, besides the fits' `Options`."""

    libraries: tuple[str, ...] | None = option(None, "numpyro,pyro (default: both)", parse_names)
    guides: tuple[str, ...] | None = option(None, "families of guides", parse_names)
    nuts: bool = option(True, "leave NUTS out")
    quick: bool = option(
        False, "no NUTS, not even as the reference: guides against the exact posterior or importance sampling"
    )
    seed: int = option(0, "everything random follows from it", parse_whole)
    workers: int | None = option(None, "processes (default: one a library)", parse_count)
    scheduler: str | None = option(None, "address of a Dask scheduler, on whose workers the fits are made", str)
    fresh: bool = option(False, "repeat every fit and replace what is cached")
    out: Path = option(OUT, "folder for the files", Path)
    format: str = option("text", "json: the summary on standard output", choices=("text", "json"))
    verbose: bool = option(False, "print all that the page shows, not only the verdicts and the table")
    calibrate: int | None = option(
        None,
        "instead of one comparison, calibrate every fit over this many data sets drawn from the prior, such as 1000",
        parse_count,
    )
    show: bool = option(
        False,
        "fit nothing; print the model, the guide and the few lines of the library that reproduce the fit, one program "
        "that runs without the zoo for each of --libraries and --guides (default: the first of each)",
    )

    def __post_init__(self) -> None:
        if self.scheduler is not None and not self.scheduler.strip():
            raise ValueError("--scheduler: give the address of a Dask scheduler, such as tcp://10.0.0.1:8786")
        if self.workers and self.workers > MOST_PROCESSES:
            raise ValueError(f"--workers is {self.workers}: give at most {MOST_PROCESSES:,}")
        if self.workers and self.scheduler:
            raise ValueError("--workers is for this machine and --scheduler for others: give one of them")


@dataclass(frozen=True)
class UserModel:
    """What a user's own model consists of beside its code."""

    data: str | None = option(None, "JSON file of its arguments (default: the data beside the model)", str)
    library: str | None = option(None, "numpyro or pyro (default: the one the model uses)", str)
    draws: str | None = option(
        None,
        "draws to judge: NetCDF, .npz, .csv or .json; of several, with commas between them, each is a chain (default: "
        "the draws beside the model)",
        str,
    )
    params: str | None = option(
        None, "params to judge, of the guide beside the model: .npz, or Pyro's saved store (default: params)", str
    )


class Parser(argparse.ArgumentParser):
    """An argument parser whose options are the fields of dataclasses, and whose errors are one line."""

    def __init__(self, command: str, about: str) -> None:
        super().__init__(prog=f"python -m compare {command}", description=about, allow_abbrev=False)

    def add_fields(
        self, title: str, kind: type, notes: Mapping[str, str] | None = None, omit: Sequence[str] = ()
    ) -> None:
        """Add a group of options: ``--name VALUE`` for each field, ``--name`` for a flag, ``--no-name`` for a True one.

        Args:
            title: The group's title in the help.
            kind: A dataclass with fields made by `models.options.option`.
            notes: What stands in parentheses behind a field's help; its default, where there is no note.
            omit: Fields to leave out.
        """
        group = self.add_argument_group(title)
        for field in (field for field in option_fields(kind) if field.name not in omit):
            note = (notes or {}).get(field.name, describe_default(field.default))
            common: dict[str, Any] = {
                "dest": field.name,
                "default": argparse.SUPPRESS,
                "help": f"{field.metadata['help']} ({note})".removesuffix(" ()").replace("%", "%%"),
            }
            if isinstance(field.default, bool):
                action = "store_false" if field.default else "store_true"
                group.add_argument(flag(field), action=action, **common)
            else:
                choices = ",".join(field.metadata["choices"])
                metavar = f"{{{choices}}}" if choices else field.name.upper()
                group.add_argument(flag(field), type=converter(field), metavar=metavar, **common)

    def parse(self, arguments: Sequence[str]) -> dict[str, Any]:
        """The values of the options that are given, by field.

        Raises:
            ValueError: an option that does not exist, with the nearest that does, or a bad value.
        """
        parse = self.parse_known_intermixed_args if self._get_positional_actions() else self.parse_known_args
        values, unknown = parse(attach_lists(arguments))
        if unknown:
            known = [text for action in self._actions for text in action.option_strings]
            raise ValueError(f"no option {unknown[0]!r}; {nearest(unknown[0].partition('=')[0], known)}")
        return vars(values)

    def error(self, message: str) -> NoReturn:
        raise ValueError(message.removeprefix("argument "))

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[argparse.Namespace, list[str]]:  # type: ignore[override]
        """As the base class, which takes ``--option=--`` for an empty list: here its value is missing."""
        values, unknown = super().parse_known_args(args, namespace)
        for action in self._actions:
            if action.option_strings and action.nargs is None and getattr(values, action.dest, None) == []:
                self.error(f"{action.option_strings[0]}: expected one argument")
        return values, unknown


def attach_lists(arguments: Sequence[str]) -> list[str]:
    """``--x -1,2`` as ``--x=-1,2``: argparse takes a negative number for a value, but no list that begins with one."""
    attached: list[str] = []
    for text in arguments:
        if re.match(r"-[\d.]+(e[+-]?\d+)?,", text) and attached and re.fullmatch(r"--\w[\w-]*", attached[-1]):
            attached[-1] += f"={text}"
        else:
            attached.append(text)
    return attached


def flag(field: dataclasses.Field) -> str:
    """How an option is written."""
    return ("--no-" if field.default is True else "--") + field.name.replace("_", "-")


def describe_default(value: Any) -> str:
    if value is None or isinstance(value, bool | tuple):
        return ""
    return f"default {value:g}" if isinstance(value, float) else f"default {value}"


def converter(field: dataclasses.Field) -> Callable[[str], Any]:
    """`parse_field` as argparse calls it: other errors than its own lose their message."""

    def convert(text: str) -> Any:
        try:
            return parse_field(field, text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def build(kind: type[T], given: Mapping[str, Any], **defaults: Any) -> T:
    """A dataclass from the values that are given for its options."""
    names = [field.name for field in option_fields(kind)]
    return kind(**{**defaults, **{name: given[name] for name in names if name in given}})


@dataclass(frozen=True)
class Invocation:
    """A checked command line of one model."""

    request: Request
    settings: Settings


def invoke(model: Model, data: Any, given: Mapping[str, Any], command: str | None = None) -> Invocation:
    """The invocation that the given options ask for on a model and its data.

    Raises:
        ValueError: options that contradict each other.
    """
    settings = build(Settings, given)
    libraries = settings.libraries or (LIBRARIES[:1] if settings.show else LIBRARIES)
    guides = settings.guides or (model.guides[:1] if settings.show else model.guides)
    options = build(Options, given, **model.defaults)
    seed, quick = settings.seed, settings.quick
    request = Request(model, data, libraries, guides, settings.nuts, options, seed, command, quick=quick)
    return Invocation(request, settings)


def add_comparison(parser: Parser, guides: Iterable[str], folder: Path, defaults: Mapping[str, Any], omit: str) -> None:
    notes = {name: describe_default(value) for name, value in defaults.items()}
    notes |= {"guides": f"default {','.join(guides)}", "out": f"default {folder}"}
    with suppress(RuntimeError):  # the user has no home folder
        notes["fresh"] = f"in {cache_folder()}"
    parser.add_fields("the comparison", Settings, notes=notes, omit=(omit,))
    parser.add_fields("the fits", Options, notes=notes)


def model_parser(name: str) -> Parser:
    model = models.load(name)
    parser = Parser(name, model.title)
    parser.add_fields("the data", model.data)
    add_comparison(parser, model.guides, OUT / name, model.defaults, omit="")
    return parser


def parse(arguments: Sequence[str]) -> Invocation:
    """The invocation of a command line that begins with a model.

    Raises:
        ValueError: a model or an option that does not exist, bad values, or bad data.
    """
    name, options = arguments[0], arguments[1:]
    if name.startswith("-"):
        raise ValueError(f"give a model first, such as: python -m compare {next(iter(models.CATALOGUE))} {name}")
    if is_model_spec(name):
        return parse_user_model(name, options)
    if name not in models.CATALOGUE:
        raise UnknownName(f"no model named {name!r}; {nearest(name, [*models.CATALOGUE, 'all', 'bench'])}")
    given, model = model_parser(name).parse(options), models.load(name)
    return invoke(model, build(model.data, given), {"out": OUT / name} | given)


def parse_user_model(spec: str, arguments: Sequence[str]) -> Invocation:
    """The invocation of a user's own model, which is read from its file or module."""
    import shlex

    from compare import user_model
    from compare.user_model.arguments import from_json
    from compare.user_model.source import stem

    parser = Parser(spec, "Your own model: a file (my_model.py, my_model.py:name) or package.module:name.")
    parser.add_fields("the data", UserModel)
    folder = OUT / stem(spec)
    add_comparison(parser, user_model.GUIDES, folder, {}, omit="libraries")
    given = {"out": folder} | parser.parse(arguments)
    if "draws" in given and "calibrate" in given:
        raise ValueError("--draws are of one data set and --calibrate draws many: give one of them")
    stored = from_json(given["data"]) if "data" in given else None
    user, beside = user_model.read(spec, given.get("library"))
    command = shlex.join(["python", "-m", "compare", spec, *arguments])
    data, has_draws = user_model.bring(
        user, beside if stored is None else stored, given.get("guides"), given.get("draws"), given.get("params")
    )
    invocation = invoke(user.model, data, given | {"libraries": (user.library,)}, command)
    return dataclasses.replace(invocation, request=dataclasses.replace(invocation.request, draws=has_draws))
