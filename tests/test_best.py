"""Which draws a result advises, and that reweighted ones have the posterior's moments."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from test_user_guides import written

from compare import compare
from compare.best import best_draws
from compare.summary import Verdict

X = np.random.default_rng(3).normal(size=(12, 2)) @ np.array([[1.0, 1.2], [0.0, 0.9]])
DATA = {"x": X, "y": X @ [1.0, -0.5] + 0.5 * np.random.default_rng(1).normal(size=12)}
"""Correlated so far that mean field is too narrow, and its weights can still be trusted."""

MEAN = np.linalg.solve(np.eye(2) + X.T @ X / 0.25, X.T @ DATA["y"] / 0.25)


def test_the_best_draws_are_named_and_repaired():
    """Exact ones first; without them those of a guide that agrees; else reweighted ones, whose sds are then right."""
    side = written("numpyro")
    result = compare(side.line, DATA, guides=["mean_field", "full_rank"], nuts=False)
    table = result.table.set_index(["fit", "quantity"])
    exact = table.loc[("exact", "b[0]")]
    assert np.isclose(exact["mean"], MEAN[0], atol=1e-4) and exact["mcse_mean"] == 0
    assert table.loc[("numpyro-full_rank", "b[1]"), "mcse_elbo"] >= 0 and result._repr_html_().count("<table") == 2
    assert result.best.fit == "exact" and set(result.best.posterior.data_vars) == {"b"}
    assert result.plot_ledger().axes[0].get_xlabel().startswith("evidence gap")
    comparison = result.comparison
    alone = {name: comparison.summaries[name] for name in ("numpyro-mean_field", "numpyro-full_rank")}
    assert best_draws(replace(comparison, summaries=alone)).fit == "numpyro-full_rank"
    narrow = {"numpyro-mean_field": replace(alone["numpyro-mean_field"], verdict=Verdict("narrow", ""))}
    best = best_draws(replace(comparison, summaries=narrow))
    assert best.fit == "numpyro-mean_field" and "resampled" in best.why
    draws = best.posterior["b"].values.reshape(-1, 2)
    worth = float(best.why.rpartition("worth ")[2].split()[0].replace(",", ""))
    own = table.loc[("numpyro-mean_field", "b[0]"), "sd"]
    assert own < 0.9 * exact["sd"]
    assert abs(draws[:, 0].std() / exact["sd"] - 1) < 4 / np.sqrt(worth)  # more than an sd's own sqrt(1 / 2 n)
    refused = {
        "numpyro-mean_field": replace(
            narrow["numpyro-mean_field"], diagnostics=replace(narrow["numpyro-mean_field"].diagnostics, khat=0.9)
        )
    }
    assert best_draws(replace(comparison, summaries=refused)).posterior is None
