"""The process's own pictures: every fit's band beside the exact one, and the gaps of inducing points and mean field."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from models.contract import Picture
from models.gp import classes
from models.gp.data import GpData
from models.gp.exact import GaussianProcess
from models.gp.inducing import InducingPoints
from models.gp.placement import fitted, placed
from models.logit_gaussians import NODES, WEIGHTS
from models.logits import LogitsPosterior
from models.plotting import (
    EXACT,
    FAMILY_COLORS,
    GREY,
    PALE,
    Z_95,
    Fits,
    flat_draws,
    new_figure,
    one_per_family,
    save,
    small_multiples,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Band = tuple[np.ndarray, np.ndarray]


def grid_of(data: GpData) -> np.ndarray:
    """Inputs between and a little beyond the data, shape (m, 1)."""
    low, high = data.design.inputs.min(), data.design.inputs.max()
    margin = 0.1 * (high - low)
    return np.linspace(low - margin, high + margin, 300)[:, None]


def band_of(u: np.ndarray, exact: GaussianProcess, grid: np.ndarray) -> Band:
    """Mean and sd of f on the grid by draws of u at the inputs, shape (n_draws, n)."""
    across, left = exact.data.weights(exact.factor, grid)
    f = u @ across
    return f.mean(0), np.sqrt(f.var(0) + left)


def draw_panel(axes: Axes, data: GpData, exact: GaussianProcess, band: Band, color: str, label: str) -> None:
    """Draw the exact band in grey, a fit's as lines, and the data."""
    grid = grid_of(data)
    mean, sd = exact.predict(grid)
    x = grid[:, 0]
    axes.fill_between(x, mean - Z_95 * sd, mean + Z_95 * sd, color="#cccccc", lw=0, label="exact, 95%")
    axes.plot(x, mean, color=EXACT, lw=1.4)
    for sign in (-1, 1):
        axes.plot(x, band[0] + sign * Z_95 * band[1], color=color, lw=1.3, label=label if sign == 1 else None)
    axes.plot(data.design.inputs[:, 0], data.design.targets, ".", color=GREY, ms=4)
    axes.legend(loc="upper right", fontsize=8)


def bands(fits: Fits, data: GpData, exact: GaussianProcess, path: Path) -> None:
    """Draw every family's 95% band of f beside the exact one."""
    shown = one_per_family(fits)
    figure, panels = small_multiples(max(1, len(shown)), (4.4, 3.2), data.design.columns[0], "f")
    for axes, fit in zip(panels, shown, strict=False):
        if fit.family == "inducing":
            band = fitted(data).predict(grid_of(data))
        else:
            band = band_of(exact.coefficients(flat_draws(fit.tree, 2000)), exact, grid_of(data))
        draw_panel(axes, data, exact, band, fit.color, fit.label)
        axes.set_title(fit.name)
    save(figure, path)


def gaps_of_inducing(exact: GaussianProcess, counts: np.ndarray, placement: str) -> np.ndarray:
    """The gap of Titsias' bound in nats, for each number of inducing points."""
    return np.array([exact.log_evidence - placed(exact.data, int(count), placement).bound() for count in counts])


def gaps_of_mean_field(data: GpData, noises: np.ndarray) -> dict[str, np.ndarray]:
    """The gap of the best factorised Gaussian in u and in f, in nats, for each sd of the noise."""
    exact = [GaussianProcess(data.with_derived(noise=float(noise))) for noise in noises]
    return {site: np.array([posterior.divergence(site) for posterior in exact]) for site in ("u", "f")}


def gaps(fits: Fits, data: GpData, exact: GaussianProcess, path: Path) -> None:
    """Draw the gap of inducing points against their number, and that of mean field against the noise."""
    figure = new_figure(10.6, 4.4)
    left, right = figure.subplots(1, 2)
    size = len(data.design.targets)
    counts = np.unique(np.linspace(2, min(data.distinct, 40 if is_curve(data) else 80), 20).round().astype(int))
    chosen = [data.placement] if data.inducing else []
    for placement, mark in zip(dict.fromkeys([data.placements[0], *chosen]), ("o-", "o--"), strict=False):
        drawn = gaps_of_inducing(exact, counts, placement)
        left.semilogy(counts, drawn, mark, color=FAMILY_COLORS["markov"], ms=4, lw=1.4, label=placement)
    cost = 0.5 * size * data.jitter * data.variance / data.noise**2
    left.axhline(cost, color=PALE, lw=1.2, ls="--", label=f"what the jitter costs: {cost:.2g}")
    left.set(xlabel="inducing points", ylabel="gap in nats", title="inducing points: the gap falls off a cliff")
    left.xaxis.get_major_locator().set_params(integer=True)
    left.legend(loc="upper right", fontsize=8)
    noises = np.geomspace(0.01, 10, 25)
    for (site, values), color in zip(gaps_of_mean_field(data, noises).items(), ("#0072B2", "#D55E00"), strict=True):
        label = "mean field in u, f = L u" if site == "u" else "mean field in f"
        right.loglog(noises, values, color=color, lw=1.8, label=label)
    right.axvline(data.noise, color=PALE, lw=1.2, zorder=0)
    right.set(xlabel="sd of the noise", ylabel="gap in nats", title="mean field: the same posterior, two coordinates")
    right.legend(loc="lower left", fontsize=8)
    save(figure, path)


Curves = tuple[np.ndarray, np.ndarray, np.ndarray]


def curves(u: np.ndarray, data: GpData, grid: np.ndarray, rng: np.random.Generator) -> Curves:
    """Mean, 2.5% and 97.5% quantile of P(class 1) at inputs (m, 1), by draws of u at the data's, shape (n_draws, n)."""
    across, left = data.weights(data.factor(data.design.inputs), grid)
    chances = special.expit(u @ across + np.sqrt(left) * rng.standard_normal((len(u), len(grid))))
    low, high = np.quantile(chances, [0.025, 0.975], axis=0)
    return chances.mean(0), low, high


def sparse_curves(sparse: InducingPoints, grid: np.ndarray) -> Curves:
    """Mean, 2.5% and 97.5% quantile of P(class 1) at inputs (m, 1): there the logit is normal."""
    mean, sd = sparse.predict(grid)
    low, high = special.expit(mean - Z_95 * sd), special.expit(mean + Z_95 * sd)
    return special.expit(mean[:, None] + sd[:, None] * NODES) @ WEIGHTS, low, high


def chances(fits: Fits, data: GpData, exact: LogitsPosterior, path: Path) -> None:
    """Draw every family's P(class 1) beside the exact one."""
    rng, grid, shown = np.random.default_rng(0), grid_of(data), one_per_family(fits)
    target = exact.log_joint
    truth = curves(target.coefficients(exact.draw(rng, 4000)), data, grid, rng)
    figure, panels = small_multiples(max(1, len(shown)), (4.4, 3.2), data.design.columns[0], "probability of class 1")
    for axes, fit in zip(panels, shown, strict=False):
        if fit.family == "inducing":
            mean, *ends = sparse_curves(fitted(data), grid)
        else:
            mean, *ends = curves(target.coefficients(flat_draws(fit.tree, 4000)), data, grid, rng)
        axes.fill_between(grid[:, 0], truth[1], truth[2], color="#cccccc", lw=0, label="exact, 95%")
        axes.plot(grid[:, 0], truth[0], color=EXACT, lw=1.4)
        axes.plot(grid[:, 0], mean, color=fit.color, lw=1.4, ls="--")
        for end, label in zip(ends, (fit.label, None), strict=True):
            axes.plot(grid[:, 0], end, color=fit.color, lw=1.3, label=label)
        axes.plot(data.design.inputs[:, 0], data.design.targets, "|", color=GREY, ms=8)
        axes.set(title=fit.name, ylim=(-0.05, 1.25), yticks=np.linspace(0, 1, 6))
        axes.legend(loc="upper right", fontsize=8, ncols=2)
    save(figure, path)


def is_curve(data: GpData) -> bool:
    """Whether the function is a curve, and its band follows from that at the inputs."""
    return data.design.inputs.shape[1] == 1 and data.is_gaussian


def has_gaps(data: GpData) -> bool:
    """Whether gaps are known, and inputs lie on a line or inducing points are asked for."""
    return is_curve(data) or (data.is_gaussian and data.inducing > 0)


def is_chance(data: GpData) -> bool:
    """Whether P(class 1) is a curve, and known."""
    return data.design.inputs.shape[1] == 1 and not data.is_normal and isinstance(classes.truth(data), LogitsPosterior)


PICTURES = (
    Picture(
        "bands",
        "95% bands of the function: the exact one in grey, each family's as lines. Off the data all follow from the "
        "prior given the values at the inputs, or at the inducing points.",
        bands,
        is_curve,
    ),
    Picture(
        "gaps",
        "Left, the gap of Titsias' bound against the number of inducing points, by their placement. Right, the gap of "
        "the best factorised Gaussian in u and in f against the noise; the grey line is the noise of these data.",
        gaps,
        has_gaps,
    ),
    Picture(
        "chances",
        "The probability of class 1: the exact mean and 95% band in grey, each family's as lines, and the classes "
        "as ticks. Off the data all follow from the prior given the values at the inputs, or at the inducing points.",
        chances,
        is_chance,
    ),
)
