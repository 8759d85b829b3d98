"""A wheel holds everything that the packages read: each data file matches a pattern."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[1]
READ_BY_PEOPLE = (".md", ".png", ".ipynb")


def unpacked(root: Path) -> list[str]:
    """The files below models, guides and compare that a wheel would lack, but for what only people read."""
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    patterns = ["*.py", *setuptools["package-data"]["*"]]
    files = [path for package in ("models", "guides", "compare") for path in (root / package).rglob("*")]
    return [
        path.relative_to(root).as_posix()
        for path in sorted(files)
        if path.is_file()
        and path.suffix not in (*READ_BY_PEOPLE, ".pyc")
        and not any(fnmatch(path.name, pattern) for pattern in patterns)
    ]


def test_a_wheel_holds_every_file_that_is_read():
    assert unpacked(ROOT) == []


def test_a_file_that_a_wheel_would_lack_is_seen(tmp_path):
    path = "models/coin/data.txt"
    for name in ("models/coin/__init__.py", "models/coin/data.csv", path):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert unpacked(tmp_path) == [path]
