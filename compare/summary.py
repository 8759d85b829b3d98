"""The numbers of a comparison, as ``summary.json`` holds them: immutable, and independent of what computes them.

`to_json` turns them into JSON's types. The keys of ``summary.json`` are the names of the fields.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

import numpy as np

Status = Literal["done", "skipped", "failed"]

ABSENT: Any = None
"""The default of a value that does not apply or is not known: null in ``summary.json``."""


def to_json(value: Any) -> Any:
    """A value in JSON's types: a dataclass as a dict of its fields, under the ``key`` of a field where it has one.

    A field whose ``key`` is None is left out.
    """
    if is_dataclass(value):
        keys = {entry.name: entry.metadata.get("key", entry.name) for entry in fields(value)}
        return {key: to_json(getattr(value, name)) for name, key in keys.items() if key is not None}
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


@dataclass(frozen=True)
class Estimate:
    """A number and its Monte Carlo standard error, 0 where it is exact."""

    value: float
    mcse: float = 0.0


@dataclass(frozen=True)
class Score(Estimate):
    """A mean over held-out observations.

    Attributes:
        value: The mean.
        mcse: The error that the finite number of draws makes.
        sampling: The standard error that the finite number of observations makes; None where it is not known.
    """

    sampling: float | None = None


@dataclass(frozen=True)
class Evidence:
    """The log evidence in nats, its error, and how it is known; None where it is not.

    Attributes:
        value: The log evidence.
        mcse: Its standard error, 0 where it is exact.
        method: How it is known.
        tolerance: How far off it may be, in nats, where it is exact by a method of that tolerance.
        is_exact: Whether no reference stands in for the posterior.
    """

    value: float | None
    mcse: float | None
    method: str
    tolerance: float = field(default=0.0, metadata={"key": None})
    is_exact: bool = field(default=False, metadata={"key": None})


@dataclass(frozen=True)
class PredictiveP(Estimate):
    """P(T(replicate) > T(data)) plus half of P(they are equal), its Monte Carlo error, and T(data)."""

    observed: float = math.nan


@dataclass(frozen=True)
class LooPit:
    """How many leave-one-out PITs there are, and the p-value of their being uniform."""

    observations: int
    p_value: float


@dataclass(frozen=True)
class ModelCheck:
    """Whether the model itself fits its data.

    Attributes:
        fit: The fit whose draws stand for the posterior; None where there are none.
        reason: Why nothing could be checked; None where something was.
        statistics: The posterior predictive p-values by observed site and statistic.
        loo_pit: The leave-one-out PIT by observed site, where there are enough observations.
        sentence: The verdict on the model; None unless some p-value is extreme.
    """

    fit: str | None
    reason: str | None
    statistics: Mapping[str, Mapping[str, PredictiveP]] = field(default_factory=dict)
    loo_pit: Mapping[str, LooPit] = field(default_factory=dict)
    sentence: str | None = None


@dataclass(frozen=True)
class Distance:
    """How far one element is from the truth.

    Attributes:
        mean_error: (mean - true mean) / true sd.
        sd_ratio: sd / true sd.
    """

    mean_error: Estimate
    sd_ratio: Estimate


@dataclass(frozen=True)
class VariableSummary:
    """One element of a latent or of a derived quantity; None where nothing is known.

    Attributes:
        mean: Posterior mean.
        sd: Posterior standard deviation.
        lower: 2.5% quantile.
        median: Median.
        upper: 97.5% quantile.
        mcse_mean: Standard error of the mean.
        mcse_sd: Standard error of the sd.
        mean_error: (mean - true mean) / true sd.
        sd_ratio: sd / true sd.
        mcse_mean_error: Standard error of the mean error, the truth's own included.
        mcse_sd_ratio: Standard error of the sd ratio, the truth's own included.
    """

    mean: float = ABSENT
    sd: float = ABSENT
    lower: float = field(default=ABSENT, metadata={"key": "q2.5"})
    median: float = ABSENT
    upper: float = field(default=ABSENT, metadata={"key": "q97.5"})
    mcse_mean: float = ABSENT
    mcse_sd: float = ABSENT
    mean_error: float = ABSENT
    sd_ratio: float = ABSENT
    mcse_mean_error: float = ABSENT
    mcse_sd_ratio: float = ABSENT

    @property
    def distance(self) -> Distance:
        """The distance to the truth, where that is known."""
        return Distance(Estimate(self.mean_error, self.mcse_mean_error), Estimate(self.sd_ratio, self.mcse_sd_ratio))


@dataclass(frozen=True)
class Correlation(Estimate):
    """A correlation of two elements, its standard error, and the true one."""

    truth: float = math.nan


@dataclass(frozen=True)
class Diagnostics:
    """Worst diagnostics over the judged elements; None what does not apply.

    Attributes:
        r_hat: Rank-normalised split R-hat of chains.
        ess_bulk: Bulk effective sample size of chains.
        ess_tail: Effective sample size of chains for the 5% and 95% quantiles.
        divergences: Transitions that diverged.
        e_bfmi: The energies' Bayesian fraction of missing information.
        khat: Pareto k-hat of a guide's weights.
        relative_ess: The effective sample size of a guide's weights over the number of draws: 1 where all are equal.
        transitions: Transitions of which divergences are known; not in ``summary.json``.
        r_hat_by_chance: What R-hat of chains that are alike, and as long as these, seldom exceeds; not in
            ``summary.json``.
    """

    r_hat: float = ABSENT
    ess_bulk: float = ABSENT
    ess_tail: float = ABSENT
    divergences: int = ABSENT
    e_bfmi: float = ABSENT
    khat: float | None = None
    relative_ess: float | None = None
    transitions: int | None = field(default=None, metadata={"key": None})
    r_hat_by_chance: float | None = field(default=None, metadata={"key": None})

    @property
    def ess(self) -> float:
        """The smaller of bulk and tail ESS of chains."""
        return min(self.ess_bulk, self.ess_tail)


@dataclass(frozen=True)
class Optimisation:
    """Where an optimiser ended.

    Attributes:
        gap: Its own estimate of the optimisation gap in nats; None where it makes none.
        tolerance: The tolerance it aimed at, in nats.
        converged: Whether it arrived.
        steps: Steps, sweeps or epochs taken.
        reason: Why it did not arrive; None if it did.
        log_evidence_at_mode: Laplace's formula for log p(x), in nats, of a fit that is held at the mode: the log joint
            there times the volume under the Gaussian. It has no error that can be known from the mode alone.
        objective: E_q[log p(x, z)] in nats, of a guide without a density: what it was fitted by, and no bound.
    """

    gap: Estimate | None
    tolerance: float
    converged: bool
    steps: int
    reason: str | None
    log_evidence_at_mode: float | None = None
    objective: Estimate | None = None


@dataclass(frozen=True)
class Ledger:
    """Where a guide's evidence goes, in nats; None where a term does not apply or is not known.

    ELBO = data fit - complexity; evidence gap = log p(x) - ELBO = symmetry gap + family gap + amortisation
    gap + auxiliary gap + optimisation gap. Where the optimisation gap of a guide with an auxiliary variable is not
    known, the family gap includes it.
    """

    elbo: Estimate | None = None
    data_fit: Estimate | None = None
    complexity: Estimate | None = None
    evidence_gap: Estimate | None = None
    symmetry_gap: Estimate | None = None
    family_gap: Estimate | None = None
    amortisation_gap: Estimate | None = None
    auxiliary_gap: Estimate | None = None
    optimisation_gap: Estimate | None = None


LEDGER_TERMS = tuple(term.name for term in fields(Ledger))


@dataclass(frozen=True)
class Verdict:
    """One of the verdicts' words, and the sentence that says why."""

    word: str
    sentence: str


@dataclass(frozen=True)
class WithoutTruth(Verdict):
    """A verdict on a guide that rests on nothing exact.

    Attributes:
        by: What it rests on; None where nothing could be said.
        mean_error: The mean error, in sd, of the element that is furthest off.
        sd_ratio: The sd ratio of the element that is furthest off.
        evidence: The log evidence that the guide's weighted draws give, in nats.
        khat: Pareto k-hat of the weights.
    """

    by: str | None = None
    mean_error: Estimate | None = None
    sd_ratio: Estimate | None = None
    evidence: Estimate | None = None
    khat: float | None = None


@dataclass(frozen=True)
class Loss(Estimate):
    """The expected loss, by the exact posterior, of whoever acts on a fit's draws, and its Monte Carlo error.

    Attributes:
        exact: The expected loss of whoever acts on the exact posterior.
        name: What is lost, such as "regret".
        meaning: What exactly, as a sentence.
        word: ``less`` or ``more`` than ``exact`` beyond its error, or the ``same``; None for the exact posterior.
        sentence: The same as a sentence.
    """

    exact: float = math.nan
    name: str = ""
    meaning: str = ""
    word: str | None = None
    sentence: str | None = None


@dataclass(frozen=True)
class FitSummary:
    """All numbers of one fit, and the verdict on it.

    Attributes:
        library: The library, where there is one.
        guide: The family of guides, where there is one.
        method: As `Job.method`.
        status: ``done``, ``skipped`` or ``failed``.
        reason: Why it was skipped or failed.
        seconds: The time it took.
        gradients: Gradient evaluations.
        variables: The reported elements by name, such as ``z[0]``.
        correlations: Those that the truth names, keyed ``z[0],z[1]``.
        diagnostics: Of chains, or of a guide's weights.
        optimisation: None where nothing was optimised.
        ledger: Where the evidence goes.
        predictions: Scores of held-out observations by name; None where nothing is held out.
        without_truth: What would be said of it if no truth were known; None for what is no guide.
        verdict: None until it is judged.
        decision: What it costs to act on it; None where the model decides nothing.
        confirmed: Of chains of which a few transitions diverged, what confirms them: a run in other coordinates that
            agrees; None without any.
        unreported: The elements that are judged and not reported, by name; not in ``summary.json``.
    """

    library: str | None
    guide: str | None
    method: str
    status: Status
    reason: str | None
    seconds: float | None
    gradients: int | None
    variables: Mapping[str, VariableSummary]
    correlations: Mapping[str, Correlation] = field(default_factory=dict)
    diagnostics: Diagnostics = Diagnostics()
    optimisation: Optimisation = ABSENT
    ledger: Ledger = Ledger()
    predictions: Mapping[str, Score] | None = None
    without_truth: WithoutTruth | None = None
    verdict: Verdict = ABSENT
    decision: Loss | None = None
    confirmed: str | None = None
    unreported: Mapping[str, VariableSummary] = field(default_factory=dict, repr=False, metadata={"key": None})

    @property
    def judged(self) -> Mapping[str, VariableSummary]:
        """All elements that the verdict looks at, by name."""
        return {**self.variables, **self.unreported}
