"""The walls that hold the house up, checked on the source: the library wall, one direction, no special cases.

Every check takes sources by module name, so that tests can also pass it made-up sources that break its wall.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import guides
import models

ROOT = Path(__file__).parents[1]

SIDES = {
    "numpyro": {"jax", "jaxlib", "numpyro", "optax", "equinox", "flax"},
    "pyro": {"torch", "pyro"},
}

LAYERS: tuple[tuple[str, ...], ...] = (
    ("models",),
    ("guides",),
    (
        "compare.atomic",
        "compare.comparison",
        "compare.held_out",
        "compare.messages",
        "compare.options",
        "compare.registry",
        "compare.summary",
    ),
    ("compare.user_model",),
    ("compare.fit",),
    ("compare.plan",),
    ("compare.measure",),
    ("compare.verdict",),
    ("compare.report",),
    ("compare.pipeline",),
    ("compare.cli",),
)
"""In order: a module imports only from its layer and the ones before it, directly or through others."""

OLD_NAMES = re.compile(
    "Chart|CHAINS|Kept|LENDER|Wish|asked|bend|cases|draughtsman|drive|facts|found|hands|held_against|is_reference|"
    "kept|learnt|made|member|named|one|reported|rest|rivals|said|test_set|told|usual|usual_.*|wanted|whole"
)
"""Identifiers that say too little, or mean something else in this field; neither variables nor modules have them."""

OLD_MODULES = re.compile("own|show|spread|zoo")
"""Words that are no names of modules, though variables may have them."""

OLD_SENTENCES = (
    "So many standard errors may one",
    "Of a wider network so many units",
    "How the environment variables begin",
    "Something whose content cannot be told",
    "found, asked what it consists of",
    "A model whose latents belong to one observation each has",
    "What a fit made is kept",
    "is no matter of a few lines",
)

OLD_PHRASES = re.compile(
    r"\bso (?:many|few)\b(?! \w+ that)|\b(?:be|is|are|was|were) told (?!apart)|\bthat which\b|\bas it were\b", re.I
)
"""Turns of such sentences. "So many latents that" is plain, and so is "told apart"."""

Sources = Mapping[str, str]


class Import(NamedTuple):
    """An imported name (a module, or something in a module), its line, and whether only a type checker sees it."""

    name: str
    line: int
    typing: bool


def sources(*folders: str) -> dict[str, str]:
    """Every file of the folders by module name; a package is listed as ``package.__init__``."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path.read_text(encoding="utf-8")
        for folder in folders or ("models", "guides", "compare")
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


def library_of(name: str) -> str | None:
    """The library that a module is named for."""
    last = name.rpartition(".")[2]
    return next((library for library in SIDES if last.endswith(f"_{library}")), None)


def under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


@cache
def imports(module: str, source: str) -> list[Import]:
    """All imports, also in functions and by ``import_module``, with ``*`` for parts known only at run time."""
    tree = ast.parse(source)
    typing = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for statement in block.body
        for node in ast.walk(statement)
    }
    package = module.split(".")[:-1]
    result = []
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{origin}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            names = [pattern(node.args[0])] if node.args else []
        result += [Import(name, node.lineno, id(node) in typing) for name in names]
    return result


def pattern(node: ast.expr) -> str:
    """A string expression with ``*`` for parts that are known only at run time."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(pattern(part) for part in node.values)
    if isinstance(node, ast.BinOp):
        return pattern(node.left) + pattern(node.right)
    return "*"


def loads(module: str, everything: Sources) -> dict[str, str]:
    """What importing or using a module loads, through all project modules: each name and the module that imports it."""
    loaded: dict[str, str] = {}
    waiting = [module]
    seen = set()
    while waiting:
        here = waiting.pop()
        if here in seen:
            continue
        seen.add(here)
        for imported in imports(here, everything[here]):
            if imported.typing:
                continue
            loaded.setdefault(imported.name, here)
            parts = imported.name.split(".")
            for length in range(1, len(parts) + 1):
                name = ".".join(parts[:length])
                waiting += [known for known in (name, f"{name}.__init__") if known in everything]
    return loaded


def through_the_library_wall(everything: Sources) -> list[str]:
    """Imports of a library, or of a module named for a library, in a file that is not named for that library."""
    holes = []
    for module, source in everything.items():
        own = library_of(module)
        for imported in imports(module, source):
            for library, packages in SIDES.items():
                touched = imported.name.split(".")[0] in packages or any(
                    library_of(part) == library for part in imported.name.split(".")
                )
                if touched and library != own:
                    holes.append(f"{module}:{imported.line} imports {imported.name}")
        if own is None:
            continue
        for name, by in loads(module, everything).items():
            for library, packages in SIDES.items():
                if library != own and (name.split(".")[0] in packages or library_of(name) == library):
                    holes.append(f"{module} loads {name} through {by}")
    return holes


def layer_of(name: str) -> int | None:
    """The number of the layer that a module or something in it belongs to."""
    return next((n for n, layer in enumerate(LAYERS) if any(under(name, prefix) for prefix in layer)), None)


def against_the_direction(everything: Sources) -> list[str]:
    """Imports from a later layer, including those for type checkers only."""
    holes = []
    for module, source in everything.items():
        own = layer_of(module)
        if own is None:
            continue
        reached = {name: f"{module} loads {name} through {by}" for name, by in loads(module, everything).items()}
        reached |= {name: f"{module}:{line} imports {name}" for name, line, _ in imports(module, source)}
        for name, words in reached.items():
            layer = layer_of(name)
            if layer is not None and layer > own:
                holes.append(words)
    return holes


def circle(everything: Sources) -> list[str]:
    """Modules that import each other, the first repeated at the end; imports in functions and for types count."""
    module_names = {module.removesuffix(".__init__"): module for module in everything}
    graph: dict[str, set[str]] = {}
    for name, module in module_names.items():
        targets = set()
        for imported in imports(module, everything[module]):
            package = module.rpartition(".")[0] if imported.name.startswith(".") else ""
            target = package + imported.name.removeprefix("tests.")
            if "*" in target:
                form = re.compile(re.escape(target).replace(r"\*", r"[^.]+"))
                targets |= {known for known in module_names if target.strip("*.") and form.fullmatch(known)}
            elif target in module_names:
                targets.add(target)
            elif target.rpartition(".")[0] in module_names:
                targets.add(target.rpartition(".")[0])
        graph[name] = targets - {name}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def old_names(everything: Sources) -> list[str]:
    """Identifiers and modules with names that have been replaced."""
    uses = []
    for module, source in everything.items():
        parts = module.split(".")
        uses += [f"{module} is a module" for part in parts if OLD_NAMES.fullmatch(part) or OLD_MODULES.fullmatch(part)]
        for node in ast.walk(ast.parse(source)):
            names = [getattr(node, field, None) for field in ("id", "attr", "arg", "name", "asname")]
            old = [name for name in names if isinstance(name, str) and OLD_NAMES.fullmatch(name)]
            uses += [f"{module}:{getattr(node, 'lineno', '')} says {name}" for name in old]
    return uses


def special_cases(everything: Sources, names: set[str]) -> list[str]:
    """Mentions of a model in ``guides`` and ``compare``: in a string, a comparison or an import.

    ``chain`` is also the name of ArviZ's dimension. Such a name counts in a comparison, a match or a dictionary's key,
    and not where its companion ``draw`` stands beside it.
    """
    mentions = []
    for module, source in everything.items():
        if not (under(module, "guides") or under(module, "compare")):
            continue
        tree = ast.parse(source)
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for imported in imports(module, source):
            if any(under(imported.name, f"models.{name}") for name in names):
                mentions.append(f"{module}:{imported.line} imports {imported.name}")
        for node in ast.walk(tree):
            if id(node) in docstrings:
                continue
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                mentioned = re.search(rf"\bmodels[./]({'|'.join(names)})\b", node.value)
                if mentioned or node.value in names - {"chain"}:
                    mentions.append(f"{module}:{node.lineno} says {node.value!r}")
            strings = set()
            if isinstance(node, ast.Compare | ast.match_case):
                part = node.pattern if isinstance(node, ast.match_case) else node
                strings = {inner.value for inner in ast.walk(part) if isinstance(inner, ast.Constant)}
            elif isinstance(node, ast.Dict):
                strings = {key.value for key in node.keys if isinstance(key, ast.Constant)}
            if "chain" in strings & names and "draw" not in strings:
                mentions.append(f"{module}:{getattr(node, 'lineno', '')} decides by 'chain'")
            if isinstance(node, ast.Compare):
                for side in (node.left, *node.comparators):
                    name = side.id if isinstance(side, ast.Name) else getattr(side, "attr", "")
                    if name.lower() in names:
                        mentions.append(f"{module}:{node.lineno} compares {name}")
    return mentions


def test_the_library_wall():
    assert through_the_library_wall(sources()) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("models.coin.exact", "import torch"),
        ("models.coin.in_numpyro", "import numpyro\nimport torch"),
        ("models.coin.in_pyro", "def f():\n    from jax import numpy"),
        ("compare.fit.svi.objective_pyro", "from compare.fit.svi import objective_numpyro"),
        ("compare.fit.svi.objective_pyro", "from .objective_numpyro import prepare"),
        ("compare.user_model.density_numpyro", "from compare.fit.svi.objective_pyro import density"),
        ("compare.fit.svi.svi", "import compare.fit.svi.objective_pyro"),
        ("compare.measure.measures", "from importlib import import_module\nimport_module('jax')"),
        ("guides.mean_field.in_numpyro", "import_module(f'models.{name}.in_pyro')"),
        ("guides.mean_field.in_pyro", "import optax"),
    ],
)
def test_a_hole_in_the_library_wall_is_seen(module, source):
    assert through_the_library_wall({**sources(), module: source})


def test_a_hole_in_the_library_wall_is_seen_through_other_modules():
    """Two files of one side, joined by a third that imports the other."""
    example = {
        "models.a.in_pyro": "from models.a import shared",
        "models.a.shared": "from models.a import deeper",
        "models.a.deeper": "import jax",
    }
    assert "models.a.in_pyro loads jax through models.a.deeper" in through_the_library_wall(example)


def test_one_direction():
    assert against_the_direction(sources()) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("models.coin.exact", "import guides"),
        ("models.coin.in_pyro", "from compare.comparison import Job"),
        ("guides.contract", "from compare import fit"),
        ("compare.fit.svi.svi", "from compare.measure.measures import measure"),
        ("compare.fit.svi.svi", "def f():\n    from compare import pipeline"),
        ("compare.fit.mcmc.nuts_pyro", "from ...plan import plan"),
        ("compare.plan", "import compare.pipeline"),
        ("compare.measure.measures", "from compare.verdict.judge import judge"),
        ("compare.verdict.judge", "from compare import report"),
        ("compare.verdict.judge", "if TYPE_CHECKING:\n    from compare.pipeline import Comparison"),
        ("compare.report.terminal", "from compare.pipeline import Comparison"),
    ],
)
def test_reaching_back_is_seen(module, source):
    assert against_the_direction({**sources(), module: source})


def test_reaching_back_is_seen_through_other_modules():
    example = {"compare.measure.measures": "from compare.fit import x", "compare.fit.x": "import compare.verdict.judge"}
    assert "compare.measure.measures loads compare.verdict.judge through compare.fit.x" in against_the_direction(
        example
    )


def test_no_modules_import_each_other():
    tests = {module.removeprefix("tests."): source for module, source in sources("tests").items()}
    assert circle(sources() | tests) == []


@pytest.mark.parametrize(
    "source",
    [
        "import a.c",
        "from a import c",
        "from a.c import name",
        "from . import c",
        "def f():\n    from a.c import name",
        "if TYPE_CHECKING:\n    import a.c",
        "import_module('.c', __package__)",
        "import_module(f'a.{name}')",
    ],
)
def test_a_circle_is_seen(source):
    example = {"a.__init__": "", "a.b": source, "a.c": "from a.d import name", "a.d": "import a.b"}
    assert {"a.b", "a.d"} <= set(circle(example))
    assert circle(example | {"a.d": "from a import name"}) == []


def test_names_say_what_they_mean():
    assert old_names(sources() | sources("tests")) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("tests.test_coin", "found = 1"),
        ("tests.conftest", "class A:\n    def facts(self): pass"),
        ("models.coin.exact", "from a import b as kept"),
        ("compare.plan", "call(member=1)"),
        ("compare.plan", "layout.reported"),
        ("guides.contract", "def f(usual_rate): pass"),
        ("tests.battery.rest", ""),
        ("compare.own.sites", ""),
    ],
)
def test_an_old_name_is_seen(module, source):
    assert old_names({module: source})


def test_no_sentence_must_be_read_twice():
    texts = [path for folder in ("models", "guides", "compare", "tests") for path in (ROOT / folder).rglob("*.*")]
    for path in [*texts, *ROOT.glob("*.md")]:
        if path.suffix in (".py", ".md", ".jinja") and path != Path(__file__):
            text = " ".join(path.read_text(encoding="utf-8").split())
            assert [sentence for sentence in OLD_SENTENCES if sentence in text] == [], path
            assert OLD_PHRASES.findall(text) == [], path


@pytest.mark.parametrize(
    "text", ["of so many units", "So few draws", "it is told so", "cannot be told", "that which is"]
)
def test_a_sentence_that_must_be_read_twice_is_seen(text):
    assert OLD_PHRASES.search(f"{text} at once")


def test_no_model_is_a_special_case():
    names = set(models.CATALOGUE)
    assert special_cases(sources("models", "compare"), names) == []
    assert special_cases(sources("guides"), names - set(guides.FAMILIES)) == []  # a family may be called as a model is


@pytest.mark.parametrize(
    "source",
    [
        "if model.name == 'coin': pass",
        "if model.name == 'chain': pass",
        "if model.name in ('chain', 'bnn'): pass",
        "special = {'chain': 1, 'bnn': 2}",
        "match name:\n    case 'chain':\n        pass",
        "from models.coin import Coin",
        "from models import chain",
        "import_module('models.coin.in_pyro')",
        "path = 'models/chain/exact.py'",
        "if isinstance(data, type) and kind is coin: pass",
        "names = ['coin']",
    ],
)
def test_a_special_case_is_seen(source):
    assert special_cases({"compare.plan": source}, {"coin", "chain", "bnn"})


def test_arviz_may_have_its_dimensions():
    source = "if d not in ('chain', 'draw'): pass\nsizes['chain']\naxes = {'chain': 4, 'draw': 2}"
    assert special_cases({"compare.plan": source}, {"coin", "chain"}) == []


def libraries_loaded(code: str) -> set[str]:
    """The libraries among the modules that a fresh interpreter has after running the code."""
    code += "\nimport sys\nprint('loaded', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set().union(*SIDES.values()) & set(done.stdout.rpartition("loaded")[2].split())


def test_names_and_plans_load_no_library():
    code = """
import guides, models, compare.cli.main, compare.plan
assert compare.cli.main.main([]) == 0
for name in models.CATALOGUE:
    model = models.load(name)
    assert compare.plan.needed_libraries(compare.comparison.Request(model, model.data()))
"""
    assert libraries_loaded(code) == set()


def test_a_loaded_library_is_seen():
    assert libraries_loaded("import sys, types; sys.modules['torch'] = types.ModuleType('torch')") == {"torch"}
