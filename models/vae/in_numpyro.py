"""The variational autoencoder in NumPyro, its networks in Equinox."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist


class Network(eqx.Module):
    """One layer of softplus units and a linear one; without hidden units, the linear one alone."""

    hidden: eqx.nn.Linear | None
    output: eqx.nn.Linear

    def __init__(self, output_weights, output_biases, hidden_weights=None, hidden_biases=None):
        self.hidden = None if hidden_weights is None else linear(hidden_weights, hidden_biases)
        self.output = linear(output_weights, output_biases)

    def __call__(self, x):
        return self.output(x if self.hidden is None else jax.nn.softplus(self.hidden(x)))


def linear(weights, biases):
    layer = eqx.nn.Linear(*weights.shape, key=jax.random.key(0))
    return eqx.tree_at(lambda layer: (layer.weight, layer.bias), layer, (weights.T, biases))


class Decoder(Network):
    """z, shape (latent,), to the logits of the pixels; or to their means, with ``log_noise`` of the Gaussian noise."""

    log_noise: jax.Array | None

    def __init__(self, log_noise=None, **weights):
        super().__init__(**weights)
        self.log_noise = log_noise

    @property
    def latent(self):
        return (self.output if self.hidden is None else self.hidden).in_features

    def pixels(self, z):
        """The distribution of images, given z of shape (images, latent)."""
        f = jax.vmap(self)(z)
        pixel = dist.Bernoulli(logits=f) if self.log_noise is None else dist.Normal(f, jnp.exp(self.log_noise))
        return pixel.to_event(1)


class Encoder(Network):
    """An image, shape (pixels,), to the parameters of q(z | image)."""


def vae(images, decoder):
    """z ~ N(0, I), pixels ~ Bernoulli(logits=decoder(z)), image by image."""
    with numpyro.plate("images", len(images)):
        z = numpyro.sample("z", dist.Normal(0, 1).expand([decoder.latent]).to_event(1))
        numpyro.sample("pixels", decoder.pixels(z), obs=images)


def guide(images, encoder, posterior):
    """q(z | image) = posterior(parameters): a member of a family, whose parameters the encoder gives."""
    with numpyro.plate("images", len(images)):
        numpyro.sample("z", posterior(jax.vmap(encoder)(images)))


def model(images, noise=None, **weights):
    """The same with the decoder's weights, and the noise's sd, as arrays."""
    log_noise = None if noise is None else jnp.log(noise)
    return vae(images, Decoder(log_noise=log_noise, **weights))
