"""The process seen through classes: targets ~ Bernoulli(logits = f(inputs)), its truth and what is written of it.

With f = L u and u ~ N(0, I) every logit is linear in normal coefficients, as in a logistic regression whose features
are L: `models.logits` has the posterior, `models.logit_gaussians` the best Gaussians where u are the latents.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import special
from scipy.linalg import solve_triangular

from models.contract import Best, Exact, Latents, Published, Reference
from models.gp.data import GpData
from models.logit_gaussians import best_of_family
from models.logits import Logits, LogitsPosterior, posterior
from models.plotting import EXACT, GREY, Fits, flat_draws, one_per_family, save, small_multiples

LATENT = "Kuss & Rasmussen 2005, Assessing approximate inference for binary Gaussian process classification (JMLR 6)"


class Classes(Logits):
    """u or f, and the classes.

    Attributes:
        factor: L, shape (n, n).
    """

    def __init__(self, data: GpData) -> None:
        self.factor = data.factor(data.design.inputs)
        super().__init__(self.factor, data.design.targets, prior_sd=1.0)
        self.maps = {"u": np.eye(self.size), "f": self.factor} if data.is_whitened else {"f": self.factor}
        self.latents = ("u",) if data.is_whitened else ("f",)
        self.log_volume = 0.0 if data.is_whitened else float(np.log(np.diagonal(self.factor)).sum())

    def coefficients(self, latents: Latents) -> np.ndarray:
        (site,) = self.latents
        values = np.asarray(latents[site])
        return values if site == "u" else solve_triangular(self.factor, values.T, lower=True).T


@lru_cache(maxsize=4)
def solved(data: GpData, content: tuple[bytes, ...]) -> Exact | Reference:
    """The posterior, computed once for each content of the data (a file's may change)."""
    return posterior(Classes(data)) or Reference("NUTS on the latents")


def truth(data: GpData) -> Exact | Reference:
    """Quadrature up to four points, else importance sampling; a long NUTS run where that fails or the length varies."""
    if not data.is_known:
        return Reference("NUTS on the latents and the length")
    return solved(data, (data.design.inputs.tobytes(), data.design.targets.tobytes()))


def best_member(data: GpData, family: str) -> Best | None:
    """The best mean field and full rank over u; None in the values f, and for any other family."""
    return best_of_family(Classes(data), family) if data.is_known and data.is_whitened else None


def published(data: GpData) -> list[Published]:
    """The best Gaussian's bound on the evidence, and how far the mode of f is from zero beside its mean, in sum
    (None within 4 errors). Where the length is unknown, both are said of the process with the one that is given.
    """
    exact = truth(data.with_derived(hyperparameters="known"))
    if not isinstance(exact, LogitsPosterior):
        return []
    target = exact.log_joint
    best = best_of_family(target, "full_rank")
    assert best is not None
    mode, mean = target.maps["f"] @ target.mode, exact.mean()["f"]
    far, signs = float(np.abs(mean).sum()), np.sign(mean) @ target.maps["f"]
    error = math.sqrt(signs @ exact.covariance @ signs / exact.n_effective)
    near = float(np.abs(mode).sum())
    return [
        Published(
            "the ELBO of the best Gaussian is a lower bound on the log evidence given the length",
            "Opper & Archambeau 2009, The variational Gaussian approximation revisited, section 2",
            "ELBO <= log evidence",
            f"{best.elbo:.6f} and {exact.log_evidence:.6f} nats, known to {exact.tolerance:.1g}",
            bool(best.elbo <= exact.log_evidence + exact.tolerance),
        ),
        Published(
            "the posterior is skewed, and the mode of f underestimates the mean's distance from zero",
            LATENT,
            "sum |mode| < sum |mean|",
            f"{near:.4g} and {far:.4g} ± {error:.1g}",
            near < far if abs(near - far) > 4 * error else None,
        ),
    ]


Curves = tuple[np.ndarray, np.ndarray, np.ndarray]


def curves(u: np.ndarray, data: GpData, grid: np.ndarray, rng: np.random.Generator) -> Curves:
    """Mean, 2.5% and 97.5% quantile of P(class 1) at inputs (m, 1), by draws of u at the data's, shape (n_draws, n)."""
    factor = data.factor(data.design.inputs)
    across = solve_triangular(factor, data.covariance(data.design.inputs, grid), lower=True)
    left = np.maximum(data.variance - np.sum(across**2, axis=0), 0.0)
    chances = special.expit(u @ across + np.sqrt(left) * rng.standard_normal((len(u), len(grid))))
    low, high = np.quantile(chances, [0.025, 0.975], axis=0)
    return chances.mean(0), low, high


def chances(fits: Fits, data: GpData, exact: LogitsPosterior, path: Path) -> None:
    """Draw every family's P(class 1) beside the exact one."""
    rng, x, shown = np.random.default_rng(0), data.design.inputs, one_per_family(fits)
    grid = np.linspace(x.min() - 0.1 * np.ptp(x), x.max() + 0.1 * np.ptp(x), 200)[:, None]
    target = exact.log_joint
    truth = curves(target.coefficients(exact.draw(rng, 4000)), data, grid, rng)
    figure, panels = small_multiples(max(1, len(shown)), (4.4, 3.2), data.design.columns[0], "probability of class 1")
    for axes, fit in zip(panels, shown, strict=False):
        mean, *ends = curves(target.coefficients(flat_draws(fit.tree, 4000)), data, grid, rng)
        axes.fill_between(grid[:, 0], truth[1], truth[2], color="#cccccc", lw=0, label="exact, 95%")
        axes.plot(grid[:, 0], truth[0], color=EXACT, lw=1.4)
        axes.plot(grid[:, 0], mean, color=fit.color, lw=1.4, ls="--")
        for end, label in zip(ends, (fit.label, None), strict=True):
            axes.plot(grid[:, 0], end, color=fit.color, lw=1.3, label=label)
        axes.plot(x[:, 0], data.design.targets, "|", color=GREY, ms=8)
        axes.set(title=fit.name, ylim=(-0.05, 1.25), yticks=np.linspace(0, 1, 6))
        axes.legend(loc="upper right", fontsize=8, ncols=2)
    save(figure, path)
