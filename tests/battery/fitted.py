"""Fits of tiny cases, each looked at in five ways: its verdict, its ledger, its density, its chains, its evidence.

Fits that differ in the seed alone are made together, in one vectorised call.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np
from conftest import side
from numpyro import handlers
from numpyro.distributions import biject_to
from scipy import stats

import models
from battery import ERRORS, Complaint, beyond, first
from battery.known import densities
from compare.comparison import Fit, Job
from compare.fit import run_many
from compare.measure.measures import measure
from compare.options import Options
from compare.plan import best_member, family_of
from compare.summary import to_json
from compare.verdict.judge import judge

__all__ = ["LOOKS", "Case", "complaints", "guides_differ", "said_density", "slopes_differ"]

OTHER = 1_000_000
"""A seed with which none of the others should share its draws."""


@dataclass(frozen=True)
class Case:
    """A fit that is made, and what must be said of it.

    ``word`` is its verdict's, None where it is not known beforehand. ``ratios`` are its sds over the true ones and
    ``correlations`` its correlations, where they are known in closed form; ``gap`` is the evidence gap of its family's
    best member, in nats.
    """

    name: str
    model: str
    data: Any
    method: str
    library: str | None = None
    guide: str | None = None
    word: str | None = "agrees"
    ratios: float | None = None
    correlations: float | None = None
    gap: float | None = None
    options: Options = field(default_factory=lambda: Options(budget=300.0))

    def job(self, seed: int) -> Job:
        return Job(self.name, self.model, self.data, self.method, self.library, self.guide, seed, self.options)


@lru_cache(maxsize=64)
def fitted(case: Case, seeds: tuple[int, ...]) -> list[tuple[Fit, dict[str, Any] | None]]:
    """The fits and their summaries as in ``summary.json``, verdict included; None of a fit that was not made."""
    model, result = models.load(case.model), []
    exact = model.exact(case.data)
    family = family_of(model, case.data, case.job(0))
    best = best_member(model, case.data, family) if family else None
    for fit in run_many([case.job(seed) for seed in seeds]):
        if fit.tree is None:
            result.append((fit, None))
            continue
        summary = measure(fit, exact, best)
        result.append((fit, to_json(replace(summary, verdict=judge(summary, case.options)))))
    return result


def complaints(case: Case, look: Callable[[Case, Fit, dict[str, Any]], Complaint], seeds: Sequence[int]):
    """What a look at each seed's fit finds wrong."""
    return [
        f"the fit {fit.status}: {fit.reason}" if summary is None else look(case, fit, summary)
        for fit, summary in fitted(case, tuple(seeds))
    ]


def verdict(case: Case, fit: Fit, summary: dict[str, Any]) -> Complaint:
    """The verdict, and what is known of the numbers it rests on."""
    judgement = summary["verdict"]
    expected = [case.word] if case.word else ["agrees", "off", "narrow", "wide"]
    if judgement["word"] not in expected:
        return f"verdict {judgement['word']!r} instead of {' or '.join(map(repr, expected))}: {judgement['sentence']}"
    looks = []
    for name, entry in summary["variables"].items():
        if case.ratios is not None:
            room = ERRORS * entry["mcse_sd_ratio"]
            looks.append(beyond(f"sd ratio of {name}", entry["sd_ratio"], case.ratios, room))
    for pair, entry in summary["correlations"].items():
        if case.correlations is not None:
            room = ERRORS * entry["mcse"] + 1e-9
            looks.append(beyond(f"correlation of {pair}", entry["value"], case.correlations, room))
    if case.gap is not None:
        looks.append(beyond("family gap", summary["ledger"]["family_gap"]["value"], case.gap, 1e-8))
    return first(looks)


def statistic(fit: Fit, name: str) -> np.ndarray:
    return fit.tree["sample_stats"][name].values.ravel()


def latents(fit: Fit) -> dict[str, np.ndarray]:
    """The draws by site, shape (count, *site)."""
    draws = fit.tree["posterior"].dataset
    return {site: draws[site].values.reshape(-1, *draws[site].shape[2:]) for site in fit.job.layout.latents}


def mean_of(values: np.ndarray) -> tuple[float, float]:
    """The mean of independent draws, and its standard error."""
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(values.size))


def ledger(case: Case, fit: Fit, summary: dict[str, Any]) -> Complaint:
    """Both equations to rounding, every term by the draws and the closed form's densities, no ELBO above the evidence.

    What the fit says it is short of its family's best member is what it is short of the known one. That is held to the
    error of independent draws: the ELBO's own is smaller, but it is estimated from 16 batches whose means are skewed.
    """
    terms = {term: (entry or {"value": 0.0})["value"] for term, entry in summary["ledger"].items()}
    exact = models.load(case.model).exact(case.data)
    error = {term: entry["mcse"] for term, entry in summary["ledger"].items() if entry}
    draws, log_guide = latents(fit), statistic(fit, "log_guide")
    other = "numpyro" if fit.job.library == "pyro" else "pyro"
    log_prior, log_likelihood = densities(case.model, case.data, other, draws)
    log_joint = exact.log_evidence + exact.log_posterior(draws)
    by_draws = {
        "elbo": log_joint - log_guide,
        "data_fit": log_likelihood,
        "complexity": log_guide - log_prior,
    }
    parts = sum(terms[f"{part}_gap"] for part in ("symmetry", "family", "amortisation", "optimisation"))
    is_split = summary["ledger"]["family_gap"] is not None  # into parts only where the best member is known
    looks = [
        beyond("log joint", log_prior + log_likelihood, log_joint, 1e-9 * np.maximum(1.0, np.abs(log_joint))),
        beyond("ELBO by its parts", terms["data_fit"] - terms["complexity"], terms["elbo"], 1e-9),
        beyond("evidence gap by its parts", parts, terms["evidence_gap"], 1e-9) if is_split else None,
        beyond("evidence gap", terms["evidence_gap"], exact.log_evidence - terms["elbo"], 1e-9),
    ]
    for term, values in by_draws.items():
        value, own = mean_of(values)
        looks.append(beyond(term.replace("_", " "), terms[term], value, ERRORS * math.hypot(own, error[term]) + 1e-9))
    above = terms["elbo"] - exact.log_evidence
    if above > ERRORS * error["elbo"] + 1e-9:
        looks.append(f"the ELBO is {above:.3g} nats above the log evidence")
    if fit.job.method == "svi":
        gap, is_converged = summary["optimisation"]["gap"], summary["optimisation"]["converged"]
        if gap is None:
            return "the fit does not say how far it is from the optimum"
        if is_converged and gap["value"] + 2 * gap["mcse"] > 1.0001 * case.options.tolerance:
            return f"it is called converged, yet itself finds it {gap['value']:.2g} ± {gap['mcse']:.1g} nats short"
        if is_converged and terms["optimisation_gap"] > case.options.tolerance + ERRORS * mean_of(by_draws["elbo"])[1]:
            return f"it is called converged {terms['optimisation_gap']:.2g} nats from the optimum"
        room = ERRORS * math.hypot(gap["mcse"], mean_of(by_draws["elbo"])[1]) + 1e-9
        looks.append(beyond("optimisation gap", gap["value"], terms["optimisation_gap"], room))
    return first(looks)


def density(case: Case, fit: Fit, summary: dict[str, Any]) -> Complaint:
    """The draws have the density that is said of them."""
    draws, log_density = flat(case, latents(fit), statistic(fit, "log_guide"))
    return of_another_density(draws, log_density)


@lru_cache(maxsize=32)
def transforms(name: str, data: Any) -> dict[str, Any]:
    """NumPyro's maps from unconstrained space to each latent's support."""
    side("numpyro")  # which turns float64 on
    program = handlers.seed(import_module(f"models.{name}.in_numpyro").model, 0)
    sites = handlers.trace(program).get_trace(**data.arguments()).values()
    return {
        site["name"]: biject_to(site["fn"].support)
        for site in sites
        if site["type"] == "sample" and not site["is_observed"]
    }


def flat(case: Case, draws: dict[str, np.ndarray], log_density: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The draws in an unconstrained space, shape (n_draws, d), and their log density there."""
    columns = []
    for site, transform in transforms(case.model, case.data).items():
        free = transform.inv(draws[site])
        slopes = np.asarray(transform.log_abs_det_jacobian(free, draws[site])).reshape(len(free), -1)
        log_density = log_density + slopes.sum(axis=1)
        columns.append(np.asarray(free).reshape(len(free), -1))
    return np.concatenate(columns, axis=1), log_density


def of_another_density(draws: np.ndarray, log_density: np.ndarray) -> Complaint:
    """Whether draws, shape (count, d), do not have the log density, shape (count,), that is said of them.

    For any density r, E_q[r / q] = 1 and E_q[r / q (z - mean of r)] = 0. Here r is a Gaussian with the mean of one half
    of the draws and 0.7 of its covariance, so that r / q is bounded where q is about Gaussian; tried on the other half.
    """
    half = len(draws) // 2
    rng = np.random.default_rng(0)  # the halves are drawn by lot: the order of draws may be designed
    order = rng.permutation(len(draws))
    known, tried = draws[order[:half]], order[half:]
    reference = stats.multivariate_normal(known.mean(axis=0), 0.7 * np.atleast_2d(np.cov(known.T)))
    weights = np.exp(reference.logpdf(draws[tried]) - log_density[tried])
    share = weights.max() / weights.sum()
    if not share < 0.05:
        return f"one draw in {len(weights)} has {share:.0%} of the weight: the draws are not where their density is"
    value, error = mean_of(weights)
    looks = [beyond("integral of a density, by the guide's draws and their density", value, 1.0, ERRORS * error + 1e-9)]
    for axis, scaled in enumerate(((draws[tried] - known.mean(axis=0)) / known.std(axis=0)).T):
        value, error = mean_of(weights * scaled)
        looks.append(beyond(f"mean of a density along axis {axis}", value, 0.0, ERRORS * error + 1e-9))
    return first(looks)


def chains(case: Case, fit: Fit, summary: dict[str, Any]) -> Complaint:
    """No draw is there twice, another seed has other draws, and a sampler's adaptation ended before its first draw."""
    draws = np.concatenate([value.reshape(len(value), -1) for value in latents(fit).values()], axis=1)
    count = fit.tree["posterior"].sizes["draw"]
    for number in range(fit.tree["posterior"].sizes["chain"]):
        chain = draws[number * count : (number + 1) * count]
        if len(np.unique(chain, axis=0)) < 0.5 * count:  # a rejected proposal repeats a draw of NUTS, but not so often
            return f"chain {number} has {len(np.unique(chain, axis=0))} different draws of {count}"
        for other in range(number):
            shared = np.isin(chain[:, 0], draws[other * count : (other + 1) * count, 0]).mean()
            if shared > 0.01:
                return f"chains {other} and {number} share {shared:.0%} of their draws"
    if fit.job.method == "nuts":
        step_size = fit.tree["sample_stats"]["step_size"].values
        if not (step_size == step_size[:, :1]).all():
            return "the step size still changes: the warm-up is among the draws"
        rate = float(fit.tree["sample_stats"]["acceptance_rate"].mean())
        target = fit.job.options.acceptance
        if not target - 0.2 < rate < 1 - (1 - target) / 20:
            return f"the rate of acceptance is {rate:.2f}, where {target:g} was asked for"
    ((other, _),) = fitted(case, (OTHER,))
    if np.isin(np.concatenate([value.ravel() for value in latents(other).values()]), draws).mean() > 0.01:
        return "another seed has the same draws"
    return None


def evidence(case: Case, fit: Fit, summary: dict[str, Any]) -> Complaint:
    """The log of the mean importance weight is the log evidence, where the guide is close to the posterior."""
    log_weights = statistic(fit, "log_joint") - statistic(fit, "log_guide")
    value, error = mean_of(np.exp(log_weights - log_weights.max()))
    estimate = log_weights.max() + math.log(value)
    truth = models.load(case.model).exact(case.data).log_evidence
    return beyond("importance-weighted evidence", estimate, truth, ERRORS * error / value + 1e-9)


LOOKS = {look.__name__: look for look in (verdict, ledger, density, chains, evidence)}


def at_random(case: Case, library: Any, seed: int) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray], Any]:
    """A guide at parameters about where it starts: its base draws, their log ratios, latents, and the parameters."""
    arguments, static = library.split_arguments(case.data.arguments())
    objective = library.prepare(case.model, case.guide, static, arguments)
    start = objective.start(0, arguments)
    rng = np.random.default_rng(seed)
    parameters = {name: moved(name, start[name], rng) for name in sorted(start)}
    eps = rng.standard_normal((4096, objective.dimension))
    evaluation = objective.evaluate(parameters, eps, arguments)
    return eps, evaluation.log_ratio, evaluation.latents, parameters


def moved(name: str, value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A parameter somewhere else: positive where it must be, and triangular factors triangular."""
    shape = np.shape(value)
    if name in ("scale", "diagonal"):
        return rng.uniform(0.3, 1.5, shape)
    if name == "scale_tril" or name.startswith(("rows", "columns")):
        return np.tril(0.4 * rng.standard_normal(shape), -1) + np.diag(rng.uniform(0.3, 1.5, shape[0]))
    return 0.5 * rng.standard_normal(shape)


def said_density(case: Case, library: Any, seed: int) -> Complaint:
    """A guide at parameters of no meaning: its draws have the density that is said of them.

    Of a Gaussian guide that is known draw by draw: z = m + J eps has log q(z) = log N(eps; 0, I) - log |det J|.
    """
    eps, log_ratio, draws, parameters = at_random(case, library, seed)
    arguments, static = library.split_arguments(case.data.arguments())
    log_prior, log_likelihood = library.density(case.model, static)(draws, arguments)
    z, log_density = flat(case, draws, log_prior + log_likelihood - log_ratio)
    if "location" not in parameters:
        return of_another_density(z, log_density)
    slope = np.linalg.lstsq(eps - eps.mean(axis=0), z - z.mean(axis=0), rcond=None)[0]
    truth = stats.norm.logpdf(eps).sum(axis=1) - np.linalg.slogdet(slope)[1]
    return beyond("log density of a draw", log_density, truth, 1e-8 * np.maximum(1.0, np.abs(log_ratio)))


def slopes_differ(case: Case, library: Any, seed: int) -> Complaint:
    """The gradient of -ELBO along some directions, by differences at the same draws.

    They are within one sd: far out a Beta's draw is so close to 1 that its own rounding is all that differences see.
    """
    arguments, static = library.split_arguments(case.data.arguments())
    objective = library.prepare(case.model, case.guide, static, arguments)
    start = objective.start(0, arguments)
    rng, step = np.random.default_rng(seed), 1e-4
    parameters = {name: moved(name, start[name], rng) for name in sorted(start)}
    eps = rng.uniform(-1, 1, (64, objective.dimension))
    total = objective.evaluate(parameters, eps, arguments).total
    for _ in range(3):
        direction = {
            name: np.where(value == 0, 0.0, rng.standard_normal(value.shape)) for name, value in parameters.items()
        }
        ahead, behind = (
            -objective.evaluate(
                {name: value + sign * step * direction[name] for name, value in parameters.items()}, eps, arguments
            ).log_ratio.mean()
            for sign in (1, -1)
        )
        slope = sum(float(np.sum(total[name] * direction[name])) for name in direction)
        truth, size = (ahead - behind) / (2 * step), max(1.0, abs(ahead))
        complaint = beyond("slope of the ELBO", slope, truth, 1e-5 * max(abs(truth), size))
        if complaint:
            return complaint
    return None


def guides_differ(case: Case, libraries: Sequence[Any], seed: int) -> Complaint:
    """The same parameters and base draws give the same latents and the same log ratios in both libraries."""
    ours, theirs = (at_random(case, library, seed) for library in libraries)
    for name in ours[3]:
        complaint = beyond(f"starting shape of {name}", np.shape(ours[3][name]), np.shape(theirs[3][name]), 0)
        if complaint:
            return complaint
    looks = [beyond(f"draws of {site}", ours[2][site], theirs[2][site], 1e-9) for site in ours[2]]
    size = 1e-9 * np.maximum(1.0, np.abs(ours[1]))
    return first([*looks, beyond("log ratios of the libraries", ours[1], theirs[1], size)])
