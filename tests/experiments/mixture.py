"""Where fits of the Gaussian mixture end: 20 seeds of each guide, how many of them at the best of its family, and how
far the others are from it.

    python -m tests.experiments.mixture [count] [library]
"""

from __future__ import annotations

import sys

import numpy as np
from conftest import LIBRARIES

from compare.comparison import Job
from compare.fit import run_many
from compare.measure.measures import measure
from compare.options import Options
from models.mixture import MODEL, MixtureData, best_member, truth

__all__: list[str] = []

DATA = (*(MixtureData("galaxies", scale=scale) for scale in (1.0, 2.0, 4.0)), MixtureData())


def main() -> None:
    seeds = range(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
    header = "data", "guide", "arrived", "short of an optimum", "at the best", "the others, nats short", "symmetry gap"
    print(f"| {' | '.join(header)} |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for data in DATA:
        name = f"{data.data}, scale {data.scale:g}" if data.known_scale else data.data
        for library in sys.argv[2:] or LIBRARIES:
            for family in MODEL.guides:
                best, label = best_member(data, family), f"{library}-{family}"
                jobs = [
                    Job(label, MODEL.name, data, "svi", library, family, seed, Options(budget=900.0)) for seed in seeds
                ]
                fits = [fit for fit in run_many(jobs) if fit.tree is not None]
                summaries = [measure(fit, truth(data), best) for fit in fits]
                estimated = [summary.optimisation.gap.value for summary in summaries]
                gaps = [summary.ledger.optimisation_gap for summary in summaries]
                others = [gap.value for gap in gaps if gap.value > 0.01 + 4 * gap.mcse]
                names = np.mean([summary.ledger.symmetry_gap.value for summary in summaries])
                arrived = sum(summary.optimisation.converged for summary in summaries)
                far = f"{min(others):.2f} to {max(others):.2f}" if others else ""
                at_best = f"{len(gaps) - len(others)} of {len(seeds)}"
                row = name, label, f"{arrived} of {len(seeds)}", f"{max(estimated):.1g}", at_best, far, f"{names:.4f}"
                print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
