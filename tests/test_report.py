"""The report: whole files, sums that hold in print, plain text in a pipe, a page that needs no network."""

from __future__ import annotations

import io
import json
import math
import re
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import asdict, dataclass, fields, replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.stats
import xarray as xr
from rich.console import Console

from compare import report
from compare.comparison import Comparison, Fit, Job, Layout, Request
from compare.fit.tree import build, split
from compare.held_out import HeldOutLedger
from compare.measure.truth import Sampled
from compare.options import Options
from compare.report import files, terminal
from compare.report.html.page import code, page
from compare.report.plots.elbo import trajectory
from compare.report.tables import ledger, numbers, scores
from compare.report.tables.estimates import worst
from compare.summary import (
    Diagnostics,
    Estimate,
    Evidence,
    FitSummary,
    Ledger,
    Optimisation,
    Score,
    VariableSummary,
    Verdict,
    WithoutTruth,
)
from models.contract import Best, Claim, Picture

TRUTH = scipy.stats.beta(8, 6)
LOG_EVIDENCE = -2.10055
LAYOUT = Layout({"theta": ()}, {}, {}, (("theta", ()),))


@dataclass(frozen=True)
class Tosses:
    heads: int = 6
    tosses: int = 10

    def describe(self) -> dict[str, Any]:
        return asdict(self)

    def arguments(self) -> dict[str, Any]:
        given = {"heads": self.heads, "tosses": self.tosses, "alpha": 2.0, "beta": 2.0}
        return {name: np.float64(value) for name, value in given.items()}


class Truth:
    method = "closed form"
    tolerance = 1e-12
    log_evidence = LOG_EVIDENCE

    def mean(self) -> dict[str, Any]:
        return {"theta": np.asarray(TRUTH.mean())}

    def sd(self) -> dict[str, Any]:
        return {"theta": np.asarray(TRUTH.std())}

    def quantile(self, probability: float) -> dict[str, Any]:
        return {"theta": np.asarray(TRUTH.ppf(probability))}

    def density(self, site: str, index: tuple[int, ...], grid: np.ndarray) -> np.ndarray:
        return TRUTH.pdf(grid)


def a_ledger(gap: float, family_gap: float, mcse: float) -> Ledger:
    elbo = LOG_EVIDENCE - gap
    return Ledger(
        elbo=Estimate(elbo, mcse),
        data_fit=Estimate(elbo + 0.47123, mcse),
        complexity=Estimate(0.47123, mcse),
        evidence_gap=Estimate(gap, mcse),
        family_gap=Estimate(family_gap),
        optimisation_gap=Estimate(gap - family_gap, mcse),
    )


def a_variable(draws: np.ndarray) -> VariableSummary:
    low, middle, high = np.quantile(draws, [0.025, 0.5, 0.975])
    return VariableSummary(
        mean=draws.mean(), sd=draws.std(), lower=low, median=middle, upper=high,
        mcse_mean=draws.std() / math.sqrt(draws.size), mcse_sd=draws.std() / math.sqrt(2 * draws.size),
        mean_error=(draws.mean() - TRUTH.mean()) / TRUTH.std(), sd_ratio=draws.std() / TRUTH.std(),
        mcse_mean_error=1 / math.sqrt(draws.size), mcse_sd_ratio=1 / math.sqrt(2 * draws.size),
    )  # fmt: skip


def a_summary(job: Job, status: str, reason: str | None, draws: np.ndarray | None) -> FitSummary:
    is_done, word = draws is not None, "agrees" if status == "done" else status
    errors = Estimate(0.01, 0.02), None, Estimate(-2.1, 1e-3)
    without_truth = WithoutTruth("agrees", "No error is <i>found</i>.", "beside NUTS", *errors, 0.2)
    return FitSummary(
        library=job.library, guide=job.guide, method=job.method, status=status, reason=reason, seconds=1.25,
        gradients=40 if job.guide else None, variables={"theta": a_variable(draws)} if is_done else {},
        diagnostics=Diagnostics(r_hat=1.001, ess_bulk=180.0, ess_tail=150.0, e_bfmi=math.nan, khat=0.2),
        ledger=a_ledger(0.00431, 0.0042, 3e-4) if job.guide and is_done else Ledger(),
        optimisation=Optimisation(Estimate(1e-4, 5e-5), 1e-3, True, 20, None) if job.guide else None,
        without_truth=without_truth if job.guide else None,
        verdict=Verdict(word, f"It is [b]{status}[/b] <i>so</i>."),
    )  # fmt: skip


def a_fit(job: Job, rng: np.random.Generator, is_done: bool) -> tuple[Fit, FitSummary]:
    status, reason = ("done", None) if is_done else ("failed", "NaN [red]at\x1b[31m step 3")
    tree = draws = None
    if is_done:
        draws = TRUTH.rvs(size=200, random_state=rng)
        steps = {"elbo": LOG_EVIDENCE - 1e4 * np.exp(-np.arange(20.0)), "elbo_mcse": np.full(20, 1e-3)}
        ended = {"elbo": LOG_EVIDENCE - 0.00431, "gap": 1e-4, "converged": True, "reason": None}
        tree = build(
            split({"theta": draws}),
            {"log_joint": rng.normal(size=(4, 50)), "diverging": np.zeros((4, 50), bool)},
            {"heads": np.asarray(6)},
            optimisation=steps if job.guide else None,
            attributes=ended if job.guide else None,
        )
    return Fit(job, status, reason, 1.25, 40, tree), a_summary(job, status, reason, draws)


def a_comparison(
    nuts: bool = True, pictures: tuple[Picture, ...] = (), reference_fit: str | None = "exact", **changes: Any
) -> Comparison:
    """Held against the exact posterior, a reference, or (None) a reference that could not be made."""
    rng, data = np.random.default_rng(0), Tosses()
    first = "exact" if reference_fit == "exact" else "reference"
    jobs = [
        Job(first, "coin", data, first, options=Options(), layout=LAYOUT),
        Job("numpyro-mean_field", "coin", data, "svi", "numpyro", "mean_field", options=Options(), layout=LAYOUT),
        Job("pyro-full_rank", "coin", data, "svi", "pyro", "full_rank", options=Options(), layout=LAYOUT),
    ]
    jobs += [Job("numpyro-nuts", "coin", data, "nuts", "numpyro", options=Options(), layout=LAYOUT)] if nuts else []
    fits, summaries = {}, {}
    for job in jobs:
        is_done = job.library != "pyro" and (job.method != "reference" or reference_fit is not None)
        fits[job.name], summaries[job.name] = a_fit(job, rng, is_done)
    model = SimpleNamespace(
        name="coin", title="a coin & its <bias>", pictures=pictures, amortization=None, guides=("mean_field",),
        defaults={},
    )  # fmt: skip
    request = Request(model, data, guides=("mean_field", "full_rank"), nuts=nuts, options=Options())
    known: dict[str, Any] = {
        "truth": Truth(),
        "best": {"mean_field": Best(LOG_EVIDENCE - 0.0042, 1e-9, "quadrature", {}), "full_rank": None},
        "log_evidence": Evidence(LOG_EVIDENCE, 0.0, "closed form"),
    }
    if reference_fit != "exact":
        scores = {"log_density": Score(-1.05, 0.01, 0.1), "calibration_error": Score(0.04, 0.002, None)}
        summaries["numpyro-mean_field"] = replace(summaries["numpyro-mean_field"], predictions=scores)
        known = {
            "truth": Sampled(fits["reference"], "a long run") if reference_fit else None,
            "best": {},
            "log_evidence": Evidence(None, None, "not known"),
            "baselines": {"a line": {"log_density": Score(-1.25, 0.0, 0.125)}},
        }
    known |= {
        "claims": (Claim("variance 0.021", 0.01633, False),),
        "extra": {"mode": 7 / 12},
        "versions": {"numpy": np.__version__},
        "seconds": 3.0,
    }
    return Comparison(request, fits=fits, trainings={}, summaries=summaries, **known | changes)


def with_summary(comparison: Comparison, fit: str, **changes: Any) -> Comparison:
    """The comparison with some numbers of a fit changed."""
    summary = replace(comparison.summaries[fit], **changes)
    return replace(comparison, summaries={**comparison.summaries, fit: summary})


def text_of(comparison: Comparison, width: int = 140, verbose: bool = True) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False)
    terminal.show(comparison, console, [Path("out/coin/report.html")], verbose)
    return out.getvalue()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "summary.json"
    files.save_text("before", path)
    with pytest.raises(error), files.atomic_file(path) as temporary:
        temporary.write_text("half")
        raise error
    assert [p.name for p in tmp_path.iterdir()] == ["summary.json"]
    assert path.read_text() == "before"


@pytest.mark.parametrize("digits", [0, 2, 4])
def test_both_equations_hold_in_print(digits: int) -> None:
    rng = np.random.default_rng(digits)
    last = Decimal(1).scaleb(-digits)
    for _ in range(3000):
        scale = 10.0 ** rng.integers(-5, 4)
        log_evidence, data_fit, complexity, family, amortisation = rng.normal(scale=scale, size=5)
        amortisation = amortisation if rng.random() < 0.5 else None
        auxiliary = rng.normal(scale=scale) if rng.random() < 0.5 else None
        elbo = data_fit - complexity
        gap = log_evidence - elbo
        given = {
            "elbo": elbo, "data_fit": data_fit, "complexity": complexity, "evidence_gap": gap, "family_gap": family,
            "amortisation_gap": amortisation, "auxiliary_gap": auxiliary,
            "optimisation_gap": gap - family - (amortisation or 0.0) - (auxiliary or 0.0),
        }  # fmt: skip
        terms = {k: None if v is None else Estimate(v) for k, v in given.items()}
        shown = ledger.rounded(terms, log_evidence, digits)
        assert shown["elbo"] == shown["data_fit"] - shown["complexity"]
        assert shown["log_evidence"] - shown["elbo"] == shown["evidence_gap"]
        assert shown["evidence_gap"] == sum(shown[k] or 0 for k in ledger.GAPS)
        for name, value in {**given, "log_evidence": log_evidence}.items():
            assert (value is None) == (shown[name] is None)
            if value is not None:
                assert abs(float(shown[name]) - value) <= float(last) * (1 + 1e-9)
        assert abs(float(shown["log_evidence"]) - log_evidence) <= 0.5 * float(last) * (1 + 1e-9)
        assert abs(float(shown["elbo"]) - elbo) <= 0.5 * float(last) * (1 + 1e-9)


def test_a_ledger_that_does_not_balance_is_said_not_to() -> None:
    wrong = replace(a_ledger(0.5, 0.1, 0.0), optimisation_gap=Estimate(0.7))
    with pytest.raises(ledger.Unbalanced):
        ledger.rounded(vars(wrong), LOG_EVIDENCE)
    comparison = with_summary(a_comparison(), "numpyro-mean_field", ledger=wrong)
    assert "numpyro-mean_field does not balance" in text_of(comparison)


def test_monte_carlo_numbers_carry_their_errors() -> None:
    assert numbers.measured(0.571428, 0.00234) == "0.571±0.002"
    assert numbers.measured(0.571428, 0.0096) == "0.57±0.01"
    assert numbers.measured(-0.0004, 0.02, sign=True) == "0.00±0.02"
    assert numbers.measured(0.5, 0.0) == "0.5000"
    assert numbers.measured(None, 0.1) == numbers.measured(math.nan, 0.1) == numbers.ABSENT
    assert numbers.entry(Decimal("-2.1006"), Estimate(-2.1006, 3e-7)) == "-2.1006 ±3e-7"


def test_draws_reopen_with_equal_values(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    comparison = a_comparison()
    path = files.save_draws(report.finished(comparison), tmp_path / "draws.nc", {"model": "coin"})
    with xr.open_datatree(path, engine="h5netcdf") as tree:
        assert set(tree.children) == {"exact", "numpyro-mean_field", "numpyro-nuts"}
        for name in tree.children:
            for group in ("posterior", "sample_stats", "observed_data"):
                xr.testing.assert_equal(tree[name][group].to_dataset(), comparison.fits[name].tree[group].to_dataset())
        optimisation = tree["numpyro-mean_field/optimisation"]
        assert optimisation.attrs == {"elbo": LOG_EVIDENCE - 0.00431, "gap": 1e-4, "converged": 1, "reason": ""}


def test_the_summary_is_strict_json() -> None:
    def refuse(literal: str) -> None:
        raise AssertionError(literal)

    comparison = a_comparison()
    read = json.loads(files.as_json(comparison.summary), parse_constant=refuse)
    assert read["fits"]["exact"]["diagnostics"]["e_bfmi"] is None
    assert read["data"] == {"heads": 6, "tosses": 10}
    assert read["text"][0]["agrees"] is False
    out = io.StringIO()
    report.show(comparison, as_json=True, file=out)
    assert json.loads(out.getvalue()) == read


def test_a_pipe_gets_plain_text() -> None:
    out = io.StringIO()
    report.show(a_comparison(), "out/coin", [Path("out/coin/report.html")], file=out, verbose=True)
    text = out.getvalue()
    assert all(c == "\n" or c.isprintable() for c in text)
    assert "[b]failed[/b]" in text
    assert "✗ wrong: variance 0.021; true: 0.01633" in text
    assert "out/coin: report.html" in text


def test_the_verdicts_come_first_and_the_report_is_short() -> None:
    lines = text_of(a_comparison(), verbose=False).splitlines()
    assert [line.split()[0] for line in lines[1:5]] == ["exact", "numpyro-mean_field", "pyro-full_rank", "numpyro-nuts"]
    assert all("It is [b]" in line for line in lines[1:5])
    assert len(lines) <= 25 and "Every fit against the truth" in lines and "The ledger" not in "".join(lines)
    assert any("0 of its 1 claims are right" in line for line in lines)


def test_a_verdict_is_cut_between_clauses_and_outside_brackets() -> None:
    sentence = "It may be trusted (R-hat 1.006, ESS 473): every mean is right; so is every sd."
    assert terminal.first_clauses(sentence, 100) == sentence
    assert terminal.first_clauses(sentence, 70) == "It may be trusted (R-hat 1.006, ESS 473): every mean is right"
    assert terminal.first_clauses(sentence, 45) == "It may be trusted (R-hat 1.006, ESS 473)"
    assert terminal.first_clauses(sentence, 35) == ""


@pytest.mark.parametrize("width", [80, 100, 200])
def test_no_line_is_too_long_and_no_number_cut(width: int) -> None:
    assert max(map(len, text_of(a_comparison(), width, verbose=False).splitlines())) <= width
    text = text_of(a_comparison(), width)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    assert text.count("-2.1049 ±0.0003") == 2
    header = next(line for line in text.splitlines() if line.startswith("  fit") and "95%" in line)
    assert ("verdict" in header) == (width == 200)


def test_a_report_is_complete_and_holds_nothing_stale(tmp_path: Path) -> None:
    pytest.importorskip("h5py")

    def broken(fits: Any, data: Any, exact: Any, path: Path) -> None:
        path.write_text("half")
        raise RuntimeError("no ellipse")

    (tmp_path / "trace.png").write_bytes(b"from an earlier run")
    comparison = a_comparison(nuts=False, pictures=(Picture("ellipses", "Ellipses.", broken),))
    comparison, written = report.write(comparison, tmp_path)
    names = {path.name for path in written}
    assert names == {"summary.json", "draws.nc", "posterior.png", "elbo.png", "forest.png", "report.html"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert comparison.summary["notes"] == ["ellipses.png could not be drawn: RuntimeError: no ellipse"]
    assert all(path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" for path in written if path.suffix == ".png")


def test_chains_are_drawn(tmp_path: Path) -> None:
    _, written = report.write(a_comparison(), tmp_path)
    assert [path.name for path in written if path.suffix == ".png"] == [f"{name}.png" for name in report.PLOTS]


class Draughtsman(Executor):
    """One who draws in this process, or cannot draw."""

    def __init__(self, able: bool) -> None:
        self.able, self.calls = able, 0

    def submit(self, function: Any, *arguments: Any, **options: Any) -> Future:
        self.calls += 1
        future: Future = Future()
        if self.able:
            future.set_result(function(*arguments, **options))
        else:
            future.set_exception(BrokenExecutor("its process ended unexpectedly"))
        return future


@pytest.mark.parametrize("able", [True, False])
def test_pictures_are_drawn_whoever_draws_them(tmp_path: Path, able: bool) -> None:
    plot_executor = Draughtsman(able)
    _, written = report.write(a_comparison(nuts=False), tmp_path, plot_executor)
    assert plot_executor.calls == 3
    assert {path.name for path in written if path.suffix == ".png"} == {"posterior.png", "elbo.png", "forest.png"}
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in written}


def test_the_page_loads_nothing_and_escapes_everything(tmp_path: Path) -> None:
    picture = tmp_path / "elbo.png"
    picture.write_bytes(b"\x89PNG")
    html = page(a_comparison(), [(picture, "A caption.")])
    assert not re.search(r"""(?:src|href|url|@import|action)\s*[=(]?\s*["']?\s*(?:https?:)?//""", html)
    assert "<script" not in html and "<link" not in html
    assert "&lt;i&gt;so&lt;/i&gt;" in html and "a coin &amp; its &lt;bias&gt;" in html
    assert 'src="data:image/png;base64,' in html
    assert "is within the tolerance, 0.01 nats" in html
    assert "python -m compare coin --heads 6 --tosses 10 --libraries numpyro,pyro" in html


def test_the_worst_element_stands_for_the_fit() -> None:
    assert worst({"z[0]": 0.1, "z[1]": -0.5, "z[2]": None}) == "z[1]"


@pytest.mark.parametrize("reference_fit", ["reference", None])
def test_a_reference_stands_where_the_exact_posterior_would(tmp_path: Path, reference_fit: str | None) -> None:
    """Every picture, the table and the page, with the evidence unknown; and with nothing to hold the fits against."""
    comparison = a_comparison(reference_fit=reference_fit)
    comparison, paths = report.write(comparison, tmp_path)
    names = {path.name for path in paths}
    assert {"posterior.png", "elbo.png", "forest.png", "trace.png", "rank.png", "report.html"} <= names
    assert not comparison.summary["notes"]
    text = text_of(comparison)
    assert "Every fit against the reference" in text and "log evidence: not known" in text
    assert ("reference about theta" in text) == (reference_fit is not None)
    assert "nats" not in text.split("log evidence: not known")[1].split("\n")[0]
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "every posterior against the reference" in html


def test_scores_on_held_out_data_have_both_errors() -> None:
    """Fits and baselines in one table: the Monte Carlo error after ±, that of the held-out points in brackets."""
    comparison = a_comparison(reference_fit="reference")
    text = text_of(comparison)
    part = text.split("Held-out predictions")[1]
    row = next(line for line in part.splitlines() if "numpyro-mean_field" in line)
    assert "-1.05±0.01 (0.1)" in row and "0.040±0.002" in row
    assert any("a line (baseline)" in line and "-1.250 (0.12)" in line for line in part.splitlines())
    assert "Held-out predictions" not in text_of(a_comparison())


def test_without_predictions_of_fits_no_row_is_called_a_baseline() -> None:
    comparison = a_comparison(reference_fit="reference")
    comparison = with_summary(comparison, "numpyro-mean_field", predictions=None)
    comparison = replace(comparison, baselines={"PNG": {"bits": Score(10.0, 0.0, None)}})
    part = text_of(comparison).split("Held-out predictions")[1]
    assert any("PNG" in line and "10.000" in line for line in part.splitlines()) and "(baseline)" not in part
    assert "bits a pixel" in part


def test_the_page_shows_the_code_in_both_libraries_or_the_models_file() -> None:
    comparison = a_comparison()
    html = page(comparison)
    assert html.count('aria-label="The program in ') == 2 and "AutoDiagonalNormal" in html
    program = code(replace(comparison, fits={n: fit for n, fit in comparison.fits.items() if not fit.job.guide}))
    assert program["guide"] is None and program["reason"] == "no guide was fitted by SVI"
    ((title, text),) = program["programs"]
    assert title == "NumPyro" and "prior predictive" in text


def test_the_ledger_of_a_test_set_has_a_column_for_each_of_its_terms():
    terms = [term.name for term in fields(HeldOutLedger)]
    account = HeldOutLedger(**dict.fromkeys(terms, Score(1.0, 0.1, 0.2)))
    held_out = SimpleNamespace(guides={"numpyro-mean_field": account}, observations=12)
    table = scores.guides(SimpleNamespace(held_out=held_out))
    assert [column.key for column in table.columns] == ["fit", *terms]


def test_the_distance_to_an_estimated_evidence_has_its_error_too() -> None:
    comparison = replace(a_comparison(), log_evidence=Evidence(-2.0, 0.3, "a way"))
    curve = trajectory(comparison, "numpyro-mean_field", -2.0)
    assert curve.error.max() < 0.3
    assert curve.gap_error == pytest.approx(np.hypot(curve.error, 0.3))
