"""The ledger of a whole test set, observation by observation, and the networks that were trained, by held-out evidence.

A network is better if it gives held-out observations more evidence; a guide is better if its ELBO comes closer to that.
All numbers are means over the test observations, in nats each. Differences (the gaps) are taken observation by
observation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from compare.comparison import Fit
from compare.held_out import HeldOut, HeldOutEvidence, HeldOutLedger, NetworkSummary
from compare.summary import Score
from models.contract import Amortization, Evidences, Model


def weights(fit: Fit) -> dict[str, np.ndarray]:
    """The weights of the network that a training gave, by name."""
    return {str(name): value.values for name, value in fit.tree["decoder"].data_vars.items()}


def held_out(model: Model, data: Any, fits: Mapping[str, Fit], trainings: Mapping[str, Fit]) -> HeldOut | None:
    """The test set's numbers; None where the model has none."""
    part = model.amortization
    if part is None:
        return None
    training, known = part.training(data), part.held_out(data)
    test = training.test
    size = training.n_elements or test.shape[1]
    evidence = per_observation(known, size) if known else None
    networks = {name: network(part, data, fit, known, size) for name, fit in trainings.items()}
    return HeldOut(
        observations=len(test),
        size=size,
        method=known.method if known else None,
        guides={
            name: ledger(fit, known) for name, fit in fits.items() if fit.tree is not None and "test_set" in fit.tree
        },
        networks=networks or {"given": NetworkSummary("done", evidence=evidence)},
        baselines={
            name: per_observation(Evidences(values, np.zeros(len(values)), "exact"), size)
            for name, values in part.baselines(data).items()
        },
    )


def mean(values: np.ndarray, mcse: np.ndarray) -> Score:
    """The mean over observations, with both errors."""
    sampling = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    return Score(float(values.mean()), float(np.linalg.norm(mcse) / len(values)), sampling)


def ledger(fit: Fit, known: Evidences | None) -> HeldOutLedger:
    """A guide's ledger, the mean over the test observations."""
    group = {name: value.values for name, value in fit.tree["test_set"].data_vars.items()}

    def less(values: np.ndarray, mcse: np.ndarray, name: str) -> Score:
        return mean(values - group[name], np.hypot(mcse, group[f"{name}_mcse"]))

    return HeldOutLedger(
        log_evidence=mean(known.values, known.mcse) if known else None,
        elbo=mean(group["elbo"], group["elbo_mcse"]),
        data_fit=mean(group["data_fit"], group["data_fit_mcse"]),
        complexity=mean(group["complexity"], np.hypot(group["data_fit_mcse"], group["elbo_mcse"])),
        evidence_gap=less(known.values, known.mcse, "elbo") if known else None,
        family_gap=less(known.values, known.mcse, "best_elbo") if known else None,
        amortisation_gap=less(group["best_elbo"], group["best_elbo_mcse"], "elbo"),
    )


def network(part: Amortization, data: Any, fit: Fit, known: Evidences | None, size: int) -> NetworkSummary:
    """How well a network predicts held-out observations, and what its training took.

    ``known`` is the evidence under the network of ``data``.
    """
    if fit.tree is None:
        return NetworkSummary(fit.status, fit.reason, fit.seconds)
    theirs = part.with_decoder(data, weights(fit))
    evidences = known if theirs == data else part.held_out(theirs)
    group, end = fit.tree["test_set"].dataset, fit.tree["optimisation"].attrs
    return NetworkSummary(
        fit.status,
        str(end["reason"]) or None,
        fit.seconds,
        per_observation(evidences, size) if evidences else None,
        mean(group["elbo"].values, group["elbo_mcse"].values),
        int(end["epochs"]),
        float(end["speed"]),
        bool(end["converged"]),
    )


def per_observation(known: Evidences, size: int) -> HeldOutEvidence:
    """Mean log evidence of an observation in nats, and in bits for each of its ``size`` elements."""
    nats, unit = mean(known.values, known.mcse), size * np.log(2)
    return HeldOutEvidence(nats.value, nats.mcse, nats.sampling, -nats.value / unit, nats.sampling / unit)
