r"""The variational autoencoder, with its posterior known.

    z ~ N(0, I),      pixel_p ~ Bernoulli(logistic(f(z)_p)),      f(z) = b + softplus(c + z W) V

(Kingma & Welling 2013; Rezende et al. 2014). The decoder f is learnt by stochastic gradients of the ELBO together with
an encoder, which gives for each image the parameters of q(z | image). With a latent space of two dimensions the log
evidence and the posterior of every image are integrals over a plane, so what the encoder and its family miss is known
image by image.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from models.contract import (
    Amortization,
    Evidences,
    Exact,
    Literature,
    Model,
    Prediction,
    Quantities,
    Reference,
    Simulated,
    Training,
)
from models.options import Data, option, parse_int
from models.vae import baselines, tasks
from models.vae.decoder import Decoder
from models.vae.exact import exact
from models.vae.images import PIXELS, Images, load
from models.vae.literature import claims, published
from models.vae.network import initial
from models.vae.pictures import PICTURES
from models.vae.sampling import ais

__all__ = ["MODEL", "Autoencoder"]


MOST = {"latent": 50, "hidden": 2000, "epochs": 100_000, "batch": 100_000}
N_CHAINS, TEMPERATURES = 8, 200
"""Of annealed importance sampling, which stands in where there are too many latent dimensions for quadrature."""

LEAST = {"latent": 1, "hidden": 0, "epochs": 1, "batch": 1, "split": 0, "images": 1}


@dataclass(frozen=True)
class Autoencoder(Data):
    """The images, the networks' sizes, and the decoder where one is given.

    ``network`` is the decoder: that of the file, or the one that was learnt (`with_decoder`); None before that.
    ``shown`` are the test images, shape (images,), whose posteriors are compared one by one.

    Raises:
        ValueError: images that cannot be used (`models.vae.images.load`), a decoder file that is none or is one for
            other images (`models.vae.decoder.Decoder.load`), or a size that is not a whole number in its range.
    """

    data: str = option("digits", "digits, or a file of images as MNIST's: idx, idx.gz or npz", str)
    pixels: str = option("binary", "binary: 0 or 1, Bernoulli; grey: from 0 to 1, Gaussian", str, PIXELS)
    latent: int = option(2, "dimensions of z; the posterior is exact up to 2", parse_int)
    hidden: int = option(128, "units of the encoder's and of the decoder's hidden layer; 0: linear", parse_int)
    epochs: int = option(600, "most passes over the training images", parse_int)
    batch: int = option(128, "images a step", parse_int)
    decoder: str | None = option(None, "file of a trained decoder (.npz), which then is not trained", str)
    split: int = option(0, "seed of the split into training, validation and test images", parse_int)
    images: int = option(10, "test images whose posteriors are compared one by one", parse_int)
    task: str = option("compare", f"compare, or what autoencoders are for: {', '.join(tasks.TASKS)}", str)
    network: Decoder | None = field(default=None, metadata=None)

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
                raise ValueError(f"{name} is {value!r}: give a whole number, {least} or more")
            if value > MOST.get(name, value):
                raise ValueError(f"{name} is {value}: give {MOST[name]:,} or less")
        if self.pixels not in PIXELS:
            raise ValueError(f"pixels is {self.pixels!r}: give {' or '.join(PIXELS)}")
        if not isinstance(self.data, str | os.PathLike):
            raise ValueError(f"data is {self.data!r}: give digits or the name of a file")
        chosen = load(str(self.data), self.pixels, int(self.split))
        if self.images > len(chosen.test):
            raise ValueError(f"images is {self.images}, but {len(chosen.test)} are held out; give at most as many")
        if self.batch > len(chosen.train):
            raise ValueError(f"batch is {self.batch}, but there are {len(chosen.train)} images to train on; give fewer")
        network = self.network
        if network is None and self.decoder is not None:
            network = self.fitting(Decoder.load(self.decoder), chosen)
        shown = np.sort(np.random.default_rng([int(self.split), 1]).permutation(len(chosen.test))[: self.images])
        values = {"data": str(self.data), "dataset": chosen, "shown": shown, "network": network}
        if network is not None:
            values |= {"latent": network.latent, "hidden": network.hidden}
        for name, value in values.items():
            object.__setattr__(self, name, value)
        tasks.check(self)

    def fitting(self, decoder: Decoder, images: Images) -> Decoder:
        """The decoder, if it is one for these images."""
        if decoder.pixels != images.test.shape[1]:
            raise ValueError(
                f"decoder {self.decoder} gives {decoder.pixels} pixels, but the images have {images.test.shape[1]}; "
                "give one that was trained on images of this size"
            )
        for name in ("latent", "hidden"):
            if getattr(self, name) not in (getattr(decoder, name), type(self).__dataclass_fields__[name].default):
                raise ValueError(
                    f"{name} is {getattr(self, name)}, but decoder {self.decoder} has {getattr(decoder, name)}; "
                    f"leave --{name} out"
                )
        if decoder.grey != (self.pixels == "grey"):
            found = "grey" if decoder.grey else "binary"
            raise ValueError(f"decoder {self.decoder} is for {found} pixels; give --pixels {found}")
        return decoder

    def arguments(self) -> dict[str, Any]:
        return {"images": self.dataset.test[self.shown], **self.network.weights}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"z": (len(self.shown), self.latent)}

    def reported(self) -> list[tuple[str, tuple[int, ...]]]:
        return report(self)

    def observed(self) -> dict[str, np.ndarray]:
        return {"pixels": self.dataset.test[self.shown]}

    def describe(self) -> dict[str, Any]:
        sizes = {"pixels": self.pixels, "latent": self.latent, "hidden": self.hidden, "split": self.split}
        trained = {} if self.decoder else {"epochs": self.epochs, "batch": self.batch}
        where = {"decoder": self.decoder or "trained here"}
        return {
            "data": self.data,
            **sizes,
            **trained,
            **where,
            "shown": len(self.shown),
            **self.dataset.about,
        } | tasks.describe(self)


def training(data: Autoencoder) -> Training:
    """What encoders are trained on, and the decoder with them where none is given.

    In training the noise of grey pixels is known by its log, which may take any value.
    """
    middle = np.clip(data.dataset.train.mean(axis=0), 0.01, 0.99)
    grey = data.pixels == "grey"

    def decoder(rng: np.random.Generator) -> dict[str, np.ndarray]:
        weights = initial(rng, data.latent, data.hidden, middle if grey else np.log(middle / (1 - middle)))
        return weights | ({"log_noise": np.log(data.dataset.train.std(axis=0).mean())} if grey else {})

    def encoder(rng: np.random.Generator, row: np.ndarray) -> dict[str, np.ndarray]:
        return initial(rng, len(middle), data.hidden, row, size=0.1)

    weights = None if data.network is None else dict(data.network.weights)
    if weights and grey:
        weights["log_noise"] = np.log(weights.pop("noise"))
    return Training(
        train=data.dataset.train,
        validation=data.dataset.validation,
        test=data.dataset.test,
        shown=data.shown,
        latent=data.latent,
        epochs=data.epochs,
        batch=data.batch,
        decoder=weights,
        start_decoder=decoder,
        start_encoder=encoder,
        queries=tasks.queries(data),
        every_family=data.task == "compare",
    )


def with_decoder(data: Autoencoder, weights: Mapping[str, np.ndarray]) -> Autoencoder:
    """The same with this decoder."""
    weights = dict(weights)
    if "log_noise" in weights:
        weights["noise"] = np.exp(weights.pop("log_noise"))
    return replace(data, network=Decoder(weights))


def simpler_models(data: Autoencoder) -> dict[str, np.ndarray]:
    """The log density of every test image under simpler models; where a task is asked, they have no part in it."""
    return baselines.baselines(data.dataset) if data.task == "compare" else {}


def save(data: Autoencoder, path: Path) -> None:
    """Write the decoder to a file that ``--decoder`` reads."""
    data.network.save(path)


def held_out(data: Autoencoder) -> Evidences:
    """The log evidence of every test image: by quadrature or in closed form, else a reference with its error."""
    found, images = exact(data, data.dataset.test), data.dataset.test
    if found is not None:
        return Evidences(found.log_evidences, np.zeros(len(images)), found.method)
    values, mcse = ais(data.network, images, np.random.default_rng([int(data.split), 2]), N_CHAINS, TEMPERATURES)
    return Evidences(values, mcse, f"annealed importance sampling ({N_CHAINS} chains, {TEMPERATURES} temperatures)")


def simulate(data: Autoencoder, rng: np.random.Generator, count: int) -> Simulated:
    """Points z from the prior and an image of each from the decoder, all as the test images of one data set."""
    z = rng.standard_normal((count, data.latent))
    output = data.network(z)
    if data.network.grey:
        images = output + data.network.weights["noise"] * rng.standard_normal(output.shape)
    else:
        images = (rng.random(output.shape) < expit(output)).astype(float)
    other, drawn = copy.copy(data), replace(data.dataset, test=images, test_labels=None)
    for name, value in {"dataset": drawn, "images": count, "shown": np.arange(count)}.items():
        object.__setattr__(other, name, value)
    return Simulated({"z": z}, (other,), plate=True)


def is_sampled(data: Autoencoder) -> bool:
    """NUTS belongs to the comparison of posteriors, not to a task."""
    return data.task == "compare"


def truth(data: Autoencoder) -> Exact | Reference:
    """The exact posteriors; NUTS beyond the dimensions in which quadrature is possible."""
    return exact(data) or Reference("NUTS on every shown image's z")


def report(data: Autoencoder) -> list[tuple[str, tuple[int, ...]]]:
    """Every latent of every image shown."""
    return [("z", (image, axis)) for image in range(len(data.shown)) for axis in range(data.latent)]


MODEL = Model(
    name="vae",
    title="a variational autoencoder whose posterior is known: how far is the encoder's answer from it?",
    data=Autoencoder,
    guides=("mean_field", "full_rank", "mixture", "flow"),
    truth=truth,
    test_cases=(
        Autoencoder(hidden=0),
        Autoencoder(pixels="grey", hidden=0),
        Autoencoder(pixels="grey", images=3),
        Autoencoder(latent=1),
        Autoencoder(latent=4, images=2),
    ),
    simulate=simulate,
    quantities=Quantities(report=report),
    prediction=Prediction(
        tasks.predict,
        baselines=tasks.baselines,
        scores=tasks.scores,
        queries=tasks.queries,
        exact_queries=tasks.exact_draws,
        exact_predictions=tasks.exact_predictions,
    ),
    amortization=Amortization(
        training=training,
        with_decoder=with_decoder,
        save=save,
        held_out=held_out,
        baselines=simpler_models,
        is_sampled=is_sampled,
    ),
    literature=Literature(claims, published),
    pictures=PICTURES,
)
