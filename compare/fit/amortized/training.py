"""Learning a decoder along with an encoder."""

from __future__ import annotations

from dataclasses import replace

import xarray as xr

from compare.comparison import Job
from compare.fit.amortized.encoder import Library, learn, training_of, weights_dataset
from compare.fit.amortized.local_posteriors import weighed
from compare.options import Options

__all__ = ["fit"]


def fit(library: Library, job: Job) -> tuple[xr.DataTree, int]:
    """Learn a decoder along with an encoder: the tree, and the gradient evaluations that it took.

    The tree has the groups ``decoder``, ``test_set`` (``elbo`` and ``elbo_mcse`` of each test observation, in nats) and
    ``optimisation``.
    """
    training, seed = training_of(job), job.fit_seed
    networks = library.networks(job.model, job.family, training.latent)
    run = learn(networks, training, seed, (job.options or Options()).budget)
    decoder = run.weights["decoder"]
    rows = networks.rows(run.weights["encoder"], training.test)
    own = weighed(networks, rows, replace(training, decoder=decoder), seed)
    groups = {
        "decoder": weights_dataset(decoder),
        "test_set": xr.Dataset({"elbo": ("observation", own.elbo), "elbo_mcse": ("observation", own.elbo_mcse)}),
        "optimisation": run.dataset(),
    }
    return xr.DataTree.from_dict(groups), run.gradients[-1]
