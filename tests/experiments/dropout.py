"""How dropout's uncertainty goes with the number of rows, beside exact posteriors: a table, and the picture of it.

python -m tests.experiments.dropout               the table of guides/dropout/README.md
python -m tests.experiments.dropout out/dropout   the picture, as ratio.png in that folder

The single weight is in closed form. The network has one unit and one input: its posterior is by quadrature, dropout's
objective over its four masks is maximised numerically, and its moments are sums over them.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import optimize

from models.bnn import BnnData, network
from models.bnn.exact import exact
from models.plotting import FAMILY_COLORS, GREY, new_figure, save, style
from tests import dropout_masks
from tests.one_weight import one_weight

ROWS = (10, 30, 100, 300, 1000)
RATE, NOISE = 0.1, 0.5
AT = np.array([[-1.5], [-0.5], [0.5], [1.5]])
"""The inputs at which f is compared."""


def network_data(rows: int) -> BnnData:
    """Targets 1.5 tanh(1.5 x) plus noise at even inputs in [-2, 2]: a network of one unit can be right."""
    x = np.linspace(-2, 2, rows)[:, None]
    y = 1.5 * np.tanh(1.5 * x[:, 0]) + NOISE * np.random.default_rng(rows).standard_normal(rows)
    data = BnnData(hidden=1, noise=NOISE, rate=RATE)
    return data.with_derived(dataset=replace(data.dataset, inputs=x, targets=y, grid=AT))


def fitted(data: BnnData, starts: int = 8) -> dict[str, np.ndarray]:
    """The points that maximise dropout's objective, the best of some searches."""
    shapes = network.shapes(data)

    def points(flat: np.ndarray) -> dict[str, np.ndarray]:
        return {site: part.reshape(shape) for (site, shape), part in zip(shapes.items(), flat, strict=True)}

    def loss(flat: np.ndarray) -> float:
        return -dropout_masks.objective(data, points(flat))

    rng = np.random.default_rng(0)
    ends = [optimize.minimize(loss, rng.standard_normal(len(shapes)), method="BFGS") for _ in range(starts)]
    return points(min(ends, key=lambda end: end.fun).x)


def compared(rows: int) -> tuple[float, float, float]:
    """The smallest and the largest sd ratio of f, and its largest mean error in posterior sds."""
    data = network_data(rows)
    posterior = exact(data)
    assert posterior is not None
    mean, sd = dropout_masks.moments(data, fitted(data), AT)
    ratios = sd / posterior.sd()["f"]
    errors = np.abs(mean - posterior.mean()["f"]) / posterior.sd()["f"]
    return float(ratios.min()), float(ratios.max()), float(errors.max())


def table() -> None:
    print("| rows | one weight: sd ratio | mean error | network: sd ratios | largest mean error |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    for rows in ROWS:
        weight, (low, high, error) = one_weight(rows, RATE), compared(rows)
        print(
            f"| {rows:,} | {weight.sd_ratio:.2f} | {weight.mean_error:+.2f} sd "
            f"| {low:.2f} to {high:.2f} | {error:.2f} sd |",
            flush=True,
        )


def picture(path: Path) -> None:
    figure, rows = new_figure(6.4, 4.2), np.geomspace(ROWS[0], ROWS[-1], 100)
    axes, color = figure.subplots(), FAMILY_COLORS["dropout"]
    axes.plot(rows, one_weight(rows, RATE).sd_ratio, color=color, lw=2, label="one weight, closed form")
    axes.plot(rows, np.sqrt(RATE * (1 - RATE) * rows), color=GREY, ls=":", label="√(rate (1 - rate) rows)")
    ends = np.array([compared(count)[:2] for count in ROWS])
    axes.vlines(ROWS, *ends.T, color=color, lw=5, alpha=0.5, label="network of one unit, f at four inputs")
    axes.axhline(1, color=GREY, lw=1)
    axes.set(xscale="log", yscale="log", xlabel="rows", ylabel="sd of f over the exact posterior's")
    axes.set_title(f"dropout at rate {RATE:g}: the more data, the further off")
    axes.legend(loc="upper left")
    save(figure, path)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
        with style():
            picture(Path(sys.argv[1]) / "ratio.png")
    else:
        table()
