"""The images, the sizes of the networks and the task: what the command line's options say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.decoder import Decoder, check_sizes
from models.images import PIXELS, Images, check_batch, choose_shown, load
from models.options import Data, check_choices, check_limits, derived, option, parse_int

FLIP = 0.1  # the probability with which denoising's noise flips a pixel

TASKS = {
    "reconstruct": "the test images as their own posteriors give them back; asked for what was seen",
    "generate": "images from the prior, as many as there are test images",
    "denoise": f"each pixel of the test images flipped with probability {FLIP:g}; the clean ones asked for",
    "inpaint": "the lower half of the test images hidden and asked for; an encoder sees the training mean in its place",
    "interpolate": "straight lines between the posterior means of test images of different classes",
    "compress": "bits a pixel of the test images",
}
"""What autoencoders are for, and what each task does; ``compare`` is none of them."""

LIMITS = {
    "latent": (1, 50),
    "hidden": (0, 2000),
    "epochs": (1, 100_000),
    "batch": (1, 100_000),
    "split": (0, None),
    "images": (1, None),
}
"""The least and the largest value of each size."""


@dataclass(frozen=True)
class Autoencoder(Data):
    """The images, the networks' sizes, and the decoder where one is given.

    Attributes:
        network: The decoder: that of the file, or the one that was learnt (`with_decoder`); None before that.
        dataset: The `Images`.
        shown: The test images, by number, whose posteriors are compared one by one, shape (images,).

    Raises:
        ValueError: images that cannot be used (`models.images.load`), a decoder file that is none or is one for
            other images (`models.decoder.Decoder.load`), a size that is not a whole number in its range, or a task
            that there is not or that these data do not allow.
    """

    data: str = option("digits", "digits, or a file of images as MNIST's: idx, idx.gz or npz", str)
    pixels: str = option("binary", "binary: 0 or 1, Bernoulli; grey: from 0 to 1, Gaussian", str, PIXELS)
    latent: int = option(2, "dimensions of z; the posterior is exact up to 2", parse_int)
    hidden: int = option(128, "units of the encoder's and of the decoder's hidden layer; 0: linear", parse_int)
    epochs: int = option(600, "most passes over the training images", parse_int)
    batch: int = option(128, "images per step", parse_int)
    decoder: str | None = option(None, "file of a trained decoder (.npz), which is held fixed", str)
    split: int = option(0, "seed of the split into training, validation and test images", parse_int)
    images: int = option(10, "test images whose posteriors are compared one by one", parse_int)
    task: str = option("compare", f"compare, or what autoencoders are for: {', '.join(TASKS)}", str)
    network: Decoder = field(default=None)  # type: ignore[assignment]  # what asks for it comes after training
    dataset: Images = derived()
    shown: np.ndarray = derived()

    def __post_init__(self) -> None:
        check_limits(self, LIMITS)
        check_choices(self, {"pixels": PIXELS})
        dataset = load(self.data, self.pixels, int(self.split))
        shown = choose_shown(dataset, self.images, int(self.split))
        check_batch(dataset, self.batch)
        values: dict[str, Any] = {"data": str(self.data), "dataset": dataset, "shown": shown}
        network = self.network
        if network is None and self.decoder is not None:
            network = values["network"] = Decoder.load(self.decoder)
            self.check_decoder(network, dataset)
        if network is not None:
            values |= {"latent": network.latent, "hidden": network.hidden}
        self._set(**values)
        self.check_task()

    def check_decoder(self, decoder: Decoder, images: Images) -> None:
        """Make sure that the decoder of the file is one for these images and sizes."""
        if decoder.pixels != images.test.shape[1]:
            raise ValueError(
                f"decoder {self.decoder} gives {decoder.pixels} pixels, but the images have {images.test.shape[1]}; "
                "give one that was trained on images of this size"
            )
        check_sizes(self, decoder.latent, decoder.hidden)
        if decoder.grey != (self.pixels == "grey"):
            kind = "grey" if decoder.grey else "binary"
            raise ValueError(f"decoder {self.decoder} is for {kind} pixels; give --pixels {kind}")

    def check_task(self) -> None:
        """Make sure that the task can be done; ``compare`` always can."""
        if self.task == "compare":
            return
        if self.task not in TASKS:
            raise ValueError(f"task is {self.task!r}: give compare, {', '.join(TASKS)}")
        if self.pixels != "binary":
            raise ValueError(f"the task {self.task} is one of binary pixels, and pixels is {self.pixels}: give binary")
        if self.task == "inpaint" and self.dataset.shape[0] < 2:
            raise ValueError("the task inpaint hides the lower half, and the images have one row: give higher images")
        if self.task == "interpolate" and self.latent > 2:
            raise ValueError(f"the task interpolate needs exact posteriors, and latent is {self.latent}: give 1 or 2")

    def arguments(self) -> dict[str, Any]:
        return {"images": self.dataset.test[self.shown], **self.network.weights}

    def describe(self) -> dict[str, Any]:
        sizes = {"pixels": self.pixels, "latent": self.latent, "hidden": self.hidden, "split": self.split}
        training = {} if self.decoder else {"epochs": self.epochs, "batch": self.batch}
        task = {"task": self.task, "what it does": TASKS[self.task]} if self.task in TASKS else {}
        decoder = {"decoder": self.decoder or "trained here", "shown": len(self.shown)}
        return {"data": self.data, **sizes, **training, **decoder, **self.dataset.about, **task}
