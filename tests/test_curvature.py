"""Curvature and fits of models whose derivatives are written by hand: with no forward mode, or no second one."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax.experimental.ode import odeint

from compare import compare
from compare.fit.svi import curvature_numpyro
from compare.fit.svi.curvature_numpyro import precision
from compare.user_model.process_numpyro import undisturbed

SIZE = 5
MATRIX = np.diag(np.arange(1.0, 6.0)) + np.diag(np.full(4, 0.5), 1) + np.diag(np.full(4, 0.5), -1)
PLACE = np.linspace(-1.0, 1.5, SIZE)
WIDTHS = np.array([1.0, 0.1, 100.0, 1.0, 0.3])


def bowl(z: jax.Array) -> jax.Array:
    """A log density whose Hessian is tridiagonal and depends on z, with scales that differ by a factor of 1,000."""
    z = z / WIDTHS
    return -0.5 * z @ MATRIX @ z - 0.1 * jnp.sum(jnp.cosh(z - 1.0))


@jax.custom_vjp
def without_forward(z: jax.Array) -> jax.Array:
    return bowl(z)


without_forward.defvjp(lambda z: (bowl(z), z), lambda z, slope: (slope * jax.grad(bowl)(z),))


def by_hand(z: np.ndarray) -> np.ndarray:
    """Its gradient."""
    z = np.asarray(z) / WIDTHS
    return -(MATRIX @ z + 0.1 * np.sinh(z - 1.0)) / WIDTHS


@jax.custom_vjp
def called_back(z: jax.Array) -> jax.Array:
    return bowl(z)


def called_back_gradient(z: jax.Array, slope: jax.Array) -> tuple[jax.Array]:
    gradient = jax.pure_callback(by_hand, z, z, vmap_method="sequential")
    return (slope * gradient,)


called_back.defvjp(lambda z: (bowl(z), z), called_back_gradient)


@jax.custom_vjp
def looped(z: jax.Array) -> jax.Array:
    return bowl(z)


def looped_gradient(z: jax.Array, slope: jax.Array) -> tuple[jax.Array]:
    _, gradient = jax.lax.while_loop(
        lambda carry: carry[0] < 2, lambda carry: (carry[0] + 1, carry[1] + jax.grad(bowl)(z) / 2), (0, jnp.zeros(SIZE))
    )
    return (slope * gradient,)


looped.defvjp(lambda z: (bowl(z), z), looped_gradient)


@pytest.fixture
def in_float64() -> Iterator[None]:
    with undisturbed():
        yield


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("banded", [False, True])
@pytest.mark.parametrize(
    ("function", "tolerance"), [(bowl, 1e-12), (without_forward, 1e-12), (called_back, 1e-4), (looped, 1e-4)]
)
def test_curvature_is_right_whatever_derivatives_the_model_has(function, tolerance, banded, monkeypatch):
    """Held against the Hessian of the same density written without derivatives by hand; differences err by the square
    of their step, 1e-2 sds."""
    if banded:
        monkeypatch.setattr(curvature_numpyro, "DENSE", SIZE - 1)
    hessian = np.asarray(jax.hessian(bowl)(PLACE))
    result = np.asarray(jax.jit(lambda z: precision(jax.grad(function), z))(PLACE))
    expected = np.stack([np.diag(hessian), np.append(np.diag(hessian, -1), 0.0)]) if banded else hessian
    scale = 1 / np.sqrt(np.abs(np.diag(hessian)))
    units = np.stack([scale**2, scale * np.append(scale[1:], 1.0)]) if banded else np.outer(scale, scale)
    assert np.abs((result + expected) * units).max() < tolerance


TIMES = np.linspace(0.0, 10.0, 8)
GROWN = 8 / (1 + 15 * np.exp(-0.9 * TIMES)) * np.exp(0.1 * np.random.default_rng(6).normal(size=8))


def rates() -> list[jax.Array]:
    priors = {"rate": (-0.5, 0.5), "capacity": (2.0, 0.5), "begin": (-0.5, 0.5), "noise": (-2.0, 0.5)}
    return [numpyro.sample(name, dist.LogNormal(*prior)) for name, prior in priors.items()]


def grown_by_solver(times, grown=None):
    rate, capacity, begin, noise = rates()
    size = odeint(
        lambda z, t, r, c: r * z * (1 - z / c), begin, times, rate, capacity, rtol=1e-7, atol=1e-7, mxstep=1000
    )
    numpyro.sample("grown", dist.LogNormal(jnp.log(size), noise), obs=grown)


def grown_by_formula(times, grown=None):
    rate, capacity, begin, noise = rates()
    size = capacity / (1 + (capacity / begin - 1) * jnp.exp(-rate * times))
    numpyro.sample("grown", dist.LogNormal(jnp.log(size), noise), obs=grown)


@pytest.mark.slow
def test_a_guide_fits_through_an_ode_solver_as_through_the_solution():
    """`odeint` has no forward mode. The logistic equation's solution in closed form is the same model."""
    data = {"times": TIMES, "grown": GROWN}
    options = {"guides": ["full_rank"], "quick": True, "seed": 1, "reference_budget": 0.1, "budget": 600.0}
    solved, known = (
        compare(model, data, **options).summary["fits"]["numpyro-full_rank"]
        for model in (grown_by_solver, grown_by_formula)
    )
    assert solved["status"] == "done"
    for name, entry in known["variables"].items():
        assert solved["variables"][name]["mean"] == pytest.approx(entry["mean"], abs=1e-3 * entry["sd"])
        assert solved["variables"][name]["sd"] == pytest.approx(entry["sd"], rel=1e-3)
