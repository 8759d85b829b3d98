"""The notebooks run from the first cell to the last, and show what they say."""

from __future__ import annotations

import pytest

from compare.options import Options
from tests.experiments.notebooks import NOTEBOOKS, code_cells, load, run_cell, words


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_what_its_cells_print(path, monkeypatch):
    """To the last word: numbers differ between processors. It has all the time that a busy machine may need."""
    patient = {"budget": 600.0, "reference_budget": 6000.0}
    monkeypatch.setattr(Options, "given", lambda options: Options(**patient | options))
    namespace = {"__name__": "__main__"}
    for cell in code_cells(load(path)):
        outputs = run_cell("".join(cell["source"]), namespace)
        assert words(outputs) == words(cell["outputs"]), "".join(cell["source"])


def test_there_is_one_for_each_library():
    """Each tells the fits of its own library apart: one not converged, one narrow, one that agrees."""
    assert [path.stem for path in NOTEBOOKS] == ["your_fit_numpyro", "your_fit_pyro"]
    for path in NOTEBOOKS:
        shown = [text for cell in code_cells(load(path)) for text in words(cell["outputs"])]
        for word in ("not converged", "narrow", "agrees"):
            assert any(text.split("\n")[0].endswith(word) for text in shown), (path.name, word)
        assert shown.count("image/png") >= 3
