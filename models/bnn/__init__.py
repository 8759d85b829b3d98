r"""The Bayesian neural network: does it know what it does not know?

One hidden layer with random weights and biases,

    f(x) = b + sum_k v_k tanh(w_k x + b_k),      w_k ~ N(0, 1 / inputs),  b_k, b ~ N(0, 1),  v_k ~ N(0, 1 / hidden),

and targets ~ N(f(x), noise^2), or, for two classes, targets ~ Bernoulli(logistic(f(x))).
"""

from dataclasses import replace

import numpy as np

from models.bnn import network
from models.bnn.baselines import baselines
from models.bnn.data import BnnData
from models.bnn.exact import exact
from models.bnn.literature import claims, published
from models.bnn.pictures import PICTURES
from models.contract import Exact, Literature, Model, Prediction, Quantities, Reference, Simulated

__all__ = ["MODEL", "BnnData"]

COPIES = "chains visit the copies under exchange and change of sign of units in proportions that mean nothing"


def truth(data: BnnData) -> Exact | Reference:
    """Quadrature for one or two hidden units; else NUTS, on the hidden layer alone where the output layer integrates
    out."""
    posterior = exact(data)
    if posterior is not None:
        return posterior
    if data.dataset.classes:
        return Reference("NUTS on all weights", no_evidence=COPIES)
    return Reference("NUTS with the output layer integrated out", "collapsed", network.complete, no_evidence=COPIES)


def simulate(data: BnnData, rng: np.random.Generator, count: int) -> Simulated:
    """Networks from the prior, and targets of each at the same inputs."""
    latents = network.prior(data, rng, count)
    targets = network.observe(data, latents, rng)
    return Simulated(
        latents, tuple(data.with_derived(dataset=replace(data.dataset, targets=values)) for values in targets)
    )


MODEL = Model(
    name="bnn",
    title="a neural network with random weights: does it know what it does not know?",
    data=BnnData,
    guides=("mean_field", "full_rank", "matrix_normal", "hypernetwork"),
    optional_guides=("dropout",),
    truth=truth,
    test_cases=(BnnData(hidden=1), BnnData(hidden=2), BnnData(noise="unknown"), BnnData(activation="relu")),
    simulate=simulate,
    quantities=Quantities(network.derive, network.report),
    prediction=Prediction(network.predict, network.pointwise, baselines),
    literature=Literature(claims, published),
    pictures=PICTURES,
    defaults={"budget": 120.0},  # NUTS takes long paths here, and full rank many steps
)
