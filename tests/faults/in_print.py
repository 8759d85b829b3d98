"""Mistakes between a number and its reader: in what is printed and drawn, in errors, in the order of things, and in
what a word or a key stands for. Each kind was thought up by someone who had not seen the other faults."""

from __future__ import annotations

from faults import Fault

__all__ = ["FAULTS"]

PRINTED = [
    Fault(
        "the smaller of two effective sample sizes stands for the bulk's",
        "compare.report.tables.estimates",
        'f"{diagnostics.ess_bulk:.0f}"',
        'f"{diagnostics.ess:.0f}"',
        "all",
        "both",
        caught_by="test_cells.test_a_cell_holds_its_fields",
        arguments={"name": "fits"},
    ),
    Fault(
        "the first chain's step size stands for all",
        "compare.report.tables.diagnostics",
        'last = np.asarray(stats["step_size"])[:, -1]',
        'last = np.asarray(stats["step_size"])[:1, -1]',
        "all",
        "both",
        caught_by="test_cells.test_adaptation_is_the_chains",
    ),
    Fault(
        "bits are printed with an error in nats",
        "compare.report.tables.scores",
        "({evidence.bits_sampling:.1g})",
        "({evidence.sampling:.1g})",
        "all",
        "both",
        caught_by="test_cells.test_a_test_sets_cells_hold_their_fields",
    ),
    Fault(
        "a reference's sd is printed with its mean's error",
        "compare.report.tables.claims",
        "sd {measured(s, error[1])}",
        "sd {measured(s, error[0])}",
        "all",
        "both",
        caught_by="test_cells.test_what_is_said_of_the_truth_are_its_numbers",
    ),
    Fault(
        "the known gap stands where the optimiser's estimate should",
        "compare.report.tables.tidy",
        'terms["estimated_gap"] = summary.optimisation.gap if summary.optimisation else None',
        'terms["estimated_gap"] = summary.ledger.optimisation_gap',
        "all",
        "both",
        caught_by="test_cells.test_the_data_frame_holds_every_field",
    ),
    Fault(
        "coverage by the truth is printed with the ranks' error",
        "compare.calibration.report",
        'measured(given["value"], given["mcse"]) if given',
        'measured(given["value"], coverage[level]["mcse"]) if given',
        "all",
        "both",
        caught_by="test_cells.test_a_calibrations_cells_hold_their_fields",
    ),
    Fault(
        "one error either side of a bar's end, not two",
        "compare.report.plots.ledger",
        "xerr=2 * (gap or elbo).mcse",
        "xerr=(gap or elbo).mcse",
        "all",
        "both",
        caught_by="test_cells.test_the_ledgers_figure_has_two_errors_either_side",
    ),
    Fault(
        "one error either side of a bar's end on the zoo's page",
        "compare.report.html.stack",
        "(gap - 2 * error, gap + 2 * error) if error > 1e-9",
        "(gap - error, gap + error) if error > 1e-9",
        "all",
        "both",
        caught_by="test_cells.test_the_zoos_bars_have_two_errors_either_side",
    ),
    Fault(
        "a band of one error around the climb",
        "compare.report.plots.elbo",
        "curve.elbo - 2 * curve.error, curve.elbo + 2 * curve.error",
        "curve.elbo - curve.error, curve.elbo + curve.error",
        "all",
        "both",
        caught_by="test_cells.test_the_climbs_bands_are_two_errors_either_side",
    ),
]

ERRORS = [
    Fault(
        "a mean square's error for its root's",
        "compare.measure.predictive",
        "sampling = None if squares.sampling is None else slope * squares.sampling",
        "sampling = squares.sampling",
        "all",
        "both",
        caught_by="test_predictions.test_the_error_from_the_number_of_points_is_what_other_points_would_change",
    ),
    Fault(
        "a mean's error for an sd's",
        "compare.measure.truth",
        "standard_errors.of_sd(draws)",
        "standard_errors.of_mean(draws)",
        "all",
        "both",
        caught_by="test_measures.test_a_references_errors_are_what_its_moments_vary_by",
        arguments={"correlation": 0.0, "larger": "mean"},
    ),
    Fault(
        "the errors of the truth's means and sds are exchanged where elements are not printed",
        "compare.measure.many",
        "mcse_mean, mcse_sd = np.array([errors(truth",
        "mcse_sd, mcse_mean = np.array([errors(truth",
        "all",
        "both",
        caught_by="test_measures.test_the_truths_own_errors_are_part_of_a_distances",
        arguments={"shown": 1},
    ),
    Fault(
        "twice the error of the spread of ranks",
        "compare.calibration.judge",
        "mean(squares).mcse / (2 * spread)",
        "mean(squares).mcse / spread",
        "all",
        "both",
        caught_by="test_calibration.test_every_error_is_what_its_number_varies_by",
    ),
]

ORDERS = [
    Fault(
        "after a fit that failed, the truth of another data set",
        "compare.calibration.judge",
        "draws = exact.draws[[row for _, row in both], :, place]",
        "draws = exact.draws[[row for row, _ in both], :, place]",
        "all",
        "both",
        caught_by="test_calibration.test_a_fit_and_the_truth_are_compared_on_the_data_sets_that_both_have",
    ),
    Fault(
        "the theory of the first nodes for the nodes that are reported",
        "models.chain.exact",
        "return {element(site, index): float(held[index]) for site, index in report(data)}",
        "return {element(site, index): float(held[place]) for place, (site, index) in enumerate(report(data))}",
        "chain",
        "both",
        caught_by="test_chain.test_coverage_of_every_reported_node",
    ),
    Fault(
        "one chain is dealt out instead of cut",
        "compare.user_model.draws",
        "return chain[len(chain) % N_CHAINS :].reshape(N_CHAINS, -1, *chain.shape[1:])",
        "return chain[: len(chain) // N_CHAINS * N_CHAINS].reshape(-1, N_CHAINS, *chain.shape[1:]).swapaxes(0, 1)",
        "all",
        "both",
        caught_by="test_user_guides.test_one_chain_is_cut_into_pieces_in_their_order",
    ),
    Fault(
        "every block of points has the same random numbers",
        "compare.user_model.sitewise",
        "replicated, rounds = settle(program, points, given, list(observed), seed + begin, terms, rounds)",
        "replicated, rounds = settle(program, points, given, list(observed), seed, terms, rounds)",
        "all",
        "both",
        caught_by="test_groups.test_no_two_points_have_the_same_random_numbers",
    ),
    Fault(
        "a cache key that does not know integers from floats",
        "compare.cache.keys",
        'return ["array", value.dtype.str, list(value.shape), content]',
        'return ["array", list(value.shape), content]',
        "all",
        "both",
        caught_by="test_cache.test_different_values_have_different_content",
    ),
]

DEFINITIONS = [
    Fault(
        "bins that are rounded to, not cut",
        "compare.measure.predictive",
        "bins = np.minimum((probability * BINS).astype(int), BINS - 1)",
        "bins = np.minimum(np.rint(probability * BINS).astype(int), BINS - 1)",
        "all",
        "both",
        caught_by="test_predictions.test_the_calibration_error_is_that_of_ten_bins_of_equal_width",
    ),
    Fault(
        "the last mean is called an sd",
        "compare.fit.reference.acceptance",
        '"means" if worst <= len(first.mean) else "sds"',
        '"means" if worst < len(first.mean) else "sds"',
        "all",
        "both",
        caught_by="test_importance.test_a_disagreement_names_what_differs_most",
    ),
]

FAULTS = [*PRINTED, *ERRORS, *ORDERS, *DEFINITIONS]
