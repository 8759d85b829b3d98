"""Targets that are hard on purpose, for the fits to be tried on. Each is written in both libraries."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes

__all__ = ["breast_cancer", "diabetes", "gaussian", "raw_regression"]


def gaussian(dimension: int = 50, condition: float = 1e4) -> dict[str, np.ndarray]:
    """A Gaussian with a random orientation and precision eigenvalues from 1 to ``condition``."""
    rng = np.random.default_rng(5)
    vectors, _ = np.linalg.qr(rng.standard_normal((dimension, dimension)))
    precision = (vectors * np.geomspace(1, condition, dimension)) @ vectors.T
    covariance = np.linalg.inv(precision)
    return {
        "location": rng.standard_normal(dimension),
        "scale_tril": np.linalg.cholesky((covariance + covariance.T) / 2),
    }


def raw_regression(rows: int = 120) -> dict[str, np.ndarray]:
    """Predictors as they come: an income, a year, a rate, a fraction of a per mille. Posterior sds from 1e-4 to 1e2."""
    rng = np.random.default_rng(6)
    income = rng.lognormal(10, 0.8, rows)
    year = rng.integers(1980, 2020, rows).astype(float)
    rate = rng.normal(0.05, 0.02, rows)
    trace = rng.normal(0.004, 0.01, rows)
    predictors = np.stack([income, year, rate, trace], axis=1)
    response = 3e-4 * income + 0.4 * (year - 2000) - 40 * rate + 250 * trace + 12 + rng.normal(0, 8, rows)
    return {"predictors": predictors, "response": response}


def breast_cancer() -> dict[str, np.ndarray]:
    """scikit-learn's breast-cancer data, its 30 features standardised."""
    data = load_breast_cancer()
    features = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    return {"features": features, "malignant": (1 - data.target).astype(float)}


def diabetes() -> dict[str, np.ndarray]:
    """scikit-learn's diabetes data, features and response standardised."""
    data = load_diabetes()
    features = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    return {"features": features, "response": (data.target - data.target.mean()) / data.target.std()}
