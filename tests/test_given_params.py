"""How far given params are from the optimum, where the copy that goes on to it does not get there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from compare.fit.svi import user_guide
from compare.fit.svi.ensemble import UNKNOWN, Outcome
from compare.fit.svi.gap import Gap
from compare.options import Options


class Slope:
    """An objective of one number, whose ELBO is the parameter with noise common to all; not finite beyond ``most``."""

    is_fed, dimension = True, 1

    def __init__(self, noise: float, most: float = 10.0) -> None:
        self.noise, self.most = noise, most

    def evaluate(self, parameters: Any, draws: np.ndarray, data: Any) -> Any:
        x = parameters["flat"][0]
        value = x + self.noise * x * np.cos(7 * draws[:, 0]) if x <= self.most else np.full(len(draws), np.nan)
        return SimpleNamespace(log_ratio=value)


@pytest.mark.parametrize(
    ("noise", "end", "says"),
    [
        (1e-3, 2.0, "the given params are at least 1 ± "),
        (1e3, 2.0, "is not known: a copy that went on did not improve on them beyond 4 errors"),
        (1e-3, 0.5, "is not known: a copy that went on did not improve on them beyond 4 errors"),
        (1e-3, 11.0, "is not known: a copy that went on to it diverged"),
    ],
)
def test_what_a_copy_did_not_gain_is_no_distance(monkeypatch, noise, end, says):
    """The copy ends elsewhere without arriving; what it claims to have left, 1e53 ± 1e53 nats, is noise."""
    reason = "12 rounds ended 1e+53 ± 1e+53 nats from the optimum"
    ended = Outcome({"flat": np.array([end])}, Gap(1e53, 1e53), False, reason, 7, [])
    monkeypatch.setattr(user_guide, "optimise", lambda *_: ended)
    given = {"flat": np.array([1.0])}
    outcome = user_guide.judge_given(Slope(noise), given, None, Options(budget=1.0), 0)
    assert outcome.parameters is given and not outcome.converged
    assert says in outcome.reason and "e+53" not in outcome.reason
    assert (outcome.gap == UNKNOWN) == ("not known" in says)
    assert (outcome.best is None) == ("not known" in says)


def test_given_params_are_to_blame_only_where_their_own_elbo_is_not_finite(monkeypatch):
    ended = Outcome({"flat": np.array([1.0])}, Gap(0.0, 0.0), True, None, 7, [])
    monkeypatch.setattr(user_guide, "optimise", lambda *_: ended)
    with pytest.raises(ValueError, match="params: the ELBO is not finite there"):
        user_guide.judge_given(Slope(1.0), {"flat": np.array([11.0])}, None, Options(budget=1.0), 0)

    def diverge(*_: Any) -> Outcome:
        raise FloatingPointError("the library's SVI diverged")

    monkeypatch.setattr(user_guide, "optimise", diverge)
    outcome = user_guide.judge_given(Slope(1.0), {"flat": np.array([1.0])}, None, Options(budget=1.0), 0)
    assert outcome.reason.endswith("diverged") and outcome.gap == UNKNOWN
