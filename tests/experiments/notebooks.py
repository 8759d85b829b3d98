"""Run the notebooks as a user would, and print which of their outputs differ.

    python -m tests.experiments.notebooks [NOTEBOOK ...] [--write]

Every code cell of a notebook is run in one namespace, from the project's folder. What it prints, and its last
expression as Jupyter would show it (a figure as PNG, else as HTML and text), are its outputs. They agree where the
words do. ``--write`` puts the new outputs in their places.
"""

from __future__ import annotations

import argparse
import ast
import base64
import io
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from tests.experiments.readme import ROOT, without_numbers

__all__ = ["NOTEBOOKS", "code_cells", "load", "run_cell", "words"]

NOTEBOOKS = sorted((ROOT / "compare/user_model").glob("*.ipynb"))

DPI = 80


def load(path: Path) -> dict[str, Any]:
    """A notebook's document."""
    return json.loads(path.read_text(encoding="utf-8"))


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """The cells that are run."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def run_cell(source: str, namespace: dict[str, Any]) -> list[dict[str, Any]]:
    """The outputs of a cell, in the notebook's format."""
    body = ast.parse(source).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    printed, value = io.StringIO(), None
    with redirect_stdout(printed):
        exec(compile(ast.Module(body, []), "<cell>", "exec"), namespace)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), namespace)
    outputs = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": printed.getvalue().splitlines(True)})
    if value is not None:
        outputs.append({"output_type": "display_data", "metadata": {}, "data": displayed(value)})
    return outputs


def displayed(value: Any) -> dict[str, Any]:
    """A value by MIME type, as Jupyter shows it."""
    if hasattr(value, "savefig"):
        image = io.BytesIO()
        value.savefig(image, format="png", dpi=DPI, bbox_inches="tight")
        return {"image/png": base64.b64encode(image.getvalue()).decode()}
    shown: dict[str, Any] = {"text/plain": repr(value).splitlines(True)}
    html = getattr(value, "_repr_html_", lambda: None)()
    return shown | ({"text/html": html.splitlines(True)} if html else {})


def words(outputs: list[dict[str, Any]]) -> list[str]:
    """What must be the same on every machine: the text without its numbers, and which kinds of output there are."""
    texts = []
    for output in outputs:
        data = output.get("data", {})
        texts.append(without_numbers("".join(output.get("text", data.get("text/plain", sorted(data))))))
    return texts


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the notebooks, and print which outputs differ.")
    parser.add_argument("notebooks", nargs="*", type=Path, help="notebooks (default: all)")
    parser.add_argument("--write", action="store_true", help="put the new outputs in their places")
    arguments = parser.parse_args()
    n_differing = 0
    for path in arguments.notebooks or NOTEBOOKS:
        notebook, namespace = load(path), {"__name__": "__main__"}
        for number, cell in enumerate(code_cells(notebook), 1):
            outputs = run_cell("".join(cell["source"]), namespace)
            is_same = words(outputs) == words(cell["outputs"])
            n_differing += not is_same
            print("same   " if is_same else "differs", path.name, number, flush=True)
            cell |= {"outputs": outputs, "execution_count": number}
        if arguments.write:
            path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return int(n_differing > 0)


if __name__ == "__main__":
    sys.exit(main())
