"""Whether chains mixed, whether a guide's weights can be trusted, and where an optimiser ended."""

from __future__ import annotations

import math

import arviz_stats
import numpy as np
from scipy import special

from compare.comparison import Fit
from compare.fit.mcmc.nuts import TAIL
from compare.fit.psis import has_equal_weights, log_ratios, relative_ess, smooth
from compare.measure.elements import suspects
from compare.measure.moments import digits, elements, values
from compare.summary import ABSENT, Diagnostics, Estimate, Optimisation

RARE = 1e-4
"""How often chance may raise the R-hat of chains that are alike above what they are allowed."""


def diagnostics(fit: Fit) -> Diagnostics:
    """Worst R-hat and ESS, divergences and E-BFMI of Markov chains; Pareto k-hat of a guide with a density; nothing of
    the rest."""
    if fit.job.is_truth:
        return Diagnostics()
    if not fit.job.is_mcmc and "log_guide" not in fit.tree["sample_stats"]:
        return Diagnostics()
    if not fit.job.is_mcmc:
        ratio = log_ratios(fit.tree)
        khat = None if has_equal_weights(ratio) else digits(smooth(ratio)[1], 6)
        return Diagnostics(khat=khat, relative_ess=digits(relative_ess(ratio), 6))
    stats = fit.tree["sample_stats"]
    draws = [values(fit.tree, site, index) for site, index in (*elements(fit.job).values(), *suspects(fit))]
    r_hats = [float(arviz_stats.rhat(z)) for z in draws]
    return Diagnostics(
        r_hat=digits(max(r_hats), 8),
        ess_bulk=digits(min(ess(z, "bulk") for z in draws), 8),
        ess_tail=digits(min(ess(z, "tail") for z in draws), 8),
        divergences=int(stats["diverging"].sum()) if "diverging" in stats else ABSENT,
        e_bfmi=digits(np.min(arviz_stats.bfmi(stats["energy"].values)), 8) if "energy" in stats else ABSENT,
        transitions=stats["diverging"].size if "diverging" in stats else None,
        r_hat_by_chance=r_hat_by_chance(draws[int(np.argmax(r_hats))]),
    )


def ess(draws: np.ndarray, method: str) -> float:
    """The effective sample size of chains, shape (n_chains, n_draws): ``bulk``, or ``tail``, at the 5% and 95%."""
    return float(arviz_stats.ess(draws, method=method, **({"prob": TAIL} if method == "tail" else {})))


def r_hat_by_chance(draws: np.ndarray) -> float:
    """The R-hat that chains which are alike exceed with probability `RARE`, given draws of shape (n_chains, n_draws).

    R-hat compares half chains. Where all k are alike, the mean of each has the posterior's variance over its ESS, so
    that the square of R-hat is 1 + chi2 / (k - 1) k / ESS, with chi2 of k - 1 degrees of freedom. The ESS is the sum of
    each chain's own: that of all together falls where chains disagree, and would excuse it.
    """
    own = sum(min(ess(chain[None], "bulk"), ess(chain[None], "tail")) for chain in draws)
    k = 2 * len(draws)
    return math.sqrt(1 + special.chdtri(k - 1, RARE) / (k - 1) * k / own)


def optimisation(fit: Fit) -> Optimisation:
    """Where the optimiser ended, by its own account; absent where nothing was optimised."""
    if "optimisation" not in fit.tree:
        return ABSENT
    group = fit.tree["optimisation"]
    end, gap = group.attrs, float(group.attrs["gap"])
    return Optimisation(
        gap=Estimate(digits(gap, 6), digits(end["gap_mcse"], 6)) if np.isfinite(gap) else None,
        tolerance=float(end["tolerance"]),
        converged=bool(end["converged"]),
        steps=int(end.get("sweeps", end.get("epochs", group.sizes["step"] - 1))),
        reason=str(end["reason"]) or None,
        log_evidence_at_mode=digits(end["log_evidence_at_mode"], 12) if "log_evidence_at_mode" in end else None,
        objective=Estimate(digits(end["objective"], 12), digits(end["objective_mcse"], 6))
        if "objective" in end
        else None,
    )
