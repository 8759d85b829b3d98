"""What the models' folders hold: each one's ``summary.json``, or why there is none, and a picture."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import models
from compare.comparison import SCHEMA
from compare.report.tables.ledger import Terms, mcse, term_value, terms_from_json
from compare.report.tables.numbers import printable
from compare.summary import Estimate

MEANINGS = {
    "exact": "the posterior itself",
    "agrees": "may be used in the posterior's place",
    "undecided": "too few draws to decide",
    "narrow": "means right, spread too small",
    "wide": "means right, spread too large",
    "off": "a mean is wrong",
    "not converged": "the optimiser did not arrive",
    "unreliable": "chains, or fits, contradict each other",
    "failed": "ended in an error",
    "skipped": "not attempted, or given up early",
}
"""The verdicts' words in the order they are sorted by, and what they mean."""

WORDS = tuple(MEANINGS)


@dataclass(frozen=True)
class Entry:
    """One model's folder.

    Attributes:
        name: The folder's name.
        summary: What ``summary.json`` holds; None where the comparison failed.
        failure: Why it failed.
        picture: The picture of its posteriors.
    """

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
        """The summaries of its fits, none where it failed."""
        return self.summary["fits"] if self.summary else {}

    @cached_property
    def ledgers(self) -> dict[str, Terms]:
        """The ledgers of its fits."""
        return ledgers_of(self.summary) if self.summary else {}

    @property
    def evidence(self) -> Estimate | None:
        return evidence_of(self.summary) if self.summary else None


def evidence_of(summary: Mapping[str, Any]) -> Estimate | None:
    """The log evidence of a summary; None where it is not known."""
    known = summary["log_evidence"]
    return None if known["value"] is None else Estimate(known["value"], known.get("mcse") or 0.0)


def ledgers_of(summary: Mapping[str, Any]) -> dict[str, Terms]:
    """The ledgers of a summary's fits."""
    return {name: terms_from_json(fit["ledger"]) for name, fit in summary["fits"].items()}


def read(folder: Path) -> list[Entry]:
    """The models whose summaries are in the folder's folders, the catalogue's first, in its order.

    A summary that is not complete JSON is a failure; one of another schema is passed over.
    """
    entries = []
    for place in sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []:
        summary, failure = load(place / "summary.json"), load(place / "failure.json")
        if failure and "reason" in failure:
            entries.append(Entry(place.name, None, printable(failure["reason"])))
        elif summary and summary.get("schema") == SCHEMA and "fits" in summary:
            picture = place / "posterior.png"
            entries.append(Entry(place.name, summary, None, picture if picture.is_file() else None))
        elif summary is None and (place / "summary.json").is_file():
            reason = "its summary.json is cut off or damaged; make the comparison anew"
            entries.append(Entry(place.name, None, reason))
    order = list(models.CATALOGUE)
    return sorted(entries, key=lambda e: (order.index(e.name) if e.name in order else len(order), e.name))


def load(path: Path) -> dict[str, Any] | None:
    """A JSON file's object, an empty one where it holds something else; None where it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else {}


def line(entry: Entry) -> str:
    """A model in one line: its verdicts and its time, or why it failed."""
    if entry.summary is None:
        return f"{entry.name}: failed: {entry.failure}"
    words = ", ".join(f"{count} {word}" for word, count in count_words([entry]).items())
    return f"{entry.name}: {words}; {entry.summary['seconds']:.1f} s"


def count_words(entries: Sequence[Entry]) -> dict[str, int]:
    """How often each verdict was passed, in the order of `WORDS`."""
    passed = [fit["verdict"]["word"] for entry in entries for fit in entry.fits.values()]
    return {word: passed.count(word) for word in WORDS if word in passed}


def library(fit: Mapping[str, Any], name: str) -> str:
    """The library that a fit is named for; empty for the truth and for methods that have none."""
    return fit["library"] if fit["library"] and name.startswith(f"{fit['library']}-") else ""


def kind(fit: Mapping[str, Any], name: str) -> str:
    """A fit's name without its library."""
    return name.removeprefix(f"{library(fit, name)}-") if library(fit, name) else name


def family(fit: Mapping[str, Any]) -> str:
    """What filters and colours go by: the guide, or the method where there is none."""
    return fit["guide"] or fit["method"]


def describe_distance(summary: Mapping[str, Any]) -> str:
    """What the distances of a model are."""
    return "evidence gap" if evidence_of(summary) else "below the highest ELBO"


def distances(summary: Mapping[str, Any]) -> dict[str, Estimate]:
    """The evidence gap of each fit that has an ELBO, in nats, and its Monte Carlo error.

    Where the log evidence is not known, how far the ELBO is below the model's highest, with the errors of both; the
    highest keeps its own.
    """
    ledgers = ledgers_of(summary)
    key = "evidence_gap" if evidence_of(summary) else "elbo"
    known = {
        n: Estimate(v, mcse(terms, key)) for n, terms in ledgers.items() if (v := term_value(terms, key)) is not None
    }
    if key == "evidence_gap" or not known:
        return known
    top = max(known, key=lambda name: known[name].value)
    highest = known.pop(top)
    below = {n: Estimate(highest.value - e.value, math.hypot(e.mcse, highest.mcse)) for n, e in known.items()}
    return {top: Estimate(0.0, highest.mcse), **below}
