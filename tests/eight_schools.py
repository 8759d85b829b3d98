"""Eight schools (Rubin 1981) against what others published of them, and their posterior by quadrature.

posteriordb has the non-centred form with mu ~ N(0, 5), tau ~ half-Cauchy(5) (Magnusson et al. 2025); Yao et al. 2018
have mu ~ N(0, 50), tau ~ half-normal(25).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from tests.user_models.eight_schools_numpyro import data

__all__ = ["KHAT", "LOG_EVIDENCE", "NAMES", "POSTERIORDB", "quadrature"]

NAMES = (*(f"theta[{school}]" for school in range(8)), "mu", "tau")

POSTERIORDB = {
    "mean": (6.1505, 4.9396, 3.9059, 4.7960, 3.6144, 4.0511, 6.3172, 4.8840, 4.4105, 3.6021),
    "mcse": (0.0557, 0.0462, 0.0542, 0.0475, 0.0461, 0.0485, 0.0499, 0.0543, 0.0330, 0.0319),
}
"""posterior_database/reference_posteriors/summary_statistics/mean_value/mean_value/
eight_schools-eight_schools_noncentered.json, rounded to four decimals, in the order of `NAMES`."""

KHAT = 0.65
"""Of ADVI's mean field on the non-centred form: "joint k = 0.65" in the drawing of figure 5, R_code/
Figure_5_eight_school.R of Yao et al.'s repository."""


LOG_EVIDENCE = -31.311347
"""log p(y) in nats with half-Cauchy(5), to the digits given: N(y; 0, diag(sigma^2 + tau^2) + 25), integrated over tau
by SciPy's `quad`."""


def quadrature(mu_sd: float = 5.0, tau_prior: Any = None) -> np.ndarray:
    """Posterior means in the order of `NAMES`, shape (10,): given tau all is Gaussian, and tau is one integral.

    ``tau_prior`` is a frozen distribution of scipy.stats, half-Cauchy(5) by default. The trapezoid rule in log tau;
    doubling the nodes changes no mean by 1e-6.
    """
    tau_prior = tau_prior or stats.halfcauchy(scale=5.0)
    y, variance = data["y"], data["sigma"] ** 2
    log_tau = np.linspace(np.log(1e-8), np.log(1e7), 20_001)
    tau = np.exp(log_tau)[:, None]
    spread = variance + tau**2
    precision = np.sum(1 / spread, axis=1) + 1 / mu_sd**2
    mu = np.sum(y / spread, axis=1) / precision
    log_density = -0.5 * (np.sum(np.log(spread) + y**2 / spread, axis=1) + np.log(precision) - precision * mu**2)
    log_weight = log_density + tau_prior.logpdf(tau[:, 0]) + log_tau
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    shrunk = (y * tau**2 + mu[:, None] * variance) / spread  # E[theta | tau, y] is linear in mu
    return np.array([*(weight @ shrunk), weight @ mu, weight @ tau[:, 0]])
