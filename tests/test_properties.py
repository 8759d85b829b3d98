"""Whatever the options and the data: a result, or one line that says what is wrong; never a traceback or a warning.

Command lines and data are generated (`generated`), in their right range and beyond it, the same ones in every run.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import pickle
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import generated
import jsonschema
import numpy as np
import pytest
from conftest import LIBRARIES, layout, side, with_network
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import models
from compare.cli.commands import all as compare_all
from compare.cli.commands import bench, compare
from compare.cli.errors import check_writable
from compare.cli.main import main
from compare.cli.options import parse
from compare.plan import best_member, needed_libraries, plan, trainings
from compare.report.files import as_json, strict

ROOT = Path(__file__).parents[1]

SCHEMA = json.loads((ROOT / "compare/report/summary.schema.json").read_text(encoding="utf-8"))

RESULT = ""
"""What becomes of a command line that is not refused."""


def every(strategy: st.SearchStrategy[Any], check: Callable[[Any], None], count: int) -> None:
    """Check ``count`` generated values, the same ones every time."""
    ways = settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        print_blob=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )
    ways(given(strategy)(check))()


def counts(few: int, many: int) -> pytest.MarkDecorator:
    """A number of inputs that takes seconds, and with ``-m slow`` the whole one."""
    return pytest.mark.parametrize("count", [few, pytest.param(many, marks=pytest.mark.slow)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the generated files are; and the working directory, in which nothing else may be left."""
    place, before = tmp_path_factory.mktemp("files"), Path.cwd()
    work = tmp_path_factory.mktemp("work")
    os.chdir(work)
    yield place
    os.chdir(before)
    assert list(work.iterdir()) == []


def is_ours(error: BaseException) -> bool:
    """Whether an error was raised by a statement of this project, rather than by what it calls."""
    return Path(traceback.extract_tb(error.__traceback__)[-1].filename).is_relative_to(ROOT)


def outcome(arguments: Sequence[str]) -> str:
    """What the command makes of its arguments, as far as it comes before the first fit: `RESULT` or the refusal.

    Raises:
        AssertionError: it ends otherwise, or says more or less than one line.
        Exception: what the command would have called a comparison that could not be made, or a warning; and a
            ValueError that this project did not raise itself, which would be taken for a refusal.
    """
    wrong: list[Exception] = []

    def watched(work: Callable[[Sequence[str]], Any], given: Sequence[str]) -> int:
        try:
            work(given)
        except Exception as error:
            if not isinstance(error, ValueError) or not is_ours(error):
                wrong.append(error)
            raise
        return 0

    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(compare, "run", partial(watched, planned)),
        mock.patch.object(compare_all, "run", partial(watched, compare_all.parse)),
        mock.patch.object(bench, "run", partial(watched, bench.parse)),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("error")
        try:
            status = main(arguments)
        except SystemExit as end:  # --help
            assert end.code in (0, None)
            return RESULT
    if wrong:
        raise wrong[0]
    if status == 0:
        assert err.getvalue() == ""
        return RESULT
    line = err.getvalue()
    assert status == 2 and out.getvalue() == ""
    assert line.startswith("compare: ") and line.endswith("\n") and len(line.splitlines()) == 1
    assert len(line) <= 1100 and line.removesuffix("\n").isprintable() and "Traceback" not in line
    return line


def planned(arguments: Sequence[str]) -> None:
    """All that is done before the first fit."""
    invocation = parse(arguments)
    check_writable(invocation.settings.out)
    request = invocation.request
    assert set(request.libraries) <= set(needed_libraries(request))
    jobs = trainings(request) or plan(request)  # where a network is trained first, the rest is planned with it
    assert len({(job.method == "training", job.name) for job in jobs}) == len(jobs) > 0


@counts(100, 2000)
@pytest.mark.parametrize("name", models.CATALOGUE)
def test_a_command_line_is_planned_or_refused_in_one_line(name: str, count: int, folder: Path) -> None:
    seen = []

    def check(options: list[generated.Option]) -> None:
        seen.append(outcome([name, *generated.spelt(options, folder)]))

    every(generated.command_lines(name), check, count)
    assert len(seen) >= count and seen.count(RESULT) > count // 10 < len(set(seen))


NAMES = st.one_of(
    generated.ANY,
    st.sampled_from(
        [*models.CATALOGUE, "all", "bench", "--help", "-h", "", " ", "coin ", "Coin", "-", "--", "x" * 5000]
    ),
    st.tuples(generated.ANY, st.sampled_from([".py", ".py:model", ":model", ".py:", ":", "::", ".:x", "..:x"])).map(
        "".join
    ),
    st.sampled_from(
        ["json:loads", "os.path:join", "nothing.here:model", "models.coin:model", "a" * 5000 + ".py", "/.py"]
    ),
)


@counts(200, 2000)
def test_any_name_is_a_model_or_refused_in_one_line(count: int, folder: Path) -> None:
    """A model's name, a user's file or module, ``all``, or nothing of the kind."""
    pairs = st.tuples(NAMES, st.lists(generated.given_options(generated.general()), max_size=2))

    def check(line: tuple[str, list[generated.Option]]) -> None:
        outcome([line[0], *generated.spelt(line[1], folder)])

    every(pairs, check, count)


@counts(100, 1000)
def test_the_whole_zoo_is_planned_or_refused_in_one_line(count: int, folder: Path) -> None:
    offered = generated.general() | {
        "--models": generated.names([*models.CATALOGUE]),
        "--page-only": st.none(),
    }

    def check(options: list[generated.Option]) -> None:
        outcome(["all", *generated.spelt(options, folder)])

    every(st.lists(generated.given_options(offered), max_size=5), check, count)


@counts(100, 1000)
@pytest.mark.parametrize("name", models.CATALOGUE)
def test_a_case_of_the_benchmark_is_planned_or_refused_in_one_line(name: str, count: int, folder: Path) -> None:
    """``MODEL:OPTION=VALUE,...``"""

    def check(options: list[generated.Option]) -> None:
        parts = [text.removeprefix("--") for text in generated.spelt(options, folder, joined=True)]
        outcome(["bench", f"{name}:{','.join(parts)}"])

    every(generated.likely(name), check, count)


# The data that are accepted


def scale(*terms: np.ndarray) -> np.ndarray:
    """What 1e-9 is relative to, as in the battery: the largest term, at least 1."""
    return np.maximum(1.0, np.max(np.abs(np.stack(np.broadcast_arrays(*terms))), axis=0))


def rounding(data: Any) -> float:
    """What differences of log gamma functions of the data's numbers may lose, in nats."""
    sizes = [
        np.abs(value).max(initial=0.0)
        for value in map(np.asarray, data.arguments().values())
        if value.dtype.kind in "fiu"
    ]
    return 1e-14 * float(sum(sizes))


def describes_itself(data: Any) -> None:
    """The summary can hold it, other processes can have it, and the reported elements exist."""
    json.loads(as_json(data.describe()).encode("utf-8"))
    again = pickle.loads(pickle.dumps(data))
    assert json.dumps(strict(again.describe())) == json.dumps(strict(data.describe()))
    assert all(np.isfinite(np.asarray(value, dtype=float)).all() for value in layout(data).observed.values())
    for site, shape in layout(data).latents.items():
        for index in (index for name, index in layout(data).reported_elements if name == site):
            assert len(index) == len(shape) and all(0 <= i < n for i, n in zip(index, shape, strict=True))


def densities(name: str, data: Any, latents: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By library, log p(z) and log p(x | z) at points z."""
    values = {}
    for library in LIBRARIES:
        arguments, static = side(library).split_arguments(data.arguments())
        values[library] = side(library).density(name, static)(latents, arguments)
    return values


def keeps_its_promises(name: str, data: Any) -> None:
    """What the model's folder says of these data is finite, consistent, and what both twins say."""
    model, count = models.load(name), 50
    exact = model.exact(data)
    if exact is None:
        rng = np.random.default_rng(4)
        latents = {site: rng.uniform(0.2, 0.8, (count, *shape)) for site, shape in layout(data).latents.items()}
    else:
        latents = exact.draw(np.random.default_rng(1), count)
        assert {site: value.shape for site, value in latents.items()} == {
            site: (count, *shape) for site, shape in layout(data).latents.items()
        }
        finite(exact, data)
    by = densities(name, data, latents)
    for ours, theirs in zip(*by.values(), strict=True):
        assert ours.dtype == theirs.dtype == np.float64 and np.isfinite(ours).all()
        assert np.max(np.abs(ours - theirs) / scale(ours, theirs)) < 1e-9 + rounding(data)
    if exact is None:
        return
    log_posterior, more = exact.log_posterior(latents), 1e-9 + rounding(data)
    for log_prior, log_likelihood in by.values():
        largest = scale(log_prior, log_likelihood, log_posterior)
        evidence = log_prior + log_likelihood - log_posterior
        assert np.max(np.abs(evidence - exact.log_evidence) / largest) < more
    for family in model.guides:
        best = best_member(model, data, family)
        assert best is None or best.elbo <= exact.log_evidence + more * max(1.0, abs(exact.log_evidence))


def finite(exact: Any, data: Any) -> None:
    """An exact posterior's numbers: finite, in order, and of their sites' shapes."""
    assert math.isfinite(exact.log_evidence) and 0 <= exact.tolerance < math.inf and exact.method
    low, middle, high = (exact.quantile(probability) for probability in (0.025, 0.5, 0.975))
    for site, shape in layout(data).latents.items():
        for value in (exact.mean(), exact.sd(), low, middle, high):
            assert np.shape(value[site]) == shape and np.isfinite(value[site]).all()
        assert np.all((np.asarray(exact.sd()[site]) > 0) | (np.asarray(exact.mean()[site]) == 1))  # a simplex of one
        assert np.all((np.asarray(low[site]) <= middle[site]) & (np.asarray(middle[site]) <= high[site]))
    assert all(-1 <= value <= 1 for value in exact.correlations().values())
    json.loads(as_json(exact.extra_summary()))


PROMISES = (0, 1, 1, 2, 2, 3, 17)
"""Whole numbers of which data are made that go through both libraries, which compile for each shape."""


@counts(10, 100)
@pytest.mark.parametrize("name", models.CATALOGUE)
def test_data_that_are_accepted_keep_the_models_promises(name: str, count: int, folder: Path) -> None:
    accepted = []

    def check(options: list[generated.Option]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                request = parse([name, *generated.spelt(options, folder)]).request
            except ValueError as error:
                assert is_ours(error)
                return
            data = with_network(request.model, request.data)
            describes_itself(data)
            if request.model.literature and request.model.literature.claims:
                request.model.literature.claims(data)
        keeps_its_promises(name, data)
        accepted.append(options)

    every(generated.likely(name, PROMISES), check, count)
    assert len(accepted) > count // 10


# Whole comparisons


HURRIED = ("--budget", "3", "--reference-budget", "3", "--ess", "50", "--reference-ess", "50")
"""So little that most fits do not arrive: they have to say so."""

FEW = (1, 2, 3)
"""Whole numbers of which whole comparisons are made, training included."""


@pytest.mark.slow
@pytest.mark.parametrize("name", models.CATALOGUE)
def test_a_comparison_on_any_data_ends_with_a_word_for_every_fit(name: str, folder: Path, tmp_path: Path) -> None:
    """In both libraries: done, or skipped or failed for a reason; the summary follows the schema; nothing else is said.

    On standard error there may be lines that begin with ``compare: ``, and no others.
    """
    validator, accepted = jsonschema.Draft202012Validator(SCHEMA), []

    def check(options: list[generated.Option]) -> None:
        arguments = [name, *generated.spelt(options, folder)]
        if outcome(arguments) != RESULT:
            return
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main([*arguments, *HURRIED, "--workers", "1", "--format", "json", "--out", str(tmp_path)])
        assert status == 0, err.getvalue()
        assert (
            all(line.startswith("compare: ") for line in err.getvalue().splitlines())
            and "Traceback" not in err.getvalue()
        )
        summary = json.loads(out.getvalue())
        validator.validate(summary)
        assert summary["fits"] and {fit["library"] for fit in summary["fits"].values()} >= set(LIBRARIES)
        for fit in summary["fits"].values():
            assert (fit["status"] == "done") == (fit["reason"] is None)
            assert fit["status"] == "done" or fit["verdict"]["word"] == fit["status"]
            assert fit["reason"] is None or (fit["reason"].isprintable() and len(fit["reason"]) <= 300)
        accepted.append(summary)

    every(generated.likely(name, FEW), check, 3)
    assert accepted
