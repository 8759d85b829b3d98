"""A request in, a comparison out: plan, fit, measure, judge. Nothing else knows this order."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from compare.best import best_draws
from compare.cache.fit_cache import FitCache
from compare.cache.keys import versions
from compare.comparison import Comparison, Fit, Job, Layout, Request, Truth
from compare.execute.dispatch import dispatch
from compare.execute.processes import Workers
from compare.execute.progress import Progress, silent
from compare.fit import run
from compare.fit.reference.solve import with_posterior
from compare.measure.held_out import held_out, weights
from compare.measure.measures import measure
from compare.measure.model_check import check_model
from compare.measure.predictive import score
from compare.measure.truth import evidence, find_truth
from compare.messages import one_line
from compare.options import Options
from compare.plan import best_member, family_of, plan, seconds_at_most, trainings
from compare.summary import ABSENT, Evidence, FitSummary, ModelCheck, Score
from compare.verdict.bound import judge_bound
from compare.verdict.contradictions import find_contradictions
from compare.verdict.decision import judge_loss
from compare.verdict.drift import judge_drift
from compare.verdict.judge import complaints, judge
from compare.verdict.literature import published
from compare.verdict.members import beside_members
from compare.verdict.model_check import judge_model
from compare.verdict.thresholds import is_short
from compare.verdict.without_truth import assess
from models.contract import Best, Claim, Model

PACKAGES = ("numpyro", "jax", "pyro-ppl", "torch", "arviz_stats", "arviz_plots", "numpy", "scipy", "xarray")
"""The packages whose versions a summary states."""


def compare(
    request: Request,
    helpers: Workers | None = None,
    progress: Progress = silent,
    cache: FitCache | None = None,
    on_dispatch: Callable[[], Any] = lambda: None,
) -> Comparison:
    """Make every fit of the plan, measure and judge it. A fit that fails is in the result as failed.

    Args:
        request: The model, its data, and the fits to make.
        helpers: Processes beside this one, of `compare.execute.processes.workers`; without them all is done here.
        progress: Called with what is being done, and how far all of it is.
        cache: Fits that it holds are not made again, and those that are made are put there as soon as they are.
        on_dispatch: Called once the fits have been handed to the helpers, for work that can go on beside them.

    Raises:
        RuntimeError: the model's own network was to be trained, and no training ended well.
    """
    start = time.perf_counter()
    helpers = helpers or Workers()
    trained = make_fits(trainings(request), helpers, progress, cache, on_dispatch)
    request = replace(request, data=with_network(request.model, request.data, trained))
    progress("looking for the modes of the posterior and its mass")
    request = replace(request, data=with_posterior(request))
    jobs = plan(request)
    fits = make_fits(jobs, helpers, progress, cache, on_dispatch)
    progress("measuring and judging", len(jobs), len(jobs))
    truth = find_truth(request.model, request.data, fits)
    families = {job.name: family for job in jobs if (family := family_of(request.model, request.data, job))}
    best = {family: best_member(request.model, request.data, family) for family in sorted(set(families.values()))}
    measured = {name: measured_or_failed(fit, truth, best.get(families.get(name, ""))) for name, fit in fits.items()}
    fits, known = {name: fit for name, (fit, _) in measured.items()}, evidence(truth, jobs[0].layout.improper)
    summaries = beside_members({name: summary for name, (_, summary) in measured.items()}, request.options)
    comparison = Comparison(
        request,
        truth,
        best,
        fits,
        trained,
        judge_all(fits, summaries, family_gaps(truth, best), known, request.options),
        log_evidence=known,
        claims=claims(request.model, request.data),
        held_out=held_out(request.model, request.data, fits, trained),
        baselines=baselines(request.model, request.data),
        extra=truth.extra_summary() if truth else {},
        notes=notes(jobs, fits),
        versions=versions(PACKAGES),
    )
    comparison = replace(comparison, published=published(comparison), model_check=model_check(comparison))
    return replace(comparison, seconds=time.perf_counter() - start)


def make_fits(
    jobs: Sequence[Job],
    helpers: Workers,
    progress: Progress,
    cache: FitCache | None = None,
    on_dispatch: Callable[[], Any] = lambda: None,
) -> dict[str, Fit]:
    """Make every fit, in the order of the jobs: those of a library that has a helper there, the others here."""
    fits, elsewhere = dict[str, Fit](), dict[str, Job]()

    def receive(fit: Fit) -> None:
        fits[fit.job.name] = fit
        show()

    def show(now: Job | None = None) -> None:
        """What is being made, how many are, and the seconds that the rest may take."""
        waiting = [job for job in jobs if job.name not in fits]
        if waiting:
            sides = [job for job in waiting if job.name in elsewhere], [j for j in waiting if j.name not in elsewhere]
            seconds = max(sum(map(seconds_at_most, side)) for side in sides)
            what = (now or waiting[0]).name
            progress(f"{what} ({len(fits)} of {len(jobs)} fits, up to {seconds:,.0f} s)", len(fits), len(jobs))

    for fit in map(cache.load, jobs) if cache else ():
        if fit:
            receive(fit)
    missing = [job for job in jobs if job.name not in fits]
    save = cache.save if cache else lambda fit: None
    at_hand = [job.name for job in missing if job.reason is not None or job.is_brought]
    helpers = beside_a_reference(missing, helpers)
    movable = [job for job in missing if job.name not in at_hand and job.library in helpers.libraries]
    elsewhere |= {job.name: job for job in movable if not (helpers.beside and job.method == "reference")}
    arriving = dispatch(list(elsewhere.values()), helpers, save)
    if missing:
        on_dispatch()
    for job in missing:
        if job.name not in elsewhere:
            show(job)
            fit = run(job)
            save(fit)
            receive(fit)
    for fit in arriving:
        receive(fit)
    return {job.name: fits[job.name] for job in jobs}


def beside_a_reference(jobs: Sequence[Job], helpers: Workers) -> Workers:
    """The helpers; all fits beside a long reference, which is made here, are those of the helper for that, if any.

    Data that cannot be sent, such as a function among a model's arguments, stay here with all fits.
    """
    is_long = any(job.method == "reference" and job.reason is None for job in jobs)
    if helpers.beside is not None and is_long and can_be_sent(jobs):
        return replace(helpers, libraries={job.library: helpers.beside for job in jobs if job.library})
    return replace(helpers, beside=None)


def can_be_sent(jobs: Sequence[Job]) -> bool:
    """Whether another process can be given the jobs."""
    try:
        return bool(pickle.dumps(jobs))
    except Exception:  # whatever a user's object raises
        return False


def with_network(model: Model, data: Any, trained: Mapping[str, Fit]) -> Any:
    """The data with the network of the first training that ended well; as they are where none was to be trained."""
    if not trained or model.amortization is None:
        return data
    done = next((fit for fit in trained.values() if fit.tree is not None), None)
    if done is None:
        name, fit = next(iter(trained.items()))
        raise RuntimeError(f"the network of {model.name} could not be trained: {name}: {fit.reason}")
    return model.amortization.with_decoder(data, weights(done))


def model_check(comparison: Comparison) -> ModelCheck:
    """Whether the model fits its data, by the best draws of its posterior that there are."""
    best = best_draws(comparison)
    if best.fit is None:
        return ModelCheck(None, best.why)
    is_weighted = comparison.summaries[best.fit].optimisation is not None
    try:
        return judge_model(check_model(best.fit, best.why, comparison.fits[best.fit].tree, is_weighted))
    except Exception as error:  # a check that cannot be made costs nobody a comparison
        return ModelCheck(best.fit, one_line(error, bare=True))


def claims(model: Model, data: Any) -> tuple[Claim, ...]:
    """The founding text's claims, judged; none where it does not speak of the model."""
    return tuple(model.literature.claims(data)) if model.literature and model.literature.claims else ()


def baselines(model: Model, data: Any) -> dict[str, dict[str, Score]]:
    """The scores of simpler models by name."""
    known = model.prediction.baselines(data) if model.prediction and model.prediction.baselines else {}
    return {name: score(predictions) for name, predictions in known.items()}


def family_gaps(truth: Truth | None, best: Mapping[str, Best | None]) -> dict[str, float]:
    """log p(x) - ELBO(q*) in nats of each family whose best member q* is known."""
    known = truth.log_evidence if truth else None
    return {name: known - q.elbo for name, q in best.items() if q and known is not None}


def measured_or_failed(fit: Fit, truth: Truth | None, best: Best | None) -> tuple[Fit, FitSummary]:
    """The fit and its numbers. One that cannot be measured is a failed fit, and costs no other fit its numbers."""
    try:
        return fit, measure(fit, truth, best)
    except Exception as error:
        fit = replace(fit, status="failed", reason=f"it could not be measured: {error}", tree=ABSENT)
        return fit, measure(fit, truth, None)


def judge_all(
    fits: Mapping[str, Fit],
    summaries: Mapping[str, FitSummary],
    gaps: Mapping[str, float],
    known: Evidence,
    options: Options,
) -> dict[str, FitSummary]:
    """The summaries with both verdicts: without the truth, and with it."""
    chains = trusted_chains(summaries, options)
    unaided = {
        name: replace(summary, without_truth=assess(fits[name], summary, chains)) for name, summary in summaries.items()
    }
    reference = unaided.get("reference")
    contradictions = (*reference_says(fits, "missed"), *find_contradictions(unaided, known, options))
    verdicts = {
        name: judge_bound(fit, known, options)
        or judge_drift(fits[name])
        or judge(fit, options, gaps, reference, contradictions)
        for name, fit in unaided.items()
    }
    return {name: replace(fit, verdict=verdicts[name], decision=judge_loss(fit)) for name, fit in unaided.items()}


def reference_says(fits: Mapping[str, Fit], name: str) -> tuple[str, ...]:
    """A text attribute of the reference's draws, such as ``missed``; empty where it has none."""
    fit = fits.get("reference")
    text = fit.tree.attrs.get(name) if fit is not None and fit.tree is not None else None
    return (str(text),) if text else ()


def trusted_chains(summaries: Mapping[str, FitSummary], options: Options) -> FitSummary | None:
    """The summary of the first NUTS run that met its targets; None if none did."""
    chains = (summary for summary in summaries.values() if summary.method == "nuts" and summary.status == "done")
    long = (summary for summary in chains if not is_short(summary.diagnostics, options))
    return next((summary for summary in long if not complaints(summary, options)), None)


def notes(jobs: Sequence[Job], fits: Mapping[str, Fit]) -> tuple[str, ...]:
    """What a reader should know about the comparison as a whole."""
    layout = jobs[0].layout
    known = (*layout.notes, *unjudged(layout), *reference_says(fits, "ran_elsewhere"), *unsearched(fits))
    same_on_one = ("mean_field", "full_rank", "low_rank", "markov")
    gaussian = [name for name in same_on_one if any(job.guide == name for job in jobs)]
    if layout.dimension > 1 or len(gaussian) < 2:
        return known
    same = f"On one latent {' and '.join(gaussian)} are the same family: one Gaussian on the unconstrained latent"
    return (*known, same)


def unsearched(fits: Mapping[str, Fit]) -> list[str]:
    """The note on a reference whose missed modes could not be looked for; empty without any."""
    reasons = reference_says(fits, "no_search")
    return [f"Whether the chains of the reference miss a mode is not known: {reason}" for reason in reasons]


def unjudged(layout: Layout) -> list[str]:
    """A note where there are too many elements for verdicts to look at each."""
    looked_at = sum(site in layout.latents for site, _ in layout.judged)
    total = layout.dimension - sum(int(out.sum()) for out in layout.unjudged.values())
    return [f"Verdicts look at {looked_at:,} of the {total:,} elements of the latents"] if looked_at < total else []
