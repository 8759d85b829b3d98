r"""The variational autoencoder, with its posterior known.

    z ~ N(0, I),      pixel_p ~ Bernoulli(logistic(f(z)_p)),      f(z) = b + softplus(c + z W) V

(Kingma & Welling 2013; Rezende et al. 2014). The decoder f is learnt by stochastic gradients of the ELBO together with
an encoder, which gives for each image the parameters of q(z | image). With a latent space of two dimensions the log
evidence and the posterior of every image are integrals over a plane, so what the encoder and its family miss is known
image by image.
"""

from dataclasses import replace

import numpy as np

from models.contract import Exact, Literature, Model, Prediction, Quantities, Reference, Simulated
from models.images import every_latent
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
    dataset = replace(data.dataset, test=data.network.sample(z, rng), test_labels=None)
    other = data.with_derived(dataset=dataset, images=count, shown=np.arange(count))
    return Simulated({"z": z}, (other,), plate=True)


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
    quantities=Quantities(report=every_latent),
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
