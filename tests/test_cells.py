"""Every printed cell is its field: a comparison whose numbers all differ, traced back by value.

Errors have one digit and numbers four, so that what is printed is what was given. `CELLS` says which fields stand in
which column; a column that is not in it fails, and so does a field of the summary that is printed nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import arviz_plots
import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from test_report import LOG_EVIDENCE, Tosses, a_comparison

from compare.bench.tables import cells as bench_cells
from compare.calibration import Calibration, pictures
from compare.calibration import report as calibration
from compare.calibration.ranks import LIKELIHOOD
from compare.comparison import Comparison, Fit, Job, Layout
from compare.held_out import HeldOut, HeldOutEvidence, HeldOutLedger, NetworkSummary
from compare.measure.truth import Sampled
from compare.options import Options
from compare.report.html.stack import stack
from compare.report.plots import posteriors
from compare.report.plots.elbo import Curve, draw_far, draw_near
from compare.report.plots.ledger import costs
from compare.report.tables import claims, diagnostics, estimates, ledger, predictive, scores
from compare.report.tables.table import Table
from compare.report.tables.tidy import OF_QUANTITY, tidy
from compare.summary import (
    LEDGER_TERMS,
    Correlation,
    Diagnostics,
    Estimate,
    Evidence,
    FitSummary,
    Ledger,
    LooPit,
    Loss,
    ModelCheck,
    Optimisation,
    PredictiveP,
    Score,
    VariableSummary,
    Verdict,
    WithoutTruth,
    to_json,
)
from models.plotting import looks

NAMES = ("z[0]", "z[1]", "z[2]")
LAYOUT = Layout({"z": (3,)}, {}, {}, tuple(("z", (place,)) for place in range(3)))
FITS = {"numpyro-mean_field": ("numpyro", "mean_field"), "pyro-full_rank": ("pyro", "full_rank")}


class Unequal:
    """Numbers of which no two are equal; of errors, which have one digit, no two that come after each other."""

    def __init__(self) -> None:
        self.count = 0

    def number(self) -> float:
        self.count += 1
        return round(1 + self.count * 0.0137, 4)

    def error(self) -> float:
        self.count += 1
        return (1 + self.count % 9) * 10.0 ** -(2 + self.count // 9 % 2)

    def of(self, kind: type, **given: Any) -> Any:
        """An instance whose other fields have numbers of their own."""
        names = [entry.name for entry in fields(kind) if entry.name not in given]
        numbers = {n: self.error() if "mcse" in n or "sampling" in n else self.number() for n in names}
        return kind(**numbers, **given)


def numbers_in(text: str) -> list[tuple[float, float]]:
    """The numbers in a text, each with half a unit of its last digit."""
    known = []
    for mantissa, power in re.findall(r"(?<![\w.])([-+]?\d[\d,]*(?:\.\d+)?)(e[-+]?\d+)?", text):
        scale = 10.0 ** int(power[1:]) if power else 1.0
        half = 0.5000001 * scale * 10.0 ** -len(mantissa.partition(".")[2])
        known.append((float(mantissa.replace(",", "")) * scale, half))
    return known


def assert_holds(text: str, *values: float, halves: float = 1.0) -> None:
    """The text has these numbers in this order and no others, each to `halves` halves of its last digit."""
    known = numbers_in(text)
    assert len(known) == len(values), f"{text!r} has not the {len(values)} numbers {values}"
    for (number, half), value in zip(known, values, strict=True):
        assert abs(number - value) <= halves * half, f"{text!r} does not hold {values}"


def at(summary: Any, path: str) -> float:
    """The number at a path of fields and keys."""
    for part in path.split("."):
        summary = summary[part] if isinstance(summary, Mapping) else getattr(summary, part)
    return summary


def estimated(path: str) -> tuple[str, ...]:
    return f"{path}.value", f"{path}.mcse"


def scored(path: str) -> tuple[str, ...]:
    return f"{path}.value", f"{path}.mcse", f"{path}.sampling"


def a_ledger(unequal: Unequal) -> Ledger:
    """All terms, in balance."""
    symmetry, family, amortisation, auxiliary, left, complexity = (0.1 * unequal.number() for _ in range(6))
    gap = symmetry + family + amortisation + auxiliary + left
    values = {"elbo": LOG_EVIDENCE - gap, "data_fit": LOG_EVIDENCE - gap + complexity, "complexity": complexity}
    values |= {"evidence_gap": gap, "symmetry_gap": symmetry, "family_gap": family}
    values |= {"amortisation_gap": amortisation, "auxiliary_gap": auxiliary, "optimisation_gap": left}
    return Ledger(**{name: unequal.of(Estimate, value=value) for name, value in values.items()})


def a_summary(unequal: Unequal, job: Job) -> FitSummary:
    """All that a guide and chains have, in one."""
    counts = {"divergences": int(100 * unequal.number())}
    counts |= {name: round(1e3 * unequal.number(), 1) for name in ("ess_tail", "ess_bulk")}
    estimates = (unequal.of(Estimate) for _ in range(3))
    return FitSummary(
        job.library,
        job.guide,
        job.method,
        "done",
        None,
        10 * unequal.number(),
        int(1e4 * unequal.number()),
        {name: unequal.of(VariableSummary) for name in NAMES},
        {"z[0],z[1]": unequal.of(Correlation)},
        unequal.of(Diagnostics, **counts),
        Optimisation(unequal.of(Estimate), 0.01, True, int(1e3 * unequal.number()), None),
        a_ledger(unequal),
        {column.key: unequal.of(Score) for column in scores.SCORES},
        WithoutTruth("narrow", "", "beside NUTS", *estimates, unequal.number()),
        Verdict("agrees", ""),
        unequal.of(Loss, name="regret", meaning="", word="more", sentence=""),
    )


@cache
def build_comparison() -> Comparison:
    """Guides in both libraries, with all that tables can print."""
    unequal, data = Unequal(), Tosses()
    step_size = np.outer([0.21, 0.34, 0.17, 0.29], np.linspace(3, 1, 100))
    stats = {"step_size": step_size, "acceptance_rate": np.linspace(0.7, 0.93, 400).reshape(4, 100)}
    draws = np.random.default_rng(0).normal(size=(4, 100, 3)) * [1, 10, 100]
    axes = "chain", "draw"
    groups = {
        "posterior": xr.Dataset({"z": ((*axes, "z_dim_0"), draws)}),
        "sample_stats": xr.Dataset({name: (axes, value) for name, value in stats.items()}),
    }
    fits, summaries = {}, {}
    for name, (library, guide) in FITS.items():
        job = Job(name, "coin", data, "svi", library, guide, options=Options(), layout=LAYOUT)
        fits[name] = Fit(job, "done", tree=xr.DataTree.from_dict(groups))
        summaries[name] = a_summary(unequal, job)
    accounts = {name: HeldOutLedger(*(unequal.of(Score) for _ in fields(HeldOutLedger))) for name in FITS}
    network = NetworkSummary(
        "done", None, 10 * unequal.number(), unequal.of(HeldOutEvidence), unequal.of(Score), 12, 3456.0, True
    )
    check = {"y": {name: unequal.of(PredictiveP) for name in ("mean", "sd")}}
    return replace(
        a_comparison(nuts=False),
        fits=fits,
        summaries=summaries,
        log_evidence=Evidence(LOG_EVIDENCE, 0.0, "closed form"),
        held_out=HeldOut(40, 100, "quadrature", accounts, {"numpyro": network}, {}),
        model_check=ModelCheck("exact", None, check, {"y": LooPit(31, 0.4567)}),
    )


CELLS: dict[str, dict[str, tuple[str, ...]]] = {
    "by_element": {
        "mean": ("mean", "mcse_mean"),
        "sd": ("sd", "mcse_sd"),
        "interval": ("lower", "upper"),
        "error": ("mean_error", "mcse_mean_error"),
        "ratio": ("sd_ratio", "mcse_sd_ratio"),
    },
    "fits": {
        "rhat": ("diagnostics.r_hat",),
        "ess": ("diagnostics.ess_bulk",),
        "khat": ("diagnostics.khat",),
        "relative": ("diagnostics.relative_ess",),
        "elbo": estimated("ledger.elbo"),
        "gap": estimated("ledger.evidence_gap"),
        "seconds": ("seconds",),
        "loss": estimated("decision"),
        "against": (),
        "verdict": (),
    },
    "cost": {
        "gradients": ("gradients",),
        "steps": ("optimisation.steps",),
        "converged": (),
        "gap": estimated("optimisation.gap"),
        "tail": ("diagnostics.ess_tail",),
        "divergences": ("diagnostics.divergences",),
        "bfmi": ("diagnostics.e_bfmi",),
    },
    "unaided": {
        "without": (),
        "verdict": (),
        "by": (),
        "error": estimated("without_truth.mean_error"),
        "ratio": estimated("without_truth.sd_ratio"),
        "evidence": estimated("without_truth.evidence"),
        "khat": ("without_truth.khat",),
        "relative": ("diagnostics.relative_ess",),
    },
    "ledgers": {name: estimated(f"ledger.{name}") for name in LEDGER_TERMS}
    | {"estimated": estimated("optimisation.gap")},
    "predictions": {column.key: scored(f"predictions.{column.key}") for column in scores.SCORES},
    "correlations": {"z[0],z[1]": estimated("correlations.z[0],z[1]")},
}
"""By table and column the fields of the fit's summary, or of an element's, that are printed there."""

NOT_IN_TABLES = {
    "diagnostics.transitions": "in the sentence that counts divergences",
    "diagnostics.r_hat_by_chance": "in the sentence that names a target of R-hat",
    "optimisation.tolerance": "the column's meaning says it",
    "optimisation.converged": "a word",
    "correlations.z[0],z[1].truth": "the row of the exact fit",
    "decision.exact": "the row of the exact fit",
}
"""Fields that no column holds, and why."""


def columns_of(table: Table, *known: str) -> set[str]:
    return {column.key for column in table.columns} - {"fit", *known}


@pytest.mark.parametrize("name", ["cost", "unaided", "ledgers", "predictions", "correlations", "fits"])
def test_a_cell_holds_its_fields(name):
    """Of every fit, in every column."""
    comparison = build_comparison()
    module = next(m for m in (diagnostics, ledger, scores, estimates) if hasattr(m, name))
    table, cells = getattr(module, name)(comparison), CELLS[name]
    others = {
        "cost": {"step_size", "acceptance"},
        "fits": {"variable", *CELLS["by_element"]},
        "ledgers": {"log_evidence"},
    }
    assert columns_of(table) == cells.keys() | others.get(name, set())
    assert [row.fit for row in table.rows] == list(FITS)
    for row in table.rows:
        for column, paths in cells.items():
            values = [at(comparison.summaries[row.fit], path) for path in paths]
            # sums are made to hold in print, which may take a term to its other neighbour
            assert_holds(row.cells[column], *values, halves=2.0 if column in LEDGER_TERMS or column == "gap" else 1.0)
        if name == "ledgers":
            assert_holds(row.cells["log_evidence"], LOG_EVIDENCE)


def test_an_elements_cells_hold_its_fields():
    """In the table by element, and in the row of the fit that it stands for as the worst."""
    comparison = build_comparison()
    table = estimates.by_element(comparison)
    assert columns_of(table, "variable") == CELLS["by_element"].keys()
    assert [(row.cells["variable"], row.fit) for row in table.rows] == [(z, fit) for z in NAMES for fit in FITS]
    for row in table.rows:
        for column, paths in CELLS["by_element"].items():
            variable = comparison.summaries[row.fit].variables[row.cells["variable"]]
            assert_holds(row.cells[column], *(at(variable, path) for path in paths))
    for row in estimates.fits(comparison).rows:
        variables = comparison.summaries[row.fit].variables
        name = max(variables, key=lambda z: abs(variables[z].mean_error))
        ratios = [variable.sd_ratio for variable in variables.values()]
        assert row.cells["variable"] == name
        assert_holds(row.cells["ratio"], min(ratios), max(ratios))
        for column in CELLS["by_element"].keys() - {"ratio"}:
            assert_holds(row.cells[column], *(at(variables[name], path) for path in CELLS["by_element"][column]))


def test_adaptation_is_the_chains():
    """The least and the largest of all chains' last step sizes, and their mean acceptance."""
    comparison = build_comparison()
    row = diagnostics.cost(comparison).rows[0]
    assert_holds(row.cells["step_size"], 0.17, 0.34)
    assert_holds(row.cells["acceptance"], (0.7 + 0.93) / 2)


def leaves(value: Any, path: str = "") -> set[str]:
    """The paths of all numbers."""
    if is_dataclass(value):
        value = {entry.name: getattr(value, entry.name) for entry in fields(value)}
    if isinstance(value, Mapping):
        return set().union(*(leaves(item, f"{path}.{key}") for key, item in value.items()))
    return {path[1:]} if isinstance(value, float | int) else set()


def test_every_number_of_a_fit_is_printed_somewhere():
    """A new field needs a column, or a reason why it has none."""
    comparison = build_comparison()
    summary = comparison.summaries["numpyro-mean_field"]
    every = {path for path in leaves(summary) if not path.startswith("variables.")}
    printed = {path for cells in CELLS.values() for paths in cells.values() for path in paths}
    assert every - printed == NOT_IN_TABLES.keys()
    of_element = {path for paths in CELLS["by_element"].values() for path in paths}
    assert leaves(summary.variables["z[0]"]) - of_element == {"median"}  # in the data frame and the truth's lines


def test_the_data_frame_holds_every_field():
    comparison = build_comparison()
    table = tidy(comparison).set_index(["fit", "quantity"])
    alike = {"estimated_gap": "optimisation.gap.value", "mcse_estimated_gap": "optimisation.gap.mcse"}
    alike |= {"loss": "decision.value", "mcse_loss": "decision.mcse", "seconds": "seconds"}
    alike |= {key: f"diagnostics.{key}" for key in leaves(Diagnostics(1.0, 1.0, 1.0, 1, 1.0, 1.0, 1.0, 1, 1.0))}
    for term in LEDGER_TERMS:
        alike |= {term: f"ledger.{term}.value", f"mcse_{term}": f"ledger.{term}.mcse"}
    assert set(table.columns) == {*alike, *OF_QUANTITY, "verdict"}
    assert len(table) == len(FITS) * len(NAMES)
    for (fit, quantity), row in table.iterrows():
        summary = comparison.summaries[fit]
        assert {column: row[column] for column in alike} == {c: float(at(summary, path)) for c, path in alike.items()}
        given = to_json(summary.variables[quantity])
        assert {column: row[column] for column in OF_QUANTITY} == given


def test_a_test_sets_cells_hold_their_fields():
    comparison = build_comparison()
    table, held_out = scores.guides(comparison), comparison.held_out
    assert columns_of(table) == {entry.name for entry in fields(HeldOutLedger)}
    assert [row.fit for row in table.rows] == list(FITS)
    for row in table.rows:
        for column in columns_of(table):
            term = getattr(held_out.guides[row.fit], column)
            assert_holds(row.cells[column], term.value, term.mcse, term.sampling)
    (row,), network = scores.networks(comparison).rows, held_out.networks["numpyro"]
    shown = {"evidence": scored("evidence"), "bits": ("evidence.bits", "evidence.bits_sampling")}
    shown |= {"elbo": scored("elbo")} | {key: (key,) for key in ("epochs", "speed", "seconds")}
    assert columns_of(scores.networks(comparison)) == shown.keys()
    for column, paths in shown.items():
        assert_holds(row.cells[column], *(at(network, path) for path in paths))


def test_a_model_checks_cells_hold_their_fields():
    comparison = build_comparison()
    rows = predictive.checks(comparison).rows
    for row, (name, p) in zip(rows[:-1], comparison.model_check.statistics["y"].items(), strict=True):
        assert row.cells["statistic"] == name
        assert_holds(row.cells["data"], p.observed)
        assert_holds(row.cells["p"], p.value, p.mcse)
    assert_holds(rows[-1].cells["statistic"], 31)
    assert_holds(rows[-1].cells["p"], 0.4567)


def test_what_is_said_of_the_truth_are_its_numbers():
    """A reference's means and sds, each with its own error, its median and its interval; the evidence with its own."""
    comparison = build_comparison()
    known = Sampled(comparison.fits["numpyro-mean_field"], "a long run")
    lines = claims.truth(replace(comparison, truth=known))
    assert tuple(lines) == NAMES
    for place, line in enumerate(lines.values()):
        (mean, sd), errors = (known.mean()["z"][place], known.sd()["z"][place]), known.errors("z", (place,))
        low, middle, high = (known.quantile(p)["z"][place] for p in (0.025, 0.5, 0.975))
        assert f"{errors[0]:.0e}" != f"{errors[1]:.0e}"
        assert_holds(line, mean, errors[0], sd, errors[1], middle, 95, low, high)
    sentence, method = claims.evidence(
        replace(comparison, log_evidence=Evidence(-12.3456, 0.002, "a way"), truth=known)
    )
    assert_holds(sentence, -12.3456, 0.002)
    assert method == "a way"


def test_a_calibrations_cells_hold_their_fields():
    unequal = Unequal()
    levels = [name.rstrip("%") for name in ("50%", "80%", "95%")]

    def quantity() -> dict[str, Any]:
        coverage = {
            level: {**to_json(unequal.of(Estimate)), "given_truth": to_json(unequal.of(Estimate)),
                    "theory": unequal.number()}
            for level in levels
        }  # fmt: skip
        parts = {name: to_json(unequal.of(Estimate)) for name in ("rank_mean", "bias", "spread")}
        return {"coverage": coverage, **parts, "outside": 0.1 * unequal.number()}

    given = {"theta": quantity(), "log likelihood": quantity()}
    diagnostics = {"r_hat": unequal.number(), "ess": 1e3 * unequal.number(), "divergences": 7}
    fit = {"verdict": {"word": "agrees"}, "quantities": given, "data_sets": 60, "failed": 3, "converged": 57}
    fit |= {"seconds": 12.3, "diagnostics": diagnostics}
    table = calibration.table({"quantities": list(given), "fits": {"exact": fit}}, list)
    for row, (name, numbers) in zip(table.rows, given.items(), strict=True):
        cells, coverage = row.cells, numbers["coverage"]
        assert cells["quantity"] == name
        for level in levels:
            assert_holds(cells[level], coverage[level]["value"], coverage[level]["mcse"])
            assert_holds(cells[f"truth{level}"], *coverage[level]["given_truth"].values())
        assert_holds(cells["theory"], *(coverage[level]["theory"] for level in levels))
        assert_holds(cells["bias"], *numbers["bias"].values())
        assert_holds(cells["spread"], *numbers["spread"].values())
        assert_holds(cells["outside"], numbers["outside"])
    known = {"fit", "quantity", "theory", "bias", "spread", "outside", "verdict"}
    assert {column.key for column in table.columns} == {*known, *levels, *(f"truth{level}" for level in levels)}
    (row,) = calibration.chains({"fits": {"exact": fit}}).rows
    shown = {"sets": 60, "failed": 3, "converged": 57, "rhat": diagnostics["r_hat"], "ess": diagnostics["ess"]}
    for column, number in (shown | {"divergences": 7, "seconds": 12.3}).items():
        assert_holds(row.cells[column], number)
    assert row.cells.keys() == shown.keys() | {"fit", "divergences", "seconds"}


def test_a_benchmarks_cells_hold_their_medians():
    unequal = Unequal()
    for method, keys in (("svi", ("cold", "warm", "gradients", "memory")), ("nuts", ("cold", "warm", "ess", "memory"))):
        median = {way: {key: round(100 * unequal.number()) for key in keys} for way in ("zoo", "baseline")}
        for numbers in median.values():
            numbers |= {"gap": to_json(unequal.of(Estimate)), "ess_per_second": round(1e4 * unequal.number())}
        ratio = {key: unequal.number() for key in ("cold", "warm", "ess_per_second")}
        row = {"library": "pyro", "guide": None, "method": method, "median": median, "ratio": ratio}
        cells = bench_cells(row | {"zoo": {"converged": [True, False, True]}})
        for key in {*keys, *(["ess_per_second"] if method == "nuts" else [])}:
            assert_holds(cells[key], median["zoo"][key])
            assert_holds(cells[f"{key} baseline"], median["baseline"][key])
        for key in [key for key in ratio if f"{key} ratio" in cells]:
            assert_holds(cells[f"{key} ratio"].rstrip("×"), ratio[key])
        if method == "svi":
            assert_holds(cells["gap"], *median["zoo"]["gap"].values())
            assert_holds(cells["gap baseline"], *median["baseline"]["gap"].values())
        assert cells["converged"] == "2/3"


def ends_of(collection: Any) -> list[tuple[float, float]]:
    return [(float(segment[0][0]), float(segment[1][0])) for segment in collection.get_segments()]


def test_the_ledgers_figure_has_two_errors_either_side():
    """A bar's parts are the gaps, and the whisker's ends are the evidence gap's, or, where no evidence is known, the
    ELBO's own."""
    comparison = build_comparison()
    axes = costs(comparison).axes[0]
    for place, (container, summary) in enumerate(zip(whiskers(axes), comparison.summaries.values(), strict=True)):
        account, gap = summary.ledger, summary.ledger.evidence_gap
        assert ends_of(container[2][0]) == [pytest.approx((gap.value - 2 * gap.mcse, gap.value + 2 * gap.mcse))]
        widths = [bar.get_width() for bar in axes.patches if bar.get_y() < place < bar.get_y() + bar.get_height()]
        gaps = ("symmetry_gap", "family_gap", "amortisation_gap", "auxiliary_gap", "optimisation_gap")
        assert widths == [pytest.approx(getattr(account, name).value) for name in gaps]
    unknown = replace(comparison, log_evidence=Evidence(None, None, "not known"))
    elbos = [summary.ledger.elbo for summary in comparison.summaries.values()]
    top = max(elbo.value for elbo in elbos)
    for container, elbo in zip(whiskers(costs(unknown).axes[0]), elbos, strict=True):
        below = top - elbo.value
        assert ends_of(container[2][0]) == [pytest.approx((below - 2 * elbo.mcse, below + 2 * elbo.mcse), abs=1e-12)]


def whiskers(axes: Any) -> list[Any]:
    return [container for container in axes.containers if type(container).__name__ == "ErrorbarContainer"]


def test_the_zoos_bars_have_two_errors_either_side():
    comparison = build_comparison()
    bars = stack(to_json(comparison.summary)).bars
    assert {bar.fit for bar in bars} == FITS.keys()
    for bar in bars:
        gap = comparison.summaries[bar.fit].ledger.evidence_gap
        assert bar.whisker == pytest.approx((gap.value - 2 * gap.mcse, gap.value + 2 * gap.mcse))
        assert bar.gap[-1].end == pytest.approx(gap.value)
        assert bar.account[-1].end == pytest.approx(comparison.summaries[bar.fit].ledger.elbo.value)


def test_the_climbs_bands_are_two_errors_either_side():
    """In both panels, and the line is the ELBO's, or its distance to the bound."""
    curve = Curve(np.array([1.0, 10.0, 30.0]), np.array([-5.0, -3.0, -2.5]), np.array([0.3, 0.2, 0.1]),
                  np.array([3.0, 1.0, 0.5]), np.array([0.5, 0.4, 0.2]))  # fmt: skip
    look = looks(["numpyro-mean_field"])["numpyro-mean_field"]
    near, far = Figure().subplots(1, 2)
    draw_near(near, curve, look, "x")
    draw_far(far, curve, look)
    for axes, middle, error in ((near, curve.elbo, curve.error), (far, curve.gap, curve.gap_error)):
        assert axes.lines[0].get_xydata().tolist() == np.column_stack([curve.spent, middle]).tolist()
        drawn = {(round(x, 9), round(y, 9)) for x, y in axes.collections[0].get_paths()[0].vertices}
        ends = {
            (x, round(y + side * e, 9)) for side in (-2, 2) for x, y, e in zip(curve.spent, middle, error, strict=True)
        }
        assert ends <= drawn


def test_the_forest_has_the_quantiles(monkeypatch):
    """Every fit's median, and the ends of its 50% and 95% intervals, are drawn."""
    comparison = build_comparison()
    figures: list[Figure] = []
    monkeypatch.setattr(posteriors, "save", lambda figure, path: figures.append(figure))
    posteriors.forest(replace(comparison, truth=None), Path("forest.png"))
    lines = [np.sort(np.unique(line.get_xdata())) for axes in figures[0].axes for line in axes.lines]
    dots = [
        x for axes in figures[0].axes for each in axes.collections for x, _ in np.ma.filled(each.get_offsets(), np.nan)
    ]
    for fit in comparison.fits.values():
        for place in range(3):
            values = fit.tree["posterior"]["z"].values[..., place]
            low, left, middle, right, high = np.quantile(values, (0.025, 0.25, 0.5, 0.75, 0.975))
            for ends in ((low, high), (left, right)):
                assert any(len(line) == 2 and np.allclose(line, ends, rtol=1e-9) for line in lines)
            assert np.isclose(dots, middle, rtol=1e-9).any()


@pytest.mark.parametrize("picture", ["ranks", "coverage"])
def test_a_panel_of_ranks_shows_its_own_quantity(picture, monkeypatch, tmp_path):
    """Of six latents and the likelihood some have a panel: each holds the ranks of the quantity it is named for."""
    names = [*(f"z[{place}]" for place in range(6)), LIKELIHOOD]
    pit = np.random.default_rng(0).random((50, 7)) * np.linspace(0.1, 1, 7)
    drawn: list[Any] = []
    monkeypatch.setattr(arviz_plots, "plot_ecdf_pit", lambda tree, **options: drawn.append(tree["prior_sbc"].dataset))
    monkeypatch.setattr(pictures, "band", lambda *given: (np.zeros(2), np.zeros(2), np.ones(2)))
    monkeypatch.setattr(pictures, "save", lambda *given: None)
    ranks = {"exact": SimpleNamespace(pit=pit, sets=np.arange(50))}
    shown = Calibration(None, ranks, names, {})
    pictures.PICTURES[picture](shown, tmp_path / "ranks.png")
    assert list(drawn[0]) == ["z[0]", "z[2]", "z[5]", LIKELIHOOD]
    for name, values in drawn[0].items():
        own = pit[:, names.index(name)]
        np.testing.assert_array_equal(np.ravel(values), own if picture == "ranks" else 2 * np.abs(own - 0.5))
