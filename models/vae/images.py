"""The images: scikit-learn's handwritten digits, or a file of the user's own, split by a seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["Images", "load"]


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


def load(data: str = "digits", pixels: str = "binary", split: int = 0) -> Images:
    """The digits, split by the seed.

    Raises:
        ValueError: there are no such images.
    """
    return digits(pixels, split)


def digits(pixels: str, split: int) -> Images:
    """1,797 handwritten digits of 8 by 8 pixels (Alpaydin & Kaynak 1998), which scikit-learn ships."""
    from sklearn.datasets import load_digits

    found = load_digits()
    values = found.data.astype(np.float64)  # 0 to 16
    images = (values >= 8).astype(np.float64) if pixels == "binary" else values / 16
    order = np.random.default_rng(split).permutation(len(images))
    parts = [np.sort(part) for part in np.split(order, [1437, 1437 + 180])]
    train, validation, test = (images[part] for part in parts)
    labels = [found.target[part] for part in parts]
    return Images(
        train,
        validation,
        test,
        (8, 8),
        *labels,
        about={
            "source": "scikit-learn's load_digits",
            "pixels": "1 where the value is 8 or more, of 0 to 16" if pixels == "binary" else "value / 16",
            "images": {"train": len(train), "validation": len(validation), "test": len(test)},
        },
    )
