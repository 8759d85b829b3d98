"""The page: one HTML file with everything in it, which opens anywhere without a network."""

import dataclasses
import shlex
import struct
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from compare.comparison import Comparison
from compare.export import METHOD, program, twin
from compare.registry import TITLES
from compare.report.html.template import embedded, render
from compare.report.tables import claims, diagnostics, estimates, ledger, predictive, scores
from compare.report.tables.numbers import value
from compare.report.tables.table import Table

SUMMARY = ("fit", "verdict", "error", "ratio")
"""Columns of the table of verdicts, before the evidence gap, or the ELBO where the evidence is not known."""

WIDE = 2.2  # A picture that many times as wide as it is tall is put above the table of verdicts, others beside it


def command(comparison: Comparison) -> str:
    """The command line that makes this comparison again."""
    request = comparison.request
    if request.command:
        return request.command
    words = ["python", "-m", "compare", request.model.name]
    for field in dataclasses.fields(request.data) if dataclasses.is_dataclass(request.data) else ():
        content = getattr(request.data, field.name)
        if isinstance(content, int | float | str) and not isinstance(content, bool) and field.init:
            words += [f"--{field.name.replace('_', '-')}", str(content)]
    words += ["--libraries", ",".join(request.libraries)]
    if request.guides:
        words += ["--guides", ",".join(request.guides)]
    if not request.nuts:
        words.append("--no-nuts")
    return shlex.join([*words, "--seed", str(request.seed)])


def is_wide(picture: Path) -> bool:
    """Whether a PNG is much wider than it is tall."""
    with picture.open("rb") as file:
        header = file.read(24)
    if len(header) < 24:
        return True
    width, height = struct.unpack(">II", header[16:])
    return width > WIDE * height


def verdict_table(comparison: Comparison, table: Table) -> Table:
    """The table of verdicts: of the table of fits the columns that say most."""
    by_key, last = {column.key: column for column in table.columns}, "elbo"
    if comparison.log_evidence.value is not None:
        last = "gap"
    columns = tuple(by_key[key] for key in (*SUMMARY, "loss", "against", last) if key in by_key)
    return dataclasses.replace(table, title="Verdicts", columns=columns, lead="", remarks=()).without_empty_columns()


def code(comparison: Comparison) -> dict[str, Any]:
    """The first guide's program in each library of the comparison; the model's file where there is none, and why."""
    jobs = [fit.job for fit in comparison.fits.values()]
    guides = [job for job in jobs if job.guide and job.method == METHOD]
    libraries = list(dict.fromkeys(job.library for job in jobs if job.library))
    try:
        if not guides:
            raise ValueError("no guide was fitted by SVI")
        texts = [program(comparison.model, dataclasses.replace(guides[0], library=library)) for library in libraries]
        return {"guide": guides[0].guide, "programs": highlighted(libraries, texts), "reason": None}
    except ValueError as error:
        reason = str(error)
    try:
        texts = [twin(comparison.model, library) for library in libraries]
    except ValueError:
        texts, libraries = [], []
    return {"guide": None, "programs": highlighted(libraries, texts), "reason": reason}


def highlighted(libraries: Sequence[str], texts: Sequence[str]) -> list[tuple[str, Markup]]:
    """Each library's title and its program, coloured."""
    return [
        (TITLES[library], Markup(highlight(text, PythonLexer(), HtmlFormatter(nowrap=True))))
        for library, text in zip(libraries, texts, strict=True)
    ]


def page(comparison: Comparison, pictures: Sequence[tuple[Path, str]] = ()) -> str:
    """The page as text. ``pictures`` are the PNGs to embed, with their captions; the posterior's comes first."""
    all_fits = estimates.fits(comparison)
    cited, verdicts = claims.published(comparison.published), claims.verdicts(comparison)
    number, method = claims.evidence(comparison)
    shown = [(path.stem, embedded(path), caption) for path, caption in pictures]
    unaided = filter(None, [diagnostics.unaided(comparison)])
    checks = filter(None, [predictive.checks(comparison)])
    first = shown[:1] if shown and shown[0][0] == "posterior" else []
    context: dict[str, Any] = {
        "model": comparison.model,
        "truth_name": comparison.truth_name,
        "first": first,
        "is_wide": not first or is_wide(pictures[0][0]),
        "verdict_table": verdict_table(comparison, all_fits),
        "verdicts": verdicts,
        "words": Counter(word for _, word, _ in verdicts),
        "evidence": {"value": number, "method": method},
        "data": {key: value(content) for key, content in comparison.data.describe().items()},
        "truth": claims.truth(comparison) | claims.extra(comparison),
        "notes": comparison.notes,
        "pictures": shown[len(first) :],
        "tables": [*all_fits.by_group(), *checks, *scores.details(comparison), diagnostics.cost(comparison), *unaided],
        "founding_text": claims.FOUNDING_TEXT,
        "claims": claims.claims(comparison.claims),
        "published": cited,
        "tally": claims.tally(cited),
        "code": code(comparison),
        "meanings": [
            *estimates.COLUMNS,
            *estimates.loss_columns(comparison),
            *ledger.TERMS,
            *diagnostics.cost(comparison).columns[1:],
        ],
        "command": command(comparison),
        "seconds": comparison.seconds,
        "seed": comparison.request.seed,
        "versions": comparison.versions,
    }
    return render("report.html.jinja", **context)
