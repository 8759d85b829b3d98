"""The README's tables of the autoencoder: python -m tests.experiments.vae guides|latents|speed [libraries] [splits].

``guides``: what each guide costs on one decoder, and how good a decoder each guide learns, over splits (and seeds).
``latents``: how many latent dimensions an autoencoder needs to beat the mixture of Bernoullis.
``speed``: training images a second, beside the library's SVI on the same networks, batches and images.

Values are means over the splits with the standard deviation between them; speeds are medians over runs that alternate
between the two ways.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from compare import pipeline
from compare.comparison import Job, Request
from compare.execute import processes
from compare.fit import run as fit
from compare.fit.amortized.encoder import local_posterior
from compare.measure.held_out import weights
from compare.options import Options
from models.vae import MODEL

LATENTS = (2, 3, 4, 6, 10)
GAPS = ("log_evidence", "elbo", "family_gap", "amortisation_gap")


def mean_and_sd(values: list[float], digits: int = 3) -> str:
    """Mean and standard deviation between splits."""
    return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}"


def summarise_held_out(libraries: list[str], families: tuple[str, ...] | None = None, **options: object) -> dict:
    """The summary's part about the test set, of a comparison whose seed is the number of its split."""
    data = MODEL.data(**options)
    with processes.workers(libraries) as helpers:
        request = Request(MODEL, data, tuple(libraries), families, False, Options(budget=300.0), data.split)
        return pipeline.compare(request, helpers).summary["held_out"]


def guides(libraries: list[str], splits: int) -> None:
    """Both questions: the guides on one decoder, and the decoders of the guides."""
    ledgers, evidences = defaultdict(lambda: defaultdict(list)), defaultdict(lambda: defaultdict(list))
    for split in range(splits):
        held_out = summarise_held_out(libraries, split=split)
        for name, ledger in held_out["guides"].items():
            for term in GAPS:
                ledgers[name][term].append(ledger[term]["value"])
        baselines = {name.partition(",")[0]: {"evidence": evidence} for name, evidence in held_out["rivals"].items()}
        for name, row in {**held_out["networks"], **baselines}.items():
            evidences[name]["evidence"].append(row["evidence"]["value"])
            evidences[name]["bits"].append(row["evidence"]["bits"])
            if row.get("elbo"):
                evidences[name]["elbo"].append(row["elbo"]["value"])
        print(f"split {split} done", file=sys.stderr, flush=True)
    print("| guide, on one decoder | ELBO | family gap | amortisation gap |\n| --- | --- | --- | --- |")
    for name, terms in ledgers.items():
        print(f"| `{name}` | " + " | ".join(mean_and_sd(terms[term]) for term in GAPS[1:]) + " |")
    print("\n| network, or simpler model | log evidence | bits a pixel | ELBO |\n| --- | --- | --- | --- |")
    for name, terms in sorted(evidences.items(), key=lambda item: -np.mean(item[1]["evidence"])):
        elbo = mean_and_sd(terms["elbo"]) if terms["elbo"] else ""
        print(f"| {name} | {mean_and_sd(terms['evidence'])} | {mean_and_sd(terms['bits'], 4)} | {elbo} |")


def latents(libraries: list[str], splits: int) -> None:
    """Held-out evidence against the number of latent dimensions, each decoder learnt with the flow."""
    evidences, errors = defaultdict(list), defaultdict(list)
    for split in range(splits):
        for latent in LATENTS:
            data = MODEL.data(split=split, latent=latent)
            for library in libraries:
                result = fit(
                    Job(f"{library}-flow", "vae", data, "training", library, "flow", split, Options(budget=300.0))
                )
                known = MODEL.amortization.held_out(MODEL.amortization.with_decoder(data, weights(result)))
                evidences[f"{library}-flow, {latent}"].append(float(known.values.mean()))
                errors[f"{library}-flow, {latent}"].append(np.linalg.norm(known.mcse) / len(known.mcse))
        for name, values in MODEL.amortization.baselines(data).items():
            evidences[name.partition(",")[0]].append(float(values.mean()))
        print(f"split {split} done", file=sys.stderr, flush=True)
    print("| network, dimensions of z; or simpler model | log evidence | Monte Carlo error |\n| --- | --- | --- |")
    for name, values in sorted(evidences.items(), key=lambda item: -np.mean(item[1])):
        print(f"| {name} | {mean_and_sd(values)} | {max(errors.get(name, [0.0])):.1g} |")


def start(library: str) -> tuple[Any, Any, dict]:
    """The library's networks for mean field, what they are trained on, and their weights before training."""
    training = MODEL.amortization.training(MODEL.data())
    rng = np.random.default_rng(0)
    weights_before = {
        "encoder": training.start_encoder(rng, local_posterior("mean_field").start(training.latent)),
        "decoder": training.start_decoder(rng),
    }
    return (
        import_module(f"compare.fit.amortized.amortised_{library}").networks("vae", "mean_field", training.latent),
        training,
        weights_before,
    )


def ours(library: str) -> Callable[[int], None]:
    """A function that trains for a number of epochs as the zoo does."""
    networks, training, weights_before = start(library)
    trainer = networks.trainer(weights_before, training, 0)
    return lambda epochs: trainer.epochs(epochs, 1e-3)


def baseline_numpyro() -> Callable[[int], None]:
    """The way of NumPyro's VAE example: SVI's update in a compiled loop over the batches of an epoch."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    from numpyro import optim
    from numpyro.contrib.module import eqx_module
    from numpyro.infer import SVI, Trace_ELBO

    networks, training, weights_before = start("numpyro")
    twin = networks.twin
    single = jax.tree.map(lambda array: jnp.asarray(array, jnp.float32), weights_before)
    decoder, encoder = twin.Decoder(**single["decoder"]), twin.Encoder(**single["encoder"])
    assert isinstance(decoder, eqx.Module)

    svi = SVI(
        lambda images: twin.vae(images, eqx_module("decoder", decoder)),
        lambda images: twin.guide(images, eqx_module("encoder", encoder), networks.posterior),
        optim.Adam(1e-3),
        Trace_ELBO(),
    )
    images = jnp.asarray(training.train, jnp.float32)
    steps = len(images) // training.batch

    @jax.jit
    def epoch(state, key):
        picks = jax.random.permutation(key, len(images))[: steps * training.batch].reshape(steps, training.batch)
        return jax.lax.fori_loop(0, steps, lambda step, state: svi.update(state, images[picks[step]])[0], state)

    state = svi.init(jax.random.key(0), images[: training.batch])

    def run(epochs: int) -> None:
        nonlocal state
        for number in range(epochs):
            state = epoch(state, jax.random.key(number))
        jax.block_until_ready(state.optim_state)

    return run


def baseline_pyro() -> Callable[[int], None]:
    """The way of Pyro's VAE example: a step of SVI with Trace_ELBO for each batch of a DataLoader."""
    import pyro
    import torch
    from pyro.infer import SVI, Trace_ELBO

    networks, training, weights_before = start("pyro")
    torch.set_default_dtype(torch.float32)
    pyro.clear_param_store()
    tensors = {
        name: {key: torch.tensor(value, dtype=torch.float32) for key, value in arrays.items()}
        for name, arrays in weights_before.items()
    }
    decoder = networks.twin.Decoder(**tensors["decoder"]).requires_grad_()
    encoder = networks.twin.Encoder(**tensors["encoder"]).requires_grad_()
    svi = SVI(
        lambda images: networks.twin.vae(images, decoder),
        lambda images: networks.twin.guide(images, encoder, networks.posterior),
        pyro.optim.Adam({"lr": 1e-3}),
        Trace_ELBO(),
    )
    images = torch.tensor(training.train, dtype=torch.float32)
    loader = torch.utils.data.DataLoader(images, training.batch, shuffle=True, drop_last=True)

    def run(epochs: int) -> None:
        torch.set_default_dtype(torch.float32)
        for _ in range(epochs):
            for batch in loader:
                svi.step(batch)

    return run


def speed(libraries: list[str], runs: int, epochs: int = 20) -> None:
    """Time both ways in turn, after one run of each to compile."""
    print("| library | ours, images a second | its example's way | ratio |\n| --- | --- | --- | --- |")
    for library in libraries:
        ways = [ours(library), {"numpyro": baseline_numpyro, "pyro": baseline_pyro}[library]()]
        seconds: list[list[float]] = [[], []]
        for number in range(runs + 1):
            for way, times in zip(ways, seconds, strict=True):
                began = time.perf_counter()
                way(epochs)
                if number:
                    times.append(time.perf_counter() - began)
        training = MODEL.amortization.training(MODEL.data())
        images = epochs * (len(training.train) // training.batch) * training.batch
        rates = [images / np.median(times) for times in seconds]
        ratios = np.array(seconds[1]) / np.array(seconds[0])
        low, high = ratios.min(), ratios.max()
        print(f"| {library} | {rates[0]:,.0f} | {rates[1]:,.0f} | {np.median(ratios):.2f} ({low:.2f} to {high:.2f}) |")


if __name__ == "__main__":
    chosen = sys.argv[2].split(",") if len(sys.argv) > 2 else ["numpyro", "pyro"]
    measure = {"guides": guides, "latents": latents, "speed": speed}[sys.argv[1]]
    measure(chosen, int(sys.argv[3]) if len(sys.argv) > 3 else 5)
