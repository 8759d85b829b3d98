"""A call from Python leaves the user's process as it was, however it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from conftest import LIBRARIES

from compare.user_model.process import undisturbed


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_call_leaves_the_process_as_it_was(library):
    """A census of what the libraries, NumPy, Python and Matplotlib keep globally: nothing differs."""
    command = [sys.executable, "-m", "tests.census", library]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    run = subprocess.run(
        command, capture_output=True, text=True, cwd=Path(__file__).parents[1], timeout=300, env=environment
    )
    assert run.returncode == 0, run.stderr[-3000:]
    ends = ("well", "in an error", "by Ctrl-C")
    assert json.loads(run.stdout) == {f"{call} {end}": [] for call in ("compare", "check") for end in ends}


def test_torch_s_way_of_evaluating_many_points_warns_nobody():
    """It warns that an operation takes them one by one, which a model's user cannot change."""
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with undisturbed("pyro"):
            torch.func.vmap(lambda x: (2 * x).clamp_(min=0.1))(torch.ones(3))
            warnings.warn("the model's own", stacklevel=1)
    assert [str(warning.message) for warning in caught] == ["the model's own"]
