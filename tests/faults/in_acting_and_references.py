"""Planted faults: acting on a fit, where inducing points stand, references in other coordinates and their tails."""

from __future__ import annotations

from typing import Any

from faults import Fault
from models.bandit.data import Bandit
from models.gp.data import GpData

__all__ = ["FAULTS"]


def fault(name: str, module: str, old: str, new: str, caught_by: str, **arguments: Any) -> Fault:
    return Fault(name, module, old, new, "all", "both", caught_by, arguments)


UNTRIED = Bandit((0, 0), (0, 0), horizon=12)

DECISIONS = [
    fault(
        "a draw's influence forgets what the policy does anyway",
        "models.bandit.decision",
        "moved = is_best * (slope @ second[m]) - (slope * policy[n, m]) @ second[m]",
        "moved = is_best * (slope @ second[m])",
        "test_decision.test_a_draws_influence_is_the_derivative",
        data=UNTRIED,
    ),
    fault(
        "losing less and more are exchanged",
        "compare.verdict.decision",
        '"less" if apart < 0 else "more"',
        '"more" if apart < 0 else "less"',
        "test_decision.test_what_is_said_of_draws",
        data=UNTRIED,
        ratio=0.5,
        word="more",
    ),
    fault(
        "draws of chains count as independent",
        "compare.measure.decision",
        "standard_errors.of_mean(chains, not fit.job.is_mcmc)",
        "standard_errors.of_mean(chains, True)",
        "test_decision.test_draws_of_chains_count_by_their_effective_size",
    ),
]

PLACES = [
    fault(
        "inducing points are placed from the last start only",
        "models.gp.placement",
        "for start in data.placements if start in PLACES]",
        "for start in data.placements[-2:-1]]",
        "test_gp_inducing.test_several_starts_reach_higher_than_each_alone",
    ),
    fault(
        "the lowest of the maxima is taken",
        "models.gp.placement",
        "key=lambda sparse: sparse.bound())",
        "key=lambda sparse: -sparse.bound())",
        "test_gp_inducing.test_optimised_placement_is_a_maximum_above_the_others",
        data=GpData(jitter=1e-8),
    ),
]

CONFIRMED = "test_flow_coordinates.test_chains_that_diverge_are_confirmed_by_those_in_other_coordinates"

REFERENCES = [
    fault(
        "a flow's coordinates forget its density",
        "compare.fit.mcmc.nuts_numpyro",
        'numpyro.factor("log_ratio", -loss)',
        'numpyro.factor("log_ratio", 0.0 * loss)',
        "test_flow_coordinates.test_a_bad_guide_makes_no_wrong_draws",
        library="numpyro",
        family="flow",
    ),
    fault(
        "chains that diverge are confirmed whatever the others say",
        "compare.fit.mcmc.reference",
        "if 0 < diverged(bent) <= MOST_DIVERGED and same:",
        "if 0 < diverged(bent) <= MOST_DIVERGED:",
        CONFIRMED,
        own=(0.1, 300),
        there=(0.0, 7),
        taken=True,
        confirmed=False,
    ),
    fault(
        "any number of divergences can be confirmed",
        "compare.fit.mcmc.reference",
        "if 0 < diverged(bent) <= MOST_DIVERGED and",
        "if 0 < diverged(bent) and",
        CONFIRMED,
        own=(0.0, 300),
        there=(0.0, 60),
        taken=True,
        confirmed=False,
    ),
    fault(
        "chains that diverged take all of the budget",
        "compare.fit.mcmc.nuts",
        "spare = spare_if_diverged if share > FEW",
        "spare = 0.0 if share > FEW",
        "test_nuts.test_chains_that_stay_apart_or_diverge_are_stopped",
        apart=0.0,
        diverging=3,
        n_blocks=1,
    ),
]

TAILS = [
    fault(
        "a density that jumps is taken for a tail that no chain has seen",
        "compare.fit.reference.tails",
        "if missed and jumps(target, points, rng):",
        "if jumps(target, points[:1], rng):",
        "test_missed_tails.test_where_the_density_jumps_nothing_is_known",
        seed=0,
    ),
    fault(
        "a tail's mass is the mean of the identity",
        "compare.fit.reference.tails",
        "density, rate = -mean / length,",
        "density, rate = -mean,",
        "test_missed_tails.test_what_is_beyond_an_end_is_weighed",
        share=0.1,
        sign=1,
    ),
    fault(
        "only lower tails are looked at",
        "compare.fit.reference.tails",
        "for sign in (1.0, -1.0)]",
        "for sign in (1.0, 1.0)]",
        "test_missed_tails.test_what_is_beyond_an_end_is_weighed",
        share=0.1,
        sign=-1,
    ),
    fault(
        "a tail is judged by its constant alone",
        "compare.fit.reference.tails",
        "terms = hinge * slope - inside",
        "terms = hinge * slope - 1.5 * inside",
        "test_missed_tails.test_right_draws_miss_no_tail",
        posterior="normal",
        seed=0,
    ),
]

FAULTS = [*DECISIONS, *PLACES, *REFERENCES, *TAILS]
