"""The objects that travel through a comparison, independent of the steps that make them; numbers: `compare.summary`."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from compare.held_out import HeldOut
from compare.options import Options
from compare.summary import ABSENT, Evidence, FitSummary, ModelCheck, Score, Status, to_json
from models.contract import Best, Claim, Element, Model, Published, element
from models.selection import evenly

if TYPE_CHECKING:
    import xarray as xr  # only annotations need it, and it is slow to import

__all__ = ["MCMC_METHODS", "MOST_JUDGED", "SCHEMA", "TRUTH_METHODS", "Comparison", "Drawn", "Element", "Fit", "Job"]
__all__ += ["Layout", "Request", "TooSlow", "Truth"]

MCMC_METHODS = ("nuts", "reference", "draws")
"""The methods whose draws are those of Markov chains."""

TRUTH_METHODS = ("exact", "importance")
"""The methods whose draws come from the truth, and whose numbers are the truth's own."""

SCHEMA = 8
"""The version of ``summary.json``."""

MOST_JUDGED = 5000
"""Elements that verdicts look at; of a site with more than that, the reported ones only."""


@dataclass(frozen=True, eq=False)
class Layout:
    """What tracing a model on its data tells.

    Attributes:
        latents: The latent sites and their shapes.
        derived: The deterministic sites, and the quantities that the model adds, with their shapes.
        observed: The observed sites' values.
        reported_elements: The elements that tables, plots and the summary show, of latents and derived quantities.
        notes: What a reader should know, one sentence each.
        log_joints: log p(x, z) in nats at a few draws from the prior; they tell apart models of the same source.
        singles: Sites with one element that are named without its index.
        improper: The latent sites whose priors are improper: the evidence is not defined.
        unjudged: Flags of elements that verdicts do not look at unless they are reported, by latent site: those that do
            not vary or are masked out; all where a model reports what its symmetries leave alone.
        discrete: The discrete latent sites, which are summed out.
    """

    latents: dict[str, tuple[int, ...]]
    derived: dict[str, tuple[int, ...]]
    observed: dict[str, np.ndarray]
    reported_elements: tuple[Element, ...]
    notes: tuple[str, ...] = ()
    log_joints: tuple[float, ...] = field(default=())
    singles: frozenset[str] = frozenset()
    improper: tuple[str, ...] = ()
    unjudged: Mapping[str, np.ndarray] = field(default_factory=dict)
    discrete: tuple[str, ...] = ()

    def label(self, site: str, index: tuple[int, ...]) -> str:
        """The name of an element: ``theta``, ``z[0]``."""
        return site if site in self.singles else element(site, index)

    @property
    def dimension(self) -> int:
        """The number of elements of all latents."""
        return sum(math.prod(shape) for shape in self.latents.values())

    @cached_property
    def judged(self) -> tuple[Element, ...]:
        """The elements that verdicts look at: the reported, and at most `MOST_JUDGED` of the latents, spread evenly."""
        flags = {site: self.unjudged.get(site, np.zeros(shape, bool)) for site, shape in self.latents.items()}
        short = {site: out for site, out in flags.items() if out.size <= MOST_JUDGED}
        elements = [(site, index) for site, out in short.items() for index in np.ndindex(out.shape) if not out[index]]
        chosen = [elements[place] for place in evenly(len(elements), MOST_JUDGED)]
        return tuple(dict.fromkeys((*self.reported_elements, *chosen)))


@dataclass(frozen=True)
class Request:
    """One comparison that is wanted.

    Attributes:
        model: The model.
        data: Its data, an instance of ``model.data``.
        libraries: ``numpyro``, ``pyro`` or both.
        guides: The families to fit; the model's own where None is given.
        nuts: Whether NUTS is run.
        draws: Whether draws that the user brought are judged.
        quick: Whether NUTS is left out, as the reference too.
        options: Targets and limits of the fits; the model's defaults where None is given.
        seed: What everything random follows from.
        command: What the user typed to get it, where the page should show that.
    """

    model: Model
    data: Any
    libraries: tuple[str, ...] = ("numpyro", "pyro")
    guides: tuple[str, ...] = ABSENT
    nuts: bool = True
    options: Options = ABSENT
    seed: int = 0
    command: str | None = None
    draws: bool = False
    quick: bool = False

    def __post_init__(self) -> None:
        guides = self.model.guides if self.guides is None else self.guides
        object.__setattr__(self, "libraries", tuple(dict.fromkeys(self.libraries)))
        object.__setattr__(self, "guides", tuple(dict.fromkeys(guides)))
        object.__setattr__(self, "nuts", self.nuts and not self.quick)
        if self.options is None:
            object.__setattr__(self, "options", Options(**self.model.defaults))


@dataclass(frozen=True)
class Job:
    """One fit to be made.

    Attributes:
        name: The fit's name, such as ``numpyro-mean_field``.
        model: The model's name.
        data: The model's data.
        method: ``svi``, ``amortised``, ``training``, ``nuts``, ``exact``, ``importance`` (sampling), ``reference`` (a
            long run of NUTS) or ``coordinate_ascent``; for what a user brought, ``guide`` or ``draws``.
        library: The library that fits; None where the method has none.
        guide: The family of guides, or the user's own guide; None where the method has none.
        seed: The comparison's seed.
        options: Targets and limits; the defaults where None is given.
        reason: Why the fit is skipped; None if it is not.
        layout: What tracing the model on the data tells.
        twin: The library whose twin gives the densities of draws, where ``library`` is None.
    """

    name: str
    model: str
    data: Any
    method: str
    library: str | None = None
    guide: str | None = None
    seed: int = 0
    options: Options = ABSENT
    reason: str | None = None
    layout: Layout = None  # type: ignore[assignment]  # every job that is run has one
    twin: str | None = None

    def __post_init__(self) -> None:
        if self.options is None:
            object.__setattr__(self, "options", Options())

    @property
    def family(self) -> str:
        """The family of guides, where the method has one."""
        assert self.guide is not None, f"{self.method} has no guide"
        return self.guide

    @property
    def is_brought(self) -> bool:
        """Whether it judges what a user brought to this process: no other process has it, and nothing can hash it."""
        return self.method in ("guide", "draws")

    @property
    def is_mcmc(self) -> bool:
        """Whether its draws are those of Markov chains."""
        return self.method in MCMC_METHODS

    @property
    def is_truth(self) -> bool:
        """Whether its numbers are those of the truth, exact or estimated."""
        return self.method in TRUTH_METHODS

    @property
    def fit_seed(self) -> int:
        """The fit's own seed: from the comparison's and the fit's name, so that no two fits share their draws."""
        return zlib.crc32(f"{self.seed} {self.name}".encode())


@dataclass(frozen=True, eq=False)
class Fit:
    """A posterior in ArviZ's schema, and what it cost.

    ``tree`` has the groups of ArviZ's schema; ``sample_stats`` holds ``log_joint``, ``log_prior`` and a guide's
    ``log_guide``; ``optimisation``, where something was optimised, ``elbo`` and ``elbo_mcse`` over dimension ``step``
    and in its attributes where it ended: ``elbo``, ``gap``, their errors, ``tolerance``, ``converged``, ``reason``.

    Attributes:
        job: What was to be fitted.
        status: ``done``, ``skipped`` or ``failed``.
        reason: Why it was skipped or failed.
        seconds: The time it took.
        gradients: Gradient evaluations of the log joint.
        tree: The draws; None unless the status is ``done``.
        cached: Whether an earlier run made it.
    """

    job: Job
    status: Status
    reason: str | None = None
    seconds: float | None = None
    gradients: int | None = None
    tree: xr.DataTree = field(default=ABSENT, repr=False)
    cached: bool = False


class TooSlow(TimeoutError):
    """A fit is given up, and skipped: by its pace its budget is far from enough."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """Draws from the fit of one of many data sets.

    Attributes:
        latents: The draws by site, each of shape (count, *site).
        converged: Whether the optimiser arrived; None where there is none.
        r_hat: R-hat of the chains that the draws were thinned from.
        ess: Bulk effective sample size of these chains.
        divergences: Divergent transitions of these chains.
    """

    latents: dict[str, np.ndarray]
    converged: bool | None = None
    r_hat: float | None = None
    ess: float | None = None
    divergences: int | None = None


class Truth(Protocol):
    """What the fits are measured against: an exact posterior, or the draws of a reference."""

    method: str
    tolerance: float

    @property
    def log_evidence(self) -> float | None:
        """log p(x) in nats; None where it is not known."""

    def mean(self) -> dict[str, np.ndarray]:
        """Posterior means, each of its site's shape."""

    def sd(self) -> dict[str, np.ndarray]:
        """Posterior standard deviations, each of its site's shape."""

    def quantile(self, probability: float) -> dict[str, np.ndarray]:
        """Marginal quantiles, each of its site's shape."""

    def density(self, site: str, index: tuple[int, ...], grid: np.ndarray) -> np.ndarray:
        """The marginal density of one element on a grid."""

    def correlations(self) -> dict[str, float]:
        """Correlations worth printing, keyed ``z[0],z[1]``."""

    def extra_summary(self) -> dict[str, Any]:
        """What else is known and worth printing, in JSON's types."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """A model, its data, the truth, and every fit measured against it.

    Attributes:
        request: The request; where the model's own network was trained, its data hold the network.
        truth: The exact posterior, or the reference where none is known; None where that could not be made.
        best: The best member of each family, where it is known.
        fits: The fits by name.
        trainings: The fits that trained the model's own network; the first that ended well gave it.
        summaries: The numbers of each fit and the verdict on it.
        log_evidence: log p(x), and how it is known.
        model_check: Whether the model itself fits its data.
        claims: What the model's founding text claims, and what is true.
        published: What others published, and what is true here.
        held_out: The test set; None where the model has none.
        baselines: The scores of simpler models on held-out observations.
        extra: What else is known of the truth, in JSON's types.
        notes: What a reader should know, one sentence each.
        versions: The versions of the packages that made the numbers.
        seconds: The time it all took.
    """

    request: Request
    truth: Truth | None
    best: Mapping[str, Best | None]
    fits: Mapping[str, Fit]
    trainings: Mapping[str, Fit]
    summaries: Mapping[str, FitSummary]
    log_evidence: Evidence
    model_check: ModelCheck = ABSENT
    claims: tuple[Claim, ...] = ()
    published: tuple[Published, ...] = ()
    held_out: HeldOut | None = None
    baselines: Mapping[str, Mapping[str, Score]] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def model(self) -> Model:
        """The model."""
        return self.request.model

    @property
    def data(self) -> Any:
        """The data that the fits were made on."""
        return self.request.data

    @property
    def layout(self) -> Layout:
        """The sites that tracing the model on the data has shown."""
        return next(fit.job.layout for fit in self.fits.values() if fit.job.layout)

    def label(self, element: Element) -> str:
        """The name of an element."""
        return self.layout.label(*element)

    @property
    def reference_fit(self) -> str:
        """The name of the fit that the others are compared with."""
        return next((name for name in ("exact", "reference") if name in self.fits), "exact")

    @property
    def truth_name(self) -> str:
        """What that fit may be called: the truth, if it is exact."""
        return "truth" if self.reference_fit == "exact" else self.reference_fit

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What ``summary.json`` holds."""
        return {
            "schema": SCHEMA,
            "model": self.model.name,
            "seed": self.request.seed,
            "data": self.data.describe(),
            "versions": to_json(self.versions),
            "log_evidence": to_json(self.log_evidence),
            "model_check": to_json(self.model_check),
            "fits": to_json(self.summaries),
            "text": to_json(self.claims),
            "held_out": to_json(self.held_out),
            "baselines": to_json(self.baselines),
            "facts": to_json(self.extra),
            "notes": to_json(self.notes),
            "published": to_json(self.published),
            "seconds": self.seconds,
        }
