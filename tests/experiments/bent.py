"""A banana and Neal's funnel of ten dimensions, which no Gaussian comes near: ELBOs beside the log evidence, 0.

python -m tests.experiments.bent numpyro,pyro
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from compare import compare
from tests.bent import DATA, EXACT, model

GUIDES = ["mean_field", "full_rank", "pathfinder", "flow"]


def block_neural(library: str) -> list[Any]:
    """NumPyro's block neural autoregressive flow, as a guide that a user brings; Pyro has no autoguide of it."""
    return [import_module("numpyro.infer.autoguide").AutoBNAFNormal] if library == "numpyro" else []


def main(libraries: list[str], budget: float = 150.0) -> None:
    """The table, a row for each target, library and guide."""
    print("| target | fit | ELBO | verdict | seconds | gradients |\n| --- | --- | --- | --- | --- | --- |")
    for name, exact in EXACT.items():
        for library in libraries:
            guides = [*GUIDES, *block_neural(library)]
            result = compare(
                model(library, name), DATA[name], guides=guides, nuts=False, exact=exact, budget=budget, seed=0
            )
            for guide in (getattr(guide, "__name__", guide) for guide in guides):
                fit = result.summary["fits"][f"{library}-{guide}"]
                elbo = fit["ledger"]["elbo"]
                row = (
                    f"{elbo['value']:.3f} ± {elbo['mcse']:.3f}",
                    f"{fit['verdict']['word']}: {fit['verdict']['sentence']}",
                )
                print(
                    f"| {name} | {library}-{guide} | {' | '.join(row)} | {fit['seconds']:.0f} | {fit['gradients']:,} |",
                    flush=True,
                )


if __name__ == "__main__":
    main(sys.argv[1].split(","))
