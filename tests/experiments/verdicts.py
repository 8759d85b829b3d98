"""How good verdicts without the truth are: over many fits whose posteriors are known, both verdicts side by side.

    python -m tests.experiments.verdicts collect FILE [coin,chain,bnn,vae]    make the fits, and keep what both rest on
    python -m tests.experiments.verdicts table FILE ...   thresholds from one half, confusion of the other

Data sets are drawn from the prior, in several sizes; a data set's fits are all in the same half. A fit is wrong if the
verdict that knows the truth says so (off, narrow, wide, not converged), and flagged if the verdict without it is any
word but ``agrees``.
"""

from __future__ import annotations

import itertools
import pickle
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from conftest import LIBRARIES

import models
from compare.comparison import Fit, Job
from compare.fit import run
from compare.measure.measures import measure
from compare.options import Options
from compare.plan import best_member, coordinate_ascents, family_of
from compare.summary import FitSummary
from compare.verdict.judge import complaints, judge
from compare.verdict.thresholds import THRESHOLDS, Thresholds, is_short
from compare.verdict.without_truth import Distances, Weighed, beside, decide, weigh
from models.bnn import BnnData
from models.chain import Chain
from models.coin import Coin
from models.linear_decoder import most_likely
from models.vae import Autoencoder

WRONG = ("off", "narrow", "wide", "not converged")


@dataclass(frozen=True)
class Case:
    """One fit: what a verdict without the truth rests on, and the word of the one that knows it."""

    model: str
    data: str
    half: int
    name: str
    word: str
    converged: bool
    weighed: Weighed
    chains: Distances | None

    def word_by(self, thresholds: Thresholds, nuts: bool) -> str:
        """The word without the truth."""
        if not self.converged:
            return "not converged"
        return decide(self.weighed, self.chains if nuts else None, thresholds).word


def data_sets(name: str) -> Iterator[Any]:
    """Data drawn from the prior, in several sizes."""
    rng, model = np.random.default_rng(11), models.load(name)
    if name == "coin":
        for tosses in (0, 1, 3, 10, 30, 100, 1000):
            for alpha, beta in ((2.0, 2.0), (1.0, 1.0), (0.5, 0.5), (10.0, 1.0), (5.0, 20.0)):
                constants = Coin(heads=0, tosses=tosses, alpha=alpha, beta=beta)
                yield from model.simulate(constants, rng, 2).data
    elif name == "chain":
        for length, observe in itertools.product((1, 2, 3, 5, 10, 20), ("last", "all")):
            yield from model.simulate(Chain(length, 1.0, observe), rng, 4).data
    elif name == "bnn":
        for hidden, noise in ((1, 0.2), (1, 1.0), (1, 3.0), (2, 1.0)):
            yield from model.simulate(BnnData(hidden=hidden, noise=noise), rng, 3 if hidden == 1 else 2).data
    else:
        for split in range(3):
            grey = Autoencoder(pixels="grey", hidden=0, split=split, images=2)
            yield replace(grey, network=most_likely(grey.dataset.train, 2))
            yield replace(grey, network=most_likely(grey.dataset.train, 1))


def chains_of(name: str, data: Any, model: Any) -> FitSummary | None:
    """The summary of a NUTS run that met its targets."""
    fit = run(Job("numpyro-nuts", name, data, "nuts", "numpyro", None, 0, Options(**model.defaults | {"budget": 30.0})))
    if fit.tree is None:
        return None
    summary = measure(fit, model.exact(data), None)
    return None if complaints(summary, Options()) or is_short(summary.diagnostics, Options()) else summary


def generate_cases(name: str) -> Iterator[Case]:
    """Every guide, in both libraries, on every data set; and Adam stopped too soon."""
    model = models.load(name)
    for number, data in enumerate(data_sets(name)):
        exact = model.exact(data)
        if exact is None:
            continue
        chains = chains_of(name, data, model)
        encoders = model.amortization is not None
        options = Options(**model.defaults)
        jobs = [
            Job(f"{library}-{family}", name, data, "amortised" if encoders else "svi", library, family, number, options)
            for library in LIBRARIES
            for family in model.guides
            if library == "numpyro" or not encoders or number == 0
        ]
        jobs += [Job(fit, name, data, "coordinate_ascent", seed=number) for fit in coordinate_ascents(model, data)]
        if not encoders and number % 5 == 0:
            adam = replace(options, optimiser="adam", steps=200)
            jobs.append(Job("numpyro-mean_field", name, data, "svi", "numpyro", "mean_field", number, adam))
        for job in jobs:
            case = case_of(run(job), model, exact, chains, number % 2)
            if case:
                yield case


def case_of(fit: Fit, model: Any, exact: Any, chains: FitSummary | None, half: int) -> Case | None:
    """Both sides of one fit; None if it failed."""
    job = fit.job
    if fit.tree is None:
        print(f"{job.name} on {job.data.describe()}: {fit.reason}", file=sys.stderr)
        return None
    family = family_of(model, job.data, job)
    summary = measure(fit, exact, best_member(model, job.data, family or ""))
    described = str({key: value for key, value in job.data.describe().items() if not isinstance(value, dict)})
    name = f"{job.name} (Adam, 200 steps)" if job.options and job.options.optimiser == "adam" else job.name
    word = judge(summary, job.options or Options()).word
    converged = summary.optimisation.converged
    return Case(model.name, described, half, name, word, converged, weigh(fit), chains and beside(summary, chains))


GRID = {
    "khat": (0.5, 0.7),
    "relative_ess": (1 / 1.01, 1 / 1.05, 1 / 1.1),
    "mean": (0.07, 0.1, 0.13),
    "spread": (0.07, 0.1, 0.13),
    "errors": (0.0, 2.0, 4.0),
    "chains": (0.0, 2.0, 4.0),
    "gap": (0.03, 0.05, 0.07, 0.1, np.inf),
}


def rates(chosen: list[Case], thresholds: Thresholds, nuts: bool) -> tuple[float, float]:
    """The share of wrong fits that are flagged, and of right ones."""
    flagged = {True: [], False: []}
    for case in chosen:
        flagged[case.word in WRONG].append(case.word_by(thresholds, nuts) != "agrees")
    return float(np.mean(flagged[True])), float(np.mean(flagged[False]))


MOST = 0.04
"""The share of right fits that may be flagged on the half that the thresholds are set on."""


def best(chosen: list[Case]) -> Thresholds:
    """Of the grid, those that flag most wrong fits and at most `MOST` right ones; of equals, those that flag the fewest
    right ones, and then the nearest to those in use."""
    tried = [
        replace(THRESHOLDS, **dict(zip(GRID, values, strict=True))) for values in itertools.product(*GRID.values())
    ]

    def merit(thresholds: Thresholds) -> tuple[float, float, float]:
        wrong, right = rates(chosen, thresholds, nuts=True)
        away = sum(getattr(thresholds, name) != getattr(THRESHOLDS, name) for name in GRID)
        return (wrong, -right, -away) if right <= MOST else (-right, 0.0, 0.0)

    return max(tried, key=merit)


def confusion(chosen: list[Case], thresholds: Thresholds, nuts: bool) -> str:
    """Rows: the verdict that knows the truth; columns: the one that does not."""
    counts = Counter((case.word, case.word_by(thresholds, nuts)) for case in chosen)
    rows = [word for word in ("agrees", *WRONG) if any(pair[0] == word for pair in counts)]
    columns = [word for word in ("agrees", *WRONG, "undecided") if any(pair[1] == word for pair in counts)]
    lines = [f"| with the truth | {' | '.join(columns)} |", f"| --- |{' ---: |' * len(columns)}"]
    lines += [f"| {row} | {' | '.join(str(counts[row, column]) for column in columns)} |" for row in rows]
    return "\n".join(lines)


def table(paths: list[str]) -> None:
    """Thresholds from the first half, and what the second half says of them."""
    known = [case for path in paths for case in pickle.loads(Path(path).read_bytes())]
    halves = [[case for case in known if case.half == half] for half in (0, 1)]
    chosen = best(halves[0])
    print(f"{len(known)} fits; thresholds in use {THRESHOLDS}\n\nbest on the first half: {chosen}\n")
    for label, thresholds in (("in use", THRESHOLDS), ("best on the first half", chosen)):
        for half, nuts in itertools.product((0, 1), (True, False)):
            wrong, right = rates(halves[half], thresholds, nuts)
            with_nuts = "with NUTS" if nuts else "without NUTS"
            print(
                f"{label}, half {half + 1}, {with_nuts}: {wrong:.1%} of wrong fits flagged, {right:.1%} of right ones"
            )
    for nuts in (True, False):
        print(f"\nheld-back half, {'with' if nuts else 'without'} NUTS\n\n{confusion(halves[1], THRESHOLDS, nuts)}")
    for nuts in (True, False):
        print(f"\nwrong, and not flagged, in either half, {'with' if nuts else 'without'} NUTS:\n")
        for case in known:
            if case.word in WRONG and case.word_by(THRESHOLDS, nuts) == "agrees":
                print(f"- {case.model} {case.name}: {case.word}; {case.data}; k-hat {case.weighed.khat:.2f}")
    print("\nright, and flagged, in either half:\n")
    for case in known:
        word = case.word_by(THRESHOLDS, True)
        if case.word not in WRONG and word != "agrees":
            print(f"- {case.model} {case.name}: {word}; {case.data}; k-hat {case.weighed.khat:.2f}")


def main() -> None:
    if sys.argv[1] == "table":
        table(sys.argv[2:])
        return
    chosen = sys.argv[3].split(",") if len(sys.argv) > 3 else list(models.CATALOGUE)
    fits = [case for name in chosen for case in generate_cases(name)]
    Path(sys.argv[2]).write_bytes(pickle.dumps(fits))
    print(f"{len(fits)} fits", Counter((case.model, case.word) for case in fits))


if __name__ == "__main__":
    main()
