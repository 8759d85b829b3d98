"""The chain's own pictures: the plane of two nodes, ArviZ's pair plot beside it, and the bands along a long chain."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.contract import Picture, element

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

    from models.chain import Chain
    from models.chain.exact import GaussianChain

__all__ = ["PICTURES"]

Fits = Mapping[str, "xr.DataTree"]

# Okabe and Ito's colours, which colour-blind readers can tell apart.
LOOK = {
    "mean_field": ("mean field", "#0072B2"),
    "full_rank": ("full rank", "#E69F00"),
    "markov": ("Markov", "#56B4E9"),
    "coordinate_ascent": ("coordinate ascent", "#CC79A7"),
    "nuts": ("NUTS", "#009E73"),
}
EXACT, TEXT = "#000000", "#D55E00"

ELLIPSES = {"50%": 1.1774100225154747, "95%": 2.4477468306808166}
"""Radii, in standard deviations, of the ellipses that hold that much of a Gaussian in the plane."""


def of_family(fits: Fits, family: str) -> tuple[str, xr.DataTree] | None:
    """The fit to show for a family (NumPyro's where both libraries made one), or None."""
    names = [name for name in (f"numpyro-{family}", f"pyro-{family}", family) if name in fits]
    return (names[0], fits[names[0]]) if names else None


def drawn(tree: xr.DataTree) -> np.ndarray:
    """A fit's draws of z, shape (draws, nodes kept)."""
    z = tree["posterior"]["z"].values
    return z.reshape(-1, z.shape[-1])


def ellipse(mean: np.ndarray, covariance: np.ndarray, radius: float) -> np.ndarray:
    """A Gaussian's contour, shape (2, 181)."""
    turn = np.linspace(0, 2 * np.pi, 181)
    return mean[:, None] + radius * np.linalg.cholesky(covariance) @ np.stack([np.cos(turn), np.sin(turn)])


def tidy(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)


def plane(fits: Fits, data: Chain, exact: GaussianChain, path: Path) -> None:
    """Exact ellipses against two families' draws and contours, and the two staircases of coordinate ascent."""
    from matplotlib.figure import Figure

    covariance = exact.covariance()
    families = [name for name in ("mean_field", "full_rank", "markov") if of_family(fits, name)][:2]
    figure = Figure(figsize=(4.3 * (len(families) + 1), 4.9), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(families) + 1))
    for axes, family in zip(panels, families, strict=False):
        name, tree = of_family(fits, family)
        label, colour = LOOK[family]
        z = drawn(tree)
        shown = z[:: max(1, len(z) // 1000)]
        axes.scatter(*shown.T, s=5, color=colour, alpha=0.25, linewidths=0, rasterized=True, label=f"draws, {name}")
        for level, radius in ELLIPSES.items():
            both = level == "95%"
            truth = ellipse(exact.location, covariance, radius)
            axes.plot(*truth, color=EXACT, lw=2.2, label="exact, 50% and 95%" if both else None)
            contour = ellipse(z.mean(0), np.cov(z.T), radius)
            axes.plot(*contour, color=colour, lw=1.8, ls="--", label=f"{label}, its draws' ellipses" if both else None)
        sd, correlation = z.std(0), np.corrcoef(z.T)[0, 1]
        true = exact.correlations()["z[0],z[1]"]
        tidy(axes, f"{label}: sd {sd[0]:.2f}, {sd[1]:.2f}, correlation {correlation:.2f}".replace("-0.00", "0.00"))
        half = 3.6 * np.sqrt(exact.variance.max())
        axes.set(xlim=exact.location[0] + [-half, half], ylim=exact.location[1] + [-half, half], aspect="equal")
        axes.text(
            0.98, 0.02, f"exact: sd {np.sqrt(exact.variance[0]):.2f}, correlation {true:.2f}",
            transform=axes.transAxes, ha="right", fontsize=9,
        )  # fmt: skip
        axes.set_xlabel("z[0]")
        axes.set_ylabel("z[1]")
        axes.legend(loc="upper left", fontsize=8.5, frameon=True, edgecolor="none", framealpha=0.85)
    staircase(panels[-1], fits, exact, covariance)
    figure.savefig(path, dpi=140)


def staircase(axes: Axes, fits: Fits, exact: GaussianChain, covariance: np.ndarray) -> None:
    """The means after each update, on contours of the mean-field ELBO, which are the posterior's own."""
    x = exact.x[0]
    scale = max(abs(x), 1e-3)
    for nats in (0.02, 0.1, 0.25, 0.5, 1.0):
        contour = ellipse(exact.location, covariance, np.sqrt(2 * nats) * scale)
        axes.plot(*contour, color="#bbbbbb", lw=0.9)
    ways = {
        "coordinate_ascent": (LOOK["coordinate_ascent"], "o", "-", (12, -18)),
        "coordinate_ascent-text": (("as the text prints it", TEXT), "s", "--", (-4, 10)),
    }
    for name, ((label, colour), marker, line, shift) in ways.items():
        if name not in fits or "mean" not in fits[name]["optimisation"]:
            continue
        steps = fits[name]["optimisation"]
        means = steps["mean"].values
        axes.plot(
            *means.T, color=colour, ls=line, marker=marker, ms=4.5, lw=1.8,
            label=f"{label}: {steps.attrs['sweeps']} sweeps, ELBO {steps.attrs['elbo']:.4f}",
        )  # fmt: skip
        towards = 1 if x >= 0 else -1  # away from the way it came, and into the panel
        axes.annotate(
            f"({means[-1, 0]:.3g}, {means[-1, 1]:.3g})", means[-1], (shift[0] * towards, shift[1] * towards),
            textcoords="offset points", color=colour, fontsize=10, weight="bold", va="center", zorder=5,
            ha="left" if shift[0] * towards > 0 else "right", bbox={"color": "white", "alpha": 0.8, "pad": 1},
        )  # fmt: skip
    axes.plot(*exact.location, marker="*", ms=13, color=EXACT, ls="", zorder=1, label="exact means")
    low, high = sorted((-0.15 * np.sign(x) * scale, 1.25 * np.sign(x) * scale)) if x else (-1.0, 1.0)
    axes.set(xlim=(low, high), ylim=(low, high + 0.25 * (high - low)), xlabel="mean of z[0]", ylabel="mean of z[1]")
    axes.set_aspect("equal")
    axes.legend(loc="upper left", fontsize=8.5, frameon=True, edgecolor="none", framealpha=0.95)
    tidy(axes, "coordinate ascent, update by update")


def pair(fits: Fits, data: Chain, exact: GaussianChain, path: Path) -> None:
    """ArviZ's pair plot of the exact posterior's draws, mean field's and the richest family's."""
    import arviz_base
    import arviz_plots
    import matplotlib
    from matplotlib import pyplot
    from matplotlib.lines import Line2D

    matplotlib.use("agg")
    shown = {"exact": (EXACT, exact.draw(np.random.default_rng(0), 4000)["z"])}
    rich = next((family for family in ("full_rank", "markov") if of_family(fits, family)), None)
    for family in filter(None, (rich, "mean_field")):  # the narrow one last, on top
        if found := of_family(fits, family):
            shown[found[0]] = (LOOK[family][1], drawn(found[1]))
    quiet = dict.fromkeys(("credible_interval", "point_estimate", "point_estimate_text"), False)
    matrix = None
    for colour, z in shown.values():
        kept = z[:2000][: len(z) // 4 * 4]
        draws = {element("z", (node,)): kept[:, node].reshape(4, -1) for node in range(data.length)}
        looks = {"scatter": {"color": colour, "alpha": 0.15, "size": 3}, "dist": {"color": colour}}
        size = 2.6 * data.length
        there = {"figure_kwargs": {"figsize": (size, size)}} if matrix is None else {"plot_matrix": matrix}
        matrix = arviz_plots.plot_pair(
            arviz_base.from_dict({"posterior": draws}),
            marginal_kind="kde",
            visuals=looks | quiet,
            backend="matplotlib",
            **there,
        )
    figure = matrix.viz["figure"].item()
    handles = [Line2D([], [], color=colour, lw=2.5) for colour, _ in shown.values()]
    figure.legend(handles, list(shown), loc="upper right", bbox_to_anchor=(0.93, 0.9), frameon=False)
    figure.savefig(path, dpi=140, bbox_inches="tight")
    pyplot.close(figure)


def bands(fits: Fits, data: Chain, exact: GaussianChain, path: Path) -> None:
    """Marginal means with 95% bands along the chain, exact against each family, and the ratio of their spreads."""
    from matplotlib.figure import Figure

    families = [family for family in LOOK if of_family(fits, family)]
    kept = np.array([index[0] for _, index in data.reported()])
    nodes, wide = np.arange(data.length), 1.959963984540054 * np.sqrt(exact.variance)
    columns = max(2, -(-max(len(families), 1) // 2)) if len(families) > 3 else max(len(families), 1)
    rows = -(-max(len(families), 1) // columns)
    figure = Figure(figsize=(max(8.0, 4.4 * columns), 2.9 * rows + 2.6), layout="constrained")
    grid = figure.add_gridspec(rows + 1, columns, height_ratios=[1.25] * rows + [1])
    ratio = figure.add_subplot(grid[rows, :])
    first = None
    for place, family in enumerate(families):
        name, tree = of_family(fits, family)
        label, colour = LOOK[family]
        axes = figure.add_subplot(grid[place // columns, place % columns], sharex=first, sharey=first)
        first = first or axes
        z = drawn(tree)
        if z.shape[1] == data.length:
            z = z[:, kept]
        middle, (low, high) = z.mean(0), np.quantile(z, [0.025, 0.975], axis=0)
        axes.fill_between(
            nodes, exact.location - wide, exact.location + wide, color="#cccccc", lw=0, label="exact, 95%"
        )
        axes.plot(nodes, exact.location, color=EXACT, lw=1.8, label="exact mean")
        if data.observe == "all" and data.length <= 200:
            axes.plot(nodes, exact.x, ".", color="#777777", ms=4, label="observed")
        axes.errorbar(
            kept, middle, [middle - low, high - middle], fmt="o", color=colour, ms=3, lw=1.3, capsize=2,
            label="the fit's mean and 95%",
        )  # fmt: skip
        if place == 0:
            axes.legend(loc="upper left", fontsize=8, frameon=False)
        room = wide.max()
        bottom, top = (exact.location - wide).min(), (exact.location + wide).max()
        axes.set(xlabel="node k", ylabel="z[k]", ylim=(bottom - 0.2 * room, top + 0.9 * room))
        tidy(axes, name)
        truth = np.sqrt(exact.variance[kept])
        below = 0.7 * (len(families) - 1 - place)  # what lies below another line stays visible around it
        ratio.plot(kept, z.std(0) / truth, color=colour, marker="o", ms=3 + below, lw=1.2 + below, label=label)
    best = 1 / np.sqrt(exact.precision_diagonal * exact.variance)
    ratio.plot(nodes, best, color=LOOK["mean_field"][1], ls=":", lw=1.5, label="mean field, theory")
    ratio.axhline(1.0, color=EXACT, lw=1.2)
    ratio.set(xlabel="node k", ylabel="sd / exact sd", ylim=(0, 1.35))
    ratio.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8.5, frameon=False)
    tidy(ratio, "how much of the spread each family reports")
    figure.savefig(path, dpi=140)


def two_nodes(data: Chain) -> bool:
    """Whether this is the text's own chain, which fits on a plane."""
    return data.length == 2 and data.observe == "last"


def few_nodes(data: Chain) -> bool:
    """Whether all pairs of nodes fit on one picture."""
    return 2 <= data.length <= 4


def many_nodes(data: Chain) -> bool:
    """Whether there is a chain to walk along."""
    return data.length >= 5


PICTURES = (
    Picture(
        "plane",
        "The plane of the chain's two nodes. Mean field stands upright inside the exact ellipse: right in the middle, "
        "too narrow, blind to the correlation. On the right, coordinate ascent walks to the exact means, and the "
        "updates as the text prints them walk past them to (x, x); grey lines join means of equal ELBO.",
        plane,
        two_nodes,
    ),
    Picture(
        "pair",
        "ArviZ's pair plot of draws: the exact posterior's, mean field's, and those of a family that holds it.",
        pair,
        few_nodes,
    ),
    Picture(
        "bands",
        "Marginal means with 95% bands along the chain, exact in grey, and below how much of the exact standard "
        "deviation each family reports. The dotted line is what theory says of mean field: 1 / sqrt(P_kk Var z_k).",
        bands,
        many_nodes,
    ),
)
