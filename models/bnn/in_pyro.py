"""The Bayesian neural network in Pyro, and the regression with its output layer integrated out."""

import pyro
import pyro.distributions as dist
import torch

ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu}


def hidden_layer(inputs, hidden, activation):
    """One layer with random weights and biases: the units' values, shape (rows, hidden)."""
    columns = inputs.shape[-1]
    weights = pyro.sample("hidden_weights", dist.Normal(0.0, columns**-0.5).expand([columns, hidden]).to_event(2))
    biases = pyro.sample("hidden_biases", dist.Normal(0.0, 1.0).expand([hidden]).to_event(1))
    return ACTIVATIONS[activation](inputs @ weights + biases)


def model(inputs, targets=None, hidden=5, activation="tanh", noise=None, classes=False, rate=0.1):
    """f(x) = b + sum_k v_k tanh(w_k x + b_k); targets ~ N(f(inputs), noise) or Bernoulli(logits=f(inputs)).

    Without noise it is unknown, with a prior. Without targets, the prior predictive. The rate is the guide `dropout`'s.
    """
    units = hidden_layer(inputs, hidden, activation)
    weights = pyro.sample("output_weights", dist.Normal(0.0, hidden**-0.5).expand([hidden]).to_event(1))
    bias = pyro.sample("output_bias", dist.Normal(0.0, 1.0))
    f = units @ weights + bias
    if not classes and noise is None:
        noise = pyro.sample("noise", dist.HalfNormal(1.0))
    with pyro.plate("data", len(inputs)):
        pyro.sample("targets", dist.Bernoulli(logits=f) if classes else dist.Normal(f, noise), obs=targets)


def dropout(inputs, targets=None, hidden=5, activation="tanh", noise=None, classes=False, rate=0.1):
    """Dropout as a guide: every weight is a point, and 0 where its input or unit is dropped, with probability rate.

    The probabilities of the masks are no part of the objective: nothing that is learnt changes them.
    """
    columns = inputs.shape[-1]

    def point(site, shape, scale=1.0):
        return pyro.param(f"{site}_point", lambda: scale * torch.randn(shape))

    def mask(name, size):
        fn = dist.Bernoulli(torch.as_tensor(1.0 - rate)).expand([size]).to_event(1).mask(False)
        return pyro.sample(f"{name}_mask", fn, infer={"is_auxiliary": True})

    hidden_weights = mask("inputs", columns)[..., None] * point("hidden_weights", (columns, hidden), columns**-0.5)
    output_weights = mask("units", hidden) * point("output_weights", (hidden,), hidden**-0.5)
    pyro.sample("hidden_weights", dist.Delta(hidden_weights, event_dim=2))
    pyro.sample("hidden_biases", dist.Delta(point("hidden_biases", (hidden,)), event_dim=1))
    pyro.sample("output_weights", dist.Delta(output_weights, event_dim=1))
    pyro.sample("output_bias", dist.Delta(point("output_bias", ())))
    if not classes and noise is None:
        spread = pyro.param("noise_point", torch.ones(()), constraint=dist.constraints.positive)
        pyro.sample("noise", dist.Delta(spread))


def collapsed(inputs, targets=None, hidden=5, activation="tanh", noise=None, classes=False, rate=0.1):
    """The regression without its output layer: given the hidden units the targets are jointly Gaussian."""
    units = hidden_layer(inputs, hidden, activation)
    if noise is None:
        noise = pyro.sample("noise", dist.HalfNormal(1.0))
    features = torch.cat([units * hidden**-0.5, torch.ones(len(inputs), 1)], dim=-1)
    spread = torch.ones(len(inputs)) * noise**2
    pyro.sample("targets", dist.LowRankMultivariateNormal(torch.zeros(len(inputs)), features, spread), obs=targets)
