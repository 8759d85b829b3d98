"""The tables of fits: one row a fit, element by element, and their correlations."""

from collections.abc import Iterable, Mapping

from compare.comparison import Comparison
from compare.report.tables.elements import draws, finished, interval_error, reported_elements
from compare.report.tables.ledger import FIT, printed
from compare.report.tables.numbers import ABSENT, estimate, interval, khat, measured, plain, printable, seconds
from compare.report.tables.table import Column, Row, Table
from compare.summary import FitSummary, VariableSummary
from compare.verdict.thresholds import ERRORS

FEW = 6  # up to this many elements, or pairs of them, are listed one by one

COLUMNS = (
    FIT,
    Column("variable", "variable", "estimates", "The element whose mean is furthest off.", True),
    Column("mean", "mean", "estimates", "Posterior mean ± its Monte Carlo standard error."),
    Column("sd", "sd", "estimates", "Posterior standard deviation ± its Monte Carlo standard error."),
    Column("interval", "95% interval", "estimates", "Equal-tailed: 2.5% of the posterior lies below it, 2.5% above."),
    Column("error", "error (sd)", "estimates", "Mean minus true mean, in true standard deviations. 0 is right."),
    Column(
        "ratio",
        "sd ratio",
        "estimates",
        "Standard deviation over the true one. 1 is right; below 1 the fit is overconfident. "
        "With several elements: the least and the greatest.",
    ),
    Column(
        "rhat",
        "R-hat",
        "diagnostics",
        "Spread between chains over spread within them: 1.00 when they agree, above 1.01 when they do not. "
        "For chains only: the draws of a guide are independent however good it is.",
    ),
    Column("ess", "ESS", "diagnostics", "Bulk effective sample size: the number of independent draws worth as much."),
    Column(
        "khat",
        "k-hat",
        "diagnostics",
        "Pareto k of the importance weights p(x, z) / q(z). Below 0.5 the guide is close to the posterior; "
        "above 0.7 it misses so much that reweighting cannot repair it.",
    ),
    Column(
        "relative",
        "relative ESS",
        "diagnostics",
        "Effective sample size of the importance weights over the number of draws. Near 1 all weights are alike, and "
        "k-hat is noise.",
    ),
    Column("elbo", "ELBO", "diagnostics", "Evidence lower bound in nats ± its Monte Carlo error. Higher is better."),
    Column("gap", "evidence gap", "diagnostics", "Log evidence minus ELBO, in nats: KL(q, posterior). 0 is right."),
    Column("seconds", "seconds", "diagnostics", "Wall-clock time, compilation included."),
    Column("verdict", "verdict", "diagnostics", "One word for the fit; its sentence says why.", True),
)


def loss_columns(comparison: Comparison) -> tuple[Column, ...]:
    """The columns of what it costs to act on each fit; none where the model decides nothing."""
    known = next((summary.decision for summary in comparison.summaries.values() if summary.decision), None)
    if known is None:
        return ()
    return (
        Column("loss", known.name, "estimates", known.meaning),
        Column(
            "against",
            "vs exact",
            "estimates",
            f"Whether the {known.name} is less or more than that of acting on the exact posterior, by more than "
            f"{ERRORS} standard errors.",
            True,
        ),
    )


def word(summary: FitSummary) -> str:
    """The verdict's word, or the fit's status where it was not judged."""
    return summary.verdict.word if summary.verdict else summary.status


def worst(mean_errors: Mapping[str, float | None]) -> str:
    """The element whose mean is furthest off; the first where nothing is known."""
    return max(mean_errors, key=lambda name: abs(mean_errors[name] or 0.0))


def span(ratios: Iterable[float | None]) -> str:
    """The least and the greatest sd ratio."""
    known = [ratio for ratio in ratios if ratio is not None]
    return f"{min(known):.3f} to {max(known):.3f}" if known else ABSENT


def cells_of(name: str, variable: VariableSummary) -> dict[str, str]:
    return {
        "variable": name,
        "mean": measured(variable.mean, variable.mcse_mean),
        "sd": measured(variable.sd, variable.mcse_sd),
        "interval": interval(variable.lower, variable.upper),
        "error": measured(variable.mean_error, variable.mcse_mean_error, sign=True),
        "ratio": measured(variable.sd_ratio, variable.mcse_sd_ratio),
    }


def end_error(comparison: Comparison, fit: str, name: str) -> float:
    """The Monte Carlo error of the ends of an element's 95% interval; 0 where they are exact."""
    tree, index = finished(comparison).get(fit), {comparison.label(e): e for e in reported_elements(comparison)}[name]
    if tree is None or not comparison.summaries[fit].variables[name].mcse_mean:
        return 0.0
    return interval_error(draws(tree, *index))


def remarks(ends: float) -> tuple[str, ...]:
    return (f"The ends of the 95% intervals are within ±{ends:.1g} (Monte Carlo).",) if ends else ()


def fits(comparison: Comparison) -> Table:
    """A row a fit, with its worst element where there are several."""
    texts, several = printed(comparison), len(reported_elements(comparison)) > 1
    columns = (*COLUMNS[:-1], *loss_columns(comparison), COLUMNS[-1])
    rows, ends = [], 0.0
    for name, summary in comparison.summaries.items():
        cells = {column.key: ABSENT for column in columns} | {"fit": printable(name), "verdict": word(summary)}
        if summary.variables and summary.status == "done":
            variables = summary.variables
            chosen = worst({key: variable.mean_error for key, variable in variables.items()})
            cells |= cells_of(chosen, variables[chosen])
            ends = max(ends, end_error(comparison, name, chosen))
            if several:
                cells["ratio"] = span(variable.sd_ratio for variable in variables.values())
        terms, diagnostics = texts.get(name, {}), summary.diagnostics
        cells |= {
            "rhat": plain(diagnostics.r_hat, 3),
            "ess": ABSENT if diagnostics.ess_bulk is None else f"{diagnostics.ess_bulk:.0f}",
            "khat": khat(diagnostics.khat),
            "relative": plain(diagnostics.relative_ess, 3),
            "elbo": terms.get("elbo", ABSENT),
            "gap": terms.get("evidence_gap", ABSENT),
            "seconds": seconds(summary.seconds),
            "loss": estimate(summary.decision),
            "against": (summary.decision and summary.decision.word) or ABSENT,
        }
        rows.append(Row(name, word(summary), cells))
    lead = "Numbers after ± are Monte Carlo standard errors; a number without one is exact or a diagnostic."
    notes = remarks(ends)
    if several:
        notes += ("Each fit is shown at its worst element, with the least and the greatest sd ratio of all elements.",)
    table = Table(f"Every fit against the {comparison.truth_name}", columns, rows, lead, notes)
    return table if several else table.select([column.key for column in columns if column.key != "variable"])


def by_element(comparison: Comparison) -> Table | None:
    """A row an element and fit; None where there is one element, or more than a few."""
    if not 1 < len(reported_elements(comparison)) <= FEW:
        return None
    rows, ends = [], 0.0
    for name in (comparison.label(e) for e in reported_elements(comparison)):
        for fit, summary in comparison.summaries.items():
            if summary.status == "done":
                ends = max(ends, end_error(comparison, fit, name))
                cells = {"fit": printable(fit), **cells_of(name, summary.variables[name])}
                rows.append(Row(fit, word(summary), cells))
    by_key = {column.key: column for column in COLUMNS}
    columns = tuple(by_key[key] for key in ("variable", "fit", "mean", "sd", "interval", "error", "ratio"))
    return Table("Element by element", columns, rows, remarks=remarks(ends), n_keys=2) if rows else None


def correlations(comparison: Comparison) -> Table | None:
    """A row a fit with the correlations of the elements; None where there are none, or more than a few."""
    by_fit = {name: summary.correlations for name, summary in comparison.summaries.items() if summary.correlations}
    pairs = list(dict.fromkeys(pair for known in by_fit.values() for pair in known))
    if not 0 < len(pairs) <= FEW:
        return None
    rows = [
        Row(name, "", {"fit": printable(name), **{pair: estimate(known.get(pair)) for pair in pairs}})
        for name, known in by_fit.items()
    ]
    return Table("Correlations", (FIT, *(Column(pair, pair, "correlations") for pair in pairs)), rows)
