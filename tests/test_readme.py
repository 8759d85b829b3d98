"""The READMEs are true: their Python and their quick commands run, their links lead somewhere, the door is short."""

from __future__ import annotations

import doctest
import pkgutil
import re
from importlib import import_module
from pathlib import Path

import pytest

from tests.experiments import readme

ROOT = readme.ROOT
READMES = readme.readmes()
SECONDS = 10
"""How long a command may take that is run here, beside those of the root's README."""


def block_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


PYTHON = [  # but files of the walk-through, which `test_newcomer` runs
    pytest.param(block, id=f"{block_id(path)}-{number}")
    for path in READMES
    for number, block in enumerate(
        re.findall(r"(?<!-->\n)```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL), 1
    )
]
COMMANDS = [
    pytest.param(block, id=f"{block_id(path)}: {block.command}")
    for path in READMES
    for block in readme.blocks(path)
    if block.kind == "command" and block.seconds <= (3 * SECONDS if path.parent == ROOT else SECONDS)
]


@pytest.mark.parametrize("block", PYTHON)
def test_python_in_a_readme_runs(block, capsys):
    exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out


@pytest.mark.parametrize("block", COMMANDS)
def test_a_readme_shows_what_its_quick_commands_print(block, tmp_path):
    """To the last digit where nothing is fitted; a fit's numbers differ between processors."""
    normal = readme.without_numbers if block.seconds > 5 else str
    assert normal(block.make(str(tmp_path))) == normal(block.text)


def test_the_root_is_a_door():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 200
    first_screen = "\n".join(lines[:60])
    assert "compare coin" in first_screen
    assert "compare(model, data" in first_screen


@pytest.mark.parametrize("path", [pytest.param(path, id=block_id(path)) for path in READMES])
def test_links_lead_somewhere(path):
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if not target.startswith("http")]
    for target in targets:
        file, _, anchor = target.partition("#")
        assert (path.parent / file).exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", (path.parent / file if file else path).read_text("utf-8"), re.MULTILINE)
            assert anchor in [
                re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
            ]


@pytest.mark.parametrize("path", [pytest.param(path, id=block_id(path)) for path in READMES])
def test_every_block_of_output_names_its_command(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n```text\n") == sum(
        "\n```text\n" in text[block.start - 9 : block.start] for block in readme.blocks(path)
    )


def test_the_map_of_fit_names_every_file_there_and_no_other():
    text = (ROOT / "compare/README.md").read_text(encoding="utf-8")
    on_the_map = re.split(r"^### A map of fit/$|^## Glossary$", text, flags=re.MULTILINE)[1]
    for folder in (ROOT / "compare/fit", *(ROOT / "compare/fit").glob("[a-z]*/")):
        for path in folder.glob("[a-z]*.py"):
            pair = re.sub("_(numpyro|pyro)$", "", path.stem)
            assert re.search(rf"`(\w+/)?{path.name}`|`{pair}`", on_the_map), path
    for name in re.findall(r"`(\w+)\.py`", on_the_map):
        assert list((ROOT / "compare/fit").rglob(f"{name}.py")) or name.startswith("X_"), name
    for pair in set(re.findall(r"`([a-z_]+)`", on_the_map)) - {"run"}:
        assert len(list((ROOT / "compare/fit").rglob(f"{pair}_*pyro.py"))) == 2, pair


def test_seconds_do_not_count():
    before = "  fit  seconds  verdict\n  ───\n  a        1.0  off\n\n1.0 seconds"
    after = "  fit  seconds  verdict\n  ───\n  a       22.5  off\n\n1.0 seconds"
    assert readme.without_seconds(before) == readme.without_seconds(after) != readme.without_seconds(after[:-12])
    table = "| a | cold s |\n| --- | ---: |\n| 1 | {} |"
    assert readme.without_seconds(table.format(2)) == readme.without_seconds(table.format(3))
    assert readme.without_numbers("a -1.5e-3 ±2   x") == readme.without_numbers("a +7 ±12 x")


def examples() -> list[str]:
    """The modules whose docstrings hold examples."""
    modules = []
    for package in ("models", "guides", "compare"):
        for module in pkgutil.walk_packages([str(ROOT / package)], f"{package}."):
            path = ROOT / Path(*module.name.split("."))
            source = path / "__init__.py" if module.ispkg else path.with_suffix(".py")
            if ">>> " in source.read_text(encoding="utf-8"):
                modules.append(module.name)
    return modules


@pytest.mark.parametrize("module", examples())
def test_examples_in_docstrings_run(module):
    failures, tried = doctest.testmod(import_module(module), optionflags=doctest.ELLIPSIS)
    assert tried and not failures


@pytest.mark.parametrize("path", sorted((ROOT / "tests/experiments").glob("[!_]*.py")), ids=lambda path: path.stem)
def test_the_experiments_can_be_imported(path):
    assert import_module(f"tests.experiments.{path.stem}").__doc__
