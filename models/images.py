"""The images: scikit-learn's handwritten digits, or a file of the user's own, split by a seed."""

import os
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from models import image_files
from models.contract import Element, UnknownName, nearest

PIXELS = ("binary", "grey")  # what a pixel can be: 0 or 1, or a number from 0 to 1
FEWEST = 20  # images that a file must have at least
TEST = 180  # test images: all of the digits' tenth, and at most of a file's own test part
VALIDATION = 1000  # most validation images of a file with a test part of its own


@dataclass(frozen=True, eq=False)
class Images:
    """Images to train on, to stop and choose by, and to test on, each of shape (n, pixels), float64.

    Binary pixels are 0 or 1, grey ones from 0 to 1. The labels, shape (n,), are None where there are none. ``shape`` is
    (height, width). ``about`` says in JSON's types where the images come from and what was done to them.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    shape: tuple[int, int]
    train_labels: np.ndarray | None = None
    validation_labels: np.ndarray | None = None
    test_labels: np.ndarray | None = None
    about: dict[str, Any] = field(default_factory=dict)


def load(data: str | os.PathLike[str] = "digits", pixels: str = "binary", split: int = 0) -> Images:
    """The digits, or the images of a file, split by a seed.

    The digits are split into 1,437 to train on, 180 for validation and 180 to test on; a file 80 to 10 to 10. Of a file
    with a test part of its own 180 images of that part are the test, a tenth of the others, at most 1,000, the
    validation. A pixel is binary by whether it is at least half as bright as can be.

    Raises:
        ValueError: there are no such images or file, or it is not images; the message says what would be right.
    """
    if pixels not in PIXELS:
        raise ValueError(f"pixels are {pixels!r}; {nearest(pixels, PIXELS)}")
    if not isinstance(data, str | os.PathLike):
        raise ValueError(f"data is {data!r}: give digits or the name of a file")
    data = str(data)
    if data == "digits":
        return digits(pixels, split)
    try:
        train, test, about = image_files.read(data)
    except FileNotFoundError:
        raise UnknownName(f"no images and no file are named {data!r}; {nearest(data, ['digits'])}") from None
    return from_file(train, test, about, pixels, split)


@lru_cache(maxsize=4)
def digits(pixels: str, split: int) -> Images:
    """1,797 handwritten digits of 8 by 8 pixels (Alpaydin & Kaynak 1998), which scikit-learn ships."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    part = image_files.Part(bunch.images, bunch.target, "digits")
    return divided(part, None, {"source": "scikit-learn's load_digits"}, 16.0, pixels, split)


def from_file(
    train: image_files.Part, test: image_files.Part | None, about: dict[str, Any], pixels: str, split: int
) -> Images:
    """The images of a file, if they can be learnt from."""
    parts = [train] if test is None else [train, test]
    for part in parts:
        checked(part)
    if len(train.images) < FEWEST:
        raise ValueError(f"{train.name} has {len(train.images)} images; give {FEWEST} or more")
    if test is not None and train.images.shape[1:] != test.images.shape[1:]:
        sizes = [f"{part.name} are {part.images.shape[1]} by {part.images.shape[2]}" for part in parts]
        raise ValueError(f"the images differ in size: {' and '.join(sizes)} pixels; give all images one size")
    top = 1.0 if max(part.images.max() for part in parts) <= 1 else 255.0
    images = divided(train, test, about, top, pixels, split)
    if np.all(images.train == images.train[0]):
        how = (
            f" once they are black and white ({images.about['pixels']})"
            if (train.images != train.images[0]).any()
            else ""
        )
        raise ValueError(f"all images of {train.name} to train on are the same{how}; give images that differ")
    return images


def checked(part: image_files.Part) -> None:
    """Make sure that these are images: numbers in the range of pixels, and some of them."""
    if part.images.dtype.kind not in "uifb":
        raise ValueError(f"{part.name} holds no numbers ({part.images.dtype}); give pixels of 0 to 255, or 0 to 1")
    if not part.images.size:
        raise ValueError(f"{part.name} is empty ({' by '.join(map(str, part.images.shape))}); give {FEWEST} images")
    for image in range(0, len(part.images), 1000):  # piece by piece, so that no second copy is made of all
        piece = part.images[image : image + 1000]
        wrong = ~((piece >= 0) & (piece <= 255))
        if wrong.any():
            first = np.unravel_index(np.argmax(wrong), piece.shape)
            where = f"image {image + first[0]} of {part.name}, row {first[1]}, column {first[2]}, all from 0"
            raise ValueError(f"{where}: the pixel is {piece[first]:g}; give numbers from 0 to 255, or from 0 to 1")


def divided(
    train: image_files.Part, test: image_files.Part | None, about: dict[str, Any], top: float, pixels: str, split: int
) -> Images:
    """Split by the seed, and make the pixels binary or bring them to [0, 1]; ``top`` is the brightest they can be."""
    rng, count = np.random.default_rng(split), len(train.images)
    order = rng.permutation(count)
    tenth = max(1, round(count / 10))
    if test is None:
        sources, cuts = (train, train, train), [count - 2 * tenth, count - tenth]
        chosen = np.split(order, cuts)
    else:
        sources, tenth = (train, train, test), min(tenth, VALIDATION)
        chosen = [*np.split(order, [count - tenth]), rng.permutation(len(test.images))[:TEST]]
    chosen = [np.sort(part) for part in chosen]

    def converted(images: np.ndarray) -> np.ndarray:
        flat = images.reshape(len(images), -1)
        return (flat >= top / 2).astype(np.float64) if pixels == "binary" else flat / top

    names, pairs = ("train", "validation", "test"), list(zip(sources, chosen, strict=True))
    parts = {name: converted(source.images[part]) for name, (source, part) in zip(names, pairs, strict=True)}
    labels: dict[str, Any] = {
        f"{name}_labels": None if source.labels is None else source.labels[part]
        for name, (source, part) in zip(names, pairs, strict=True)
    }
    height, width = map(int, train.images.shape[1:])
    binary = f"1 where the value is {top / 2:g} or more, of 0 to {top:g}, else 0"
    about = {
        **about,
        "pixels": binary if pixels == "binary" else f"value / {top:g}",
        "size": {"height": height, "width": width},
        "images": {name: len(part) for name, part in parts.items()},
        **({} if test is None else {"test part": f"{len(test.images):,} images of its own"}),
        "split": split,
    }
    return Images(**parts, shape=(height, width), **labels, about=about)


def choose_shown(dataset: Images, count: int, split: int) -> np.ndarray:
    """The test images, by number, whose posteriors are compared one by one: chosen by the split, shape (count,).

    Raises:
        ValueError: there are fewer.
    """
    n_test = len(dataset.test)
    if count > n_test:
        raise ValueError(f"images is {count}, but {n_test} are held out; give at most as many")
    return np.sort(np.random.default_rng([split, 1]).permutation(n_test)[:count])


def check_batch(dataset: Images, batch: int) -> None:
    """Make sure that there are as many images to train on as a step takes.

    Raises:
        ValueError: there are fewer.
    """
    n_train = len(dataset.train)
    if batch > n_train:
        raise ValueError(f"batch is {batch}, but there are {n_train} images to train on; give fewer")


def every_latent(data: Any) -> list[Element]:
    """Every element of ``z`` of every image shown: what is reported of data with ``shown`` and ``latent``."""
    return [("z", (image, axis)) for image in range(len(data.shown)) for axis in range(data.latent)]
