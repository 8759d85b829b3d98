"""The tiny cases of the quick battery, and the checks of each: importing this lists them in `battery.CHECKS`."""

from __future__ import annotations

import math
from functools import partial

from conftest import LIBRARIES, side

from battery import CHECKS, Check, check, list_as
from battery.autoencoder import (
    annealing_differs,
    digits,
    importance_differs,
    member_is_no_posterior,
    quadrature_differs,
    report_differs,
)
from battery.fitted import LOOKS, Case, complaints, guides_differ, said_density, slopes_differ
from battery.known import (
    density_misfits,
    evidence_varies,
    member_differs,
    moments_differ,
    parts_do_not_add_up,
    twins_differ,
)
from battery.rest import network_differs, reference_differs, scale_is_lost, text_differs
from compare.options import Options
from models.bnn import BnnData
from models.chain import Chain
from models.coin import Coin

__all__ = ["CASES", "CHECKS"]

COIN, SKEW, BARE = Coin(), Coin(heads=3, tosses=11, alpha=3.0, beta=1.5), Coin(heads=0, tosses=3)
CHAIN, SEEN = Chain(), Chain(3, (0.5, -1.0, 2.0), "all")
NETWORK = BnnData(hidden=1)
TWO, TAUGHT = BnnData(hidden=2, noise="unknown"), BnnData("moons", hidden=2)
BINARY = digits(latent=2, hidden=6, images=2)
GREY = digits(latent=2, hidden=6, images=2, pixels="grey")
LINEAR = digits(latent=3, hidden=0, images=2, pixels="grey")

DATA = {"coin": [COIN, SKEW], "chain": [CHAIN, SEEN], "bnn": [NETWORK], "vae": [BINARY, LINEAR]}
"""Data whose posterior is exact."""

OTHERS = {"coin": [], "chain": [], "bnn": [TWO, TAUGHT], "vae": [GREY]}
"""Data that the twins are tried on, too."""

FAMILIES = {"coin": ["mean_field", "full_rank"], "chain": ["mean_field", "full_rank", "markov"]}
"""Families whose best member is known."""

COUNT = {"coin": 20_000, "chain": 20_000, "bnn": 4000, "vae": 4000}
"""Exact draws that moments are held against."""


def every(function, datasets, *arguments):
    """The first complaint over some data sets."""

    def look(*seed):
        for data in datasets:
            complaint = function(data, *arguments, *seed)
            if complaint:
                return complaint
        return None

    return look


def of_model(name: str) -> None:
    """The checks that need no fit."""
    exact = DATA[name]
    check(f"{name}: twins", every(partial(twins_differ, name), [*exact, *OTHERS[name]], 100))
    check(f"{name}: moments", every(partial(moments_differ, name), exact, COUNT[name]))
    check(f"{name}: density", every(partial(density_misfits, name), exact), random=False)
    for library in LIBRARIES:
        check(f"{name}/{library}: evidence", every(partial(evidence_varies, name), exact, library, 200))
        for family in FAMILIES.get(name, ()):
            members = every(partial(member_differs, name), exact, family, library)
            check(f"{name}/{library}-{family}: best member", partial(members))
    if name == "bnn":
        for library in LIBRARIES:
            check(f"bnn/{library}: parts", every(partial(parts_do_not_add_up, name), [NETWORK, TAUGHT], library))


NARROW = {"word": "narrow", "ratios": math.sqrt(3 / 4), "correlations": 0.0, "gap": 0.5 * math.log(4 / 3)}
RIGHT = {"ratios": 1.0, "correlations": 0.5}
PATIENT = Options(budget=120.0)
SLOW = Options(budget=120.0, warmup=150, ess=200.0)
"""For Pyro, whose chains take seconds."""

CASES = [
    Case("exact", "coin", COIN, "exact", word="exact"),
    Case("exact", "chain", CHAIN, "exact", word="exact"),
    Case("coordinate_ascent", "chain", CHAIN, "coordinate_ascent", **NARROW),
    Case("coordinate_ascent-text", "chain", CHAIN, "coordinate_ascent", word="off", correlations=0.0),
    *(
        Case(f"{library}-{family}", name, data, "svi", library, family, **told)
        for library in LIBRARIES
        for name, data, family, told in (
            ("coin", COIN, "mean_field", {}),
            ("coin", BARE, "full_rank", {}),
            ("coin", COIN, "conjugate", {"ratios": 1.0, "gap": 0.0}),
            ("chain", CHAIN, "mean_field", NARROW),
            ("chain", CHAIN, "full_rank", RIGHT | {"gap": 0.0}),
            ("chain", CHAIN, "markov", RIGHT | {"gap": 0.0}),
        )
    ),
    Case("numpyro-nuts", "coin", COIN, "nuts", "numpyro", options=PATIENT),
    Case("pyro-nuts", "coin", COIN, "nuts", "pyro", options=SLOW),
    Case("numpyro-nuts", "chain", CHAIN, "nuts", "numpyro", options=PATIENT, **RIGHT),
]
"""The fits of the battery, and what must be said of them."""


def looks_at(case: Case) -> list[str]:
    """The looks that a fit is worth."""
    if case.method == "nuts":
        return ["verdict", "chains"]
    if case.method == "exact":
        return ["verdict", "density", "chains"]
    if case.word == "agrees":
        return list(LOOKS)
    return [look for look in LOOKS if look != "evidence"]  # the weights of a guide that is too narrow have no variance


def of_fit(case: Case) -> None:
    for look in looks_at(case):
        list_as(Check(f"{case.model}/{case.name}: {look}", partial(complaints, case, LOOKS[look]), random=True))


def of_guides() -> None:
    """Guides at parameters of no meaning, several sites included."""
    network = BnnData(hidden=2)
    for name, data, families in (
        ("coin", COIN, ("mean_field", "full_rank", "conjugate")),
        ("chain", Chain(3), ("mean_field", "full_rank", "markov")),
        ("bnn", network, ("mean_field", "full_rank", "matrix_normal")),
    ):
        for family in families:
            case = Case(family, name, data, "svi", guide=family)
            both = [side(library) for library in LIBRARIES]
            check(f"{name}/{family}: guides", partial(guides_differ, case, both))
            for library, one in zip(LIBRARIES, both, strict=True):
                check(f"{name}/{library}-{family}: said density", partial(said_density, case, one))
                check(f"{name}/{library}-{family}: slopes", partial(slopes_differ, case, one))


def of_the_rest() -> None:
    for name in ("coin", "chain"):
        check(f"{name}: text", text_differs, name, random=False)
    for library in LIBRARIES:
        check(f"{library}: scaled rows", scale_is_lost, library, random=False)
        for family in ("mean_field", "full_rank", "mixture", "flow"):
            check(f"vae/{library}-{family}: best member", member_is_no_posterior, library, family)
    check("vae: quadrature", quadrature_differs)
    check("vae: importance sampling", importance_differs)
    check("vae: annealing", annealing_differs)
    check("vae: bits", report_differs, random=False)
    check("bnn: quadrature", network_differs, random=False)
    check("references", reference_differs)


for name in DATA:
    of_model(name)
for case in CASES:
    of_fit(case)
of_guides()
of_the_rest()
