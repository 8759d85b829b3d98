"""What encoders are trained on, the decoder that is learnt with them, and what they are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import special

from models.contract import Amortization, Evidences, Training
from models.decoder import Decoder, random_weights
from models.image_posteriors import WORST
from models.ssvae.classification import naive_bayes_evidences, queries
from models.ssvae.data import SemiSupervised, with_possible
from models.ssvae.decoder import ClassDecoder
from models.ssvae.exact import class_evidences


def training(data: SemiSupervised) -> Training:
    """What encoders are trained on: images beside the classes that they may have; and the decoder's start."""
    images, n_classes = data.dataset, data.n_classes
    middle = np.clip(images.train.mean(axis=0), 0.01, 0.99)

    def start_decoder(rng: np.random.Generator) -> dict[str, np.ndarray]:
        return random_weights(rng, data.latent + n_classes, data.hidden, special.logit(middle))

    def start_encoder(rng: np.random.Generator, row: np.ndarray) -> dict[str, np.ndarray]:
        return random_weights(rng, len(middle) + n_classes, data.hidden, row, size=0.1)

    return Training(
        train=data.training_images,
        validation=with_possible(images.validation, n_classes),
        test=with_possible(images.test, n_classes),
        shown=data.shown,
        latent=data.latent,
        epochs=data.epochs,
        batch=data.batch,
        decoder=None if data.network is None else dict(data.network.weights),
        start_decoder=start_decoder,
        start_encoder=start_encoder,
        queries=queries(data),
        every_family=False,
        n_elements=len(middle),
    )


def with_decoder(data: SemiSupervised, weights: Mapping[str, np.ndarray]) -> SemiSupervised:
    """The same with this decoder."""
    return replace(data, network=ClassDecoder(Decoder(weights), data.n_classes))


def save(data: SemiSupervised, path: Path) -> None:
    """Write the decoder to a file that ``--decoder`` reads."""
    data.network.save(path)


def held_out(data: SemiSupervised) -> Evidences:
    """The log evidence of every test image, by a quadrature for each class."""
    values, tolerance = class_evidences(data.network, data.dataset.test)
    errors = np.full(len(values), tolerance if tolerance > WORST else 0.0)
    return Evidences(special.logsumexp(values, axis=1), errors, "quadrature for each class")


def simpler_models(data: SemiSupervised) -> dict[str, np.ndarray]:
    """The log density of every test image under the same model without z, fitted to the images with a label."""
    return {"naive Bayes": naive_bayes_evidences(data)}


def is_sampled(data: SemiSupervised) -> bool:
    """NUTS always belongs to the comparison."""
    return True


AMORTIZATION = Amortization(training, with_decoder, save, held_out, simpler_models, is_sampled)
