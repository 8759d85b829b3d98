"""The Bayesian neural network in NumPyro, and the regression with its output layer integrated out."""

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist

ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu}


def hidden_layer(inputs, hidden, activation):
    """One layer with random weights and biases: the units' values, shape (rows, hidden)."""
    columns = inputs.shape[-1]
    weights = numpyro.sample("hidden_weights", dist.Normal(0, columns**-0.5).expand([columns, hidden]).to_event(2))
    biases = numpyro.sample("hidden_biases", dist.Normal(0, 1).expand([hidden]).to_event(1))
    return ACTIVATIONS[activation](inputs @ weights + biases)


def model(inputs, targets=None, hidden=5, activation="tanh", noise=None, classes=False, rate=0.1):
    """f(x) = b + sum_k v_k tanh(w_k x + b_k); targets ~ N(f(inputs), noise) or Bernoulli(logits=f(inputs)).

    Without noise it is unknown, with a prior. Without targets, the prior predictive. The rate is the guide `dropout`'s.
    """
    units = hidden_layer(inputs, hidden, activation)
    weights = numpyro.sample("output_weights", dist.Normal(0, hidden**-0.5).expand([hidden]).to_event(1))
    bias = numpyro.sample("output_bias", dist.Normal(0, 1))
    f = units @ weights + bias
    if not classes and noise is None:
        noise = numpyro.sample("noise", dist.HalfNormal(1))
    with numpyro.plate("data", len(inputs)):
        numpyro.sample("targets", dist.Bernoulli(logits=f) if classes else dist.Normal(f, noise), obs=targets)


def dropout(inputs, targets=None, hidden=5, activation="tanh", noise=None, classes=False, rate=0.1):
    """Dropout as a guide: every weight is a point, and 0 where its input or unit is dropped, with probability rate.

    The probabilities of the masks are no part of the objective: nothing that is learnt changes them.
    """
    columns = inputs.shape[-1]

    def point(site, shape, scale=1.0):
        return numpyro.param(f"{site}_point", lambda key: scale * jax.random.normal(key, shape))

    def mask(name, size):
        fn = dist.Bernoulli(1 - rate).expand([size]).to_event(1).mask(False)
        return numpyro.sample(f"{name}_mask", fn, infer={"is_auxiliary": True})

    hidden_weights = mask("inputs", columns)[:, None] * point("hidden_weights", (columns, hidden), columns**-0.5)
    output_weights = mask("units", hidden) * point("output_weights", (hidden,), hidden**-0.5)
    numpyro.sample("hidden_weights", dist.Delta(hidden_weights, event_dim=2))
    numpyro.sample("hidden_biases", dist.Delta(point("hidden_biases", (hidden,)), event_dim=1))
    numpyro.sample("output_weights", dist.Delta(output_weights, event_dim=1))
    numpyro.sample("output_bias", dist.Delta(point("output_bias", ())))
    if not classes and noise is None:
        spread = numpyro.param("noise_point", 1.0, constraint=dist.constraints.positive)
        numpyro.sample("noise", dist.Delta(spread))


def collapsed(inputs, targets=None, hidden=5, activation="tanh", noise=None, classes=False, rate=0.1):
    """The regression without its output layer: given the hidden units the targets are jointly Gaussian."""
    units = hidden_layer(inputs, hidden, activation)
    if noise is None:
        noise = numpyro.sample("noise", dist.HalfNormal(1))
    features = jnp.concatenate([units * hidden**-0.5, jnp.ones((len(inputs), 1))], axis=-1)
    spread = jnp.full(len(inputs), noise**2)
    numpyro.sample("targets", dist.LowRankMultivariateNormal(jnp.zeros(len(inputs)), features, spread), obs=targets)
