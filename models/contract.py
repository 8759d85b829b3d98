"""What a model's folder fills in, in tiers: what it must say, should say and may say.

Start from `Model`; `models.options` has its data, `models.parts` what is optional. NumPy only: nothing here knows a
probabilistic programming library.
"""

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from models.options import Data, option  # noqa: F401
from models.parts import (  # noqa: F401
    Amortization,
    Best,
    Claim,
    CoordinateAscent,
    Decision,
    Element,
    Evidences,
    Latents,
    Literature,
    Picture,
    Prediction,
    Predictions,
    Published,
    Quantities,
    Scores,
    Symmetry,
    Training,
)

__all__ = ["Exact", "Marginal", "Model", "Reference", "Simulated", "UnknownName", "element", "nearest"]


class UnknownName(ValueError):
    """A name that is in no catalogue."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error message: the nearest right name, or all of them."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(known)}"


def element(site: str, index: tuple[int, ...] = ()) -> str:
    """The name of one element of a site: ``theta``, ``z[0]``, ``w[1,2]``."""
    return f"{site}[{','.join(map(str, index))}]" if index else site


class Marginal(Protocol):
    """The distribution of one element, with the methods of SciPy's frozen distributions."""

    def mean(self) -> float:
        """The mean."""

    def std(self) -> float:
        """The standard deviation."""

    def ppf(self, q: float) -> float:
        """The quantile at probability ``q``."""

    def pdf(self, x: np.ndarray) -> np.ndarray:
        """The density at ``x``."""


class Exact:
    """Base of an exact posterior. All log densities are normalised, float64, in nats, in the model's constrained space.

    A subclass gives the attributes and the first three methods. The others follow from `marginal`; override those
    that a model has for all elements at once.

    Attributes:
        method: How the posterior is known, such as "closed form".
        tolerance: How far the log evidence may be off, in nats.
        log_evidence: log p(x) in nats.
    """

    method: str
    tolerance: float
    log_evidence: float

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        """Independent draws, each site of shape (count, *shape)."""
        raise NotImplementedError

    def log_posterior(self, latents: Latents) -> np.ndarray:
        """log p(z | x), shape (n_draws,)."""
        raise NotImplementedError

    def marginal(self, site: str, index: tuple[int, ...] = ()) -> Marginal:
        """The posterior of one element."""
        raise NotImplementedError

    def mean(self) -> dict[str, np.ndarray]:
        """Posterior means, each of its site's shape."""
        return self._each(lambda marginal: marginal.mean())

    def sd(self) -> dict[str, np.ndarray]:
        """Posterior standard deviations, each of its site's shape."""
        return self._each(lambda marginal: marginal.std())

    def quantile(self, probability: float) -> dict[str, np.ndarray]:
        """Marginal quantiles, each of its site's shape."""
        return self._each(lambda marginal: marginal.ppf(probability))

    def density(self, site: str, index: tuple[int, ...], grid: np.ndarray) -> np.ndarray:
        """The marginal density of one element on a grid."""
        return self.marginal(site, index).pdf(grid)

    def correlations(self) -> dict[str, float]:
        """Correlations worth printing, keyed ``z[0],z[1]``; none by default."""
        return {}

    def extra_summary(self) -> dict[str, Any]:
        """What else is known and worth printing (mode, intervals), in JSON's types; nothing by default."""
        return {}

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """The sites and their shapes, as one draw shows them."""
        return {site: value.shape[1:] for site, value in self.draw(np.random.default_rng(0), 1).items()}

    def _each(self, statistic: Callable[[Marginal], float]) -> dict[str, np.ndarray]:
        """A number of every element's marginal, by site."""
        return {
            site: np.array([statistic(self.marginal(site, index)) for index in np.ndindex(shape)]).reshape(shape)
            for site, shape in self._shapes.items()
        }


@dataclass(frozen=True)
class Reference:
    """The way to a posterior that has no closed form: a long NUTS run, held to targets as posteriordb's are.

    Attributes:
        method: The sentence that names it.
        program: The function of the twin that is sampled: ``model``, or one in which some latents are integrated out.
        complete: ``complete(data, latents, rng)`` adds those, drawn from their exact conditional distribution; None
            where nothing was integrated out.
        library: The library that samples.
        acceptance: The rate that NUTS adapts its step sizes to: higher than usual, so that few transitions diverge.
        no_evidence: Why its draws cannot give the log evidence; empty where they can.
    """

    method: str
    program: str = "model"
    complete: Callable[[Any, Latents, np.random.Generator], dict[str, np.ndarray]] | None = None
    library: str = "numpyro"
    acceptance: float = 0.9
    no_evidence: str = ""


@dataclass(frozen=True)
class Simulated:
    """Draws from the joint distribution p(z, x): latents from the prior, and the data that they gave.

    Attributes:
        latents: Each of shape (count, *site).
        data: As many data sets, in the same order; or, with ``plate``, one data set of ``count`` observations.
        plate: Whether each observation has latents of its own, so that the first axis of a site counts observations.
    """

    latents: dict[str, np.ndarray]
    data: tuple[Any, ...]
    plate: bool = False


@dataclass(frozen=True)
class Model:
    """One model of the zoo: what it must say, what it should, and what it may (None or empty where absent).

    Attributes:
        name: Its folder's name.
        title: Its subject or question, in a line.
        data: The class of its data, a `Data`.
        guides: The families that are fitted unless the user names others.
        optional_guides: Families of its own that are fitted only where the user names them.
        truth: ``truth(data)``: the exact posterior, or the way to a reference.
        test_cases: Data sets that the tests try beside the defaults, the extreme ones above all.
        simulate: ``simulate(data, rng, count)``: latents from the prior and data sets from them, of the size and with
            the constants of ``data``. With it ``--calibrate`` works.
        best_member: ``best_member(data, family)``: the best member of a family, None if it is not known.
        coverage: ``coverage(data, family, probability)``: how often, by theory, the best member's central interval of
            that probability holds the true value over simulated data, by element; None if it is not known.
        coordinate_ascent: ``coordinate_ascent(data)``: closed-form updates by the name of the fit.
        quantities: Functions of the latents, and what is reported.
        symmetry: Maps of the latents that leave the posterior as it is, so that it has equal modes.
        prediction: What the posterior predicts.
        decision: What the posterior is acted on for, and what is lost where draws take its place.
        amortization: Training of encoders.
        literature: What the founding text and others say of it.
        pictures: Pictures of its own.
        may_be_discrete: Whether its twins have discrete latents on some data: the libraries' enumeration sums them out.
        defaults: Options of the fits in which it differs from the other models.
    """

    name: str
    title: str
    data: type
    guides: tuple[str, ...]
    truth: Callable[[Any], Exact | Reference]
    optional_guides: tuple[str, ...] = ()
    test_cases: tuple[Any, ...] = ()
    simulate: Callable[[Any, np.random.Generator, int], Simulated] | None = None
    best_member: Callable[[Any, str], Best | None] | None = None
    coverage: Callable[[Any, str, float], dict[str, float] | None] | None = None
    coordinate_ascent: Callable[[Any], dict[str, CoordinateAscent]] | None = None
    quantities: Quantities | None = None
    symmetry: Symmetry | None = None
    prediction: Prediction | None = None
    decision: Decision | None = None
    amortization: Amortization | None = None
    literature: Literature | None = None
    pictures: tuple[Picture, ...] = ()
    may_be_discrete: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def exact(self, data: Any) -> Exact | None:
        """The truth where it is an exact posterior."""
        truth = self.truth(data)
        return None if isinstance(truth, Reference) else truth
