"""The variational autoencoder in Pyro."""

import pyro
import pyro.distributions as dist
import torch
from torch import nn
from torch.nn.functional import softplus


class Linear(nn.Linear):
    """nn.Linear with weights, shape (inputs, outputs), and biases that are given; to be trained, ask for gradients."""

    def __init__(self, weights, biases):
        super().__init__(*weights.shape, dtype=weights.dtype)
        self.weight, self.bias = (nn.Parameter(given, requires_grad=False) for given in (weights.T, biases))

    def reset_parameters(self):
        """No random weights."""


class Network(nn.Module):
    """One layer of softplus units and a linear one; without hidden units, the linear one alone."""

    def __init__(self, output_weights, output_biases, hidden_weights=None, hidden_biases=None):
        super().__init__()
        self.hidden = None if hidden_weights is None else Linear(hidden_weights, hidden_biases)
        self.output = Linear(output_weights, output_biases)

    def forward(self, x):
        return self.output(x if self.hidden is None else softplus(self.hidden(x)))


class Decoder(Network):
    """z, shape (..., latent), to the logits of the pixels; or to their means, with ``log_noise`` of the noise."""

    def __init__(self, log_noise=None, **weights):
        super().__init__(**weights)
        self.log_noise = None if log_noise is None else nn.Parameter(log_noise, requires_grad=False)

    @property
    def latent(self):
        return (self.output if self.hidden is None else self.hidden).in_features

    def pixels(self, z):
        """The distribution of images, given z of shape (..., images, latent)."""
        f = self(z)
        pixel = dist.Bernoulli(logits=f) if self.log_noise is None else dist.Normal(f, torch.exp(self.log_noise))
        return pixel.to_event(1)


class Encoder(Network):
    """Images, shape (images, pixels), to the parameters of q(z | image)."""


def vae(images, decoder):
    """z ~ N(0, I), pixels ~ Bernoulli(logits=decoder(z)), image by image."""
    pyro.module("decoder", decoder)
    with pyro.plate("images", len(images)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([decoder.latent]).to_event(1))
        pyro.sample("pixels", decoder.pixels(z), obs=images)


def guide(images, encoder, posterior):
    """q(z | image) = posterior(parameters): a member of a family, whose parameters the encoder gives."""
    pyro.module("encoder", encoder)
    with pyro.plate("images", len(images)):
        pyro.sample("z", posterior(encoder(images)))


def model(images, noise=None, **weights):
    """The same with the decoder's weights, and the noise's sd, as arrays."""
    log_noise = None if noise is None else torch.log(noise)
    return vae(images, Decoder(log_noise=log_noise, **weights).eval())
