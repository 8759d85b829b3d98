"""Guides with an encoder in Pyro: training by minibatches, the best members image by image, weighed draws."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from functools import lru_cache, partial

import numpy as np
import pyro.distributions as dist
import torch
from pyro import poutine

import guides
from compare import registry
from compare.fit.amortized import amortised
from compare.fit.svi.base_pyro import Held, transform

__all__ = ["Library", "draw_many", "fit"]

torch.set_num_threads(1)  # more threads wait for each other longer than these tensors take, the more so beside others


def reparametrised(q, eps):
    """Draws from members of a family, as smooth functions of their parameters: z, log q(z) and the draws' weights.

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


class Library:
    """What Pyro computes for one family on one model."""

    def __init__(self, model, family, latent):
        self.twin, self.latent = registry.twin(model, "pyro"), latent
        self.member = partial(guides.load(family, "pyro").member, latent=latent)

    def densities(self, images, z, decoder):
        """log p(z) and log p(image | z), shape (draws, strata, images), of z, shape (draws, strata, images, latent)."""
        with Held({"z": z}):
            trace = poutine.trace(self.twin.vae).get_trace(images, decoder)
        trace.compute_log_prob()
        found = {name: one["log_prob"] for name, one in trace.nodes.items() if "log_prob" in one}
        return found.pop("z"), sum(found.values())

    def draws(self, rows, images, decoder, eps):
        """Draws of every image's q: z, log p(z), log p(image | z), log q(z) and weights; ``eps`` as above."""
        z, log_q, weights = reparametrised(self.member(rows), eps)
        prior, likelihood = self.densities(images, z, decoder)
        return z, prior, likelihood, log_q, weights

    def elbo(self, rows, images, decoder, eps):
        """Each draw's contribution to each image's ELBO, shape (draws, images)."""
        _, prior, likelihood, log_q, weights = self.draws(rows, images, decoder, eps)
        return (weights * (prior + likelihood - log_q)).sum(1)

    # What crosses the wall, see `compare.fit.amortized.encoder.Library`.

    def trainer(self, weights, fixed, images, strata, batch, seed):
        return Trainer(self, weights, fixed, images, strata, batch, seed)

    def rows(self, encoder, images):
        with precision(torch.float32), torch.no_grad():
            return self.twin.Encoder(**tensors(encoder))(tensor(images)).double().numpy()

    def best(self, rows, decoder, images, rates, strata, draws, seed):
        generator = torch.Generator().manual_seed(seed)
        with precision(torch.float32):
            decoder, images = self.twin.Decoder(**tensors(decoder)).eval(), tensor(images)
            rows = tensor(rows).requires_grad_()
            optimiser, loss = torch.optim.Adam([rows], lr=1.0, fused=True), None
            for rate in rates:
                optimiser.param_groups[0]["lr"] = float(rate)
                half = torch.randn(draws // 2, strata, len(images), self.latent, generator=generator)
                eps = torch.cat([half, -half])
                loss = loss or compiled(
                    lambda rows, eps: -self.elbo(rows, images, decoder, eps).mean(0).sum(), rows, eps
                )
                optimiser.zero_grad()
                loss(rows, eps).backward()
                optimiser.step()
            return rows.detach().double().numpy()

    def weigh(self, rows, images, decoder, eps):
        with precision(torch.float64), torch.no_grad():
            decoder = self.twin.Decoder(**tensors(decoder)).eval()
            z, *parts, weights = self.draws(tensor(rows), tensor(images), decoder, tensor(eps).transpose(1, 2))
            parts = [part.transpose(1, 2).numpy() for part in parts]
            return z.transpose(1, 2).numpy(), *parts, weights.T.expand(parts[0].shape[1:]).numpy()


class Trainer:
    """An encoder on the way, see `compare.fit.amortized.encoder.Trainer`."""

    def __init__(self, library, weights, fixed, images, strata, batch, seed):
        self.library, self.strata, self.batch, self.learns = library, strata, batch, fixed is None
        with precision(torch.float32):
            self.images = tensor(images)
            self.encoder = library.twin.Encoder(**tensors(weights["encoder"])).requires_grad_()
            self.decoder = library.twin.Decoder(**tensors(weights["decoder"] if self.learns else fixed))
        self.decoder.train(self.learns).requires_grad_(self.learns)
        parameters = [*self.encoder.parameters(), *(self.decoder.parameters() if self.learns else ())]
        self.optimiser = torch.optim.Adam(parameters, fused=True)
        self.loss = None
        self.generator = torch.Generator().manual_seed(seed)

    def epochs(self, count, rate):
        self.optimiser.param_groups[0]["lr"] = rate
        steps = len(self.images) // self.batch
        shape = (steps, 1, self.strata, self.batch, self.library.latent)
        with precision(torch.float32):
            for _ in range(count):
                order = torch.randperm(len(self.images), generator=self.generator)
                noise = torch.randn(shape, generator=self.generator)
                for pick, eps in zip(order.split(self.batch), noise, strict=False):
                    self.step(self.images[pick], eps)

    def step(self, images, eps):
        self.loss = self.loss or compiled(MinusELBO(self.library, self.encoder, self.decoder), images, eps)
        self.optimiser.zero_grad(set_to_none=True)
        self.loss(images, eps).backward()
        self.optimiser.step()

    def elbo(self, images, eps):
        with precision(torch.float32), torch.no_grad():
            images = tensor(images)
            found = self.library.elbo(self.encoder(images), images, self.decoder, tensor(eps).transpose(1, 2))
            return found.double().numpy()

    def weights(self):
        networks = {"encoder": self.encoder} | ({"decoder": self.decoder} if self.learns else {})
        return {name: arrays(network) for name, network in networks.items()}


class MinusELBO(torch.nn.Module):
    """Of a batch of images at given draws, the mean."""

    def __init__(self, library, encoder, decoder):
        super().__init__()
        self.library, self.encoder, self.decoder = library, encoder, decoder

    def forward(self, images, eps):
        return -self.library.elbo(self.encoder(images), images, self.decoder, eps).mean()


def compiled(loss, *inputs):
    """The loss without Pyro's effect handlers, which take longer than the sums; as `pyro.infer.JitTrace_ELBO` does."""
    with warnings.catch_warnings():  # of shapes that are taken for constants, which they are
        warnings.simplefilter("ignore")
        return torch.jit.trace(loss, inputs, check_trace=False)


def arrays(network):
    """A network's weights by the names that both libraries know, float64."""
    found = {"output_weights": network.output.weight.T, "output_biases": network.output.bias}
    if network.hidden is not None:
        found |= {"hidden_weights": network.hidden.weight.T, "hidden_biases": network.hidden.bias}
    if getattr(network, "log_noise", None) is not None:
        found["log_noise"] = network.log_noise
    return {name: value.detach().double().contiguous().numpy().copy() for name, value in found.items()}


@contextmanager
def precision(dtype):
    """Numbers that are made within have this type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def tensor(array):
    """In the precision of the context."""
    return torch.tensor(np.asarray(array), dtype=torch.get_default_dtype())


def tensors(weights):
    return {name: tensor(value) for name, value in weights.items()}


@lru_cache(maxsize=16)
def library(model, family, latent):
    return Library(model, family, latent)


fit = partial(amortised.fit, library)
draw_many = partial(amortised.draw_many, library)
