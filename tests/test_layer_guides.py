"""The families made for layers, matrix normal and hypernetwork: against closed forms, and in both libraries."""

from __future__ import annotations

import importlib
import math
import sys
import types

import numpy as np
import pytest
from conftest import IN_PYRO, side
from scipy import optimize, stats
from scipy.linalg import block_diag
from targets import gaussian

import guides
from compare.fit.svi.draws import matched
from compare.fit.svi.svi import optimise
from compare.options import Options
from guides import hypernetwork, matrix_normal
from guides.contract import Curvature
from models.chain import Chain
from models.chain.exact import GaussianChain

SHAPES = [(2, 3), (1, 1), (4, 1), (1, 3)]
"""Sites as rows and columns: a matrix, a scalar, a vector, and a matrix with one row."""

DIMENSION = sum(rows * columns for rows, columns in SHAPES)


def triangle(size: int, rng: np.random.Generator) -> np.ndarray:
    """A random lower factor."""
    return np.tril(0.5 * rng.normal(size=(size, size)), -1) + np.diag(0.5 + rng.random(size))


def spd(size: int, rng: np.random.Generator) -> np.ndarray:
    root = rng.normal(size=(size, size))
    return root @ root.T + np.eye(size)


def factors(rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """Row and column factors of each site; a single column has the factor 1."""
    return [
        (triangle(rows, rng), triangle(columns, rng) if columns > 1 else np.ones((1, 1))) for rows, columns in SHAPES
    ]


def by_site(location: np.ndarray, pairs: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    """The family's parameters."""
    rows = {f"rows_{number}": a for number, (a, _) in enumerate(pairs)}
    return {"location": location} | rows | {f"columns_{n}": b for n, (_, b) in enumerate(pairs) if len(b) > 1}


def covariance(parameters: dict[str, np.ndarray]) -> np.ndarray:
    """The dense covariance of a matrix normal guide."""
    count = sum(name.startswith("rows") for name in parameters)
    identity = np.ones((1, 1))
    roots = [np.kron(parameters[f"rows_{site}"], parameters.get(f"columns_{site}", identity)) for site in range(count)]
    return block_diag(*(root @ root.T for root in roots))


def kl(location: np.ndarray, sigma: np.ndarray, mean: np.ndarray, precision: np.ndarray) -> float:
    """KL(N(location, spread), N(mean, precision^-1)) in nats."""
    shift = location - mean
    log_dets = np.linalg.slogdet(sigma)[1] + np.linalg.slogdet(precision)[1]
    return 0.5 * (np.sum(precision * sigma) + shift @ precision @ shift - len(shift) - log_dets)


def slope(function, x: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """The gradient, or the columns of the derivative, by central differences."""
    return np.stack([(function(x + h) - function(x - h)) / (2 * step) for h in step * np.eye(x.size)], axis=-1)


class InNumpyro:
    def __init__(self):
        pytest.importorskip("numpyro").enable_x64()
        import jax
        import jax.numpy as jnp

        from guides.matrix_normal.in_numpyro import MatrixNormals

        self.array, self.kind, self.once = jnp.asarray, MatrixNormals, jax.jit

    def draw(self, q, count):
        import jax

        return q.sample(jax.random.key(0), (count,))


class InPyro:
    def __init__(self):
        pytest.importorskip("pyro")
        import torch

        from guides.matrix_normal.in_pyro import MatrixNormals

        self.torch, self.kind = torch, MatrixNormals

    def array(self, value):
        return self.torch.as_tensor(np.asarray(value, dtype=np.float64))

    def once(self, function):
        return function

    def draw(self, q, count):
        self.torch.manual_seed(0)
        return q.rsample((count,))


@pytest.fixture(params=[InNumpyro, InPyro], ids=["numpyro", "pyro"])
def distributions(request):
    return request.param()


def test_the_distribution_against_scipy(distributions):
    rng = np.random.default_rng(0)
    location, pairs = rng.normal(size=DIMENSION), factors(rng)
    make = distributions.array
    q = distributions.kind(make(location), [make(a) for a, _ in pairs], [make(b) for _, b in pairs])
    sigma = covariance(by_site(location, pairs))
    basis = np.asarray(q.from_base(make(np.eye(DIMENSION + 1)[:, :-1]))) - location
    np.testing.assert_allclose(basis.T @ basis, sigma, atol=1e-12)
    np.testing.assert_allclose(basis[-1], 0, atol=1e-12)
    np.testing.assert_allclose(np.asarray(q.variance), np.diag(sigma), rtol=1e-12)
    z = location + rng.normal(size=(5, 2, DIMENSION))
    expected, begin = 0.0, 0
    for (a, b), (rows, columns) in zip(pairs, SHAPES, strict=True):
        piece = np.s_[begin : begin + rows * columns]
        mean = location[piece].reshape(rows, columns)
        law = stats.matrix_normal(mean, a @ a.T, b @ b.T)
        expected = expected + law.logpdf(z[..., piece].reshape(5, 2, rows, columns))
        begin += rows * columns
    log_prob = distributions.once(lambda q, z: q.log_prob(z))
    np.testing.assert_allclose(np.asarray(log_prob(q, make(z))), expected, rtol=1e-11)
    wide = q.expand((5, 2))
    assert tuple(wide.batch_shape) == (5, 2) and tuple(wide.event_shape) == (DIMENSION,)
    np.testing.assert_allclose(np.asarray(log_prob(wide, make(z))), expected, rtol=1e-11)
    draws = np.asarray(distributions.draw(q, 20_000)) - location
    products = draws[:, :, None] * draws[:, None, :]
    error = products.std(axis=0) / math.sqrt(len(draws))
    assert (np.abs(products.mean(axis=0) - sigma) < 5 * error).all()
    assert (np.abs(draws.mean(axis=0)) < 5 * np.sqrt(np.diag(sigma) / len(draws))).all()


def random_coordinates(rng: np.random.Generator) -> matrix_normal.Coordinates:
    """Around a precision without any structure."""
    precision = spd(DIMENSION, rng)
    shapes = {name: value.shape for name, value in by_site(np.zeros(DIMENSION), factors(rng)).items()}
    mode = rng.normal(size=DIMENSION)
    curvature = Curvature(mode, np.linalg.cholesky(precision), np.diag(precision), shapes)
    return matrix_normal.Coordinates(curvature)


def test_matrix_normal_pullback_and_locate():
    rng = np.random.default_rng(1)
    coordinates = random_coordinates(rng)
    assert coordinates.size == DIMENSION + (3 + 5) + 1 + 10 + (1 + 5)
    x = 0.5 * rng.normal(size=coordinates.size)
    here = coordinates.parameters(x)
    np.testing.assert_allclose(coordinates.locate(here), x, atol=1e-10)
    moved = here | {"rows_0": 3 * here["rows_0"], "columns_0": here["columns_0"] / 3}
    np.testing.assert_allclose(coordinates.locate(moved), x, atol=1e-10)
    assert np.linalg.det(here["columns_0"]) == pytest.approx(1, rel=1e-12)
    weights = {name: rng.normal(size=np.shape(value)) for name, value in here.items()}

    def loss(x):
        return sum(np.sum(weights[name] * np.sin(value)) for name, value in coordinates.parameters(x).items())

    gradient = {name: weights[name] * np.cos(value) for name, value in here.items()}
    np.testing.assert_allclose(coordinates.pullback(x, gradient), slope(loss, x), atol=1e-7)


def test_minus_elbo_bends_like_the_identity_where_the_posterior_is_a_matrix_normal():
    rng = np.random.default_rng(2)
    location, pairs = rng.normal(size=DIMENSION), factors(rng)
    parameters = by_site(location, pairs)
    precision = np.linalg.inv(covariance(parameters))
    shapes = {name: value.shape for name, value in parameters.items()}
    curvature = Curvature(location, np.linalg.cholesky(precision), np.diag(precision), shapes)
    coordinates = matrix_normal.Coordinates(curvature)

    def loss(x):
        here = coordinates.parameters(x)
        return kl(here["location"], covariance(here), location, precision)

    start = np.zeros(coordinates.size)
    assert abs(loss(start)) < 1e-9
    hessian = slope(lambda x: slope(loss, x, 1e-4), start, 1e-4)
    np.testing.assert_allclose(hessian, np.eye(coordinates.size), atol=1e-5)


def test_the_start_is_the_best_member_against_any_gaussian():
    """Nothing that the optimiser finds in the family is closer to the Laplace approximation than x = 0."""
    coordinates = random_coordinates(np.random.default_rng(3))
    curvature = coordinates.curvature
    precision = curvature.factor @ curvature.factor.T

    def loss(x):
        here = coordinates.parameters(x)
        return kl(here["location"], covariance(here), curvature.location, precision)

    start = np.zeros(coordinates.size)
    assert np.abs(slope(loss, start)).max() < 2e-4  # flip-flop stops when a sweep gains less than 1e-10 nats
    assert loss(start) - optimize.minimize(loss, start).fun < 1e-7
    here = coordinates.parameters(start)
    block = np.linalg.inv(precision[7:11, 7:11])  # a vector has the covariance that its precision's block says
    np.testing.assert_allclose(here["rows_2"] @ here["rows_2"].T, block, rtol=1e-6, atol=1e-9)


def test_blocks_of_the_precision_and_steps_back():
    rng = np.random.default_rng(4)
    packed = np.stack([0.5 + rng.random(6), np.append(rng.normal(size=5), 0.0)])
    factor = np.diag(packed[0]) + np.diag(packed[1, :-1], -1)
    dense = factor @ factor.T
    for curvature in (
        Curvature(np.zeros(6), packed, np.diag(dense)),
        Curvature(np.zeros(6), factor, np.diag(dense)),
    ):
        for begin, end in ((0, 1), (0, 6), (1, 4), (5, 6)):
            np.testing.assert_allclose(curvature.precision(begin, end), dense[begin:end, begin:end], atol=1e-12)
        step = rng.normal(size=6)
        np.testing.assert_allclose(curvature.discolour(curvature.colour(step)), step, atol=1e-10)


LAYERS = """
def model(x, y, spread, root):
    w = ppl.sample("weights", dist.MultivariateNormal(xp.zeros(3), scale_tril=spread).expand([2]).to_event(1))
    level = ppl.sample("level", dist.Normal(0.0, 1.0))
    ppl.sample("bias", dist.MultivariateNormal(level * xp.ones(2), scale_tril=root))
    ppl.sample("y", dist.MultivariateNormal(x @ w, scale_tril=spread).to_event(1), obs=y)
"""
"""Regression with a matrix of weights, prior and noise correlated alike, so that its posterior is a matrix normal;
beside it a scalar and a vector that depend on each other. The order of the sites is not that of the alphabet."""


def twin(library: str, body: str):
    """A twin's file made of source that both libraries understand."""
    head = {
        "numpyro": "import numpyro as ppl, numpyro.distributions as dist, jax.numpy as xp\n",
        "pyro": "import pyro as ppl, pyro.distributions as dist, torch as xp\n",
    }
    module = types.ModuleType(f"layers_{library}")
    sys.modules[module.__name__] = module
    exec(head[library] + body, module.__dict__)
    return module


def layers() -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, float]:
    """The data, the posterior's mean and precision in the order of the sites, and the log evidence."""
    rng = np.random.default_rng(5)
    x, sigma, root = rng.normal(size=(7, 2)), triangle(3, rng), triangle(2, rng)
    y = x @ rng.normal(size=(2, 3)) + rng.normal(size=(7, 3)) @ sigma.T
    rows = x.T @ x + np.eye(2)
    weights = np.linalg.solve(rows, x.T @ y)
    noise, ones = np.linalg.inv(root @ root.T), np.ones(2)
    beside = np.block([[1 + ones @ noise @ ones, -(ones @ noise)[None]], [-(noise @ ones)[:, None], noise]])
    precision = block_diag(np.kron(rows, np.linalg.inv(sigma @ sigma.T)), beside)
    evidence = stats.matrix_normal(np.zeros((7, 3)), x @ x.T + np.eye(7), sigma @ sigma.T).logpdf(y)
    return (
        {"x": x, "y": y, "spread": sigma, "root": root},
        np.append(weights.ravel(), np.zeros(3)),
        precision,
        float(evidence),
    )


def objective_of(library: str, module, family: str, arguments: dict[str, np.ndarray]):
    data, static = side(library).split_arguments(arguments)
    return side(library).Objective(module, family, static, data), data


def exact_elbo(objective, parameters: dict[str, np.ndarray], data) -> float:
    """The ELBO of a Gaussian guide against a Gaussian posterior: draws with the right moments have no error."""
    draws = matched(np.random.default_rng(0), 256, objective.dimension)
    return float(objective.evaluate(parameters, draws, data).log_ratio.mean())


def test_matrix_normal_reaches_its_best_elbo(library):
    """The evidence less what independent sites cost, which is known; the weights' posterior is in the family."""
    arguments, mean, precision, evidence = layers()
    objective, data = objective_of(library, twin(library, LAYERS), "matrix_normal", arguments)
    start = objective.start(0, data)
    assert {name: value.shape for name, value in start.items()} == {
        "location": (9,), "rows_0": (2, 2), "columns_0": (3, 3), "rows_1": (1, 1), "rows_2": (2, 2),
    }  # fmt: skip
    np.testing.assert_allclose(covariance(start), 0.01 * np.eye(9), atol=1e-12)
    outcome = optimise(objective, data, matrix_normal.FAMILY, Options(), 0)
    assert outcome.converged
    log_dets = [np.linalg.slogdet(block)[1] for block in (precision[6:7, 6:7], precision[7:, 7:], precision[6:, 6:])]
    cost = 0.5 * (log_dets[0] + log_dets[1] - log_dets[2])
    assert cost > 0.05
    q = outcome.parameters
    assert kl(q["location"], covariance(q), mean, precision) == pytest.approx(cost, abs=1e-7)
    assert exact_elbo(objective, q, data) == pytest.approx(evidence - cost, abs=1e-7)


def test_any_parameters_mean_the_same_in_both_libraries(library):
    """log p - log q at given draws, against SciPy, far from the optimum and from the start."""
    arguments, mean, precision, evidence = layers()
    objective, data = objective_of(library, twin(library, LAYERS), "matrix_normal", arguments)
    objective.start(0, data)
    rng = np.random.default_rng(6)
    pairs = [(triangle(2, rng), triangle(3, rng)), (triangle(1, rng), np.ones((1, 1))), (triangle(2, rng), np.eye(1))]
    parameters = by_site(rng.normal(size=9), pairs)
    eps = rng.normal(size=(4, 9))
    evaluation = objective.evaluate(parameters, eps, data)
    roots = block_diag(*(np.kron(a, b) for a, b in pairs))
    z = parameters["location"] + eps @ roots.T
    np.testing.assert_allclose(evaluation.latents["weights"], z[:, :6].reshape(4, 2, 3), atol=1e-12)
    np.testing.assert_allclose(evaluation.latents["level"], z[:, 6], atol=1e-12)
    np.testing.assert_allclose(evaluation.latents["bias"], z[:, 7:], atol=1e-12)
    log_guide = stats.multivariate_normal(parameters["location"], roots @ roots.T).logpdf(z)
    log_posterior = stats.multivariate_normal(mean, np.linalg.inv(precision)).logpdf(z)
    np.testing.assert_allclose(evaluation.log_ratio, log_posterior + evidence - log_guide, rtol=1e-10)


def test_a_vector_has_any_covariance(library):
    """On a chain, one vector, the family is full rank: it reaches the evidence."""
    data = Chain(6, 0.7, "all")
    arguments, static = side(library).split_arguments(data.arguments())
    objective = side(library).prepare("chain", "matrix_normal", static, arguments)
    outcome = optimise(objective, arguments, matrix_normal.FAMILY, Options(), 0)
    assert outcome.converged
    assert exact_elbo(objective, outcome.parameters, arguments) == pytest.approx(
        GaussianChain(data).log_evidence, abs=1e-7
    )


DEEP = """
def model():
    ppl.sample("filter", dist.Normal(xp.ones((2, 3, 4)), 1.0).to_event(3))
    ppl.sample("scale", dist.HalfNormal(1.0))
"""


def as_a_user_has_it(library: str, family: str, body: str):
    """The start, the median, the 10% and 90% quantiles and five draws of the guide, by the library's own means."""
    guide = guides.implementation(family, library).guide(twin(library, body))
    if library == "numpyro":
        import jax
        import numpyro
        from numpyro.infer import SVI, Trace_ELBO

        numpyro.enable_x64()
        svi = SVI(guide.model, guide, numpyro.optim.Adam(0.01), Trace_ELBO(num_particles=2))

        @jax.jit
        def use(key):
            state, loss = svi.update(svi.init(key))
            params = svi.get_params(state)
            draws = guide.sample_posterior(key, params, sample_shape=(5,))
            return loss, guide.median(params), guide.quantiles(params, [0.1, 0.9]), draws, params

        return use(jax.random.key(0))
    import pyro
    from pyro.infer import SVI, Predictive, Trace_ELBO

    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    loss = SVI(guide.model, guide, pyro.optim.Adam({"lr": 0.01}), Trace_ELBO(num_particles=2)).step()
    draws = Predictive(guide.model, guide=guide, num_samples=5)()
    params = {name.rpartition(".")[2]: value.detach() for name, value in pyro.get_param_store().items()}
    return loss, guide.median(), guide.quantiles([0.1, 0.9]), draws, params


@pytest.mark.parametrize("family", ["matrix_normal", "hypernetwork"])
def test_the_autoguide_in_the_hands_of_a_user(library, family):
    side(library)  # float64
    loss, median, quantiles, draws, params = as_a_user_has_it(library, family, DEEP)
    assert np.isfinite(float(loss))
    for site, shape in (("filter", (2, 3, 4)), ("scale", ())):
        assert np.shape(median[site]) == shape and np.shape(draws[site]) == (5, *shape)
        low, high = np.asarray(quantiles[site])
        assert (low < np.asarray(median[site])).all() and (np.asarray(median[site]) < high).all()
    assert (np.asarray(draws["scale"]) > 0).all()
    parameters = guides.implementation(family, library).sites.to_parameters(params)
    shapes = {name: tuple(value.shape) for name, value in parameters.items()}
    if family == "matrix_normal":
        assert shapes == {"location": (25,), "rows_0": (6, 6), "columns_0": (4, 4), "rows_1": (1, 1)}
    else:
        units, size = hypernetwork.HIDDEN, hypernetwork.EMBEDDING
        assert shapes == {
            "embeddings": (25, size), "hidden_weights": (size, units), "hidden_biases": (units,),
            "output_weights": (units, 2), "output_biases": (2,),
        }  # fmt: skip


@pytest.mark.parametrize(
    ("family", "name"), [("matrix_normal", "AutoMatrixNormal"), ("hypernetwork", "AutoHypernetwork")]
)
def test_a_scale_that_is_none_is_refused(library, family, name):
    side(library)
    with pytest.raises(ValueError, match="init_scale > 0"):
        getattr(importlib.import_module(f"guides.{family}.in_{library}"), name)(lambda: None, init_scale=0.0)


def network(rng: np.random.Generator, latents: int = 7) -> dict[str, np.ndarray]:
    """A hypernetwork's parameters."""
    size, units = hypernetwork.EMBEDDING, hypernetwork.HIDDEN
    return {
        "embeddings": rng.normal(size=(latents, size)),
        "hidden_weights": rng.normal(size=(size, units)) / 2,
        "hidden_biases": 0.1 * rng.normal(size=units),
        "output_weights": rng.normal(size=(units, 2)) / 4,
        "output_biases": np.array([0.3, -1.0]),
    }


def test_the_coordinates_of_the_hypernetwork():
    """x moves the outputs in a straight line, gradients come back, and the network that is found makes the outputs."""
    rng = np.random.default_rng(7)
    start = network(rng)
    coordinates = hypernetwork.OutputCoordinates(start)
    begin = hypernetwork.outputs(start)
    x = rng.normal(size=coordinates.size)
    here = coordinates.parameters(x)
    mean, log_scale = hypernetwork.outputs(here)
    np.testing.assert_allclose(mean, begin[0] + np.exp(begin[1]) * x[:7], atol=1e-9)
    np.testing.assert_allclose(log_scale, begin[1] + x[7:] / math.sqrt(2), atol=1e-9)
    np.testing.assert_allclose(coordinates.locate(here), x, atol=1e-9)
    weights = rng.normal(size=begin.shape)

    def loss(parameters):
        return np.sum(weights * np.sin(hypernetwork.outputs(parameters)))

    def along(name):
        return lambda flat: loss(here | {name: flat.reshape(here[name].shape)})

    gradient = {name: slope(along(name), value.ravel()).reshape(value.shape) for name, value in here.items()}
    numeric = slope(lambda x: loss(coordinates.parameters(x)), x)
    np.testing.assert_allclose(coordinates.pullback(x, gradient), numeric, atol=1e-6)
    hessian = spd(coordinates.size, rng)
    white = coordinates.whitened(x, hessian)
    np.testing.assert_allclose(
        white.transform.T
        @ np.linalg.inv(coordinates.transform).T
        @ hessian
        @ np.linalg.inv(coordinates.transform)
        @ white.transform,
        np.eye(coordinates.size),
        atol=1e-9,
    )
    np.testing.assert_allclose(hypernetwork.outputs(white.parameters(np.zeros(coordinates.size))), [mean, log_scale])
    assert coordinates.whitened(x, None).transform is coordinates.transform


def test_outputs_that_no_network_makes_are_not_numbers():
    """Units at their ends move by no embedding: 20 latents' means are then more than the output layer can set."""
    start = network(np.random.default_rng(8), latents=20)
    start["hidden_weights"] *= 1e4
    target = hypernetwork.outputs(start) + 1.0 * np.arange(20)
    assert np.isnan(hypernetwork.follow(start, target)["embeddings"]).all()


def test_the_hypernetwork_is_the_factorised_gaussian_that_its_network_says(library):
    """log p - log q at given draws, against SciPy; sites whose order is not that of the alphabet."""
    arguments, mean, precision, evidence = layers()
    objective, data = objective_of(library, twin(library, LAYERS), "hypernetwork", arguments)
    start = objective.start(0, data)
    location, log_scale = hypernetwork.outputs(start)
    assert len(np.unique(location.round(6))) == 9
    assert 0.1 < np.std(location) < 3 and (np.abs(log_scale - math.log(0.1)) < 3).all()
    assert not np.allclose(objective.start(1, data)["embeddings"], start["embeddings"])
    parameters = network(np.random.default_rng(10), latents=9)
    location, log_scale = hypernetwork.outputs(parameters)
    eps = np.random.default_rng(11).normal(size=(4, 9))
    evaluation = objective.evaluate(parameters, eps, data)
    z = location + np.exp(log_scale) * eps
    np.testing.assert_allclose(evaluation.latents["weights"], z[:, :6].reshape(4, 2, 3), atol=1e-12)
    np.testing.assert_allclose(evaluation.latents["bias"], z[:, 7:], atol=1e-12)
    log_guide = stats.norm.logpdf(z, location, np.exp(log_scale)).sum(axis=1)
    log_posterior = stats.multivariate_normal(mean, np.linalg.inv(precision)).logpdf(z)
    np.testing.assert_allclose(evaluation.log_ratio, log_posterior + evidence - log_guide, rtol=1e-10)


@pytest.mark.parametrize("correlated", [False, True])
def test_the_hypernetwork_reaches_the_best_factorised_gaussian(library, correlated):
    """Its evidence of 0 where the target is factorised; else mean field's best, (sum log P_ii - log |P|) / 2 below."""
    rng = np.random.default_rng(12)
    root = triangle(6, rng) if correlated else np.diag(np.geomspace(0.05, 3, 6))
    target = {"location": rng.normal(size=6), "scale_tril": root}
    module = importlib.import_module(f"targets.gaussian_{library}")
    objective, data = objective_of(library, module, "hypernetwork", target)
    precision = np.linalg.inv(root @ root.T)
    best = 0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])
    assert (best > 0.2) == correlated
    for seed in range(3):
        outcome = optimise(objective, data, hypernetwork.FAMILY, Options(), seed)
        assert outcome.converged
        location, log_scale = hypernetwork.outputs(outcome.parameters)
        distance = kl(location, np.diag(np.exp(2 * log_scale)), target["location"], precision)
        assert distance == pytest.approx(best, abs=0.01)
        assert distance > best - 1e-9
        assert abs(outcome.gap.value - (distance - best)) <= 4 * outcome.gap.mcse + 1e-9
        assert exact_elbo(objective, outcome.parameters, data) == pytest.approx(-distance, abs=1e-8)


@pytest.mark.parametrize("library", IN_PYRO)
def test_a_hard_target(library):
    """50 dimensions, condition 10,000: one vector, so both families' best members are known."""
    target = gaussian()
    precision = np.linalg.inv(target["scale_tril"] @ target["scale_tril"].T)
    module = importlib.import_module(f"targets.gaussian_{library}")
    objective, data = objective_of(library, module, "matrix_normal", target)
    outcome = optimise(objective, data, matrix_normal.FAMILY, Options(), 0)
    q = outcome.parameters
    assert outcome.converged
    assert kl(q["location"], covariance(q), target["location"], precision) < 1e-5
