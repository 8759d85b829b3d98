"""Options of the fits, which are also options of the command line, and how their text is parsed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from models.contract import UnknownName, nearest
from models.options import option, parse_number

R_HAT_APART = 1.4
"""R-hat above which chains are apart: one of four in a mode of its own gives 1.53, two give 1.73."""


def option_fields(kind: type) -> list[dataclasses.Field]:
    """The fields of a dataclass that are options of the command line."""
    return [field for field in dataclasses.fields(kind) if "help" in field.metadata]


def parse_field(field: dataclasses.Field, text: str) -> Any:
    """The value of a field.

    Raises:
        ValueError: the text is none of the choices, or the field's parser refuses it.
    """
    choices = field.metadata["choices"]
    if choices and text not in choices:
        raise ValueError(f"invalid choice: {text!r}; {nearest(text, choices)}")
    return field.metadata["parse"](text)


def parse_whole(text: str, least: int = 0) -> int:
    """A whole number, ``least`` or more.

    Raises:
        ValueError: it is not one.
    """
    try:
        value = int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number; give one, {least} or more") from None
    if value < least:
        raise ValueError(f"{text} is {'negative' if value < 0 else 'too few'}; give {least} or more")
    return value


parse_count = partial(parse_whole, least=1)


def parse_positive(text: str) -> float:
    """A finite number above 0.

    Raises:
        ValueError: it is not one.
    """
    value = parse_number(text)
    if not 0 < value < float("inf"):
        raise ValueError(f"{text} is not a finite number above 0")
    return value


def parse_share(text: str) -> float:
    """A number between 0 and 1, both left out.

    Raises:
        ValueError: it is not one.
    """
    value = parse_positive(text)
    if not value < 1:
        raise ValueError(f"{text} is not below 1; give a number between 0 and 1, such as 0.95")
    return value


def parse_names(text: str) -> tuple[str, ...]:
    """Names separated by commas.

    Raises:
        ValueError: there is none.
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise ValueError("give at least one name")
    return names


@dataclass(frozen=True)
class Options:
    """Targets and limits of the fits, each with its help; of the others:

    Attributes:
        draws: Draws from a guide or an exact posterior; up to 8 times as many from a guide with heavy tails.
        r_hat: R-hat below which NUTS stops.
        warmup: Warm-up transitions of NUTS.
        reference_warmup: Warm-up transitions of a reference.
    """

    optimiser: str = option("zoo", "zoo stops by itself; adam is the libraries' default loop", choices=("zoo", "adam"))
    tolerance: float = option(0.01, "nats of optimisation gap within which a guide has converged", parse_positive)
    budget: float = option(60.0, "seconds that a fit may take", parse_positive)
    steps: int = option(5000, "steps of --optimiser adam", parse_count)
    learning_rate: float = option(0.01, "learning rate of --optimiser adam", parse_positive)
    rank: int | None = option(
        None, "rank of the guide low_rank (default: the root of the number of latents)", parse_count
    )
    paths: int = option(4, "paths of the guide multipath, each from a start of its own", parse_count)
    acceptance: float = option(
        0.8,
        "rate that NUTS, but for a reference, adapts its steps to; with a higher one fewer diverge",
        parse_share,
    )
    mass: str = option(
        "diagonal",
        "mass matrix of NUTS, but for a reference and for Pyro's data sets in a calibration: a dense one takes fewer "
        "steps where latents are correlated; auto is dense up to 20 latents",
        choices=("diagonal", "dense", "auto"),
    )
    ess: float = option(400.0, "effective sample size, bulk and tail, at which NUTS stops", parse_positive)
    reference_ess: float = option(4000.0, "the same for a reference, where no exact posterior is known", parse_positive)
    reference_budget: float = option(240.0, "seconds that a reference may take", parse_positive)
    cavi_tolerance: float = option(1e-6, "coordinate ascent stops when every change is below this", parse_positive)
    sweeps: int = option(100, "most sweeps of coordinate ascent", parse_whole)
    draws: int = 4096
    r_hat: float = 1.01
    warmup: int = 250
    reference_warmup: int = 500

    @classmethod
    def given(cls, options: Mapping[str, Any]) -> Options:
        """The options that a caller from Python gives, the others at their defaults.

        Raises:
            UnknownName: there is no such option.
            ValueError: the command line would not take the value either.
        """
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for name in options:
            if name not in fields:
                raise UnknownName(f"no option {name!r}; {nearest(name, list(fields))}")
        return cls(**{name: given_value(fields[name], value) for name, value in options.items()})


def given_value(field: dataclasses.Field, value: Any) -> Any:
    """The value of a field of `Options` from Python, by the rules of the command line.

    Raises:
        ValueError: it does not pass.
    """
    if value is None and field.default is None:
        return None
    if isinstance(value, float) and value.is_integer() and not isinstance(field.default, float):
        value = int(value)  # 1e4 is a whole number, too
    try:
        if "help" in field.metadata:
            return parse_field(field, str(value))
        return (parse_count if isinstance(field.default, int) else parse_positive)(str(value))
    except ValueError as error:
        raise ValueError(f"{field.name}: {error}") from None
