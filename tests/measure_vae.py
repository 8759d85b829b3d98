"""Measure the README's tables of the autoencoder: python tests/measure_vae.py guides|latents [libraries] [splits].

``guides``: over splits (and seeds), what each guide costs on one decoder, and how good a decoder each guide learns.
``latents``: from which number of latent dimensions on an autoencoder beats the mixture of Bernoullis.
Means over the splits with the standard deviation between them.
"""

from __future__ import annotations

import sys
from collections import defaultdict

import numpy as np

import models
from compare import run, workers
from compare.fits.options import Options

LATENTS = (2, 3, 4, 6, 10)
GAPS = ("log_evidence", "elbo", "family_gap", "amortisation_gap")


def spread(values: list[float], digits: int = 3) -> str:
    """Mean and standard deviation between splits."""
    return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}"


def compared(libraries: list[str], families: list[str] | None = None, **options: object) -> dict:
    """The test set's part of the summary of one comparison, split and seed alike."""
    model = models.load("vae")
    data = model.data(**options)
    with workers.workers(libraries) as helpers:
        made = run.compare(
            model,
            data,
            libraries,
            families,
            nuts=False,
            options=Options(budget=300.0),
            seed=data.split,
            helpers=helpers,
        )
    return made.summary["held_out"]


def guides(libraries: list[str], splits: int) -> None:
    """Both questions: the guides on one decoder, and the decoders of the guides."""
    ledgers, evidences = defaultdict(lambda: defaultdict(list)), defaultdict(lambda: defaultdict(list))
    for split in range(splits):
        held_out = compared(libraries, split=split)
        for name, ledger in held_out["guides"].items():
            for term in GAPS:
                ledgers[name][term].append(ledger[term]["value"])
        rivals = {name.partition(",")[0]: {"evidence": one} for name, one in held_out["rivals"].items()}
        for name, one in {**held_out["networks"], **rivals}.items():
            evidences[name]["evidence"].append(one["evidence"]["value"])
            evidences[name]["bits"].append(one["evidence"]["bits"])
            if one.get("elbo"):
                evidences[name]["elbo"].append(one["elbo"]["value"])
        print(f"split {split} done", file=sys.stderr, flush=True)
    print("| guide, on one decoder | ELBO | family gap | amortisation gap |\n| --- | --- | --- | --- |")
    for name, terms in ledgers.items():
        print(f"| `{name}` | " + " | ".join(spread(terms[term]) for term in GAPS[1:]) + " |")
    print("\n| network, or simpler model | log evidence | bits a pixel | ELBO |\n| --- | --- | --- | --- |")
    for name, terms in sorted(evidences.items(), key=lambda one: -np.mean(one[1]["evidence"])):
        elbo = spread(terms["elbo"]) if terms["elbo"] else ""
        print(f"| {name} | {spread(terms['evidence'])} | {spread(terms['bits'], 4)} | {elbo} |")


def latents(libraries: list[str], splits: int) -> None:
    """Held-out evidence against the number of latent dimensions, each decoder learnt with one guide."""
    found = defaultdict(list)
    for split in range(splits):
        for latent in LATENTS:
            held_out = compared(libraries, families=["flow"], split=split, latent=latent)
            for name, one in held_out["networks"].items():
                found[f"{latent}, {name}"].append(one["evidence"]["value"])
        for name, one in held_out["rivals"].items():
            found[name.partition(",")[0]].append(one["value"])
        print(f"split {split} done", file=sys.stderr, flush=True)
    print("| latent dimensions | log evidence |\n| --- | --- |")
    for name, values in found.items():
        print(f"| {name} | {spread(values)} |")


if __name__ == "__main__":
    chosen = sys.argv[2].split(",") if len(sys.argv) > 2 else ["numpyro", "pyro"]
    measure = {"guides": guides, "latents": latents}[sys.argv[1]]
    measure(chosen, int(sys.argv[3]) if len(sys.argv) > 3 else 5)
