"""The tables' contents as text, shared by the terminal and the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from compare.report.tables.elements import draws, errors, finished, reported
from compare.report.tables.ledger import Unbalanced, common_digits, rounded, term_value
from compare.report.tables.numbers import ABSENT, entry, interval, measured, plain, printable
from models.contract import element

if TYPE_CHECKING:
    from compare.comparison import Comparison

__all__ = [
    "COLUMNS",
    "LEDGER",
    "Column",
    "Row",
    "Rows",
    "claims",
    "correlations",
    "estimates",
    "facts",
    "fits",
    "ledgers",
    "predictions",
    "published",
    "tally",
    "verdicts",
]

FEW = 6
"""Up to this many elements are listed one by one."""


@dataclass(frozen=True)
class Column:
    """A column: its header, the table it falls into when one table is too wide, and what it means."""

    key: str
    header: str
    group: str
    meaning: str


@dataclass(frozen=True)
class Row:
    """One fit: its cells by column, and its verdict's word."""

    fit: str
    word: str
    cells: dict[str, str]


@dataclass(frozen=True)
class Rows:
    """A table: its columns, its rows, and remarks to be read with it."""

    columns: tuple[Column, ...]
    rows: list[Row]
    remarks: list[str] = field(default_factory=list)


COLUMNS: tuple[Column, ...] = (
    Column("fit", "fit", "", "The way this posterior was got: library and family of guides, or method."),
    Column("variable", "variable", "estimates", "The element whose mean is furthest off; the rest are no worse."),
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
        "Spread between chains against spread within them; 1.00 when they agree, above 1.01 they do not. "
        "For chains only: a guide's draws are independent whatever the guide is worth.",
    ),
    Column("ess", "ESS", "diagnostics", "Bulk effective sample size: so many independent draws would do as well."),
    Column(
        "khat",
        "k-hat",
        "diagnostics",
        "Pareto k of the importance weights p(x, z) / q(z). Below 0.5 the guide is close to the posterior, "
        "above 0.7 it misses so much of it that reweighting cannot repair it.",
    ),
    Column("elbo", "ELBO", "diagnostics", "Evidence lower bound in nats ± its Monte Carlo error. Higher is better."),
    Column("gap", "evidence gap", "diagnostics", "Log evidence minus ELBO, in nats: KL(q, posterior). 0 is right."),
    Column("seconds", "seconds", "diagnostics", "Wall-clock time, compilation included."),
    Column("verdict", "verdict", "diagnostics", "One word for all of it; the sentences below say why."),
)

LEDGER: tuple[tuple[str, str, str], ...] = (
    ("log_evidence", "log evidence", "log p(x): how well the model as a whole predicts the data."),
    ("elbo", "ELBO", "Evidence lower bound of the fitted guide q."),
    ("data_fit", "  data fit", "E_q[log p(x | z)]: how well the latents that q believes in explain the data."),
    ("complexity", "  complexity", "KL(q, prior): how far q has moved from the prior."),
    ("evidence_gap", "evidence gap", "log evidence - ELBO = KL(q, posterior): what the approximation cost in all."),
    ("family_gap", "  family gap", "What even the best member of the family would cost."),
    ("amortisation_gap", "  amortisation gap", "What it cost that one encoder serves all data points."),
    ("optimisation_gap", "  optimisation gap", "The rest: what the optimiser left."),
    (
        "estimated",
        "estimated opt. gap",
        "The optimisation gap as estimated from the gradients alone, without knowing the optimum.",
    ),
)


def worst(variables: Mapping[str, Any]) -> str:
    """The element whose mean is furthest off; the first where nothing is known of that."""
    return max(variables, key=lambda name: abs(variables[name].get("mean_error") or 0.0))


def sampled(values: Mapping[str, Any]) -> bool:
    """Whether an element's numbers are Monte Carlo."""
    return bool(values.get("mcse_mean"))


def errors_of(comparison: Comparison, fit: str, name: str) -> dict[str, float]:
    tree = finished(comparison).get(fit)
    where = {element(*e): e for e in reported(comparison)}.get(name)
    try:
        return errors(draws(tree, *where)) if tree is not None and where is not None else {}
    except (KeyError, ValueError):
        return {}


def numbers(comparison: Comparison, fit: str, name: str, values: Mapping[str, Any]) -> tuple[dict[str, str], float]:
    """The cells of one element of one fit, and the larger error of the interval's ends."""
    mcse = values.get("mcse_mean") if sampled(values) else None
    more = errors_of(comparison, fit, name) if mcse else {}
    if mcse and values.get("mcse_sd"):
        more["sd"] = values["mcse_sd"]
    cells = {
        "variable": name,
        "mean": measured(values.get("mean"), mcse),
        "sd": measured(values.get("sd"), more.get("sd")),
        "interval": interval(values.get("q2.5"), values.get("q97.5")),
        "error": measured(values.get("mean_error"), values.get("mcse_mean_error"), sign=True),
        "ratio": measured(values.get("sd_ratio"), values.get("mcse_sd_ratio")),
    }
    return cells, max(more.get("q2.5", 0.0), more.get("q97.5", 0.0))


def span(variables: Mapping[str, Any]) -> str:
    ratios = [v["sd_ratio"] for v in variables.values() if v.get("sd_ratio") is not None]
    return f"{min(ratios):.3f} to {max(ratios):.3f}" if ratios else ABSENT


def remark(ends: float, several: bool) -> list[str]:
    remarks = [f"The ends of the 95% intervals are within ±{ends:.1g} (Monte Carlo)."] if ends else []
    if several:
        remarks.append(
            "Each fit is shown at its worst element, with the least and the greatest sd ratio of all elements."
        )
    return remarks


def shown_ledgers(comparison: Comparison) -> tuple[int, dict[str, dict[str, Any]]]:
    """The decimals that all ledgers share, and each ledger as it is printed."""
    summary = comparison.summary
    evidence = (summary.get("log_evidence") or {}).get("value")
    ledgers = {n: e["ledger"] for n, e in summary["fits"].items() if (e.get("ledger") or {}).get("elbo") is not None}
    digits = common_digits(list(ledgers.values()), evidence)
    return digits, {name: rounded(ledger, evidence, digits, strict=False) for name, ledger in ledgers.items()}


def fits(comparison: Comparison) -> Rows:
    """A row a fit, the worst element where there are several."""
    digits, printed = shown_ledgers(comparison)
    rows, ends, several = [], 0.0, len(reported(comparison)) > 1
    for name, one in comparison.summary["fits"].items():
        word = (one.get("verdict") or {}).get("word") or one["status"]
        cells = {column.key: ABSENT for column in COLUMNS}
        variables = one.get("variables") or {}
        if variables:
            chosen = worst(variables)
            found, end = numbers(comparison, name, chosen, variables[chosen])
            cells.update(found)
            ends = max(ends, end)
            if several:
                cells["ratio"] = span(variables)
        facts_ = one.get("diagnostics") or {}
        ledger = one.get("ledger") or {}
        terms = printed.get(name, {})
        cells.update(
            fit=printable(name),
            rhat=plain(facts_.get("r_hat"), 3),
            ess=ABSENT if facts_.get("ess_bulk") is None else f"{facts_['ess_bulk']:.0f}",
            khat=ABSENT if facts_.get("khat") is None else f"{facts_['khat']:z.2f}",
            elbo=entry(terms.get("elbo"), ledger.get("elbo"), digits),
            gap=entry(terms.get("evidence_gap"), ledger.get("evidence_gap"), digits),
            seconds=ABSENT if one.get("seconds") is None else f"{one['seconds']:.1f}",
            verdict=word,
        )
        rows.append(Row(name, word, cells))
    columns = tuple(c for c in COLUMNS if several or c.key != "variable")
    return Rows(columns, rows, remark(ends, several))


def estimates(comparison: Comparison) -> Rows | None:
    """A row an element and fit; None where there is one element, or more than a few."""
    if not 1 < len(reported(comparison)) <= FEW:
        return None
    rows, ends = [], 0.0
    for e in map(lambda e: element(*e), reported(comparison)):
        for name, one in comparison.summary["fits"].items():
            values = (one.get("variables") or {}).get(e)
            if values:
                cells, end = numbers(comparison, name, e, values)
                ends = max(ends, end)
                rows.append(Row(name, (one.get("verdict") or {}).get("word") or "", {"fit": printable(name), **cells}))
    keys = ("variable", "fit", "mean", "sd", "interval", "error", "ratio")
    by_key = {c.key: c for c in COLUMNS}
    return Rows(tuple(by_key[k] for k in keys), rows, remark(ends, False)) if rows else None


def correlations(comparison: Comparison) -> Rows | None:
    """A row a fit with the correlations of the elements; None where there are none, or more than a few."""
    found = {n: e.get("correlations") or {} for n, e in comparison.summary["fits"].items()}
    pairs = list(dict.fromkeys(pair for one in found.values() for pair in one))
    if not 0 < len(pairs) <= FEW:
        return None
    rows = []
    for name, one in found.items():
        if one:
            cells = {"fit": printable(name)}
            for pair in pairs:
                term = one.get(pair)
                error = term.get("mcse") if isinstance(term, Mapping) else None
                cells[pair] = measured(term_value(term), error)
            rows.append(Row(name, "", cells))
    columns = tuple(Column(pair, pair, "correlations", "") for pair in pairs)
    return Rows((COLUMNS[0], *columns), rows)


SCORES: tuple[tuple[str, str, str], ...] = (
    (
        "log_density",
        "log density",
        "Mean log predictive density of the held-out points, in nats a point (of images: all pixels asked for, "
        "jointly). Higher is better.",
    ),
    ("rmse", "RMSE", "Root mean square error of the predictive mean, in units of the target as it was fitted."),
    ("coverage_50", "in 50%", "Share of held-out points inside the central 50% predictive interval."),
    ("coverage_95", "in 95%", "Share of held-out points inside the central 95% predictive interval."),
    ("accuracy", "accuracy", "Share of held-out points whose more probable class is theirs."),
    (
        "calibration_error",
        "calibration error",
        "Mean distance between predicted probability and observed share, in ten bins; above 0 even for perfect "
        "probabilities where bins hold few points.",
    ),
    ("log_evidence", "log evidence", "Mean exact log p(x) of the images, in nats an image."),
    ("lit", "lit pixels", "Share of the pixels that are lit."),
    ("distance", "to nearest", "Pixels in which an image differs from the nearest training image, on average."),
    ("log_prior", "log prior", "Mean log density of the points under the prior, in nats."),
    (
        "log_aggregate",
        "log aggregate",
        "Mean log density of the points under the average of the test images' exact posteriors, in nats.",
    ),
    (
        "bits",
        "bits a pixel",
        "What a code of the test images needs: -log2 p(x) by the exact evidence, -ELBO / log 2 by bits back with a "
        "guide, the file of a compressor. Lower is better.",
    ),
    (
        "bits_best",
        "best member",
        "Bits a pixel by bits back with the best member of the guide's family for each image, without an encoder.",
    ),
)


def predictions(comparison: Comparison) -> Rows | None:
    """A row a fit and a baseline with its scores on held-out data; None where nothing is held out."""
    scores = {name: one.get("predictions") for name, one in comparison.summary["fits"].items()}
    suffix = " (baseline)" if any(scores.values()) else ""  # without fits there is nothing to be a baseline of
    scores |= {f"{name}{suffix}": one for name, one in (comparison.summary.get("baselines") or {}).items()}
    known = {name: one for name, one in scores.items() if one}
    if not known:
        return None
    keys = [key for key, _, _ in SCORES if any(key in one for one in known.values())]
    rows = []
    for name, one in known.items():
        cells = {"fit": printable(name)} | {key: scored(one.get(key)) for key in keys}
        rows.append(Row(name, "", cells))
    columns = tuple(Column(key, header, "predictions", meaning) for key, header, meaning in SCORES if key in keys)
    remarks = ["After ± the Monte Carlo error, in brackets the standard error from the number of points held out."]
    return Rows((COLUMNS[0], *columns), rows, remarks)


def scored(score: Mapping[str, Any] | None) -> str:
    """A score with both its errors."""
    if not score:
        return ABSENT
    text = measured(score["value"], score["mcse"]) if score["mcse"] else plain(score["value"], 3)
    return text if score["sampling"] is None else f"{text} ({score['sampling']:.2g})"


def ledgers(comparison: Comparison) -> Rows | None:
    """A row a fit with its ledger, columns as in `LEDGER`; None where no fit has one."""
    digits, printed = shown_ledgers(comparison)
    if not printed:
        return None
    summary, rows, remarks = comparison.summary, [], []
    for name, terms in printed.items():
        one = summary["fits"][name]
        source = {"log_evidence": summary["log_evidence"], **one["ledger"]}
        cells = {key: entry(terms.get(key), source.get(key), digits) for key, _, _ in LEDGER}
        optimisation = one.get("optimisation") or {}
        gap = optimisation.get("gap") or {}
        cells["estimated"] = measured(gap.get("value"), gap.get("mcse"))
        rows.append(Row(name, (one.get("verdict") or {}).get("word") or "", {"fit": printable(name), **cells}))
        try:
            rounded(one["ledger"], summary["log_evidence"]["value"], digits)
        except Unbalanced as error:
            remarks.append(f"The ledger of {printable(name)} does not balance: {error}.")
    keys = [key for key, _, _ in LEDGER if any(row.cells[key] != ABSENT for row in rows)]
    columns = tuple(Column(key, header.strip(), "ledger", meaning) for key, header, meaning in LEDGER if key in keys)
    return Rows((COLUMNS[0], *columns), rows, remarks)


def verdicts(comparison: Comparison) -> list[tuple[str, str, str]]:
    """Fit, word, sentence."""
    found = []
    for name, one in comparison.summary["fits"].items():
        verdict = one.get("verdict") or {}
        sentence = verdict.get("sentence") or one.get("reason") or ""
        found.append((printable(name), verdict.get("word") or one["status"], printable(sentence)))
    return found


def claims(comparison: Comparison) -> list[tuple[bool, str, str]]:
    """Whether the text agrees, its claim, the truth."""
    found = []
    for one in comparison.summary.get("text") or []:
        truth = one["truth"]
        shown = f"{truth:.6g}" if isinstance(truth, float) else printable(truth)
        found.append((bool(one["agrees"]), printable(one["claim"]), shown))
    return found


AGREES = {True: ("yes", "✓ agrees"), False: ("no", "✗ differs"), None: ("untold", "– not told")}
"""What is said of a published claim, as a class of the page's style and in words."""


def published(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What others published and what was found here, as it is shown; a summary of an older version has none of it."""
    found = []
    for one in summary.get("published") or []:
        kind, word = AGREES[one["agrees"]]
        told = {key: printable(one[key]) for key in ("claim", "source", "published", "ours")}
        found.append({"kind": kind, "word": word, **told})
    return found


def tally(entries: Iterable[Mapping[str, Any]]) -> str:
    """How many published claims agree, how many do not, and of how many nothing can be told."""
    kinds = [one["kind"] for one in entries]
    parts = [f"{kinds.count('yes')} of {len(kinds)} agree"]
    if "no" in kinds:
        parts.append(f"{kinds.count('no')} {'does' if kinds.count('no') == 1 else 'do'} not")
    if "untold" in kinds:
        parts.append(f"of {kinds.count('untold')} these data and fits say nothing")
    return "; ".join(parts)


def fact(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, list | tuple):
        inner = [fact(item) for item in value]
        return f"[{', '.join(inner[:6])}{', and so on' if len(inner) > 6 else ''}]"
    if isinstance(value, Mapping):
        inner = [f"{key} {fact(item)}" for key, item in value.items()]
        return ", ".join(inner[:6]) + (", and so on" if len(inner) > 6 else "")
    return printable(value)


def facts(comparison: Comparison, most: int = 4) -> tuple[dict[str, str], dict[str, str]]:
    """What is known of the true posterior: a line an element, and what else the model has to say, by name."""
    truth = comparison.truth
    if truth is None:
        return {}, {}
    mean, sd = truth.mean(), truth.sd()
    low, middle, high = (truth.quantile(p) for p in (0.025, 0.5, 0.975))
    lines = {}
    for site, index in reported(comparison, most):
        where = tuple(index)
        if where:  # a tree may keep only some elements of a site, the truth always has them all
            values = [source[site][where] for source in (mean, sd, middle, low, high)]
        else:
            values = [source[site] for source in (mean, sd, middle, low, high)]
        m, s, q, lo, hi = (float(v) for v in values)
        errors = truth.errors(site, where) if hasattr(truth, "errors") else (None, None)
        moments = f"mean {measured(m, errors[0])}, sd {measured(s, errors[1])}, median {plain(q)}"
        lines[element(site, where)] = f"{moments}, 95% interval {interval(lo, hi)}"
    told = {"mean", "sd", "median", "95% interval", "interval"}
    rest = {printable(k).replace("_", " "): fact(v) for k, v in (comparison.summary.get("facts") or {}).items()}
    return lines, {k: v for k, v in rest.items() if k not in told}
