"""The verdicts on larger models of users, in NumPyro, that stand in compare/user_model/README.md.

python -m tests.experiments.user_models
"""

from __future__ import annotations

from typing import Any

from compare import compare
from compare.report.terminal import first_clauses
from tests.user_models import logistic_numpyro, mixture_numpyro, process_numpyro

MODELS = {
    "hierarchical logistic regression, `logistic_numpyro.py`": (logistic_numpyro, "model"),
    "Gaussian process regression, `process_numpyro.py`": (process_numpyro, "model"),
    "mixture of two normals, `mixture_numpyro.py`": (mixture_numpyro, "model"),
    "the same with an assignment of each point, `mixture_numpyro.py:assigned`": (mixture_numpyro, "assigned"),
}
FITS = ("reference", "numpyro-mean_field", "numpyro-full_rank", "numpyro-nuts")
WIDTH = 120
"""Characters that a reason may have."""


def cell(summary: dict[str, Any], name: str) -> str:
    """A fit's verdict, with its reason in as many clauses as the command prints."""
    verdict = summary["fits"][name]["verdict"]
    return f"{verdict['word']}: {first_clauses(verdict['sentence'], WIDTH) or verdict['sentence']}"


def main() -> None:
    """The table, a row for each model."""
    print("| model |", " | ".join(f"`{name}`" for name in FITS), "|")
    print("|", " | ".join(["---"] * (1 + len(FITS))), "|")
    for title, (module, function) in MODELS.items():
        summary = compare(getattr(module, function), module.data, "numpyro", reference_ess=1000).summary
        print(f"| {title} |", " | ".join(cell(summary, name) for name in FITS), "|", flush=True)


if __name__ == "__main__":
    main()
