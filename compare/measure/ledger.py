"""The ledger of a fit, in nats."""

from __future__ import annotations

import numpy as np

from compare import standard_errors
from compare.comparison import Fit, Truth
from compare.measure.moments import digits
from compare.measure.symmetry import symmetry_gap
from compare.measure.truth import evidence_error
from compare.summary import Estimate, Ledger
from models.contract import Best


def ledger(fit: Fit, truth: Truth | None, best: Best | None) -> Ledger:
    """The ledger. Both its equations hold to rounding: complexity and optimisation gap close them."""
    if fit.job.is_mcmc or fit.job.method == "importance":
        return Ledger()
    stats = fit.tree["sample_stats"].dataset
    if "log_guide" not in stats:  # without a density there is no KL to speak of
        return Ledger()
    log_joint, log_prior = (stats[name].values for name in ("log_joint", "log_prior"))
    fit_to_data = log_joint - log_prior
    data_fit = complexity = None
    log_evidence = truth.log_evidence if truth else None
    if fit.job.method == "exact" and log_evidence is not None:
        elbo = estimate(log_evidence)
    else:  # known better than from these draws: closed form, or draws designed for it
        end = fit.tree["optimisation"].attrs
        elbo = estimate(digits(end["elbo"], 12) if end["elbo_mcse"] else end["elbo"], end["elbo_mcse"])
    improper = fit.job.layout is not None and fit.job.layout.improper
    if np.isfinite(fit_to_data).all():  # else the twin of an exact posterior is wrong or cannot be run
        data_fit = estimate(digits(fit_to_data.mean(), 12), standard_errors.of_mean(fit_to_data, True))
        # The ELBO is far better known than the two terms it is the difference of, whose errors are nearly the same.
        if not improper:
            complexity = estimate(data_fit.value - elbo.value, np.hypot(data_fit.mcse, elbo.mcse))
    symmetry = symmetry_gap(fit)
    if log_evidence is None:
        return Ledger(elbo, data_fit, complexity, symmetry_gap=symmetry)
    known = estimate(log_evidence, evidence_error(truth))
    evidence_gap = difference(known, elbo)
    return Ledger(elbo, data_fit, complexity, evidence_gap, symmetry, **gaps(fit, elbo, known, best, symmetry))


def gaps(
    fit: Fit, elbo: Estimate, log_evidence: Estimate, best: Best | None, symmetry: Estimate | None
) -> dict[str, Estimate]:
    """Family, amortisation, auxiliary and optimisation gap, those that apply and are known.

    A guide with an auxiliary variable whose optimisation gap is not known has it in its family gap.
    """
    if fit.job.method == "exact":
        return {"family_gap": Estimate(0.0), "optimisation_gap": Estimate(0.0)}
    end = fit.tree["optimisation"].attrs
    if "best_elbo" in end:  # without the encoder
        highest = Estimate(float(end["best_elbo"]), float(end["best_elbo_mcse"]))
        return {"family_gap": difference(log_evidence, highest), "amortisation_gap": difference(highest, elbo)}
    parts = {}
    if "auxiliary_gap" in end:
        parts["auxiliary_gap"] = estimate(end["auxiliary_gap"], end["auxiliary_gap_mcse"])
    if best:
        highest = Estimate(best.elbo)
        parts["optimisation_gap"] = difference(highest, elbo)
    elif end["converged"] and np.isfinite(end["gap"]):
        left = parts["optimisation_gap"] = estimate(end["gap"], end["gap_mcse"])  # by the optimiser's own account
        highest = estimate(elbo.value + left.value, np.hypot(elbo.mcse, left.mcse))
    elif end["converged"] and parts:  # the ELBO of q(z) itself, without the auxiliary variable
        highest = estimate(elbo.value + end["auxiliary_gap"], end["marginal_elbo_mcse"])
    else:
        return parts
    family = difference(difference(log_evidence, highest), symmetry or Estimate(0.0))
    return parts | {"family_gap": family}


def difference(minuend: Estimate, subtrahend: Estimate) -> Estimate:
    """The difference of two independent estimates."""
    return estimate(minuend.value - subtrahend.value, np.hypot(minuend.mcse, subtrahend.mcse))


def estimate(value: float, mcse: float = 0.0) -> Estimate:
    """A term and its error, to the digits that are reported."""
    return Estimate(float(value), digits(mcse, 6))
