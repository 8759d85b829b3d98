"""The page of the whole zoo: what every model's ``summary.json`` says, on one page that opens from the disk."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import guides
import models
from compare.report.files import save_text
from compare.report.html.template import render
from compare.report.plots import scatter, stack
from compare.report.tables import rows
from compare.report.tables.ledger import common_digits, rounded
from compare.report.tables.numbers import ABSENT, counted, entry, measured, printable
from compare.report.tables.rows import LEDGER, worst

__all__ = ["Entry", "line", "page", "read", "write"]

WORDS = ("exact", "agrees", "narrow", "wide", "off", "not converged", "unreliable", "failed", "skipped")
LIBRARIES = {"numpyro": "NumPyro", "pyro": "Pyro"}
TRUTH = ("exact", "reference")
FIRST = ("exact", "reference", "coordinate_ascent")


@dataclass(frozen=True)
class Entry:
    """One model's folder: its summary, or why there is none, and one of its pictures."""

    name: str
    summary: dict[str, Any] | None
    failure: str | None
    picture: Path | None = None

    @property
    def title(self) -> str:
        """What the catalogue says of it, if it is there."""
        return models.CATALOGUE.get(self.summary["model"] if self.summary else self.name, "")

    @property
    def fits(self) -> dict[str, dict[str, Any]]:
        return self.summary["fits"] if self.summary else {}


def read(folder: Path) -> list[Entry]:
    """The models whose summaries stand in the folder's folders, the catalogue's first, in its order.

    A summary that is no whole JSON is a failure; one of another schema is passed over.
    """
    found = []
    for place in sorted(one for one in folder.iterdir() if one.is_dir()) if folder.is_dir() else []:
        summary, failure = contents(place / "summary.json"), contents(place / "failure.json")
        if failure and "reason" in failure:
            found.append(Entry(place.name, None, printable(failure["reason"])))
        elif summary and summary.get("schema") == 1 and "fits" in summary:
            picture = place / "posterior.png"
            found.append(Entry(place.name, summary, None, picture if picture.is_file() else None))
        elif summary is None and (place / "summary.json").is_file():
            found.append(Entry(place.name, None, "its summary.json is cut off or damaged; make the comparison anew"))
    order = list(models.CATALOGUE)
    return sorted(found, key=lambda one: (order.index(one.name) if one.name in order else len(order), one.name))


def contents(path: Path) -> dict[str, Any] | None:
    """A JSON file's object, an empty one where it holds something else; None where it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else {}


def line(one: Entry) -> str:
    """The model in one line: its verdicts, its time, its page."""
    if one.summary is None:
        return f"{one.name}: failed: {one.failure}"
    words = ", ".join(f"{count} {word}" for word, count in counts([one]).items())
    return f"{one.name}: {words}; {one.summary['seconds']:.1f} s"


def counts(entries: Sequence[Entry]) -> dict[str, int]:
    """How often each verdict was passed, in the order of `WORDS`."""
    passed = [fit["verdict"]["word"] for one in entries for fit in one.fits.values()]
    return {word: passed.count(word) for word in WORDS if word in passed}


def side(fit: Mapping[str, Any], name: str) -> str:
    """The library that a fit is named for; empty for the truth, whoever made it, and what is made without one."""
    return fit["library"] if fit["library"] and name.startswith(f"{fit['library']}-") else ""


def kind(fit: Mapping[str, Any], name: str) -> str:
    """A fit's name without its library."""
    return name.removeprefix(f"{side(fit, name)}-") if side(fit, name) else name


def family(fit: Mapping[str, Any]) -> str:
    """What filters and colours go by: the guide, or the method where there is none."""
    return fit["guide"] or fit["method"]


def kinds(entries: Sequence[Entry]) -> list[str]:
    """All fits' names without their libraries: the truth, the families in their order, NUTS."""
    found = {kind(fit, name): family(fit) for one in entries for name, fit in one.fits.items()}
    order = [*FIRST, *guides.FAMILIES, *sorted(set(found.values()) - {"nuts"}), "nuts"]
    return sorted(found, key=lambda name: (order.index(found[name]), name))


def libraries(entries: Sequence[Entry]) -> list[str]:
    """The libraries that any fit was made in, by the two names' order."""
    used = {side(fit, name) for one in entries for name, fit in one.fits.items()}
    return [library for library in LIBRARIES if library in used]


def figure(one: Entry, name: str) -> str:
    """One telling number of a fit, with its error."""
    fit, terms = one.fits[name], printed(one)[1][name]
    ledger, diagnostics, digits = fit["ledger"], fit["diagnostics"], min(printed(one)[0], 4)
    if fit["status"] != "done" or fit["method"] == "exact":
        return ""
    if ledger["evidence_gap"]:
        return f"gap {entry(terms['evidence_gap'], ledger['evidence_gap'], digits)}"
    if ledger["elbo"]:
        return f"ELBO {entry(terms['elbo'], ledger['elbo'], min(digits, 2))}"
    return f"R-hat {diagnostics['r_hat']:.3f}" if diagnostics["r_hat"] else ""


def printed(one: Entry) -> tuple[int, dict[str, dict[str, Any]]]:
    """The decimals that all of a model's ledgers share, and each ledger as it is printed everywhere."""
    evidence = one.summary["log_evidence"]["value"]
    digits = common_digits([fit["ledger"] for fit in one.fits.values()], evidence)
    return digits, {name: rounded(fit["ledger"], evidence, digits, strict=False) for name, fit in one.fits.items()}


def cell(one: Entry, name: str) -> dict[str, str] | None:
    """A fit's place in the matrix."""
    if name not in one.fits:
        return None
    fit = one.fits[name]
    return {
        "word": fit["verdict"]["word"],
        "figure": figure(one, name),
        "sentence": printable(fit["verdict"]["sentence"]),
        "link": f"{quote(one.name)}/report.html#fit-{name}",
        "name": f"{one.name}, {name}",
        "library": side(fit, name),
        "guide": family(fit),
    }


def matrix(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """A row for each kind of fit: of each model one cell for all libraries, or one for each."""
    found = []
    for one_kind in kinds(entries):
        parts = []
        for one in entries:
            whole = cell(one, one_kind)
            if one.summary is None or whole:
                parts.append([(None, whole)])
            else:
                parts.append([(library, cell(one, f"{library}-{one_kind}")) for library in libraries(entries)])
        guide = next(c["guide"] for cells in parts for _, c in cells if c)
        found.append({"name": one_kind, "guide": guide, "cells": parts, "truth": guide in TRUTH})
    return found


def table(entries: Sequence[Entry]) -> Iterator[dict[str, Any]]:
    """A row a fit: each cell as text, and as what it is sorted by."""
    for one in entries:
        digits, ledgers = printed(one) if one.summary else (4, {})
        for name, fit in one.fits.items():
            terms = ledgers[name]
            variables = fit["variables"] or {}
            far = variables[worst(variables)] if variables else {}
            ratios = [v["sd_ratio"] for v in variables.values() if v.get("sd_ratio") is not None]
            yield {
                "library": side(fit, name),
                "guide": family(fit),
                "word": fit["verdict"]["word"],
                "truth": family(fit) in TRUTH,
                "cells": [
                    (one.name, one.name, "l"),
                    (name, name, "l"),
                    (fit["verdict"]["word"], WORDS.index(fit["verdict"]["word"]), "l w"),
                    (entry(terms["elbo"], fit["ledger"]["elbo"], digits), value_of(fit["ledger"]["elbo"]), ""),
                    (
                        entry(terms["evidence_gap"], fit["ledger"]["evidence_gap"], digits),
                        value_of(fit["ledger"]["evidence_gap"]),
                        "",
                    ),
                    (
                        measured(far.get("mean_error"), far.get("mcse_mean_error"), sign=True),
                        None if far.get("mean_error") is None else abs(far["mean_error"]),
                        "",
                    ),
                    (
                        rows.span(variables)
                        if len(ratios) > 1
                        else measured(far.get("sd_ratio"), far.get("mcse_sd_ratio")),
                        min(ratios) if ratios else None,
                        "",
                    ),
                    (ABSENT if fit["seconds"] is None else f"{fit['seconds']:.1f}", fit["seconds"], ""),
                    (counted(fit["gradients"]), fit["gradients"], ""),
                ],
            }


HEADERS = (
    ("model", ""),
    ("fit", "Library and family of guides, or method."),
    ("verdict", "One word for all of it; sorted from exact to failed."),
    ("ELBO", "Evidence lower bound in nats ± its Monte Carlo error."),
    ("evidence gap", "Log evidence minus ELBO, in nats."),
    ("worst mean error", "Mean minus true mean, in true sds, of the element that is furthest off."),
    ("sd ratio", "Standard deviations over the true ones: least and greatest."),
    ("seconds", "Wall-clock time, compilation included."),
    ("gradients", "Gradient evaluations of the log joint."),
)


def value_of(term: Mapping[str, Any] | None) -> float | None:
    return term["value"] if term else None


def ledger_table(one: Entry) -> dict[str, Any] | None:
    """The ledgers in numbers: terms down, fits across."""
    evidence, (digits, ledgers) = one.summary["log_evidence"], printed(one)
    columns = {name: fit for name, fit in one.fits.items() if fit["ledger"]["elbo"]}
    if not columns:
        return None
    body = []
    for key, header, meaning in LEDGER:
        source = {name: evidence if key == "log_evidence" else fit["ledger"].get(key) for name, fit in columns.items()}
        cells = [entry(ledgers[name].get(key), source[name], digits) for name in columns]
        if any(text != ABSENT for text in cells):
            body.append((header.strip(), header.startswith(" "), meaning, cells))
    return {"columns": list(columns), "rows": body}


def embedded(path: Path | None) -> str | None:
    """A PNG as a data URI."""
    return path and "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def evidence_text(one: Entry) -> str:
    known = one.summary["log_evidence"]
    if known["value"] is None:
        return printable(known["method"])
    error = f" ±{known['mcse']:.1g}" if known["mcse"] else ""
    return f"{known['value']:.4f}{error} nats ({printable(known['method'])})"


def model_of(one: Entry, every: Sequence[Entry]) -> dict[str, Any]:
    """What the page says of one model."""
    known = {"name": one.name, "title": one.title, "failure": one.failure, "link": f"{quote(one.name)}/report.html"}
    known |= {"stack": None, "scatter": None, "claims": [], "published": []}
    if one.summary is None:
        return known
    return known | {
        "data": {key: rows.fact(value) for key, value in one.summary["data"].items()},
        "evidence": evidence_text(one),
        "words": counts([one]),
        "seconds": f"{one.summary['seconds']:.1f}",
        "picture": embedded(one.picture),
        "stack": stack.stack(one.summary, family),
        "ledger": ledger_table(one),
        "scatter": scatter.scatter(one.name, one.summary, [other.summary for other in every if other.summary], family),
        "claims": [
            (
                bool(c["agrees"]),
                printable(c["claim"]),
                f"{c['truth']:.6g}" if isinstance(c["truth"], float) else c["truth"],
            )
            for c in one.summary["text"]
        ],
        "published": rows.published(one.summary),
        "notes": [printable(note) for note in one.summary["notes"]],
        "seed": one.summary["seed"],
    }


def page(entries: Sequence[Entry], command: str | None = None) -> str:
    """The page as text; ``command`` is the command line that made it."""
    every = list(entries)
    fits = [fit for one in every for fit in one.fits.values()]
    summaries = [one.summary for one in every if one.summary]
    families = list(dict.fromkeys(matrix_row["guide"] for matrix_row in matrix(every)))
    described = [model_of(one, every) for one in every]
    used_terms = {part.term for one in described if one.get("stack") for bar in one["stack"].bars for part in bar.parts}
    told = [claim for one in described for claim in one["published"]]
    return render(
        "index.html.jinja",
        families=families,
        models=described,
        verdicts=counts(every),
        kinds=[name for name in families if name not in TRUTH],
        used_terms=used_terms,
        meanings=MEANINGS,
        fits=len(fits),
        seconds=sum(one["seconds"] for one in summaries),
        matrix=matrix(every),
        libraries={library: LIBRARIES[library] for library in libraries(every)},
        headers=HEADERS,
        table=list(table(every)),
        terms=stack.TERMS,
        legend=[name for name in families if name not in (*TRUTH, "nuts")],
        wrong=sum(not claim["agrees"] for one in summaries for claim in one["text"]),
        claims=sum(len(one["text"]) for one in summaries),
        published=rows.tally(told) if told else "",
        versions=summaries[0]["versions"] if summaries else {},
        command=command,
    )


MEANINGS = {
    "exact": "the posterior itself",
    "agrees": "may be used in the posterior's place",
    "narrow": "means right, spread too small",
    "wide": "means right, spread too large",
    "off": "a mean is wrong",
    "not converged": "the optimiser did not arrive",
    "unreliable": "the chains, or what the fit is held against, missed a target",
    "failed": "ended in an error",
    "skipped": "not attempted",
}


def write(entries: Sequence[Entry], folder: Path, command: str | None = None) -> Path:
    """Write ``index.html`` into the folder, whole or not at all."""
    return save_text(page(entries, command), folder / "index.html")
