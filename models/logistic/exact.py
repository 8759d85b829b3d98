"""The posterior of a logistic regression: quadrature up to four coefficients, importance sampling beyond.

The log joint is concave, so that it has one mode, and the sum over a lattice around that mode converges exponentially.
Beyond, draws are proposed from a Student t with the mean and the covariance that a first round of draws has found
around the Laplace approximation; where their weights are too unequal nothing is called exact, and a reference is made.
"""

from __future__ import annotations

import math
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from scipy import special, stats

from models.contract import Exact, Latents, Marginal, Reference
from models.designs import coefficients, column_of, sites
from models.logistic.data import LogisticData, separation
from models.marginals import BandLimited, TabulatedMixture
from models.quadrature import Lattice, TooManyPoints, Trapezoid, grow, sample_by_rejection

LOG_2PI = math.log(2 * math.pi)

SMALL = 4  # most coefficients for quadrature
GOAL = 1e-10  # nats by which the lattices may disagree
DROP, STEP = 34.0, 0.15  # of the lattices that marginals are read from; the step, in sds, times the dimension
WORK = 3_000_000  # most points of a lattice times rows, in hundreds

FREEDOM = 12  # degrees of freedom of the proposal
ROUNDS, DRAWS = 8, 4096  # proposed points: a scrambled Sobol sequence a round
EQUAL = 0.1  # least effective share of the proposed draws
SMOOTH = 0.05  # sds by which the draws' marginals are smoothed


class LogJoint:
    """log p(targets, coefficients) in nats, with its mode and the precision there; rows that are alike count once.

    Attributes:
        signed: Each row with its sign, which is + for class 1, shape (rows, d).
        counts: How often each is there, shape (rows,).
    """

    def __init__(self, data: LogisticData) -> None:
        signed = (2 * data.design.targets - 1)[:, None] * data.design.with_ones
        self.signed, self.counts = np.unique(signed, axis=0, return_counts=True)
        self.prior_sd, self.size = float(data.prior_sd), signed.shape[1]

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """At points of shape (n, d): shape (n,)."""
        pieces = np.array_split(values, len(values) * len(self.signed) // 2_000_000 + 1)
        likelihood = np.concatenate([special.log_expit(piece @ self.signed.T) @ self.counts for piece in pieces])
        prior = 0.5 * np.sum((values / self.prior_sd) ** 2, axis=1)
        return likelihood - prior - self.size * (0.5 * LOG_2PI + math.log(self.prior_sd))

    def precision(self, curvature: np.ndarray) -> np.ndarray:
        """That of a Gaussian whose rows have these curvatures, shape (rows,): (d, d)."""
        return (self.signed.T * (self.counts * curvature)) @ self.signed + np.eye(self.size) / self.prior_sd**2

    @cached_property
    def mode(self) -> np.ndarray:
        """By Newton's method, each step as long as it rises; shape (d,)."""
        mode = np.zeros(self.size)
        for _ in range(200):
            against = special.expit(-self.signed @ mode)
            gradient = (self.counts * against) @ self.signed - mode / self.prior_sd**2
            step = np.linalg.solve(self.precision(against * (1 - against)), gradient)
            if gradient @ step < 1e-24:
                break
            height = float(self(mode[None])[0])
            while self((mode + step)[None])[0] < height and np.abs(step).max() > 1e-12:
                step = step / 2
            mode = mode + step
        return mode

    @property
    def covariance(self) -> np.ndarray:
        """The Laplace approximation's, shape (d, d)."""
        against = special.expit(-self.signed @ self.mode)
        return np.linalg.inv(self.precision(against * (1 - against)))


class LogisticPosterior(Exact):
    """What both ways share. A subclass sets ``location`` and ``covariance``, the posterior's."""

    location: np.ndarray
    covariance: np.ndarray

    def __init__(self, data: LogisticData) -> None:
        self.data, self.log_joint = data, LogJoint(data)
        self.marginals: dict[int, Any] = {}

    def log_posterior(self, latents: Latents) -> np.ndarray:
        return self.log_joint(coefficients(latents)) - self.log_evidence

    def mean(self) -> dict[str, np.ndarray]:
        return sites(self.location)

    def sd(self) -> dict[str, np.ndarray]:
        return sites(np.sqrt(np.diagonal(self.covariance)))

    def moments(self, points: np.ndarray, logs: np.ndarray) -> None:
        """Take mean and covariance from weighted points."""
        shares = special.softmax(logs)
        self.location = shares @ points
        centred = points - self.location
        self.covariance = centred.T @ (shares[:, None] * centred)

    def extra_summary(self) -> dict[str, Any]:
        off = (self.log_joint.mode - self.location) / np.sqrt(np.diagonal(self.covariance))
        return {
            "mode less mean, in sds, the largest": float(off[np.abs(off).argmax()]),
            "the classes are separable": separation(self.data.design) or "no",
        }


class QuadraturePosterior(LogisticPosterior):
    """By the trapezoid rule on three lattices, whose disagreement is the tolerance."""

    def __init__(self, data: LogisticData) -> None:
        super().__init__(data)
        target = self.log_joint
        lattice = Lattice(target.mode, np.linalg.cholesky(target.covariance))
        limit = WORK / (1 + len(target.signed) / 100)
        for _ in range(4):
            lattice = lattice.fitted(*grow(target, lattice, target.mode[None], 15.0, limit))
        rule = Trapezoid(target, lattice, 0.8, target.mode[None], DROP, limit)
        while np.ptp(rule.log_integrals) > GOAL and (finer := rule.finer()) is not None:
            rule = finer
        self.rule, self.limit = rule, limit
        logs = np.concatenate([values for _, values in rule.grown])
        self.log_evidence = float(special.logsumexp(rule.log_integrals) - math.log(len(rule.log_integrals)))
        self.tolerance = float(np.ptp(rule.log_integrals)) + 1e-10
        self.method = f"quadrature: trapezoid, {len(logs):,} nodes"
        self.moments(rule.points(), logs)

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        return sites(self.rule.draw(rng, count))

    def marginal(self, site: str, index: tuple[int, ...] = ()) -> Marginal:
        """On a lattice of which one axis alone moves the element, and all others lie across it."""
        place = column_of(index)
        if place not in self.marginals:
            order = [place, *(j for j in range(len(self.location)) if j != place)]
            axes = np.zeros_like(self.covariance)
            axes[order] = STEP * len(order) * np.linalg.cholesky(self.covariance[np.ix_(order, order)])
            seed = self.log_joint.mode[None]
            indices, logs = grow(self.log_joint, Lattice(self.location, axes), seed, DROP, 8 * self.limit)
            first = int(indices[:, 0].min())
            masses = np.bincount(indices[:, 0].astype(int) - first, special.softmax(logs))
            places = self.location[place] + axes[place, 0] * (first + np.arange(len(masses)))
            self.marginals[place] = BandLimited(places, masses, float(axes[place, 0]))
        return self.marginals[place]


class ImportancePosterior(LogisticPosterior):
    """By importance sampling from a Student t, whose scrambled Sobol sequences disagree by the tolerance.

    Attributes:
        share: The effective share of the proposed draws: 1 where all weights are equal.
    """

    def __init__(self, data: LogisticData) -> None:
        super().__init__(data)
        self.location, self.covariance = self.log_joint.mode, self.log_joint.covariance
        self.propose_from()
        for number in range(2):
            points = self.points(number)
            self.logs = self.log_joint(points) - self.log_proposal(points)
            shares = special.softmax(self.logs)
            self.share = float(1 / np.sum(shares**2) / len(shares))
            self.moments(points, self.logs)
            if number == 0:
                self.propose_from()
        self.drawn = points
        each = special.logsumexp(self.logs.reshape(ROUNDS, DRAWS), axis=1) - math.log(DRAWS)
        self.log_evidence = float(special.logsumexp(each) - math.log(ROUNDS))
        self.tolerance = float(4 * each.std(ddof=1) / math.sqrt(ROUNDS))
        count = f"{ROUNDS * DRAWS:,} draws worth {self.share:.0%} of independent ones"
        self.method = f"importance sampling from a Student t, {count}"

    def propose_from(self) -> None:
        """Take mean and covariance for the proposal's."""
        self.centre, self.root = self.location, np.linalg.cholesky(self.covariance)

    def points(self, number: int) -> np.ndarray:
        """Proposed points by scrambled Sobol sequences, shape (ROUNDS * DRAWS, d)."""
        size = len(self.location)
        sequences = [stats.qmc.Sobol(size + 1, rng=np.random.default_rng([number, k])) for k in range(ROUNDS)]
        uniform = np.concatenate([sequence.random(DRAWS) for sequence in sequences]).clip(1e-12, 1 - 1e-12)
        return self.proposed(special.ndtri(uniform[:, 1:]), stats.chi2.ppf(uniform[:, 0], FREEDOM))

    def proposed(self, eps: np.ndarray, squares: np.ndarray) -> np.ndarray:
        return self.centre + (eps / np.sqrt(squares / FREEDOM)[:, None]) @ self.root.T

    def log_proposal(self, points: np.ndarray) -> np.ndarray:
        size = len(self.centre)
        eps = np.linalg.solve(self.root, (points - self.centre).T)
        log_det = float(np.log(np.diagonal(self.root)).sum())
        constant = special.gammaln((FREEDOM + size) / 2) - special.gammaln(FREEDOM / 2)
        constant -= size / 2 * math.log(FREEDOM * math.pi) + log_det
        return constant - (FREEDOM + size) / 2 * np.log1p(np.sum(eps**2, axis=0) / FREEDOM)

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        """Independent draws by rejection from the proposal."""
        ceiling = float(self.logs.max()) - self.log_evidence

        def propose(size: int) -> tuple[np.ndarray, np.ndarray]:
            points = self.proposed(rng.standard_normal((size, len(self.location))), rng.chisquare(FREEDOM, size))
            return points, self.log_joint(points) - self.log_proposal(points) - self.log_evidence - ceiling

        return sites(
            sample_by_rejection(propose, rng, count, lambda missing: math.ceil(missing * math.exp(ceiling)) + 99)
        )

    def marginal(self, site: str, index: tuple[int, ...] = ()) -> Marginal:
        """Of the weighted draws, smoothed a little, and drawn together as much."""
        place = column_of(index)
        if place not in self.marginals:
            mean, sd = self.location[place], math.sqrt(self.covariance[place, place])
            shrunk = mean + math.sqrt(1 - SMOOTH**2) * (self.drawn[:, place] - mean)
            spread = np.full(len(shrunk), SMOOTH * sd)
            self.marginals[place] = TabulatedMixture(shrunk, spread, special.softmax(self.logs))
        return self.marginals[place]


@lru_cache(maxsize=4)
def solved(data: LogisticData, content: tuple[bytes, ...]) -> Exact | Reference:
    """The posterior, computed once for each content of the data (a file's may change)."""
    if data.design.inputs.shape[1] < SMALL:
        try:
            posterior = QuadraturePosterior(data)
        except TooManyPoints:
            pass
        else:
            if posterior.tolerance < 1e-6:
                return posterior
    sampled = ImportancePosterior(data)
    return sampled if sampled.share >= EQUAL else Reference("NUTS on all coefficients")


def truth(data: LogisticData) -> Exact | Reference:
    """Quadrature up to four coefficients, else importance sampling; where neither is accurate, a long NUTS run."""
    return solved(data, (data.design.inputs.tobytes(), data.design.targets.tobytes()))
