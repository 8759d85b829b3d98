"""A banana and Neal's funnel of ten dimensions, which no Gaussian comes near: ELBOs beside the log evidence, 0.

python -m tests.experiments.bent numpyro,pyro
"""

from __future__ import annotations

import sys

from compare import compare
from tests.bent import DATA, EXACT, model

GUIDES = ["mean_field", "full_rank", "pathfinder", "flow"]


def main(libraries: list[str], budget: float = 150.0) -> None:
    """The table, a row for each target, library and guide."""
    print("| target | fit | ELBO | verdict | seconds | gradients |\n| --- | --- | --- | --- | --- | --- |")
    for name, exact in EXACT.items():
        for library in libraries:
            result = compare(
                model(library, name), DATA[name], guides=GUIDES, nuts=False, exact=exact, budget=budget, seed=0
            )
            for guide in GUIDES:
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
