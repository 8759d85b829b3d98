"""The semi-supervised autoencoder in Pyro."""

import pyro
import pyro.distributions as dist
import torch
from torch import nn
from torch.nn.functional import one_hot, softplus


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

    @property
    def inputs(self):
        return (self.output if self.hidden is None else self.hidden).in_features

    def forward(self, x):
        return self.output(x if self.hidden is None else softplus(self.hidden(x)))


def joined(a, b):
    """Two inputs of a network side by side, their other dimensions broadcast."""
    shape = torch.broadcast_shapes(a.shape[:-1], b.shape[:-1])
    return torch.cat([part.expand(*shape, part.shape[-1]) for part in (a, b)], dim=-1)


class Decoder(Network):
    """z and y, one-hot, to the logits of the pixels."""

    def pixels(self, z, y):
        """The distribution of images given z, shape (..., latent), and y, shape (..., classes)."""
        return dist.Bernoulli(logits=self(joined(z, y))).to_event(1)


class Encoder(Network):
    """Images and the classes they may have, shape (images, pixels + classes), to the parameters of q(z | image)."""


def ssvae(images, possible, decoder):
    """z ~ N(0, I), y uniform over the possible classes, pixels ~ Bernoulli(logits=decoder(z, y)); y is summed out.

    ``possible``, shape (images, classes), is 1 where an image may be of a class; a label leaves one.
    """
    pyro.module("decoder", decoder)
    classes = possible.shape[-1]
    with pyro.plate("images", len(images)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([decoder.inputs - classes]).to_event(1))
        y = dist.Categorical(logits=1e4 * (possible - 1))
        pixels = decoder.pixels(z.unsqueeze(-2), torch.eye(classes, dtype=z.dtype))
        pyro.sample("pixels", dist.MixtureSameFamily(y, pixels), obs=images)


def vae(observations, decoder):
    """The same of images beside the classes that they may have, shape (images, pixels + classes)."""
    pixels = decoder.output.out_features
    return ssvae(observations[:, :pixels], observations[:, pixels:], decoder)


def guide(observations, encoder, posterior):
    """q(z | image) = posterior(parameters): a member of a family, whose parameters the encoder gives."""
    pyro.module("encoder", encoder)
    with pyro.plate("images", len(observations)):
        pyro.sample("z", posterior(encoder(observations)))


def model(images, possible, **weights):
    """The same with the decoder's weights as arrays."""
    return ssvae(images, possible, Decoder(**weights).eval())


def m2(images, decoder, classes, labels=None):
    """M2 of Kingma et al. (2014) with its y as a site: observed where there are labels, else to be enumerated."""
    pyro.module("decoder", decoder)
    with pyro.plate("images", len(images)):
        y = pyro.sample("y", dist.Categorical(logits=images.new_zeros(classes)), obs=labels)
        z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([decoder.inputs - classes]).to_event(1))
        pyro.sample("pixels", decoder.pixels(z, one_hot(y, classes).to(images)), obs=images)


def m2_guide(images, classifier, encoder, classes, labels=None):
    """q(y | x) q(z | x, y): the classifier gives logits, the encoder means and log sds of z.

    An encoder of images alone makes it q(y | x) q(z | x).
    """
    pyro.module("encoder", encoder)
    with pyro.plate("images", len(images)):
        y = labels
        if labels is None:
            pyro.module("classifier", classifier)
            y = pyro.sample("y", dist.Categorical(logits=classifier(images)), infer={"enumerate": "parallel"})
        given = images if encoder.inputs == images.shape[-1] else joined(images, one_hot(y, classes).to(images))
        rows = encoder(given)
        mean, log_sd = rows.chunk(2, dim=-1)
        pyro.sample("z", dist.Normal(mean, log_sd.exp()).to_event(1))
