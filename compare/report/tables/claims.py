"""A comparison in sentences: verdicts, the truth, the founding text's claims, published numbers."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from compare.comparison import Comparison
from compare.measure.truth import errors
from compare.report.tables.elements import reported_elements
from compare.report.tables.estimates import word
from compare.report.tables.numbers import interval, measured, plain, printable, value
from compare.summary import FitSummary
from models.contract import Claim, Published

FOUNDING_TEXT = (
    'The zoo began from a tutorial, "The fundamentals of variational inference and how it works in probabilistic deep '
    'learning": the founding text.'
)

AGREES = {True: ("yes", "✓ agrees"), False: ("no", "✗ differs"), None: ("untold", "– not told")}
"""Whether a published claim agrees, as a class of the page's style and in words."""

IN_TABLES = {"mean", "sd", "median", "95% interval", "interval"}


class Claimed(NamedTuple):
    """A claim of the founding text: whether it is right, the claim, and the truth."""

    agrees: bool
    claim: str
    truth: str


class Cited(NamedTuple):
    """A published claim as it is shown; ``kind`` is a class of the page's style."""

    kind: str
    word: str
    claim: str
    source: str
    published: str
    ours: str


def verdicts(comparison: Comparison) -> list[tuple[str, str, str]]:
    """Each fit's name, word and sentences: on the posterior, and on what it costs to act on the fit."""
    return [
        (printable(name), word(summary), printable(" ".join(filter(None, sentences(summary)))))
        for name, summary in comparison.summaries.items()
    ]


def sentences(summary: FitSummary) -> tuple[str | None, ...]:
    """The sentences of the verdict on a fit, and on decisions by it."""
    first = summary.verdict.sentence if summary.verdict else str(summary.reason)
    return first, summary.decision.sentence if summary.decision else None


def evidence(comparison: Comparison) -> tuple[str | None, str]:
    """The log evidence with its error, None where it is not known; and how it is known."""
    known, tolerance = comparison.log_evidence, comparison.truth.tolerance if comparison.truth else 0.0
    method = printable(known.method) + (f", to {tolerance:.1g}" if tolerance else "")
    if known.value is None:
        return None, printable(known.method)
    return f"{known.value:.4f}" + (f" ±{known.mcse:.1g}" if known.mcse else ""), method


def truth(comparison: Comparison, most: int = 4) -> dict[str, str]:
    """What is known of some elements of the true posterior, a line each."""
    known, lines = comparison.truth, {}
    if known is None:
        return {}
    mean, sd = known.mean(), known.sd()
    low, middle, high = (known.quantile(p) for p in (0.025, 0.5, 0.975))
    for site, index in reported_elements(comparison, most):
        m, s, q, lower, upper = (float(np.asarray(of[site])[index]) for of in (mean, sd, middle, low, high))
        error = errors(known, site, index)
        moments = f"mean {measured(m, error[0])}, sd {measured(s, error[1])}, median {plain(q)}"
        lines[comparison.label((site, index))] = f"{moments}, 95% interval {interval(lower, upper)}"
    return lines


def extra(comparison: Comparison) -> dict[str, str]:
    """What else the model says of its posterior, by name."""
    texts = {printable(key).replace("_", " "): value(content) for key, content in comparison.extra.items()}
    return {key: text for key, text in texts.items() if key not in IN_TABLES}


def claims(entries: Iterable[Claim]) -> list[Claimed]:
    """The founding text's claims as they are shown."""
    return [
        Claimed(
            bool(entry.agrees),
            printable(entry.claim),
            f"{entry.truth:.6g}" if isinstance(entry.truth, float) else printable(entry.truth),
        )
        for entry in entries
    ]


def claims_tally(entries: Sequence[Claimed]) -> str:
    """The number of the founding text's claims that are right."""
    n_right = sum(entry.agrees for entry in entries)
    return f"{n_right} of its {len(entries)} claims {'is' if n_right == 1 else 'are'} right"


def published(entries: Iterable[Published]) -> list[Cited]:
    """Published claims beside this comparison's numbers, as they are shown."""
    return [
        Cited(*AGREES[entry.agrees], *map(printable, (entry.claim, entry.source, entry.published, entry.ours)))
        for entry in entries
    ]


def tally(entries: Sequence[Cited]) -> str:
    """How many published claims agree, differ, and are not addressed by these data and fits."""
    kinds = [entry.kind for entry in entries]
    if set(kinds) == {"untold"}:
        return "These data and fits say nothing about them"
    parts = [f"{kinds.count('yes')} of {len(kinds)} agree"]
    if "no" in kinds:
        parts.append(f"{kinds.count('no')} {'does' if kinds.count('no') == 1 else 'do'} not")
    if "untold" in kinds:
        parts.append(f"of {kinds.count('untold')} these data and fits say nothing")
    return "; ".join(parts)
