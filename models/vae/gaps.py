"""What each guide costs, image by image: the family gaps and the amortisation gaps over the test set."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from models.image_posteriors import posteriors
from models.plotting import Fits, ShownFit, dataset, legend_line, list_fits, new_figure, save

LEAST = 1e-3  # Nats. Smaller gaps are drawn at this edge.

TITLES = {
    "family gap": "family gap: log p(x) − ELBO of the family's best",
    "amortisation gap": "amortisation gap: that ELBO − the encoder's",
}


class Gap(NamedTuple):
    """A gap of the test images in nats.

    Attributes:
        values: The gap of each image, shape (n,).
        mean: Their mean.
        mcse: The mean's Monte Carlo standard error.
        sampling: The mean's standard error from the number of images.
    """

    values: np.ndarray
    mean: float
    mcse: float
    sampling: float

    def __str__(self) -> str:
        return f"{self.mean:z.4f} ± {self.mcse:.4f} ({self.sampling:.4f})"


def estimate_gap(upper: np.ndarray, lower: np.ndarray, *errors: np.ndarray) -> Gap:
    """The gap between two bounds, shapes (n,), with the independent standard errors of either, each of shape (n,)."""
    values = upper - lower
    mcse = np.sqrt(np.sum([np.square(error) for error in errors])) / len(values)
    return Gap(values, float(values.mean()), float(mcse), float(values.std(ddof=1) / np.sqrt(len(values))))


def estimate_gaps(fits: Fits, data: Any) -> dict[str, list[tuple[ShownFit, Gap]]]:
    """Each fit's gaps by kind; the family gap only where the evidence is known."""
    family, amortisation = [], []
    for fit in list_fits(fits, "test_set"):
        elbo, error, best, best_error = (
            dataset(fit.tree, "test_set")[name].values for name in ("elbo", "elbo_mcse", "best_elbo", "best_elbo_mcse")
        )
        amortisation.append((fit, estimate_gap(best, elbo, best_error, error)))
        if data.network.latent <= 2:
            evidence = posteriors(data.network, data.dataset.test).log_evidences
            family.append((fit, estimate_gap(evidence, best, best_error)))
    return ({"family gap": family} if data.network.latent <= 2 else {}) | {"amortisation gap": amortisation}


def gaps(fits: Fits, data: Any, exact: object, path: Path) -> None:
    """Draw the share of test images whose gap is smaller: a panel a kind of gap, a line a fit."""
    by_kind = estimate_gaps(fits, data)
    figure = new_figure(1.0 + 5.6 * len(by_kind), 6.0)
    panels = figure.subplots(1, len(by_kind), sharex=True, sharey=True, squeeze=False)[0]
    largest = max([float(gap.values.max()) for pairs in by_kind.values() for _, gap in pairs], default=1.0)
    for axes, (kind, pairs) in zip(panels, by_kind.items(), strict=True):
        for fit, gap in pairs:
            values = np.sort(np.maximum(gap.values, LEAST))
            share = np.arange(1, len(values) + 1) / len(values)
            ends = np.append(values, 2 * largest), np.append(share, 1.0)
            axes.step(*ends, where="post", color=fit.color, ls=fit.line, lw=1.8)
            axes.plot(max(gap.mean, LEAST), np.mean(values <= gap.mean), "o", color=fit.color, ms=5, mew=0)
        axes.set(title=TITLES[kind], xscale="log", xlabel="nats")
        axes.set(xlim=(LEAST, 1.6 * max(largest, 10 * LEAST)), ylim=(0, 1))
        axes.legend(
            handles=[legend_line(f"{fit.name}  {gap}", fit.color, ls=fit.line, lw=1.8) for fit, gap in pairs],
            title="mean ± Monte Carlo error (error from the number of images)", fontsize=8.5,
            loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=1,
        )  # fmt: skip
    panels[0].set_ylabel(f"share of {len(data.dataset.test)} test images with a smaller gap")
    save(figure, path)
