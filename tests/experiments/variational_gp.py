"""The variational Gaussian process beside the best Gaussian and the flow: tables, and the picture of it.

python -m tests.experiments.variational_gp numpyro              what each family costs on each target
python -m tests.experiments.variational_gp data                 what more variational data gain
python -m tests.experiments.variational_gp out/variational_gp   the picture, as bent.png in that folder
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

import models
from compare import compare, fit_guide
from compare.comparison import Request
from compare.options import Options
from compare.pipeline import compare as compare_request
from guides import variational_gp as gp
from models.bnn import BnnData
from models.plotting import EXACT as BLACK
from models.plotting import FAMILY_COLORS, GREY, new_figure, save, style
from tests.bent import DATA, EXACT, model

GUIDES = ("full_rank", "flow", "variational_gp")
APART = (2.0, 3.0, 4.0)
COUNTS = (2, 4, 8, 16, 32)
COLOR = "#332288"


def summaries(library: str, budget: float) -> dict[str, Any]:
    """The summary of each target's comparison."""
    options = {"guides": GUIDES, "nuts": False, "budget": budget, "seed": 0}
    networks = Request(models.load("bnn"), BnnData(hidden=2), (library,), GUIDES, False, Options(budget=budget))
    coin = models.load("coin")
    by_name = {"coin": compare_request(Request(coin, coin.data(), (library,), GUIDES, False)).summary}
    for apart in APART:
        result = compare(model(library, "two_modes"), {"apart": np.array(apart)}, **options)
        by_name[f"two modes at ±{apart:g} sd"] = result.summary
    for name, exact in EXACT.items():
        by_name[name] = compare(model(library, name), DATA[name], exact=exact, **options).summary
    return by_name | {"bnn, two units": compare_request(networks).summary}


def printed(term: dict[str, float] | None) -> str:
    return f"{term['value']:.4f} ± {term['mcse']:.4f}" if term else "–"


def costs(library: str, budget: float = 200.0) -> None:
    """The table, a row for each target and guide."""
    print("| target | guide | ELBO | evidence gap | family gap | auxiliary gap | verdict | gradients |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for target, summary in summaries(library, budget).items():
        for guide in GUIDES:
            fit = summary["fits"][f"{library}-{guide}"]
            gaps = [printed(fit["ledger"][term]) for term in ("elbo", "evidence_gap", "family_gap", "auxiliary_gap")]
            print(f"| {target} | {guide} | {' | '.join(gaps)} | {fit['verdict']['word']} | {fit['gradients']:,} |")


def with_data(name: str, count: int) -> dict[str, Any]:
    """The ledger of NumPyro's fit with ``count`` variational data."""
    previous, gp.INPUTS = gp.INPUTS, count
    try:
        options = {"guides": ["variational_gp"], "nuts": False, "exact": EXACT[name], "budget": 200.0}
        result = compare(model("numpyro", name), DATA[name], **options)
    finally:
        gp.INPUTS = previous
    return result.summary["fits"]["numpyro-variational_gp"]["ledger"]


def data_table() -> None:
    print("| target | variational data | evidence gap | family gap | auxiliary gap |")
    print("| --- | ---: | --- | --- | --- |")
    for name in EXACT:
        for count in COUNTS:
            ledger = with_data(name, count)
            gaps = [printed(ledger[f"{term}_gap"]) for term in ("evidence", "family", "auxiliary")]
            print(f"| {name} | {count} | {' | '.join(gaps)} |", flush=True)


def picture(path: Path) -> None:
    """The banana's contours with draws and the mapping's mean; two modes beside q(z) and the best Gaussian."""
    figure = new_figure(10.0, 4.2)
    left, right = figure.subplots(1, 2)
    best = fit_guide(model("numpyro", "banana"), DATA["banana"], "variational_gp")
    x, y = np.meshgrid(np.linspace(-35, 35, 281), np.linspace(-7, 30, 281))
    known = EXACT["banana"].log_posterior({"x": x, "y": y})
    left.contour(x, y, known - known.max(), [-8.0, -4.5, -2.0, -0.5], colors=BLACK, linewidths=0.8, linestyles="-")
    draws = {site: best.draws[site].values.ravel()[:1500] for site in ("x", "y")}
    left.plot(draws["x"], draws["y"], ".", ms=3, color=COLOR, alpha=0.4, label="draws")
    params = {name.removeprefix("auto_"): np.asarray(value, dtype=float) for name, value in best.params.items()}
    curve = gp.mapping(params, np.linspace(-3, 3, 200))[0] @ params["scale_tril"].T + params["loc"]
    left.plot(*curve.T, color=FAMILY_COLORS["flow"], lw=2, label="mean of z given the input, from -3 to 3")
    left.set(xlabel="x", ylabel="y", title="banana: exact contours", xlim=(-35, 35), ylim=(-7, 30))
    left.legend(loc="upper center")

    at, apart = np.linspace(-7, 7, 701), 3.0
    best = fit_guide(model("numpyro", "two_modes"), {"apart": np.array(apart)}, "variational_gp")
    params = {name.removeprefix("auto_"): np.asarray(value, dtype=float) for name, value in best.params.items()}
    scale = params["scale_tril"][0, 0]
    q = np.exp(gp.log_density(params, (at[:, None] - params["loc"]) / scale)) / scale
    right.plot(at, 0.5 * (stats.norm.pdf(at, -apart) + stats.norm.pdf(at, apart)), color=BLACK, label="exact")
    right.plot(at, q, color=COLOR, lw=2, label="variational GP")
    right.plot(at, stats.norm.pdf(at, np.sign(params["loc"]) * apart), color=GREY, ls=":", label="best Gaussian")
    right.set(xlabel="x", ylabel="density", title="two modes, at ±3 sd")
    right.legend(loc="upper center")
    save(figure, path)


if __name__ == "__main__":
    if sys.argv[1] == "data":
        data_table()
    elif sys.argv[1] in ("numpyro", "pyro"):
        costs(sys.argv[1])
    else:
        Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
        with style():
            picture(Path(sys.argv[1]) / "bent.png")
