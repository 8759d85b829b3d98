"""Posteriors of the zoo's Bayesian neural network with 50 rectified units on Gal's sets, with unknown noise.

The priors are those of `models/bnn`: weights N(0, 1 / inputs) and N(0, 1 / 50), biases N(0, 1), the noise's sd half
normal, all for a standardised target.

``mean_field`` is fitted on all splits at once, by Adam. With one hidden layer of rectified units its ELBO needs no
sampling: the units of a row are independent, each the positive part a Gaussian, whose first two moments are known

    E[h+] = m P(m / s) + s p(m / s),    E[h+^2] = (m^2 + s^2) P(m / s) + m s p(m / s)

with P and p the standard Gaussian's distribution and density, and the squared error has no moments beyond. The noise's
sd is log-normal. ``full_rank`` goes on from there with draws of all weights, ``nuts`` is NumPyro's.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from numpyro.diagnostics import effective_sample_size, split_gelman_rubin
from numpyro.infer import MCMC, NUTS
from numpyro.infer.util import potential_energy

from models.bnn import network
from models.bnn.in_numpyro import model
from tests.experiments.uci_networks import HIDDEN
from tests.experiments.uci_sets import Scaled, mixture

RATE, RATE_FULL, STEPS, DRAWS = 0.01, 0.001, 5000, 2000
"""Adam's first rates for the mean field and for full rank, which fall to 0 as a cosine; its steps; draws to predict."""

START = 0.001
"""The mean field's first sds in units of the prior's."""

N_CHAINS = 2
"""Of NUTS."""

Tree = dict[str, jax.Array]


def prior_sds(columns: int) -> Tree:
    """The prior's sd of every weight and bias."""
    shapes = {"hidden_weights": (columns, HIDDEN), "hidden_biases": (HIDDEN,), "output_weights": (HIDDEN,)}
    sds = {"hidden_weights": columns**-0.5, "hidden_biases": 1.0, "output_weights": HIDDEN**-0.5}
    return {site: jnp.full(shape, sds[site], jnp.float32) for site, shape in shapes.items()} | {
        "output_bias": jnp.ones((), jnp.float32)
    }


def elbo(means: Tree, log_sds: Tree, x: jax.Array, y: jax.Array) -> jax.Array:
    """The mean field's ELBO in nats, exactly; ``noise`` is the logarithm of the noise's sd."""
    sds = jax.tree.map(jnp.exp, log_sds)
    m = x @ means["hidden_weights"] + means["hidden_biases"]
    variance = x**2 @ sds["hidden_weights"] ** 2 + sds["hidden_biases"] ** 2
    s = jnp.sqrt(variance)
    # In single precision this is as good as norm.cdf, whose accuracy in the tails would double the time
    below, at = 0.5 * (1 + jax.lax.erf(m / s * 0.5**0.5)), jax.scipy.stats.norm.pdf(m / s)
    unit, square = m * below + s * at, (m**2 + variance) * below + m * s * at
    v, spread = means["output_weights"], sds["output_weights"] ** 2
    f = unit @ v + means["output_bias"]
    f_variance = square @ (v**2 + spread) - unit**2 @ v**2 + sds["output_bias"] ** 2
    a, b = means["noise"], sds["noise"]
    fit = -0.5 * jnp.sum(jnp.exp(-2 * a + 2 * b**2) * ((y - f) ** 2 + f_variance) + jnp.log(2 * jnp.pi) + 2 * a)
    # The noise's half-normal prior on its logarithm, plus the entropy of a Gaussian
    noise = 0.5 * jnp.log(2 / jnp.pi) - 0.5 * jnp.exp(2 * a + 2 * b**2) + a + 0.5 * jnp.log(2 * jnp.pi * jnp.e * b**2)
    divergence = 0.0
    for site, prior in prior_sds(x.shape[1]).items():
        ratio = sds[site] / prior
        divergence += jnp.sum(0.5 * (ratio**2 + (means[site] / prior) ** 2 - 1) - jnp.log(ratio))
    return fit + noise - divergence


def start(key: jax.Array, columns: int) -> tuple[Tree, Tree]:
    """Means drawn from the prior, and a thousandth of its sds; a noise of 0.3.

    Wider starts lose units before these have learnt anything: from a tenth of the prior's sds, half of the fits on
    energy ended hundreds of nats lower.
    """
    priors = prior_sds(columns)
    keys = jax.random.split(key, len(priors))
    means = {
        site: sd * jax.random.normal(k, sd.shape, jnp.float32)
        for k, (site, sd) in zip(keys, priors.items(), strict=True)
    }
    log_sds = {site: jnp.log(START * sd) for site, sd in priors.items()}
    return means | {"noise": jnp.log(jnp.float32(0.3))}, log_sds | {"noise": jnp.log(jnp.float32(0.1))}


def ascend(objective, parameters: Any, steps: int, rate: float, key: jax.Array) -> Any:
    """The parameters after ``steps`` steps of Adam up the objective, a function of parameters and a key."""
    optimiser = optax.adam(optax.cosine_decay_schedule(rate, steps))

    def step(carry, key):
        parameters, state = carry
        slopes = jax.grad(lambda p: -objective(p, key))(parameters)
        updates, state = optimiser.update(slopes, state)
        return (optax.apply_updates(parameters, updates), state), None

    keys = jax.random.split(key, steps)
    return jax.lax.scan(step, (parameters, optimiser.init(parameters)), keys)[0][0]


def mean_field(x: jax.Array, y: jax.Array, key: jax.Array, steps: int = STEPS) -> tuple[Tree, Tree]:
    """The fitted means and logarithms of sds."""
    begin, climb = jax.random.split(key)
    return ascend(lambda p, _: elbo(*p, x, y), start(begin, x.shape[1]), steps, RATE, climb)


def log_joint(latents: Tree, x: jax.Array, y: jax.Array) -> jax.Array:
    """log p(targets, latents) of the zoo's twin, the noise by its logarithm, with that one's Jacobian."""
    given = {"inputs": x, "targets": y, "hidden": HIDDEN, "activation": "relu"}
    return -potential_energy(model, (), given, latents)


def full_rank(means: Tree, log_sds: Tree, x: jax.Array, y: jax.Array, key: jax.Array, steps: int, draws: int = 8):
    """Go on from a mean field: the draws of a Gaussian with all correlations, and its ELBO with its error.

    The lower triangle of its scale is in units of the mean field's sds, 1 and 0 at first. A step averages over
    ``draws`` draws.

    Returns:
        Draws of all latents, and the mean and standard error of the ELBO over them.
    """
    sds, back = ravel_pytree(jax.tree.map(jnp.exp, log_sds))
    loc, size = ravel_pytree(means)[0], len(sds)

    def latents_of(parameters, eps):
        lower = jnp.tril(parameters["lower"], -1) + jnp.diag(jnp.exp(parameters["log_diagonal"]))
        return loc + sds * (parameters["shift"] + eps @ lower.T)

    def objective(parameters, key):
        z = latents_of(parameters, jax.random.normal(key, (draws, size), jnp.float32))
        return jnp.mean(jax.vmap(lambda z: log_joint(back(z), x, y))(z)) + jnp.sum(parameters["log_diagonal"])

    begin = {"lower": jnp.zeros((size, size)), "log_diagonal": jnp.zeros(size), "shift": jnp.zeros(size)}
    climb, last = jax.random.split(key)
    fitted = ascend(objective, begin, steps, RATE_FULL, climb)
    z = latents_of(fitted, jax.random.normal(last, (DRAWS, size), jnp.float32))
    entropy = 0.5 * size * jnp.log(2 * jnp.pi * jnp.e) + jnp.sum(jnp.log(sds) + fitted["log_diagonal"])
    values = jax.lax.map(lambda z: log_joint(back(z), x, y), z) + entropy
    return jax.vmap(back)(z), values.mean(), values.std() / DRAWS**0.5


def nuts(x: np.ndarray, y: np.ndarray, start: Tree, warmup: int, count: int, seed: int) -> dict[str, np.ndarray]:
    """A chain of NumPyro's NUTS in double precision: every latent of shape (count, *shape)."""
    with jax.enable_x64(True):
        data = jnp.asarray(x, jnp.float64), jnp.asarray(y, jnp.float64)
        kernel = NUTS(potential_fn=lambda latents: -log_joint(latents, *data))
        sampler = MCMC(kernel, num_warmup=warmup, num_samples=count, progress_bar=False)
        first = {site: jnp.asarray(value, jnp.float64) for site, value in start.items()}
        sampler.run(jax.random.PRNGKey(seed), init_params=first)
        return {site: np.asarray(value) for site, value in sampler.get_samples().items()}


def gaussian_draws(means: Tree, log_sds: Tree, count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Draws from one mean field, each latent of shape (count, *shape)."""
    rng = np.random.default_rng(seed)
    drawn = {site: rng.standard_normal((count, *np.shape(mean))) for site, mean in means.items()}
    return {site: np.asarray(means[site]) + np.exp(np.asarray(log_sds[site])) * eps for site, eps in drawn.items()}


def predict(latents: dict[str, np.ndarray], scaled_split: Scaled) -> tuple[np.ndarray, np.ndarray]:
    """f at the rows held out, shape (draws, rows), and the precision in the target's units, shape (draws, 1)."""
    weights = {site: np.asarray(value, np.float64) for site, value in latents.items()}
    log_noise = weights.pop("noise")
    f = network.values(weights, scaled_split.split.test_inputs, "relu")
    return f, (np.exp(log_noise[:, None]) * scaled_split.sd) ** -2.0


def fit_mean_fields(data: list[Scaled]) -> tuple[list[tuple[Tree, Tree]], np.ndarray]:
    """The mean fields of splits with as many rows each, fitted side by side, and their ELBOs in nats."""
    x, y = (
        jnp.asarray(np.stack([getattr(s.split, part) for s in data]), jnp.float32) for part in ("inputs", "targets")
    )
    keys = jax.random.split(jax.random.PRNGKey(0), len(data))
    fitted = jax.jit(jax.vmap(mean_field))(x, y, keys)
    each = [jax.tree.map(lambda part: part[number], fitted) for number in range(len(data))]  # noqa: B023
    return each, np.asarray(jax.vmap(elbo)(*fitted, x, y))


def mean_field_on(data: list[Scaled]) -> np.ndarray:
    """Log likelihood, RMSE and ELBO, shape (3, splits)."""
    fits, elbos = fit_mean_fields(data)
    scored = []
    for fit, each in zip(fits, data, strict=True):
        f, tau = predict(gaussian_draws(*fit, DRAWS), each)
        scored.append(mixture(f, each, tau))
    return np.array([*np.transpose(scored), elbos])


def full_rank_on(each: Scaled) -> list[float]:
    """Log likelihood, RMSE, ELBO and the ELBO's error on one split."""
    (fit,), _ = fit_mean_fields([each])
    x, y = jnp.asarray(each.split.inputs, jnp.float32), jnp.asarray(each.split.targets, jnp.float32)
    latents, value, error = jax.jit(partial(full_rank, steps=STEPS))(*fit, x, y, jax.random.PRNGKey(1))
    f, tau = predict(latents, each)
    return [*mixture(f, each, tau), float(value), float(error)]


def chain_on(each: Scaled, number: int, count: int) -> np.ndarray:
    """f at the rows held out, and in a last column the precision, of the draws of a chain: (count, rows + 1).

    It starts from a draw of the mean field; as many draws of warm-up go before.
    """
    (fit,), _ = fit_mean_fields([each])
    latents = gaussian_draws(*fit, N_CHAINS)
    start = {site: value[number] for site, value in latents.items()}
    f, tau = predict(nuts(each.split.inputs, each.split.targets, start, count, count, number), each)
    return np.hstack([f, tau])


def of_chains(chains: np.ndarray, each: Scaled) -> list[float]:
    """Log likelihood and RMSE, largest R-hat and least ESS of f at the rows held out; noise sd by its mean precision.

    Args:
        chains: Of each chain what `chain_on` gives, shape (chains, draws, rows + 1).
        each: The split.
    """
    together, f = np.concatenate(chains), chains[..., :-1]
    scored = mixture(together[:, :-1], each, together[:, -1:])
    noise = float(np.mean(together[:, -1]) ** -0.5)
    return [*scored, float(split_gelman_rubin(f).max()), float(effective_sample_size(f).min()), noise]
