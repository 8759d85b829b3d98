"""An optimisation gap's error part by part, on functions where only that part is not zero, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from compare.fit.svi.gap import Gap, Metric, estimate, lanczos, raw


def metric(*curvatures: float, size: int = 3) -> Metric:
    """Curvatures along the first axes, the identity along the others."""
    return Metric(np.eye(len(curvatures), size), np.diag(curvatures))


def equal(*gradient: float) -> np.ndarray:
    """Eight gradients without noise."""
    return np.tile(np.array(gradient, float), (8, 1))


def noisy(seed: int = 0, count: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).normal([0.3, -0.1, 0.2], [0.2, 0.5, 0.3], (count, 3))


def by_pairs(gradients: np.ndarray) -> Gap:
    """The gap of a unit Hessian, pair by pair; its error by the sample covariance's own formulas."""
    count, mean, covariance = len(gradients), gradients.mean(axis=0), np.cov(gradients.T)
    pairs = [gradients[r] @ gradients[s] for r in range(count) for s in range(count) if r != s]
    square = np.trace(covariance @ covariance) - np.trace(covariance) ** 2 / (count - 1)
    square *= (count - 1) ** 2 / ((count - 2) * (count + 1))
    variance = mean @ covariance @ mean / count + max(square, 0) / (2 * count * (count - 1))
    return Gap(float(np.mean(pairs) / 2), float(np.sqrt(variance)))


@pytest.mark.parametrize("count", [3, 12, 50])
def test_the_noise_is_that_of_all_pairs(count):
    expected, gap = by_pairs(noisy(count=count)), raw(noisy(count=count))
    assert (gap.value, gap.mcse) == pytest.approx((expected.value, expected.mcse), rel=1e-12)
    assert gap.upper == pytest.approx(gap.value + 2 * gap.mcse, rel=1e-12)


@pytest.mark.parametrize(
    ("gradient", "known", "value", "error"),
    [
        ((0.03, 0.0, 0.0), metric(1.0), 4.5e-4, 0.03**3),  # the third derivative: (2 gap)^1.5
        ((1e-5, 0.0, 0.0), metric(4.0), 1e-10 / 8, 3e-10 / 8),  # the last step changed a^2 / 2 into a^2 / 8
        ((1e-5, 0.0, 0.0), metric(0.25), 2e-10, 1.5e-10),
        ((0.0, 1e-5, 0.0), metric(4.0), 5e-11, 0.75 * 5e-11),  # as much as 1 / 4 differs from 1 where nothing is seen
        ((0.0, 1e-5, 0.0), metric(0.5), 5e-11, 5e-11),
        ((0.0, 0.0, 1e-5), metric(0.5, 4.0), 5e-11, 5e-11),  # the larger of 1 and 3/4
        ((1e-5, 0.0, 0.0), metric(4.0, 1.0), 1e-10 / 8, 0.0),
    ],
)
def test_each_part_of_the_error_alone(gradient, known, value, error):
    gap = estimate(equal(*gradient), known)
    assert gap.value == pytest.approx(value, rel=1e-9)
    assert gap.mcse == pytest.approx(error, rel=1e-3, abs=1e-14)
    assert estimate(equal(*gradient), known, 0.25).mcse == pytest.approx(error + 0.25, rel=1e-9)


def test_noise_adds_to_the_other_parts_as_squares_and_claims_no_less_than_the_least():
    gradients = noisy() / 10
    known = metric(1.0, 1.0, 1.0)
    expected = by_pairs(gradients)
    parts = np.hypot(expected.mcse, (2 * abs(expected.value)) ** 1.5)
    assert estimate(gradients, known).mcse == pytest.approx(parts + 5e-6, rel=1e-9)
    assert estimate(gradients, known, 2 * expected.mcse).mcse == pytest.approx(parts + 2 * expected.mcse, rel=1e-9)


@pytest.mark.parametrize(("curvature", "is_near"), [(0.0501, True), (0.0499, False), (-1.0, False)])
def test_where_the_surface_is_flat_there_is_no_optimum(curvature, is_near):
    known = metric(2.0, curvature)
    gap = estimate(equal(0.3, 0.0, 0.4), known)
    assert known.near_optimum() == is_near
    assert is_near or (gap.value, gap.mcse) == pytest.approx((0.125 / 0.05, 0.125 / 0.05))


def test_an_estimate_below_0_has_an_error_and_where_it_is_flat_a_size():
    """Noise around no gradient puts half of all estimates below 0."""
    gradients = np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [0.5, 0.0, 0.0], [-0.5, 0.0, 0.0]])
    below = by_pairs(gradients)
    assert below.value < 0
    gap = estimate(gradients, metric(1.0, 1.0, 1.0))
    assert gap.value == pytest.approx(below.value)
    assert gap.mcse == pytest.approx(np.hypot(below.mcse, (-2 * below.value) ** 1.5) + 5e-6)
    assert estimate(gradients, metric(0.01)).value == pytest.approx(-below.value / 0.05)


def test_a_small_gradient_is_followed_and_a_small_rest_is_not():
    """The first direction has any length; a later one is rounding where it is below 1e-4."""
    hessian, start = np.diag([0.5, 1.0, 2.0]), np.array([[1.0, 2.0, 3.0]])
    (large,), (small,) = (lanczos(lambda vectors: vectors @ hessian, scale * start) for scale in (1.0, 1e-7))
    np.testing.assert_allclose(small.matrix, large.matrix, rtol=1e-9)
    for remainder, curvatures in ((5e-5, [2.0, 1.0, 1.0]), (5e-4, [2.0, 0.5, 1.0])):
        (known,) = lanczos(lambda vectors: vectors @ hessian, np.array([[remainder, 0.0, 1.0]]))
        np.testing.assert_allclose(np.diag(known.matrix), curvatures, atol=1e-5)


def test_powers_and_spread_are_those_of_the_whole_matrix():
    rng = np.random.default_rng(1)
    basis = np.linalg.qr(rng.normal(size=(3, 3)))[0][:2]
    known, vectors = Metric(basis, np.array([[2.0, 0.6], [0.6, 0.7]])), rng.normal(size=(5, 3))
    full_matrix = np.eye(3) + basis.T @ (known.matrix - np.eye(2)) @ basis
    np.testing.assert_allclose(known.power(vectors, 1.0), vectors @ full_matrix, rtol=1e-12)
    np.testing.assert_allclose(
        known.power(known.power(vectors, -0.5), -0.5), vectors @ np.linalg.inv(full_matrix), rtol=1e-12
    )
    assert known.spread() == pytest.approx(max(abs(1 / np.linalg.eigvalsh(full_matrix) - 1)), rel=1e-12)


def test_fits_side_by_side_have_the_curvature_that_each_has_alone():
    """One starts at an eigenvector and ends after a step, one has no gradient, one meets a NaN; the others go on."""
    rng = np.random.default_rng(3)
    hessian = np.diag([0.5, 1.0, 2.0, 3.0])
    starts = np.stack([rng.normal(size=4), np.eye(4)[2] * 7, np.zeros(4), np.full(4, np.nan), rng.normal(size=4)])
    steps = []

    def product(vectors: np.ndarray) -> np.ndarray:
        steps.append(vectors)
        return vectors @ hessian

    together = lanczos(product, starts)
    assert len(steps) == 3
    for number, known in enumerate(together):
        (alone,) = lanczos(lambda vectors: vectors @ hessian, starts[[number]])
        np.testing.assert_allclose(known.basis, alone.basis, atol=1e-12)
        np.testing.assert_allclose(known.matrix, alone.matrix, atol=1e-12)
        np.testing.assert_allclose(
            known.basis @ hessian @ known.basis.T, np.where(known.basis.any(1), known.matrix, 0), atol=1e-12
        )
    second = together[1]
    np.testing.assert_allclose(second.matrix, np.diag([2.0, 1.0, 1.0]))
    np.testing.assert_allclose(together[2].matrix, np.eye(3))
    (broken,) = lanczos(lambda vectors: vectors * np.nan, starts[[0]])
    assert not broken.near_optimum()


def test_there_are_no_more_steps_than_dimensions():
    (known,) = lanczos(lambda vectors: vectors @ np.diag([2.0, 0.5]), np.array([[1.0, 1.0]]), 5)
    assert known.matrix.shape == (2, 2)
    np.testing.assert_allclose(np.linalg.eigvalsh(known.matrix), [0.5, 2.0])
