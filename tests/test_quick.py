"""``--quick``, and what is shown while fits are made."""

from __future__ import annotations

import io
import sys
from dataclasses import replace

import numpy as np
import pytest

from compare import pipeline, report, user_model
from compare.cli.options import parse
from compare.comparison import Request
from compare.execute.progress import show_progress, silent
from compare.options import Options
from compare.plan import needed_libraries, plan, seconds_at_most
from compare.report.console import console_for
from tests.user_models.small_numpyro import separated


@pytest.fixture(scope="module")
def request_and_lines():
    """A posterior without moments, which quadrature refuses, compared quickly; and what was shown meanwhile."""
    mine, shown = user_model.register(separated), []
    given = user_model.data_of(mine, {"y": np.ones(3)})
    request = Request(mine.model, given, ("numpyro",), ("mean_field", "full_rank"), options=Options(budget=600.0))
    request = replace(request, quick=True)
    comparison = pipeline.compare(request, progress=lambda line, done=0, total=None: shown.append((line, done, total)))
    return request, comparison, shown


def test_no_nuts_is_made_and_the_reader_is_told(request_and_lines):
    _, comparison, _ = request_and_lines
    words = {name: (fit.status, fit.verdict.word) for name, fit in comparison.summaries.items()}
    guide = ("done", "undecided")
    assert words == {
        "reference": ("skipped", "skipped"),
        "numpyro-mean_field": guide,
        "numpyro-full_rank": guide,
    }
    assert "--quick leaves" in comparison.summaries["reference"].verdict.sentence
    assert "nothing to compare it with" in comparison.summaries["numpyro-mean_field"].verdict.sentence
    assert any(note.endswith("--quick leaves a long run of NUTS out") for note in comparison.notes)
    assert not any("is the reference" in note for note in comparison.notes)


def test_nobody_has_published_numbers_on_a_users_model(request_and_lines):
    """What is said of k-hat and of references in general is not about it, and there is no line about it."""
    _, comparison, _ = request_and_lines
    assert comparison.published == () and comparison.summaries["numpyro-mean_field"].diagnostics.khat is not None
    assert "others published" not in report.text(comparison, console_for(io.StringIO()), verbose=False)


def test_what_is_done_and_how_long_it_may_take_is_shown(request_and_lines):
    _, _, shown = request_and_lines
    assert shown[0] == ("looking for the modes of the posterior and its mass", 0, None)
    assert ("numpyro-full_rank (2 of 3 fits, up to 600 s)", 2, 3) in shown
    assert ("numpyro-mean_field (1 of 3 fits, up to 1,200 s)", 1, 3) in shown
    assert shown[-1] == ("measuring and judging", 3, 3)
    done = [place for _, place, _ in shown]
    assert done == sorted(done)


def test_the_command_line_leaves_nuts_out_of_the_plan():
    """A network of rectified units has a long run of NUTS for its reference, which needs NumPyro only if it is made."""
    plain, quick = (parse(["bnn", "--activation", "relu", *more]).request for more in ([], ["--quick"]))
    assert {job.method for job in plan(plain)} >= {"nuts", "reference"}
    jobs = plan(quick)
    assert not any(job.method == "nuts" for job in jobs)
    (reference,) = (job for job in jobs if job.method == "reference")
    assert reference.reason.endswith("which --quick leaves out") and seconds_at_most(reference) == 0
    pyro_only = replace(quick, libraries=("pyro",))
    assert needed_libraries(pyro_only) == ["pyro"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_has_a_bar_and_anything_else_has_none(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with show_progress() as progress:
        progress("numpyro-nuts [1 of 3]", 1, 3)
    assert "numpyro-nuts [1 of 3]" in terminal.getvalue()
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with show_progress() as progress:
        assert progress is silent
        progress("nothing", 1, 3)
    assert sys.stderr.getvalue() == ""


def test_the_clock_goes_on_while_the_bar_is_full(monkeypatch):
    """Measuring comes behind the last fit; and the next model of a tour may have as many fits."""
    now, terminal = [0.0], Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr("rich.console.monotonic", lambda: now[0])
    with show_progress() as progress:
        progress("measuring and judging", 3, 3)
        now[0] = 100.0
    assert "0:01:40" in terminal.getvalue()
