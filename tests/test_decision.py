"""What it costs to act on a fit: the bandit's regret by brute force, its error, and what is said of it."""

from __future__ import annotations

import itertools
import json
from html import unescape
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import xarray as xr

from compare import pipeline, report
from compare.comparison import Fit, Job, Request
from compare.measure.decision import loss
from compare.report.html.page import page
from compare.result import Result
from compare.summary import FitSummary, Loss
from compare.verdict.decision import judge_loss
from models.bandit import MODEL, Bandit
from models.bandit.decision import evaluate, exact_regret, meaning, pulls_ahead
from models.bandit.exact import Arms

ERRORS = 4
SCHEMA = json.loads((Path(report.__file__).parent / "summary.schema.json").read_text(encoding="utf-8"))
UNEQUAL = Bandit((5, 2), (3, 1), alpha=1.5, beta=0.5, horizon=4)
UNTRIED = Bandit((0, 0), (0, 0), horizon=12)
THREE = Bandit((10, 4, 0), (7, 3, 0))


def drawn(data: Bandit, seed: int, count: int = 2000, ratio: float = 1.0) -> np.ndarray:
    """Draws from the arms' posterior, or from Betas of the same means with ``ratio`` times the sds for many counts."""
    exact, k = Arms(data), ratio**-2
    return np.random.default_rng(seed).beta(k * exact.a, k * exact.b, (count, len(exact.a)))


def by_histories(data: Bandit, theta: np.ndarray, horizon: int) -> float:
    """The regret of draws, reweighted pull by pull, over all histories; arms and rewards by the exact posterior."""
    exact, weights, total = Arms(data), np.ones(len(theta)), 0.0
    x, w = np.polynomial.legendre.leggauss(60)
    grid = np.stack(np.meshgrid((x + 1) / 2, (x + 1) / 2), axis=-1)
    density = np.multiply.outer(w, w) / 4 * exact.posterior.pdf(grid).prod(-1)
    best = float((density * grid.max(-1)).sum())  # the kink at equal arms costs the quadrature some digits
    for pulls, pays in itertools.product(itertools.product((0, 1), repeat=horizon), repeat=2):
        probability, weights, (a, b) = 1.0, np.ones(len(theta)), (exact.a.copy(), exact.b.copy())
        regret = 0.0
        for arm, pay in zip(pulls, pays, strict=True):
            probability *= weights[theta.argmax(1) == arm].sum() / weights.sum()
            mean = a[arm] / (a[arm] + b[arm])
            probability, regret = probability * (mean if pay else 1 - mean), regret + best - mean
            weights = weights * (theta[:, arm] if pay else 1 - theta[:, arm])
            a[arm], b[arm] = a[arm] + pay, b[arm] + 1 - pay
        total += probability * regret
    return total


def test_regret_is_the_sum_over_all_histories() -> None:
    theta = drawn(UNEQUAL, 0, 7)
    assert evaluate(UNEQUAL, {"theta": theta})[0] == pytest.approx(by_histories(UNEQUAL, theta, 4), abs=2e-3)


def test_differences_of_regret_are_those_over_all_histories() -> None:
    """What the best arm pays cancels, and with it the quadrature's error."""
    draws, other = drawn(UNEQUAL, 0, 7), drawn(UNEQUAL, 1, 5, 0.5)
    ours = evaluate(UNEQUAL, {"theta": draws})[0] - evaluate(UNEQUAL, {"theta": other})[0]
    assert ours == pytest.approx(by_histories(UNEQUAL, draws, 4) - by_histories(UNEQUAL, other, 4), abs=1e-10)


@pytest.mark.parametrize("data", [UNEQUAL, THREE])
def test_a_draws_influence_is_the_derivative(data) -> None:
    """One more copy of a draw among very many of all."""
    theta, copies = drawn(data, 3, 6), 3000
    value, influence = evaluate(data, {"theta": theta})
    assert influence.mean() == pytest.approx(0, abs=1e-12)
    for place in range(len(theta)):
        more = np.concatenate([np.repeat(theta, copies, axis=0), theta[[place]]])
        derivative = (evaluate(data, {"theta": more})[0] - value) * len(more)
        assert derivative == pytest.approx(influence[place], abs=2e-3)


@pytest.mark.parametrize("data", [UNTRIED, THREE])
def test_exact_draws_have_the_exact_regret_within_their_error(data) -> None:
    exact, scores = exact_regret(data), []
    for seed in range(100):
        value, influence = evaluate(data, {"theta": drawn(data, seed)})
        scores.append((value - exact) / (influence.std() / len(influence) ** 0.5))
    assert abs(np.mean(scores)) < ERRORS / 100**0.5
    assert abs(np.std(scores) - 1) < ERRORS / 200**0.5


def measured(data: Bandit, theta: np.ndarray, method: str = "svi") -> Loss:
    """The judged loss of draws of shape (chain, draw, arms)."""
    job = Job("numpyro-mean_field", "bandit", data, method, "numpyro", "mean_field")
    groups = {"posterior": xr.Dataset({"theta": (("chain", "draw", "theta_dim_0"), theta)})}
    known = loss(Fit(job, "done", tree=xr.DataTree.from_dict(groups)))
    judged = judge_loss(FitSummary("numpyro", None, method, "done", None, 1.0, 1, {}, decision=known))
    assert judged is not None
    return judged


@pytest.mark.parametrize(
    ("data", "ratio", "word"),
    [(UNTRIED, 1.0, "same"), (UNTRIED, 0.5, "more"), (THREE, 1.0, "same"), (THREE, 0.5, "less")],
)
def test_what_is_said_of_draws(data, ratio, word) -> None:
    """Of half the sd too: they explore too little over twelve pulls, and cost less in the next one."""
    known = measured(data, drawn(data, 5, 4000, ratio).reshape(4, 1000, -1))
    assert known.word == word
    assert known.exact == pytest.approx(exact_regret(data), rel=1e-11)
    parts = {"same": "the same within its error", "less": "it loses less, by", "more": "it loses more, by"}
    assert parts[word] in known.sentence
    assert f"Its regret is {known.value:.4g}" in known.sentence


def test_a_point_has_no_error() -> None:
    known = measured(UNTRIED, np.tile([0.4, 0.6], (4, 100, 1)))
    assert (known.mcse, known.word) == (0.0, "more")


def test_draws_of_chains_count_by_their_effective_size() -> None:
    """Each draw ten times: the error of a tenth as many."""
    theta = np.repeat(drawn(UNTRIED, 6, 2000).reshape(4, 500, 2), 10, axis=1)
    independent, chains = (measured(UNTRIED, theta, method).mcse for method in ("svi", "nuts"))
    assert chains / independent == pytest.approx(10**0.5, rel=0.25)


def test_how_far_ahead() -> None:
    assert [pulls_ahead(data) for data in (Bandit(), Bandit(horizon=150), THREE)] == [30, 50, 1]
    assert "over the next 30 pulls by" in meaning(Bandit()) and "over the next pull by" in meaning(THREE)


def test_it_is_printed_beside_the_verdict() -> None:
    """In the table, on the page and in the summary, by one path; the exact posterior's has no word."""
    data = Bandit(horizon=10)
    comparison = pipeline.compare(Request(MODEL, data, ("numpyro",), ("mean_field",), nuts=False))
    jsonschema.validate(comparison.summary, SCHEMA)
    exact, fit = (comparison.summary["fits"][name]["decision"] for name in ("exact", "numpyro-mean_field"))
    assert (exact["word"], exact["mcse"]) == (None, 0.0)
    assert exact["value"] == fit["exact"] == pytest.approx(exact_regret(data), rel=1e-11)
    assert (fit["word"], fit["name"], fit["meaning"]) == ("same", "regret", meaning(data))
    text = str(Result(comparison))
    assert "regret" in text and "vs exact" in text and f"{fit['value']:.2f}" in text
    html = unescape(page(comparison))
    assert fit["sentence"] in html and meaning(data) in html
