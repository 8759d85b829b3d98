"""The images: the digits, files as MNIST and Keras have them, written here, and all that can be wrong with others."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from models.images import load


def idx(values, kind=0x08):
    """An idx file's bytes."""
    values = np.asarray(values)
    return bytes([0, 0, kind, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def pictures(count, height=4, width=5, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width), dtype=np.uint8)


def mnist(folder, count=60, test=30, suffix=""):
    """MNIST's four files, small: images whose first pixel is their label."""
    write = gzip.compress if suffix else bytes
    for name, size, seed in (("train", count, 0), ("t10k", test, 1)):
        images = pictures(size, seed=seed)
        images[:, 0, 0] = np.arange(size)
        (folder / f"{name}-images-idx3-ubyte{suffix}").write_bytes(write(idx(images)))
        (folder / f"{name}-labels-idx1-ubyte{suffix}").write_bytes(write(idx(np.arange(size, dtype=np.uint8))))
    return str(folder / f"train-images-idx3-ubyte{suffix}")


def saved(folder, **arrays):
    np.savez(folder / "images.npz", **arrays)
    return str(folder / "images.npz")


def parts(images):
    return images.train, images.validation, images.test


def test_the_digits_are_split_by_the_seed():
    from sklearn.datasets import load_digits

    source = load_digits()
    grey, same, other = load(pixels="grey"), load(pixels="grey"), load(pixels="grey", split=1)
    assert [part.shape for part in parts(grey)] == [(1437, 64), (180, 64), (180, 64)]
    assert grey.shape == (8, 8)
    assert all(np.array_equal(a, b) for a, b in zip(parts(grey), parts(same), strict=True))
    assert not np.array_equal(grey.test, other.test)
    everything = np.concatenate(parts(grey))
    labels = np.concatenate([grey.train_labels, grey.validation_labels, grey.test_labels])
    rows = [
        np.lexsort(np.c_[values, names].T) for values, names in ((everything, labels), (source.data, source.target))
    ]
    assert np.array_equal(16 * everything[rows[0]], source.data[rows[1]])
    assert np.array_equal(labels[rows[0]], source.target[rows[1]])
    binary = load(pixels="binary")
    for part, brightness in zip(parts(binary), parts(grey), strict=True):
        assert part.dtype == np.float64
        assert np.array_equal(part, brightness >= 0.5)
    assert binary.about["images"] == {"train": 1437, "validation": 180, "test": 180}
    assert "8 or more" in binary.about["pixels"]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_mnists_files_are_read_with_their_labels_and_their_test_part(tmp_path, suffix):
    dataset = load(mnist(tmp_path, suffix=suffix), "grey", split=3)
    assert [part.shape for part in parts(dataset)] == [(54, 20), (6, 20), (30, 20)]
    assert dataset.shape == (4, 5)
    source = {"train": pictures(60), "test": pictures(30, seed=1)}
    for images, labels, where in (
        (dataset.train, dataset.train_labels, "train"),
        (dataset.validation, dataset.validation_labels, "train"),
        (dataset.test, dataset.test_labels, "test"),
    ):
        assert np.array_equal(np.round(255 * images[:, 0]), labels)
        assert np.allclose(255 * images[:, 1:], source[where].reshape(-1, 20)[labels, 1:], atol=1e-12)
    assert not set(dataset.train_labels) & set(dataset.validation_labels)
    assert dataset.about["test part"] == "30 images of its own"


def test_a_test_part_gives_at_most_180_images_and_a_training_part_at_most_1000_for_validation(tmp_path):
    dataset = load(mnist(tmp_path, count=250, test=200), "binary")
    assert [len(part) for part in parts(dataset)] == [225, 25, 180]
    many = np.tile(pictures(100, 2, 2), (120, 1, 1))
    dataset = load(saved(tmp_path, x_train=many, x_test=many[:30]), "binary")
    assert [len(part) for part in parts(dataset)] == [11_000, 1000, 30]


def test_without_labels_or_test_part_beside_it_an_idx_file_is_split_80_to_10_to_10(tmp_path):
    (tmp_path / "some").write_bytes(idx(pictures(50)))
    dataset = load(str(tmp_path / "some"), "binary")
    assert [part.shape for part in parts(dataset)] == [(40, 20), (5, 20), (5, 20)]
    assert dataset.train_labels is None
    assert np.isin(dataset.train, (0.0, 1.0)).all()
    grey = load(str(tmp_path / "some"), "grey")
    assert np.array_equal(dataset.train, 255 * grey.train >= 127.5)


def test_numbers_of_idx_files_are_big_endian(tmp_path):
    (tmp_path / "some").write_bytes(idx((pictures(50) / 255).astype(">f4"), 0x0D))
    (tmp_path / "same").write_bytes(idx(pictures(50)))
    some, same = load(str(tmp_path / "some"), "grey"), load(str(tmp_path / "same"), "grey")
    np.testing.assert_allclose(some.train, same.train, atol=1e-7)


@pytest.mark.parametrize("shape", [(50, 4, 5), (50, 4, 5, 1), (50, 25), (50, 30)])
@pytest.mark.parametrize("names", [("images", "labels"), ("x_train", "y_train")])
def test_an_npz_may_hold_images_in_several_shapes(tmp_path, names, shape):
    values = np.random.default_rng(0).random(shape)
    labels = np.arange(50)
    if shape == (50, 30):
        with pytest.raises(ValueError, match="is 50 by 30, not images; give the shape"):
            load(saved(tmp_path, **{names[0]: values}))
        return
    dataset = load(saved(tmp_path, **{names[0]: values, names[1]: labels}), "grey")
    assert dataset.shape == ((4, 5) if shape[1] == 4 else (5, 5))
    assert [len(part) for part in parts(dataset)] == [40, 5, 5]
    np.testing.assert_array_equal(dataset.test, values.reshape(50, -1)[dataset.test_labels])


def test_keras_files_have_a_test_part(tmp_path):
    path = saved(tmp_path, x_train=pictures(40), y_train=np.arange(40), x_test=pictures(9, seed=1), y_test=np.arange(9))
    dataset = load(path, "grey")
    assert [len(part) for part in parts(dataset)] == [36, 4, 9]
    np.testing.assert_allclose(255 * dataset.test, pictures(9, seed=1).reshape(9, -1), atol=1e-12)
    assert dataset.about["source"] == ".npz file"


def test_what_is_cut_off_anywhere_is_refused(tmp_path):
    content_of = {
        "idx": idx(pictures(50)),
        "gz": gzip.compress(idx(pictures(50))),
        "npz": Path(saved(tmp_path, images=pictures(50))).read_bytes(),
    }
    place = tmp_path / "cut"
    for content in content_of.values():
        for length in {2, 3, 5, 10, 15, 17, len(content) // 2, len(content) - 1}:
            place.write_bytes(content[:length])
            with pytest.raises(ValueError, match=r"cut off|damaged|not a file of images") as caught:
                load(str(place))
            assert "\n" not in str(caught.value)
    place.write_bytes(content_of["idx"] + b"0")
    with pytest.raises(ValueError, match="too many bytes: 50 by 4 by 5 need 1,016 bytes, not 1,017"):
        load(str(place))
    place.write_bytes(content_of["gz"][:20] + b"rubbish" + content_of["gz"][27:])
    with pytest.raises(ValueError, match=r"damaged|cut off"):
        load(str(place))


WRONG = {
    "of differing sizes": (
        {"x_train": pictures(30), "x_test": pictures(30, 5, 5)},
        "differ in size: .* 4 by 5 and .* 5 by 5",
    ),
    "too bright": ({"images": pictures(30).astype(int) + 1}, r"image \d+ of .*: the pixel is 256; give numbers from 0"),
    "negative": ({"images": -pictures(30).astype(float)}, r"the pixel is -\d+; give numbers from 0 to 255"),
    "nan": ({"images": np.where(pictures(30) == 0, np.nan, 1.0)}, r"row \d, column \d, all from 0: the pixel is nan"),
    "infinite": ({"images": np.full((30, 4, 5), np.inf)}, "the pixel is inf"),
    "bad test part": (
        {"x_train": pictures(30), "x_test": -np.ones((5, 4, 5))},
        "image 0 of x_test of .* the pixel is -1",
    ),
    "text": ({"images": np.full((30, 4, 5), "a")}, "holds no numbers"),
    "complex": ({"images": np.full((30, 4, 5), 1j)}, "holds no numbers"),
    "colour": ({"images": np.zeros((30, 4, 5, 3))}, "is 30 by 4 by 5 by 3, not images"),
    "one number": ({"images": np.array(1)}, "is one number, not images"),
    "too few": ({"images": pictures(19)}, "has 19 images; give 20 or more"),
    "none": ({"images": pictures(0)}, "is empty"),
    "no test images": ({"x_train": pictures(30), "x_test": pictures(0)}, "x_test of .* is empty"),
    "all the same": ({"images": np.full((30, 4, 5), 200)}, "to train on are the same; give images that differ"),
    "all white": ({"images": np.ones((30, 4, 5), bool)}, "to train on are the same; give images that differ"),
    "all the same in black and white": (
        {"images": pictures(30) // 4},
        r"are the same once they are black and white \(1 where the value is 127.5 or more",
    ),
    "other arrays": ({"pictures": pictures(30)}, "has the arrays pictures; give images as x_train"),
    "no arrays": ({}, "has no arrays; give images as x_train"),
    "objects": (
        {"images": np.array([np.zeros((2, 2)), np.zeros((3, 3))], dtype=object)},
        "holds objects, as images of differing sizes do",
    ),
    "labels short": ({"images": pictures(30), "labels": np.arange(29)}, "has 29 labels and .* 30 images"),
    "labels no numbers": ({"images": pictures(30), "labels": np.full(30, "a")}, "are not labels"),
    "labels no whole numbers": ({"images": pictures(30), "labels": np.full(30, 0.5)}, "are not labels"),
}


@pytest.mark.parametrize(("arrays", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_an_npz_is_said_in_one_line(tmp_path, arrays, message):
    with pytest.raises(ValueError, match=message) as caught:
        load(saved(tmp_path, **arrays), "binary")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; give MNIST's idx"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "is not a file of images; give MNIST's idx"),
        (b"a,b\n1,2\n", "is not a file of images"),
        (idx(np.arange(30, dtype=np.uint8)), "has 1 dimensions, and images have 3"),
        (idx(pictures(30), 0x10), "is not a file of images"),
        (idx(pictures(0)), "is empty"),
    ],
)
def test_what_is_no_file_of_images_is_refused(tmp_path, content, message):
    (tmp_path / "some").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        load(str(tmp_path / "some"))
    assert "\n" not in str(caught.value)


def test_labels_beside_images_must_be_theirs(tmp_path):
    path = mnist(tmp_path)
    labels = tmp_path / "train-labels-idx1-ubyte"
    labels.write_bytes(idx(np.arange(59, dtype=np.uint8)))
    with pytest.raises(ValueError, match=r"train-labels-idx1-ubyte has 59 labels and .* 60 images"):
        load(path)
    labels.write_bytes(idx(pictures(60)))
    with pytest.raises(ValueError, match="has 3 dimensions, and labels have 1"):
        load(path)
    labels.unlink()
    dataset = load(path)
    assert dataset.train_labels is None
    assert dataset.test_labels is not None


def test_what_is_not_there_is_named_with_the_nearest_name(tmp_path):
    with pytest.raises(ValueError, match="no images and no file are named 'digit'; did you mean 'digits'"):
        load("digit")
    with pytest.raises(ValueError, match="choose from digits"):
        load(str(tmp_path / "nothing.npz"))
    with pytest.raises(ValueError, match="is a folder; give the file of images in it"):
        load(str(tmp_path))
    with pytest.raises(ValueError, match="pixels are 'gray'; did you mean 'grey'"):
        load("digits", "gray")
