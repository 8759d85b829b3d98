"""Models and data in the forms that users have them in, and priors without density or draws, in Pyro."""

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.distributions import constraints
from pyro.nn import PyroModule, PyroParam, PyroSample

rng = np.random.default_rng(5)
VALUES = rng.normal(0.7, 1.0, 12)
X = rng.normal(size=12)
SEEN = np.arange(12) % 3 > 0


def normal(values, scale=2.0):
    mean = pyro.sample("mean", dist.Normal(0.0, scale))
    with pyro.plate("points", len(values)):
        pyro.sample("values", dist.Normal(mean, 1.0), obs=values)


def options(values, prior, **others):
    normal(values, prior["scale"])


def positional(values, /, *more):
    normal(values, *more)


def grouped(pair):
    values, weights = pair
    mean = pyro.sample("mean", dist.Normal(0.0, 2.0))
    pyro.sample("values", dist.Normal(mean, weights**-0.5).to_event(1), obs=values)


def labelled(values, group):
    mean = pyro.sample("mean", dist.Normal(0.0, 2.0))
    chosen = values[torch.tensor(np.array(group) == "a")]
    pyro.sample("values", dist.Normal(mean, 1.0).expand([len(chosen)]).to_event(1), obs=chosen)


class Held:
    """A model that holds its data."""

    def __init__(self, values):
        self.values = torch.as_tensor(values)

    def model(self):
        normal(self.values)

    def __call__(self):
        normal(self.values)


held = Held(VALUES)
method = held.model


def closure(values):
    return lambda: normal(torch.as_tensor(values))


class Module(PyroModule):
    def __init__(self):
        super().__init__()
        self.mean = PyroSample(dist.Normal(0.0, 2.0))

    def forward(self, values):
        mean = self.mean
        with pyro.plate("points", len(values)):
            pyro.sample("values", dist.Normal(mean, 1.0), obs=values)


module = Module()


def steep(x, values):
    """Far from the origin the mean overflows."""
    slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
    pyro.sample("values", dist.Normal(0.0, torch.exp(500 * slope * x)).to_event(1), obs=values)


def flat(values):
    mean = pyro.sample("mean", dist.ImproperUniform(constraints.real, (), ()))
    with pyro.plate("points", len(values)):
        pyro.sample("values", dist.Normal(mean, 1.0), obs=values)


def masked_flat(values):
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0).mask(False))
    log_scale = pyro.sample("log_scale", dist.ImproperUniform(constraints.real, (), ()))
    pyro.sample("values", dist.Normal(mean, torch.exp(log_scale)).expand([12]).to_event(1), obs=values)


def flat_line(x, values):
    with poutine.mask(mask=False), pyro.plate("coefficients", 2):
        beta = pyro.sample("beta", dist.Normal(0.0, 1.0))
    pyro.sample("values", dist.Normal(beta[0] + beta[1] * x, 1.0).to_event(1), obs=values)


def flat_order(values):
    cuts = pyro.sample("cuts", dist.ImproperUniform(constraints.ordered_vector, (), (2,)))
    pyro.sample("low", dist.Normal(cuts[0], 1.0).expand([6]).to_event(1), obs=values[:6] - 1)
    pyro.sample("high", dist.Normal(cuts[1], 1.0).expand([6]).to_event(1), obs=values[6:] + 1)


def flat_scale(values, group):
    """Six groups whose spread has a flat prior on the scale itself: proper."""
    mean = pyro.sample("mean", dist.ImproperUniform(constraints.real, (), ()))
    scale = pyro.sample("scale", dist.ImproperUniform(constraints.positive, (), ()))
    with pyro.plate("groups", 6):
        effect = pyro.sample("effect", dist.Normal(mean, scale))
    pyro.sample("values", dist.Normal(effect[group], 0.5).to_event(1), obs=values)


def two_intercepts(values):
    a = pyro.sample("a", dist.ImproperUniform(constraints.real, (), ()))
    b = pyro.sample("b", dist.ImproperUniform(constraints.real, (), ()))
    pyro.sample("values", dist.Normal(a + b, 1.0).expand([12]).to_event(1), obs=values)


def separated(x):
    """Complete separation under a flat prior."""
    with poutine.mask(mask=False), pyro.plate("coefficients", 2):
        beta = pyro.sample("beta", dist.Normal(0.0, 1.0))
    y = torch.where(x > 0.1, 1.0, 0.0)
    pyro.sample("y", dist.Bernoulli(logits=beta[0] + beta[1] * x).to_event(1), obs=y)


def flat_log_scale(values, group):
    """The same groups with a flat prior on the log scale: improper at a scale of 0."""
    log_scale = pyro.sample("log_scale", dist.ImproperUniform(constraints.real, (), ()))
    with pyro.plate("groups", 6):
        effect = pyro.sample("effect", dist.Normal(0.0, 1.0))
    pyro.sample("values", dist.Normal(torch.exp(log_scale) * effect[group], 0.5).to_event(1), obs=values)


def nearly_separated(x, y):
    """Quasi-complete separation under a flat prior: both outcomes where x is 0, and nowhere else."""
    a = pyro.sample("a", dist.ImproperUniform(constraints.real, (), ()))
    b = pyro.sample("b", dist.ImproperUniform(constraints.real, (), ()))
    pyro.sample("y", dist.Bernoulli(logits=a + b * x).to_event(1), obs=y)


def one_over_scale(values, group):
    """The density 1 / scale on a hierarchical scale, written as a factor."""
    scale = pyro.sample("scale", dist.ImproperUniform(constraints.positive, (), ()))
    pyro.factor("one_over_scale", -torch.log(scale))
    with pyro.plate("groups", 6):
        effect = pyro.sample("effect", dist.Normal(0.0, 1.0))
    pyro.sample("values", dist.Normal(scale * effect[group], 0.5).to_event(1), obs=values)


def centred_one_over_scale(values, group):
    """The same, centred: at a scale of 0 the joint density has no bound."""
    scale = pyro.sample("scale", dist.ImproperUniform(constraints.positive, (), ()))
    pyro.factor("one_over_scale", -torch.log(scale))
    with pyro.plate("groups", 6):
        effect = pyro.sample("effect", dist.Normal(0.0, scale))
    pyro.sample("values", dist.Normal(effect[group], 0.5).to_event(1), obs=values)


def loose_component(values):
    """A mixture whose second location has a flat prior: the data need not have a member of it."""
    where = pyro.sample("where", dist.ImproperUniform(constraints.real, (), ()))
    weights = dist.Categorical(probs=torch.tensor([0.7, 0.3]))
    parts = dist.Normal(torch.stack([torch.zeros(()), where]), torch.ones(2))
    pyro.sample("values", dist.MixtureSameFamily(weights, parts).expand([12]).to_event(1), obs=values)


def unwrapped(values):
    """An angle in the form that NumPyro's CircularReparam gives it."""
    angle = pyro.sample("angle_unwrapped", dist.ImproperUniform(constraints.real, (), ()))
    pyro.factor("angle", dist.VonMises(2.5, 1.0).log_prob(angle))
    pyro.sample("values", dist.VonMises(angle, 3.0).expand([12]).to_event(1), obs=values)


def holes(values, seen):
    mean = pyro.sample("mean", dist.Normal(0.0, 2.0))
    with pyro.plate("points", len(values)):
        full = pyro.sample("full", dist.Normal(mean, 1.0), obs=values, obs_mask=seen)
        pyro.sample("echo", dist.Normal(full, 1.0), obs=values + 1)


def imputed(values):
    """Missing values are latents, whose density is that of all values."""
    mean = pyro.sample("mean", dist.Normal(0.0, 2.0))
    missing = torch.isnan(values).nonzero()[:, 0]
    filled = pyro.sample("filled", dist.Normal(mean, 1.0).expand([len(missing)]).mask(False).to_event(1))
    full = values.index_put((missing,), filled)
    pyro.sample("values", dist.Normal(mean, 1.0).expand([len(values)]).to_event(1), obs=full)


def counted(values, options):
    """How many groups there are is read off the data, inside of a dict."""
    mean = pyro.sample("mean", dist.Normal(0.0, 2.0))
    with pyro.plate("groups", int(options["group"].max()) + 1):
        effect = pyro.sample("effect", dist.Normal(mean, 1.0))
    with pyro.plate("points", len(values)):
        pyro.sample("values", dist.Normal(effect[options["group"]], options["scale"]), obs=values)


def padded(values, there):
    mean = pyro.sample("mean", dist.Normal(0.0, 2.0))
    with pyro.plate("points", len(values)), poutine.mask(mask=there):
        effect = pyro.sample("effect", dist.Normal(0.0, 1.0))
        pyro.sample("values", dist.Normal(mean + effect, 1.0), obs=values)


def padded_vector(values, there):
    """The same, its points as one vector; the masks stand behind `to_event`."""
    mean = pyro.sample("mean", dist.Normal(0.0, 2.0))
    effect = pyro.sample("effect", dist.Normal(0.0, 1.0).expand([len(values)]).mask(there).to_event(1))
    pyro.sample("values", dist.Normal(mean + effect, 1.0).mask(there).to_event(1), obs=values)


def half_masked(values, there):
    """The prior is masked, the likelihood is not."""
    with pyro.plate("points", len(values)):
        with poutine.mask(mask=there):
            effect = pyro.sample("effect", dist.Normal(0.0, 1.0))
        pyro.sample("values", dist.Normal(effect, 1.0), obs=values)


def own_batch(values, size):
    mean = pyro.sample("mean", dist.Normal(0.0, 2.0))
    chosen = torch.randperm(len(values))[:size]
    with poutine.scale(scale=len(values) / size):
        pyro.sample("values", dist.Normal(mean, 1.0).expand([size]).to_event(1), obs=values[chosen])


def estimated_mean(values):
    """Effects around a mean that is estimated: the best is the values' own."""
    mean = pyro.param("mean", torch.tensor(0.0))
    scale = pyro.param("scale", torch.ones(()), constraint=constraints.positive)
    with pyro.plate("points", len(values)):
        effect = pyro.sample("effect", dist.Normal(mean, 1.0))
        pyro.sample("values", dist.Normal(effect, scale), obs=values)


def unused_param(values):
    pyro.param("unused", torch.ones(3))
    normal(values)


class Shifted(PyroModule):
    def __init__(self):
        super().__init__()
        self.bias = PyroParam(torch.zeros(()))
        self.mean = PyroSample(dist.Normal(0.0, 0.1))

    def forward(self, values):
        mean = self.mean + self.bias
        pyro.sample("values", dist.Normal(mean, 1.0).expand([12]).to_event(1), obs=values)


estimated_shift = Shifted()


def weighted(values):
    net = pyro.module("net", torch.nn.Linear(1, 1))
    pyro.sample("mean", dist.Normal(0.0, 0.1))
    pyro.sample("values", dist.Normal(net(values[:, None])[:, 0], 1.0).to_event(1), obs=values)


SINGLE = torch.tensor(np.stack([X, X**2], axis=1), dtype=torch.float32)
PRIOR = dist.Normal(torch.zeros(2, dtype=torch.float32), 1.0).to_event(1)


def plane(values, weights, inputs):
    pyro.sample("values", dist.Normal(inputs @ weights, 1.0).to_event(1), obs=values)


def inputs_in_float32(values):
    plane(values, pyro.sample("weights", dist.Normal(torch.zeros(2), 1.0).to_event(1)), SINGLE)


def prior_in_float32(values, inputs):
    plane(values, pyro.sample("weights", PRIOR), inputs)


def identity_in_float32(values, inputs):
    plane(values, torch.eye(2, dtype=torch.float32) @ pyro.sample("weights", PRIOR), inputs)


class LayerInFloat32(PyroModule):
    """The regression of Pyro's tutorial, as it is where torch's default is float32."""

    def __init__(self):
        super().__init__()
        self.layer = PyroModule[torch.nn.Linear](2, 1, bias=False, dtype=torch.float32)
        self.layer.weight = PyroSample(dist.Normal(torch.zeros(1, 2, dtype=torch.float32), 1.0).to_event(2))

    def forward(self, values, inputs):
        mean = self.layer(inputs).squeeze(-1)
        with pyro.plate("points", len(values)):
            pyro.sample("values", dist.Normal(mean, 1.0), obs=values)


layer_in_float32 = LayerInFloat32()
