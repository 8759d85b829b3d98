"""The quadrature of tiny networks against importance sampling, its own draws, and finer lattices."""

from __future__ import annotations

import copy
import dataclasses
import math
import sys

import numpy as np
import pytest
from scipy import spatial, special, stats

from models.bnn import BnnData, network
from models.bnn.collapsed import Collapsed
from models.bnn.exact import QuadraturePosterior, exact
from models.marginals import TabulatedMixture
from models.quadrature import Lattice, TooManyPoints, Trapezoid

quadrature = sys.modules["models.bnn.exact"]  # as an attribute of its package the module is hidden by the function

CASES = [
    pytest.param(BnnData(hidden=hidden, activation=activation), id=f"{activation}-{hidden}")
    for hidden in (1, 2)
    for activation in ("tanh", "relu")
]
SLOW_LAST = [*CASES[:3], pytest.param(*CASES[3].values, id=CASES[3].id, marks=pytest.mark.slow)]
"""Two ReLU units take longest: by default their parts are tried by two tanh units and by one ReLU unit."""

SOLVED: dict[BnnData, QuadraturePosterior] = {}


def solved(data: BnnData) -> QuadraturePosterior:
    """The posterior, found once for all tests."""
    if data not in SOLVED:
        SOLVED[data] = exact(data)
    return SOLVED[data]


def sine(hidden: int, activation: str = "tanh", rows: int = 40, noise: float = 0.2, scale: float = 1.0) -> BnnData:
    """A network for rows of a sine with so much noise, in two clusters, all targets times a scale."""
    rng = np.random.default_rng(5)
    x = rng.uniform(1, 2, rows) * np.where(np.arange(rows) % 2, 1, -1)
    y = scale * (np.sin(2 * x) + noise * rng.standard_normal(rows))
    data = BnnData(hidden=hidden, activation=activation)
    object.__setattr__(data, "dataset", dataclasses.replace(data.dataset, inputs=x[:, None], targets=y, noise=noise))
    return data


def collapsed(data: BnnData, weights: np.ndarray, biases: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log p(y, weights, biases), and f's mean and variance at the grid, at points of shape (count, hidden).

    Written by the formulas of Gaussian process regression with the features' covariance, and not by the quadrature's.
    """
    x, y, grid = data.dataset.inputs[:, 0], data.dataset.targets, data.dataset.grid[:, 0]
    activation = {"tanh": np.tanh, "relu": lambda a: np.maximum(a, 0)}[data.activation]

    def features(inputs):
        units = activation(inputs[None, :, None] * weights[:, None, :] + biases[:, None, :]) / math.sqrt(data.hidden)
        return np.concatenate([units, np.ones((*units.shape[:2], 1))], axis=2)

    here, there = features(x), features(grid)
    core = np.eye(data.hidden + 1) + here.transpose(0, 2, 1) @ here / data.dataset.noise**2
    pull = np.linalg.solve(core, here.transpose(0, 2, 1) @ y[:, None] / data.dataset.noise**2)
    quadratic = (y**2).sum() / data.dataset.noise**2 - (y @ here * pull[:, :, 0]).sum(axis=1) / data.dataset.noise**2
    log_det = np.linalg.slogdet(core)[1] + 2 * len(y) * math.log(data.dataset.noise)
    prior = stats.norm.logpdf(weights).sum(axis=1) + stats.norm.logpdf(biases).sum(axis=1)
    mean = (there @ pull)[:, :, 0]
    variance = (there * np.linalg.solve(core, there.transpose(0, 2, 1)).transpose(0, 2, 1)).sum(axis=2)
    return prior - 0.5 * (quadratic + log_det + len(y) * math.log(2 * math.pi)), mean, variance


def folded(data: BnnData, theta: np.ndarray) -> np.ndarray:
    """Of each point's copies the one with positive weights (tanh) in ascending order, shape (count, 2 hidden)."""
    weights, biases = np.split(theta, 2, axis=1)
    if data.activation == "tanh":
        sign = np.where(weights < 0, -1.0, 1.0)
        weights, biases = sign * weights, sign * biases
    order = np.argsort(weights, axis=1)
    return np.concatenate([np.take_along_axis(part, order, axis=1) for part in (weights, biases)], axis=1)


def log_target(data: BnnData, theta: np.ndarray) -> np.ndarray:
    pieces = np.array_split(theta, len(theta) // 2000 + 1)
    return np.concatenate([collapsed(data, *np.split(piece, 2, axis=1))[0] for piece in pieces])


def annealed(data: BnnData, rng: np.random.Generator, count: int) -> np.ndarray:
    """Particles that went from the prior to the posterior by sequential Monte Carlo, folded."""
    theta = folded(data, rng.standard_normal((count, 2 * data.hidden)))
    prior = stats.norm.logpdf(theta).sum(axis=1)
    joint, temperature = log_target(data, theta), 0.0
    while temperature < 1:
        likelihood, step = joint - prior, 1 - temperature
        while True:
            weights = special.softmax(step * likelihood)
            if 1 / (weights**2).sum() > count / 2:
                break
            step *= 0.7
        temperature = min(1.0, temperature + step) if step < 1 - temperature else 1.0
        chosen = rng.choice(count, size=count, p=weights)
        theta, joint, prior = theta[chosen], joint[chosen], prior[chosen]
        for _ in range(6):
            first, second = theta[rng.integers(count, size=(2, count))]
            jump = rng.choice([0.3, 0.8], size=(count, 1)) * (first - second)
            moved = folded(data, theta + jump + 1e-4 * rng.standard_normal(theta.shape))
            there, its_prior = log_target(data, moved), stats.norm.logpdf(moved).sum(axis=1)
            gain = temperature * (there - joint) + (1 - temperature) * (its_prior - prior)
            accepted = np.log(rng.random(count)) < gain
            theta[accepted], joint[accepted], prior[accepted] = moved[accepted], there[accepted], its_prior[accepted]
    return theta


def importance(data: BnnData, count: int, seed: int = 0, components: int = 150) -> dict[str, np.ndarray]:
    """log evidence, f's means and sds, each with its standard error, by importance sampling.

    Proposed is by a mixture of Gaussians about annealed particles, each as wide as those next to it are apart; one in
    ten comes from the prior. A proposal whose copies were meant counts for nothing, and the others for all copies.
    """
    rng = np.random.default_rng(seed)
    particles = annealed(data, rng, 3000)
    dimension = particles.shape[1]
    centres = particles[rng.choice(len(particles), components, replace=False)]
    scale = particles.std(axis=0)
    near = spatial.cKDTree(particles / scale).query(centres / scale, k=120)[1]
    factors = np.array([np.linalg.cholesky(1.5 * np.cov(particles[i].T) + 1e-9 * np.diag(scale**2)) for i in near])
    owner = rng.integers(components, size=count)
    theta = centres[owner] + np.einsum("cij,cj->ci", factors[owner], rng.standard_normal((count, dimension)))
    from_prior = rng.random(count) < 0.1
    theta[from_prior] = rng.standard_normal((from_prior.sum(), dimension))
    log_proposal = np.empty(count)
    for piece in np.array_split(np.arange(count), count // 2000 + 1):
        apart = theta[piece][:, None] - centres
        whitened = np.einsum("kij,ckj->cki", np.linalg.inv(factors), apart)
        log_det = np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)
        logs = -0.5 * (whitened**2).sum(axis=2) - log_det - dimension / 2 * math.log(2 * math.pi)
        mixture = special.logsumexp(logs, axis=1) - math.log(components) + math.log(0.9)
        log_proposal[piece] = np.logaddexp(mixture, stats.norm.logpdf(theta[piece]).sum(axis=1) + math.log(0.1))
    copies = math.factorial(data.hidden) * (2**data.hidden if data.activation == "tanh" else 1)
    inside = np.all(folded(data, theta) == theta, axis=1)
    theta, log_proposal = theta[inside], log_proposal[inside]
    parts = [collapsed(data, *np.split(p, 2, axis=1)) for p in np.array_split(theta, len(theta) // 2000 + 1)]
    log_joint, mean, variance = (np.concatenate(values) for values in zip(*parts, strict=True))
    log_ratio = log_joint - log_proposal + math.log(copies)
    ratio = np.exp(log_ratio - log_ratio.max())
    evidence = log_ratio.max() + math.log(ratio.sum() / count)
    error = math.sqrt(((ratio**2).sum() / count) / (ratio.sum() / count) ** 2 - 1) / math.sqrt(count)
    weights = ratio / ratio.sum()
    means = weights @ mean
    squares = (mean - means) ** 2 + variance
    sds = np.sqrt(weights @ squares)
    return {
        "log evidence": (evidence, error),
        "means": (means, np.sqrt(weights**2 @ (mean - means) ** 2)),
        "sds": (sds, np.sqrt(weights**2 @ (squares - sds**2) ** 2) / (2 * sds)),
    }


@pytest.mark.parametrize("data", CASES)
def test_the_output_layer_is_integrated_out(data):
    """log p(hidden layer, targets) at points of the prior, by the targets' dense covariance."""
    theta = np.random.default_rng(0).standard_normal((40, 2 * data.hidden))
    units = network.units(
        {"hidden_weights": theta[:, None, : data.hidden], "hidden_biases": theta[:, data.hidden :]},
        data.dataset.inputs,
        data.activation,
    )
    covariances = units @ units.transpose(0, 2, 1) / data.hidden + 1 + data.dataset.noise**2 * np.eye(units.shape[1])
    truth = [
        stats.multivariate_normal.logpdf(data.dataset.targets, cov=covariance) + stats.norm.logpdf(point).sum()
        for covariance, point in zip(covariances, theta, strict=True)
    ]
    assert Collapsed(data).log_joint(theta) == pytest.approx(truth, rel=1e-10)


def agree(data: BnnData, count: int, seed: int = 0) -> None:
    """The quadrature and importance sampling, within 4 of its standard errors."""
    posterior, estimate = exact(data), importance(data, count, seed)
    truth = {"log evidence": posterior.log_evidence, "means": posterior.mean()["f"], "sds": posterior.sd()["f"]}
    for name, (value, error) in estimate.items():
        assert np.all(np.abs(value - truth[name]) < 4 * error + posterior.tolerance), name


@pytest.mark.parametrize("data", SLOW_LAST)
def test_importance_sampling_finds_the_same(data):
    """The evidence to 0.01 nats, f's means to 1% of its sds and these to 1%, and all within 4 standard errors."""
    posterior, estimate = solved(data), importance(data, 150_000 if data.hidden == 2 else 60_000)
    assert posterior.tolerance < (1e-5 if data.activation == "tanh" or data.hidden == 1 else 3e-3)
    evidence, error = estimate["log evidence"]
    assert error < 0.004
    assert abs(evidence - posterior.log_evidence) < min(4 * error, 0.01)
    means, sds = posterior.mean()["f"], posterior.sd()["f"]
    assert np.all(np.abs(estimate["means"][0] - means) < np.minimum(4 * estimate["means"][1], 0.01 * sds))
    assert np.all(np.abs(estimate["sds"][0] - sds) < np.minimum(4 * estimate["sds"][1], 0.01 * sds))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(sine(2, noise=0.01), id="little noise"),
        pytest.param(sine(1, noise=5.0), id="much noise"),
        pytest.param(sine(1, scale=1000.0), id="large targets"),
        pytest.param(sine(1, rows=500), id="many rows"),
        pytest.param(sine(1, rows=2), id="two rows"),
        pytest.param(sine(1, "relu", noise=0.01), id="little noise, relu"),
    ],
)
def test_extreme_data_are_no_harder(data):
    assert exact(data).tolerance < 2e-3
    agree(data, 10_000)


@pytest.mark.parametrize(("data", "shorter"), [(CASES[0], 0.5), (CASES[1], 0.5), (CASES[2], 0.9)])
def test_shorter_steps_and_wider_edges_change_nothing_beyond_the_tolerance(data, shorter):
    posterior = solved(data.values[0])
    finer = copy.copy(posterior)
    finer.adopt(dataclasses.replace(posterior.rule, step=shorter * posterior.rule.step, drop=posterior.rule.drop + 2))
    assert abs(finer.log_evidence - posterior.log_evidence) < posterior.tolerance
    sds = posterior.sd()["f"]
    assert np.all(np.abs(finer.mean()["f"] - posterior.mean()["f"]) < posterior.tolerance * sds)
    assert np.all(np.abs(np.log(finer.sd()["f"] / sds)) < posterior.tolerance)


@pytest.mark.parametrize("data", SLOW_LAST)
def test_draws_have_the_marginals(data):
    """Of every weight and every value of f, by Kolmogorov and Smirnov's distance and the first two moments."""
    posterior, count = solved(data), 50_000
    draws = posterior.draw(np.random.default_rng(3), count)
    draws |= network.derive(data, draws)
    mean, sd = posterior.mean(), posterior.sd()
    for site, shape in {site: value.shape for site, value in mean.items()}.items():
        assert draws[site].shape == (count, *shape)
        for index in np.ndindex(shape):
            values = np.sort(draws[site][(slice(None), *index)])
            below = posterior.marginal(site, index).cdf(values)
            distance = np.abs(below - (np.arange(count) + 0.5) / count).max()
            assert distance < 2.3 / math.sqrt(count), (site, index)  # exceeded by chance once in 20,000
            squares = (values - mean[site][index]) ** 2
            assert abs(values.mean() - mean[site][index]) < 4.5 * sd[site][index] / math.sqrt(count), (site, index)
            assert abs(squares.mean() - sd[site][index] ** 2) < 4.5 * squares.std() / math.sqrt(count), (site, index)


def test_quantiles_and_densities_are_those_of_the_mixture():
    """Of f at every point of the grid, by the sum over all nodes."""
    posterior = solved(BnnData(hidden=2))
    for probability in (0.025, 0.5, 0.975):
        quantiles = posterior.quantile(probability)["f"]
        for point, quantile in enumerate(quantiles):
            [(mean, sd)] = posterior.components("f", (point,))
            assert posterior.weights @ special.ndtr((quantile - mean) / sd) == pytest.approx(probability, abs=1e-4)
            density = posterior.weights @ stats.norm.pdf(quantile, mean, sd)
            assert posterior.density("f", (point,), np.array([quantile])) == pytest.approx(density, rel=2e-3)


def test_the_output_layer_is_drawn_given_the_hidden_one():
    """Mean and covariance of 40,000 draws given one hidden layer; the noise may differ between draws."""
    data, count = BnnData(hidden=3, noise="unknown"), 40_000
    rng = np.random.default_rng(0)
    layer = {"hidden_weights": rng.standard_normal((1, 1, 3)), "hidden_biases": rng.standard_normal((1, 3))}
    features = np.column_stack(
        [network.units(layer, data.dataset.inputs, "tanh")[0], np.ones(len(data.dataset.inputs))]
    )
    latents = {site: np.repeat(value, count, axis=0) for site, value in layer.items()}
    latents["noise"] = np.where(np.arange(count) % 2, 0.3, 2.0)
    drawn = network.complete(data, latents, rng)
    assert set(drawn) == set(network.shapes(data))
    for odd, noise in enumerate((2.0, 0.3)):
        output = np.column_stack([drawn["output_weights"], drawn["output_bias"]])[odd::2]
        covariance = np.linalg.inv(np.diag([3, 3, 3, 1]) + features.T @ features / noise**2)
        mean = covariance @ features.T @ data.dataset.targets / noise**2
        whitened = np.linalg.solve(np.linalg.cholesky(covariance), (output - mean).T)
        assert np.abs(whitened.mean(axis=1)).max() < 4.5 / math.sqrt(count / 2)
        assert np.abs(np.cov(whitened) - np.eye(4)).max() < 4.5 * math.sqrt(2 / (count / 2))


def test_only_tiny_regressions_are_exact(tmp_path):
    two_inputs = tmp_path / "table.csv"
    two_inputs.write_text("a,b,y\n" + "\n".join(f"{i},{i * i % 7},{i % 5}" for i in range(20)))
    assert exact(BnnData(hidden=3)) is None
    assert exact(BnnData(hidden=1, noise="unknown")) is None
    assert exact(BnnData(data="moons", hidden=1)) is None
    assert exact(BnnData(data=str(two_inputs), target="y", noise=0.5, hidden=1)) is None


def test_what_is_not_known_well_enough_is_not_called_exact(monkeypatch):
    assert exact(sine(1, scale=1e9)) is None
    data = sine(1)
    assert exact(data).tolerance > 0
    for name, value in (("WORST", 0.0), ("WORK", 1000)):
        with monkeypatch.context() as patch:
            patch.setattr(quadrature, name, value)
            quadrature.solved.cache_clear()
            assert exact(data) is None
        quadrature.solved.cache_clear()


def test_found_once_for_each_content():
    """Two tables under the same name are two."""
    first, second = sine(1), sine(1, rows=42)
    assert first == second
    assert exact(first) is exact(first)
    assert exact(first).log_evidence != exact(second).log_evidence


def gaussian(dimension: int) -> tuple[Trapezoid, np.ndarray]:
    """The rule for a correlated Gaussian of mass 3, and its covariance."""
    factor = np.tril(np.random.default_rng(1).uniform(-1, 1, (dimension, dimension))) + np.eye(dimension)

    def log_density(points: np.ndarray) -> np.ndarray:
        whitened = np.linalg.solve(factor, points.T - 2)
        constant = dimension / 2 * math.log(2 * math.pi) + np.linalg.slogdet(factor)[1]
        return -0.5 * (whitened**2).sum(axis=0) - constant + math.log(3)

    principal = Lattice(np.full(dimension, 1.7), factor)
    return Trapezoid(log_density, principal, 0.6, np.full((1, dimension), 2.0), 24.0, 1e7), factor @ factor.T


@pytest.mark.parametrize("dimension", [2, 4])
def test_the_trapezoid_rule_of_a_gaussian(dimension):
    """The integral to what lies beyond 24 nats; the draws' mean and covariance within 4.5 standard errors."""
    rule, covariance = gaussian(dimension)
    assert rule.log_integrals == pytest.approx(math.log(3), abs=3e-9)
    assert rule.finer().step < rule.step
    draws = rule.draw(np.random.default_rng(0), 20_000)
    whitened = np.linalg.solve(np.linalg.cholesky(covariance), draws.T - 2)
    assert np.abs(whitened.mean(axis=1)).max() < 4.5 / math.sqrt(20_000)
    assert np.abs(np.cov(whitened) - np.eye(dimension)).max() < 4.5 * math.sqrt(2 / 20_000)
    indices, values = rule.grown[0]
    fitted = rule.lattices[0].fitted(indices, values)
    assert fitted.origin == pytest.approx(np.full(dimension, 2.0), abs=1e-6)


def test_a_lattice_that_is_too_fine_is_refused():
    rule, _ = gaussian(2)
    with pytest.raises(TooManyPoints, match="more than 100 points"):
        dataclasses.replace(rule, limit=100).log_integrals  # noqa: B018
    assert dataclasses.replace(rule, limit=2000).finer() is None


def test_the_table_of_a_marginal():
    """Of Gaussians whose sds differ a hundredfold."""
    rng = np.random.default_rng(2)
    means, sds, weights = rng.normal(0, 2, 3000), np.exp(rng.uniform(-3, 1.5, 3000)), rng.dirichlet(np.ones(3000))
    marginal, values = TabulatedMixture(means, sds, weights), np.linspace(-8, 8, 101)
    apart = (values[:, None] - means) / sds
    assert marginal.cdf(values) == pytest.approx(special.ndtr(apart) @ weights, abs=5e-5)
    assert marginal.pdf(values) == pytest.approx((stats.norm.pdf(apart) / sds) @ weights, abs=1e-3)
    assert marginal.cdf(np.array([marginal.ppf(0.3)])) == pytest.approx(0.3, abs=1e-9)
