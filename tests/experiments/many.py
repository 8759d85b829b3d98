"""How long many data sets take in one vectorised call, and how far each fit is from its optimum.

    python -m tests.experiments.many [count] [library]

The data sets are drawn from the prior: coins of 10 tosses, and chains of 2 and 10 nodes. One call that compiles goes
before; one by one is estimated from 20 fits.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from conftest import LIBRARIES, side
from test_fits import true_gap

import guides
import models
from compare.fit.svi.svi import optimise, optimise_many
from compare.options import Options
from models.chain import Chain
from models.coin import Coin


def drawn(count: int) -> dict[str, list]:
    """Data sets from the prior predictive."""
    rng = np.random.default_rng(0)
    heads = rng.binomial(10, rng.beta(2, 2, count))
    data_sets = {"coin": [Coin(heads=int(number), tosses=10) for number in heads]}
    for length in (2, 10):
        x = rng.normal(0, np.sqrt(length + 1), count)
        data_sets[f"chain of {length}"] = [Chain(length, float(value)) for value in x]
    return data_sets


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    for library in sys.argv[2:] or LIBRARIES:
        for label, data in drawn(count).items():
            model = models.load(label.partition(" ")[0])
            for name in model.guides:
                parts = [side(library).split_arguments(each.arguments()) for each in data]
                objective = side(library).prepare(model.name, name, *reversed(parts[0]))
                arguments, family, options = [each for each, _ in parts], guides.load(name), Options(budget=600)
                seconds = []
                for seed in (0, 1):
                    start = time.perf_counter()
                    ends = optimise_many(objective, arguments, family, options, [seed] * count)
                    seconds.append(time.perf_counter() - start)
                start = time.perf_counter()
                for each in arguments[:20]:
                    optimise(objective, each, family, options, 1)
                alone = (time.perf_counter() - start) / len(arguments[:20]) * count
                gaps = [true_gap(model.name, each, name, end.parameters) for each, end in zip(data, ends, strict=True)]
                covered = np.mean(
                    [abs(end.gap.value - gap) <= 2 * end.gap.mcse + 1e-10 for end, gap in zip(ends, gaps, strict=True)]
                )
                print(
                    f"{library:8} {label:12} {name:10} {count} in {seconds[1]:.1f} s (first call {seconds[0]:.1f}), "
                    f"one by one {alone:.0f} s; {sum(end.converged for end in ends)} converged, largest true gap "
                    f"{max(gaps):.1e} nats, within two errors of its estimate in {covered:.1%}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
