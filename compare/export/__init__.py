"""A fit as the plain program that a user of the library would write: model, guide, data, SVI, and nothing of the zoo.

The model's and the guide's sources are those that the fits use, cut to what they need. The zoo's own optimiser is no
matter of a few lines; Adam with a falling learning rate takes its place and arrives at the same optimum, where there is
one. Nothing is imported here but to find where a source stands.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

import guides
from compare import user_model
from compare.comparison import Request
from compare.export.literals import MOST, dictionary, literal, size, wide
from compare.export.source import Program, definition, path_of
from compare.options import Options
from compare.plan import LIBRARIES, plan
from compare.user_model.source import is_model_spec
from compare.user_model.source import path_of as file_of
from models.contract import Model

__all__ = ["TITLES", "WAY", "program", "programs", "twin"]

TITLES = {"numpyro": "NumPyro", "pyro": "Pyro"}

PRECISION = {"numpyro": "numpyro.enable_x64()", "pyro": "torch.set_default_dtype(torch.float64)"}

WAY = "svi"
"""The method that a program can stand for."""

SEARCH = {
    "numpyro": {"steps": 4000, "learning_rate": 0.05, "decay": 0.001, "particles": 16},
    "pyro": {"steps": 3000, "learning_rate": 0.05, "decay": 0.001, "particles": 1},
}
"""Steps that bring small models to their optimum in seconds; the learning rate falls to a thousandth on the way."""


def programs(
    model: Model,
    data: Any,
    libraries: Sequence[str] | None = None,
    families: Sequence[str] | None = None,
    options: Options | None = None,
    seed: int = 0,
) -> str:
    """One program for each library and family, one after another; by default for the first library and guide.

    Raises:
        ValueError: one of them cannot be written; one line says why.
    """
    chosen = tuple(libraries or list(LIBRARIES)[:1]), tuple(families or model.guides[:1])
    jobs = plan(Request(model, data, *chosen, False, options, seed))
    texts = []
    for job in jobs:
        if job.guide and job.method != WAY:
            raise ValueError(
                f"{job.name} of {model.name} is not fitted by SVI alone ({job.method}): it is no matter of a few lines"
            )
        if job.guide:
            texts.append(program(model, data, job.library, job.guide, options, seed))
    return "\n\n".join(texts)


def program(model: Model, data: Any, library: str, family: str, options: Options | None = None, seed: int = 0) -> str:
    """The program's text.

    It prints the ELBO with its Monte Carlo error, in nats, and each site's mean and standard deviation. With
    ``options.optimiser`` ``adam`` it takes the steps and the learning rate of the options.

    Raises:
        ValueError: the model or the guide cannot be written as one program; one line says why.
    """
    options, built = options or Options(), Program()
    path, name = place(model.name, library)
    built.add(path, [name])
    guide = add_guide(built, model, path, name, library, family)
    search: Mapping[str, Any] = SEARCH[library]
    if options.optimiser == "adam":
        search = {"steps": options.steps, "learning_rate": options.learning_rate, "decay": None, "particles": 1}
    arguments = data.arguments()
    given = dictionary(arguments, library)
    if size(arguments) > MOST:
        given = loaded(built, model, data, library)
    sites = ", ".join(f'"{site}"' for site in data.shapes())
    known = {"model": name, "guide": guide, "data": given, "sites": f"[{sites}]", "seed": seed, **search}
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    template = files(__package__).joinpath(f"{library}.py.jinja").read_text(encoding="utf-8")
    tail = add_tail(built, environment.from_string(template).render(known))
    precision = [PRECISION[library]] if wide(arguments) else []
    about = f"# {model.name} in {TITLES[library]}, fitted with the guide {family}"
    return built.text(about, built.head(), *precision, after=tail)


def twin(model: Model, library: str) -> str:
    """The file in which the model stands, as it is.

    Raises:
        ValueError: it stands in no file, or not in that library.
    """
    return place(model.name, library)[0].read_text(encoding="utf-8")


def place(model: str, library: str) -> tuple[Path, str]:
    """The file in which the model stands, and what it is called there.

    Raises:
        ValueError: it stands in no file, or not in that library.
    """
    if not user_model.knows(model):
        path = path_of(f"models.{model}.in_{library}")
        if path is None:
            raise ValueError(f"{model} is not written in {TITLES[library]}")
        return path, "model"
    mine = user_model.find(model)
    if mine.library != library:
        raise ValueError(f"{model} is written in {TITLES[mine.library]}, not in {TITLES[library]}")
    where, _, name = model.partition(":")
    if not is_model_spec(model):
        raise ValueError(f"{model} stands in no file: there is no source to print")
    return file_of(where), name or "model"


def add_guide(built: Program, model: Model, path: Path, name: str, library: str, family: str) -> str:
    """Add what a family's guide needs; the expression that makes it of the model.

    Raises:
        ValueError: the model has no such guide.
    """
    guides.load(family)
    where = path_of(f"guides.{family}.in_{library}")
    made = definition(where, "guide") if where else None
    if made is None:
        raise ValueError(f"{family} is not written in {TITLES[library]}")
    last = made.body[-1]
    if not isinstance(last, ast.Return) or len(made.body) > 1 or len(made.args.args) != 1:
        raise ValueError(f"the guide {family} is made in more than one expression, which cannot be written out")
    replace = OfTwin(made.args.args[0].arg, name)
    expression = replace.visit(last.value)
    built.add(where, {node.id for node in ast.walk(expression) if isinstance(node, ast.Name)} - replace.found)
    for one in sorted(replace.found - {name}):
        if definition(path, one) is None:
            raise ValueError(f"{model.name} has no {family} guide; choose from {', '.join(model.guides)}")
        built.add(path, [one])
    return ast.unparse(expression)


class OfTwin(ast.NodeTransformer):
    """``twin.model`` becomes the model's name, any other ``twin.guide`` that guide's."""

    def __init__(self, twin: str, model: str) -> None:
        self.twin, self.model = twin, model
        self.found: set[str] = set()

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if not isinstance(node.value, ast.Name) or node.value.id != self.twin:
            return self.generic_visit(node)
        name = self.model if node.attr == "model" else node.attr
        self.found.add(name)
        return ast.Name(name, ast.Load())


def loaded(built: Program, model: Model, data: Any, library: str) -> str:
    """Code that loads data too long to be written out, as the model itself does.

    Raises:
        ValueError: a user's own model keeps them in no place that a program could load them from.
    """
    arguments = data.arguments()
    if user_model.knows(model.name):
        raise ValueError(f"the data of {model.name} hold {size(arguments)} numbers, too many to print; at most {MOST}")
    fields = {
        field.name: (getattr(data, field.name), field.default) for field in dataclasses.fields(data) if field.init
    }
    chosen = ", ".join(
        f"{name}={literal(value, library)}" for name, (value, default) in fields.items() if value != default
    )
    if len(chosen) > 1000:  # such as a long chain's observations
        raise ValueError(f"the data of {model.name} hold {size(arguments)} numbers, too many to print; at most {MOST}")
    built.imports |= {("models", "load", "")} | ({("", "torch", "")} if library == "pyro" else set())
    note = (
        f"# {size(arguments):,} numbers are too many to print: they are loaded as the model does, from the zoo's folder"
    )
    line = f'data = load("{model.name}").data({chosen}).arguments()'
    if library == "numpyro":
        return f"{note}\n{line}"
    arrays = ", ".join(f'"{name}"' for name, value in arguments.items() if isinstance(value, np.ndarray | np.generic))
    return f"{note}\n{line}\ndata |= {{name: torch.as_tensor(data[name]) for name in [{arrays}]}}"


def add_tail(built: Program, text: str) -> str:
    """Add the imports of the program's last part; that part without them."""
    lines = text.strip().splitlines()
    for statement in ast.parse(text).body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            everything = {alias.asname or alias.name.split(".")[0] for alias in statement.names}
            built.add_import(statement, everything, Path("the program"))
            lines[statement.lineno - 1] = ""
    return "\n".join(lines).strip()
