"""What autoencoders are for, each a task: what it asks of the posterior, and how the answer is scored.

- reconstruct, denoise and inpaint are questions to the posterior (`models.vae.questions`): the answer is a joint
  probability of the pixels asked for, averaged over q(z | observed), and is scored by its logarithm in nats an image,
  and pixel by pixel. An encoder answers by draws of its q, the exact posterior by quadrature; both must beat the
  guesses of `models.vae.baselines`.
- generate and interpolate (`models.vae.generation`) and compress (`models.vae.compression`) have numbers of their own.

All are about binary pixels.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from models.contract import Latents, Predictions, Scores
from models.image_posteriors import posteriors
from models.images import Images
from models.vae import questions
from models.vae.baselines import guesses
from models.vae.compression import compressors, exact_bits, fit_bits
from models.vae.data import Autoencoder
from models.vae.generation import generation, interpolation
from models.vae.questions import Question, ask

if TYPE_CHECKING:
    import xarray as xr


@lru_cache(maxsize=4)
def cached_question(task: str, images: Images, split: int) -> Question | None:
    return ask(task, images.test, images, (split, 0))


def question(data: Autoencoder) -> Question | None:
    """What the task asks about the test images; None where it asks nothing of the posterior."""
    return cached_question(data.task, data.dataset, data.split)


def queries(data: Autoencoder) -> np.ndarray | None:
    """The observations whose posterior the task asks for, as an encoder sees them, (n, pixels) in [0, 1], or None."""
    about = question(data)
    return None if about is None else about.seen


def predict(data: Autoencoder, latents: Latents) -> Predictions | None:
    """What draws of ``z`` from the queries' posteriors, shape (n_draws, n, latent), say of the pixels asked for."""
    about = question(data)
    return None if about is None or data.network is None else questions.draws(about, data.network, latents["z"])


def exact_predictions(data: Autoencoder) -> Predictions | Scores | None:
    """The exact posterior's own answer, without draws; None where the task asks nothing of it, or it is not known."""
    if not is_known(data):
        return None
    if data.task == "compress":
        return exact_bits(data, posteriors(data.network, data.dataset.test).log_evidences)
    about = question(data)
    return None if about is None else questions.exactly(about, data.network)


def exact_queries(data: Autoencoder, rng: np.random.Generator, count: int) -> dict[str, np.ndarray] | None:
    """Draws from the exact posterior given what the task observes: ``z`` (count, n, latent), or None."""
    about = question(data)
    return None if about is None or not is_known(data) else questions.posterior(about, data.network).draw(rng, count)


def baselines(data: Autoencoder) -> dict[str, Predictions | Scores]:
    """What the task's answers are compared with, by name."""
    if question(data) is not None:
        return dict(guesses(data))
    if data.task == "compress":
        return dict(compressors(data))
    kinds = {"generate": generation, "interpolate": interpolation}
    return dict(kinds[data.task](data)) if data.task in kinds and data.network is not None else {}


def scores(data: Autoencoder, tree: xr.DataTree) -> Scores:
    """What else a fit is scored by: in compression, bits a pixel."""
    return fit_bits(data, tree) if data.task == "compress" else {}


def is_known(data: Autoencoder) -> bool:
    """Whether quadrature gives the posterior: a binary decoder of one or two latent dimensions."""
    return data.network is not None and data.network.latent <= 2 and not data.network.grey
