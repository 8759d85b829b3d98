"""The verdict on a fit whose truth is known: its numbers in, a word and a sentence out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import guides
from compare.options import R_HAT_APART, Options
from compare.summary import Distance, Estimate, FitSummary, Verdict
from compare.verdict.bound import NO_BOUND, at_most
from compare.verdict.points import is_point, judge_point
from compare.verdict.power import about, arrival_without_gap, distances_of, of_how_many, printed, what_decides
from compare.verdict.thresholds import (
    DECISIVE_ESS,
    E_BFMI,
    ERRORS,
    KHAT,
    MEAN,
    RELATIVE_ESS,
    SPREAD,
    TINY,
    few_diverged,
    is_short,
    mean_excess,
    r_hat_allowed,
    sd_excess,
    sd_score,
    widen,
    worst,
    z_score,
)

LONGER_REFERENCE = "Give it a larger --reference-budget, or reparameterise the model."
OTHER_DRAWS = "Leave the warm-up out, or sample for longer."
LONGER_CHAINS = "Give it a larger --budget, or reparameterise the model before using it."
SHORTER_STEPS = "Give it a higher --acceptance than {:g}, or reparameterise the model before using it."

IMPORTANCE = (
    "The reference, not exact: importance sampling whose weights have light tails and whose evidence, means and sds a "
    "second proposal confirms; every other fit is compared with it within its error."
)


def judge(
    summary: FitSummary,
    options: Options,
    family_gaps: Mapping[str, float] | None = None,
    reference: FitSummary | None = None,
    contradictions: Sequence[str] = (),
) -> Verdict:
    """The verdict on one fit.

    Args:
        summary: The fit's numbers.
        options: The targets.
        family_gaps: log p(x) - ELBO(q*), in nats, of each family whose best member q* is known.
        reference: The numbers of the reference, if that takes the truth's place.
        contradictions: How fits contradict each other or the reference, in a sentence each.
    """
    if summary.status != "done":
        beginning = {"skipped": "Skipped", "failed": "It failed"}[summary.status]
        return Verdict(summary.status, f"{beginning}: {str(summary.reason).removesuffix('.')}.")
    if summary.method == "exact":
        return Verdict("exact", "The posterior itself; every other fit is measured against it.")
    if contradictions:
        return Verdict("unreliable", f"{' '.join(contradictions)}{by_itself(summary)}")
    if summary.method in ("reference", "importance"):
        return judge_reference(summary, options)
    if reference is not None and reference.status != "done":
        lost = f"There is nothing to compare it with: the reference {reference.reason}."
        arrived, arrival = (True, "") if summary.optimisation is None else arrive(summary, options)
        if not arrived:
            return Verdict("not converged", f"{sentence(arrival)} {lost}")
        return Verdict("undecided", f"{lost}{by_itself(summary)}")
    missed = complaints(reference, options) if reference is not None else []
    if missed:
        lost = f"The reference that it is compared with is unreliable: {'; '.join(missed)}."
        return Verdict("unreliable", f"{lost}{by_itself(summary)}")
    if summary.method in ("nuts", "draws"):
        return judge_chains(summary, options, reference)
    return judge_guide(summary, options, family_gaps or {}, reference)


def by_itself(summary: FitSummary) -> str:
    """The verdict on a guide without the truth, as a sentence to follow another; empty where there is none."""
    alone = summary.without_truth
    return f" By itself: {alone.word}. {alone.sentence}" if alone else ""


def sentence(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def complaints(summary: FitSummary, options: Options, excused: str | None = None) -> list[str]:
    """How chains contradict each other, but for divergences that are excused; nothing of draws that are independent."""
    chains, missed = summary.diagnostics, []
    if chains.ess_bulk is None:
        return []
    r_hat = r_hat_allowed(chains, options)
    if not chains.r_hat < r_hat:
        missed.append(f"R-hat is {chains.r_hat:.3f} (target: below {r_hat:.4g})")
    if chains.divergences and not (summary.confirmed or excused):
        transitions = "transition" if chains.divergences == 1 else "transitions"
        missed.append(f"{chains.divergences} {transitions} diverged")
    if chains.e_bfmi is not None and not chains.e_bfmi >= E_BFMI:
        missed.append(f"E-BFMI is {chains.e_bfmi:.3f} (target: at least {E_BFMI})")
    return missed


def judge_reference(summary: FitSummary, options: Options) -> Verdict:
    """Whether a reference may take the truth's place. A short one can convict a guide, but not show that it agrees."""
    missed, chains = complaints(summary, options), summary.diagnostics
    if missed:
        return Verdict("unreliable", f"{sentence('; '.join(missed))}. {next_step(chains.r_hat, LONGER_REFERENCE)}")
    if chains.ess_bulk is None:
        return Verdict("agrees", IMPORTANCE)
    trusted = f"R-hat {chains.r_hat:.4f}, ESS {chains.ess:.0f}, {summary.confirmed or 'no divergences'}"
    if not chains.ess >= DECISIVE_ESS:
        times = DECISIVE_ESS / chains.ess
        seconds = about(times * (summary.seconds or 0.0))
        return Verdict(
            "undecided",
            f"The reference, not exact, is short ({trusted}): it can show large faults; to show that a guide agrees "
            f"takes an ESS of {DECISIVE_ESS}, {about(times)} times as long, about {seconds} s (--reference-budget).",
        )
    return Verdict(
        "agrees",
        f"The reference, not exact: a long NUTS run whose chains agree ({trusted}); every other fit is compared with "
        "it within its error.",
    )


def next_step(r_hat: float | None, otherwise: str) -> str:
    """What to do about chains that contradict each other; if they are apart, look where each is."""
    if r_hat is not None and r_hat > R_HAT_APART:
        return "Its chains are apart: look at where each is (trace.png); more time helps only if they move."
    return otherwise


def judge_chains(summary: FitSummary, options: Options, reference: FitSummary | None) -> Verdict:
    """NUTS has no bias of its own: with clean diagnostics it agrees unless a fault shows."""
    few = few_diverged(summary, reference)
    missed, ess = complaints(summary, options, few), summary.diagnostics.ess
    if missed:
        advice = SHORTER_STEPS.format(options.acceptance) if summary.diagnostics.divergences else LONGER_CHAINS
        advised = OTHER_DRAWS if summary.method == "draws" else next_step(summary.diagnostics.r_hat, advice)
        return Verdict("unreliable", f"{sentence('; '.join(missed))}. {advised}")
    trusted = f"R-hat {summary.diagnostics.r_hat:.3f}, ESS {ess:.0f}"
    trusted += "" if summary.diagnostics.divergences is None else f", {few or 'no divergences'}"
    distances = distances_of(summary)
    word, at = convict(distances)
    if word == "off":
        error, score = distances[at].mean_error, z_score(distances[at].mean_error, 0.0)
        return Verdict(
            word,
            f"{trusted}, yet the mean of {at} is off by {error.value:+.2f} posterior sd, {score:.1f} standard errors.",
        )
    if word:
        ratio = distances[at].sd_ratio
        score = sd_score(ratio)
        return Verdict(
            word, f"{trusted}, yet the sd of {at} is {ratio.value:.3f} of the truth, {score:.1f} standard errors away."
        )
    has_bias = summary.method == "draws" or few is not None  # it is not known where they come from, or may not reach
    short = what_decides(summary, reference) if has_bias or is_short(summary.diagnostics, options) else None
    if short:
        return Verdict("undecided", f"{trusted}; {short}")
    scores = [max(z_score(a.mean_error, 0.0), z_score(a.sd_ratio, 1.0)) for a in distances.values()]
    within = f"{max(scores):.1f} standard errors"
    if max(scores) > widen(ERRORS, 2 * len(scores)):
        within = f"{MEAN:g} sd, or {SPREAD:.0%},"
    source = "The draws" if summary.method == "draws" else "NUTS"
    return Verdict(
        "agrees",
        f"{source} may be trusted here ({trusted}): every mean and sd{of_how_many(summary)} lies within {within} of "
        "the truth.",
    )


def convict(distances: Mapping[str, Distance]) -> tuple[str, str]:
    """``off``, ``narrow`` or ``wide``, and the element that is furthest so; two empty words where no fault shows."""
    errors = widen(ERRORS, 2 * len(distances))
    wrong, name = worst(distances, lambda apart: mean_excess(apart, errors))
    if wrong > 0:
        return "off", name
    for word, sign in (("narrow", -1), ("wide", 1)):
        askew = {name: apart for name, apart in distances.items() if not sign * (apart.sd_ratio.value - 1) <= 0}
        wrong, name = worst(askew, lambda apart: sd_excess(apart, errors)) if askew else (0.0, "")
        if wrong > 0:
            return word, name
    return "", ""


def judge_guide(
    summary: FitSummary, options: Options, family_gaps: Mapping[str, float], reference: FitSummary | None
) -> Verdict:
    """A guide, or coordinate ascent: whether it arrived, and whether means and sds are right."""
    distances, ledger = distances_of(summary), summary.ledger
    word, at = convict(distances)
    off = f"the mean of {at} is off by {distances[at].mean_error.value:+.2f} posterior sd" if word == "off" else ""
    arrived, arrival = arrive(summary, options)
    if not arrived:
        gap = ledger.optimisation_gap
        if off and gap and summary.method == "coordinate_ascent" and summary.optimisation.converged:
            return Verdict(
                "off",
                f"{sentence(off)}: the updates have settled, but {gap.value:.4f} nats below the best of the family; "
                "they are wrong.",
            )
        also = f" As it is, {off}." if off and summary.method == "guide" else ""
        return Verdict("not converged", f"{sentence(arrival)}{also}")
    if is_point(summary):
        return judge_point(summary, sentence(off))
    is_bound = ledger.auxiliary_gap and not ledger.optimisation_gap
    if elsewhere(summary, options) and str(summary.guide) not in family_gaps:  # below another fit of its family
        is_bound = True
    at_most = "at most " if is_bound else ""
    gaps = f"family gap {at_most}{printed(ledger.family_gap)} nats" if ledger.family_gap else "family gap not known"
    if summary.optimisation.objective:
        gaps = NO_BOUND
    if ledger.symmetry_gap and ledger.symmetry_gap.value > TINY:
        gaps = f"symmetry gap {ledger.symmetry_gap.value:.2g}, {gaps}"
    gaps += f", amortisation gap {ledger.amortisation_gap.value:.2g}" if ledger.amortisation_gap else ""
    gaps += f", auxiliary gap {printed(ledger.auxiliary_gap)}" if ledger.auxiliary_gap else ""
    why = f"{blame(summary, options)} ({gaps}). {advice(summary, family_gaps)}"
    if off:
        return Verdict("off", f"{sentence(off)}, {'as' if elsewhere(summary, options) else 'though'} {arrival}: {why}")
    shift_at = max(distances, key=lambda name: abs(distances[name].mean_error.value))
    shift = distances[shift_at].mean_error.value
    if word:
        return Verdict(
            word,
            f"The sd of {at} is {distances[at].sd_ratio.value:.3f} of the truth while the means are right "
            f"(worst {shift:+.2f} sd); {arrival}, so {why}",
        )
    short = what_decides(summary, reference)
    if short:
        return Verdict("undecided", f"{sentence(arrival)}; {short}")
    holds = "the family holds the posterior" if ledger.family_gap and upper(ledger.family_gap) < TINY else gaps
    ratios = [apart.sd_ratio.value for apart in distances.values()]
    spread = f"{ratios[0]:.3f}" if len(ratios) == 1 else f"{min(ratios):.3f} to {max(ratios):.3f}"
    worst_at = f" ({shift_at},{of_how_many(summary)})" if summary.unreported else ""
    return Verdict(
        "agrees",
        f"{sentence(arrival)}; {holds}; mean off by {shift:+.3f} sd at worst{worst_at}, sd {spread} of the truth."
        f"{warn_of_tails(summary)}",
    )


def upper(gap: Estimate) -> float:
    """What a gap may be at most, as far as its error tells."""
    return gap.value + ERRORS * gap.mcse


def warn_of_tails(summary: FitSummary) -> str:
    """A warning where weights differ and their tail is heavy, as a sentence to follow another; else empty."""
    khat, relative = summary.diagnostics.khat, summary.diagnostics.relative_ess
    if khat and khat > KHAT and (relative is None or relative < RELATIVE_ESS):
        size = "" if relative is None else f", relative ESS {relative:.2f}"
        return f" Its tails are too light (k-hat {khat:.2f}{size}): do not reweight its draws."
    return ""


def arrive(summary: FitSummary, options: Options) -> tuple[bool, str]:
    """Whether the optimiser arrived, and the words for it."""
    if summary.method == "coordinate_ascent":
        return arrive_by_sweeps(summary, options)
    optimisation = summary.optimisation
    if not optimisation.converged:
        is_own = summary.method == "svi" and not guides.load(str(summary.guide)).takes_optimiser
        hint = "" if options.optimiser == "zoo" or is_own else "; take more --steps, or leave --optimiser at zoo"
        return False, f"{at_most(summary) or optimisation.reason}{hint}."
    if optimisation.log_evidence_at_mode is not None:
        formula = f"log evidence by its formula {optimisation.log_evidence_at_mode:.4f}"
        return True, f"the mode was found ({formula}), {below_best(optimisation.gap)}"
    if is_taken_as_it_comes(summary):
        return True, f"it is the best on L-BFGS's way to the mode, {below_best(optimisation.gap)}"
    if optimisation.gap is None:
        return True, arrival_without_gap(summary)
    below = elsewhere(summary, options)
    if below:
        return True, f"it ended at an optimum {printed(below)} nats below the best known"
    return True, f"the optimiser arrived ({optimisation.gap.value:.1g} ± {optimisation.gap.mcse:.1g} nats short)"


def elsewhere(summary: FitSummary, options: Options) -> Estimate | None:
    """How far a fit ended below the best known member, though its own gap is small; None within the tolerance."""
    gap = summary.ledger.optimisation_gap
    if summary.method == "coordinate_ascent" or summary.optimisation.gap is None or is_taken_as_it_comes(summary):
        return None
    return gap if gap and gap.value > options.tolerance + ERRORS * gap.mcse else None


def below_best(gap: Estimate | None) -> str:
    """How far a member that was not optimised is below the best of its family."""
    if gap is None:
        return "its family's best was not reached and may be better"
    return f"{gap.value:.2g} ± {gap.mcse:.1g} nats below its family's best"


def arrive_by_sweeps(summary: FitSummary, options: Options) -> tuple[bool, str]:
    """The same for coordinate ascent, by its distance to the best of its family where that is known."""
    settled, sweeps = summary.optimisation.converged, f"{summary.optimisation.steps} sweeps"
    ended = f"every change became small after {sweeps}" if settled else f"it ran out of its {sweeps}"
    if summary.ledger.optimisation_gap is None:
        return settled, f"coordinate ascent took {sweeps}" if settled else f"{ended}; allow more --sweeps."
    gap = summary.ledger.optimisation_gap.value
    if settled and gap <= options.tolerance:
        return True, f"coordinate ascent arrived in {sweeps} ({max(gap, 0):.1g} nats short)"
    advised = "that is another optimum, or its updates are wrong" if settled else "allow more --sweeps"
    return False, f"{ended}, {gap:.3g} nats below the best of its family; {advised}."


def is_taken_as_it_comes(summary: FitSummary) -> bool:
    """Whether it is meant to stay where it is, at the mode or on the way to it, though its family may have better."""
    family = guides.load(summary.guide) if summary.guide in guides.FAMILIES else None
    return summary.method == "svi" and family is not None and family.member_of is not None


def blame(summary: FitSummary, options: Options) -> str:
    """What causes the distance that is left where an optimiser arrived, or ended at another optimum."""
    encoder, family, left = summary.ledger.amortisation_gap, summary.ledger.family_gap, summary.optimisation.gap
    if is_taken_as_it_comes(summary):
        left = left or summary.ledger.optimisation_gap
    if is_taken_as_it_comes(summary) and left and (family is None or left.value > family.value):
        is_at_mode = summary.optimisation.log_evidence_at_mode is not None
        return f"{'the mode' if is_at_mode else 'the way to the mode'} is not where the family's best member lies"
    if encoder and family and encoder.value > family.value:
        return "most of it is the encoder's doing, the family holds better members"
    missed = elsewhere(summary, options)
    if missed and family and missed.value > family.value:
        return "the family holds better members"
    if left is None and (family is None or summary.ledger.auxiliary_gap) and summary.method in ("guide", "svi"):
        is_mixed = summary.method == "svi" and guides.load(str(summary.guide)).ways_of
        return f"whether the family or {'its paths fall' if is_mixed else 'the optimiser falls'} short is not known"
    return "the family cannot hold this posterior"


def advice(summary: FitSummary, family_gaps: Mapping[str, float]) -> str:
    """Which families would come closer."""
    if summary.ledger.amortisation_gap:
        return "Fit each observation's q by itself from where the encoder puts it, or use NUTS."
    if is_taken_as_it_comes(summary):
        return f"Use {guides.load(str(summary.guide)).member_of}, which is fitted by its ELBO, or NUTS."
    measured = summary.ledger.family_gap
    own = family_gaps.get(summary.guide or "", measured.value if measured else None)
    closer = [name for name, gap in family_gaps.items() if own is not None and gap < own / 2 - 1e-9]
    return f"Use {' or '.join(closer)}, or NUTS." if closer else "Use a richer family, or NUTS."
