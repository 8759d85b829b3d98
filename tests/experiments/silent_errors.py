"""Is a wrong fit or reference ever called `agrees` or `exact`? Posteriors of known truth through `compare`.

    python -m tests.experiments.silent_errors FILE [--posteriors 30 | --numbers 1,4] [--seeds 1]
        [--libraries numpyro,pyro] [--table]

Each posterior of `tests.hard_posteriors` is compared as a user's model, the even seeds with ``quick=True`` and without
NUTS, the odd ones with NUTS and small budgets. A fit is wrong that lacks 5% of the mass (and the chance errors of its
draws), or whose mean or sd is off by 20% of an sd; right, if it lacks less and every mean and sd is within 10%. Each
comparison is a row of JSON in FILE; those that stand there already are not made again. At the end, and with ``--table``
alone, the table and every miss are printed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from compare import compare
from compare.result import Result
from tests.hard_parts import Hard
from tests.hard_posteriors import hard_posterior

LIBRARIES = ("numpyro", "pyro")

MODES: tuple[dict[str, Any], ...] = (
    {"quick": True, "nuts": False, "budget": 300.0, "reference_budget": 1200.0},
    {"budget": 20.0, "reference_budget": 80.0},
)
"""The options of even and of odd seeds; without NUTS nothing is so long that time should decide."""

WRONG, RIGHT, MISSED = 0.2, 0.1, 0.05
"""The distance in sds from which a moment is wrong, that up to which it is right, and the mass that may be lacking."""

CALM, CONVICTED = ("exact", "agrees"), ("off", "narrow", "wide")


def judge(hard: Hard, library: str, seed: int) -> dict[str, Any]:
    """What a comparison says of a posterior, and what is true."""
    start = time.perf_counter()
    model = getattr(import_module(f"tests.user_models.hard_{library}"), hard.kind)
    result = compare(model, hard.data, library=library, seed=seed, **MODES[seed % 2])
    evidence = result.comparison.log_evidence
    return {
        "kind": hard.kind,
        "dimension": len(hard.names),
        "evidence_off": None if evidence.value is None else evidence.value - hard.log_evidence,
        "evidence_mcse": evidence.mcse,
        "method": evidence.method,
        "notes": result.comparison.notes,
        "fits": {name: row for name, row in rows_of(hard, result)},
        "seconds": time.perf_counter() - start,
    }


def rows_of(hard: Hard, result: Result) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each fit's word and how wrong it truly is: distances in sds, and the mass that it lacks."""
    for name, summary in result.comparison.summaries.items():
        row: dict[str, Any] = {"word": summary.verdict.word, "sentence": summary.verdict.sentence}
        fit = result.comparison.fits[name]
        if fit.tree is not None:
            layout, posterior = fit.job.layout, fit.tree["posterior"].dataset
            judged = [summary.judged[layout.label(*element)] for element in hard.names]
            means, sds = (np.array([getattr(v, part) for v in judged], float) for part in ("mean", "sd"))
            columns = [posterior[site].values[(..., *index)].ravel() for site, index in hard.names]
            row |= {
                "mean_off": float(np.max(np.abs(means - hard.mean) / hard.sd)),
                "sd_off": float(np.max(np.abs(sds / hard.sd - 1))),
                "missed": hard.missed(np.column_stack(columns)),
                "noise": hard.noise(summary.diagnostics.ess if fit.job.is_mcmc else len(columns[0])),
            }
        yield name, row


def truth(fit: dict[str, Any]) -> str:
    """``wrong``, ``right``, ``between``, or ``none`` where there is no fit."""
    if "missed" not in fit:
        return "none"
    off = max(np.nan_to_num([fit["mean_off"], fit["sd_off"]], nan=np.inf))  # a NaN is no distance
    if off >= WRONG or fit["missed"] - fit["noise"] >= MISSED:
        return "wrong"
    return "right" if off <= RIGHT else "between"


def is_reference_fit(name: str) -> bool:
    """Whether a fit stands in the truth's place."""
    return name in ("exact", "reference")


def silent(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A line for each wrong fit that is called right, and for each right one that is convicted."""
    lines = []
    for row in rows:
        for name, fit in row["fits"].items():
            is_false = truth(fit) == "wrong" and fit["word"] in CALM
            if is_false or (truth(fit) == "right" and fit["word"] in CONVICTED):
                where = f"{row['library']} {row['index']} ({row['kind']}, d = {row['dimension']}, seed {row['seed']})"
                off = f"mean {fit['mean_off']:.3f}, sd {fit['sd_off']:.3f}, missed {fit['missed']:.3f}"
                what = "SILENT" if is_false else "convicted"
                lines.append(f"{what}: {where}: {name} {fit['word']}; truly {off}. {fit['sentence']}")
    return lines


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The table by kind, the references by dimension, and every miss."""
    lines = [
        "| kind | comparisons | wrong fits | called right | right fits | convicted | right references "
        "| refused or wary | wrong, not said |",
        "| --- |" + " ---: |" * 8,
    ]
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    groups = [(kind, [row for row in rows if row["kind"] == kind]) for kind in kinds]
    groups += [(f"all, {name}", [row for row in rows if row["library"] == name]) for name in LIBRARIES]
    groups.append(("all, up to three dimensions", [row for row in rows if row["dimension"] <= 3]))
    groups.append(("all, more dimensions", [row for row in rows if row["dimension"] > 3]))
    for label, group in groups:
        if group:
            lines.append("| " + " | ".join([label, *map(str, counts(group))]) + " |")
    return "\n".join([*lines, *silent(rows)])


def counts(rows: Sequence[dict[str, Any]]) -> tuple[int, ...]:
    """The numbers of the table for some comparisons; fits are those that are no references."""
    fits = [fit for row in rows for name, fit in row["fits"].items() if not is_reference_fit(name)]
    wrong, right = ([fit for fit in fits if truth(fit) == word] for word in ("wrong", "right"))
    references = [fit for row in rows for name, fit in row["fits"].items() if is_reference_fit(name)]
    calm = [fit for fit in references if fit["word"] in CALM]
    return (
        len(rows),
        len(wrong),
        sum(fit["word"] in CALM for fit in wrong),
        len(right),
        sum(fit["word"] in CONVICTED for fit in right),
        sum(truth(fit) == "right" for fit in calm),
        len(rows) - len(calm),
        sum(truth(fit) == "wrong" for fit in calm),
    )


def main() -> None:
    """Make the comparisons that are missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--posteriors", type=int, default=30)
    parser.add_argument("--numbers", type=lambda text: [*map(int, text.split(","))], help="these alone")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--libraries", default=",".join(LIBRARIES))
    parser.add_argument("--table", action="store_true", help="make nothing")
    options = parser.parse_args()
    lines = options.file.read_text(encoding="utf-8").splitlines() if options.file.exists() else []
    rows = [json.loads(line) for line in lines]
    done = {(row["library"], row["index"], row["seed"]) for row in rows}
    for seed in range(0 if options.table else options.seeds):
        for index in options.numbers or range(options.posteriors):
            for library in options.libraries.split(","):
                if (library, index, seed) in done:
                    continue
                key = {"library": library, "index": index, "seed": seed}
                rows.append(key | judge(hard_posterior(index), library, seed))
                with options.file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
