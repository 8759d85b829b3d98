"""Where fits of the Gaussian mixture end: 20 seeds of each guide, and how far each is from the best of its family.

python -m tests.experiments.mixture [count]
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

DATA = (MixtureData(), *(MixtureData("galaxies", scale=scale) for scale in (1.0, 2.0, 4.0)))


def main() -> None:
    seeds = range(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
    print("| data | guide | arrived | said to be short, at most | short of the best | symmetry gap |")
    print("| --- | --- | --- | --- | --- | --- |")
    for data in DATA:
        name = f"{data.data}, scale {data.scale:g}" if data.known_scale else data.data
        for library in LIBRARIES:
            for family in MODEL.guides:
                best, label = best_member(data, family), f"{library}-{family}"
                jobs = [
                    Job(label, MODEL.name, data, "svi", library, family, seed, Options(budget=900.0)) for seed in seeds
                ]
                fits = [fit for fit in run_many(jobs) if fit.tree is not None]
                summaries = [measure(fit, truth(data), best) for fit in fits]
                said = [summary.optimisation.gap.value for summary in summaries]
                short = [summary.ledger.optimisation_gap.value for summary in summaries]
                errors = [summary.ledger.optimisation_gap.mcse for summary in summaries]
                names = np.mean([summary.ledger.symmetry_gap.value for summary in summaries])
                arrived = sum(summary.optimisation.converged for summary in summaries)
                ends = f"{min(short):.4f} to {max(short):.4f} ± {max(errors):.1g}"
                print(f"| {name} | {label} | {arrived} of {len(seeds)} | {max(said):.1g} | {ends} | {names:.4f} |")


if __name__ == "__main__":
    main()
