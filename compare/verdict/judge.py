"""Numbers in, a word and a sentence out. All rules stand here, and `RULES` is what the README shows of them."""

from __future__ import annotations

from typing import Any

from compare.options import Options

__all__ = ["ERRORS", "MEAN", "RULES", "SPREAD", "complaints", "excess", "judge", "said"]

MEAN = 0.1
SPREAD = 0.1
ERRORS = 4
REFERENCE_ESS = 1000
E_BFMI = 0.3
KHAT = 0.7

RULES: tuple[tuple[str, str], ...] = (
    (
        "exact",
        "the posterior itself, by the method and to the tolerance stated (a long NUTS run that stands in its place is "
        "called the reference, never exact)",
    ),
    ("skipped", "not attempted, for the reason given"),
    ("failed", "attempted and ended in an error, which is given"),
    (
        "unreliable",
        f"NUTS missed a target: R-hat (below 1.01), bulk and tail ESS (at least 400; a reference {REFERENCE_ESS:,}), "
        f"divergences (none), E-BFMI (at least {E_BFMI}); or the reference it is held against did, or is missing",
    ),
    (
        "not converged",
        "a guide whose estimated optimisation gap plus two of its errors exceeds the tolerance (0.01 nats); coordinate "
        "ascent that ran out of sweeps, or whose ELBO is that far below the best of its family",
    ),
    (
        "off",
        f"some mean is wrong by more than {MEAN} posterior sd and {ERRORS} standard errors (NUTS: by more than "
        f"{ERRORS} standard errors)",
    ),
    (
        "narrow",
        f"means right, but some sd is more than {SPREAD:.0%} and {ERRORS} standard errors below the truth (NUTS: more "
        f"than {ERRORS} standard errors)",
    ),
    ("wide", "the same above the truth"),
    ("agrees", "none of these: it may be used in the posterior's place for means, sds and intervals"),
)
"""Words and rules, in the order in which they are tried."""


def judge(
    summary: dict[str, Any],
    options: Options,
    family_gaps: dict[str, float] | None = None,
    reference: dict[str, Any] | None = None,
) -> dict[str, str]:
    """The verdict on one fit's summary.

    ``family_gaps`` maps the families whose best member is known to log p(x) - ELBO(q*), in nats; ``reference`` is the
    summary of the reference, if the fits are held against one.
    """
    method = summary["method"]
    if summary["status"] != "done":
        began = {"skipped": "Not attempted", "failed": "It failed"}[summary["status"]]
        return said(summary["status"], f"{began}: {summary['reason']}.")
    if method == "exact":
        return said("exact", "The posterior itself; every other fit is measured against it.")
    if method == "reference":
        return judge_reference(summary, options)
    if reference is not None:
        if reference["status"] != "done":
            lost = f"There is nothing to hold it against: the reference {reference['reason']}."
            return said("unreliable", f"{lost}{unaided(summary)}")
        missed = complaints(reference, options, REFERENCE_ESS)
        if missed:
            lost = f"It is held against a reference that missed its targets: {'; '.join(missed)}."
            return said("unreliable", f"{lost}{unaided(summary)}")
    if method == "nuts":
        return judge_chain(summary, options)
    return judge_guide(summary, options, family_gaps or {})


def unaided(summary: dict[str, Any]) -> str:
    """What is known of a guide without anything to hold it against."""
    found = summary["without_truth"]
    return f" By itself: {found['word']}. {found['sentence']}" if found else ""


def said(word: str, sentence: str) -> dict[str, str]:
    return {"word": word, "sentence": sentence[:1].upper() + sentence[1:]}


def complaints(summary: dict[str, Any], options: Options, least: float) -> list[str]:
    """Which targets the chains missed; ``least`` is that of the effective sample size."""
    found, missed = summary["diagnostics"], []
    ess = effective(summary)
    if not found["r_hat"] < options.r_hat:
        missed.append(f"R-hat is {found['r_hat']:.3f} (target: below {options.r_hat:g})")
    if not ess >= least:
        missed.append(f"ESS is {ess:.0f} (target: at least {least:g})")
    if found["divergences"]:
        missed.append(f"{found['divergences']} transitions diverged")
    if not found["e_bfmi"] >= E_BFMI:
        missed.append(f"E-BFMI is {found['e_bfmi']:.2f} (target: at least {E_BFMI})")
    return missed


def effective(summary: dict[str, Any]) -> float:
    """The smaller of bulk and tail ESS."""
    return min(summary["diagnostics"]["ess_bulk"], summary["diagnostics"]["ess_tail"])


def judge_reference(summary: dict[str, Any], options: Options) -> dict[str, str]:
    missed = complaints(summary, options, REFERENCE_ESS)
    if missed:
        return said("unreliable", f"{'; '.join(missed)}. Give it a larger --reference-budget.")
    return said(
        "agrees",
        "the reference, not exact: a long NUTS run that met its targets (R-hat "
        f"{summary['diagnostics']['r_hat']:.4f}, ESS {effective(summary):.0f}, no divergences); every other fit is "
        "held against it within its error.",
    )


def judge_chain(summary: dict[str, Any], options: Options) -> dict[str, str]:
    missed, ess = complaints(summary, options, options.ess), effective(summary)
    if missed:
        late = f" Its budget was {options.budget:g} s." if not ess >= options.ess else ""
        return said(
            "unreliable",
            f"{'; '.join(missed)}.{late} Give it a larger --budget, or reparameterise the model before using it.",
        )
    trusted = f"R-hat {summary['diagnostics']['r_hat']:.3f}, ESS {ess:.0f}, no divergences"
    mean, mean_at = worst(summary, lambda v: ratio_of(abs(v["mean_error"]), v["mcse_mean_error"]))
    spread, spread_at = worst(summary, lambda v: ratio_of(abs(v["sd_ratio"] - 1), v["mcse_sd_ratio"]))
    if mean > ERRORS:
        return said("off", f"{trusted}, yet the mean of {mean_at} is {mean:.1f} standard errors from the truth.")
    if spread > ERRORS:
        ratio = summary["variables"][spread_at]["sd_ratio"]
        return said(
            "narrow" if ratio < 1 else "wide",
            f"{trusted}, yet the sd of {spread_at} is {ratio:.3f} of the truth, {spread:.1f} standard errors away.",
        )
    return said(
        "agrees",
        f"NUTS may be trusted here ({trusted}): every mean and sd lies within {max(mean, spread):.1f} standard errors "
        "of the truth.",
    )


def judge_guide(summary: dict[str, Any], options: Options, family_gaps: dict[str, float]) -> dict[str, str]:
    variables, optimisation, ledger = summary["variables"], summary["optimisation"], summary["ledger"]
    _, mean_at = worst(summary, lambda v: abs(v["mean_error"]))
    shift = variables[mean_at]
    narrowest = min(variables, key=lambda name: variables[name]["sd_ratio"])
    widest = max(variables, key=lambda name: variables[name]["sd_ratio"])
    wrong, wrong_at = worst(summary, lambda v: excess(abs(v["mean_error"]), MEAN, v["mcse_mean_error"]))
    off = None
    if wrong > 0:
        off = f"the mean of {wrong_at} is off by {variables[wrong_at]['mean_error']:+.2f} posterior sd"
    arrived, arrival = arrive(summary, options)
    if not arrived and not (off and summary["method"] == "coordinate_ascent" and optimisation["converged"]):
        return said("not converged", arrival)
    rest = f"family gap {ledger['family_gap']['value']:.2g} nats" if ledger["family_gap"] else "family gap not known"
    if ledger["amortisation_gap"]:
        rest = f"{rest}, amortisation gap {ledger['amortisation_gap']['value']:.2g}"
    richer = advice(summary, family_gaps)
    if off:
        if not arrived:
            gap = ledger["optimisation_gap"]["value"]
            return said(
                "off",
                f"{off}: the updates have settled, but {gap:.4f} nats below the best of the family; they are wrong.",
            )
        return said("off", f"{off}, though {arrival}: {blame(ledger)} ({rest}). {richer}")
    for word, sign in (("narrow", -1), ("wide", 1)):
        wrong, name = worst(summary, lambda v, s=sign: excess(s * (v["sd_ratio"] - 1), SPREAD, v["mcse_sd_ratio"]))
        if wrong > 0:
            return said(
                word,
                f"the sd of {name} is {variables[name]['sd_ratio']:.3f} of the truth while the means are right (worst "
                f"{shift['mean_error']:+.2f} sd); {arrival}, so {blame(ledger)} ({rest}). {richer}",
            )
    holds = "the family holds the posterior" if tiny(ledger["family_gap"]) else rest
    low, high = variables[narrowest]["sd_ratio"], variables[widest]["sd_ratio"]
    spread = f"{low:.3f}" if narrowest == widest else f"{low:.3f} to {high:.3f}"
    khat = summary["diagnostics"]["khat"]
    tails = f" Its tails are too light (k-hat {khat:.2f}): do not reweight its draws." if khat and khat > KHAT else ""
    return said(
        "agrees",
        f"{arrival}; {holds}; mean off by {shift['mean_error']:+.3f} sd at worst, sd {spread} of the truth.{tails}",
    )


def arrive(summary: dict[str, Any], options: Options) -> tuple[bool, str]:
    """Whether the optimiser arrived, and the words for it."""
    optimisation, known = summary["optimisation"], summary["ledger"]["optimisation_gap"]
    if summary["method"] == "coordinate_ascent":
        sweeps = f"{optimisation['steps']} sweeps"
        if known is None:
            return optimisation["converged"], f"coordinate ascent took {sweeps}"
        gap = known["value"]
        if gap <= options.tolerance and optimisation["converged"]:
            return True, f"coordinate ascent arrived in {sweeps} ({max(gap, 0):.1g} nats short)"
        ended = "every change became small" if optimisation["converged"] else f"it ran out of its {sweeps}"
        return gap <= options.tolerance and optimisation["converged"], (
            f"{ended} after {sweeps}, {gap:.3g} nats below the best of its family; allow more --sweeps"
            if optimisation["converged"]
            else f"{ended}, {gap:.3g} nats below the best of its family; allow more --sweeps"
        )
    gap = optimisation["gap"]
    if optimisation["converged"] and gap is None:
        return True, f"the encoder's ELBO on the validation set has stopped rising ({optimisation['steps']} epochs)"
    if optimisation["converged"]:
        return True, f"the optimiser arrived ({gap['value']:.1g} ± {gap['mcse']:.1g} nats short)"
    hint = "" if options.optimiser == "zoo" else "; take more --steps, or leave --optimiser at zoo"
    return False, f"{optimisation['reason']}{hint}."


def blame(ledger: dict[str, Any]) -> str:
    """Who is to blame for what an optimiser that arrived has left."""
    encoder, family = ledger["amortisation_gap"], ledger["family_gap"]
    if encoder and family and encoder["value"] > family["value"]:
        return "most of it is the encoder's doing, the family holds better members"
    return "the family cannot hold this posterior"


def advice(summary: dict[str, Any], family_gaps: dict[str, float]) -> str:
    """Which families would come closer."""
    if summary["ledger"]["amortisation_gap"]:
        return "Fit each observation's q by itself from where the encoder puts it, or use NUTS."
    own = family_gaps.get(
        summary["guide"], summary["ledger"]["family_gap"] and summary["ledger"]["family_gap"]["value"]
    )
    closer = [name for name, gap in family_gaps.items() if own is not None and gap < own / 2 - 1e-9]
    return f"Use {' or '.join(closer)}, or NUTS." if closer else "Use a richer family, or NUTS."


def worst(summary: dict[str, Any], score: Any) -> tuple[float, str]:
    """The largest score of a reported element, and its name."""
    scores = {name: float(score(entry)) for name, entry in summary["variables"].items()}
    name = max(scores, key=scores.__getitem__)
    return scores[name], name


def excess(distance: float, least: float, error: float) -> float:
    """By how much a distance exceeds both what is tolerated and what may be chance."""
    return distance - max(least, ERRORS * error)


def ratio_of(distance: float, error: float) -> float:
    return distance / error if error else 0.0


def tiny(number: dict[str, float] | None) -> bool:
    return number is not None and number["value"] < 1e-6
