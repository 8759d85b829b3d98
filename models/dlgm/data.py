"""The images, the sizes of the layers, and the coordinates: what the command line's options say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from models.dlgm import training
from models.dlgm.layers import Layers
from models.images import PIXELS, Images, choose_shown, load
from models.options import Data, check_choices, check_limits, derived, option, parse_int, parse_number

LATENTS = ("values", "noise")
"""The coordinates: the layers' values z2 and z1, or their noise e2 and e1."""

LIMITS = {"units": (1, 200), "iterations": (1, 10_000), "split": (0, None), "images": (1, None)}
"""The least and the largest value of each size."""


def parse_sizes(text: str) -> tuple[int, ...]:
    """Whole numbers separated by commas.

    Raises:
        ValueError: they are none.
    """
    try:
        return tuple(parse_int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"{text!r} is no list of sizes; give one a layer, the top one's first, such as 1,1") from None


@dataclass(frozen=True)
class DeepData(Data):
    """The images and the sizes of the layers.

    Attributes:
        dataset: The `Images`.
        shown: The test images, by number, whose posteriors are compared, shape (images,).
        network: The trained `Layers`.

    Raises:
        ValueError: images that cannot be used (`models.images.load`), sizes that do not fit the layers or whose
            posterior is not known, or a number out of its range.
    """

    data: str = option("digits", "digits, or a file of images as MNIST's: idx, idx.gz or npz", str)
    pixels: str = option(
        "binary", "binary: 0 or 1, Bernoulli; grey: from 0 to 1, Gaussian, and all layers linear", str, PIXELS
    )
    layers: int = option(2, "layers of latents: 2", parse_int)
    latent: tuple[int, ...] = option((1, 1), "sizes of z2 and z1; binary pixels: 1,1", parse_sizes)
    latents: str = option("values", "values: z2 and z1; noise: e2 and e1, from which they are made", str, LATENTS)
    noise: float = option(0.5, "sd of z1 given z2; grey pixels choose their own", parse_number)
    units: int = option(8, "units of each network's hidden layer; grey pixels have none", parse_int)
    iterations: int = option(200, "most iterations of L-BFGS in training", parse_int)
    split: int = option(0, "seed of the split into training, validation and test images", parse_int)
    images: int = option(6, "test images whose posteriors are compared", parse_int)
    dataset: Images = derived()
    shown: np.ndarray = derived()

    def __post_init__(self) -> None:
        check_limits(self, LIMITS)
        check_choices(self, {"pixels": PIXELS, "latents": LATENTS})
        if isinstance(self.noise, bool) or not 0.05 <= self.noise <= 5:
            raise ValueError(f"noise is {self.noise}: give a number from 0.05 to 5")
        self.check_sizes()
        dataset = load(self.data, self.pixels, int(self.split))
        shown = choose_shown(dataset, self.images, int(self.split))
        n_pixels = dataset.test.shape[1]
        if self.latent[-1] >= n_pixels:
            raise ValueError(
                f"latent is {self.written}, but the images have {n_pixels} pixels: give z1 fewer dimensions"
            )
        self._set(data=str(self.data), dataset=dataset, shown=shown)

    @property
    def written(self) -> str:
        """The sizes as the command line has them."""
        return ",".join(map(str, self.latent))

    def check_sizes(self) -> None:
        """Make sure that there is a size for each layer, and that the posterior is known."""
        if self.layers != 2:
            raise ValueError(f"layers is {self.layers}: the model has two, z2 and z1; give 2")
        if len(self.latent) != self.layers:
            raise ValueError(f"latent is {self.written}, and layers is {self.layers}: give two sizes, such as 1,1")
        if not all(1 <= size <= 20 for size in self.latent):
            raise ValueError(f"latent is {self.written}: give sizes from 1 to 20")
        if self.pixels == "binary" and max(self.latent) > 1:
            raise ValueError(
                f"latent is {self.written}, where the posterior is not known: give 1,1, or --pixels grey with any sizes"
            )
        if self.pixels == "grey" and self.latent[0] < self.latent[1]:
            raise ValueError(f"latent is {self.written}: where all is linear give z2 at least as many dimensions as z1")

    @property
    def observed(self) -> np.ndarray:
        """The images shown, shape (images, pixels)."""
        return self.dataset.test[self.shown]

    @property
    def sites(self) -> tuple[str, str]:
        """The latents' names, the upper layer's first."""
        return ("z2", "z1") if self.latents == "values" else ("e2", "e1")

    @cached_property
    def network(self) -> Layers:
        """The layers that make the training images likely."""
        if self.pixels == "grey":
            return training.linear(self.dataset, (self.latent[0], self.latent[1]))
        return training.train(self.dataset, int(self.units), float(self.noise), int(self.iterations))

    def with_images(self, images: np.ndarray) -> DeepData:
        """The same, with these images, shape (n, pixels), in the place of those shown."""
        dataset = replace(self.dataset, test=images, test_labels=None)
        derived = {"dataset": dataset, "images": len(images), "shown": np.arange(len(images)), "network": self.network}
        return self.with_derived(**derived)

    def arguments(self) -> dict[str, Any]:
        return {"images": self.observed, "latents": self.latents, **self.network.weights}

    def describe(self) -> dict[str, Any]:
        sizes = {"latent": list(self.latent), "latents": self.latents, "shown": len(self.shown)}
        trained = (
            {"units": self.units, "noise": self.noise, "iterations": self.iterations} if self.pixels == "binary" else {}
        )
        return {"data": self.data, **sizes, **trained, **self.dataset.about}
