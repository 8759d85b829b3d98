"""Runs a plan and keeps what it made."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from compare import report
from compare.cache.fits import FitCache
from compare.comparison import Fit, Job
from compare.execute.dispatch import spread
from compare.execute.processes import Workers
from compare.fit import run
from compare.measure import held_out
from compare.measure.held_out import weights
from compare.measure.measures import measure
from compare.measure.predictive import score
from compare.measure.truth import Truth, truth
from compare.options import Options
from compare.plan import best_member, family_of, plan, trainings
from compare.verdict.judge import complaints, judge
from compare.verdict.literature import published
from compare.verdict.without_truth import assess
from models.contract import Best, Claim, Model, Predictions, Scores

__all__ = ["Comparison", "compare"]

PACKAGES = ("numpyro", "jax", "pyro-ppl", "torch", "arviz_stats", "arviz_plots", "numpy", "scipy", "xarray")


@dataclass
class Comparison:
    """A model, its data, the truth, and every fit measured against it.

    ``truth`` is the exact posterior, or the reference where none is known; None where that could not be made.
    ``trainings`` learnt the model's own network, where it has one that was not given; the first that ended well gave
    it.
    """

    model: Model
    data: Any
    seed: int
    truth: Truth | None
    best: dict[str, Best | None]
    fits: dict[str, Fit]
    options: Options
    trainings: dict[str, Fit] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def reference_fit(self) -> str:
        """The name of the fit that the others are held against."""
        return next((name for name in ("exact", "reference") if name in self.fits), "exact")

    @property
    def called(self) -> str:
        """What that fit may be called: the truth, if it is exact."""
        return "truth" if self.reference_fit == "exact" else self.reference_fit


def compare(
    model: Model,
    data: Any,
    libraries: Sequence[str] = ("numpyro", "pyro"),
    families: Sequence[str] | None = None,
    nuts: bool = True,
    options: Options | None = None,
    seed: int = 0,
    helpers: Workers | None = None,
    progress: Callable[[str], None] = lambda line: None,
    kept: FitCache | None = None,
) -> Comparison:
    """Make every fit of the plan and measure it. A fit that fails is in the result as failed.

    ``helpers`` are those of `compare.execute.processes.workers`; without them every fit is made in this process. Fits
    that are in ``kept`` are not made again, and those that are made are put there as soon as they are.

    Raises:
        RuntimeError: the model's own network was to be learnt, and no training ended well.
    """
    options, helpers = options or Options(**model.defaults), helpers or Workers()
    start = time.perf_counter()
    learning = make(trainings(model, data, libraries, families, options, seed), helpers, progress, kept)
    data = with_network(model, data, learning)
    jobs = plan(model, data, libraries, families, nuts, options, seed)
    fits = make(jobs, helpers, progress, kept)
    known = truth(model, data, fits)
    families_of = {job.name: family_of(model, data, job) for job in jobs}
    best = {family: best_member(model, data, family) for family in sorted({one for one in families_of.values() if one})}
    comparison = Comparison(model, data, seed, known, best, fits, options, learning)
    family_gaps = {name: known.log_evidence - one.elbo for name, one in best.items() if one is not None}
    summaries = {name: measured_or_failed(fits, name, known, best.get(families_of[name])) for name in fits}
    chains = trusted_chains(summaries, options)
    for name, measured in summaries.items():
        measured["without_truth"] = assess(fits[name], measured, chains)
        measured["verdict"] = judge(measured, options, family_gaps, summaries.get("reference"))
    comparison.summary = {
        "schema": 1,
        "model": model.name,
        "seed": seed,
        "data": data.describe(),
        "versions": versions(),
        "log_evidence": evidence(known),
        "fits": summaries,
        "text": [
            {"claim": claim.claim, "truth": claim.truth, "agrees": bool(claim.agrees)} for claim in claims(model, data)
        ],
        "held_out": held_out.summary(model, data, fits, learning),
        "baselines": {name: score(one) for name, one in baselines(model, data).items()},
        "facts": known.extra_summary() if known else {},
        "notes": notes(data, jobs),
    }
    comparison.summary["published"] = published(model, data, comparison.summary, fits, known)
    comparison.summary["seconds"] = time.perf_counter() - start
    return comparison


def claims(model: Model, data: Any) -> list[Claim]:
    """The founding text's claims, judged; none where it does not speak of the model."""
    return model.literature.claims(data) if model.literature and model.literature.claims else []


def baselines(model: Model, data: Any) -> Mapping[str, Predictions | Scores]:
    """What simpler models predict, by name."""
    return model.prediction.baselines(data) if model.prediction and model.prediction.baselines else {}


def trusted_chains(summaries: dict[str, dict[str, Any]], options: Options) -> dict[str, Any] | None:
    """The summary of the first NUTS run that met its targets; None if none did."""
    runs = (one for one in summaries.values() if one["method"] == "nuts" and one["status"] == "done")
    return next((one for one in runs if not complaints(one, options, options.ess)), None)


def with_network(model: Model, data: Any, learning: dict[str, Fit]) -> Any:
    """The data with the network of the first training that ended well; as they are where none was to be learnt."""
    if not learning:
        return data
    done = next((fit for fit in learning.values() if fit.tree is not None), None)
    if done is None:
        name, fit = next(iter(learning.items()))
        raise RuntimeError(f"the network of {model.name} could not be learnt: {name}: {fit.reason}")
    return model.amortization.with_decoder(data, weights(done))


def evidence(known: Truth | None) -> dict[str, Any]:
    """The log evidence in the summary; null where it is not known."""
    if known is None:
        return {"value": None, "mcse": None, "method": "not known, and the reference was not made"}
    if known.log_evidence is None:
        return {"value": None, "mcse": None, "method": f"not known; the posterior is, by a reference: {known.method}"}
    return {"value": known.log_evidence, "mcse": 0.0, "method": known.method}


def make(
    jobs: Sequence[Job], helpers: Workers, progress: Callable[[str], None], kept: FitCache | None = None
) -> dict[str, Fit]:
    """Make every fit, in the order of the jobs: those of a library that has a helper there, the others here.

    Fits that are in ``kept`` are not made; the others are put there as soon as they are.
    """
    fits: dict[str, Fit] = {}

    def have(fit: Fit) -> None:
        fits[fit.job.name] = fit
        progress(f"{len(fits)} of {len(jobs)}: {fit.job.name} {'kept' if fit.cached else fit.status}")

    for job in jobs if kept else ():
        found = kept.load(job)
        if found:
            have(found)
    todo = [job for job in jobs if job.name not in fits]
    save = kept.save if kept else lambda fit: None
    elsewhere = {job.name: job for job in todo if job.reason is None and job.library in helpers.libraries}
    made = spread(list(elsewhere.values()), helpers, save)
    if helpers.plot_executor and todo:  # whoever draws imports what drawing needs while the last fits are made
        helpers.plot_executor.submit(report.prepare)
    for job in todo:
        if job.name not in elsewhere:
            fit = run(job)
            save(fit)
            have(fit)
    for fit in made:
        have(fit)
    return {job.name: fits[job.name] for job in jobs}


def measured_or_failed(fits: dict[str, Fit], name: str, known: Truth | None, best: Best | None) -> dict[str, Any]:
    """The fit's measures. Numbers that cannot be measured make it a failed fit, and cost no other fit theirs."""
    try:
        return measure(fits[name], known, best)
    except Exception as error:
        fits[name] = replace(fits[name], status="failed", reason=f"it could not be measured: {error}", tree=None)
        return measure(fits[name], known, None)


def notes(data: Any, jobs: Sequence[Job]) -> list[str]:
    """What a reader should know about the plan as a whole."""
    found = list(getattr(data, "notes", ()))
    size = sum(math.prod(shape) for shape in data.shapes().values())
    gaussian = [name for name in ("mean_field", "full_rank", "markov") if any(job.guide == name for job in jobs)]
    if size == 1 and len(gaussian) > 1:
        found.append(
            f"On one latent {' and '.join(gaussian)} are the same family: one Gaussian on the unconstrained latent"
        )
    return found


def versions() -> dict[str, str]:
    """The versions of the packages that made the numbers; those that are installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
