"""The chain's own pictures: the plane of two nodes, ArviZ's pair plot, and the bands along a long chain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from models.chain.data import Chain
from models.chain.exact import GaussianChain
from models.contract import Picture, element
from models.drawing import ELLIPSES, ellipse
from models.plotting import (
    EXACT,
    FAMILY_COLORS,
    GREY,
    PALE,
    Z_95,
    Fits,
    ShownFit,
    dataset,
    flat_draws,
    legend_line,
    new_figure,
    one_per_family,
    save,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TEXT_COLOR = "#D55E00"  # the colour of coordinate ascent as the founding text prints it


def draws_of(fit: ShownFit) -> np.ndarray:
    """A fit's draws of z, shape (draws, nodes in its tree)."""
    return flat_draws(fit.tree)["z"]


def fits_of(fits: Fits, families: tuple[str, ...]) -> list[ShownFit]:
    """One fit for each of these families that was fitted, in their order."""
    by_family = {fit.family: fit for fit in one_per_family(fits)}
    return [by_family[family] for family in families if family in by_family]


def framed_legend(axes: Axes, alpha: float) -> None:
    """A legend at the upper left on a white ground."""
    axes.legend(loc="upper left", fontsize=8.5, frameon=True, edgecolor="none", framealpha=alpha)


# Two nodes: the plane


def plane(fits: Fits, data: Chain, exact: GaussianChain, path: Path) -> None:
    """Draw exact ellipses with two families' draws and contours, and the two staircases of coordinate ascent."""
    shown = fits_of(fits, ("mean_field", "full_rank", "markov"))[:2]
    figure = new_figure(4.3 * (len(shown) + 1), 4.9)
    panels = np.atleast_1d(figure.subplots(1, len(shown) + 1))
    for axes, fit in zip(panels, shown, strict=False):
        draw_family(axes, fit, exact)
    draw_staircases(panels[-1], fits, exact)
    save(figure, path)


def draw_family(axes: Axes, fit: ShownFit, exact: GaussianChain) -> None:
    """Draw a fit's draws and their ellipses over the exact ellipses."""
    z, covariance = draws_of(fit), exact.covariance()
    dots = z[:: max(1, len(z) // 1000)]
    look: dict[str, Any] = {"s": 5, "color": fit.color, "alpha": 0.25, "linewidths": 0, "rasterized": True}
    axes.scatter(*dots[:, :2].T, **look, label=f"draws, {fit.name}")
    for level, radius in ELLIPSES.items():
        labels = ("exact, 50% and 95%", f"{fit.label}, its draws' ellipses") if level == "95%" else (None, None)
        axes.plot(*ellipse(exact.location, covariance, radius), color=EXACT, lw=2.2, label=labels[0])
        axes.plot(*ellipse(z.mean(0), np.cov(z.T), radius), color=fit.color, lw=1.8, ls="--", label=labels[1])
    sd, correlation = z.std(0), np.corrcoef(z.T)[0, 1]
    axes.set_title(f"{fit.label}: sd {sd[0]:.2f}, {sd[1]:.2f}, correlation {correlation:z.2f}")
    half = 3.6 * np.sqrt(exact.variance.max())
    axes.set(xlim=exact.location[0] + [-half, half], ylim=exact.location[1] + [-half, half], aspect="equal")
    true = exact.correlations()["z[0],z[1]"]
    text = f"exact: sd {np.sqrt(exact.variance[0]):.2f}, correlation {true:.2f}"
    axes.text(0.98, 0.02, text, transform=axes.transAxes, ha="right", fontsize=9)
    axes.set(xlabel="z[0]", ylabel="z[1]")
    framed_legend(axes, 0.85)


def draw_staircases(axes: Axes, fits: Fits, exact: GaussianChain) -> None:
    """Draw the means after each update on contours of the mean-field ELBO, which are the posterior's own."""
    x = exact.x[0]
    scale = max(abs(x), 1e-3)
    for nats in (0.02, 0.1, 0.25, 0.5, 1.0):
        axes.plot(*ellipse(exact.location, exact.covariance(), np.sqrt(2 * nats) * scale), color=PALE, lw=0.9)
    color = FAMILY_COLORS["coordinate_ascent"]
    staircases: tuple[tuple[str, str, dict[str, Any], tuple[int, int]], ...] = (
        ("coordinate_ascent", "coordinate ascent", {"color": color, "marker": "o", "ls": "-"}, (24, -42)),
        ("coordinate_ascent-text", "as printed", {"color": TEXT_COLOR, "marker": "s", "ls": "--"}, (-4, 10)),
    )
    inwards = 1 if x >= 0 else -1  # where no staircase passes, and within the panel
    for name, words, line, (right, up) in staircases:
        if name not in fits or "mean" not in fits[name]["optimisation"]:
            continue
        steps = dataset(fits[name], "optimisation")
        means, words = steps["mean"].values, f"{words}: {steps.attrs['sweeps']} sweeps, ELBO {steps.attrs['elbo']:.4f}"
        axes.plot(*means.T, **line, ms=4.5, lw=1.8, label=words)
        axes.annotate(
            f"({means[-1, 0]:.3g}, {means[-1, 1]:.3g})", means[-1], (right * inwards, up * inwards),
            textcoords="offset points", color=line["color"], fontsize=10, weight="bold", va="center", zorder=5,
            ha="right" if x >= 0 else "left", bbox={"color": "white", "alpha": 0.8, "pad": 1},
        )  # fmt: skip
    axes.plot(*exact.location, marker="*", ms=13, color=EXACT, ls="", zorder=1, label="exact means")
    low, high = sorted((-0.15 * np.sign(x) * scale, 1.25 * np.sign(x) * scale)) if x else (-1.0, 1.0)
    axes.set(xlim=(low, high), ylim=(low, high + 0.25 * (high - low)), aspect="equal")
    axes.set(xlabel="mean of z[0]", ylabel="mean of z[1]", title="coordinate ascent, update by update")
    framed_legend(axes, 0.95)


# A few nodes: all pairs


def pair(fits: Fits, data: Chain, exact: GaussianChain, path: Path) -> None:
    """Draw ArviZ's pair plot of the exact posterior's draws, the richest family's and mean field's."""
    import arviz_base
    import arviz_plots
    import matplotlib
    from matplotlib import pyplot

    matplotlib.use("agg")
    samples = {"exact": (EXACT, exact.draw(np.random.default_rng(0), 4000)["z"])}
    rich, narrow = fits_of(fits, ("full_rank", "markov"))[:1], fits_of(fits, ("mean_field",))
    samples |= {fit.name: (fit.color, draws_of(fit)) for fit in rich + narrow}  # the narrow one last, on top
    hidden: dict[str, Any] = dict.fromkeys(("credible_interval", "point_estimate", "point_estimate_text"), False)
    size, matrix = 2.6 * data.length, cast(Any, None)
    for color, z in samples.values():
        some = z[:2000][: len(z) // 4 * 4]
        draws = {element("z", (node,)): some[:, node].reshape(4, -1) for node in range(data.length)}
        looks: Any = {"scatter": {"color": color, "alpha": 0.15, "size": 3}, "dist": {"color": color}}
        canvas: Any = {"plot_matrix": matrix} if matrix else {"figure_kwargs": {"figsize": (size, size)}}
        tree = arviz_base.from_dict({"posterior": draws})
        canvas |= {"marginal_kind": "kde", "backend": "matplotlib"}
        matrix = arviz_plots.plot_pair(tree, visuals=looks | hidden, **canvas)
    figure = matrix.viz["figure"].item()
    handles = [legend_line(name, color, lw=2.5) for name, (color, _) in samples.items()]
    figure.legend(handles=handles, loc="upper right", bbox_to_anchor=(0.93, 0.9))
    figure.savefig(path, dpi=140, bbox_inches="tight")
    pyplot.close(figure)


# Many nodes: bands along the chain


def bands(fits: Fits, data: Chain, exact: GaussianChain, path: Path) -> None:
    """Draw marginal means with 95% bands along the chain, a panel a family, and the ratios of their sds below."""
    shown = one_per_family(fits)
    count = max(len(shown), 1)
    n_columns = max(2, -(-count // 2)) if count > 3 else count
    n_rows = -(-count // n_columns)
    figure = new_figure(max(8.0, 4.4 * n_columns), 2.9 * n_rows + 2.6)
    grid = figure.add_gridspec(n_rows + 1, n_columns, height_ratios=[1.25] * n_rows + [1])
    ratios = figure.add_subplot(grid[n_rows, :])
    first = None
    for place, fit in enumerate(shown):
        axes = figure.add_subplot(grid[place // n_columns, place % n_columns], sharex=first, sharey=first)
        draw_band(axes, fit, data, exact)
        if first is None:
            axes.legend(loc="upper left", fontsize=8)
        first = first or axes
        nodes = dataset(fit.tree, "posterior")["z_dim_0"].values
        width = 0.7 * (len(shown) - 1 - place)  # what lies below another line stays visible around it
        ratio = draws_of(fit).std(0) / np.sqrt(exact.variance[nodes])
        ratios.plot(nodes, ratio, color=fit.color, marker="o", ms=3 + width, lw=1.2 + width, label=fit.label)
    theory = 1 / np.sqrt(exact.precision_diagonal * exact.variance)
    color = FAMILY_COLORS["mean_field"]
    ratios.plot(np.arange(data.length), theory, color=color, ls=":", lw=1.5, label="mean field, theory")
    ratios.axhline(1.0, color=EXACT, lw=1.2)
    ratios.set(xlabel="node k", ylabel="sd / exact sd", ylim=(0, 1.35))
    ratios.set_title("the share of the exact sd that each family reports")
    ratios.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8.5)
    save(figure, path)


def draw_band(axes: Axes, fit: ShownFit, data: Chain, exact: GaussianChain) -> None:
    z, nodes = draws_of(fit), dataset(fit.tree, "posterior")["z_dim_0"].values
    middle, (low, high) = z.mean(0), np.quantile(z, [0.025, 0.975], axis=0)
    width = Z_95 * np.sqrt(exact.variance)
    bottom, top, every = exact.location - width, exact.location + width, np.arange(data.length)
    axes.fill_between(every, bottom, top, color="#cccccc", lw=0, label="exact, 95%")
    axes.plot(every, exact.location, color=EXACT, lw=1.8, label="exact mean")
    if data.observe == "all" and data.length <= 200:
        axes.plot(every, exact.x, ".", color=GREY, ms=4, label="observed")
    axes.errorbar(
        nodes, middle, [middle - low, high - middle], fmt="o", color=fit.color, ms=3, lw=1.3, capsize=2,
        label="the fit's mean and 95%",
    )  # fmt: skip
    room = width.max()
    axes.set(xlabel="node k", ylabel="z[k]", ylim=(bottom.min() - 0.2 * room, top.max() + 0.9 * room), title=fit.name)


def is_founding_text(data: Chain) -> bool:
    return data.length == 2 and data.observe == "last"


def has_few_nodes(data: Chain) -> bool:
    return 2 <= data.length <= 4


def has_many_nodes(data: Chain) -> bool:
    return data.length >= 5


PICTURES = (
    Picture(
        "plane",
        "The plane of the chain's two nodes. Mean field stands upright inside the exact ellipse: its mean is right, "
        "its sds are too small, and it has no correlation. On the right, coordinate ascent walks to the exact means; "
        "the updates as the founding text (the tutorial that this zoo began from) prints them walk past these to "
        "(x, x). Grey lines join means of equal ELBO.",
        plane,
        is_founding_text,
    ),
    Picture(
        "pair",
        "ArviZ's pair plot of draws from the exact posterior, from mean field, and from a family that holds the "
        "posterior.",
        pair,
        has_few_nodes,
    ),
    Picture(
        "bands",
        "Above, marginal means with 95% bands along the chain; the exact ones are grey. Below, each family's standard "
        "deviation over the exact one. The dotted line is the theory for mean field: 1 / sqrt(P_kk Var z_k).",
        bands,
        has_many_nodes,
    ),
)
