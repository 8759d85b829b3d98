"""The ledger of a whole test set, observation by observation, and the models that were learnt, by held-out evidence.

A network is better if it gives held-out observations more evidence; a guide is better if its ELBO comes closer to that.
All numbers are means over the test observations, in nats each, with two errors: ``mcse`` from the draws, ``sampling``
from the number of observations. Differences (the gaps) are taken observation by observation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from compare.comparison import Fit
from models.contract import Evidences, Model

__all__ = ["ledger", "summary", "weights"]

Mean = dict[str, float]


def weights(fit: Fit) -> dict[str, np.ndarray]:
    """The network that a training learnt."""
    return {str(name): value.values for name, value in fit.tree["decoder"].data_vars.items()}


def summary(model: Model, data: Any, fits: Mapping[str, Fit], learning: Mapping[str, Fit]) -> dict[str, Any] | None:
    """What the summary says of the test set; None where the model has none.

    ``guides`` holds a ledger for each guide on the one network of the comparison, ``networks`` the held-out evidence of
    each network that was learnt, with its guide's ELBO, and ``rivals`` that of simpler models.
    """
    amortised = {name: fit for name, fit in fits.items() if fit.tree is not None and "test_set" in fit.tree}
    part = model.amortization
    if part is None:
        return None
    training, known = part.training(data), part.held_out(data)
    size = training.test.shape[1]
    networks = {}
    for name, fit in learning.items():
        theirs = part.with_decoder(data, weights(fit)) if fit.tree is not None else None
        found = known if theirs == data else part.held_out(theirs) if theirs else None
        networks[name] = network(fit, found, size)
    if not learning:
        networks["given"] = blank("done", None, None) | {"evidence": per_observation(known, size)}
    return {
        "observations": len(training.test),
        "size": size,
        "method": known.method if known else None,
        "guides": {name: ledger(fit, known) for name, fit in amortised.items()},
        "networks": networks,
        "rivals": {
            name: per_observation(Evidences(values, np.zeros(len(values)), "exact"), size)
            for name, values in part.baselines(data).items()
        },
    }


def mean(values: np.ndarray, mcse: np.ndarray) -> Mean:
    """The mean over observations, with both errors."""
    sampling = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    return {"value": float(values.mean()), "mcse": float(np.linalg.norm(mcse) / len(values)), "sampling": sampling}


def ledger(fit: Fit, known: Evidences | None) -> dict[str, Mean | None]:
    """A guide's ledger, the mean over the test observations; the gaps are None where no evidence is known."""
    group = {name: value.values for name, value in fit.tree["test_set"].data_vars.items()}
    found: dict[str, Mean | None] = {
        "log_evidence": None,
        "elbo": mean(group["elbo"], group["elbo_mcse"]),
        "data_fit": mean(group["data_fit"], group["data_fit_mcse"]),
        "complexity": mean(group["complexity"], np.hypot(group["data_fit_mcse"], group["elbo_mcse"])),
        "evidence_gap": None,
        "family_gap": None,
        "amortisation_gap": mean(
            group["best_elbo"] - group["elbo"], np.hypot(group["elbo_mcse"], group["best_elbo_mcse"])
        ),
    }
    if known is not None:
        found["log_evidence"] = mean(known.values, known.mcse)
        found["evidence_gap"] = mean(known.values - group["elbo"], np.hypot(known.mcse, group["elbo_mcse"]))
        found["family_gap"] = mean(known.values - group["best_elbo"], np.hypot(known.mcse, group["best_elbo_mcse"]))
    return found


def network(fit: Fit, known: Evidences | None, size: int) -> dict[str, Any]:
    """A network that was learnt: how well it predicts held-out observations, and what learning it took."""
    found = blank(fit.status, fit.reason, fit.seconds)
    if fit.tree is None:
        return found
    group, said = fit.tree["test_set"].dataset, fit.tree["optimisation"].attrs
    return found | {
        "evidence": per_observation(known, size),
        "elbo": mean(group["elbo"].values, group["elbo_mcse"].values),
        "epochs": int(said["epochs"]),
        "speed": float(said["speed"]),
        "converged": bool(said["converged"]),
        "reason": str(said["reason"]) or None,
    }


def blank(status: str, reason: str | None, seconds: float | None) -> dict[str, Any]:
    """What is said of a network of which nothing is known."""
    nothing = dict.fromkeys(("evidence", "elbo", "epochs", "speed", "converged"))
    return {"status": status, "reason": reason, "seconds": seconds, **nothing}


def per_observation(known: Evidences | None, size: int) -> dict[str, Any] | None:
    """Mean log evidence of an observation in nats, and in bits for each of its ``size`` elements."""
    if known is None:
        return None
    found = mean(known.values, known.mcse)
    return found | {
        "bits": -found["value"] / (size * np.log(2)),
        "bits_sampling": found["sampling"] / (size * np.log(2)),
    }
