"""ELBOs at given draws, and by how much they differ."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from compare.fit.svi.draws import fresh
from compare.fit.svi.ensemble import Outcome, n_rows
from compare.fit.svi.gap import Gap
from compare.fit.svi.protocol import Objective
from compare.options import Options
from guides.contract import Family, Parameters

BATCHES, MOST_BATCHES = 64, 256
"""Batches of draws that two ELBOs are compared with, at first and at most."""

FREEDOM = 20.0
"""Degrees of freedom of an error below which more batches are drawn; with these it is known to 1 / sqrt(40), 16%."""


def elbos(objective: Objective, parameters: Parameters, batches: Sequence[np.ndarray], data: Any) -> np.ndarray:
    """The ELBO at each batch of draws, in nats, shape (batches,)."""
    return np.array([objective.evaluate(parameters, draws, data).log_ratio.mean() for draws in batches])


def difference(
    objective: Objective, data: Any, better: Parameters, worse: Parameters, rng: np.random.Generator, count: int
) -> Gap:
    """By how many nats one ELBO is above another, on ``count`` fresh batches common to both; good enough to decide
    whether a round of a fit gained."""
    values = gains(objective, data, better, worse, rng, count)
    return Gap(float(values.mean()), float(values.std(ddof=1) / np.sqrt(count)))


def gains(
    objective: Objective, data: Any, better: Parameters, worse: Parameters, rng: np.random.Generator, count: int
) -> np.ndarray:
    """By how many nats one ELBO is above another on each of ``count`` fresh batches, shape (count,).

    Both are taken on the same draws, so that what is common to them cancels; each batch is unbiased.
    """
    shape = n_rows(objective.dimension), objective.dimension
    batches = [fresh(rng, *shape) if objective.dimension else np.zeros((1, 0)) for _ in range(count)]
    return elbos(objective, better, batches, data) - elbos(objective, worse, batches, data)


def average(values: np.ndarray) -> tuple[Gap, float]:
    """The mean of independent values, shape (n,), with its standard error; and the error's degrees of freedom.

    With kurtosis k the sample variance s^2 has the relative variance (k - 1) / n to first order, that of a chi-square
    with f = 2n / (k - 1) degrees of freedom (Satterthwaite 1946; Box 1953). For symmetric values (mean - truth) /
    (s / sqrt(n)) is then about Student's t with f of them, whose variance is f / (f - 2), and the error is
    s sqrt(1 / n) sqrt(f / (f - 2)) = s / sqrt(n + 1 - k). Of skewed values the mean and s are correlated, and the
    side of the skewness is missed more often. Where a single value carries all of the variance, k is n - 2 and the
    error s / sqrt(3), several times the mean.
    """
    count, mean, variance = len(values), values.mean(), values.var(ddof=1)
    if not variance > 0:
        return Gap(float(mean), float(variance)), np.inf
    kurtosis = float(np.mean(((values - mean) / values.std()) ** 4))
    return Gap(float(mean), float(np.sqrt(variance / (count + 1 - kurtosis)))), 2 * count / max(kurtosis - 1, 1e-12)


def gap_between(
    objective: Objective, data: Any, parameters: Parameters, best: Outcome, options: Options, seed: int
) -> Gap:
    """How far the ELBO at the parameters is below that of the best member: where a fit ended, and what it left.

    The value is the sum of two gaps in nats: from the parameters to where the fit of the best member ended, on draws
    common to both (`gains`), and what that fit itself left, where it is known. Their errors are independent and add in
    quadrature: that of the mean of the batches (`average`), and that of `compare.fit.svi.gap.estimate`. Far from the
    optimum few batches may carry the difference: they are doubled while the error has fewer than `FREEDOM` degrees of
    freedom, up to `MOST_BATCHES` of them and to the budget.
    """
    deadline, rng = time.perf_counter() + options.budget, np.random.default_rng([seed, 3])
    values = gains(objective, data, best.parameters, parameters, rng, BATCHES if objective.dimension else 2)
    apart, freedom = average(values)
    while freedom < FREEDOM and len(values) < MOST_BATCHES and time.perf_counter() < deadline:
        values = np.append(values, gains(objective, data, best.parameters, parameters, rng, len(values)))
        apart, freedom = average(values)
    left = best.gap if np.isfinite(best.gap.value) else Gap(0.0, 0.0)
    return Gap(apart.value + left.value, float(np.hypot(apart.mcse, left.mcse)))


def climb(
    objective: Objective, data: Any, outcome: Outcome, elbo: np.ndarray, batches: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
    """The ELBO along the way, with its error, at draws that the fit has not seen.

    Each step's is the last one's, which ``elbo`` holds estimates of, less what the step falls short of it by at
    common draws: near the end that difference has hardly any noise.
    """
    spent, ways = zip(*outcome.looks(), strict=True)
    last = elbos(objective, outcome.parameters, batches, data)
    short = np.stack([elbos(objective, parameters, batches, data) - last for parameters in ways])
    return {
        "gradients": np.array(spent),
        "elbo": elbo.mean() + short.mean(axis=1),
        "elbo_mcse": np.sqrt(elbo.var(ddof=1) / len(elbo) + short.var(axis=1, ddof=1) / len(batches)),
    }


def log_auxiliary_ratio(family: Family, parameters: Parameters, eps: np.ndarray) -> np.ndarray:
    """log q(xi | z) - log r(xi | z) of each draw, shape (rows,): 0 of a guide without an auxiliary variable xi.

    The ELBO's log ratio of a draw is that much below log p(x, z) - log q(z).
    """
    if family.log_auxiliary_ratio is None:
        return np.zeros(len(eps))
    return family.log_auxiliary_ratio(parameters, eps)


def without_auxiliary(
    family: Family, parameters: Parameters, elbo: np.ndarray, batches: Sequence[np.ndarray]
) -> dict[str, float]:
    """By how many nats a guide's ELBO is below that of q(z) itself, and the error of that one; ``elbo`` by batch."""
    gaps = np.array([log_auxiliary_ratio(family, parameters, eps).mean() for eps in batches])
    return {
        "auxiliary_gap": float(gaps.mean()),
        "auxiliary_gap_mcse": float(gaps.std(ddof=1) / np.sqrt(len(gaps))),
        "marginal_elbo_mcse": float((elbo + gaps).std(ddof=1) / np.sqrt(len(gaps))),
    }
