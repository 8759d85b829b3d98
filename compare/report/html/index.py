"""The page of the whole zoo: what every model's ``summary.json`` says, on one page that opens from the disk."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import guides
from compare.comparison import TRUTH_METHODS
from compare.registry import TITLES
from compare.report.files import save_text
from compare.report.html.entries import (
    MEANINGS,
    WORDS,
    Entry,
    count_words,
    evidence_of,
    family,
    kind,
    library,
    line,
    read,
)
from compare.report.html.scatter import scatter
from compare.report.html.stack import TERM_TITLES, stack
from compare.report.html.template import embedded, render
from compare.report.tables import claims
from compare.report.tables.estimates import span, worst
from compare.report.tables.ledger import TERMS, printed_ledgers
from compare.report.tables.numbers import ABSENT, counted, measured, printable, seconds, value
from compare.report.tables.table import Row, Table
from models.contract import Claim, Published

__all__ = ["Entry", "line", "page", "read", "write"]

TRUTH = ("exact", "reference")
FIRST = ("exact", "reference", "coordinate_ascent")

HEADERS = (
    ("model", ""),
    ("fit", "Library and family of guides, or method."),
    ("verdict", "One word for the fit; sorted from exact to failed."),
    ("ELBO", "Evidence lower bound in nats ± its Monte Carlo error."),
    ("evidence gap", "Log evidence minus ELBO, in nats."),
    ("worst mean error", "Mean minus true mean, in true sds, of the element that is furthest off."),
    ("sd ratio", "Standard deviations over the true ones: least and greatest."),
    ("seconds", "Wall-clock time, compilation included."),
    ("gradients", "Gradient evaluations of the log joint."),
)


class Cell(NamedTuple):
    """A cell of the sortable table: its text, what it is sorted by, and its classes in the page's style."""

    text: str
    key: Any
    classes: str = ""


def kinds(entries: Sequence[Entry]) -> list[str]:
    """All fits' names without their libraries: the truth, the families in their order, NUTS."""
    families = {kind(fit, name): family(fit) for entry in entries for name, fit in entry.fits.items()}
    order = [*FIRST, *guides.FAMILIES, *sorted(set(families.values()) - {"nuts"}), "nuts"]
    return sorted(families, key=lambda name: (order.index(families[name]), name))


def libraries(entries: Sequence[Entry]) -> list[str]:
    """The libraries that any fit was made in, in the order of `TITLES`."""
    used = {library(fit, name) for entry in entries for name, fit in entry.fits.items()}
    return [name for name in TITLES if name in used]


def figure(entry: Entry, name: str) -> str:
    """One telling number of a fit, with its error."""
    fit, terms = entry.fits[name], entry.ledgers[name]
    if fit["status"] != "done" or fit["method"] in TRUTH_METHODS:
        return ""
    for term, word, most in (("evidence_gap", "gap", 4), ("elbo", "ELBO", 2)):
        if terms[term]:
            return f"{word} {printed_ledgers(entry.ledgers, entry.evidence, most)[name][term]}"
    r_hat = fit["diagnostics"]["r_hat"]
    return f"R-hat {r_hat:.3f}" if r_hat else ""


def matrix_cell(entry: Entry, name: str) -> dict[str, str] | None:
    """A fit's place in the matrix; None where there is no such fit."""
    if name not in entry.fits:
        return None
    fit = entry.fits[name]
    return {
        "word": fit["verdict"]["word"],
        "figure": figure(entry, name),
        "sentence": printable(fit["verdict"]["sentence"]),
        "link": f"{quote(entry.name)}/report.html#fit-{name}",
        "name": f"{entry.name}, {name}",
        "library": library(fit, name),
        "guide": family(fit),
    }


def matrix(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """A row for each kind of fit: one cell of each model for all libraries, or one for each library."""
    rows = []
    for name in kinds(entries):
        parts: list[list[tuple[str | None, dict[str, str] | None]]] = []
        for entry in entries:
            cell = matrix_cell(entry, name)
            if entry.summary is None or cell:
                parts.append([(None, cell)])
            else:
                parts.append([(side, matrix_cell(entry, f"{side}-{name}")) for side in libraries(entries)])
        guide = next(cell["guide"] for cells in parts for _, cell in cells if cell)
        rows.append({"name": name, "guide": guide, "cells": parts, "truth": guide in TRUTH})
    return rows


def table(entries: Sequence[Entry]) -> Iterator[dict[str, Any]]:
    """A row a fit of the sortable table."""
    for entry in entries:
        texts = printed_ledgers(entry.ledgers, entry.evidence)
        for name, fit in entry.fits.items():
            word, elbo, gap = fit["verdict"]["word"], *(entry.ledgers[name][term] for term in ("elbo", "evidence_gap"))
            yield {
                "library": library(fit, name),
                "guide": family(fit),
                "word": word,
                "truth": family(fit) in TRUTH,
                "cells": [
                    Cell(entry.name, entry.name, "l"),
                    Cell(name, name, "l"),
                    Cell(word, WORDS.index(word), "l w"),
                    Cell(texts[name]["elbo"], elbo and elbo.value),
                    Cell(texts[name]["evidence_gap"], gap and gap.value),
                    *distance_cells(fit["variables"] or {}),
                    Cell(seconds(fit["seconds"]), fit["seconds"]),
                    Cell(counted(fit["gradients"]), fit["gradients"]),
                ],
            }


def distance_cells(variables: dict[str, dict[str, Any]]) -> tuple[Cell, Cell]:
    """The mean error of a fit's worst element, and its sd ratios."""
    far = variables[worst({name: v.get("mean_error") for name, v in variables.items()})] if variables else {}
    ratios = [v["sd_ratio"] for v in variables.values() if v.get("sd_ratio") is not None]
    error, ratio = far.get("mean_error"), measured(far.get("sd_ratio"), far.get("mcse_sd_ratio"))
    return (
        Cell(measured(error, far.get("mcse_mean_error"), sign=True), None if error is None else abs(error)),
        Cell(span(ratios) if len(ratios) > 1 else ratio, min(ratios) if ratios else None),
    )


def ledger_table(entry: Entry) -> Table | None:
    """The ledgers in numbers: terms down, fits across; None where no fit has one."""
    texts = printed_ledgers(entry.ledgers, entry.evidence)
    rows = [Row(name, "", {"fit": name, **texts[name]}) for name in texts if entry.ledgers[name]["elbo"]]
    terms = tuple(term for term in TERMS if any(row.cells.get(term.key, ABSENT) != ABSENT for row in rows))
    return Table(f"The ledger of {entry.name}", terms, rows) if rows else None


def evidence_text(summary: dict[str, Any]) -> str:
    known, method = evidence_of(summary), printable(summary["log_evidence"]["method"])
    if known is None:
        return method
    return f"{known.value:.4f}{f' ±{known.mcse:.1g}' if known.mcse else ''} nats ({method})"


def describe(entry: Entry, entries: Sequence[Entry]) -> dict[str, Any]:
    link = f"{quote(entry.name)}/report.html"
    content: dict[str, Any] = {"name": entry.name, "title": entry.title, "failure": entry.failure, "link": link}
    content |= {"stack": None, "scatter": None, "claims": [], "published": []}
    if entry.summary is None:
        return content
    summaries = [other.summary for other in entries if other.summary]
    return content | {
        "data": {key: value(described) for key, described in entry.summary["data"].items()},
        "evidence": evidence_text(entry.summary),
        "words": count_words([entry]),
        "seconds": seconds(entry.summary["seconds"]),
        "picture": embedded(entry.picture) if entry.picture else None,
        "stack": stack(entry.summary),
        "ledger": ledger_table(entry),
        "scatter": scatter(entry.name, entry.summary, summaries),
        "claims": claims.claims(Claim(**claim) for claim in entry.summary["text"]),
        "published": claims.published(Published(**claim) for claim in entry.summary.get("published") or []),
        "notes": [printable(note) for note in entry.summary["notes"]],
        "seed": entry.summary["seed"],
    }


def page(entries: Sequence[Entry], command: str | None = None) -> str:
    """The page as text; ``command`` is the command line that made it."""
    rows, described = matrix(entries), [describe(entry, entries) for entry in entries]
    summaries = [entry.summary for entry in entries if entry.summary]
    families = list(dict.fromkeys(row["guide"] for row in rows))
    claimed = [claim for model in described for claim in model["claims"]]
    cited = [claim for model in described for claim in model["published"]]
    bars = [bar for model in described if model["stack"] for bar in model["stack"].bars]
    return render(
        "index.html.jinja",
        families=families,
        models=described,
        verdicts=count_words(entries),
        kinds=[name for name in families if name not in TRUTH],
        used_terms={part.term for bar in bars for part in bar.parts},
        meanings=MEANINGS,
        fits=sum(len(entry.fits) for entry in entries),
        seconds=sum(summary["seconds"] for summary in summaries),
        matrix=rows,
        libraries={name: TITLES[name] for name in libraries(entries)},
        headers=HEADERS,
        table=list(table(entries)),
        terms=TERM_TITLES,
        legend=[name for name in families if name not in (*TRUTH, "nuts")],
        founding_text=claims.FOUNDING_TEXT,
        wrong=sum(not claim.agrees for claim in claimed),
        claims=len(claimed),
        published=claims.tally(cited) if cited else "",
        versions=summaries[0]["versions"] if summaries else {},
        command=command,
    )


def write(entries: Sequence[Entry], folder: Path, command: str | None = None) -> Path:
    """Write ``index.html`` into the folder, completely or not at all."""
    return save_text(page(entries, command), folder / "index.html")
