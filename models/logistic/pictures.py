"""The regression's own picture: three Gaussians on the posterior's plane, and the risk that each predicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from models.contract import Picture
from models.drawing import ELLIPSES, contour_levels, ellipse
from models.logistic.data import LogisticData
from models.logistic.exact import truth
from models.logistic.gaussians import Updates
from models.logit_gaussians import NODES, WEIGHTS, best_gaussian
from models.logits import QuadraturePosterior
from models.plotting import EXACT, FAMILY_COLORS, GREY, PALE, Fits, new_figure, save

CHALLENGER = 31.0  # degrees Fahrenheit on the morning of the launch

Gaussian = tuple[np.ndarray, np.ndarray]


def gaussians(data: LogisticData, exact: QuadraturePosterior) -> dict[str, tuple[Gaussian, str]]:
    """Mean, covariance and colour of each Gaussian."""
    target, state = exact.log_joint, Updates(data).settled()
    return {
        "Laplace": ((target.mode, target.covariance), FAMILY_COLORS["markov"]),
        "Jaakkola and Jordan": ((state["mean"], state["covariance"]), FAMILY_COLORS["coordinate_ascent"]),
        "best Gaussian": (best_gaussian(target, False), FAMILY_COLORS["full_rank"]),
    }


def risk(gaussian: Gaussian, features: np.ndarray) -> np.ndarray:
    """P(class 1) at rows of features, shape (n, d), under a Gaussian: (n,)."""
    mean, covariance = gaussian
    sds = np.sqrt(np.einsum("ij,jk,ik->i", features, covariance, features))
    return special.expit((features @ mean)[:, None] + sds[:, None] * NODES) @ WEIGHTS


def exact_risk(exact: QuadraturePosterior, features: np.ndarray) -> np.ndarray:
    """The same under the posterior, by the lattices' points."""
    shares = special.softmax(np.concatenate([values for _, values in exact.rule.grown]))
    return shares @ special.expit(exact.rule.points() @ features.T)


def features_at(data: LogisticData, x: np.ndarray) -> np.ndarray:
    scaled = (x - data.design.centre[0]) / data.design.spread[0]
    return np.column_stack([np.ones(len(x)), scaled])


def original(data: LogisticData) -> np.ndarray:
    """The input in its own units, shape (rows,)."""
    return data.design.centre[0] + data.design.spread[0] * data.design.inputs[:, 0]


def far(data: LogisticData) -> float:
    """Where the risk is predicted: the Challenger's temperature, or as far below other data."""
    x = original(data)
    return CHALLENGER if data.data == "orings" else float(x.min() - 0.8 * np.ptp(x))


def risks(data: LogisticData, exact: QuadraturePosterior) -> dict[str, float]:
    """The risk there by each, the posterior's first."""
    features = features_at(data, np.array([far(data)]))
    mode = special.expit(features @ exact.log_joint.mode)
    by = {"exact": exact_risk(exact, features), "mode alone": mode}
    by |= {name: risk(gaussian, features) for name, (gaussian, _) in gaussians(data, exact).items()}
    return {name: float(values[0]) for name, values in by.items()}


def plane(fits: Fits, data: LogisticData, exact: QuadraturePosterior, path: Path) -> None:
    """Draw the posterior's contours under each Gaussian's ellipses, and the risk by each."""
    figure = new_figure(11.0, 4.8)
    left, right = figure.subplots(1, 2)
    sds = np.sqrt(np.diagonal(exact.covariance))
    axes = [exact.location[j] + sds[j] * np.linspace(-4, 4, 161) for j in (0, 1)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    log_density = (exact.log_joint(grid.reshape(-1, 2)) - exact.log_evidence).reshape(161, 161)
    density, levels = np.exp(log_density), np.exp(contour_levels(log_density, (0.5, 0.95)))
    left.contourf(*axes, density.T, levels=[*levels, density.max()], colors=["#e2e2e2", "#c4c4c4"])
    left.contour(*axes, density.T, levels=levels, colors=EXACT, linewidths=1.4)
    left.plot([], [], color=EXACT, lw=1.4, label="exact, 50% and 95%")
    left.plot(*exact.location, marker="*", color=EXACT, ls="", ms=11, label="exact mean")
    left.plot(*exact.log_joint.mode, marker="+", color=EXACT, ls="", ms=10, mew=2, label="mode")
    x = np.linspace(far(data) - 2, original(data).max() + 2, 300)
    features, risk_at = features_at(data, x), risks(data, exact)
    right.plot(x, exact_risk(exact, features), color=EXACT, lw=2.2, label=f"exact: {risk_at['exact']:.4f}")
    for name, ((mean, covariance), color) in gaussians(data, exact).items():
        for level, radius in ELLIPSES.items():
            label = name if level == "95%" else None
            left.plot(*ellipse(mean, covariance, radius), color=color, lw=1.8, ls="--", label=label)
        line: dict[str, Any] = {"color": color, "lw": 1.6, "ls": "--"}
        right.plot(x, risk((mean, covariance), features), **line, label=f"{name}: {risk_at[name]:.4f}")
    mode = special.expit(features @ exact.log_joint.mode)
    right.plot(x, mode, color=GREY, lw=1.2, ls=":", label=f"mode alone: {risk_at['mode alone']:.4f}")
    right.plot(original(data), data.design.targets, "o", color=GREY, ms=5, alpha=0.5)
    right.axvline(far(data), color=PALE, lw=1.2, zorder=0)
    left.set(xlabel="intercept", ylabel=f"weight of {data.design.columns[0]}, standardised")
    left.set_title("the posterior leans away from its mode")
    left.legend(loc="upper left", fontsize=8)
    right.set(xlabel=data.design.columns[0], ylabel=f"probability of {data.describe()['target']['class 1']}")
    right.set_title(f"predicted risk; in the legend, that at {far(data):g}")
    beside = {"loc": "lower left", "bbox_to_anchor": (0.09, 0.0)}  # the line at the left
    right.legend(**(beside if data.data == "orings" else {"loc": "center right"}), fontsize=8)
    save(figure, path)


def has_plane(data: LogisticData) -> bool:
    """Whether there are two coefficients, and a lattice to read their posterior from."""
    return len(data.design.columns) == 1 and isinstance(truth(data), QuadraturePosterior)


PICTURES = (
    Picture(
        "plane",
        "Left, the exact posterior and three Gaussians: Laplace's stands at the mode, Jaakkola and Jordan's is too "
        "small, the best one has mean and width but no skew. Right, the probability that each predicts.",
        plane,
        has_plane,
    ),
)
