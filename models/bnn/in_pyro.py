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


def model(inputs, targets=None, hidden=5, activation="tanh", noise=None, classes=False):
    """f(x) = b + sum_k v_k tanh(w_k x + b_k); targets ~ N(f(inputs), noise) or Bernoulli(logits=f(inputs)).

    Without noise it is unknown, with a prior. Without targets, the prior predictive.
    """
    units = hidden_layer(inputs, hidden, activation)
    weights = pyro.sample("output_weights", dist.Normal(0.0, hidden**-0.5).expand([hidden]).to_event(1))
    bias = pyro.sample("output_bias", dist.Normal(0.0, 1.0))
    f = units @ weights + bias
    if not classes and noise is None:
        noise = pyro.sample("noise", dist.HalfNormal(1.0))
    with pyro.plate("data", len(inputs)):
        pyro.sample("targets", dist.Bernoulli(logits=f) if classes else dist.Normal(f, noise), obs=targets)


def collapsed(inputs, targets=None, hidden=5, activation="tanh", noise=None, classes=False):
    """The regression without its output layer: given the hidden units the targets are jointly Gaussian."""
    units = hidden_layer(inputs, hidden, activation)
    if noise is None:
        noise = pyro.sample("noise", dist.HalfNormal(1.0))
    features = torch.cat([units * hidden**-0.5, torch.ones(len(inputs), 1)], dim=-1)
    spread = torch.ones(len(inputs)) * noise**2
    pyro.sample("targets", dist.LowRankMultivariateNormal(torch.zeros(len(inputs)), features, spread), obs=targets)
