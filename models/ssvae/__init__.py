r"""The semi-supervised autoencoder: M2 of Kingma et al. (2014), with its posteriors known.

    y ~ Categorical(1/10, ...),   z ~ N(0, I),   pixel_p ~ Bernoulli(logistic(f(z, y)_p))

A few images have a label y. With z of one or two dimensions p(y | x) and p(z | x) are ten integrals an image, so the
model's own classifier stands beside the one that is learnt for it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.contract import Model, Prediction, Quantities, Simulated
from models.images import every_latent
from models.ssvae import classification
from models.ssvae.amortization import AMORTIZATION
from models.ssvae.data import SemiSupervised
from models.ssvae.exact import truth
from models.ssvae.pictures import PICTURES

__all__ = ["MODEL", "SemiSupervised"]


def simulate(data: SemiSupervised, rng: np.random.Generator, count: int) -> Simulated:
    """Points z and classes from the prior and an image of each, all as the test images of one data set."""
    z = rng.standard_normal((count, data.latent))
    classes = rng.integers(data.n_classes, size=count)
    images = data.network.network.sample(np.concatenate([z, np.eye(data.n_classes)[classes]], axis=1), rng)
    dataset = replace(data.dataset, test=images, test_labels=classes)
    other = data.with_derived(dataset=dataset, images=count, shown=np.arange(count))
    return Simulated({"z": z}, (other,), plate=True)


MODEL = Model(
    name="ssvae",
    title="a semi-supervised autoencoder: whose accuracy is it, the model's or the classifier's?",
    data=SemiSupervised,
    guides=("mean_field",),
    optional_guides=("mixture",),
    truth=truth,
    test_cases=(SemiSupervised(labels=10, latent=2, hidden=0, images=2),),
    simulate=simulate,
    quantities=Quantities(report=every_latent),
    prediction=Prediction(
        classification.predict,
        baselines=classification.baselines,
        scores=classification.scores,
        queries=classification.queries,
        exact_predictions=classification.exact_predictions,
    ),
    amortization=AMORTIZATION,
    pictures=PICTURES,
)
