"""The process seen through classes: targets ~ Bernoulli(logits = f(inputs)), its truth and what is written of it.

With f = L u and u ~ N(0, I) every logit is linear in normal coefficients, as in a logistic regression whose features
are L: `models.logits` has the posterior, `models.logit_gaussians` the best Gaussians where u are the latents.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy.linalg import solve_triangular

from models.contract import Best, Exact, Latents, Published, Reference
from models.gp.data import GpData
from models.logit_gaussians import best_of_family
from models.logits import Logits, LogitsPosterior, posterior

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
def solved(data: GpData, content: tuple[bytes, ...]) -> tuple[Classes, Exact | Reference]:
    """The log joint and the posterior, computed once for each content of the data (a file's may change)."""
    target = Classes(data)
    return target, posterior(target) or Reference("NUTS on the latents")


def known(data: GpData) -> tuple[Classes, Exact | Reference]:
    """The log joint and the posterior given the length."""
    return solved(data, data.content)


def truth(data: GpData) -> Exact | Reference:
    """Quadrature up to four points, else importance sampling; a long NUTS run where that fails or the length varies."""
    if not data.is_known:
        return Reference("NUTS on the latents and the length")
    return known(data)[1]


def best_member(data: GpData, family: str) -> Best | None:
    """The best mean field and full rank over u; None in the values f, and for any other family."""
    return best_of_family(known(data)[0], family) if data.is_known and data.is_whitened else None


def published(data: GpData) -> list[Published]:
    """The best Gaussian's bound on the evidence, and how far the mode of f is from zero beside its mean, in sum
    (None within 4 errors). Where the length is unknown, both are said of the process with the one that is given.
    """
    target, exact = known(data.with_derived(hyperparameters="known"))
    if not isinstance(exact, LogitsPosterior):
        return []
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
