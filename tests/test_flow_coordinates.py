"""Chains in the coordinates of a guide have the model's posterior, however bad the guide; and what they confirm."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import xarray as xr
from test_missed import job_of, one_mode, two_modes
from test_nuts import within_four_errors
from test_verdict import a_reference

import models
from compare.comparison import Fit, Job
from compare.fit.density import layout_of
from compare.fit.mcmc import nuts, reference
from compare.fit.svi import svi
from compare.fit.tree import build, split
from compare.measure.measures import measure
from compare.options import Options
from compare.summary import to_json
from compare.verdict import thresholds
from compare.verdict.judge import complaints, judge_reference


@pytest.mark.parametrize("family", [pytest.param("full_rank", marks=pytest.mark.slow), "flow"])
@pytest.mark.parametrize("library", ["numpyro", pytest.param("pyro", marks=pytest.mark.slow)])
def test_a_bad_guide_makes_no_wrong_draws(library, family):
    """The chain of two nodes, seen from a guide that was never fitted: independent normals of sd 0.1 around a start."""
    data = models.load("chain").data()
    job = Job("reference", "chain", data, "nuts", library, None, 0, Options(ess=400.0, budget=600.0))
    job = replace(job, layout=layout_of(job))
    side, chains = (import_module(f"compare.fit.{name}_{library}") for name in ("svi.objective", "mcmc.nuts"))
    arrays, static = chains.split_arguments(data.arguments())
    objective = svi.preparation(side, job, static, arrays)(family)
    start = objective.start(0, arrays)

    def latents(sampled):
        return objective.evaluate(start, sampled[nuts.BASE], arrays).latents

    tree, _ = nuts.sample(chains, job, chains.in_coordinates_of(objective, start), latents, nuts.Adaptation(0.9))
    summary = measure(Fit(job, "done", None, 1.0, 1, tree), models.load("chain").exact(data), None)
    within_four_errors(to_json(summary))


def run_of(mean: float, n_diverged: int, repeated: int = 1, seed: int = 0) -> xr.DataTree:
    """Exact draws of a posterior in 25 dimensions, the last shifted, of which some are said to have diverged."""
    z = one_mode(two_modes(0.3)).draw(4000, np.random.default_rng(seed))
    z = np.repeat(z[: 4000 // repeated], repeated, axis=0)
    z[: 1 if np.isinf(mean) else None, -1] += mean
    draws = split({"z": z})
    flags = (np.arange(4000) < n_diverged).reshape(4, 1000)
    tree = build(draws, {"diverging": flags, "energy": np.ones((4, 1000))}, {})
    tree.attrs.update(targets_met=1, reason="")
    return tree


@pytest.mark.parametrize(
    ("own", "there", "taken", "confirmed"),
    [
        ((0.0, 300), (0.0, 7), True, True),
        ((0.1, 300), (0.0, 7), True, False),  # a third of an sd apart
        ((0.1, 300), (0.0, 0), True, False),  # nothing diverges: there is nothing to confirm
        ((0.0, 300), (0.0, 60), True, False),  # too many diverge
        ((0.0, 300), (0.0, 301), False, False),
        ((0.0, 300, 50), (0.0, 7), True, False),  # too few draws to tell
        ((np.inf, 300), (0.0, 7), True, False),
    ],
)
def test_chains_that_diverge_are_confirmed_by_those_in_other_coordinates(own, there, taken, confirmed):
    first, second = run_of(*own, seed=0), run_of(*there, seed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "in_coordinates_of_a_flow", lambda library, job: (None, dict, 10))
        patch.setattr(reference, "sample", lambda *_: (second, 5))
        tree, spent = reference.again(None, job_of("numpyro", two_modes(0.3)), first)
    assert spent == 15 and tree is (second if taken else first)
    assert ("confirmed" in tree.attrs) == confirmed
    if taken:
        own_draws = "in the model's own 300 of 4,000 transitions diverged"
        differs = ", and means or sds there differ, or may, by 0.2 sd"
        is_same = confirmed or there == (0.0, 60)
        assert tree.attrs["ran_elsewhere"].endswith(own_draws if is_same else own_draws + differs)
    else:
        assert tree.attrs["ran_elsewhere"].endswith("in the coordinates of a flow 7.5% of the transitions diverged")
    if confirmed:
        assert tree.attrs["confirmed"].startswith("7 of 4,000 transitions diverged in the coordinates of a flow and")


def test_a_flow_that_fails_costs_nobody_the_first_chains(monkeypatch):
    def fail(library, job):
        raise FloatingPointError("the log joint is not finite where the guide starts")

    monkeypatch.setattr(reference, "in_coordinates_of_a_flow", fail)
    first = run_of(0.0, 3, seed=0)
    tree, spent = reference.again(None, job_of("numpyro", two_modes(0.3)), first)
    assert tree is first and spent == 0 and tree.attrs["ran_elsewhere"].endswith("is not finite where the guide starts")


def test_runs_agree_by_the_rule_of_verdicts():
    """Fits import no verdict: the numbers are theirs all the same, twice the tolerated sds and as many errors."""
    assert (reference.HIDDEN, reference.ERRORS) == (2 * thresholds.MEAN, thresholds.ERRORS)


def test_divergences_that_another_run_confirms_are_no_complaint():
    diverged = replace(a_reference().diagnostics, divergences=7)
    summary = replace(a_reference(), diagnostics=diverged)
    assert complaints(summary, Options()) == ["7 transitions diverged"]
    summary = replace(summary, confirmed="7 of 4,000 diverged, and two runs agree")
    judged = judge_reference(summary, Options())
    assert judged.word == "agrees" and "7 of 4,000 diverged, and two runs agree" in judged.sentence
    assert "no divergences" not in judged.sentence
