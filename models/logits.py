"""Normal coefficients whose linear functions are the logits of classes, and their posterior.

    w ~ N(0, prior_sd^2 I),  targets ~ Bernoulli(logits = features w)

A logistic regression is of this kind, and so is a Gaussian process that is seen through classes, whose features are its
Cholesky factor. The log joint is concave, so that it has one mode, and the sum over a lattice around that mode
converges exponentially: quadrature up to four coefficients. Beyond, draws are proposed from a Student t with the mean
and the covariance that a first round of draws has found around the Laplace approximation, and from that itself in
directions along which the classes add next to nothing; where their weights are too unequal nothing is called exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from scipy import special, stats

from models.contract import Exact, Latents, Marginal
from models.marginals import BandLimited, TabulatedMixture
from models.quadrature import Lattice, TooManyPoints, Trapezoid, grow, sample_by_rejection

LOG_2PI = math.log(2 * math.pi)

SMALL = 4  # most coefficients for quadrature
GOAL = 1e-10  # nats by which the lattices may disagree
DROP, STEP = 34.0, 0.15  # of the lattices that marginals are read from; the step, in sds, times the dimension
WORK = 3_000_000  # most points of a lattice times rows, in hundreds

FREEDOM = 12  # degrees of freedom of the proposal
ROUNDS, DRAWS = 8, 4096  # proposed points: a scrambled Sobol sequence a round
LEAST_INFORMATION = 0.01  # share of the prior's precision that the classes must add along a direction
EQUAL = 0.1  # least effective share of the proposed draws
SMOOTH = 0.05  # sds by which the draws' marginals are smoothed


class Logits:
    """log p(targets, w) in nats, with its mode and the precision there; rows that are alike count once.

    A model gives ``maps``, `coefficients` and, where w is not what it calls its latents, ``log_volume``.

    Attributes:
        signed: Each row of features with its sign, which is + for class 1, shape (rows, d).
        counts: How often each is there, shape (rows,).
        maps: By site the linear map from w to its values, shape (*site, d); the sites that are derived too.
        latents: The sites that are the model's latents.
        log_volume: log |d latents / d w|.
        left_over: Variance of each logit beside what w gives it, shape (rows,), for bounds; the log joint has none.
    """

    maps: Mapping[str, np.ndarray]
    latents: tuple[str, ...]
    log_volume = 0.0
    left_over: float | np.ndarray = 0.0

    def __init__(self, features: np.ndarray, targets: np.ndarray, prior_sd: float) -> None:
        signed = (2 * targets - 1)[:, None] * features
        self.signed, self.counts = np.unique(signed, axis=0, return_counts=True)
        self.prior_sd, self.size = float(prior_sd), signed.shape[1]

    def coefficients(self, latents: Latents) -> np.ndarray:
        """w of draws of the latents, shape (n_draws, d)."""
        raise NotImplementedError

    def sites(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """The latents of w, shape (n_draws, d): the inverse of `coefficients`."""
        return {site: values @ self.maps[site].T for site in self.latents}

    def extras(self) -> dict[str, Any]:
        """What else is worth printing, in JSON's types."""
        return {}

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """At points of shape (n, d): shape (n,)."""
        pieces = np.array_split(values, len(values) * len(self.signed) // 2_000_000 + 1)
        likelihood = np.concatenate([special.log_expit(piece @ self.signed.T) @ self.counts for piece in pieces])
        prior = 0.5 * np.sum((values / self.prior_sd) ** 2, axis=1)
        return likelihood - prior - self.size * (0.5 * LOG_2PI + math.log(self.prior_sd))

    def precision(self, curvature: np.ndarray) -> np.ndarray:
        """The precision, (d, d), of a Gaussian whose rows have these curvatures, shape (rows,)."""
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


class LogitsPosterior(Exact):
    """What both ways share. A subclass sets ``location`` and ``covariance``, the posterior's.

    Attributes:
        n_effective: Independent draws that they are worth.
    """

    location: np.ndarray
    covariance: np.ndarray
    n_effective = math.inf

    def __init__(self, target: Logits) -> None:
        self.log_joint = target
        self.marginals: dict[tuple[str, tuple[int, ...]], Any] = {}

    def log_posterior(self, latents: Latents) -> np.ndarray:
        target = self.log_joint
        return target(target.coefficients(latents)) - target.log_volume - self.log_evidence

    def mean(self) -> dict[str, np.ndarray]:
        return {site: rows @ self.location for site, rows in self.log_joint.maps.items()}

    def sd(self) -> dict[str, np.ndarray]:
        variances = {site: np.sum((rows @ self.covariance) * rows, -1) for site, rows in self.log_joint.maps.items()}
        return {site: np.sqrt(variance) for site, variance in variances.items()}

    @property
    def _shapes(self) -> dict[str, tuple[int, ...]]:  # type: ignore[override]
        """The latents' shapes, and those of what is derived."""
        return {site: rows.shape[:-1] for site, rows in self.log_joint.maps.items()}

    def moments(self, points: np.ndarray, logs: np.ndarray) -> None:
        """Take mean and covariance from weighted points."""
        shares = special.softmax(logs)
        self.location = shares @ points
        centred = points - self.location
        self.covariance = centred.T @ (shares[:, None] * centred)

    def extra_summary(self) -> dict[str, Any]:
        target, sds = self.log_joint, self.sd()
        parts = [rows @ (target.mode - self.location) / sds[site] for site, rows in target.maps.items()]
        off = np.concatenate([np.atleast_1d(part) for part in parts])
        return {"mode less mean, in sds, the largest": float(off[np.abs(off).argmax()]), **target.extras()}


class QuadraturePosterior(LogitsPosterior):
    """By the trapezoid rule on three lattices, whose disagreement is the tolerance."""

    def __init__(self, target: Logits) -> None:
        super().__init__(target)
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
        return self.log_joint.sites(self.rule.draw(rng, count))

    def marginal(self, site: str, index: tuple[int, ...] = ()) -> Marginal:
        """On a lattice of which one axis alone moves the element, and all others lie across it."""
        if (site, index) not in self.marginals:
            along = self.log_joint.maps[site][index]
            turn = np.eye(len(along))
            turn[np.abs(along).argmax()] = turn[0]
            turn[0] = along
            root = STEP * len(along) * np.linalg.cholesky(turn @ self.covariance @ turn.T)
            lattice, seed = Lattice(self.location, np.linalg.solve(turn, root)), self.log_joint.mode[None]
            indices, logs = grow(self.log_joint, lattice, seed, DROP, 8 * self.limit)
            first = int(indices[:, 0].min())
            masses = np.bincount(indices[:, 0].astype(int) - first, special.softmax(logs))
            places = along @ self.location + root[0, 0] * (first + np.arange(len(masses)))
            self.marginals[site, index] = BandLimited(places, masses, float(root[0, 0]))
        return self.marginals[site, index]


class ImportancePosterior(LogitsPosterior):
    """By importance sampling, a Student t where the classes tell of w, whose Sobol sequences disagree by the tolerance.

    Attributes:
        share: The effective share of the proposed draws: 1 where all weights are equal.
    """

    def __init__(self, target: Logits) -> None:
        super().__init__(target)
        self.location, self.covariance = target.mode, target.covariance
        self.basis, self.sds, self.n_informed = directions(target)
        self.propose_from()
        for number in range(2):
            points = self.points(number)
            self.logs = target(points) - self.log_proposal(points)
            shares = special.softmax(self.logs)
            self.share = float(1 / np.sum(shares**2) / len(shares))
            self.moments(points, self.logs)
            if number == 0:
                self.propose_from()
        self.drawn, self.n_effective = points, self.share * len(points)
        each = special.logsumexp(self.logs.reshape(ROUNDS, DRAWS), axis=1) - math.log(DRAWS)
        self.log_evidence = float(special.logsumexp(each) - math.log(ROUNDS))
        self.tolerance = float(4 * each.std(ddof=1) / math.sqrt(ROUNDS))
        count = f"{ROUNDS * DRAWS:,} draws worth {self.share:.0%} of independent ones"
        self.method = f"importance sampling from a Student t, {count}"

    def propose_from(self) -> None:
        """Take mean and covariance for the proposal's, where the classes tell of w; Laplace's elsewhere."""
        informed, quiet = np.split(self.basis, [self.n_informed], axis=1)
        self.centre = informed @ (informed.T @ self.location) + quiet @ (quiet.T @ self.log_joint.mode)
        self.root = self.basis * self.sds
        self.root[:, : self.n_informed] = informed @ np.linalg.cholesky(informed.T @ self.covariance @ informed)

    def points(self, number: int) -> np.ndarray:
        """Proposed points by scrambled Sobol sequences, shape (ROUNDS * DRAWS, d)."""
        size = len(self.location)
        sequences = [stats.qmc.Sobol(size + 1, rng=np.random.default_rng([number, k])) for k in range(ROUNDS)]
        uniform = np.concatenate([sequence.random(DRAWS) for sequence in sequences]).clip(1e-12, 1 - 1e-12)
        return self.proposed(special.ndtri(uniform[:, 1:]), stats.chi2.ppf(uniform[:, 0], FREEDOM))

    def proposed(self, eps: np.ndarray, squares: np.ndarray) -> np.ndarray:
        eps = eps.copy()
        eps[:, : self.n_informed] /= np.sqrt(squares / FREEDOM)[:, None]
        return self.centre + eps @ self.root.T

    def log_proposal(self, points: np.ndarray) -> np.ndarray:
        n, size = self.n_informed, len(self.centre)
        eps = np.linalg.solve(self.root, (points - self.centre).T) ** 2
        constant = special.gammaln((FREEDOM + n) / 2) - special.gammaln(FREEDOM / 2)
        constant -= n / 2 * math.log(FREEDOM * math.pi) + (size - n) / 2 * LOG_2PI
        constant -= np.linalg.slogdet(self.root)[1]
        student = (FREEDOM + n) / 2 * np.log1p(np.sum(eps[:n], axis=0) / FREEDOM)
        return constant - student - 0.5 * np.sum(eps[n:], axis=0)

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        """Independent draws by rejection from the proposal."""
        ceiling = float(self.logs.max()) - self.log_evidence

        def propose(size: int) -> tuple[np.ndarray, np.ndarray]:
            points = self.proposed(rng.standard_normal((size, len(self.location))), rng.chisquare(FREEDOM, size))
            return points, self.log_joint(points) - self.log_proposal(points) - self.log_evidence - ceiling

        return self.log_joint.sites(
            sample_by_rejection(propose, rng, count, lambda missing: math.ceil(missing * math.exp(ceiling)) + 99)
        )

    def marginal(self, site: str, index: tuple[int, ...] = ()) -> Marginal:
        """The marginal of the weighted draws, smoothed a little and shrunk by as much."""
        if (site, index) not in self.marginals:
            along = self.log_joint.maps[site][index]
            mean, sd = along @ self.location, math.sqrt(along @ self.covariance @ along)
            shrunk = mean + math.sqrt(1 - SMOOTH**2) * (self.drawn @ along - mean)
            spread = np.full(len(shrunk), SMOOTH * sd)
            self.marginals[site, index] = TabulatedMixture(shrunk, spread, special.softmax(self.logs))
        return self.marginals[site, index]


def directions(target: Logits) -> tuple[np.ndarray, np.ndarray, int]:
    """Orthogonal directions (d, d), those that the classes tell of first, Laplace's sds along them, and their number.

    They tell of a direction where the precision is over the prior's by more than the share `LEAST_INFORMATION`.
    """
    values, vectors = np.linalg.eigh(np.linalg.inv(target.covariance) * target.prior_sd**2)
    n_informed = int(np.sum(values > 1 + LEAST_INFORMATION))
    if n_informed == target.size:
        return np.eye(target.size), np.sqrt(np.diagonal(target.covariance)), n_informed
    return vectors[:, ::-1], target.prior_sd / np.sqrt(values[::-1]), n_informed


def posterior(target: Logits) -> Exact | None:
    """Quadrature up to four coefficients, else importance sampling; None where neither is accurate."""
    if target.size <= SMALL:
        try:
            integrated = QuadraturePosterior(target)
        except TooManyPoints:
            pass
        else:
            if integrated.tolerance < 1e-6:
                return integrated
    sampled = ImportancePosterior(target)
    return sampled if sampled.share >= EQUAL else None
