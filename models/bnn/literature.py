"""What was written about Bayesian neural networks: by the founding text (the tutorial that the zoo began from), and of
their symmetries, and of what a factorised Gaussian over their weights can know."""

import itertools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import special, stats

from models.bnn import network
from models.bnn.data import BnnData
from models.contract import Claim, Published
from models.literature import ERRORS, settled

N_GUIDES = 2000  # factorised Gaussians over the weights that the theorem is tried on
WIDEST = 50  # most units that the theorem is checked on; it holds for any number
COPIES = 4000  # most equal points that are counted one by one
DIGITS = 15  # most digits of a number that is written out

FOONG = "Foong et al. 2020, On the Expressiveness of Approximate Inference in Bayesian Neural Networks"


def claims(data: BnnData) -> list[Claim]:
    """The founding text's claims, which hold for any data: about the posterior's shape, and about what it knows."""
    if data.activation == "tanh":
        why = "units permuted, signs flipped"
        forgets = "a factorised Gaussian in its place need not: compare the sds of f where there are no data"
    else:
        why = "units permuted"
        forgets = (
            "a factorised Gaussian cannot, with ReLU: where 0 lies between p and q, and r nearer to 0 than both, "
            "Var f(r) <= Var f(p) + Var f(q) (Foong et al. 2020, Theorem 1)"
        )
    return [
        Claim(
            "the posterior of the weights is a factorised Gaussian",
            f"no: it has {format_modes(data)} equal modes ({why})",
            False,
        ),
        Claim("a Bayesian neural network knows what it does not know", f"its posterior does; {forgets}", False),
    ]


def published(data: BnnData, summary: Mapping[str, Any]) -> list[Published]:
    """The symmetries of its posterior; Foong et al.'s theorem, and whether the exact answer obeys its bound too."""
    return [symmetries(data), theorem(data), *between(data, summary)]


def modes(data: BnnData) -> int:
    """How many equal modes each mode has: units can change places, and with tanh a unit's signs can be flipped."""
    return math.factorial(data.hidden) * (2**data.hidden if data.activation == "tanh" else 1)


def format_modes(data: BnnData) -> str:
    """The number of modes as it is printed: Python refuses to write out that of a wide network."""
    magnitude = math.log10(modes(data))
    return f"{modes(data):,}" if magnitude < DIGITS else f"about 10^{magnitude:.0f}"


def symmetries(data: BnnData) -> Published:
    """How many weights have the log joint of one, counted where that can be done one by one."""
    claim = "units can change places and, with tanh, signs can be flipped: these copies have the same posterior density"
    source = "Bishop 2006, Pattern Recognition and Machine Learning, section 5.1.1; by formula"
    formula = f"{data.hidden}! 2^{data.hidden}" if data.activation == "tanh" else f"{data.hidden}!"
    expected = f"{formula} = {format_modes(data)}"
    if modes(data) > COPIES:
        return Published(claim, source, expected, f"not counted: more than {COPIES:,}", None)
    points = orbit(data)
    joint = network.log_joint(data, points)
    equal = int(np.isclose(joint, joint[0], rtol=1e-10).sum())
    flat = np.concatenate([points[site].reshape(len(joint), -1) for site in sorted(points)], axis=1)
    different = len(np.unique(flat, axis=0))
    ours = f"{equal:,} equal log joints among {different:,} different weights"
    return Published(claim, source, expected, ours, equal == different == modes(data))


def orbit(data: BnnData) -> dict[str, np.ndarray]:
    """One random point and its copies with units and signs exchanged, each site of shape (copies, ...)."""
    rng = np.random.default_rng(0)
    point = {site: rng.standard_normal(shape) for site, shape in network.shapes(data).items()}
    if "noise" in point:
        point["noise"] = np.exp(point["noise"])
    orders = np.array(list(itertools.permutations(range(data.hidden))))
    choices = (1.0, -1.0) if data.activation == "tanh" else (1.0,)
    signs = np.array(list(itertools.product(choices, repeat=data.hidden)))
    order, sign = np.repeat(orders, len(signs), axis=0), np.tile(signs, (len(orders), 1))
    copies = {site: np.broadcast_to(value, (len(order), *np.shape(value))) for site, value in point.items()}
    for site in ("hidden_weights", "hidden_biases", "output_weights"):
        moved = np.moveaxis(point[site][..., order], -2, 0)
        copies[site] = moved * (sign[:, None] if site == "hidden_weights" else sign)
    return copies


class Moments(NamedTuple):
    """Means and sds of independent Gaussian weights of a network with one input, each of shape (guides, hidden)."""

    weight: np.ndarray
    weight_sd: np.ndarray
    bias: np.ndarray
    bias_sd: np.ndarray
    output: np.ndarray
    output_sd: np.ndarray


def variance(q: Moments, x: np.ndarray) -> np.ndarray:
    """Var f(x) under a factorised Gaussian over a ReLU network's weights, less the output bias's own, (guides,).

    With a unit's input N(m, s^2) and h = m/s, E[unit] = m Phi(h) + s phi(h) and E[unit^2] = (m^2 + s^2) Phi(h) +
    m s phi(h); the units are independent of each other and of what weighs them.
    """
    m = q.weight * x[:, None] + q.bias
    s = np.hypot(q.weight_sd * x[:, None], q.bias_sd)
    below, density = special.ndtr(m / s), stats.norm.pdf(m / s)
    first, second = m * below + s * density, (m**2 + s**2) * below + m * s * density
    return np.sum((q.output**2 + q.output_sd**2) * second - (q.output * first) ** 2, axis=1)


def theorem(data: BnnData) -> Published:
    """The bound over many factorised Gaussians of this network's size, and as many triples of points."""
    hidden = min(data.hidden, WIDEST)
    rng, shape = np.random.default_rng(0), (N_GUIDES, hidden)
    means, sds = rng.normal(0.0, 2.0, (3, *shape)), np.exp(rng.normal(-1.0, 1.5, (3, *shape)))
    q = Moments(means[0], sds[0], means[1], sds[1], means[2], sds[2])
    p, r = -np.exp(rng.normal(0.0, 1.0, N_GUIDES)), np.exp(rng.normal(0.0, 1.0, N_GUIDES))
    middle = rng.uniform(-1.0, 1.0, N_GUIDES) * np.minimum(-p, r)
    ends = variance(q, p) + variance(q, r)
    alive = ends > 1e-12  # where all units are off at both ends, and so between them, there is nothing to compare
    share = variance(q, middle)[alive] / ends[alive]
    return Published(
        "a factorised Gaussian over the weights of a ReLU layer cannot be much more uncertain between two points than "
        "at them: Var f(between) is at most the sum of the ends', where 0 lies between these and nearer to it",
        f"{FOONG}, theorem 1",
        "ratio at most 1",
        f"at most {share.max():.4f} among {len(share):,} factorised Gaussians on {hidden} units (exact moments)",
        bool(share.max() <= 1 + 1e-9),
    )


def triple(data: BnnData) -> tuple[int, int, int] | None:
    """The reported points nearest to the ends of a gap around 0 and to 0; None where there is no gap around 0."""
    if data.dataset.inputs.shape[1] != 1 or not (data.dataset.inputs.min() < 0 < data.dataset.inputs.max()):
        return None
    x, inputs = data.dataset.grid[:, 0], data.dataset.inputs[:, 0]
    left, right = (int(np.argmin(np.abs(x - end))) for end in (inputs[inputs < 0].max(), inputs[inputs > 0].min()))
    middle = int(np.argmin(np.abs(x)))
    return (left, middle, right) if abs(x[middle]) < min(-x[left], x[right]) else None


def ratio(fit: Mapping[str, Any], points: tuple[int, int, int]) -> tuple[float, float]:
    """Var f in the middle over the sum of the ends' variances, and its standard error to first order."""
    variables = [fit["variables"][f"f[{point}]"] for point in points]
    left, middle, right = (v["sd"] ** 2 for v in variables)
    errors = [2 * v["sd"] * v["mcse_sd"] for v in variables]
    ends = left + right
    return middle / ends, middle / ends * math.hypot(errors[1] / middle, math.hypot(errors[0], errors[2]) / ends)


def between(data: BnnData, summary: Mapping[str, Any]) -> list[Published]:
    """The same ratio of the fits, and of the truth."""
    points = triple(data)
    if points is None:
        return []
    relu = data.activation == "relu"
    x = data.dataset.grid[list(points), 0]
    where = f"Var f({x[1]:g})/(Var f({x[0]:g}) + Var f({x[2]:g}))"
    beyond = "" if relu else "; the theorem is about ReLU, these units are tanh"
    ratios = {name: ratio(fit, points) for name, fit in settled(summary, "mean_field")}
    listed = "; ".join(f"{name} {value:.3g} ± {error:.1g}" for name, (value, error) in ratios.items())
    bounded = all(value <= 1 + ERRORS * error for value, error in ratios.values()) if relu and ratios else None
    comparisons = [
        Published(
            "mean-field fits of this network obey that bound, in the gap between its data",
            f"{FOONG}, theorem 1",
            f"{where} at most 1",
            (listed or "no such fit arrived") + beyond,
            bounded,
        )
    ]
    fits = summary["fits"]
    true = next((name for name in ("exact", "reference") if fits.get(name, {}).get("status") == "done"), None)
    if true:
        value, error = ratio(fits[true], points)
        comparisons.append(
            Published(
                "exact inference does not have this pathology: it is due to the approximation, not to the model",
                f"{FOONG}, abstract",
                f"{where} above 1",
                f"{true} {value:.3g} ± {error:.1g}{beyond}",
                bool(value > 1 + ERRORS * error) if relu else None,
            )
        )
    return comparisons
