"""The galaxies' posteriors by two methods: the reference, and tempered sequential Monte Carlo.

    python -m tests.experiments.galaxies [components] [scale]

For 3, 4 and 6 components with one unknown scale or a scale each: both log evidences, and of all label-invariant means
the one that differs most, in standard errors. Sequential Monte Carlo runs from the prior to the posterior in the region
where the locations ascend, several times: its errors are those of the mean of independent runs. It needs BlackJAX: pip
install blackjax.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import arviz_stats
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from numpyro import handlers
from numpyro.distributions import biject_to
from numpyro.infer.util import log_density

from compare.comparison import Job
from compare.fit import run
from compare.options import Options
from models.mixture import MODEL, MixtureData
from models.mixture.in_numpyro import model

__all__: list[str] = []

RUNS, PARTICLES, STEPS, ESS = 8, 2000, 20, 0.7
"""Independent runs, particles of each, Metropolis steps at each temperature, and the share of particles that the next
temperature leaves effective."""

WIDTHS = 0.03, 1.2
"""Metropolis steps have widths between these, in sds of the particles: any temperature accepts some."""

BUDGET = 150.0
"""Seconds of the reference."""


def densities(data: MixtureData) -> tuple[Callable[[Any], Any], Callable[[Any], Any], Callable[[Any], Any], Any]:
    """Functions of an unconstrained vector: log prior in the region, log likelihood and latents; and prior draws."""
    arguments, copies = data.arguments(), math.log(MODEL.symmetry.copies(data))
    trace = handlers.trace(handlers.seed(partial(model, **arguments), 0)).get_trace()
    priors = {name: site["fn"] for name, site in trace.items() if site["type"] == "sample" and not site["is_observed"]}
    transforms = {name: biject_to(prior.support) for name, prior in priors.items()}
    drawn = MODEL.symmetry.canonical(data, MODEL.simulate(data, np.random.default_rng(0), RUNS * PARTICLES).latents)
    points = {name: transforms[name].inv(jnp.asarray(value)) for name, value in drawn.items()}
    _, unravel = ravel_pytree({name: value[0] for name, value in points.items()})
    flat = jax.vmap(lambda point: ravel_pytree(point)[0])(points)

    def latents(vector: Any) -> dict[str, Any]:
        return {name: transforms[name](z) for name, z in unravel(vector).items()}

    def log_prior(vector: Any) -> Any:
        """Normalised over the region: the prior's density times the number of its copies."""
        values, total = latents(vector), copies
        for name, z in unravel(vector).items():
            jacobian = transforms[name].log_abs_det_jacobian(z, values[name])
            total += jnp.sum(priors[name].log_prob(values[name])) + jnp.sum(jacobian)
        return jnp.where((jnp.diff(values["locations"]) > 0).all(), total, -jnp.inf)

    def log_likelihood(vector: Any) -> Any:
        values = latents(vector)
        joint, _ = log_density(model, (), arguments, values)
        return joint - sum(jnp.sum(prior.log_prob(values[name])) for name, prior in priors.items())

    return log_prior, log_likelihood, latents, flat.reshape(RUNS, PARTICLES, -1)


def tempered(data: MixtureData) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The log evidence (runs,) and the means of label-invariant quantities (runs, ...) by independent runs."""
    from blackjax.mcmc import random_walk
    from blackjax.smc import adaptive_tempered, resampling

    log_prior, log_likelihood, latents, start = densities(data)
    metropolis = random_walk.build_additive_step()

    def step(key: Any, state: Any, density: Any, factor: Any) -> Any:
        def random_step(key: Any, position: Any) -> Any:
            first, second = jax.random.split(key)
            width = jnp.exp(jax.random.uniform(first, minval=math.log(WIDTHS[0]), maxval=math.log(WIDTHS[1])))
            return width * factor @ jax.random.normal(second, position.shape)

        return metropolis(key, state, density, random_step)

    kernel = adaptive_tempered.build_kernel(
        log_prior, log_likelihood, step, random_walk.init, resampling.systematic, target_ess=ESS
    )
    move = jax.jit(lambda key, state, factor: kernel(key, state, STEPS, {"factor": factor[None]}))
    evidences, means = [], []
    for number in range(RUNS):
        key, state, evidence = jax.random.key(number), adaptive_tempered.init(start[number]), 0.0
        while state.tempering_param < 1:
            key, now = jax.random.split(key)
            covariance = np.cov(np.asarray(state.particles).T, aweights=np.asarray(state.weights))
            factor = np.linalg.cholesky(covariance + 1e-10 * np.diag(np.diag(covariance)))
            state, info = move(now, state, jnp.asarray(factor))
            evidence += float(info.log_likelihood_increment)
        values = {name: np.asarray(value) for name, value in jax.vmap(latents)(state.particles).items()}
        known = values | MODEL.quantities.derive(data, values)
        evidences.append(evidence)
        means.append([np.average(known[site][:, *at], weights=state.weights) for site, at in reported_elements(data)])
    return np.array(evidences), np.array(means)


def reported_elements(data: MixtureData) -> list[tuple[str, tuple[int, ...]]]:
    return list(MODEL.quantities.report(data))


def compare(data: MixtureData) -> tuple[str, ...]:
    """The row of one posterior."""
    fit = run(Job("reference", "mixture", data, "reference", "numpyro", options=Options(reference_budget=BUDGET)))
    known = fit.tree.attrs
    begin = time.perf_counter()
    evidences, means = tempered(data)
    seconds, posterior = time.perf_counter() - begin, fit.tree["posterior"]
    draws = [posterior[site].values[:, :, *at] for site, at in reported_elements(data)]
    sds = np.array([values.std() for values in draws])
    mcse = np.array([float(arviz_stats.mcse(values, method="mean")) for values in draws])
    spread = math.sqrt(np.mean((means.std(axis=0, ddof=1) / sds) ** 2))  # of one run's means, in posterior sds
    apart = (means.mean(axis=0) - [values.mean() for values in draws]) / np.hypot(mcse, spread * sds / math.sqrt(RUNS))
    worst = int(np.abs(apart).argmax())
    site, at = reported_elements(data)[worst]
    log_evidence, error = float(evidences.mean()), float(evidences.std(ddof=1)) / math.sqrt(RUNS)
    ours, gap = known.get("no_log_evidence", ""), ""
    if not ours:
        ours = f"{known['log_evidence']:.3f} ± {known['log_evidence_mcse']:.3f}"
        gap = f"{(log_evidence - known['log_evidence']) / math.hypot(error, known['log_evidence_mcse']):+.1f}"
    theirs = f"{log_evidence:.3f} ± {error:.3f}"
    where = f"{apart[worst]:+.1f} ({site}[{', '.join(map(str, at))}])"
    times = f"{fit.seconds:.0f} and {seconds:.0f}"
    return (
        str(data.components),
        str(data.scale),
        ours,
        theirs,
        gap,
        where,
        "yes" if known["targets_met"] else "no",
        times,
    )


def main() -> None:
    components = (int(sys.argv[1]),) if len(sys.argv) > 1 else (3, 4, 6)
    scales = sys.argv[2:] or ("unknown", "each")
    header = "K", "scale", "reference", "tempered", "apart, errors", "means apart, errors", "targets met", "seconds"
    print(f"| {' | '.join(header)} |")
    print(f"|{' --- |' * len(header)}")
    for scale in scales:
        for k in components:
            row = compare(MixtureData("galaxies-corrected", components=k, scale=scale))
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
