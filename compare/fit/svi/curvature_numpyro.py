"""The curvature of a log joint in NumPyro, by the kind of second derivatives that the model has."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import jax
import jax.numpy as jnp

from compare.fit.svi.protocol import DENSE

Gradient = Callable[[jax.Array], jax.Array]
Product = Callable[[Gradient, jax.Array, jax.Array], jax.Array]
"""A gradient, a location and a direction, shape (d,), in; the Hessian times the direction out."""

ROUNDS = 2
"""Rounds of differences: the first with guessed steps, each later one with steps fitted to the curvature found."""

STEP = 1e-2
"""Their length in conditional sds: the relative error of a second derivative is about its square."""


SMALL_STEP = 1e-4
"""The step of a product by differences, beside the largest number of the location."""


def forward_over_reverse(gradient: Gradient, location: jax.Array, direction: jax.Array) -> jax.Array:
    return jax.jvp(gradient, (location,), (direction,))[1]


def reverse_over_reverse(gradient: Gradient, location: jax.Array, direction: jax.Array) -> jax.Array:
    return jax.vjp(gradient, location)[1](direction)[0]


def precision(gradient: Gradient, location: jax.Array) -> jax.Array:
    """Minus the Hessian: dense, shape (d, d), or beyond `DENSE` its tridiagonal in lower banded form, (2, d).

    Derivatives that are written by hand (``custom_vjp``, such as ``odeint``) have no forward mode, and those that hold
    a ``while_loop`` or call back into Python no second derivative at all: what the model has is found by trying, while
    it is traced. Then reverse mode takes forward's place, and differences of gradients reverse mode's.
    """
    with suppress(Exception):  # the kind of error depends on what has no derivative
        return assembled(forward_over_reverse, gradient, location)
    with suppress(Exception):
        return symmetric(assembled(reverse_over_reverse, gradient, location))
    return symmetric(by_differences(gradient, location))


def products(gradient: Gradient, location: jax.Array, directions: jax.Array) -> jax.Array:
    """Minus the Hessian times each direction, shape (m, d), by the derivatives that the model has (see `precision`)."""

    def along(product: Product) -> jax.Array:
        return -jax.vmap(lambda direction: product(gradient, location, direction))(directions)

    for product in (forward_over_reverse, reverse_over_reverse):
        with suppress(Exception):
            return along(product)
    return along(central_difference)


def central_difference(gradient: Gradient, location: jax.Array, direction: jax.Array) -> jax.Array:
    """The Hessian times a direction, over a step of `SMALL_STEP` of the location's size."""
    length = jnp.maximum(jnp.abs(direction).max(), jnp.finfo(direction.dtype).tiny)
    step = SMALL_STEP * jnp.maximum(1.0, jnp.abs(location).max()) / length
    return (gradient(location + step * direction) - gradient(location - step * direction)) / (2 * step)


def symmetric(matrix: jax.Array) -> jax.Array:
    """The nearest symmetric matrix of a dense one; a banded one as it is."""
    return (matrix + matrix.T) / 2 if matrix.shape[0] == matrix.shape[1] else matrix


def assembled(product: Product, gradient: Gradient, location: jax.Array) -> jax.Array:
    """`precision` from the Hessian's products with the axes, or with three probes."""
    size = location.size
    index = jnp.arange(size)
    dense = size <= DENSE
    probes = jnp.eye(size) if dense else (index[None, :] % 3 == jnp.arange(3)[:, None]).astype(location.dtype)
    products = -jax.vmap(lambda probe: product(gradient, location, probe))(probes)
    if dense:
        return products
    # A tridiagonal precision from three products: each coordinate sees its neighbours in different probes.
    return jnp.stack([products[index % 3, index], jnp.append(products[index[1:] % 3, index[:-1]], 0.0)])


def by_differences(gradient: Gradient, location: jax.Array) -> jax.Array:
    """`precision` by central differences of gradients, with steps that are first guessed, then `STEP` sds."""
    step = 1e-4 * jnp.maximum(1.0, jnp.abs(location))

    def difference(gradient: Gradient, location: jax.Array, probe: jax.Array) -> jax.Array:
        """The Hessian's product with a probe, its rows and columns times the steps."""
        return step * (gradient(location + step * probe) - gradient(location - step * probe)) / 2

    for _ in range(ROUNDS):
        scaled = assembled(difference, gradient, location)
        dense = location.size <= DENSE
        units = jnp.outer(step, step) if dense else jnp.stack([step**2, step * jnp.append(step[1:], 1.0)])
        unscaled = scaled / units
        diagonal = jnp.diag(unscaled) if dense else unscaled[0]
        step = jnp.clip(STEP / jnp.sqrt(jnp.abs(diagonal)), 1e-12, 1e12)
    return unscaled
