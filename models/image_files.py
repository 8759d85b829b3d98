"""Files of images: MNIST's idx, plain or compressed by gzip, and NumPy's .npz as Keras has it.

An idx file is two bytes of 0, one for the type of its numbers, one for how many dimensions it has, their lengths as
big-endian 32-bit integers, and the numbers (LeCun, Cortes & Burges, The MNIST database).
"""

import gzip
import hashlib
import io
import math
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

PIXELS = 100_000_000  # most pixels of a file: in float64 they take eight times as many bytes

RIGHT = "give MNIST's idx (plain or .gz) or a .npz with x_train or images"

NPZ = ("x_train", "y_train", "x_test", "y_test", "images", "labels")

IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


@dataclass(frozen=True)
class Part:
    """Images as they are in the file, shape (n, height, width), their labels (n,) if any, and what they are called."""

    images: np.ndarray
    labels: np.ndarray | None
    name: str


def read(path: str) -> tuple[Part, Part | None, dict[str, Any]]:
    """The images of a file, the test part that comes with them if any, and where they come from, in JSON's types.

    The labels of idx images, and the test part of MNIST's training images, are looked for beside them, under the names
    that MNIST gives them.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not images; the message says why.
    """
    content = contents(Path(path))
    digest = hashlib.sha256(content).hexdigest()
    if content[:2] == b"PK":
        return *npz(content, path), {"source": ".npz file", "sha256": digest}
    beside = file_beside(Path(path), Path(path).name.replace("train", "t10k"))
    test = None if beside is None else idx_part(contents(beside), beside)
    return idx_part(content, Path(path)), test, {"source": "idx file", "sha256": digest}


def contents(path: Path) -> bytes:
    """The bytes of a file, without gzip's compression."""
    try:
        with open(path, "rb") as file:
            content = file.read(8 * PIXELS + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(str(path)) from None
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder; give the file of images in it") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); {RIGHT}") from None
    if content[:2] == b"\x1f\x8b":
        try:
            with gzip.open(io.BytesIO(content)) as file:
                content = file.read(8 * PIXELS + 1)
        except EOFError:
            raise ValueError(f"{path} is cut off: its compressed content has no end; give the whole file") from None
        except (OSError, zlib.error):
            raise ValueError(f"{path} is damaged: it cannot be decompressed; give the whole file") from None
    if not content:
        raise ValueError(f"{path} is empty; {RIGHT}")
    if len(content) > 8 * PIXELS:
        raise ValueError(f"{path} has more than {PIXELS:,} pixels; give fewer images")
    return content


def idx(content: bytes, path: Path, dimensions: int, what: str) -> np.ndarray:
    """The array in an idx file, which must have this number of ``dimensions``, as ``what`` has."""
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in IDX_TYPES:
        raise ValueError(f"{path} is not a file of {what}; {RIGHT}")
    if content[3] != dimensions:
        raise ValueError(f"{path} has {content[3]} dimensions, and {what} have {dimensions}; {RIGHT}")
    begin = 4 + 4 * dimensions
    if len(content) < begin:
        raise ValueError(f"{path} is cut off in its first {begin} bytes; give the whole file")
    shape = struct.unpack(f">{dimensions}I", content[4:begin])
    kind = np.dtype(IDX_TYPES[content[2]])
    expected = begin + kind.itemsize * math.prod(shape)
    if len(content) != expected:
        wrong = "is cut off" if len(content) < expected else "has too many bytes"
        size = " by ".join(map(str, shape))
        raise ValueError(f"{path} {wrong}: {size} need {expected:,} bytes, not {len(content):,}; give the whole file")
    return np.frombuffer(content, kind, offset=begin).reshape(shape)


def idx_part(content: bytes, path: Path) -> Part:
    """The images of an idx file, with the labels beside it."""
    images = idx(content, path, 3, "images")
    beside = file_beside(path, path.name.replace("images", "labels").replace("idx3", "idx1"))
    labels = None if beside is None else idx(contents(beside), beside, 1, "labels")
    return Part(images, labelled(labels, len(images), f"{beside}", str(path)), str(path))


def file_beside(path: Path, name: str) -> Path | None:
    """The file of that name in the same folder, compressed or not; None where it is the path itself or is not there."""
    if name == path.name:
        return None
    places = [path.with_name(name.removesuffix(".gz") + suffix) for suffix in ("", ".gz")]
    return next((place for place in places if place.is_file()), None)


def npz(content: bytes, path: str) -> tuple[Part, Part | None]:
    """The images of a .npz: x_train with y_train, x_test and y_test, or images with labels."""
    try:
        with np.lib.npyio.NpzFile(io.BytesIO(content), allow_pickle=False) as file:
            if not {"x_train", "images"} & set(file.files):
                has = f"the arrays {', '.join(file.files)}" if file.files else "no arrays"
                raise ValueError(f"{path} has {has}; give images as x_train (and x_test) or as images")
            arrays = {name: array(file, name, path) for name in file.files if name in NPZ}
    except (EOFError, OSError, KeyError, zipfile.BadZipFile, zlib.error):
        raise ValueError(f"{path} is cut off or damaged; give the whole file") from None
    train, labels = ("x_train", "y_train") if "x_train" in arrays else ("images", "labels")
    test = npz_part(arrays, "x_test", "y_test", path) if train == "x_train" and "x_test" in arrays else None
    return npz_part(arrays, train, labels, path), test


def array(file: np.lib.npyio.NpzFile, name: str, path: str) -> np.ndarray:
    try:
        return file[name]
    except ValueError as error:
        if "Object arrays" not in str(error):
            raise ValueError(f"{path} is cut off or damaged in {name}; give the whole file") from None
        raise ValueError(
            f"{name} of {path} holds objects, as images of differing sizes do; give numbers, and all images one size"
        ) from None


def npz_part(arrays: dict[str, np.ndarray], images: str, labels: str, path: str) -> Part:
    """The images and labels of those names."""
    name, values = f"{images} of {path}", arrays[images]
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[:, :, :, 0]
    if values.ndim == 2:  # flattened, as scikit-learn has them
        side = math.isqrt(values.shape[1])
        values = values.reshape(len(values), side, -1) if side and side**2 == values.shape[1] else values
    if values.ndim != 3:
        shape = " by ".join(map(str, arrays[images].shape)) or "one number"
        raise ValueError(f"{name} is {shape}, not images; give the shape (images, height, width)")
    return Part(values, labelled(arrays.get(labels), len(values), f"{labels} of {path}", name), name)


def labelled(labels: np.ndarray | None, images: int, name: str, of: str) -> np.ndarray | None:
    """The labels as integers, if there are any."""
    if labels is None:
        return None
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    integral = labels.dtype.kind in "iub" or (labels.dtype.kind == "f" and np.array_equal(labels, np.trunc(labels)))
    if labels.ndim != 1 or not integral or not np.all(np.abs(labels) < 2**53):
        raise ValueError(f"{name} are not labels; give one whole number an image")
    if len(labels) != images:
        raise ValueError(f"{name} has {len(labels)} labels and {of} {images} images; give one label an image")
    return labels.astype(np.int64)
