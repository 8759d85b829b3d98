"""Command lines and data that hypothesis generates, in the range that is right and beyond it.

What is generated follows the options that the command line itself has: each gets a strategy by its type, its choices
and the words of its help, so that a new option or a new model is tried by being there. `PARTICULAR` adds what a model's
files look like. A file is generated as its content (`File`) and written when a command line is `spelt` out.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

import guides
import models
from compare.cli.options import Settings, flag
from compare.options import Options, option_fields

__all__ = ["File", "command_lines", "likely", "options_of_data", "spelt", "wild"]


@dataclasses.dataclass(frozen=True)
class File:
    """A file that an option names: its content and how its name ends; a folder where there is no content."""

    content: bytes | None
    suffix: str = ""

    def placed(self, folder: Path) -> str:
        """The path of the file in a folder, where it is written if it is not there yet."""
        name = "folder" if self.content is None else hashlib.sha256(self.content).hexdigest()[:16]
        path = folder / f"{name}{self.suffix}"
        if self.content is None:
            path.mkdir(exist_ok=True)
        elif not path.exists():
            path.write_bytes(self.content)
        return str(path)


# Values that no option expects

ANY = st.text(st.characters(exclude_characters="\0", exclude_categories=()), max_size=30)
"""Whatever an argument can hold: any character but NUL, with the surrogates that stand for bytes that are no text."""

NUMBERS = st.one_of(
    st.integers().map(str),
    st.floats().map(repr),
    st.integers(-3, 30).map(str),
    st.sampled_from(
        ["nan", "inf", "-inf", "-0", "0", "00", "1_000", "٣", "١٢", "½", "0x10", "+7", "1.", ".5", "1e3", "1e9", "1e18"]
    ),
    st.sampled_from(["1e308", "-1e308", "1e400", "1e150", "1e-320", "5e-324", "9" * 400, "9" * 5000]),
    st.sampled_from(["", " ", "1,2", "0.1.2", " 3", "3\n", "1\n2", "6.5\n", "1 000", "--", "-"]),
)

SOMETHING = st.one_of(
    ANY,
    st.sampled_from(["", " ", "\n", "\t", "-", "--", "--help=", "-1", "a\nb", "\udcff", "é", "𝔘", "%s%n", "{}", "*"]),
    st.sampled_from(
        ["x" * 300, "x" * 5000, "a/" * 3000, "/" * 5000, "~", ".", "..", "/", "/dev/null", "con", "é" * 200]
    ),
    st.just(File(None)),
    st.binary(max_size=40).map(File),
)


def wild() -> st.SearchStrategy[str | File]:
    """A value that is right by chance at most."""
    return st.one_of(NUMBERS, SOMETHING)


# Values that an option may expect


def words(text: str) -> list[str]:
    """The words of a help text: names of data sets, tasks and choices are among them."""
    return re.findall(r"[a-z_]{3,}", text)


def names(known: Sequence[str]) -> st.SearchStrategy[str]:
    """A list as --guides takes it, some names of which are known."""
    name = st.sampled_from([*known, *known, "", " ", "mean_feild", "PYRO", "é"])
    return st.lists(name, max_size=4).map(",".join)


def of_type(default: Any, choices: Sequence[str], about: str, small: Sequence[int]) -> st.SearchStrategy[str | File]:
    """The text of a value that the option probably takes."""
    if choices:
        return st.sampled_from(list(choices))
    if isinstance(default, int) and not isinstance(default, bool):
        return st.sampled_from(list(small)).map(str)
    number = st.floats(-3, 3).map(lambda power: f"{10.0**power:.6g}")
    if isinstance(default, float):
        return number
    unknown = st.one_of(number, st.sampled_from(words(about)))
    return unknown if default is None else st.one_of(st.just(str(default)), st.just(str(default)), unknown)


SMALL = (0, 1, 1, 2, 2, 3, 5, 10, 17)


def images(draw: Any, count: int, height: int, width: int) -> np.ndarray:
    """Images of bright and dark pixels, shape (count, height, width)."""
    seed = draw(st.integers(0, 3))
    top = draw(st.sampled_from([255, 1, 16]))
    return np.random.default_rng(seed).integers(0, top + 1, (count, height, width), dtype=np.uint8)


def cut(draw: Any, content: bytes) -> bytes:
    """The content, sometimes cut off somewhere or with a byte changed."""
    how = draw(st.sampled_from(["whole"] * 4 + ["cut", "changed"]))
    place = draw(st.integers(0, len(content) - 1)) if content else 0
    if how == "whole":
        return content
    return content[:place] if how == "cut" else content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :]


@st.composite
def image_files(draw: Any) -> File:
    """An idx file, plain or compressed, or a .npz; some cut off, or of odd shapes and types."""
    count, height, width = (draw(st.sampled_from(sizes)) for sizes in ([25, 25, 40, 19, 0], [1, 2, 3], [1, 2, 4]))
    values = images(draw, count, height, width)
    kind = draw(st.sampled_from(["idx", "gz", "npz"]))
    if kind == "npz":
        stream = io.BytesIO()
        name = draw(st.sampled_from(["images", "x_train", "x_test", "other"]))
        kind_of = draw(st.sampled_from(["u1", "f8", "f4", "i4", "?", "U3", "c16"]))
        np.savez(stream, **{name: values.astype(kind_of), "labels": np.arange(draw(st.sampled_from([count, 3])))})
        return File(cut(draw, stream.getvalue()), ".npz")
    content = bytes([0, 0, 8, 3]) + struct.pack(">3I", *values.shape) + values.tobytes()
    return File(
        cut(draw, gzip.compress(content, mtime=0) if kind == "gz" else content), draw(st.sampled_from(["", ".gz"]))
    )


@st.composite
def decoder_files(draw: Any) -> File:
    """A decoder's weights for images of a few pixels or the digits'; some cut off, or of odd values."""
    latent, hidden, pixels = (draw(st.sampled_from(sizes)) for sizes in ([1, 2, 3], [0, 1, 4], [64, 64, 1, 4, 12]))
    rng, size = (
        np.random.default_rng(draw(st.integers(0, 3))),
        draw(st.sampled_from([1.0, 1.0, 0.0, 1e3, 1e11, 1e200, np.nan])),
    )
    weights = {"output_weights": rng.normal(0, 1, (hidden or latent, pixels)) * size, "output_biases": np.zeros(pixels)}
    if hidden:
        weights |= {"hidden_weights": rng.normal(0, 1, (latent, hidden)), "hidden_biases": np.zeros(hidden)}
    if draw(st.booleans()):
        weights["noise"] = np.float64(draw(st.sampled_from([0.3, 1e-3, 1e-11, 1e-300, 0.0, -1.0, 1e300])))
    stream = io.BytesIO()
    np.savez(stream, **weights)
    return File(cut(draw, stream.getvalue()), ".npz")


CELLS = st.one_of(
    st.floats(-1e3, 1e3).map(lambda value: f"{value:.4g}"),
    st.integers(-3, 3).map(str),
    st.sampled_from(
        ["1e300", "1e-300", "-0.0", "5e-324", "1_0", "inf", "nan", "", "yes", "no", '"1,5"', '"', "é", "1;2"]
    ),
)


@st.composite
def tables(draw: Any) -> File:
    """A CSV file with the columns x, y and maybe one more: mostly numbers; some cut off."""
    header = draw(st.sampled_from(["x,y", "x,y", "x,y,w", "y", "x,x", "x y", "1,2", ",y", "\ufeffx,y"]))
    columns = header.count(",") + 1
    plain = st.floats(-1e3, 1e3).map(lambda value: f"{value:.4g}")
    kind = draw(st.sampled_from([plain, plain, st.integers(-2, 2).map(str), CELLS]))
    rows = draw(st.lists(st.lists(kind, min_size=columns, max_size=columns).map(",".join), max_size=25))
    end = draw(st.sampled_from(["\n", "\n", "\r\n", "\n\n"]))
    return File(cut(draw, (end.join([header, *rows]) + end).encode()), draw(st.sampled_from([".csv", ".csv", ""])))


def lists(shortest: int = 1, longest: int = 18) -> st.SearchStrategy[str | File]:
    """Numbers separated by commas, or a file of them."""
    some = st.lists(st.floats(-50, 50).map(lambda value: f"{value:.4g}"), min_size=shortest, max_size=longest)
    return st.one_of(some.map(",".join), some.map("\n".join).map(lambda text: File(text.encode(), ".txt")))


def together(**options: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Values of several options that belong together."""
    return st.fixed_dictionaries(options)


PARTICULAR: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "chain": st.one_of(
        together(x=lists(), observe=st.sampled_from(["all", "last"])),
        st.integers(1, 17).flatmap(
            lambda nodes: together(length=st.just(str(nodes)), x=lists(nodes, nodes), observe=st.just("all"))
        ),
    ),
    "bnn": st.one_of(
        together(data=st.sampled_from(["gap", "moons", "diabetes", "breast_cancer"]), target=st.none()),
        together(data=tables(), target=st.sampled_from(["y", "y", "y", "x", "w"]), noise=st.just("auto")),
    ),
    "linear": st.one_of(
        together(data=st.sampled_from(["longley", "diabetes", "rugged"]), target=st.none()),
        together(data=tables(), target=st.sampled_from(["y", "y", "y", "x", "w"])),
    ),
    "logistic": st.one_of(
        together(data=st.sampled_from(["orings", "orings", "german", "breast_cancer"]), target=st.none()),
        together(data=tables(), target=st.sampled_from(["y", "y", "y", "x", "w"])),
    ),
    "gp": st.one_of(
        together(data=st.sampled_from(["wave", "wave", "mcycle"]), target=st.none()),
        together(data=tables(), target=st.sampled_from(["y", "y", "y", "x", "w"])),
    ),
    "bandit": st.one_of(
        together(
            pulls=st.sampled_from(["3,5", "0,0", "1,2,3", "4"]), successes=st.sampled_from(["1,5", "0,0", "0,1,3"])
        ),
        together(arms=lists(2, 2), horizon=st.sampled_from(["1", "5", "1000"])),
    ),
    "lda": st.one_of(
        together(data=st.sampled_from(["tiny", "bars"]), topics=st.sampled_from(["auto", "1", "2", "3"])),
        together(data=tables(), topics=st.sampled_from(["auto", "1", "2"])),
    ),
    "ssvae": st.one_of(
        together(labels=st.sampled_from(["9", "10", "57", "1437", "1438"]), latent=st.sampled_from(["1", "2", "3"])),
        together(decoder=decoder_files()),
    ),
    "vae": st.one_of(
        together(data=image_files(), batch=st.just("17"), images=st.sampled_from(["1", "2"])),
        together(decoder=decoder_files(), pixels=st.sampled_from(["binary", "grey"]), data=st.just("digits")),
    ),
}
"""What finds more than the options' types do, where a model takes files or lists; what is None is left out."""


# Command lines

Option = tuple[str, "str | File | None"]
"""An option as it is written, and its value, None where it takes none."""


def options_of_data(name: str, small: Sequence[int] = SMALL) -> dict[str, st.SearchStrategy[str | File]]:
    """For each option of a model's data, as it is written, values that it probably takes."""
    strategies = {}
    for field in option_fields(models.load(name).data):
        strategies[flag(field)] = of_type(field.default, field.metadata["choices"], field.metadata["help"], small)
    return strategies


def general() -> dict[str, st.SearchStrategy[str | None]]:
    """The same for the options that every comparison has."""
    strategies: dict[str, st.SearchStrategy[str | None]] = {}
    for field in (field for kind in (Settings, Options) for field in option_fields(kind)):
        written = flag(field)
        if isinstance(field.default, bool):
            strategies[written] = st.none()
        elif field.name in ("guides", "libraries"):
            strategies[written] = names([*guides.FAMILIES] if field.name == "guides" else ["numpyro", "pyro"])
        elif field.metadata["choices"]:
            strategies[written] = st.sampled_from(list(field.metadata["choices"]))
        elif field.metadata["parse"] not in (str, Path):
            strategies[written] = st.sampled_from(SMALL).map(str)
        else:
            strategies[written] = ANY
    return strategies


def misspelt(written: str) -> st.SearchStrategy[str]:
    """An option's name, not as it is: abbreviated, in capitals, with another dash, as a word."""
    return st.one_of(
        st.sampled_from(
            [written.upper(), written[1:], written[2:], written.replace("-", "–"), written + "s", written[:-1]]
        ),
        st.sampled_from(["--", "-", "---", "--=", "", "--unknown", "-x", "-5", written.replace("-", "_")]),
        ANY,
    )


@st.composite
def given_options(draw: Any, offered: dict[str, st.SearchStrategy[Any]]) -> Option:
    """One of these options; some with a value or a name that is wrong."""
    written = draw(st.sampled_from(sorted(offered)))
    wrong = draw(st.integers(0, 14))
    value = draw(wild() if wrong in (0, 1) else offered[written])
    return (draw(misspelt(written)) if wrong == 2 else written), value


def command_lines(name: str, most: int = 6) -> st.SearchStrategy[list[Option]]:
    """The options after a model's name: of its data and of every comparison; some twice, some wrong."""
    data = options_of_data(name)
    option = st.one_of(given_options(data), given_options(data), given_options(general()))
    general_options = st.lists(given_options(general()), max_size=2)
    return st.one_of(
        st.lists(option, max_size=most), st.tuples(likely(name), general_options).map(lambda parts: parts[0] + parts[1])
    )


def likely(name: str, small: Sequence[int] = SMALL) -> st.SearchStrategy[list[Option]]:
    """Options of a model's data that are probably right, each at most once."""
    return chosen(options_of_data(name, small), PARTICULAR.get(name))


@st.composite
def chosen(
    draw: Any,
    offered: dict[str, st.SearchStrategy[str | File]],
    particular: st.SearchStrategy[dict[str, Any]] | None,
) -> list[Option]:
    """Some of the usual options, and mostly those of which the model has values of its own in their place."""
    values = {option: draw(offered[option]) for option in draw(st.lists(st.sampled_from(sorted(offered)), max_size=4))}
    if particular is not None and draw(st.integers(0, 3)):
        values |= {f"--{option}": value for option, value in draw(particular).items()}
    return [(option, value) for option, value in values.items() if value is not None]


def spelt(options: Sequence[Option], folder: Path, joined: bool = False) -> list[str]:
    """The arguments, as a shell passes them on; the files among them are written to the folder.

    Values that begin with a dash are joined to their option, and so is every other one, or each.
    """
    arguments = []
    for number, (written, value) in enumerate(options):
        text = value.placed(folder) if isinstance(value, File) else value
        if text is None:
            arguments.append(written)
        elif joined or text.startswith("-") or number % 2:
            arguments.append(f"{written}={text}")
        else:
            arguments += [written, text]
    return arguments
