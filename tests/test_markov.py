"""The Markov family: its coordinates, and its distribution and autoguide in both libraries."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from guides.contract import Curvature
from guides.markov import Coordinates
from models import banded
from models.chain import Chain
from models.chain.exact import GaussianChain


def chain(n, rng):
    """A random chain's location, diagonal and off-diagonal, and the dense factor B."""
    diagonal, off = 0.5 + rng.random(n), rng.normal(size=n - 1)
    return rng.normal(size=n), diagonal, off, np.diag(diagonal) + np.diag(off, -1)


def random_curvature(n, dense, rng):
    location, diagonal, off, factor = chain(n, rng)
    packed = np.zeros((2, n))
    packed[0], packed[1, :-1] = diagonal, off
    return Curvature(location, factor if dense else packed, np.diag(factor @ factor.T))


def negative_elbo(parameters, location, precision):
    """KL(q, N(location, precision^-1)) in nats, dense."""
    factor = np.diag(parameters["diagonal"]) + np.diag(parameters["off_diagonal"], -1)
    root = np.linalg.inv(factor)
    shift = parameters["location"] - location
    trace = np.trace(precision @ root.T @ root)
    log_dets = 2 * np.log(parameters["diagonal"]).sum() - np.linalg.slogdet(precision)[1]
    return 0.5 * (trace + shift @ precision @ shift - len(shift) + log_dets)


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_banded_routines_against_dense(n):
    rng = np.random.default_rng(n)
    _, diagonal, off, factor = chain(n, rng)
    y = rng.normal(size=(3, 2, n))
    np.testing.assert_allclose(banded.multiply(diagonal, off, y), y @ factor.T, atol=1e-12)
    np.testing.assert_allclose(banded.multiply(diagonal, off, y, transposed=True), y @ factor, atol=1e-12)
    np.testing.assert_allclose(banded.solve(diagonal, off, banded.multiply(diagonal, off, y)), y, atol=1e-10)
    there = banded.multiply(diagonal, off, y, transposed=True)
    np.testing.assert_allclose(banded.solve(diagonal, off, there, transposed=True), y, atol=1e-10)
    covariance = np.linalg.inv(factor @ factor.T)
    variance, neighbours = banded.inverse_bands(diagonal, off)
    np.testing.assert_allclose(variance, np.diag(covariance), rtol=1e-10)
    np.testing.assert_allclose(neighbours, np.diag(covariance, 1), rtol=1e-9, atol=1e-12)


def test_a_factor_without_inverse_is_refused():
    with pytest.raises(ArithmeticError, match="no inverse"):
        banded.solve(np.array([1.0, 0.0]), np.array([1.0]), np.ones(2))


@pytest.mark.parametrize(("n", "dense"), [(1, True), (1, False), (2, True), (3, True), (3, False), (6, False)])
def test_minus_elbo_bends_like_the_identity_at_the_start(n, dense):
    curvature = random_curvature(n, dense, np.random.default_rng(n))
    coordinates = Coordinates(curvature)
    full = curvature.colour(np.eye(n))
    precision = np.linalg.inv(full @ full.T) if dense else None
    if not dense:
        factor = np.diag(curvature.factor[0]) + np.diag(curvature.factor[1, :-1], -1)
        precision = factor @ factor.T

    def loss(x):
        return negative_elbo(coordinates.parameters(x), curvature.location, precision)

    size, step = coordinates.size, 1e-4
    assert size == 3 * n - 1
    assert abs(loss(np.zeros(size))) < 1e-9
    hessian = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            a, b = step * np.eye(size)[i], step * np.eye(size)[j]
            hessian[i, j] = (loss(a + b) - loss(a - b) - loss(b - a) + loss(-a - b)) / (4 * step**2)
    np.testing.assert_allclose(hessian, np.eye(size), atol=1e-5)


@pytest.mark.parametrize(("n", "dense"), [(1, True), (1, False), (2, True), (5, True), (5, False)])
def test_pullback_and_locate(n, dense):
    rng = np.random.default_rng(n)
    curvature = random_curvature(n, dense, rng)
    coordinates = Coordinates(curvature)
    x = 0.5 * rng.normal(size=coordinates.size)
    np.testing.assert_allclose(coordinates.locate(coordinates.parameters(x)), x, atol=1e-10)
    weights = {name: rng.normal(size=np.shape(value)) for name, value in coordinates.parameters(x).items()}

    def loss(x):
        return sum(np.sum(weights[name] * np.sin(value)) for name, value in coordinates.parameters(x).items())

    slopes = {name: weights[name] * np.cos(value) for name, value in coordinates.parameters(x).items()}
    numeric = [(loss(x + h) - loss(x - h)) / 2e-6 for h in 1e-6 * np.eye(coordinates.size)]
    np.testing.assert_allclose(coordinates.pullback(x, slopes), numeric, atol=1e-7)


def test_a_dense_curvature_starts_at_the_markov_chain_with_its_neighbours_covariances():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(5, 5))
    precision = root @ root.T + np.eye(5)
    curvature = Curvature(np.zeros(5), np.linalg.cholesky(precision), np.diag(precision))
    start = Coordinates(curvature).parameters(np.zeros(14))
    covariance = np.linalg.inv(precision)
    variance, neighbours = banded.inverse_bands(start["diagonal"], start["off_diagonal"])
    np.testing.assert_allclose(variance, np.diag(covariance), rtol=1e-10)
    np.testing.assert_allclose(neighbours, np.diag(covariance, 1), rtol=1e-9)


class InNumpyro:
    def __init__(self):
        numpyro = pytest.importorskip("numpyro")
        numpyro.enable_x64()
        import jax
        import jax.numpy as jnp

        from guides.markov.in_numpyro import MarkovNormal

        self.jax, self.array, self.kind = jax, jnp.asarray, MarkovNormal

    def distribution(self, *parameters):
        return self.kind(*map(self.array, parameters))

    def gradients(self, loss, *parameters):
        return self.jax.grad(lambda parts: loss(self.kind(*parts)))(tuple(map(self.array, parameters)))

    def second(self, loss, direction, *parameters):
        """The gradient's derivative along ``direction``."""
        parts, step = tuple(map(self.array, parameters)), tuple(map(self.array, direction))
        return self.jax.jvp(self.jax.grad(lambda parts: loss(self.kind(*parts))), (parts,), (step,))[1]


class InPyro:
    def __init__(self):
        pytest.importorskip("pyro")
        import torch

        from guides.markov.in_pyro import MarkovNormal

        self.torch, self.kind = torch, MarkovNormal

    def array(self, value):
        return self.torch.as_tensor(np.asarray(value, dtype=np.float64))

    def distribution(self, *parameters):
        return self.kind(*map(self.array, parameters))

    def gradients(self, loss, *parameters):
        parts = [self.array(value).clone().requires_grad_() for value in parameters]
        return self.torch.autograd.grad(loss(self.kind(*parts)), parts)

    def second(self, loss, direction, *parameters):
        parts = [self.array(value).clone().requires_grad_() for value in parameters]
        first = self.torch.autograd.grad(loss(self.kind(*parts)), parts, create_graph=True)
        along = sum((g * self.array(d)).sum() for g, d in zip(first, direction, strict=True))
        return self.torch.autograd.grad(along, parts)


@pytest.fixture(params=[InNumpyro, InPyro], ids=["numpyro", "pyro"])
def library(request):
    return request.param()


@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_distribution_against_dense(library, n):
    rng = np.random.default_rng(n)
    location, diagonal, off, factor = chain(n, rng)
    q = library.distribution(location, diagonal, off)
    eps = rng.normal(size=(4, 3, n))
    z = np.asarray(q.from_base(library.array(eps)))
    np.testing.assert_allclose((z - location) @ factor, eps, atol=1e-10)
    covariance = np.linalg.inv(factor @ factor.T)
    dense = multivariate_normal(location, covariance)
    np.testing.assert_allclose(
        np.asarray(q.log_prob(library.array(z))), np.reshape(dense.logpdf(z), (4, 3)), rtol=1e-10
    )
    np.testing.assert_allclose(np.asarray(q.variance), np.diag(covariance), rtol=1e-10)
    wide = q.expand((4, 3))
    assert tuple(wide.batch_shape) == (4, 3) and tuple(wide.event_shape) == (n,)
    np.testing.assert_allclose(np.asarray(wide.log_prob(library.array(z))), np.asarray(q.log_prob(library.array(z))))


@pytest.mark.parametrize("n", [1, 4])
def test_gradients_and_their_derivatives_by_finite_differences(library, n):
    rng = np.random.default_rng(n)
    location, diagonal, off, _ = chain(n, rng)
    eps, at = library.array(rng.normal(size=(3, n))), library.array(rng.normal(size=(2, n)))

    def loss(q):
        return (q.from_base(eps) ** 3).sum() + (q.log_prob(at) ** 2).sum()

    parameters = [location, diagonal, off]
    direction = [rng.normal(size=value.shape) for value in parameters]

    def moved(step):
        return [value + step * way for value, way in zip(parameters, direction, strict=True)]

    gradients = [np.asarray(part) for part in library.gradients(loss, *parameters)]
    slope = sum(np.sum(part * way) for part, way in zip(gradients, direction, strict=True))
    values = [float(loss(library.distribution(*moved(step)))) for step in (1e-6, -1e-6)]
    np.testing.assert_allclose(slope, (values[0] - values[1]) / 2e-6, rtol=1e-6)
    ahead, behind = (library.gradients(loss, *moved(step)) for step in (1e-5, -1e-5))
    for second, a, b in zip(library.second(loss, direction, *parameters), ahead, behind, strict=True):
        numeric = (np.asarray(a) - np.asarray(b)) / 2e-5
        near = 1e-5 * np.abs(numeric).max(initial=1)
        np.testing.assert_allclose(np.asarray(second), numeric, rtol=1e-5, atol=near)


def test_a_long_chain_is_stable(library):
    data = Chain(100_000)
    exact = GaussianChain(data)
    q = library.distribution(exact.location, exact.diagonal, exact.off_diagonal)
    eps = np.random.default_rng(0).normal(size=(2, data.length))
    z = np.asarray(q.from_base(library.array(eps)))
    np.testing.assert_allclose(np.asarray(q.variance), exact.variance, rtol=1e-11)
    np.testing.assert_allclose(np.asarray(q.log_prob(library.array(z))), exact.log_posterior({"z": z}), atol=1e-7)


@pytest.mark.parametrize("length", [4])
def test_autoguide_in_numpyro(length):
    numpyro = pytest.importorskip("numpyro")
    numpyro.enable_x64()
    import jax
    from numpyro.infer import SVI, Trace_ELBO

    from guides.markov import in_numpyro as family
    from models.chain import in_numpyro as twin

    data = Chain(length, 0.7, "all")
    exact = GaussianChain(data)
    guide = family.guide(twin)
    svi = SVI(twin.model, guide, numpyro.optim.Adam(0.01), Trace_ELBO(num_particles=3))
    state = svi.init(jax.random.key(0), **data.arguments())
    state, loss = jax.jit(lambda state: svi.update(state, **data.arguments()))(state)
    assert np.isfinite(loss)
    start = family.IMPLEMENTATION.sites.to_parameters(svi.get_params(state))
    assert {name: np.shape(value) for name, value in start.items()} == {
        "location": (length,),
        "diagonal": (length,),
        "off_diagonal": (length - 1,),
    }
    best = {"location": exact.location, "diagonal": exact.diagonal, "off_diagonal": exact.off_diagonal}
    sites = family.IMPLEMENTATION.sites.from_parameters(best)
    loss = jax.jit(lambda key: svi.loss.loss(key, sites, twin.model, guide, **data.arguments()))(jax.random.key(1))
    np.testing.assert_allclose(-loss, exact.log_evidence, rtol=1e-9)
    np.testing.assert_allclose(guide.median(sites)["z"], exact.location, rtol=1e-9)
    edges = guide.quantiles(sites, [0.1, 0.9])["z"]
    np.testing.assert_allclose(edges[1], exact.quantile(0.9)["z"], rtol=1e-6)
    assert guide.sample_posterior(jax.random.key(2), sites, sample_shape=(5,))["z"].shape == (5, length)


@pytest.mark.parametrize("length", [1, 4])
def test_autoguide_in_pyro(length):
    pyro = pytest.importorskip("pyro")
    import torch
    from pyro.infer import SVI, Trace_ELBO

    from guides.markov import in_pyro as family
    from models.chain import in_pyro as twin

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        pyro.clear_param_store()
        pyro.set_rng_seed(0)
        data = Chain(length, 0.7, "all")
        exact = GaussianChain(data)
        arguments = data.arguments() | {"x": torch.tensor(data.x)}
        guide = family.guide(twin)
        elbo = Trace_ELBO(num_particles=3, vectorize_particles=True, max_plate_nesting=0)
        assert np.isfinite(SVI(twin.model, guide, pyro.optim.Adam({"lr": 0.01}), elbo).step(**arguments))
        best = {"location": exact.location, "diagonal": exact.diagonal, "off_diagonal": exact.off_diagonal}
        for name, value in family.IMPLEMENTATION.sites.from_parameters(best).items():
            value = torch.tensor(value)
            setattr(guide, name, value if name == "diagonal" else torch.nn.Parameter(value))
        np.testing.assert_allclose(-elbo.loss(twin.model, guide, **arguments), exact.log_evidence, rtol=1e-9)
        np.testing.assert_allclose(guide.median()["z"], exact.location, rtol=1e-9)
        np.testing.assert_allclose(guide.quantiles([0.1, 0.9])["z"][1], exact.quantile(0.9)["z"], rtol=1e-6)
        q = guide.get_posterior()
        assert q.rsample((5,)).shape == (5, length)
    finally:
        torch.set_default_dtype(before)
        pyro.clear_param_store()
