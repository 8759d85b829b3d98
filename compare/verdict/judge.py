"""The verdict on a fit whose truth is known: its numbers in, a word and a sentence out."""

from __future__ import annotations

from collections.abc import Mapping

from compare.options import Options
from compare.summary import Distance, Estimate, FitSummary, Ledger, Verdict
from compare.verdict.thresholds import E_BFMI, ERRORS, KHAT, REFERENCE_ESS, TINY, mean_excess, sd_excess, worst

__all__ = ["complaints", "judge", "sentence"]

IMPORTANCE = (
    "The reference, not exact: importance sampling whose weights have light tails and whose evidence, means and sds a "
    "second proposal confirms; every other fit is compared with it within its error."
)


def judge(
    summary: FitSummary,
    options: Options,
    family_gaps: Mapping[str, float] | None = None,
    reference: FitSummary | None = None,
) -> Verdict:
    """The verdict on one fit.

    Args:
        summary: The fit's numbers.
        options: The targets.
        family_gaps: log p(x) - ELBO(q*), in nats, of each family whose best member q* is known.
        reference: The numbers of the reference, if that takes the truth's place.
    """
    if summary.status != "done":
        beginning = {"skipped": "Not attempted", "failed": "It failed"}[summary.status]
        return Verdict(summary.status, f"{beginning}: {summary.reason}.")
    if summary.method == "exact":
        return Verdict("exact", "The posterior itself; every other fit is measured against it.")
    if summary.method == "importance":
        return Verdict("agrees", IMPORTANCE)
    if summary.method == "reference":
        return judge_reference(summary, options)
    lost = unusable(reference, options) if reference is not None else None
    if lost:
        alone = summary.without_truth
        by_itself = f" By itself: {alone.word}. {alone.sentence}" if alone else ""
        return Verdict("unreliable", f"{lost}{by_itself}")
    if summary.method == "nuts":
        return judge_chains(summary, options)
    return judge_guide(summary, options, family_gaps or {})


def sentence(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def unusable(reference: FitSummary, options: Options) -> str | None:
    """Why nothing can be compared with the reference; None if it can."""
    if reference.method == "importance":
        return None
    if reference.status != "done":
        return f"There is nothing to compare it with: the reference {reference.reason}."
    missed = complaints(reference, options, REFERENCE_ESS)
    return f"It is compared with a reference that missed its targets: {'; '.join(missed)}." if missed else None


def complaints(summary: FitSummary, options: Options, ess_target: float) -> list[str]:
    """Which targets the chains missed."""
    chains, missed = summary.diagnostics, []
    if not chains.r_hat < options.r_hat:
        missed.append(f"R-hat is {chains.r_hat:.3f} (target: below {options.r_hat:g})")
    if not chains.ess >= ess_target:
        missed.append(f"ESS is {chains.ess:.0f} (target: at least {ess_target:g})")
    if chains.divergences:
        missed.append(f"{chains.divergences} transitions diverged")
    if not chains.e_bfmi >= E_BFMI:
        missed.append(f"E-BFMI is {chains.e_bfmi:.2f} (target: at least {E_BFMI})")
    return missed


def judge_reference(summary: FitSummary, options: Options) -> Verdict:
    """Whether a reference may take the truth's place."""
    missed = complaints(summary, options, REFERENCE_ESS)
    if missed:
        return Verdict("unreliable", f"{sentence('; '.join(missed))}. Give it a larger --reference-budget.")
    return Verdict(
        "agrees",
        "The reference, not exact: a long NUTS run that met its targets (R-hat "
        f"{summary.diagnostics.r_hat:.4f}, ESS {summary.diagnostics.ess:.0f}, no divergences); every other fit is "
        "compared with it within its error.",
    )


def judge_chains(summary: FitSummary, options: Options) -> Verdict:
    """NUTS has no bias of its own: where its diagnostics are clean, only standard errors count."""
    missed, ess = complaints(summary, options, options.ess), summary.diagnostics.ess
    if missed:
        late = f" Its budget was {options.budget:g} s." if not ess >= options.ess else ""
        return Verdict(
            "unreliable",
            f"{sentence('; '.join(missed))}.{late} Give it a larger --budget, or reparameterise the model before "
            "using it.",
        )
    trusted = f"R-hat {summary.diagnostics.r_hat:.3f}, ESS {ess:.0f}, no divergences"
    distances = distances_of(summary)
    mean, mean_at = worst(distances, lambda apart: z_score(apart.mean_error, 0.0))
    spread, sd_at = worst(distances, lambda apart: z_score(apart.sd_ratio, 1.0))
    if mean > ERRORS:
        return Verdict("off", f"{trusted}, yet the mean of {mean_at} is {mean:.1f} standard errors from the truth.")
    if spread > ERRORS:
        ratio = distances[sd_at].sd_ratio.value
        return Verdict(
            "narrow" if ratio < 1 else "wide",
            f"{trusted}, yet the sd of {sd_at} is {ratio:.3f} of the truth, {spread:.1f} standard errors away.",
        )
    return Verdict(
        "agrees",
        f"NUTS may be trusted here ({trusted}): every mean and sd lies within {max(mean, spread):.1f} standard errors "
        "of the truth.",
    )


def judge_guide(summary: FitSummary, options: Options, family_gaps: Mapping[str, float]) -> Verdict:
    """A guide, or coordinate ascent: whether it arrived, and whether means and sds are right."""
    distances, ledger = distances_of(summary), summary.ledger
    wrong, mean_at = worst(distances, mean_excess)
    off = f"the mean of {mean_at} is off by {distances[mean_at].mean_error.value:+.2f} posterior sd"
    arrived, arrival = arrive(summary, options)
    if not arrived:
        gap = ledger.optimisation_gap
        if wrong > 0 and gap and summary.method == "coordinate_ascent" and summary.optimisation.converged:
            return Verdict(
                "off",
                f"{sentence(off)}: the updates have settled, but {gap.value:.4f} nats below the best of the family; "
                "they are wrong.",
            )
        return Verdict("not converged", sentence(arrival))
    gaps = f"family gap {printed(ledger.family_gap)} nats" if ledger.family_gap else "family gap not known"
    if ledger.amortisation_gap:
        gaps = f"{gaps}, amortisation gap {ledger.amortisation_gap.value:.2g}"
    why = f"{blame(ledger)} ({gaps}). {advice(summary, family_gaps)}"
    if wrong > 0:
        return Verdict("off", f"{sentence(off)}, though {arrival}: {why}")
    shift = max((apart.mean_error.value for apart in distances.values()), key=abs)
    for word, sign in (("narrow", -1), ("wide", 1)):
        askew = {name: apart for name, apart in distances.items() if sign * (apart.sd_ratio.value - 1) > 0}
        wrong, name = worst(askew, sd_excess) if askew else (0.0, "")
        if wrong > 0:
            return Verdict(
                word,
                f"The sd of {name} is {distances[name].sd_ratio.value:.3f} of the truth while the means are right "
                f"(worst {shift:+.2f} sd); {arrival}, so {why}",
            )
    holds = "the family holds the posterior" if ledger.family_gap and upper(ledger.family_gap) < TINY else gaps
    ratios = [apart.sd_ratio.value for apart in distances.values()]
    spread = f"{ratios[0]:.3f}" if len(ratios) == 1 else f"{min(ratios):.3f} to {max(ratios):.3f}"
    khat = summary.diagnostics.khat
    tails = f" Its tails are too light (k-hat {khat:.2f}): do not reweight its draws." if khat and khat > KHAT else ""
    return Verdict(
        "agrees",
        f"{sentence(arrival)}; {holds}; mean off by {shift:+.3f} sd at worst, sd {spread} of the truth.{tails}",
    )


def printed(gap: Estimate) -> str:
    """A gap with its error, where it has one."""
    return f"{gap.value:.2g}" + (f" ± {gap.mcse:.1g}" if gap.mcse else "")


def upper(gap: Estimate) -> float:
    """What a gap may be at most, as far as its error tells."""
    return gap.value + ERRORS * gap.mcse


def arrive(summary: FitSummary, options: Options) -> tuple[bool, str]:
    """Whether the optimiser arrived, and the words for it."""
    if summary.method == "coordinate_ascent":
        return arrive_by_sweeps(summary, options)
    optimisation = summary.optimisation
    if not optimisation.converged:
        hint = "" if options.optimiser == "zoo" else "; take more --steps, or leave --optimiser at zoo"
        return False, f"{optimisation.reason}{hint}."
    if optimisation.gap is None:
        return True, f"the encoder's ELBO on the validation set has stopped rising ({optimisation.steps} epochs)"
    return True, f"the optimiser arrived ({optimisation.gap.value:.1g} ± {optimisation.gap.mcse:.1g} nats short)"


def arrive_by_sweeps(summary: FitSummary, options: Options) -> tuple[bool, str]:
    """The same for coordinate ascent, by its distance to the best of its family where that is known."""
    settled, sweeps = summary.optimisation.converged, f"{summary.optimisation.steps} sweeps"
    if summary.ledger.optimisation_gap is None:
        return settled, f"coordinate ascent took {sweeps}"
    gap = summary.ledger.optimisation_gap.value
    if settled and gap <= options.tolerance:
        return True, f"coordinate ascent arrived in {sweeps} ({max(gap, 0):.1g} nats short)"
    ended = f"every change became small after {sweeps}" if settled else f"it ran out of its {sweeps}"
    return False, f"{ended}, {gap:.3g} nats below the best of its family; allow more --sweeps"


def blame(ledger: Ledger) -> str:
    """What is to blame for what an optimiser that arrived has left."""
    encoder, family = ledger.amortisation_gap, ledger.family_gap
    if encoder and family and encoder.value > family.value:
        return "most of it is the encoder's doing, the family holds better members"
    return "the family cannot hold this posterior"


def advice(summary: FitSummary, family_gaps: Mapping[str, float]) -> str:
    """Which families would come closer."""
    if summary.ledger.amortisation_gap:
        return "Fit each observation's q by itself from where the encoder puts it, or use NUTS."
    measured = summary.ledger.family_gap
    own = family_gaps.get(summary.guide or "", measured.value if measured else None)
    closer = [name for name, gap in family_gaps.items() if own is not None and gap < own / 2 - 1e-9]
    return f"Use {' or '.join(closer)}, or NUTS." if closer else "Use a richer family, or NUTS."


def distances_of(summary: FitSummary) -> dict[str, Distance]:
    return {name: variable.distance for name, variable in summary.variables.items()}


def z_score(estimate: Estimate, ideal: float) -> float:
    """The distance to the ideal in standard errors; 0 where there is no error."""
    return abs(estimate.value - ideal) / estimate.mcse if estimate.mcse else 0.0
