"""What encoders are trained on, the decoder that is learnt with them, and what they are compared with."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.contract import Amortization, Evidences, Training
from models.decoder import Decoder, random_weights
from models.sampling import ais
from models.vae import baselines, tasks
from models.vae.data import Autoencoder
from models.vae.exact import exact

N_CHAINS, TEMPERATURES = 8, 200
"""Annealed importance sampling's, which takes over where latents have too many dimensions for quadrature."""


def training(data: Autoencoder) -> Training:
    """What encoders are trained on, and the decoder with them where none is given.

    In training the noise of grey pixels is known by its log, which may take any value.
    """
    images, grey = data.dataset, data.pixels == "grey"
    middle = np.clip(images.train.mean(axis=0), 0.01, 0.99)

    def start_decoder(rng: np.random.Generator) -> dict[str, np.ndarray]:
        weights = random_weights(rng, data.latent, data.hidden, middle if grey else np.log(middle / (1 - middle)))
        return weights | ({"log_noise": np.log(images.train.std(axis=0).mean())} if grey else {})

    def start_encoder(rng: np.random.Generator, row: np.ndarray) -> dict[str, np.ndarray]:
        return random_weights(rng, len(middle), data.hidden, row, size=0.1)

    weights = None if data.network is None else dict(data.network.weights)
    if weights and grey:
        weights["log_noise"] = np.log(weights.pop("noise"))
    return Training(
        train=images.train,
        validation=images.validation,
        test=images.test,
        shown=data.shown,
        latent=data.latent,
        epochs=data.epochs,
        batch=data.batch,
        decoder=weights,
        start_decoder=start_decoder,
        start_encoder=start_encoder,
        queries=tasks.queries(data),
        every_family=data.task == "compare",
    )


def with_decoder(data: Autoencoder, weights: Mapping[str, np.ndarray]) -> Autoencoder:
    """The same with this decoder."""
    weights = dict(weights)
    if "log_noise" in weights:
        weights["noise"] = np.exp(weights.pop("log_noise"))
    return replace(data, network=Decoder(weights))


def save(data: Autoencoder, path: Path) -> None:
    """Write the decoder to a file that ``--decoder`` reads."""
    data.network.save(path)


def held_out(data: Autoencoder) -> Evidences:
    """The log evidence of every test image: by quadrature or in closed form, else a reference with its error."""
    images = data.dataset.test
    posterior = exact(data, images)
    if posterior is not None:
        return Evidences(posterior.log_evidences, np.zeros(len(images)), posterior.method)
    values, mcse = ais(data.network, images, np.random.default_rng([int(data.split), 2]), N_CHAINS, TEMPERATURES)
    return Evidences(values, mcse, f"annealed importance sampling ({N_CHAINS} chains, {TEMPERATURES} temperatures)")


def simpler_models(data: Autoencoder) -> dict[str, np.ndarray]:
    """The log density of every test image under simpler models; where a task is asked, they have no part in it."""
    return baselines.baselines(data.dataset) if data.task == "compare" else {}


def is_sampled(data: Autoencoder) -> bool:
    """NUTS belongs to the comparison of posteriors, not to a task."""
    return data.task == "compare"


AMORTIZATION = Amortization(training, with_decoder, save, held_out, simpler_models, is_sampled)
