"""Planted faults that equal shapes, orders and scales hide: an index, an error for another, a word unread."""

from __future__ import annotations

from typing import Any

from faults import Fault

__all__ = ["FAULTS"]


def fault(name: str, module: str, old: str, new: str, caught_by: str, **arguments: Any) -> Fault:
    return Fault(name, module, old, new, "all", "both", caught_by, arguments)


FAULTS = [
    fault(
        "a reference's quantiles are those of the other tail",
        "compare.measure.truth",
        "between(draws, probability)",
        "between(draws, 1 - probability)",
        "test_measures.test_a_reference_that_has_kept_some_elements_knows_which",
    ),
    fault(
        "a reference's density is that of its first chain",
        "compare.measure.truth",
        "kde(self.draws(site, index).ravel())",
        "kde(self.draws(site, index)[0].ravel())",
        "test_measures.test_a_references_density_is_that_of_all_chains_and_ends_with_the_draws",
    ),
    fault(
        "past elements that do not vary, the chains of others are looked at",
        "compare.measure.elements",
        "names += [(site, indices[place]) for place in varying]",
        "names += [(site, indices[place]) for place in range(len(varying))]",
        "test_measures.test_the_elements_whose_chains_are_looked_at_are_the_same_in_all_units",
    ),
    fault(
        "the error of a test set's gap is that of one of its terms",
        "compare.measure.held_out",
        'np.hypot(mcse, group[f"{name}_mcse"])',
        "mcse",
        "test_held_out.test_a_guides_terms_and_both_errors_are_those_of_its_observations",
    ),
    fault(
        "errors of a mean over observations shrink with the root of their number once more",
        "compare.measure.held_out",
        "np.linalg.norm(mcse) / len(values)",
        "np.linalg.norm(mcse) / np.sqrt(len(values))",
        "test_held_out.test_a_guides_terms_and_both_errors_are_those_of_its_observations",
    ),
    fault(
        "bits have the Monte Carlo error for that of the number of observations",
        "compare.measure.held_out",
        "nats.sampling / unit",
        "nats.mcse / unit",
        "test_held_out.test_bits_are_of_an_element_and_their_error_is_that_of_the_observations_number",
    ),
    fault(
        "a guide's weights belong to other draws",
        "compare.measure.model_check",
        'reshape(tree["posterior"].sizes["chain"], -1)',
        'reshape(-1, tree["posterior"].sizes["chain"]).T',
        "test_model_check.test_a_guides_weights_belong_to_its_draws",
    ),
    fault(
        "an observation that is certain at one draw counts as masked",
        "compare.measure.model_check",
        ".any(axis=(0, 1)).ravel()",
        ".all(axis=(0, 1)).ravel()",
        "test_model_check.test_an_observation_that_is_certain_at_some_draws_is_not_masked",
    ),
    fault(
        "the eleventh element stands after the second",
        "compare.user_model.draws_table",
        "sorted(different, key=int)",
        "sorted(different)",
        "test_draws_table.test_more_than_ten_elements_are_in_the_order_of_their_numbers",
        form="w[{}]",
    ),
    fault(
        "chains of a table stand in the order of their labels",
        "compare.user_model.draws_table",
        "for label in dict.fromkeys(labels.tolist()):",
        "for label in sorted(set(labels.tolist())):",
        "test_draws_table.test_more_than_ten_elements_are_in_the_order_of_their_numbers",
        form="w[{}]",
    ),
]
