"""The Gaussian on the logit of a probability that is nearest to a Beta distribution."""

import numpy as np
from scipy import optimize, special


def best_logit_normal(a: float, b: float, count: int = 4001) -> tuple[float, float, float]:
    """The Gaussian on the logit of theta nearest to Beta(a, b) in KL(q, Beta).

    With u = logit(theta), its density on u is s(u)^a s(-u)^b / B(a, b), s the logistic function, so
    -KL = E_q[a log s(u) + b log s(-u)] - log B(a, b) + log scale + log(2 pi e) / 2. Where its gradient is zero,

        a E_q[s(-u)] = b E_q[s(u)]        and        scale^2 (a + b) E_q[s(u) s(-u)] = 1

    (the second by Stein's lemma). Their logs are solved: they are nearly linear where s is nearly an exponential, and
    so the solution is found for all a and b from 0.01 to 2e9. The trapezoid rule on 24 standard deviations is exact to
    rounding for these entire integrands times a Gaussian; where a and b are 0.5 or more, with a ``count`` of 401 too.

    Returns:
        location, scale and -KL in nats.
    """
    eps = np.linspace(-12, 12, count)
    log_weights = -0.5 * eps**2
    log_weights -= special.logsumexp(log_weights)
    weights = np.exp(log_weights)
    start, start_scale = np.log(a / b), np.sqrt(1 / a + 1 / b)

    def conditions(x: np.ndarray) -> np.ndarray:
        u = start + start_scale * (x[0] + np.exp(x[1]) * eps)
        above, below = log_weights + special.log_expit(u), log_weights + special.log_expit(-u)
        both = special.logsumexp(above + special.log_expit(-u))
        return np.array(
            [
                start + special.logsumexp(below) - special.logsumexp(above),
                2 * (np.log(start_scale) + x[1]) + np.log(a + b) + both,
            ]
        )

    root = optimize.root(conditions, np.zeros(2), method="hybr", tol=1e-13)
    residual = np.abs(conditions(root.x)).max()
    if residual > 1e-9:
        raise ArithmeticError(
            f"the best logit-normal for Beta({a:g}, {b:g}) was not found: it is off by {residual:.1e}"
        )
    location, scale = start + start_scale * root.x[0], start_scale * np.exp(root.x[1])
    u = location + scale * eps
    # Both logarithms relative to those at a / (a + b): where a + b is a million or more the sums would lose digits.
    ratio = a * (special.log_expit(u) - special.log_expit(start)) + b * (
        special.log_expit(-u) - special.log_expit(-start)
    )
    top = (
        0.5 * np.log(a * (b / (a + b)) / (2 * np.pi)) + beyond_stirling(a + b) - beyond_stirling(a) - beyond_stirling(b)
    )
    return float(location), float(scale), float(top + weights @ ratio + np.log(scale) + 0.5 * np.log(2 * np.pi * np.e))


def beyond_stirling(x: float) -> float:
    """log Gamma(x) - ((x - 1/2) log x - x + log(2 pi) / 2), which is about 1 / (12 x), without cancellation.

    From 10 on its asymptotic series, to rounding (Abramowitz & Stegun 1964, 6.1.41).
    """
    if x < 10:
        return float(special.gammaln(x) - ((x - 0.5) * np.log(x) - x + 0.5 * np.log(2 * np.pi)))
    return float(np.polyval([691 / 360360, -1 / 1188, 1 / 1680, -1 / 1260, 1 / 360, -1 / 12], x**-2.0) / -x)
