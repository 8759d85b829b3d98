"""The page: one HTML file with everything in it, which opens anywhere without a network."""

from __future__ import annotations

import base64
import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compare.report.html.code import code
from compare.report.html.template import render
from compare.report.tables import held_out, rows
from compare.report.tables.numbers import ABSENT, counted, measured, plain
from compare.report.tables.rows import COLUMNS, LEDGER, Rows
from compare.report.tables.without_truth import unaided

if TYPE_CHECKING:
    from compare.comparison import Comparison, Fit

__all__ = ["command", "page"]

TEMPLATE = "report.html.jinja"


def command(comparison: Comparison) -> str:
    """The command line that makes this comparison again; the comparison's own ``command`` where it has one."""
    given = comparison.request.command
    if given:
        return str(given)
    words = ["python", "-m", "compare", comparison.model.name]
    if dataclasses.is_dataclass(comparison.data):
        for field in dataclasses.fields(comparison.data):
            value = getattr(comparison.data, field.name)
            if isinstance(value, int | float | str) and not isinstance(value, bool) and field.init:
                words += [f"--{field.name.replace('_', '-')}", str(value)]
    jobs = [fit.job for fit in comparison.fits.values()]
    for option, names in (("--libraries", [job.library for job in jobs]), ("--guides", [job.guide for job in jobs])):
        chosen = list(dict.fromkeys(name for name in names if name))
        if chosen:
            words += [option, ",".join(chosen)]
    if not any(job.method == "nuts" for job in jobs):
        words.append("--no-nuts")
    return shlex.join([*words, "--seed", str(comparison.request.seed)])


def embedded(path: Path) -> str:
    """A PNG as a data URI."""
    return "data:image/png;base64," + base64.b64encode(Path(path).read_bytes()).decode("ascii")


def ended(converged: bool | None, reason: str | None) -> str:
    if converged is None:
        return ABSENT
    return "yes" if converged else f"no: {reason}" if reason else "no"


def adaptation(fit: Fit) -> tuple[str, str]:
    """What the warm-up arrived at: the chains' step sizes, and how readily their proposals are accepted."""
    if fit.tree is None or "step_size" not in fit.tree["sample_stats"].dataset:
        return ABSENT, ABSENT
    stats = fit.tree["sample_stats"].dataset
    last = np.asarray(stats["step_size"])[:, -1]
    return f"{last.min():.2g} to {last.max():.2g}", plain(float(stats["acceptance_rate"].mean()), 2)


def details(comparison: Comparison) -> list[dict[str, str]]:
    """What the terminal has no room for: cost, tails, divergences, energy."""
    found = []
    for name, one in comparison.summary["fits"].items():
        diagnostics, optimisation = one.get("diagnostics") or {}, one.get("optimisation") or {}
        gap = optimisation.get("gap") or {}
        converged = optimisation.get("converged")
        step_size, acceptance = adaptation(comparison.fits[name])
        found.append(
            {
                "fit": name,
                "gradients": counted(one.get("gradients")),
                "tail": counted(diagnostics.get("ess_tail")),
                "divergences": counted(diagnostics.get("divergences")),
                "bfmi": plain(diagnostics.get("e_bfmi"), 2),
                "steps": counted(optimisation.get("steps")),
                "converged": ended(converged, optimisation.get("reason")),
                "gap": measured(gap.get("value"), gap.get("mcse")),
                "step_size": step_size,
                "acceptance": acceptance,
            }
        )
    return found


def evidence(comparison: Comparison) -> dict[str, str]:
    """The log evidence: value, method, tolerance."""
    known = comparison.summary["log_evidence"]
    error = f" ±{known['mcse']:.1g}" if known.get("mcse") else ""
    tolerance = getattr(comparison.truth, "tolerance", 0.0)
    return {
        "value": ABSENT if known["value"] is None else f"{known['value']:.4f}{error}",
        "method": str(known["method"]) + (f", to {tolerance:.1g}" if tolerance else ""),
    }


def halves(content: Rows) -> list[Rows]:
    """A table that is too wide for a page as one for each group of columns."""
    groups = list(dict.fromkeys(c.group for c in content.columns if c.group))
    tables = [Rows(tuple(c for c in content.columns if c.group in ("", g)), content.rows) for g in groups]
    tables[0] = Rows(tables[0].columns, content.rows, content.remarks)
    return tables


def page(comparison: Comparison, pictures: Sequence[tuple[Path, str]] = ()) -> str:
    """The page as text. ``pictures`` are the PNGs to embed, with their captions."""
    lines, rest = rows.facts(comparison)
    words: dict[str, int] = {}
    for _, word, _ in rows.verdicts(comparison):
        words[word] = words.get(word, 0) + 1
    context: dict[str, Any] = {
        "model": comparison.model,
        "summary": comparison.summary,
        "seed": comparison.request.seed,
        "data": {key: rows.fact(value) for key, value in comparison.data.describe().items()},
        "evidence": evidence(comparison),
        "truth": lines,
        "facts": rest,
        "words": words,
        "fits": halves(rows.fits(comparison)),
        "reference_fit": comparison.truth_name,
        "elements": rows.estimates(comparison),
        "predictions": rows.predictions(comparison),
        "test_set": held_out.guides(comparison),
        "networks": held_out.networks(comparison),
        "correlations": rows.correlations(comparison),
        "ledger": rows.ledgers(comparison),
        "terms": LEDGER,
        "indented": [key for key, header, _ in LEDGER if header.startswith(" ")],
        "tolerance": f"{comparison.request.options.tolerance:g}",
        "details": details(comparison),
        "verdicts": rows.verdicts(comparison),
        "unaided": unaided(comparison),
        "claims": rows.claims(comparison),
        "published": rows.published(comparison.summary),
        "tally": rows.tally(rows.published(comparison.summary)),
        "pictures": [(path.stem, embedded(path), caption) for path, caption in pictures],
        "columns": COLUMNS,
        "command": command(comparison),
        "code": code(comparison),
        "left": ("fit", "variable", "verdict", "without", "by"),
    }
    return render(TEMPLATE, **context)
