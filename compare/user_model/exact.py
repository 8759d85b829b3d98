"""A user's exact posterior: adapted to `Exact`, and checked against the model."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from compare.comparison import Layout
from models.contract import Exact

REQUIRED = ("method", "tolerance", "log_evidence", "draw", "log_posterior")
ALTERNATIVES = ("mean", "sd", "quantile", "density")
"""What a user's exact posterior must offer, and what it may offer instead of `marginal`."""


class UserExact(Exact):
    """A user's exact posterior, which need not be an `Exact`: what it does not offer follows from its ``marginal``."""

    def __init__(self, given: Any) -> None:
        offers = (*REQUIRED, *ALTERNATIVES, "marginal", "correlations", "extra_summary")
        vars(self).update({name: getattr(given, name) for name in offers if hasattr(given, name)})


def check_exact(user: Any, values: Mapping[str, Any], layout: Layout, exact: Any) -> None:
    """Hold a user's exact posterior to the identity log p(x, z) - log p(z | x) = log p(x), at draws from it.

    Raises:
        ValueError: something is missing from it, or it is not this model's posterior.
    """
    missing = [name for name in REQUIRED if not hasattr(exact, name)]
    if not hasattr(exact, "marginal"):
        missing += [name for name in ALTERNATIVES if not hasattr(exact, name)]
    if missing:
        raise ValueError(
            f"the exact posterior has no {missing[0]}; it must offer {', '.join(REQUIRED)} and marginal, as "
            "models.contract.Exact says"
        )
    draws = exact.draw(np.random.default_rng(0), 16)
    for site, shape in layout.latents.items():
        if np.shape(draws.get(site)) != (16, *shape):
            raise ValueError(f"the exact posterior's draw(rng, 16) gives no {site!r} of shape {(16, *shape)}")
    side = import_module(f"compare.user_model.in_{user.library}")
    points = side.points_of({site: draws[site] for site in layout.latents})
    joints, _ = side.log_joints(user, values, points, jit=True)
    evidence = np.array(joints) - exact.log_posterior(draws)
    worst = evidence[np.argmax(np.abs(evidence - exact.log_evidence))]
    if not abs(worst - exact.log_evidence) <= max(1e-6 * (1 + abs(exact.log_evidence)), 4 * exact.tolerance):
        raise ValueError(
            f"the exact posterior is not this model's: at a draw from it log p(x, z) - log p(z | x) is {worst:.6g}, "
            f"but its log evidence is {exact.log_evidence:.6g}"
        )
