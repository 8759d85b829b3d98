"""The tables of a whole test set: what each guide costs there, and which network predicts it best."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from compare.report.tables.numbers import ABSENT, plain
from compare.report.tables.rows import COLUMNS, LEDGER, Column, Row, Rows

if TYPE_CHECKING:
    from compare.comparison import Comparison

__all__ = ["guides", "networks"]

TERMS = (
    "log_evidence",
    "elbo",
    "data_fit",
    "complexity",
    "evidence_gap",
    "family_gap",
    "amortisation_gap",
)

DIGITS = 3


def guides(comparison: Comparison) -> Rows | None:
    """A row a guide with its ledger, the mean over the test observations; None where there is none."""
    held_out = comparison.summary.get("held_out")
    if not held_out or not held_out["guides"]:
        return None
    headers = {key: (header.strip(), meaning) for key, header, meaning in LEDGER}
    keys = [key for key in TERMS if any(ledger[key] for ledger in held_out["guides"].values())]
    columns = tuple(Column(key, headers[key][0], "ledger", headers[key][1]) for key in keys)
    rows = [
        Row(name, "", {"fit": name} | {key: both(ledger[key]) for key in keys})
        for name, ledger in held_out["guides"].items()
    ]
    count = held_out["observations"]
    gaps = "log evidence - ELBO = evidence gap = family gap + amortisation gap. "
    remarks = [
        f"Means over {count} test observations, in nats each; ± is their Monte Carlo error, and in brackets stands the "
        f"standard error from the number of observations. {gaps if 'evidence_gap' in keys else ''}What the training of "
        "the encoder left is in the amortisation gap."
    ]
    return Rows((COLUMNS[0], *columns), rows, remarks)


def networks(comparison: Comparison) -> Rows | None:
    """A row a network that was learnt, and one a simpler model, by held-out log evidence, the best first."""
    held_out = comparison.summary.get("held_out")
    if not held_out:
        return None
    entries: list[tuple[str, Mapping[str, Any]]] = list(held_out["networks"].items())
    entries += [(f"{name} (baseline)", {"evidence": one}) for name, one in held_out["rivals"].items()]
    entries.sort(key=lambda one: -(one[1]["evidence"] or {"value": float("-inf")})["value"])
    columns = (
        Column("fit", "learnt with", "", "The library, and the family of the encoder's guide."),
        Column("evidence", "log evidence", "networks", "Mean log p(x) of a test observation. Higher is better."),
        Column("bits", "bits", "networks", "The same in bits for each element (pixel) of an observation."),
        Column("elbo", "ELBO", "networks", "Mean ELBO of the encoder that it was learnt with."),
        Column("epochs", "epochs", "networks", "Passes over the training set."),
        Column("speed", "per second", "networks", "Observations a second in training, validation not counted."),
        Column("seconds", "seconds", "networks", "Wall-clock time in all, compilation included."),
    )
    rows = []
    for name, one in entries:
        evidence = one["evidence"]
        cells = {
            "fit": name,
            "evidence": both(evidence),
            "bits": f"{evidence['bits']:.4f} ({evidence['bits_sampling']:.1g})" if evidence else ABSENT,
            "elbo": both(one.get("elbo")),
            "epochs": whole(one.get("epochs"))
            + ("" if one.get("converged", True) in (True, None) else " (not enough)"),
            "speed": whole(one.get("speed")),
            "seconds": ABSENT if one.get("seconds") is None else f"{one['seconds']:.1f}",
        }
        rows.append(Row(name, "", cells))
    told = [column for column in columns if any(row.cells[column.key] != ABSENT for row in rows)]
    method = f" Evidence by {held_out['method']}." if held_out["method"] else ""
    remarks = [
        f"Means over {held_out['observations']} test observations, in nats each; in brackets the standard error from "
        f"their number, which is mostly that of the observations themselves: all models are scored on the same.{method}"
    ]
    failed = [f"{name}: {one['reason']}." for name, one in held_out["networks"].items() if one.get("reason")]
    return Rows(tuple(told), rows, remarks + failed)


def both(number: Mapping[str, float] | None) -> str:
    """A mean with its Monte Carlo error and, in brackets, the standard error from the number of observations."""
    if not number:
        return ABSENT
    error = f" ± {number['mcse']:.1g}" if number["mcse"] else ""
    return f"{plain(number['value'], DIGITS)}{error} ({number['sampling']:.2g})"


def whole(number: float | None) -> str:
    return ABSENT if number is None else f"{number:,.0f}"
