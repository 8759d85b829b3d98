"""A fit as the plain program that a user of the library would write: model, guide, data, SVI, and nothing of the zoo.

The sources of model and guide are those of the fits, cut to what they need. The program uses Adam with a decaying
learning rate instead of the zoo's optimiser, and reaches the same optimum where there is one. Modules are found and
read here, never imported.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

import guides
from compare import user_model
from compare.comparison import Job, Request
from compare.export.literals import MOST, dictionary, literal, size, wide
from compare.export.source import Program, definition, path_of
from compare.fit.density import layout_of
from compare.plan import plan
from compare.registry import TITLES
from compare.user_model.source import is_model_spec
from compare.user_model.source import path_of as file_of
from models.contract import Model

PRECISION = {"numpyro": "numpyro.enable_x64()", "pyro": "torch.set_default_dtype(torch.float64)"}

METHOD = "svi"
"""The method of the fits that a program can reproduce."""

SEARCH = {
    "numpyro": {"steps": 4000, "learning_rate": 0.05, "decay": 0.001, "particles": 16},
    "pyro": {"steps": 3000, "learning_rate": 0.05, "decay": 0.001, "particles": 1},
}
"""Steps that bring small models to their optimum in seconds; the learning rate falls to a thousandth on the way."""


def programs(request: Request) -> str:
    """One program for each library and guide of a request, one after another.

    Raises:
        ValueError: one of them cannot be written; one line says why.
    """
    if request.model.amortization:
        raise ValueError(f"the guides of {request.model.name} have encoders, which a few lines cannot train")
    jobs = plan(replace(request, nuts=False))
    return "\n\n".join(program(request.model, job) for job in jobs if job.guide)


def program(model: Model, job: Job) -> str:
    """The program of a job that fits a guide.

    It prints the ELBO with its Monte Carlo error, in nats, and each site's mean and standard deviation. With the
    option ``optimiser`` ``adam`` it takes the steps and the learning rate of the options.

    Raises:
        ValueError: the model or the guide cannot be written as one program; one line says why.
    """
    if job.method != METHOD:
        raise ValueError(f"{job.name} of {model.name} is fitted by {job.method}, which a few lines cannot reproduce")
    layout = layout_of(job)
    if layout.discrete:
        raise ValueError(
            f"{model.name} has discrete latents ({', '.join(layout.discrete)}), which the program's ELBO does not sum "
            "out: write it with TraceEnum_ELBO and a guide of the other latents"
        )
    library, options, built = str(job.library), job.options, Program()
    path, name = find_model(model.name, library)
    built.add(path, [name])
    settings = dict(guides.load(str(job.guide)).settings_in(options))
    guide = add_guide(built, model, path, name, library, str(job.guide), settings)
    search: Mapping[str, Any] = SEARCH[library]
    if options.optimiser == "adam":
        search = {"steps": options.steps, "learning_rate": options.learning_rate, "decay": None, "particles": 1}
    arguments = job.data.arguments()
    data = dictionary(arguments, library)
    if size(arguments) > MOST:
        data = load_data(built, model, job.data, library)
    sites = ", ".join(f'"{site}"' for site in layout.latents)
    values = {"model": name, "guide": guide, "data": data, "sites": f"[{sites}]", "seed": job.seed, **search}
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    template = files(__package__).joinpath(f"{library}.py.jinja").read_text(encoding="utf-8")
    end = add_end(built, environment.from_string(template).render(values))
    precision = [PRECISION[library]] if wide(arguments) else []
    about = f"# {model.name} in {TITLES[library]}, fitted with the guide {job.guide}"
    return built.text(about, built.head(), *precision, after=end)


def twin(model: Model, library: str) -> str:
    """The file that defines the model.

    Raises:
        ValueError: it is in no file, or not in that library.
    """
    return find_model(model.name, library)[0].read_text(encoding="utf-8")


def find_model(model: str, library: str) -> tuple[Path, str]:
    """The file that defines the model, and the model's name there.

    Raises:
        ValueError: it is in no file, or not in that library.
    """
    if not user_model.knows(model):
        path = path_of(f"models.{model}.in_{library}")
        if path is None:
            raise ValueError(f"{model} is not written in {TITLES[library]}")
        return path, "model"
    user = user_model.find(model)
    if user.library != library:
        raise ValueError(f"{model} is written in {TITLES[user.library]}, not in {TITLES[library]}")
    where, _, name = model.partition(":")
    if not is_model_spec(model):
        raise ValueError(f"{model} is in no file: there is no source to print")
    return file_of(where), name or "model"


def add_guide(
    built: Program, model: Model, path: Path, name: str, library: str, family: str, settings: Mapping[str, Any]
) -> str:
    """Add what a family's guide needs; the expression that makes the guide, with its settings.

    Raises:
        ValueError: the model has no such guide, or SVI alone does not fit it.
    """
    known = guides.load(family)
    if known.at_mode_of:
        raise ValueError(f"{family} is not fitted by SVI alone: {TITLES[library]}'s own is AutoLaplaceApproximation")
    if known.on_way_of:
        raise ValueError(f"{family} is not fitted by SVI: it is {known.on_way_of}'s guide on the way to the mode")
    if known.ways_of:
        raise ValueError(f"{family} is not fitted by SVI: it mixes {known.ways_of}'s guides on several ways to a mode")
    if known.response_of:
        raise ValueError(f"{family} is not fitted by SVI alone: it takes the Hessian of mean field's ELBO")
    if not known.has_density:
        place = path.name if known.is_particular else f"guides/{family}/in_{library}.py"
        raise ValueError(f"{family} has no density, and so no ELBO to print: the guide itself stands in {place}")
    where = path_of(f"guides.{family}.in_{library}")
    function = definition(where, "guide") if where else None
    if where is None or function is None:
        raise ValueError(f"{family} is not written in {TITLES[library]}")
    last, (first, *others) = function.body[-1], [argument.arg for argument in function.args.args]
    is_plain = len(function.body) == 1 and set(others) == set(known.settings)
    if not isinstance(last, ast.Return) or last.value is None or not is_plain:
        raise ValueError(f"the guide {family} is made in more than one expression, which cannot be written out")
    replace = ReplaceTwin(first, name, {other: settings.get(other) for other in others})
    expression = replace.visit(last.value)
    built.add(where, {node.id for node in ast.walk(expression) if isinstance(node, ast.Name)} - replace.names)
    for guide in sorted(replace.names - {name}):
        if definition(path, guide) is None:
            raise ValueError(f"{model.name} has no {family} guide; choose from {', '.join(model.guides)}")
        built.add(path, [guide])
    return ast.unparse(expression)


class ReplaceTwin(ast.NodeTransformer):
    """Replace ``twin.model`` by the model's name, any other ``twin.guide`` by that guide's, a setting by its value.

    Attributes:
        names: The names that stand in the places of attributes.
    """

    def __init__(self, twin: str, model: str, settings: Mapping[str, Any]) -> None:
        self.twin, self.model, self.settings = twin, model, settings
        self.names: set[str] = set()

    def visit_keyword(self, node: ast.keyword) -> ast.AST | None:
        """A setting by keyword, left out where it is not given."""
        if not isinstance(node.value, ast.Name) or node.value.id not in self.settings:
            return self.generic_visit(node)
        value = self.settings[node.value.id]
        return None if value is None else ast.keyword(node.arg, ast.Constant(value))

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if not isinstance(node.value, ast.Name) or node.value.id != self.twin:
            return self.generic_visit(node)
        name = self.model if node.attr == "model" else node.attr
        self.names.add(name)
        return ast.Name(name, ast.Load())


def load_data(built: Program, model: Model, data: Any, library: str) -> str:
    """Code that loads data too long to be written out, as the model itself does.

    Raises:
        ValueError: nothing that a program could load holds them.
    """
    arguments = data.arguments()
    chosen = ""
    if not user_model.knows(model.name):
        fields = [field for field in dataclasses.fields(data) if field.init]
        values = [
            (field.name, getattr(data, field.name)) for field in fields if getattr(data, field.name) != field.default
        ]
        chosen = ", ".join(f"{name}={literal(value, library)}" for name, value in values)
    if user_model.knows(model.name) or len(chosen) > 1000:  # such as a long chain's observations
        raise ValueError(f"the data of {model.name} hold {size(arguments)} numbers, too many to print; at most {MOST}")
    needed = {("", "numpy", "np"), ("", "torch", "")} if library == "pyro" else set()
    built.imports |= {("models", "load", "")} | needed
    note = (
        f"# {size(arguments):,} numbers are too many to print: they are loaded as the model does, from the zoo's folder"
    )
    code = f'{note}\ndata = load("{model.name}").data({chosen}).arguments()'
    if library == "numpyro":
        return code
    arrays = "{name: value for name, value in data.items() if isinstance(value, np.ndarray | np.generic)}"
    tensors = "{name: torch.as_tensor(value) for name, value in arrays.items()}"
    return f"{code}\narrays = {arrays}\ndata |= {tensors}"


def add_end(built: Program, text: str) -> str:
    """Add the imports of the program's last part, and return that part without them."""
    lines = text.strip().splitlines()
    for statement in ast.parse(text).body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            names = {alias.asname or alias.name.split(".")[0] for alias in statement.names}
            built.add_import(statement, names, Path("the program"))
            lines[statement.lineno - 1] = ""
    return "\n".join(lines).strip()
