"""The tasks of `tests.foreign`: likelihoods of a benchmark of simulation-based inference, in closed form."""

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import lax


def gaussian_linear(x):
    theta = numpyro.sample("theta", dist.Normal(0.0, 0.1**0.5).expand([10]).to_event(1))
    numpyro.sample("x", dist.Normal(theta, 0.1**0.5).to_event(1), obs=x)


def gaussian_linear_uniform(x):
    theta = numpyro.sample("theta", dist.Uniform(-1.0, 1.0).expand([10]).to_event(1))
    numpyro.sample("x", dist.Normal(theta, 0.1**0.5).to_event(1), obs=x)


def gaussian_mixture(x):
    theta = numpyro.sample("theta", dist.Uniform(-10.0, 10.0).expand([2]).to_event(1))
    widths = jnp.array([1.0, 0.1])
    parts = dist.Normal(theta[..., None, :], widths[:, None]).to_event(1)
    numpyro.sample("x", dist.MixtureSameFamily(dist.Categorical(probs=jnp.array([0.5, 0.5])), parts), obs=x)


def bernoulli_glm(design, spikes, precision):
    theta = numpyro.sample("theta", dist.MultivariateNormal(jnp.zeros(10), precision_matrix=precision))
    numpyro.sample("spikes", dist.Bernoulli(logits=design @ theta).to_event(1), obs=spikes)


def two_moons(x):
    theta = numpyro.sample("theta", dist.Uniform(-1.0, 1.0).expand([2]).to_event(1))
    along, across = (theta[0] + theta[1]) / 2**0.5, (theta[1] - theta[0]) / 2**0.5
    u, v = x[0] + jnp.abs(along) - 0.25, x[1] - across
    radius = jnp.sqrt(u**2 + v**2)  # x is half a circle, uniform in its angle, shifted by theta
    log_density = dist.Normal(0.1, 0.01).log_prob(radius) - jnp.log(jnp.pi * radius)
    numpyro.factor("x", jnp.where(u > 0, log_density, -jnp.inf))


def slcp(x):
    theta = numpyro.sample("theta", dist.Uniform(-3.0, 3.0).expand([5]).to_event(1))
    first, second, correlation = theta[2] ** 2, theta[3] ** 2, jnp.tanh(theta[4])
    both = correlation * first * second
    covariance = jnp.array([[first**2 + 1e-6, both], [both, second**2 + 1e-6]])
    with numpyro.plate("points", 4):
        numpyro.sample("x", dist.MultivariateNormal(theta[:2], covariance), obs=x.reshape(4, 2))


def sir(x):
    medians = jnp.log(jnp.array([0.4, 0.125]))
    theta = numpyro.sample("theta", dist.LogNormal(medians, jnp.array([0.5, 0.2])).to_event(1))
    population, step = 1e6, 0.5

    def rates(state):
        infections = theta[0] * state[0] * state[1] / population
        return jnp.array([-infections, infections - theta[1] * state[1]])

    def advance(state, _):  # Runge and Kutta's fourth-order step
        a = rates(state)
        b = rates(state + step / 2 * a)
        c = rates(state + step / 2 * b)
        d = rates(state + step * c)
        return state + step / 6 * (a + 2 * b + 2 * c + d), state[1]

    start = jnp.array([population - 1, 1.0])
    infected = lax.scan(advance, start, None, length=320)[1][::34]  # every 17 days
    numpyro.sample("x", dist.Binomial(1000, probs=infected / population).to_event(1), obs=x)
