"""The README's tables of the autoencoder: python -m tests.experiments.vae guides|latents|speed [libraries] [splits].

``guides``: over splits (and seeds), what each guide costs on one decoder, and how good a decoder each guide learns.
``latents``: from which number of latent dimensions on an autoencoder beats the mixture of Bernoullis.
``speed``: training images a second, beside the library's own SVI on the same networks, batches and images.

Means over the splits with the standard deviation between them; of speeds the median of so many runs, in turn.
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


def spread(values: list[float], digits: int = 3) -> str:
    """Mean and standard deviation between splits."""
    return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}"


def compared(libraries: list[str], families: tuple[str, ...] | None = None, **options: object) -> dict:
    """The test set's part of the summary of one comparison, split and seed alike."""
    data = MODEL.data(**options)
    with processes.workers(libraries) as helpers:
        request = Request(MODEL, data, tuple(libraries), families, False, Options(budget=300.0), data.split)
        return pipeline.compare(request, helpers).summary["held_out"]


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
    """Held-out evidence against the number of latent dimensions, each decoder learnt with the flow."""
    found, errors = defaultdict(list), defaultdict(list)
    for split in range(splits):
        for latent in LATENTS:
            data = MODEL.data(split=split, latent=latent)
            for library in libraries:
                made = fit(
                    Job(f"{library}-flow", "vae", data, "training", library, "flow", split, Options(budget=300.0))
                )
                known = MODEL.amortization.held_out(MODEL.amortization.with_decoder(data, weights(made)))
                found[f"{library}-flow, {latent}"].append(float(known.values.mean()))
                errors[f"{library}-flow, {latent}"].append(np.linalg.norm(known.mcse) / len(known.mcse))
        for name, values in MODEL.amortization.baselines(data).items():
            found[name.partition(",")[0]].append(float(values.mean()))
        print(f"split {split} done", file=sys.stderr, flush=True)
    print("| network, dimensions of z; or simpler model | log evidence | Monte Carlo error |\n| --- | --- | --- |")
    for name, values in sorted(found.items(), key=lambda one: -np.mean(one[1])):
        print(f"| {name} | {spread(values)} | {max(errors.get(name, [0.0])):.1g} |")


def start(library: str) -> tuple[Any, Any, dict]:
    """What the library computes for mean field, what is trained on, and the networks' weights before training."""
    told = MODEL.amortization.training(MODEL.data())
    rng = np.random.default_rng(0)
    begin = {
        "encoder": told.start_encoder(rng, local_posterior("mean_field").start(told.latent)),
        "decoder": told.start_decoder(rng),
    }
    return (
        import_module(f"compare.fit.amortized.amortised_{library}").networks("vae", "mean_field", told.latent),
        told,
        begin,
    )


def ours(library: str) -> Callable[[int], None]:
    """Train for so many epochs as the zoo does."""
    made, told, begin = start(library)
    trainer = made.trainer(begin, told, 0)
    return lambda epochs: trainer.epochs(epochs, 1e-3)


def usual_numpyro() -> Callable[[int], None]:
    """The way of NumPyro's VAE example: SVI's update in a compiled loop over the batches of an epoch."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    from numpyro import optim
    from numpyro.contrib.module import eqx_module
    from numpyro.infer import SVI, Trace_ELBO

    made, told, begin = start("numpyro")
    twin = made.twin
    single = jax.tree.map(lambda one: jnp.asarray(one, jnp.float32), begin)
    decoder, encoder = twin.Decoder(**single["decoder"]), twin.Encoder(**single["encoder"])
    assert isinstance(decoder, eqx.Module)

    svi = SVI(
        lambda images: twin.vae(images, eqx_module("decoder", decoder)),
        lambda images: twin.guide(images, eqx_module("encoder", encoder), made.posterior),
        optim.Adam(1e-3),
        Trace_ELBO(),
    )
    images = jnp.asarray(told.train, jnp.float32)
    steps = len(images) // told.batch

    @jax.jit
    def epoch(state, key):
        picks = jax.random.permutation(key, len(images))[: steps * told.batch].reshape(steps, told.batch)
        return jax.lax.fori_loop(0, steps, lambda step, state: svi.update(state, images[picks[step]])[0], state)

    state = svi.init(jax.random.key(0), images[: told.batch])

    def run(epochs: int) -> None:
        nonlocal state
        for number in range(epochs):
            state = epoch(state, jax.random.key(number))
        jax.block_until_ready(state.optim_state)

    return run


def usual_pyro() -> Callable[[int], None]:
    """The way of Pyro's VAE example: a step of SVI with Trace_ELBO for each batch of a DataLoader."""
    import pyro
    import torch
    from pyro.infer import SVI, Trace_ELBO

    made, told, begin = start("pyro")
    torch.set_default_dtype(torch.float32)
    pyro.clear_param_store()
    tensors = {
        name: {key: torch.tensor(value, dtype=torch.float32) for key, value in one.items()}
        for name, one in begin.items()
    }
    decoder = made.twin.Decoder(**tensors["decoder"]).requires_grad_()
    encoder = made.twin.Encoder(**tensors["encoder"]).requires_grad_()
    svi = SVI(
        lambda images: made.twin.vae(images, decoder),
        lambda images: made.twin.guide(images, encoder, made.posterior),
        pyro.optim.Adam({"lr": 1e-3}),
        Trace_ELBO(),
    )
    images = torch.tensor(told.train, dtype=torch.float32)
    loader = torch.utils.data.DataLoader(images, told.batch, shuffle=True, drop_last=True)

    def run(epochs: int) -> None:
        torch.set_default_dtype(torch.float32)
        for _ in range(epochs):
            for batch in loader:
                svi.step(batch)

    return run


def speed(libraries: list[str], runs: int, epochs: int = 20) -> None:
    """Both ways in turn, after a run that compiles."""
    print("| library | ours, images a second | its example's way | ratio |\n| --- | --- | --- | --- |")
    for library in libraries:
        ways = [ours(library), {"numpyro": usual_numpyro, "pyro": usual_pyro}[library]()]
        seconds: list[list[float]] = [[], []]
        for number in range(runs + 1):
            for way, found in zip(ways, seconds, strict=True):
                began = time.perf_counter()
                way(epochs)
                if number:
                    found.append(time.perf_counter() - began)
        told = MODEL.amortization.training(MODEL.data())
        images = epochs * (len(told.train) // told.batch) * told.batch
        rates = [images / np.median(found) for found in seconds]
        ratios = np.array(seconds[1]) / np.array(seconds[0])
        low, high = ratios.min(), ratios.max()
        print(f"| {library} | {rates[0]:,.0f} | {rates[1]:,.0f} | {np.median(ratios):.2f} ({low:.2f} to {high:.2f}) |")


if __name__ == "__main__":
    chosen = sys.argv[2].split(",") if len(sys.argv) > 2 else ["numpyro", "pyro"]
    measure = {"guides": guides, "latents": latents, "speed": speed}[sys.argv[1]]
    measure(chosen, int(sys.argv[3]) if len(sys.argv) > 3 else 5)
