"""Fits that are members of another fit's family: a lower bound on the best ELBO of that family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import guides
from compare.measure.ledger import difference
from compare.options import Options
from compare.summary import Estimate, FitSummary
from compare.verdict.thresholds import ERRORS


def beside_members(summaries: Mapping[str, FitSummary], options: Options) -> dict[str, FitSummary]:
    """The summaries; the ledger of a fit that ended below another fitted member of its family counts that as a gap.

    A fit's own estimate of the optimisation gap is local, and blind to a better optimum elsewhere. Nothing changes
    where the family's best member is known better.
    """
    return {name: beside_member(summary, summaries, options) for name, summary in summaries.items()}


def beside_member(summary: FitSummary, summaries: Mapping[str, FitSummary], options: Options) -> FitSummary:
    """The same for one fit."""
    own, ended = summary.ledger.elbo, summary.optimisation
    if summary.method != "svi" or own is None or ended is None or not ended.converged or ended.objective:
        return summary
    members = [other.ledger.elbo for other in summaries.values() if is_member(other, summary)]
    highest = max((elbo for elbo in members if elbo is not None), key=lambda elbo: elbo.value, default=None)
    if highest is None or is_taken_into_account(summary, highest, options):
        return summary
    left, gap = difference(highest, own), summary.ledger.evidence_gap
    family = None if gap is None else difference(gap, left)
    if family is not None and summary.ledger.symmetry_gap is not None:
        family = difference(family, summary.ledger.symmetry_gap)
    return replace(summary, ledger=replace(summary.ledger, optimisation_gap=left, family_gap=family))


def is_taken_into_account(summary: FitSummary, highest: Estimate, options: Options) -> bool:
    """Whether a member's ELBO is no further above the fit's than the fit's optimisation gap, or than is tolerated."""
    own, known = summary.ledger.elbo, summary.ledger.optimisation_gap
    assert own is not None
    reached = own.value + max(known.value if known else 0.0, 0.0) + options.tolerance
    return highest.value <= reached + ERRORS * (highest.mcse + own.mcse)


def is_member(other: FitSummary, summary: FitSummary) -> bool:
    """Whether a fit, of the same library, is a member of the other fit's family."""
    if other.method != "svi" or other.status != "done" or other.library != summary.library:
        return False
    if other.optimisation is None or other.optimisation.objective:
        return False
    if other.guide not in guides.FAMILIES:
        return False
    family = guides.load(other.guide)
    return summary.guide in (*family.within, family.member_of)
