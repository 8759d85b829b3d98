"""The tiny cases of the quick battery, and the checks of each: importing this lists them in `battery.CHECKS`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

from conftest import LIBRARIES, side, with_network

import models
from battery import CHECKS, Check, check, list_as
from battery.autoencoder import (
    annealing_differs,
    digits,
    importance_differs,
    member_is_no_posterior,
    quadrature_differs,
    report_differs,
)
from battery.components import network_differs, reference_differs, scale_is_lost, text_differs
from battery.fitted import LOOKS, Case, complaints, guides_differ, said_density, slopes_differ
from battery.known import (
    SPELT,
    density_misfits,
    dimension,
    evidence_varies,
    member_differs,
    moments_differ,
    parts_do_not_add_up,
    twins_differ,
)
from compare.options import Options
from compare.plan import best_member
from models.bandit import Bandit
from models.bnn import BnnData
from models.chain import Chain
from models.coin import Coin
from models.dlgm import DeepData
from models.gp import GpData
from models.linear import LinearData
from models.logistic import LogisticData
from models.ssvae import SemiSupervised

__all__ = ["CHECKS"]

COIN, SKEW, BARE = Coin(), Coin(heads=3, tosses=11, alpha=3.0, beta=1.5), Coin(heads=0, tosses=3)
CHAIN, SEEN = Chain(), Chain(3, (0.5, -1.0, 2.0), "all")
KNOWN, NOISY = LinearData("rugged", prior="known", noise=0.95), LinearData()
NETWORK = BnnData(hidden=1)
TWO, TAUGHT = BnnData(hidden=2, noise="unknown"), BnnData("moons", hidden=2)
BINARY = digits(latent=2, hidden=6, images=2)
GREY = digits(latent=2, hidden=6, images=2, pixels="grey")
LINEAR = digits(latent=3, hidden=0, images=2, pixels="grey")
FEW_LABELS = with_network(models.load("ssvae"), SemiSupervised(hidden=6, images=2))

NARROW = {"word": "narrow", "ratios": math.sqrt(3 / 4), "correlations": 0.0, "gap": 0.5 * math.log(4 / 3)}
RIGHT = {"ratios": 1.0, "correlations": 0.5}


@dataclass(frozen=True)
class Tiny:
    """A model of the catalogue in data sets so small that all is done in seconds.

    Attributes:
        exact: Data whose posterior is exact; the first are fitted.
        others: Data that the twins are tried on, too.
        count: Exact draws that moments are compared with.
        guides: Data for guides at arbitrary parameters.
        fitted: Data for the fit of a family, where they are not the first.
        known: What is known of a fit by name, or by family; of others only what holds of every fit.
    """

    exact: Sequence[Any]
    others: Sequence[Any] = ()
    count: int = 4000
    guides: Any = None
    fitted: Mapping[str, Any] = field(default_factory=dict)
    known: Mapping[str, dict[str, Any]] = field(default_factory=dict)


TINY = {
    "coin": Tiny(
        [COIN, SKEW],
        count=20_000,
        fitted={"full_rank": BARE},
        known={"mean_field": {}, "full_rank": {}, "conjugate": {"ratios": 1.0, "gap": 0.0}, "nuts": {}},
    ),
    "chain": Tiny(
        [CHAIN, SEEN],
        count=20_000,
        guides=Chain(3),
        known={
            "coordinate_ascent": NARROW,
            "coordinate_ascent-text": {"word": "off", "correlations": 0.0},
            "mean_field": NARROW,
            "full_rank": RIGHT | {"gap": 0.0},
            "markov": RIGHT | {"gap": 0.0},
            "nuts": RIGHT,
        },
    ),
    "linear": Tiny(
        [KNOWN, NOISY],
        [LinearData("rugged")],
        known={
            "coordinate_ascent": {"word": "narrow", "gap": 1.069208584093646},
            "mean_field": {"word": "narrow", "gap": 1.069208584093646},
            "full_rank": {"ratios": 1.0, "gap": 0.0},
            "nuts": {"ratios": 1.0},
        },
    ),
    "logistic": Tiny(
        [LogisticData(), LogisticData(prior_sd=0.5)],
        known={
            "coordinate_ascent": {"word": None, "gap": 0.15190182041430766},
            "mean_field": {"word": None, "gap": 0.06326090257805994},
            "full_rank": {"word": None, "gap": 0.034856376361132035},
        },
    ),
    "gp": Tiny(
        [
            GpData(points=4, length=1.0, noise=0.3, inducing=2),
            GpData(points=3, length=2.0, noise=1.0, latents="values", kernel="matern52"),
        ],
        known={
            "inducing": {"word": "off", "gap": 2.169368189950247},
            "mean_field": {"word": None, "gap": 0.5138010410933767},
            "full_rank": {"ratios": 1.0, "gap": 0.0},
            "nuts": {"ratios": 1.0},
        },
    ),
    "dlgm": Tiny(
        [DeepData(images=2, pixels="grey", latents="noise"), DeepData(images=2, units=2, iterations=5)],
        known={"mean_field": {"word": None}, "full_rank": {"ratios": 1.0, "gap": 0.0}, "nuts": {"ratios": 1.0}},
    ),
    "bandit": Tiny([Bandit(), Bandit((3, 0, 5), (1, 0, 5), alpha=2.0)]),
    "bnn": Tiny([NETWORK], [TWO, TAUGHT], guides=BnnData(hidden=2)),
    "vae": Tiny([BINARY, LINEAR], [GREY]),
    "ssvae": Tiny([FEW_LABELS]),
}
"""Models of which more is known than their folders say, or whose own data are too large."""

SMALL = 20
"""Most latents of a data set that is tiny."""


@cache
def tiny(name: str) -> Tiny:
    """What is tried of a model: of one that is only listed in the catalogue, its own smallest data."""
    if name in TINY:
        return TINY[name]
    model = models.load(name)
    known = [data for data in (model.data(), *model.test_cases) if model.exact(data) is not None]
    return Tiny([data for data in known if dimension(data) <= SMALL][:2])


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
    """The checks that need no fit; no repeats where `test_battery` has only networks whose biases are 0."""
    model, data = models.load(name), tiny(name)
    ours = partial(check, repeats=model.amortization is None)
    ours(f"{name}: twins", every(partial(twins_differ, name), [*data.exact, *data.others], 100))
    ours(f"{name}: moments", every(partial(moments_differ, name), data.exact, data.count))
    ours(f"{name}: density", every(partial(density_misfits, name), data.exact), random=False)
    for library in LIBRARIES:
        ours(f"{name}/{library}: evidence", every(partial(evidence_varies, name), data.exact, library, 200))
        for family in model.guides:
            known = [dataset for dataset in data.exact if family in SPELT and best_member(model, dataset, family)]
            if known:
                members = every(partial(member_differs, name), known, family, library)
                ours(f"{name}/{library}-{family}: best member", members)
        if model.prediction and model.prediction.pointwise:
            parts = every(partial(parts_do_not_add_up, name), [*data.exact, *data.others], library)
            ours(f"{name}/{library}: parts", parts)


PATIENT = Options(budget=120.0)
SLOW = Options(budget=120.0, warmup=150, ess=200.0)
"""For Pyro, whose chains take seconds, and are tried on one latent only."""


def fits(name: str) -> Iterator[Case]:
    """The fits of a model, and what must be said of them; none of encoders, or where other quantities are judged."""
    model, data = models.load(name), tiny(name)
    derives = model.quantities is not None and model.quantities.derive is not None
    if model.amortization or derives or not data.exact:
        return
    first = data.exact[0]
    yield Case("exact", name, first, "exact", word="exact")
    for fit in model.coordinate_ascent(first) if model.coordinate_ascent else ():
        yield Case(fit, name, first, "coordinate_ascent", **data.known.get(fit, {"word": None}))
    for library in LIBRARIES:
        for family in model.guides:
            known = data.known.get(family, {"word": None})
            yield Case(f"{library}-{family}", name, data.fitted.get(family, first), "svi", library, family, **known)
        if library == "numpyro" or dimension(first) == 1:
            options = PATIENT if library == "numpyro" else SLOW
            known = data.known.get("nuts", {})
            yield Case(f"{library}-nuts", name, first, "nuts", library, options=options, **known)


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


def of_guides(name: str) -> None:
    """Guides at arbitrary parameters, several sites included; those of encoders have none of their own."""
    model, data = models.load(name), tiny(name)
    if model.amortization or not data.exact:
        return
    for family in model.guides:
        if family == "hypernetwork":  # its members are those of mean field; `test_layer_guides` tries it
            continue
        case = Case(family, name, data.guides or data.exact[0], "svi", guide=family)
        both = [side(library) for library in LIBRARIES]
        check(f"{name}/{family}: guides", partial(guides_differ, case, both))
        for library, module in zip(LIBRARIES, both, strict=True):
            check(f"{name}/{library}-{family}: said density", partial(said_density, case, module))
            check(f"{name}/{library}-{family}: slopes", partial(slopes_differ, case, module))


def of_one_model() -> None:
    """What is known of single models, and of none."""
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


for name in models.CATALOGUE:
    of_model(name)
    for case in fits(name):
        of_fit(case)
    of_guides(name)
of_one_model()
