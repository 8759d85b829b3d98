"""Which draws a result advises, and that resampled ones have the posterior's moments."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from test_user_guides import written

from compare import compare
from compare.best import best_draws, distances, resampled
from compare.summary import Diagnostics, Estimate, Verdict

X = np.random.default_rng(3).normal(size=(12, 2)) @ np.array([[1.0, 1.1], [0.0, 0.9]])
DATA = {"x": X, "y": X @ [1.0, -0.5] + 0.5 * np.random.default_rng(1).normal(size=12)}
"""Correlated so far that mean field is too narrow, and its weights can still be trusted."""

PRECISION = np.eye(2) + X.T @ X / 0.25
MEAN, SD = np.linalg.solve(PRECISION, X.T @ DATA["y"] / 0.25), np.sqrt(np.diag(np.linalg.inv(PRECISION)))


@pytest.fixture(scope="module")
def result():
    return compare(written("numpyro").line, DATA, guides=["mean_field", "full_rank"], nuts=True)


def without(comparison, *names: str, **changes):
    """The comparison without some fits, with other summaries in the place of some."""
    summaries = {name: summary for name, summary in comparison.summaries.items() if name not in names}
    return replace(comparison, summaries=summaries | changes)


def test_the_table_holds_numbers_with_their_errors(result):
    table = result.table.set_index(["fit", "quantity"])
    assert table.index.is_unique and set(table.drop(columns="verdict").dtypes) == {np.dtype(float)}
    for name, row in table.iterrows():
        place = int(name[1][2])
        assert abs(row["mean"] - MEAN[place]) <= 4.5 * row["mcse_mean"] + 1e-6 * SD[place]
    exact = table.loc[("exact", "b[0]")]
    assert abs(exact["sd"] / SD[0] - 1) < 1e-4 and exact["mcse_mean"] == 0
    full_rank = table.loc[("numpyro-full_rank", "b[1]")]
    assert abs(full_rank["evidence_gap"]) <= 4 * full_rank["mcse_evidence_gap"] + 0.01
    assert np.isnan(full_rank["r_hat"]) and np.isnan(table.loc[("numpyro-nuts", "b[0]"), "elbo"])


def test_the_display_and_the_ledgers_figure(result):
    page, figure = result._repr_html_(), result.plot_ledger()
    assert page.count("<table") == 2 and "draws to use</b>: exact" in page and "optimiser arrived" in page
    assert isinstance(figure, Figure) and figure.axes[0].get_xlabel().startswith("evidence gap")
    gap = result.comparison.summaries["numpyro-mean_field"].ledger.evidence_gap.value
    widths = sum(bar.get_width() for bar in figure.axes[0].patches if round(bar.get_y() + 0.4) == 0)
    assert np.isclose(widths, gap)


def test_exact_draws_come_first_and_chains_that_met_their_targets_next(result):
    comparison = result.comparison
    assert result.best.fit == "exact" and set(result.best.posterior.data_vars) == {"b"}
    assert best_draws(without(comparison, "exact", "numpyro-full_rank", "numpyro-mean_field")).fit == "numpyro-nuts"


def test_a_narrow_guide_is_repaired_by_its_weights(result):
    """Its resampled draws have the posterior's means and sds; a second mode forbids it."""
    comparison = result.comparison
    mean_field = replace(comparison.summaries["numpyro-mean_field"], verdict=Verdict("unreliable", ""))
    alone = without(comparison, "exact", "numpyro-nuts", "numpyro-full_rank", **{"numpyro-mean_field": mean_field})
    best = best_draws(alone)
    assert best.fit == "numpyro-mean_field" and "nothing confirms" in best.why
    worth = float(best.why.rpartition("worth ")[2].split()[0].replace(",", ""))
    draws = best.posterior["b"].values.reshape(-1, 2)
    own = result.tree["numpyro-mean_field/posterior"]["b"].values.reshape(-1, 2).std(axis=0)
    assert (own < 0.93 * SD).all()
    assert (np.abs(draws.std(axis=0) / SD - 1) < 4 / np.sqrt(worth)).all()  # more than the sqrt(1 / 2 n) of plain draws
    assert (np.abs(draws.mean(axis=0) - MEAN) < 4 * SD / np.sqrt(worth)).all()
    elsewhere = {
        name: replace(variable, mean=variable.mean + 20 * variable.sd)
        for name, variable in mean_field.variables.items()
    }
    other = replace(mean_field, variables=elsewhere)
    second = replace(alone, summaries=alone.summaries | {"other": other})
    apart = "no draws may be used: numpyro-mean_field and other are in different modes"
    assert best_draws(second).posterior is None and best_draws(second).why == apart


def test_a_guide_is_preferred_to_a_short_reference_that_it_agrees_with(result):
    """And not to one that it contradicts, nor to a long one."""
    comparison = result.comparison
    nuts, mean_field = (comparison.summaries[f"numpyro-{name}"] for name in ("nuts", "mean_field"))
    short = replace(
        nuts, method="reference", verdict=Verdict("undecided", ""), diagnostics=Diagnostics(1.0, 90.0, 90.0, 0, 1.0)
    )
    vague = {name: replace(v, mcse_mean=v.sd / 9, mcse_sd=v.sd / 13) for name, v in nuts.variables.items()}
    moved = {name: replace(v, mean=v.mean + v.sd) for name, v in vague.items()}
    fits = dict(comparison.fits) | {"reference": comparison.fits["numpyro-nuts"]}
    for variables, ess, chosen in (
        (vague, 90.0, "numpyro-mean_field"),
        (moved, 90.0, "reference"),
        (vague, 4000.0, "reference"),
    ):
        diagnostics = replace(short.diagnostics, ess_bulk=ess, ess_tail=ess)
        reference = replace(short, variables=variables, diagnostics=diagnostics)
        summaries = {"reference": reference, "numpyro-mean_field": mean_field}
        assert best_draws(replace(comparison, fits=fits, summaries=summaries)).fit == chosen


def test_why_these_draws_says_which_and_what_they_are_worth(result):
    """Of two guides the one with the larger ELBO comes first, whatever their order; an ESS is the smaller of two."""
    comparison = result.comparison
    method = comparison.log_evidence.method
    assert result.best.why == f"independent draws from the posterior ({method})"
    guides = {name: comparison.summaries[f"numpyro-{name}"] for name in ("mean_field", "full_rank")}
    for higher in guides:
        summaries = {
            f"numpyro-{name}": replace(
                guide,
                verdict=Verdict("unreliable", ""),
                ledger=replace(guide.ledger, elbo=Estimate(-5.0 if name == higher else -6.0, 0.1)),
            )
            for name, guide in guides.items()
        }
        assert best_draws(replace(comparison, summaries=summaries)).fit == f"numpyro-{higher}"
    agrees = {name: replace(guide, verdict=Verdict("agrees", f"So does {name}.")) for name, guide in guides.items()}
    for first, other in (("mean_field", "full_rank"), ("full_rank", "mean_field")):
        summaries = {f"numpyro-{name}": agrees[name] for name in (first, other)}
        best = best_draws(replace(comparison, summaries=summaries))
        assert (best.fit, best.why) == (f"numpyro-{first}", f"there is no reference; So does {first}.")
        assert best.posterior.equals(comparison.fits[f"numpyro-{first}"].tree["posterior"].to_dataset())
    nuts = comparison.summaries["numpyro-nuts"]
    long = replace(nuts.diagnostics, ess_bulk=5000.0, ess_tail=4321.0)
    reference = replace(nuts, method="reference", verdict=Verdict("agrees", ""), diagnostics=long)
    fits = dict(comparison.fits) | {"reference": comparison.fits["numpyro-nuts"]}
    best = best_draws(replace(comparison, fits=fits, summaries={"reference": reference}))
    assert best.why == "a long run whose chains agree, worth 4,321 independent draws"
    short = replace(
        reference, verdict=Verdict("undecided", ""), diagnostics=replace(long, ess_bulk=87.0, ess_tail=90.0)
    )
    vague = {name: replace(v, mcse_mean=v.sd / 9, mcse_sd=v.sd / 13) for name, v in nuts.variables.items()}
    summaries = {"reference": replace(short, variables=vague), "numpyro-mean_field": guides["mean_field"]}
    best = best_draws(replace(comparison, fits=fits, summaries=summaries))
    assert best.why.endswith("independent ones, and agree with the reference, which is short (ESS 87)")


def test_resampled_draws_keep_their_pairs_and_widen_their_errors(result):
    """The elements of a draw stay together; errors are those of as many draws as the weights are worth."""
    fit = result.comparison.fits["numpyro-mean_field"]
    before, drawn = fit.tree["posterior"]["b"].values.reshape(-1, 2), resampled(fit)
    after = drawn.posterior["b"].values.reshape(-1, 2)
    assert set(map(tuple, after)) <= set(map(tuple, before)) and 1 < drawn.worth < len(after)
    rho = PRECISION[0, 1] / np.sqrt(PRECISION[0, 0] * PRECISION[1, 1])
    assert abs(np.corrcoef(after.T)[0, 1] + rho) < 4 / np.sqrt(drawn.worth)
    reference = result.comparison.summaries["exact"]
    apart = distances(drawn, result.comparison.layout, reference)
    for place, (name, distance) in enumerate(apart.items()):
        own, known = after[:, place], reference.variables[name]
        assert distance.mean_error.value == pytest.approx((own.mean() - known.mean) / known.sd, abs=1e-4)
        assert distance.sd_ratio.value == pytest.approx(own.std(ddof=1) / known.sd, abs=1e-4)
        error = own.std(ddof=1) / np.sqrt(drawn.worth) / known.sd
        assert distance.mean_error.mcse == pytest.approx(error, rel=1e-3)


def test_none_are_named_where_two_runs_of_nuts_differ(result):
    """By far more than their errors, and no reference says which is right."""
    nuts = result.comparison.summaries["numpyro-nuts"]
    moved = {name: replace(each, mean=each.mean + 3 * each.sd) for name, each in nuts.variables.items()}
    other = replace(nuts, library="pyro", variables=moved)
    alone = without(result.comparison, "exact", "numpyro-full_rank", "numpyro-mean_field", **{"pyro-nuts": other})
    best = best_draws(alone)
    assert best.fit is None and "numpyro-nuts and pyro-nuts differ" in best.why


def test_none_are_named_where_fits_contradict_a_healthy_reference(result):
    comparison = result.comparison
    nuts = comparison.summaries["numpyro-nuts"]
    reference = replace(nuts, method="reference", verdict=Verdict("unreliable", "There are two modes."))
    summaries = {"reference": reference, "numpyro-full_rank": comparison.summaries["numpyro-full_rank"]}
    best = best_draws(replace(comparison, summaries=summaries))
    assert best.posterior is None and "two modes" in best.why
