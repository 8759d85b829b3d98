"""The deep latent Gaussian model of two layers in NumPyro."""

import jax
import numpyro
import numpyro.distributions as dist


def network(x, output_weights, output_biases, hidden_weights=None, hidden_biases=None, noise=None):
    """One layer of softplus units and a linear one; without hidden units, the linear one alone."""
    if hidden_weights is not None:
        x = jax.nn.softplus(x @ hidden_weights + hidden_biases)
    return x @ output_weights + output_biases


def dlgm(images, upper, lower, latents):
    """z2 ~ N(0, I), z1 ~ N(upper(z2), noise), pixels ~ Bernoulli(lower(z1)), or Gaussian where ``lower`` has noise."""
    size = len(upper["hidden_weights" if "hidden_weights" in upper else "output_weights"])
    with numpyro.plate("images", len(images)):
        if latents == "values":
            z2 = numpyro.sample("z2", dist.Normal(0, 1).expand([size]).to_event(1))
            z1 = numpyro.sample("z1", dist.Normal(network(z2, **upper), upper["noise"]).to_event(1))
        else:
            z2 = numpyro.sample("e2", dist.Normal(0, 1).expand([size]).to_event(1))
            e1 = numpyro.sample("e1", dist.Normal(0, 1).expand(upper["output_biases"].shape).to_event(1))
            z1 = network(z2, **upper) + upper["noise"] * e1
        f = network(z1, **lower)
        pixel = dist.Normal(f, lower["noise"]) if "noise" in lower else dist.Bernoulli(logits=f)
        numpyro.sample("pixels", pixel.to_event(1), obs=images)


def model(images, latents="values", **weights):
    """The same with all weights as arrays, their names beginning with ``upper_`` or ``lower_``."""
    upper = {name[6:]: value for name, value in weights.items() if name.startswith("upper_")}
    lower = {name[6:]: value for name, value in weights.items() if name.startswith("lower_")}
    return dlgm(images, upper, lower, latents)
