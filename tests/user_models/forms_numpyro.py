"""Models and data in the forms that users have them in, and priors without density or draws, in NumPyro."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.distributions import constraints
from numpyro.infer.reparam import CircularReparam

rng = np.random.default_rng(5)
VALUES = rng.normal(0.7, 1.0, 12)
X = rng.normal(size=12)
SEEN = np.arange(12) % 3 > 0


def normal(values, scale=2.0):
    mean = numpyro.sample("mean", dist.Normal(0.0, scale))
    with numpyro.plate("points", len(values)):
        numpyro.sample("values", dist.Normal(mean, 1.0), obs=values)


def options(values, prior, **others):
    normal(values, prior["scale"])


def positional(values, /, *more):
    normal(values, *more)


def grouped(pair):
    values, weights = pair
    mean = numpyro.sample("mean", dist.Normal(0.0, 2.0))
    numpyro.sample("values", dist.Normal(mean, weights**-0.5).to_event(1), obs=values)


def labelled(values, group):
    mean = numpyro.sample("mean", dist.Normal(0.0, 2.0))
    chosen = values[np.array(group) == "a"]
    numpyro.sample("values", dist.Normal(mean, 1.0).expand([len(chosen)]).to_event(1), obs=chosen)


class Held:
    """A model that holds its data."""

    def __init__(self, values):
        self.values = jnp.asarray(values)

    def model(self):
        normal(self.values)

    def __call__(self):
        normal(self.values)


held = Held(VALUES)
method = held.model


def closure(values):
    return lambda: normal(jnp.asarray(values))


def steep(x, values):
    """Far from the origin the mean overflows."""
    slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
    numpyro.sample("values", dist.Normal(0.0, jnp.exp(500 * slope * x)).to_event(1), obs=values)


def truncated(values):
    """A truncated Student t, which cannot be drawn from in every version."""
    mean = numpyro.sample("mean", dist.LeftTruncatedDistribution(dist.StudentT(3.0, 0.0, 1.0), low=0.0))
    numpyro.sample("values", dist.Normal(mean, 1.0).expand([12]).to_event(1), obs=values)


def flat(values):
    mean = numpyro.sample("mean", dist.ImproperUniform(constraints.real, (), ()))
    with numpyro.plate("points", len(values)):
        numpyro.sample("values", dist.Normal(mean, 1.0), obs=values)


def masked_flat(values):
    mean = numpyro.sample("mean", dist.Normal(0.0, 1.0).mask(False))
    log_scale = numpyro.sample("log_scale", dist.ImproperUniform(constraints.real, (), ()))
    numpyro.sample("values", dist.Normal(mean, jnp.exp(log_scale)).expand([12]).to_event(1), obs=values)


def flat_line(x, values):
    with numpyro.handlers.mask(mask=False), numpyro.plate("coefficients", 2):
        beta = numpyro.sample("beta", dist.Normal(0.0, 1.0))
    numpyro.sample("values", dist.Normal(beta[0] + beta[1] * x, 1.0).to_event(1), obs=values)


def flat_order(values):
    cuts = numpyro.sample("cuts", dist.ImproperUniform(constraints.ordered_vector, (), (2,)))
    numpyro.sample("low", dist.Normal(cuts[0], 1.0).expand([6]).to_event(1), obs=values[:6] - 1)
    numpyro.sample("high", dist.Normal(cuts[1], 1.0).expand([6]).to_event(1), obs=values[6:] + 1)


def flat_scale(values, group):
    """Eight groups whose spread has a flat prior on the scale itself: proper."""
    mean = numpyro.sample("mean", dist.ImproperUniform(constraints.real, (), ()))
    scale = numpyro.sample("scale", dist.ImproperUniform(constraints.positive, (), ()))
    with numpyro.plate("groups", 6):
        effect = numpyro.sample("effect", dist.Normal(mean, scale))
    numpyro.sample("values", dist.Normal(effect[group], 0.5).to_event(1), obs=values)


def two_intercepts(values):
    a = numpyro.sample("a", dist.ImproperUniform(constraints.real, (), ()))
    b = numpyro.sample("b", dist.ImproperUniform(constraints.real, (), ()))
    numpyro.sample("values", dist.Normal(a + b, 1.0).expand([12]).to_event(1), obs=values)


def separated(x):
    """Complete separation under a flat prior."""
    with numpyro.handlers.mask(mask=False), numpyro.plate("coefficients", 2):
        beta = numpyro.sample("beta", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Bernoulli(logits=beta[0] + beta[1] * x).to_event(1), obs=jnp.where(x > 0.1, 1.0, 0.0))


def flat_log_scale(values, group):
    """The same groups with a flat prior on the log scale: improper at a scale of 0."""
    log_scale = numpyro.sample("log_scale", dist.ImproperUniform(constraints.real, (), ()))
    with numpyro.plate("groups", 6):
        effect = numpyro.sample("effect", dist.Normal(0.0, 1.0))
    numpyro.sample("values", dist.Normal(jnp.exp(log_scale) * effect[group], 0.5).to_event(1), obs=values)


def nearly_separated(x, y):
    """Quasi-complete separation under a flat prior: both outcomes where x is 0, and nowhere else."""
    a = numpyro.sample("a", dist.ImproperUniform(constraints.real, (), ()))
    b = numpyro.sample("b", dist.ImproperUniform(constraints.real, (), ()))
    numpyro.sample("y", dist.Bernoulli(logits=a + b * x).to_event(1), obs=y)


def one_over_scale(values, group):
    """The density 1 / scale on a hierarchical scale, written as a factor."""
    scale = numpyro.sample("scale", dist.ImproperUniform(constraints.positive, (), ()))
    numpyro.factor("one_over_scale", -jnp.log(scale))
    with numpyro.plate("groups", 6):
        effect = numpyro.sample("effect", dist.Normal(0.0, 1.0))
    numpyro.sample("values", dist.Normal(scale * effect[group], 0.5).to_event(1), obs=values)


def centred_one_over_scale(values, group):
    """The same, centred: at a scale of 0 the joint density has no bound."""
    scale = numpyro.sample("scale", dist.ImproperUniform(constraints.positive, (), ()))
    numpyro.factor("one_over_scale", -jnp.log(scale))
    with numpyro.plate("groups", 6):
        effect = numpyro.sample("effect", dist.Normal(0.0, scale))
    numpyro.sample("values", dist.Normal(effect[group], 0.5).to_event(1), obs=values)


def loose_component(values):
    """A mixture whose second location has a flat prior: the data need not have a member of it."""
    where = numpyro.sample("where", dist.ImproperUniform(constraints.real, (), ()))
    weights = dist.Categorical(probs=jnp.array([0.7, 0.3]))
    parts = dist.Normal(jnp.stack([jnp.zeros(()), where]), jnp.ones(2))
    numpyro.sample("values", dist.MixtureSameFamily(weights, parts).expand([12]).to_event(1), obs=values)


@numpyro.handlers.reparam(config={"angle": CircularReparam()})
def unwrapped(values):
    angle = numpyro.sample("angle", dist.VonMises(2.5, 1.0))
    numpyro.sample("values", dist.VonMises(angle, 3.0).expand([12]).to_event(1), obs=values)


def holes(values, seen):
    mean = numpyro.sample("mean", dist.Normal(0.0, 2.0))
    with numpyro.plate("points", len(values)):
        full = numpyro.sample("full", dist.Normal(mean, 1.0), obs=values, obs_mask=seen)
        numpyro.sample("echo", dist.Normal(full, 1.0), obs=values + 1)


def imputed(values):
    """Missing values are latents, whose places NumPy finds and whose density is that of all values."""
    mean = numpyro.sample("mean", dist.Normal(0.0, 2.0))
    missing = np.flatnonzero(np.isnan(values))
    filled = numpyro.sample("filled", dist.Normal(mean, 1.0).expand([len(missing)]).mask(False))
    full = values.at[missing].set(filled)
    numpyro.sample("values", dist.Normal(mean, 1.0), obs=full)


def counted(values, options):
    """How many groups there are is read off the data, inside of a dict."""
    mean = numpyro.sample("mean", dist.Normal(0.0, 2.0))
    with numpyro.plate("groups", int(np.max(options["group"])) + 1):
        effect = numpyro.sample("effect", dist.Normal(mean, 1.0))
    numpyro.sample("values", dist.Normal(effect[options["group"]], options["scale"]), obs=values)


def trimmed(values, x, weights):
    """Two covariates decide the program, both written into; the points are those of the plate."""
    x[x > 1] = 1.0
    weights = weights.copy()
    weights[weights < np.median(weights)] = 1.0
    mean = numpyro.sample("mean", dist.Normal(0.0, 2.0 if x[0] > 0 else 1.0))
    with numpyro.plate("points", len(values)) as points:
        numpyro.sample("values", dist.Normal(mean * x[points], weights[points]), obs=values[points])


def signed(values):
    mean = numpyro.sample("mean", dist.Normal(0.0, 2.0 if values[0] > 0 else 1.0))
    numpyro.sample("values", dist.Normal(mean, 1.0).expand([len(values)]).to_event(1), obs=values)


def broken(values):
    raise KeyError(int(np.isnan(values).sum()))


def padded(values, there):
    mean = numpyro.sample("mean", dist.Normal(0.0, 2.0))
    with numpyro.plate("points", len(values)), numpyro.handlers.mask(mask=there):
        effect = numpyro.sample("effect", dist.Normal(0.0, 1.0))
        numpyro.sample("values", dist.Normal(mean + effect, 1.0), obs=values)


def padded_vector(values, there):
    """The same, its points as one vector; the masks stand behind `to_event`."""
    mean = numpyro.sample("mean", dist.Normal(0.0, 2.0))
    effect = numpyro.sample("effect", dist.Normal(0.0, 1.0).expand([len(values)]).mask(there).to_event(1))
    numpyro.sample("values", dist.Normal(mean + effect, 1.0).mask(there).to_event(1), obs=values)


def half_masked(values, there):
    """The prior is masked, the likelihood is not."""
    with numpyro.plate("points", len(values)):
        with numpyro.handlers.mask(mask=there):
            effect = numpyro.sample("effect", dist.Normal(0.0, 1.0))
        numpyro.sample("values", dist.Normal(effect, 1.0), obs=values)


def own_batch(values, size):
    mean = numpyro.sample("mean", dist.Normal(0.0, 2.0))
    chosen = np.random.permutation(len(values))[:size]
    with numpyro.handlers.scale(scale=len(values) / size):
        numpyro.sample("values", dist.Normal(mean, 1.0).expand([size]).to_event(1), obs=values[chosen])


def estimated_mean(values):
    """Effects around a mean that is estimated: the best is the values' own."""
    mean = numpyro.param("mean", 0.0)
    scale = numpyro.param("scale", jnp.ones(()), constraint=constraints.positive)
    with numpyro.plate("points", len(values)):
        effect = numpyro.sample("effect", dist.Normal(mean, 1.0))
        numpyro.sample("values", dist.Normal(effect, scale), obs=values)


def unused_param(values):
    numpyro.param("unused", lambda key: jnp.ones(3))
    normal(values)


def estimated_shift(values):
    """A param that is a dict, asked for before it is given, as flax's modules do."""
    params = numpyro.param("net$params")
    if params is None:
        params = {"layer": {"bias": jnp.zeros(1)}}
        numpyro.param("net$params", params)
    mean = numpyro.sample("mean", dist.Normal(0.0, 0.1)) + params["layer"]["bias"][0]
    numpyro.sample("values", dist.Normal(mean, 1.0).expand([12]).to_event(1), obs=values)
