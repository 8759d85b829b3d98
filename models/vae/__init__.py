r"""The variational autoencoder, with its posterior known.

    z ~ N(0, I),      pixel_p ~ Bernoulli(logistic(f(z)_p)),      f(z) = b + softplus(c + z W) V

(Kingma & Welling 2013; Rezende et al. 2014). The decoder f is learnt by stochastic gradients of the ELBO together with
an encoder, which gives for each image the parameters of q(z | image). With a latent space of two dimensions the log
evidence and the posterior of every image are integrals over a plane, so what the encoder and its family miss is known
image by image.
"""

import copy
from dataclasses import replace

import numpy as np
from scipy.special import expit

from models.contract import Element, Exact, Literature, Model, Prediction, Quantities, Reference, Simulated
from models.vae import tasks
from models.vae.amortization import AMORTIZATION
from models.vae.data import Autoencoder
from models.vae.exact import exact
from models.vae.literature import claims, published
from models.vae.pictures import PICTURES

__all__ = ["MODEL", "Autoencoder"]


def truth(data: Autoencoder) -> Exact | Reference:
    """The exact posteriors; NUTS beyond the dimensions in which quadrature is possible."""
    return exact(data) or Reference("NUTS on every shown image's z")


def simulate(data: Autoencoder, rng: np.random.Generator, count: int) -> Simulated:
    """Points z from the prior and an image of each from the decoder, all as the test images of one data set."""
    z = rng.standard_normal((count, data.latent))
    output, network = data.network(z), data.network
    if network.grey:
        images = output + network.weights["noise"] * rng.standard_normal(output.shape)
    else:
        images = (rng.random(output.shape) < expit(output)).astype(float)
    other, dataset = copy.copy(data), replace(data.dataset, test=images, test_labels=None)
    for name, value in {"dataset": dataset, "images": count, "shown": np.arange(count)}.items():
        object.__setattr__(other, name, value)
    return Simulated({"z": z}, (other,), plate=True)


def report(data: Autoencoder) -> list[Element]:
    """Every latent of every image shown."""
    return [("z", (image, axis)) for image in range(len(data.shown)) for axis in range(data.latent)]


MODEL = Model(
    name="vae",
    title="a variational autoencoder whose posterior is known: how far is the encoder's answer from it?",
    data=Autoencoder,
    guides=("mean_field", "full_rank", "mixture", "flow"),
    truth=truth,
    test_cases=(
        Autoencoder(hidden=0),
        Autoencoder(pixels="grey", hidden=0),
        Autoencoder(pixels="grey", images=3),
        Autoencoder(latent=1),
        Autoencoder(latent=4, images=2),
    ),
    simulate=simulate,
    quantities=Quantities(report=report),
    prediction=Prediction(
        tasks.predict,
        baselines=tasks.baselines,
        scores=tasks.scores,
        queries=tasks.queries,
        exact_queries=tasks.exact_queries,
        exact_predictions=tasks.exact_predictions,
    ),
    amortization=AMORTIZATION,
    literature=Literature(claims, published),
    pictures=PICTURES,
)
