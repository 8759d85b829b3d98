"""Honest baselines: a model that is linear, and a network of the same size that is fitted once.

Both are given the rows that the Bayesian network is given, and priors as near to its own as their kind allows; the
logistic regression may choose the width of its prior by cross-validation, without which it is a weak opponent.
"""

import warnings

import numpy as np
import scipy.linalg
from scipy import special, stats
from threadpoolctl import threadpool_limits

from models.bnn import network
from models.bnn.data import BnnData
from models.contract import Latents, Predictions

NOISE = 0.1  # A small sd of the noise for a target of sd 1: the centre of what is assumed where the noise is unknown
TRIED = (0.1, 0.2, 0.4, 0.8)  # sds of the noise among which a network's penalty is chosen where the noise is unknown


PENALTIES = tuple(np.geomspace(0.01, 100, 9))
"""Prior variances of a logistic regression's weights among which cross-validation chooses."""


def baselines(data: BnnData) -> dict[str, Predictions]:
    """What simpler models say of the rows that were held out: arrays of shape (1, points), densities in nats.

    ``linear model`` is Bayesian and exact. ``logistic model`` and ``network, one fit`` are point estimates: they know
    nothing of their own uncertainty.
    """
    with threadpool_limits(1):  # threads cost such small problems more than they give, and may change the last digits
        linear = {"logistic model": logistic_model} if data.dataset.classes else {"linear model": linear_model}
        predicted = {name: model(data) for name, model in linear.items()}
        return {**predicted, "network, one fit": network.predict(data, one_fit(data))}


def linear_model(data: BnnData) -> Predictions:
    """Bayesian linear regression by its exact predictive distribution (Murphy 2012, section 7.6).

    The prior is that of a network which is nearly linear: weights ~ N(0, 1 / inputs), intercept ~ N(0, 1). Where the
    noise is unknown it is conjugate: noise^2 ~ InverseGamma(1 / 2, 0.1^2 / 2), worth one observation, and those sds
    are times noise / 0.1; the predictive distribution is then Student's t.
    """
    inputs, targets, known = data.dataset.inputs, data.dataset.targets, data.dataset.noise is not None
    scale = data.dataset.noise if known else NOISE
    features, test_features = (np.column_stack([x, np.ones(len(x))]) for x in (inputs, data.dataset.test_inputs))
    penalty = scale**2 * np.array([*np.full(inputs.shape[1], float(inputs.shape[1])), 1.0])
    q, r = np.linalg.qr(np.vstack([features, np.diag(np.sqrt(penalty))]))
    weights = scipy.linalg.solve_triangular(r, q[: len(features)].T @ targets)
    mean = test_features @ weights
    spread = np.sqrt(1 + np.sum(scipy.linalg.solve_triangular(r, test_features.T, trans=1) ** 2, axis=0))
    if known:
        predictive = stats.norm(mean, scale * spread)
    else:
        freedom = 1 + len(targets)
        squares = NOISE**2 + np.sum((targets - features @ weights) ** 2) + penalty @ weights**2
        predictive = stats.t(freedom, mean, np.sqrt(squares / freedom) * spread)
    observed = data.dataset.test_targets
    return Predictions(observed, predictive.logpdf(observed)[None], mean[None], predictive.cdf(observed)[None])


def logistic_model(data: BnnData) -> Predictions:
    """Logistic regression at its posterior mode: weights ~ N(0, C), the intercept's prior flat.

    C is that of `PENALTIES` with the best log density in five-fold cross-validation; where a class has fewer rows than
    that, the network's own, 1 / inputs.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    model = LogisticRegression(C=1 / data.dataset.inputs.shape[1], tol=1e-8, max_iter=10_000)
    if np.bincount(data.dataset.targets.astype(int), minlength=2).min() >= 5:
        model = GridSearchCV(model, {"C": PENALTIES}, scoring="neg_log_loss", cv=5)
    logits = model.fit(data.dataset.inputs, data.dataset.targets).decision_function(data.dataset.test_inputs)
    observed = data.dataset.test_targets
    density = special.log_expit(np.where(observed == 1, logits, -logits))
    return Predictions(observed, density[None], special.expit(logits)[None])


def one_fit(data: BnnData) -> Latents:
    """One set of weights, as a mode of the posterior but for flat priors on the biases: each of shape (1, ...).

    Where the noise is unknown the penalty is that of the sd, one of `TRIED`, with the smallest error on a fifth of the
    rows, held back once. The noise is then estimated from the residuals, with 0.1 as one more of them.
    """
    inputs, targets, activation = data.dataset.inputs, data.dataset.targets, data.activation
    if data.dataset.classes:
        return trained(data, inputs, targets, 1.0)
    if data.dataset.noise is not None:
        return trained(data, inputs, targets, data.dataset.noise)
    order = np.random.default_rng(0).permutation(len(targets))
    held_back, fitted = np.split(order, [max(1, len(order) // 5)])

    def error(noise: float) -> float:
        latents = trained(data, inputs[fitted], targets[fitted], noise)
        return float(np.mean((targets[held_back] - network.values(latents, inputs[held_back], activation)[0]) ** 2))

    latents = trained(data, inputs, targets, min(TRIED, key=error))
    residuals = targets - network.values(latents, inputs, activation)[0]
    return latents | {"noise": np.sqrt([(NOISE**2 + residuals @ residuals) / (1 + len(residuals))])}


def trained(data: BnnData, inputs: np.ndarray, targets: np.ndarray, noise: float) -> dict[str, np.ndarray]:
    """scikit-learn's network, its penalty the log density of the priors of weights.

    It has one penalty for both layers: hidden * noise^2 is right for the output's weights, and for the hidden ones
    where the inputs are taken times (hidden / inputs)^(1/2) and the weights come out smaller by as much.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    stretch = (data.hidden / inputs.shape[1]) ** 0.5
    fitted = (MLPClassifier if data.dataset.classes else MLPRegressor)(
        hidden_layer_sizes=(data.hidden,),
        activation=data.activation,
        solver="lbfgs",
        alpha=data.hidden * noise**2,
        tol=1e-6,
        max_iter=1000,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a plain network is often stopped before its mode
        fitted.fit(stretch * inputs, targets)
    return {
        "hidden_weights": stretch * fitted.coefs_[0][None],
        "hidden_biases": fitted.intercepts_[0][None],
        "output_weights": fitted.coefs_[1].T,
        "output_bias": fitted.intercepts_[1],
    }
