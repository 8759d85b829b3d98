"""The semi-supervised autoencoder in NumPyro, its networks in Equinox."""

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

    @property
    def inputs(self):
        return (self.output if self.hidden is None else self.hidden).in_features

    def __call__(self, x):
        return self.output(x if self.hidden is None else jax.nn.softplus(self.hidden(x)))


def linear(weights, biases):
    layer = eqx.nn.Linear(*weights.shape, key=jax.random.key(0))
    return eqx.tree_at(lambda layer: (layer.weight, layer.bias), layer, (weights.T, biases))


def joined(a, b):
    """Two inputs of a network side by side, their other dimensions broadcast."""
    shape = jnp.broadcast_shapes(a.shape[:-1], b.shape[:-1])
    return jnp.concatenate([jnp.broadcast_to(part, (*shape, part.shape[-1])) for part in (a, b)], axis=-1)


class Decoder(Network):
    """z and y, one-hot, to the logits of the pixels."""

    def pixels(self, z, y):
        """The distribution of images given z, shape (..., latent), and y, shape (..., classes)."""
        return dist.Bernoulli(logits=jnp.vectorize(self, signature="(i)->(p)")(joined(z, y))).to_event(1)


class Encoder(Network):
    """An image and the classes that it may have, shape (pixels + classes,), to the parameters of q(z | image)."""


def ssvae(images, possible, decoder):
    """z ~ N(0, I), y uniform over the possible classes, pixels ~ Bernoulli(logits=decoder(z, y)); y is summed out.

    ``possible``, shape (images, classes), is 1 where an image may be of a class; a label leaves one.
    """
    classes = possible.shape[-1]
    with numpyro.plate("images", len(images)):
        z = numpyro.sample("z", dist.Normal(0, 1).expand([decoder.inputs - classes]).to_event(1))
        y = dist.Categorical(logits=1e4 * (possible - 1))
        pixels = decoder.pixels(z[..., None, :], jnp.eye(classes))
        numpyro.sample("pixels", dist.MixtureSameFamily(y, pixels), obs=images)


def vae(observations, decoder):
    """The same of images beside the classes that they may have, shape (images, pixels + classes)."""
    pixels = decoder.output.out_features
    return ssvae(observations[:, :pixels], observations[:, pixels:], decoder)


def guide(observations, encoder, posterior):
    """q(z | image) = posterior(parameters): a member of a family, whose parameters the encoder gives."""
    with numpyro.plate("images", len(observations)):
        numpyro.sample("z", posterior(jax.vmap(encoder)(observations)))


def model(images, possible, **weights):
    """The same with the decoder's weights as arrays."""
    return ssvae(images, possible, Decoder(**weights))


def m2(images, decoder, classes, labels=None):
    """M2 of Kingma et al. (2014) with its y as a site: observed where there are labels, else to be enumerated."""
    with numpyro.plate("images", len(images)):
        y = numpyro.sample("y", dist.Categorical(logits=jnp.zeros(classes)), obs=labels)
        z = numpyro.sample("z", dist.Normal(0, 1).expand([decoder.inputs - classes]).to_event(1))
        numpyro.sample("pixels", decoder.pixels(z, jax.nn.one_hot(y, classes)), obs=images)


def m2_guide(images, classifier, encoder, classes, labels=None):
    """q(y | x) q(z | x, y): the classifier gives logits, the encoder means and log sds of z.

    An encoder of images alone makes it q(y | x) q(z | x).
    """
    with numpyro.plate("images", len(images)):
        y = labels
        if labels is None:
            logits = jax.vmap(classifier)(images)
            y = numpyro.sample("y", dist.Categorical(logits=logits), infer={"enumerate": "parallel"})
        given = images if encoder.inputs == images.shape[-1] else joined(images, jax.nn.one_hot(y, classes))
        rows = jnp.vectorize(encoder, signature="(i)->(p)")(given)
        mean, log_sd = jnp.split(rows, 2, axis=-1)
        numpyro.sample("z", dist.Normal(mean, jnp.exp(log_sd)).to_event(1))
