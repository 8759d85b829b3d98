"""The README's tables of the deep latent Gaussian model: python -m tests.experiments.dlgm MEASURE [splits] [images].

``members``: on each split's trained networks, the gap of each family's best member, in both coordinates, by quadrature.
``models``: the networks' exact held-out log evidence, beside models that know no latents.
``annealing``: annealed importance sampling against quadrature on the test images, and its bracket on simulated ones.

Values are means over the first test images and then over the splits, with the standard deviation between splits.
"""

from __future__ import annotations

import sys
from collections import defaultdict

import numpy as np

from models.dlgm import DeepData
from models.dlgm.exact import nested
from models.dlgm.independence import FAMILIES, best_members
from models.sampling import ais
from models.vae.baselines import baselines
from tests.bidirectional import bidirectional
from tests.experiments.vae import mean_and_sd

N_CHAINS, TEMPERATURES = 16, 200
"""Of annealing."""

Row = dict[str, list[float]]


def members(splits: int, count: int) -> None:
    """The gaps of the best members, and what each says of z2 beside what the image says."""
    rows: dict[str, Row] = defaultdict(lambda: defaultdict(list))
    for split in range(splits):
        data = DeepData(split=split)
        images = data.dataset.test[:count]
        known = nested(data.network, images)
        for latents, sites in (("values", "z2 and z1"), ("noise", "e2 and e1")):
            rows["exact"][f"gap in {sites}"].append(0.0)
            rows["exact"][f"KL of z2 in {sites}"].append(float(known.information.mean()))
            for family in FAMILIES:
                best = best_members(data.network, images, family, latents)
                row = rows[family.replace("_", " ")]
                row[f"gap in {sites}"].append(float((known.log_evidences - best.elbos).mean()))
                row[f"KL of z2 in {sites}"].append(float(best.information.mean()))
        print(f"split {split} done", file=sys.stderr, flush=True)
    table("the best member", {name: rows[name] for name in ("mean field", "full rank", "exact")})


def models(splits: int, count: int) -> None:
    """The exact log evidence of all test images, whatever ``count``, and the densities of simpler models."""
    rows: dict[str, Row] = defaultdict(lambda: defaultdict(list))
    for split in range(splits):
        data = DeepData(split=split)
        values = {"dlgm, latent 1,1": nested(data.network, data.dataset.test).log_evidences}
        values |= {name.partition(",")[0]: each for name, each in baselines(data.dataset).items()}
        for name, each in values.items():
            rows[name]["log evidence"].append(float(each.mean()))
            rows[name]["less the deep model's"].append(float((each - values["dlgm, latent 1,1"]).mean()))
        print(f"split {split} done", file=sys.stderr, flush=True)
    table("model", dict(sorted(rows.items(), key=lambda item: -np.mean(item[1]["log evidence"]))))


def annealing(splits: int, count: int) -> None:
    """Annealing less quadrature in nats an image, its standard error, and the bracket on simulated images."""
    rows: dict[str, Row] = defaultdict(lambda: defaultdict(list))
    for split in range(splits):
        data, rng = DeepData(split=split), np.random.default_rng([split, 7])
        layers, images = data.network, data.dataset.test[:count]
        values, errors = ais(layers, images, rng, N_CHAINS, TEMPERATURES)
        off = values - nested(layers, images).log_evidences
        row = rows["test images, forwards"]
        row["less quadrature"].append(float(off.mean()))
        row["mean of squared errors, in standard errors"].append(float(np.mean((off / errors) ** 2)))
        e = rng.standard_normal((count, layers.latent))
        images = layers.lower.sample(layers.latents(e)[1], rng)
        bracket, truth = bidirectional(layers, images, e, rng, N_CHAINS, TEMPERATURES), nested(layers, images)
        for way, values in (("forwards", bracket.lower), ("backwards", bracket.upper)):
            off = values - truth.log_evidences
            rows[f"simulated images, {way}"]["less quadrature"].append(float(off.mean()))
        print(f"split {split} done", file=sys.stderr, flush=True)
    table("log evidence by annealing", rows, digits=4)


def table(title: str, rows: dict[str, Row], digits: int = 3) -> None:
    """Print means and standard deviations; what a row lacks stays empty."""
    columns = list(next(iter(rows.values())))
    print(f"| {title} | {' | '.join(columns)} |\n|{' --- |' * (len(columns) + 1)}")
    for name, row in rows.items():
        cells = (mean_and_sd(row[column], digits) if column in row else "" for column in columns)
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    measure = {"members": members, "models": models, "annealing": annealing}[sys.argv[1]]
    measure(*(int(part) for part in (*sys.argv[2:], *("5", "60")[len(sys.argv) - 2 :])))
