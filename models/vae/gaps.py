"""What each guide costs, image by image: how the family gaps and the amortisation gaps are spread over the test set."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from models.vae.exact import posteriors
from models.vae.look import Fits, every, tidy

__all__ = ["Gap", "gap", "gaps"]

LEAST = 1e-3
"""Nats: smaller gaps are drawn at this edge."""


class Gap(NamedTuple):
    """A gap in nats of every test image, (n,); its mean, and the errors of that: Monte Carlo, and of so few images."""

    values: np.ndarray
    mean: float
    mcse: float
    sampling: float

    def __str__(self) -> str:
        return f"{self.mean:z.4f} ± {self.mcse:.4f} ({self.sampling:.4f})"


def gap(upper: np.ndarray, lower: np.ndarray, *errors: np.ndarray) -> Gap:
    """The gap between two bounds, each (n,), with the independent standard errors of those that have one, each (n,)."""
    values = upper - lower
    mcse = np.sqrt(np.sum([np.square(one) for one in errors])) / len(values)
    return Gap(values, float(values.mean()), float(mcse), float(values.std(ddof=1) / np.sqrt(len(values))))


def measured(fits: Fits, data: Any) -> dict[str, list[tuple[Any, Gap]]]:
    """The gaps by kind, each a list of fits with theirs; the family gap only where the evidence is known."""
    evidence = posteriors(data.network, data.dataset.test).log_evidences if data.network.latent <= 2 else None
    found: dict[str, list[tuple[Any, Gap]]] = {} if evidence is None else {"family gap": []}
    found["amortisation gap"] = []
    for one in every(fits, "test_set"):
        elbo, error, best, best_error = (
            one.tree["test_set"][name].values for name in ("elbo", "elbo_mcse", "best_elbo", "best_elbo_mcse")
        )
        if evidence is not None:
            found["family gap"].append((one, gap(evidence, best, best_error)))
        found["amortisation gap"].append((one, gap(best, elbo, best_error, error)))
    return found


def gaps(fits: Fits, data: Any, exact: object, path: Path) -> None:
    """The share of test images whose gap is below so many nats: a panel a kind of gap, a line a fit."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    kinds = measured(fits, data)
    figure = Figure(figsize=(1.0 + 5.6 * len(kinds), 6.0), layout="constrained")
    panels = figure.subplots(1, len(kinds), sharex=True, sharey=True, squeeze=False)[0]
    titles = {
        "family gap": "family gap: log p(x) − ELBO of the family's best",
        "amortisation gap": "amortisation gap: that ELBO − the encoder's",
    }
    largest = max([float(one.values.max()) for rows in kinds.values() for _, one in rows], default=1.0)
    for axes, (kind, rows) in zip(panels, kinds.items(), strict=True):
        for fit, one in rows:
            values = np.sort(np.maximum(one.values, LEAST))
            share = np.arange(1, len(values) + 1) / len(values)
            axes.step(
                np.append(values, 2 * largest), np.append(share, 1.0), where="post", color=fit.colour, ls=fit.line,
                lw=1.8,
            )  # fmt: skip
            axes.plot(max(one.mean, LEAST), np.mean(values <= one.mean), "o", color=fit.colour, ms=5, mew=0)
        tidy(axes, titles[kind])
        axes.set_xscale("log")
        axes.set(xlim=(LEAST, 1.6 * max(largest, 10 * LEAST)), ylim=(0, 1), xlabel="nats")
        axes.grid(color="#e6e6e6", lw=0.6)
        axes.set_axisbelow(True)
        axes.legend(
            handles=[
                Line2D([], [], color=fit.colour, ls=fit.line, lw=1.8, label=f"{fit.name}  {one}") for fit, one in rows
            ],
            title="mean ± Monte Carlo error (error from so many images)", title_fontsize=8.5, fontsize=8.5,
            loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=1, frameon=False,
        )  # fmt: skip
    panels[0].set_ylabel(f"share of {len(data.dataset.test)} test images with a smaller gap")
    figure.savefig(path, dpi=140)
