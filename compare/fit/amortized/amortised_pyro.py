"""Guides with an encoder in Pyro: training by minibatches, the best posteriors image by image, weighed draws."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache, reduce
from typing import Any

import numpy as np
import pyro.distributions as dist
import torch
from pyro import poutine

from compare.fit.amortized import encoder
from compare.fit.amortized.encoder import Weights
from compare.fit.amortized.local_posteriors import known_decoder
from compare.fit.svi.base_pyro import transform
from compare.user_model.held_pyro import Held
from models.contract import Training

torch.set_num_threads(1)  # more threads wait for each other longer than these tensors take, the more so beside others


def reparametrised(q: dist.Distribution, eps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Draws from posteriors of a family, as smooth functions of their parameters: z, log q(z) and the draws' weights.

    ``q`` has batch shape (images,), ``eps`` are standard normals, shape (draws, strata, images, latent). A mixture's
    strata are its components, weighted as they are; any other family has one.
    """
    if isinstance(q, dist.MixtureSameFamily):
        z = transform(q.component_distribution, eps.transpose(1, 2)).transpose(1, 2)
        return z, q.log_prob(z), q.mixture_distribution.probs.T
    if isinstance(q, dist.TransformedDistribution):
        z = transform(q.base_dist, eps)
        log_q = q.base_dist.log_prob(z)
        for part in q.transforms:  # the density of a flow's own draws needs no inverse
            before, z = z, part(z)
            log_q = log_q - part.log_abs_det_jacobian(before, z)
        return z, log_q, torch.ones(1, 1)
    z = transform(q, eps)
    return z, q.log_prob(z), torch.ones(1, 1)


class Networks(encoder.Networks):
    """What Pyro computes for one family on one model."""

    library = "pyro"

    def densities(self, images: torch.Tensor, z: torch.Tensor, decoder: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """log p(z) and log p(image | z), shape (draws, strata, images), of z, shape (draws, strata, images, latent)."""
        with Held({"z": z}):
            trace = poutine.trace(self.twin.vae).get_trace(images, decoder)
        trace.compute_log_prob()
        terms = {name: site["log_prob"] for name, site in trace.nodes.items() if "log_prob" in site}
        prior = terms.pop("z")
        return prior, reduce(torch.add, terms.values())

    def draws(
        self, rows: torch.Tensor, images: torch.Tensor, decoder: Any, eps: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Draws of every image's q: z, log p(z), log p(image | z), log q(z) and weights; ``eps`` as above."""
        z, log_q, weights = reparametrised(self.posterior(rows), eps)
        prior, likelihood = self.densities(images, z, decoder)
        return z, prior, likelihood, log_q, weights

    def elbo(self, rows: torch.Tensor, images: torch.Tensor, decoder: Any, eps: torch.Tensor) -> torch.Tensor:
        _, prior, likelihood, log_q, weights = self.draws(rows, images, decoder, eps)
        return (weights * (prior + likelihood - log_q)).sum(1)

    # What crosses the wall

    def trainer(self, weights: Mapping[str, Weights], training: Training, seed: int) -> Trainer:
        return Trainer(self, weights, training, seed)

    def rows(self, encoder: Weights, images: np.ndarray) -> np.ndarray:
        with precision(torch.float32), torch.no_grad():
            return self.twin.Encoder(**tensors(encoder))(tensor(images)).double().numpy()

    def best(self, rows: np.ndarray, training: Training, rates: np.ndarray, draws: int, seed: int) -> np.ndarray:
        generator = torch.Generator().manual_seed(seed)
        with precision(torch.float32):
            decoder = self.twin.Decoder(**tensors(known_decoder(training))).eval()
            images, here = tensor(training.test), tensor(rows).requires_grad_()
            optimiser, loss = torch.optim.Adam([here], lr=1.0, fused=True), None
            for rate in rates:
                optimiser.param_groups[0]["lr"] = float(rate)
                half = torch.randn(draws // 2, self.form.strata, len(images), self.latent, generator=generator)
                eps = torch.cat([half, -half])
                loss = loss or compiled(lambda at, eps: -self.elbo(at, images, decoder, eps).mean(0).sum(), here, eps)
                optimiser.zero_grad()
                loss(here, eps).backward()
                optimiser.step()
            return here.detach().double().numpy()

    def weigh(self, rows: np.ndarray, images: np.ndarray, decoder: Weights, eps: np.ndarray) -> tuple[np.ndarray, ...]:
        with precision(torch.float64), torch.no_grad():
            network = self.twin.Decoder(**tensors(decoder)).eval()
            z, *terms, weights = self.draws(tensor(rows), tensor(images), network, tensor(eps).transpose(1, 2))
            parts = [term.transpose(1, 2).numpy() for term in (z, *terms)]
            return *parts, weights.T.expand(parts[1].shape[1:]).numpy()


class Trainer(encoder.Trainer):
    def __init__(self, networks: Networks, weights: Mapping[str, Weights], training: Training, seed: int) -> None:
        self.networks, self.batch, self.learns = networks, training.batch, training.decoder is None
        decoder = weights["decoder"] if self.learns else known_decoder(training)
        with precision(torch.float32):
            self.images = tensor(training.train)
            self.encoder = networks.twin.Encoder(**tensors(weights["encoder"])).requires_grad_()
            self.decoder = networks.twin.Decoder(**tensors(decoder))
        self.decoder.train(self.learns).requires_grad_(self.learns)
        parameters = [*self.encoder.parameters(), *(self.decoder.parameters() if self.learns else ())]
        self.optimiser = torch.optim.Adam(parameters, fused=True)
        self.loss: Any = None
        self.generator = torch.Generator().manual_seed(seed)

    def epochs(self, count: int, rate: float) -> None:
        self.optimiser.param_groups[0]["lr"] = rate
        steps = len(self.images) // self.batch
        shape = (steps, 1, self.networks.form.strata, self.batch, self.networks.latent)
        with precision(torch.float32):
            for _ in range(count):
                order = torch.randperm(len(self.images), generator=self.generator)
                noise = torch.randn(shape, generator=self.generator)
                for pick, eps in zip(order.split(self.batch), noise, strict=False):
                    images = self.images[pick]
                    self.loss = self.loss or compiled(MinusELBO(self.networks, self.encoder, self.decoder), images, eps)
                    self.optimiser.zero_grad(set_to_none=True)
                    self.loss(images, eps).backward()
                    self.optimiser.step()

    def elbo(self, images: np.ndarray, eps: np.ndarray) -> np.ndarray:
        with precision(torch.float32), torch.no_grad():
            given = tensor(images)
            elbo = self.networks.elbo(self.encoder(given), given, self.decoder, tensor(eps).transpose(1, 2))
            return elbo.double().numpy()

    def weights(self) -> dict[str, Weights]:
        networks = {"encoder": self.encoder} | ({"decoder": self.decoder} if self.learns else {})
        return {name: arrays(network) for name, network in networks.items()}


class MinusELBO(torch.nn.Module):
    """-ELBO of a batch of images at given draws, the mean."""

    def __init__(self, networks: Networks, encoder: torch.nn.Module, decoder: torch.nn.Module) -> None:
        super().__init__()
        self.networks, self.encoder, self.decoder = networks, encoder, decoder

    def forward(self, images: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
        return -self.networks.elbo(self.encoder(images), images, self.decoder, eps).mean()


def compiled(loss: Any, *inputs: torch.Tensor) -> Any:
    """The loss without Pyro's effect handlers, which take longer than the sums; as `pyro.infer.JitTrace_ELBO` does."""
    with warnings.catch_warnings():  # of shapes that are taken for constants, which they are
        warnings.simplefilter("ignore")
        return torch.jit.trace(loss, inputs, check_trace=False)


def arrays(network: Any) -> dict[str, np.ndarray]:
    """A network's weights by the names that both libraries know, float64."""
    weights = {"output_weights": network.output.weight.T, "output_biases": network.output.bias}
    if network.hidden is not None:
        weights |= {"hidden_weights": network.hidden.weight.T, "hidden_biases": network.hidden.bias}
    if getattr(network, "log_noise", None) is not None:
        weights["log_noise"] = network.log_noise
    return {name: value.detach().double().contiguous().numpy().copy() for name, value in weights.items()}


@contextmanager
def precision(dtype: torch.dtype) -> Iterator[None]:
    """Numbers that are made within have this type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def tensor(array: Any) -> torch.Tensor:
    """In the precision of the context."""
    return torch.tensor(np.asarray(array), dtype=torch.get_default_dtype())


def tensors(weights: Weights) -> dict[str, torch.Tensor]:
    return {name: tensor(value) for name, value in weights.items()}


networks = lru_cache(maxsize=16)(Networks)
