"""The regression's own picture: what mean field reports of each sd, against the variance inflation factor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from models.contract import Exact, Picture
from models.designs import coefficients
from models.linear.data import DATASETS, LinearData
from models.linear.exact import Rotated
from models.plotting import EXACT, GREY, Fits, flat_draws, list_fits, new_figure, save

MARKERS = {"longley": "s", "diabetes": "^", "rugged": "D"}


def inflation(data: LinearData) -> np.ndarray:
    """Variance inflation factors 1 / (1 - R_j^2) of the inputs, R_j that of column j on all others; shape (columns,).

    A column of ones is among the others, and R_j counts from 0: of centred columns these are the textbook's factors.
    """
    features = data.design.with_ones
    _, values, right = np.linalg.svd(features / np.linalg.norm(features, axis=0), full_matrices=False)
    shares, flat = right**2, values < 1e-6
    far = (shares[flat] > 1e-12).any(axis=0)
    return np.where(far, np.inf, shares[~flat].T @ values[~flat] ** -2.0)[1:]


def known(data: LinearData, variance: float) -> tuple[np.ndarray, np.ndarray]:
    """Lambda_jj Sigma_jj of each weight under noise of this variance, and the factorised sd over the true one."""
    rotated = Rotated(data)
    inflated = (rotated.precisions(variance) * rotated.variances(variance))[1:]
    return inflated, inflated**-0.5


def shrinkage(fits: Fits, data: LinearData, exact: Exact, path: Path) -> None:
    """Draw sd ratios of all fits against the inflation of the posterior's variances, and the curve 1 / sqrt."""
    variance = {"known": data.noise**2, "conjugate": 1.0}.get(data.prior) or float(exact.mean()["sigma"]) ** 2
    inflated, ratios = known(data, variance)
    figure = new_figure(8.6, 5.4)
    axes = figure.subplots()
    widest = max(2e4, 2 * inflated.max())
    grid = np.geomspace(1, widest, 200)
    axes.plot(grid, grid**-0.5, color=EXACT, lw=1.4, label="1 / sqrt(inflation)")
    for name in DATASETS:
        other = LinearData(name, prior_sd=1e3, intercept_sd=1e3, prior="known", noise=0.1)
        vif, flat = inflation(other), known(other, other.noise**2)[1]
        look: dict[str, Any] = {
            "marker": MARKERS[name],
            "s": 46,
            "facecolors": "none",
            "edgecolors": GREY,
            "linewidths": 1.0,
        }
        axes.scatter(vif, flat, **look, label=f"{name}: VIF of the data, wide prior", zorder=3)
    sds = exact.sd()["weights"]
    for fit in list_fits(fits):
        draws = coefficients(flat_draws(fit.tree))[:, 1:]
        shift = 1.0 + (0.04 if fit.line == "--" else 0.0)  # Pyro's beside NumPyro's
        error = draws.std(axis=0) / sds * (2 * len(draws)) ** -0.5
        style: dict[str, Any] = {
            "fmt": "o" if fit.line == "-" else "x",
            "color": fit.color,
            "ms": 5,
            "lw": 1.2,
            "capsize": 2,
        }
        axes.errorbar(inflated * shift, draws.std(axis=0) / sds, 2 * error, **style, label=fit.name, zorder=4)
    axes.set(xscale="log", yscale="log", xlim=(0.9, widest), ylim=(0.5 * min(ratios.min(), 0.02), 1.6))
    axes.set(xlabel="inflation of a weight's posterior variance, Lambda_jj Sigma_jj", ylabel="sd / exact sd")
    axes.set_title("mean field reports the sd that a weight has while the others stand still")
    axes.legend(loc="lower left", fontsize=8)
    save(figure, path)


PICTURES = (
    Picture(
        "shrinkage",
        "Each weight's sd over the exact one, against the factor by which the other weights inflate its posterior "
        "variance; bars are two standard errors. Mean field lies on 1 / sqrt. The grey marks are the best factorised "
        "Gaussians of all data sets under a wide prior, against the textbook's variance inflation factors of the data.",
        shrinkage,
    ),
)
