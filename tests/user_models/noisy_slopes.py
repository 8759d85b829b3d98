"""The data of a linear regression with 4 slopes, and its evidence by an integral over the noise."""

import numpy as np
from scipy import integrate, stats

rng = np.random.default_rng(17)
x = rng.normal(size=(30, 4))
data = {"x": x, "y": x @ rng.normal(size=4) + 0.7 * rng.normal(size=30)}


def log_evidence() -> float:
    """By SciPy's quad over the noise, the slopes integrated out: in nats, to 1e-8."""
    marginal, shift = x @ x.T, 40.0

    def density(noise: float) -> float:
        given = stats.multivariate_normal.logpdf(data["y"], np.zeros(30), marginal + noise**2 * np.eye(30))
        return np.exp(given + stats.halfnorm.logpdf(noise) + shift)

    return float(np.log(integrate.quad(density, 0, 6, epsrel=1e-9, points=[0.5, 0.7, 1.0], limit=200)[0]) - shift)


def draw(n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Independent draws of the posterior: the noise by its distribution function on a grid, the slopes given it."""
    grid = np.linspace(0.05, 6, 6000)
    values, vectors = np.linalg.eigh(x @ x.T)
    squares, variances = (vectors.T @ data["y"]) ** 2, values[:, None] + grid**2
    heights = -(grid**2) / 2 - (np.log(variances) + squares[:, None] / variances).sum(0) / 2
    below = np.cumsum(np.exp(heights - heights.max()))
    noise = np.interp(rng.random(n) * below[-1], below, grid)
    covariances = np.linalg.inv(x.T @ x / noise[:, None, None] ** 2 + np.eye(4))
    means = np.einsum("nij,j->ni", covariances, x.T @ data["y"]) / noise[:, None] ** 2
    steps = np.einsum("nij,nj->ni", np.linalg.cholesky(covariances), rng.standard_normal((n, 4)))
    return {"noise": noise, "slopes": means + steps}
