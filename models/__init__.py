"""The catalogue: every model of the zoo, by name.

A model is a folder beside this file. Listing it here is all it takes for the command line, the tests and
the report to pick it up. Importing this module loads neither torch nor jax.
"""

from importlib import import_module

from models.contract import Model, UnknownName, nearest

__all__ = ["CATALOGUE", "load"]

CATALOGUE: dict[str, str] = {
    "coin": "is a coin fair? One Beta-distributed probability, conjugate, everything in closed form",
    "chain": "a Gaussian chain: what mean-field gets right and wrong, and coordinate ascent",
    "vae": "a variational autoencoder: how far is the encoder from the posterior?",
    "ssvae": "a semi-supervised autoencoder: whose accuracy is it, the model's or the classifier's?",
    "dlgm": "a deep latent Gaussian model: what independence between layers costs, and collapse measured",
    "bnn": "a Bayesian neural network: does it know what it does not know?",
    "linear": "linear regression: what mean field costs is the variance inflation factor",
    "logistic": "logistic regression: the mode is not the mean, and a bound is not the evidence",
    "gp": "a Gaussian process: mean field is as good as its coordinates, and inducing points fall off a cliff",
    "mixture": "a Gaussian mixture: equal modes, and what a guide in one of them misses",
    "lda": "latent Dirichlet allocation: equal modes, topics found in noise, an objective that is no bound",
    "bandit": "Bernoulli arms: accuracy is not regret, and when an approximation is good enough to act on",
}


def load(name: str) -> Model:
    """The model of that name.

    Raises:
        UnknownName: there is no such model; the message names the nearest one.
    """
    if name not in CATALOGUE:
        raise UnknownName(f"no model named {name!r}; {nearest(name, CATALOGUE)}")
    return import_module(f"models.{name}").MODEL
