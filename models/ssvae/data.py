"""Digits of which a few have a label, and the sizes of the networks: what the command line's options say."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from models.decoder import Decoder, check_sizes
from models.images import Images, check_batch, choose_shown, load
from models.options import Data, check_limits, derived, option, parse_int
from models.ssvae.decoder import ClassDecoder

LARGEST_LATENT = 2  # the dimension up to which the posterior is known

LIMITS = {
    "labels": (1, None),
    "latent": (1, LARGEST_LATENT),
    "hidden": (0, 2000),
    "epochs": (1, 100_000),
    "batch": (1, 100_000),
    "split": (0, None),
    "images": (1, None),
}
"""The least and the largest value of each size."""


@dataclass(frozen=True)
class SemiSupervised(Data):
    """The digits, which of them have a label, and the decoder where one is given.

    Attributes:
        network: The decoder: that of the file, or the one that was learnt; None before that.
        dataset: The `Images`: binary, 1,437 to train on, 180 for validation and 180 to test on.
        n_classes: The number of classes.
        labelled: The training images whose label is known, by number, shape (labels,).
        shown: The test images, by number, whose posteriors are compared one by one, shape (images,).

    Raises:
        ValueError: a size that is not a whole number in its range, fewer labels than classes or more than images, or a
            decoder file that is none or is not one for these images and classes.
    """

    labels: int = option(100, "training images with a label, equally many of each class", parse_int)
    latent: int = option(1, "dimensions of z: 1 or 2", parse_int)
    hidden: int = option(32, "units of the encoder's and of the decoder's hidden layer; 0: linear", parse_int)
    epochs: int = option(200, "most passes over the training images", parse_int)
    batch: int = option(128, "images per step", parse_int)
    decoder: str | None = option(None, "file of a trained decoder (.npz), which is held fixed", str)
    split: int = option(0, "seed of the split into training, validation and test images, and of the labels", parse_int)
    images: int = option(5, "test images whose posteriors are compared one by one", parse_int)
    network: ClassDecoder = field(default=None)  # type: ignore[assignment]  # what asks for it comes after training
    dataset: Images = derived()
    n_classes: int = derived()
    labelled: np.ndarray = derived()
    shown: np.ndarray = derived()

    def __post_init__(self) -> None:
        check_limits(self, LIMITS)
        dataset = load("digits", "binary", int(self.split))
        shown = choose_shown(dataset, self.images, int(self.split))
        check_batch(dataset, self.batch)
        labels = dataset.train_labels
        assert labels is not None
        n_classes = int(labels.max()) + 1
        labelled = choose_labelled(labels, n_classes, self.labels, np.random.default_rng([int(self.split), 3]))
        values: dict[str, Any] = {"dataset": dataset, "n_classes": n_classes, "labelled": labelled, "shown": shown}
        network = self.network
        if network is None and self.decoder is not None:
            network = values["network"] = self.load_decoder(dataset, n_classes)
        if network is not None:
            values |= {"latent": network.latent, "hidden": network.hidden}
        self._set(**values)

    def load_decoder(self, images: Images, n_classes: int) -> ClassDecoder:
        """The decoder of the file, if it is one for these images, classes and sizes."""
        decoder = Decoder.load(self.decoder)  # type: ignore[arg-type]
        if decoder.grey or decoder.pixels != images.test.shape[1]:
            kind = f"{decoder.pixels} {'grey' if decoder.grey else 'binary'} pixels"
            raise ValueError(f"decoder {self.decoder} gives {kind}; give one of {images.test.shape[1]} binary pixels")
        latent = decoder.latent - n_classes
        if not 1 <= latent <= LARGEST_LATENT:
            raise ValueError(
                f"decoder {self.decoder} takes {decoder.latent} numbers; give one that takes z, of 1 or 2, "
                f"and the {n_classes} classes"
            )
        check_sizes(self, latent, decoder.hidden)
        return ClassDecoder(decoder, n_classes)

    @cached_property
    def training_images(self) -> np.ndarray:
        """All training images with the classes that they may have, shape (n, pixels + classes)."""
        labels = self.dataset.train_labels
        assert labels is not None
        possible = np.ones((len(labels), self.n_classes))
        possible[self.labelled] = np.eye(self.n_classes)[labels[self.labelled]]
        return np.concatenate([self.dataset.train, possible], axis=1)

    def arguments(self) -> dict[str, Any]:
        images = self.dataset.test[self.shown]
        return {"images": images, "possible": np.ones((len(images), self.n_classes)), **self.network.weights}

    def describe(self) -> dict[str, Any]:
        sizes = {"labels": self.labels, "latent": self.latent, "hidden": self.hidden, "split": self.split}
        training = {} if self.decoder else {"epochs": self.epochs, "batch": self.batch}
        decoder = {"decoder": self.decoder or "trained here", "shown": len(self.shown)}
        return {**sizes, **training, **decoder, **self.dataset.about}


def choose_labelled(labels: np.ndarray, n_classes: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Which images keep their label: equally many of each class, up to one, where the class has enough.

    Args:
        labels: Of all images, shape (n,).
        n_classes: The classes are 0 to this number less one.
        count: How many labels are kept.
        rng: What chooses.

    Returns:
        The images' numbers, ascending, shape (count,).

    Raises:
        ValueError: fewer labels than classes, more than images, or no image of a class.
    """
    if count < n_classes:
        raise ValueError(f"labels is {count}, but there are {n_classes} classes; give one a class or more")
    if count > len(labels):
        raise ValueError(f"labels is {count}, but there are {len(labels)} training images; give at most as many")
    absent = np.setdiff1d(np.arange(n_classes), labels)
    if len(absent):
        raise ValueError(f"no training image is of class {absent[0]}; give images of every class")
    order = rng.permutation(len(labels))
    turn = np.empty(len(labels), dtype=int)  # an image's position within its class, in this order
    for label in range(n_classes):
        places = order[labels[order] == label]
        turn[places] = np.arange(len(places))
    by_turn = np.lexsort((rng.permutation(n_classes)[labels], turn))
    return np.sort(by_turn[:count])


def with_possible(images: np.ndarray, n_classes: int) -> np.ndarray:
    """Images without a label and the classes that they may have, all: shape (n, pixels + classes)."""
    return np.concatenate([images, np.ones((len(images), n_classes))], axis=1)
