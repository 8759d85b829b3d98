"""Variational Gaussian process: a Gaussian bent along a random curve (Tran, Ranganath & Blei 2016).

The d unconstrained latents z of a whole model are drawn through a random mapping of a latent input xi,

    xi ~ N(0, 1),      u_i ~ N(f_i(xi), noise_i^2),      z = location + scale_tril u,

where each f_i is a Gaussian process with mean slope_i xi and covariance amplitude_i^2 K, K(x, x') =
exp(-((x - x') / length)^2 / 2), given variational data: the value t_ji at the input s_j, seen with the relative
variance `JITTER`. The parameter ``targets`` is whitened, t = s slope' + L targets, with L L' = K(s, s) + JITTER I.
One f is drawn for one z and met at a single xi, so that integrating it out leaves the distribution of z as it is:

    u | xi ~ N(slope xi + a(xi)' targets, amplitude^2 (1 - |a(xi)|^2) + noise(xi)^2),      a(xi) = L^-1 K(s, xi),

with noise(xi) = noise exp(a(xi)' stretch): its log follows the mean of such a process too.

The paper keeps f, and its bound pays for a second auxiliary density r(f | xi, z); this one does not.

The density of z is an integral over xi, so the guide maximises a bound with an auxiliary density r(xi | z), a normal
whose mean and log sd are functions of u (a layer of tanh units; the mean has a linear term too):

    E_q[log p(x, z) + log r(xi | z) - log q(xi) - log q(z | xi)] = ELBO of q(z) - E_q(z) KL(q(xi | z), r(xi | z)).

The last term is the ledger's auxiliary gap. With one latent input q(z) itself is computed to rounding, by the
trapezoidal rule, which converges faster than any power of the step for such integrands (Trefethen & Weideman 2014).

Every Gaussian is a member in the limit of no amplitude, with f linear. The fit starts near the best one and keeps its
location and scale_tril.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
from scipy.special import logsumexp

from guides.contract import Family, Parameters
from guides.coordinates import FreeElements

INPUTS = 16
"""Variational data: pairs of an input and its target, a value for each latent."""

UNITS = 16
"""Hidden units of the auxiliary density's network."""

JITTER = 1e-4
"""Relative variance that the variational data are seen with, so that K has an inverse in floating point."""

SHARE = 0.9
"""Correlation of the input with the first element of u where a fit starts."""

REACH = 9.0
"""Largest |xi| in integrals over it: what is beyond has a mass of 2e-19."""

AGREED, MOST_POINTS, AT_ONCE = 1e-9, 1 << 17, 1 << 20
"""Relative change of log q(z) that is left when the points of the integral are doubled, the most points, and the most
points times draws in memory."""

POSITIVE = ("length", "amplitude", "noise")

SEED = 20160301
"""Seed of the network's inner weights at the start."""


def start(latent: int) -> Parameters:
    """The mapping and the auxiliary density of N(0, I) in u, whose first element is correlated with xi."""
    rng, first = np.random.default_rng(SEED), np.eye(latent)[0]
    return {
        "inputs": np.linspace(-3.0, 3.0, INPUTS),
        "length": np.array(0.6),
        "slope": SHARE * first,
        "targets": np.zeros((INPUTS, latent)),
        "stretch": np.zeros((INPUTS, latent)),
        "amplitude": np.full(latent, 0.1),
        "noise": np.sqrt(1 - SHARE**2 * first),
        "reverse_slope": SHARE * first,
        "reverse_inward": rng.standard_normal((latent, UNITS)) / np.sqrt(latent),
        "reverse_biases": rng.standard_normal(UNITS),
        "reverse_outward": np.zeros((UNITS, 2)),
        "reverse_level": np.array([0.0, np.log(1 - SHARE**2) / 2]),
    }


class MappingCoordinates(FreeElements):
    """The mapping and the auxiliary density as begin + x, or begin exp(x); location and scale_tril stay a Gaussian's.

    At that Gaussian u is white, so parameters of order 1 are the natural ones.
    """

    def __init__(self, gaussian: Parameters) -> None:
        first = start(gaussian["location"].size)
        free = {name: np.arange(value.size) for name, value in first.items()}
        super().__init__(first | gaussian, free, POSITIVE)


def mapping(parameters: Parameters, xi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sd of u given latent inputs, shape (n,); both have shape (n, d)."""
    inputs, length = parameters["inputs"], parameters["length"]
    kernel = np.exp(-0.5 * ((np.append(inputs, xi)[:, None] - inputs) / length) ** 2)
    factor = np.linalg.cholesky(kernel[: inputs.size] + JITTER * np.eye(inputs.size))
    a = scipy.linalg.solve_triangular(factor, kernel[inputs.size :].T, lower=True).T
    noise = parameters["noise"] * np.exp(a @ parameters["stretch"])
    variance = (1 - np.sum(a**2, axis=1))[:, None] * parameters["amplitude"] ** 2 + noise**2
    return xi[:, None] * parameters["slope"] + a @ parameters["targets"], np.sqrt(variance)


def reverse(parameters: Parameters, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sd of r(xi | z), shape (n,), given u, shape (n, d)."""
    units = np.tanh(u @ parameters["reverse_inward"] + parameters["reverse_biases"])
    mean, log_sd = (units @ parameters["reverse_outward"] + parameters["reverse_level"]).T
    return u @ parameters["reverse_slope"] + mean, np.exp(log_sd)


def normal(value: np.ndarray, mean: np.ndarray | float = 0.0, sd: np.ndarray | float = 1.0) -> np.ndarray:
    """The log density of a normal."""
    return -0.5 * ((value - mean) / sd) ** 2 - np.log(sd) - 0.5 * np.log(2 * np.pi)


def log_integral(parameters: Parameters, u: np.ndarray, points: int) -> np.ndarray:
    """log q(u), shape (n,), by the trapezoidal rule on ``points`` points."""
    xi, step = np.linspace(-REACH, REACH, points, retstep=True)
    mean, sd = mapping(parameters, xi)
    own = normal(xi) + normal(mean, 0.0, sd).sum(axis=1) + np.log(step)
    linear, square, rows = (mean / sd**2).T, -0.5 * (1 / sd**2).T, max(1, AT_ONCE // points)
    parts = (u[begin : begin + rows] for begin in range(0, len(u), rows))
    return np.concatenate([logsumexp(own + part @ linear + part**2 @ square, axis=1) for part in parts])


def log_density(parameters: Parameters, u: np.ndarray) -> np.ndarray:
    """log q(u) = log of the integral of q(u | xi) q(xi) over xi, shape (n,), given u, shape (n, d).

    Raises:
        FloatingPointError: the integral needs more than `MOST_POINTS` points.
    """
    points, before = 512, log_integral(parameters, u, 256)
    while points <= MOST_POINTS:
        known = log_integral(parameters, u, points)
        if not np.abs(known - before).max() > AGREED * (1 + np.abs(known).max()):
            return known
        points, before = 2 * points, known
    raise FloatingPointError("the mapping is too steep for its marginal density to be computed")


def log_auxiliary_ratio(parameters: Parameters, eps: np.ndarray) -> np.ndarray:
    """log q(xi | z) - log r(xi | z) of the draws that standard normals make: xi first, then u."""
    xi, (mean, sd) = eps[:, 0], mapping(parameters, eps[:, 0])
    u = mean + sd * eps[:, 1:]
    log_joint = normal(xi) + normal(u, mean, sd).sum(axis=1)
    return log_joint - log_density(parameters, u) - normal(xi, *reverse(parameters, u))


FAMILY = Family(
    preconditioner=MappingCoordinates,
    largest_dimension=20,
    beyond=("flow", "low_rank"),
    bends="full_rank",
    built_on=("full_rank",),
    log_auxiliary_ratio=log_auxiliary_ratio,
)
