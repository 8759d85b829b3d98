r"""A deep latent Gaussian model of two layers, with its posterior known: what does independence between layers cost?

    z2 ~ N(0, I),      z1 ~ N(g(z2), noise^2 I),      pixel_p ~ Bernoulli(logistic(f(z1)_p))

(Rezende, Mohamed & Wierstra 2014), g and f networks of one hidden layer. With one latent a layer the evidence and the
posterior of every image are integrals over two numbers: the networks are trained by maximum likelihood without an
encoder, and what a guide that takes the layers for independent loses is known image by image.
"""

import numpy as np

from models.contract import Model, Simulated
from models.dlgm.data import DeepData
from models.dlgm.exact import DeepPosterior
from models.dlgm.independence import best_member
from models.dlgm.pictures import PICTURES

__all__ = ["MODEL", "DeepData"]


def simulate(data: DeepData, rng: np.random.Generator, count: int) -> Simulated:
    """Latents from the prior, and as many images of each as are shown."""
    layers, shape = data.network, (count, len(data.shown))
    e = rng.standard_normal((*shape, layers.latent))
    z2, z1 = layers.latents(e)
    images = layers.lower.sample(z1, rng)
    parts = (z2, z1) if data.latents == "values" else np.split(e, [layers.upper.latent], axis=-1)
    return Simulated(dict(zip(data.sites, parts, strict=True)), tuple(map(data.with_images, images)))


MODEL = Model(
    name="dlgm",
    title="a deep latent Gaussian model: what does it cost to take its layers for independent?",
    data=DeepData,
    guides=("mean_field", "full_rank"),
    truth=DeepPosterior,
    test_cases=(
        DeepData(images=2, units=2, iterations=5, latents="noise"),
        DeepData(images=2, pixels="grey", latent=(3, 2)),
        DeepData(images=2, pixels="grey", latents="noise"),
    ),
    simulate=simulate,
    best_member=best_member,
    pictures=PICTURES,
)
