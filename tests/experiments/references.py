"""Random posteriors with known evidence and moments: is what takes a long run's place right, wrong or refused?

    python tests/experiments/references.py --count 20 --seed 1 [--kinds ring,funnel] [--dimensions low,high]

Up to three dimensions are integrated by quadrature, more by importance sampling.

A reference is wrong where its evidence is off by 0.05 nats (5% of the mass), or a mean or an sd by 20% of an sd.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special, stats

sys.path.insert(0, str(Path(__file__).parents[2]))

from compare.fit.reference.importance import sample_by_importance
from compare.fit.reference.modes import find_modes
from compare.fit.reference.quadrature import integrate
from compare.fit.reference.solve import PRECISE, check_precision
from compare.fit.reference.target import Refused, Target

LogDensity = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Case:
    """A posterior and its truth.

    Attributes:
        log_density: Its normalised log density (n, d) to (n,) plus ``log_evidence``, in nats.
        dimension: d.
        mean, sd: Shape (d,).
        prior_scale: Sd of the Gaussian prior, shape (d,).
        log_evidence: In nats.
    """

    log_density: LogDensity
    dimension: int
    mean: np.ndarray
    sd: np.ndarray
    prior_scale: np.ndarray
    log_evidence: float = 0.0


def rotated(case: Case, rng: np.random.Generator) -> Case:
    """The same posterior in rotated and shifted coordinates; for cases with independent coordinates only."""
    rotation = np.linalg.qr(rng.standard_normal((case.dimension,) * 2))[0]
    shift = rng.standard_normal(case.dimension) * case.sd
    covariance = rotation @ np.diag(case.sd**2) @ rotation.T
    return Case(
        lambda z: case.log_density((z - shift) @ rotation),
        case.dimension,
        shift + rotation @ case.mean,
        np.sqrt(np.diag(covariance)),
        np.full(case.dimension, case.prior_scale.max() + np.abs(shift).max()),
    )


def gaussian(rng: np.random.Generator, d: int) -> Case:
    """A Gaussian with sds from 1/100 of the prior's to the prior's."""
    sd = 10 ** rng.uniform(-2, 0, d)
    return rotated(Case(lambda z: stats.norm.logpdf(z, 0, sd).sum(1), d, np.zeros(d), sd, np.ones(d)), rng)


def mixture(rng: np.random.Generator, d: int) -> Case:
    """Two to eight Gaussians, weights down to 5%; beyond three dimensions each with 1% of the prior in its basin."""
    while True:
        m = int(rng.integers(2, 9)) if d <= 3 else int(rng.integers(2, 5))
        weights = rng.dirichlet(np.ones(m)) if m > 2 else np.array([(w := rng.uniform(0.5, 0.95)), 1 - w])
        means = rng.standard_normal((m, d))
        sds = 10 ** rng.uniform(-2, -0.3, m) if d <= 3 else 10 ** rng.uniform(-1.5, -0.5) * rng.uniform(0.8, 1.25, m)
        if weights.min() > 0.05 and (d <= 3 or basins(means, sds, weights, rng).min() > 0.01):
            return mixture_case(means, sds, weights)


def basins(means: np.ndarray, sds: np.ndarray, weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The share of prior draws that mean shift leads to each component."""
    z = rng.standard_normal((1000, means.shape[1]))
    constants = np.log(weights) - means.shape[1] * np.log(sds)
    for _ in range(60):
        squares = ((z[:, None] - means) ** 2).sum(2) / sds**2
        shares = special.softmax(constants - squares / 2, axis=1) / sds**2
        z = shares @ means / shares.sum(1, keepdims=True)
    nearest = (((z[:, None] - means) / sds[:, None]) ** 2).sum(2).argmin(1)
    return np.bincount(nearest, minlength=len(means)) / len(z)


def mixture_case(means: np.ndarray, sds: np.ndarray, weights: np.ndarray) -> Case:
    d = means.shape[1]
    constants = np.log(weights) - d * np.log(sds) - d / 2 * np.log(2 * np.pi)

    def log_density(z: np.ndarray) -> np.ndarray:
        squares = (z**2).sum(1)[:, None] - 2 * z @ means.T + (means**2).sum(1)
        return special.logsumexp(constants - squares / (2 * sds**2), axis=1)

    mean = weights @ means
    sd = np.sqrt(weights @ (sds[:, None] ** 2 + (means - mean) ** 2))
    return Case(log_density, d, mean, sd, np.ones(d))


def mirrored(rng: np.random.Generator, d: int) -> Case:
    """Two Gaussians that mirror each other, of 50 to 95% of the mass."""
    mean, sd, weight = rng.standard_normal(d), 10 ** rng.uniform(-1.5, -0.5), rng.uniform(0.5, 0.95)
    return mixture_case(np.array([mean, -mean]), np.full(2, sd), np.array([weight, 1 - weight]))


def ring(rng: np.random.Generator, d: int) -> Case:
    """A Gaussian shell in two to four dimensions, with independent Gaussians beside it."""
    shell = min(max(d, 2), int(rng.integers(2, 5)))
    d = max(d, shell)
    radius, width = 10 ** rng.uniform(-1, 0.3), 10 ** rng.uniform(-1.3, -0.3)
    width *= radius
    r = np.linspace(max(0, radius - 10 * width), radius + 10 * width, 400_001)
    density = r ** (shell - 1) * stats.norm.pdf(r, radius, width)
    surface = np.log(2) + shell / 2 * np.log(np.pi) - special.gammaln(shell / 2)
    constant = np.log(np.trapezoid(density, r)) + surface
    sd = np.ones(d)
    sd[:shell] = np.sqrt(np.trapezoid(density * r**2, r) / np.trapezoid(density, r) / shell)

    def log_density(z: np.ndarray) -> np.ndarray:
        radial = stats.norm.logpdf(np.linalg.norm(z[:, :shell], axis=1), radius, width)
        return radial - constant + stats.norm.logpdf(z[:, shell:]).sum(1)

    return Case(log_density, d, np.zeros(d), sd, np.full(d, 2.0))


def ends(rng: np.random.Generator, d: int) -> Case:
    """A uniform direction with mass at both ends on the logit scale, with correlated Gaussians beside it."""
    rates, weight = rng.uniform(5, 60, 2), rng.uniform(0.5, 0.95)
    t = np.linspace(-60, 60, 200_001)

    def end(t: np.ndarray) -> np.ndarray:
        low = np.log(weight) + stats.expon.logpdf(special.expit(t), scale=1 / rates[0])
        high = np.log1p(-weight) + stats.expon.logpdf(special.expit(-t), scale=1 / rates[1])
        return np.logaddexp(low, high) - np.logaddexp(0, t) - np.logaddexp(0, -t)

    density = np.exp(end(t))
    total = np.trapezoid(density, t)
    mean = np.trapezoid(t * density, t) / total
    variance = np.trapezoid((t - mean) ** 2 * density, t) / total
    slope = rng.uniform(-0.5, 0.5, d - 1)

    def log_density(z: np.ndarray) -> np.ndarray:
        beside = stats.norm.logpdf(z[:, 1:], slope * z[:, :1], 0.5).sum(1)
        return end(z[:, 0]) - np.log(total) + beside

    means, variances = np.append(mean, slope * mean), np.append(variance, slope**2 * variance + 0.25)
    return Case(log_density, d, means, np.sqrt(variances), np.append(1.8, np.ones(d - 1)))


def funnel(rng: np.random.Generator, d: int) -> Case:
    """Neal's funnel, with the sd of the log scale between 0.5 and 3."""
    d, s = max(d, 2), rng.uniform(0.5, 3)

    def log_density(z: np.ndarray) -> np.ndarray:
        v = z[:, :1]
        return (stats.norm.logpdf(v, 0, s) + stats.norm.logpdf(z[:, 1:], 0, np.exp(v / 2)).sum(1, keepdims=True))[:, 0]

    sd = np.append(s, np.full(d - 1, np.exp(s**2 / 4)))
    return Case(log_density, d, np.zeros(d), sd, np.append(s, np.full(d - 1, 2.0)))


def horseshoe(rng: np.random.Generator, d: int) -> Case:
    """Units x_i ~ N(0, l_i^2), l_i half-Cauchy on the log scale, one of two observations y_i ~ N(x_i, 1) each."""
    units = max(d // 2, 1)
    y = rng.choice([0.3, 5.0], units) + rng.standard_normal(units)
    t = np.linspace(-40, 60, 100_001)[:, None]
    prior = stats.halfcauchy.logpdf(np.exp(t)) + t
    evidence = prior + stats.norm.logpdf(y, 0, np.sqrt(1 + np.exp(2 * t)))
    density = np.exp(evidence)
    totals = np.trapezoid(density, t, axis=0)
    density /= totals
    shrink = special.expit(2 * t)
    moments = [np.trapezoid(density * f, t, axis=0) for f in (t, t**2, shrink * y, shrink + (shrink * y) ** 2)]
    mean = np.concatenate([moments[0], moments[2]])
    sd = np.sqrt(np.concatenate([moments[1], moments[3]]) - mean**2)

    def log_density(z: np.ndarray) -> np.ndarray:
        t, x = z[:, :units], z[:, units:]
        scale = stats.halfcauchy.logpdf(np.exp(t)) + t
        return (scale + stats.norm.logpdf(x, 0, np.exp(t)) + stats.norm.logpdf(y, x, 1)).sum(1)

    return Case(log_density, 2 * units, mean, sd, np.full(2 * units, 2.0), float(np.log(totals).sum()))


def banana(rng: np.random.Generator, d: int) -> Case:
    """A curved valley z2 ~ N(b z1^2, w), with independent Gaussians beside it."""
    d, bend, width = max(d, 2), rng.uniform(0.3, 2), 10 ** rng.uniform(-1.3, 0)

    def log_density(z: np.ndarray) -> np.ndarray:
        valley = stats.norm.logpdf(z[:, 1], bend * z[:, 0] ** 2, width)
        return stats.norm.logpdf(z[:, 0]) + valley + stats.norm.logpdf(z[:, 2:]).sum(1)

    mean, sd = np.zeros(d), np.ones(d)
    mean[1], sd[1] = bend, np.sqrt(2 * bend**2 + width**2)
    return Case(log_density, d, mean, sd, np.full(d, 3.0))


def student(rng: np.random.Generator, d: int) -> Case:
    """A multivariate t with 2.5 to 8 degrees of freedom."""
    df = rng.uniform(2.5, 8)
    shape = stats.multivariate_t(np.zeros(d), np.eye(d), df)
    log_density = (lambda z: shape.logpdf(z).reshape(len(z))) if d > 1 else (lambda z: stats.t.logpdf(z[:, 0], df))
    return Case(log_density, d, np.zeros(d), np.full(d, np.sqrt(df / (df - 2))), np.full(d, 2.0))


KINDS = (gaussian, mixture, mirrored, ring, ends, funnel, horseshoe, banana, student)


def as_target(case: Case, rng: np.random.Generator) -> Target:
    """The case with gradients by central differences and draws from a Gaussian prior."""
    d = case.dimension

    def value_and_gradient(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        steps = 1e-6 * np.maximum(np.abs(points), 0.1)
        shifts = steps[:, None] * np.eye(d)
        both = np.concatenate([points[:, None] + shifts, points[:, None] - shifts]).reshape(-1, d)
        high, low = case.log_density(both).reshape(2, len(points), d)
        return case.log_density(points), (high - low) / (2 * steps)

    return Target(d, case.log_density, value_and_gradient, rng.standard_normal((512, d)) * case.prior_scale)


def attempt(kind: Callable[..., Case], dimension: int, seed: int) -> dict[str, Any]:
    """One case: its verdict, errors, and cost."""
    rng = np.random.default_rng([seed, dimension, KINDS.index(kind)])
    case = kind(rng, dimension)
    start = time.perf_counter()
    target, result = as_target(case, rng), None
    with np.errstate(all="ignore"):
        try:
            search = find_modes(target, rng)
            if case.dimension <= 3:
                result = integrate(target, search)
                check_precision(result)
            else:
                result = sample_by_importance(target, search, rng, PRECISE)
        except Refused as error:
            reason = str(error)
    row = {"kind": kind.__name__, "d": case.dimension, "seed": seed, "seconds": round(time.perf_counter() - start, 2)}
    if result is None or (case.dimension <= 3 and not result.is_accepted):
        return row | {"verdict": "refused", "reason": reason}
    off = abs(result.log_evidence - case.log_evidence)
    gaps = np.abs([result.mean - case.mean, result.sd - case.sd])
    mean_off, sd_off = (float(np.max(gap / case.sd)) for gap in gaps)
    errors = np.maximum([result.mean_error, result.sd_error], 1e-12)
    return row | {
        "verdict": "wrong" if off > 0.05 or max(mean_off, sd_off) > 0.2 else "right",
        "evidence_off": off,
        "evidence_z": off / result.error,
        "mean_off": mean_off,
        "sd_off": sd_off,
        "moment_z": float(np.max(gaps / errors)),
        "khats": [round(getattr(result, name, 0), 2) for name in ("relative_ess", "khat", "ridge_khat", "moment_khat")],
    }


def table(rows: list[dict]) -> str:
    """A Markdown table: kind and dimensions by verdict."""
    columns = (
        "kind",
        "dimensions",
        "cases",
        "right",
        "wrong",
        "refused",
        "evidence beyond 4 se",
        "moments beyond 5 se",
    )
    columns += ("largest off (sds)", "median s")
    lines = ["| " + " | ".join(columns) + " |", "| --- | --- |" + " ---: |" * (len(columns) - 2)]
    for name in dict.fromkeys(row["kind"] for row in rows):
        for label, low, high in (("1-3", 1, 3), ("4-10", 4, 10)):
            some = [row for row in rows if row["kind"] == name and low <= row["d"] <= high]
            if some:
                counts = [sum(row["verdict"] == word for row in some) for word in ("right", "wrong", "refused")]
                beyond = sum(row.get("evidence_z", 0) > 4 and row["evidence_off"] > 1e-9 for row in some)
                seconds = float(np.median([row["seconds"] for row in some]))
                moments = sum(row.get("moment_z", 0) > 5 for row in some)
                largest = max(max(row.get("mean_off", 0), row.get("sd_off", 0)) for row in some)
                cells = (name, label, len(some), *counts, beyond, moments, f"{largest:.3f}", f"{seconds:.1f}")
                lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run the experiment; one JSON line a case, and the table at the end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10, help="cases of each kind and range of dimensions")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", default=",".join(kind.__name__ for kind in KINDS))
    parser.add_argument("--dimensions", default="low,high", help="low (1 to 3), high (4 to 10)")
    parser.add_argument("--out", type=Path, default=None, help="file that the JSON lines are appended to")
    options = parser.parse_args()
    rows = []
    for kind in (kind for kind in KINDS if kind.__name__ in options.kinds.split(",")):
        for label, choices in (("low", (1, 2, 3)), ("high", (4, 5, 6, 8, 10))):
            if label not in options.dimensions.split(","):
                continue
            for i in range(options.count):
                row = attempt(kind, choices[i % len(choices)], 1000 * options.seed + i)
                rows.append(row)
                print(json.dumps(row), file=sys.stderr, flush=True)
                if options.out:
                    with options.out.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(row) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
