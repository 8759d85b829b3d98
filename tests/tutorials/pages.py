"""The pages that are judged, from ``pages.csv``: where each number stands, and what is true of it."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from scipy import stats

from tests.tutorials import regressions, truths
from tests.tutorials.truths import Truth

__all__ = ["PAGES", "Page"]

GYM = "https://github.com/tensorflow/probability/blob/2ab6fd4/spinoffs/inference_gym/inference_gym"
REPOSITORIES = {
    "RStan": "https://github.com/stan-dev/rstan/blob/91b49f5/articles/{}.md",
    "posteriordb": "https://github.com/stan-dev/posteriordb/tree/master/posterior_database/{}",
    "Beyond ELBOs": "https://github.com/DenisBless/variational_sampling_methods/blob/b6db042/{}.py",
    "Pyro": "https://github.com/pyro-ppl/pyro/blob/ff6ae1c/tutorial/source/{}.ipynb",
    "NumPyro": "https://github.com/pyro-ppl/numpyro/blob/0b935d4/notebooks/source/{}.ipynb",
    "README": "https://github.com/pyro-ppl/numpyro/blob/0b935d4/README.md",
    "CmdStan": "https://github.com/stan-dev/docs/blob/{}",
    "Gym": f"{GYM}/targets/ground_truth/{{}}.py",
}


@dataclass(frozen=True)
class Page:
    """A page, or a part of one.

    Attributes:
        key: What its numbers stand under in ``printed.csv``.
        source: Project, page and place as Markdown, with a link to the version that was read.
        claim: What is printed.
        method: How the truth is known.
        truth: Computes the quantities' posteriors by name.
        remark: What the verdict alone does not say.
    """

    key: str
    source: str
    claim: str
    method: str
    truth: Callable[[], Mapping[str, Truth]]
    remark: str = ""


def at(project: str, page: str, place: str) -> str:
    """Where something stands: cells are named by their number in the page, as In [29]."""
    name = "NumPyro, README" if project == "README" else f"{project}, {PurePosixPath(page).stem}"
    return f"[{name}]({REPOSITORIES[project].format(page)}), {place}"


def schools_of_the_gym() -> dict[str, Truth]:
    """avg_effect ~ N(0, 10) is mu and log_stddev ~ N(5, 1) is log tau."""
    return truths.schools(10.0, stats.lognorm(1.0, scale=float(np.exp(5.0))))


TRUTHS: Mapping[str, Callable[[], Mapping[str, Truth]]] = {
    "coin": truths.coin,
    "weight": truths.weight,
    "memory": truths.memory,
    "bernoulli": truths.bernoulli,
    "rugged": regressions.rugged_regression,
    "waffles_marriage": partial(regressions.waffles, "bM"),
    "waffles_age": partial(regressions.waffles, "bA"),
    "waffles_both": partial(regressions.waffles, "bA", "bM"),
    "waffles_measured": partial(regressions.waffles, "bA", "bM", measured=True),
    "line": regressions.line,
    **{f"ordinal_{prior}": partial(regressions.ordinal, prior) for prior in ("flat", "normal", "ordered", "dirichlet")},
    "german": regressions.german,
    "breast_cancer": regressions.breast_cancer,
    "schools": truths.schools,
    "schools_of_the_gym": schools_of_the_gym,
    "flat_schools": truths.flat_schools,
    "log_joints": truths.log_joints,
    "mixture_mode": truths.mixture_mode,
    "gaussian_mixture": truths.gaussian_mixture,
}
"""What the column ``truth`` of ``pages.csv`` names."""


def read_pages() -> tuple[Page, ...]:
    """The pages in the order of ``pages.csv``."""
    with Path(__file__).with_name("pages.csv").open(encoding="utf-8", newline="") as file:
        return tuple(
            Page(
                row["key"],
                at(row["project"], row["page"], row["place"]),
                row["claim"],
                row["method"],
                TRUTHS[row["truth"]],
                row["remark"],
            )
            for row in csv.DictReader(file)
        )


PAGES = read_pages()
