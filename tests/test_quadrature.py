"""Modes and quadrature against posteriors whose evidence and moments are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from compare.fit.reference import cells, modes, quadrature
from compare.fit.reference.modes import find_modes
from compare.fit.reference.optimise import ascend
from compare.fit.reference.proper import flat_direction
from compare.fit.reference.quadrature import UNSEEN, integrate
from compare.fit.reference.target import OutOfTime, Target, UnboundedDensity


def target(dimension: int, log_joint, scale: float = 1.0, **options) -> Target:
    """A target with gradients by differences, and draws from a Gaussian prior."""

    def value_and_gradient(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        step = 1e-6 * (1 + np.abs(points))
        gradient = np.empty_like(points)
        for axis in range(dimension):
            shift = np.where(np.arange(dimension) == axis, step, 0.0)
            gradient[:, axis] = (log_joint(points + shift) - log_joint(points - shift)) / (2 * step[:, axis])
        return log_joint(points), gradient

    options.setdefault("prior_draws", np.random.default_rng(7).standard_normal((1000, dimension)) * scale)
    return Target(dimension, log_joint, value_and_gradient, **options)


def mixture(means, sds, weights):
    """The log density of isotropic Gaussians."""
    means, sds = np.array(means, float), np.array(sds, float)
    d = means.shape[1]
    constants = np.log(weights) - d * np.log(sds) - d / 2 * np.log(2 * np.pi)

    def log_density(points: np.ndarray) -> np.ndarray:
        squares = (((points[:, None] - means) / sds[:, None]) ** 2).sum(2)
        return special.logsumexp(constants - squares / 2, axis=1)

    return log_density


def beta(a: float, b: float):
    """A beta distribution on the logit scale, normalised."""
    return lambda z: -a * np.logaddexp(0, -z[:, 0]) - b * np.logaddexp(0, z[:, 0]) - special.betaln(a, b)


def funnel(points: np.ndarray) -> np.ndarray:
    v, x = points.T
    return stats.norm.logpdf(v, 0, 3) + stats.norm.logpdf(x, 0, np.exp(v / 2))


def ends(points: np.ndarray) -> np.ndarray:
    """Two exponentials at the ends of (0, 1), on the logit scale, normalised."""
    x = special.expit(points[:, 0])
    density = np.logaddexp(-20 * x, -20 * special.expit(-points[:, 0])) + np.log(10 / -np.expm1(-20))
    return density - np.logaddexp(0, points[:, 0]) - np.logaddexp(0, -points[:, 0])


def bimodal(points: np.ndarray) -> np.ndarray:
    """20 observations of N(x^2, 1/2), x ~ N(0.15, 1)."""
    y = 2.0 + 0.5 * np.random.default_rng(0).normal(size=20)
    x = points[:, 0]
    return stats.norm.logpdf(x, 0.15, 1) + stats.norm.logpdf(y, x[:, None] ** 2, 0.5).sum(1)


def correlated(points: np.ndarray) -> np.ndarray:
    return stats.multivariate_normal.logpdf(points, [1, -2], [[1, 0.99], [0.99, 1]])


def solve(posterior: Target, seed: int = 0, **options):
    return integrate(posterior, find_modes(posterior, np.random.default_rng(seed)), **options)


@pytest.mark.parametrize(
    ("dimension", "log_joint"),
    [(1, beta(8, 4)), (1, beta(0.01, 3)), (1, beta(3e4, 500)), (1, ends), (2, correlated), (2, funnel)],
    ids=["beta", "beta near 0", "narrow beta", "ends", "correlated", "funnel"],
)
def test_the_evidence_is_known_to_1e_8(dimension, log_joint):
    posterior = solve(target(dimension, log_joint))
    assert posterior.is_accepted
    assert abs(posterior.log_evidence) < 1e-8
    assert abs(posterior.log_evidence) < posterior.error + 1e-10
    assert posterior.n_evaluations < 400_000


def test_bimodal_against_a_lattice():
    """Both modes of a parameter that enters by its square only (case 41b), by the trapezoid rule on (-6, 6)."""
    grid = np.linspace(-6, 6, 200_001)
    log_density = bimodal(grid[:, None])
    weights = np.exp(log_density - log_density.max())
    posterior = solve(target(1, bimodal))
    assert posterior.log_evidence == pytest.approx(log_density.max() + np.log(weights.sum() * 6e-5), abs=1e-8)
    mean = weights @ grid / weights.sum()
    assert posterior.mean[0] == pytest.approx(mean, abs=1e-8)
    assert posterior.sd[0] == pytest.approx(np.sqrt(weights @ (grid - mean) ** 2 / weights.sum()), abs=1e-8)


@pytest.mark.parametrize("seed", range(5))
def test_the_square_of_a_parameter_has_two_modes_on_every_seed(seed):
    assert len(find_modes(target(1, bimodal), np.random.default_rng(seed)).modes) == 2


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_modes_of_a_hundredth_of_the_priors_width_are_found(dimension, seed):
    rng = np.random.default_rng(seed)
    means, sds, weights = rng.standard_normal((3, dimension)), [0.6, 0.01, 0.05], [0.7, 0.05, 0.25]
    posterior = target(dimension, mixture(means, sds, weights))
    result = solve(posterior, seed)
    assert result.is_accepted
    assert abs(result.log_evidence) < max(1e-8, 2 * result.error)
    np.testing.assert_allclose(result.mean, weights @ means, atol=1e-5)


def test_moments_of_the_funnel():
    """The sd of x is exp(9/4): nine tenths of its square come from v > 5, where the density is 1e-4 of the mode's."""
    posterior = solve(target(2, funnel))
    np.testing.assert_allclose(posterior.mean, 0, atol=1e-6)
    np.testing.assert_allclose(posterior.sd, [3, np.exp(9 / 4)], rtol=1e-6)


@pytest.mark.parametrize(("radius", "width"), [(1, 0.05), (10, 0.5), (3, 1)])
def test_a_ring_is_one_mode(radius, width):
    ring = target(2, lambda z: stats.norm.logpdf(np.linalg.norm(z, axis=1), radius, width))
    search = find_modes(ring, np.random.default_rng(0))
    assert len(search.modes) == 1
    r = np.linspace(0, radius + 12 * width, 100_001)
    truth = np.log(2 * np.pi * np.trapezoid(r * stats.norm.pdf(r, radius, width), r))
    result = integrate(ring, search)
    assert result.is_accepted
    assert result.log_evidence == pytest.approx(truth, abs=1e-8)


def test_two_far_modes_with_their_laplace_masses():
    """Without a prior; a Gaussian's Laplace mass is exact."""
    posterior = target(2, mixture([[-6, 0], [4, 5]], [0.1, 1], [0.3, 0.7]), prior_draws=None)
    search = find_modes(posterior, np.random.default_rng(0))
    assert len(search.modes) == 2
    np.testing.assert_allclose([np.exp(mode.log_mass) for mode in search.modes], [0.7, 0.3], rtol=1e-4)
    np.testing.assert_allclose(search.modes[1].member_factors[0], 10 * np.eye(2), atol=1e-3)


def test_no_probe_is_optimised_twice(monkeypatch):
    """Under tails heavier than any Gaussian's each round has probes that the mode does not explain."""
    starts = []
    monkeypatch.setattr(modes, "ascend", lambda target, points: (starts.append(points), ascend(target, points))[1])
    posterior = target(2, lambda z: stats.t(2).logpdf(z).sum(1))
    assert len(find_modes(posterior, np.random.default_rng(0), 64).modes) == 1
    assert len(starts) == 4
    assert len(np.unique(np.concatenate(starts), axis=0)) == sum(map(len, starts))


def test_heavy_tails_have_an_evidence_but_no_moments():
    result = solve(target(1, lambda z: stats.cauchy.logpdf(z[:, 0])))
    assert result.is_accepted
    assert abs(result.log_evidence) < 1e-8
    assert np.isnan(result.mean).all()


@pytest.mark.parametrize(("dimension", "log_joint"), [(1, bimodal), (2, correlated), (2, funnel)])
def test_weighted_points_stand_for_the_posterior(dimension, log_joint):
    """Their moments are those of the integrals to a thousandth of an sd; but the funnel's lie too far in the tails."""
    result = solve(target(dimension, log_joint))
    points, weights = result.sample(2**14, np.random.default_rng(3))
    mean = weights @ points
    if log_joint is not funnel:
        np.testing.assert_allclose(mean, result.mean, atol=1e-3 * result.sd.min())
        np.testing.assert_allclose(np.sqrt(weights @ (points - mean) ** 2), result.sd, rtol=2e-3)
    below = weights @ (points[:, 0] < result.mean[0] - result.sd[0])
    expected = {bimodal: 0.3980, correlated: stats.norm.cdf(-1), funnel: stats.norm.cdf(-1)}[log_joint]
    assert below == pytest.approx(expected, abs=1e-3)
    assert 1 / (len(weights) * weights @ weights) > 0.8


def test_quantities_are_judged_in_their_own_space():
    result = solve(target(1, beta(8, 4), quantities=special.expit))
    assert result.mean[0] == pytest.approx(8 / 12, abs=1e-8)
    assert result.sd[0] == pytest.approx(stats.beta.std(8, 4), abs=1e-8)


@pytest.mark.parametrize("cut", [-1.2345, 0.3137])
def test_a_cut_support_in_one_dimension(cut):
    """The edge may lie between the outermost node of a box and its face, on either side."""

    def log_joint(z: np.ndarray) -> np.ndarray:
        return np.where(z[:, 0] > cut, stats.norm.logpdf(z[:, 0]) - stats.norm.logsf(cut), -np.inf)

    assert solve(target(1, log_joint)).log_evidence == pytest.approx(0, abs=1e-8)


def half_plane(points: np.ndarray) -> np.ndarray:
    return np.where(points.sum(1) > 0, stats.norm.logpdf(points).sum(1) + np.log(2), -np.inf)


def half_ring(points: np.ndarray) -> np.ndarray:
    radius = np.hypot(*points.T)
    with np.errstate(divide="ignore"):
        return np.where(points[:, 0] > 0, stats.norm.logpdf(radius, 1, 0.1) - np.log(np.pi * radius), -np.inf)


@pytest.mark.parametrize(
    ("log_joint", "mean", "sd"),
    [
        (half_plane, [np.pi**-0.5] * 2, [(1 - 1 / np.pi) ** 0.5] * 2),
        (half_ring, [2 / np.pi, 0], [(1.01 / 2 - 4 / np.pi**2) ** 0.5, (1.01 / 2) ** 0.5]),
    ],
)
def test_a_support_that_a_curve_cuts_off_is_known_well_enough(log_joint, mean, sd):
    """Boxes along the curve never settle: what is reached within the evaluations decides verdicts nevertheless."""
    result = solve(target(2, log_joint))
    assert result.is_accepted and result.error <= 0.01
    assert result.log_evidence == pytest.approx(0, abs=1e-3)
    assert result.mean == pytest.approx(mean, abs=1e-3) and result.sd == pytest.approx(sd, abs=1e-3)


def test_a_hole_that_an_earlier_stage_missed_undoes_it(monkeypatch):
    """The first stage claims 1e-4 without having seen the hole; the second sees it and runs out of evaluations."""
    center, radius = np.array([0.11, -1.45]), 0.11

    def log_joint(points: np.ndarray) -> np.ndarray:
        outside = np.linalg.norm(points - center, axis=1) > radius
        return np.where(outside, stats.norm.logpdf(points).sum(1), -np.inf)

    results, result_of = [], quadrature._result
    monkeypatch.setattr(quadrature, "_result", lambda *arguments: results.append(result_of(*arguments)) or results[-1])
    result, truth = solve(target(2, log_joint)), np.log1p(-stats.ncx2.cdf(radius**2, 2, center @ center))
    assert results[0].is_accepted and abs(results[0].log_evidence - truth) > 10 * results[0].error
    assert result.is_accepted and abs(result.log_evidence - truth) < result.error


@pytest.mark.parametrize("shift", [-1.5, 0.3])
def test_a_tilted_cut_off_the_origin_is_right_or_refused(shift):
    """The first is accepted, the second takes more evaluations than there are; the reason says how many it took."""

    def log_joint(points: np.ndarray) -> np.ndarray:
        beyond = points @ [0.28, 0.96] > shift
        return np.where(beyond, stats.norm.logpdf(points).sum(1) - stats.norm.logsf(shift), -np.inf)

    result = solve(target(2, log_joint))
    if result.is_accepted:
        assert abs(result.log_evidence) < result.error <= 0.01
    else:
        assert f"not met in {result.n_evaluations:,} evaluations" in result.reason


def test_boxes_from_before_the_first_edge_are_looked_at_again():
    """An edge between the outermost node and the face of a box that was added when no edge had been seen."""
    posterior = target(2, lambda z: np.where(z[:, 0] > 0.005, stats.norm.logpdf(z).sum(1), -np.inf))
    mapping = cells.SinhMap(np.zeros(2), np.eye(2))
    boxes = cells.Cells(posterior, mapping, 0.0, np.zeros(2), np.ones(2))
    boxes.add(np.zeros((1, 2)), np.ones((1, 2)))
    assert not boxes.has_edges and not boxes.hidden.any()
    boxes.add(np.array([[-1.0, -1.0]]), np.array([[1.0, 0.0]]))
    assert boxes.has_edges and (boxes.hidden[:, 0, 0] > 0).all()
    assert boxes.errors[0, 0, 0] == boxes.hidden[0, 0, 0] and boxes.hidden[0, 1, 0] == 0


def test_what_was_reached_in_time_is_accepted(monkeypatch):
    """The time ends in the second stage, in the midst of halving boxes."""
    posterior = target(2, correlated, deadline=1e300)
    search, full = find_modes(posterior, np.random.default_rng(0)), solve(posterior)
    refine, evaluate, stages = quadrature._refine, cells.evaluate, []

    def refine_until(*arguments):
        stages.append(arguments)
        return refine(*arguments)

    def evaluate_in_time(*arguments):
        if len(stages) >= 2 and arguments[0].deadline < np.inf:
            raise OutOfTime
        return evaluate(*arguments)

    monkeypatch.setattr(quadrature, "_refine", refine_until)
    monkeypatch.setattr(cells, "evaluate", evaluate_in_time)
    result = integrate(posterior, search)
    assert result.is_accepted and result.error == 10 * quadrature.COARSE and full.error < quadrature.COARSE
    assert result.log_evidence == pytest.approx(0, abs=result.error)
    points, weights = result.sample(2**12, np.random.default_rng(1))
    assert weights @ points == pytest.approx([1, -2], abs=0.02)
    with pytest.raises(OutOfTime):  # in the first stage there is nothing yet
        integrate(posterior, search)


def test_refusals_say_why():
    flat = solve(target(1, lambda z: np.zeros(len(z))))
    assert not flat.is_accepted and "improper" in flat.reason
    short = solve(target(2, correlated), max_evaluations=500)
    assert not short.is_accepted and f"not met in {short.n_evaluations:,} evaluations" in short.reason
    nowhere = find_modes(target(1, lambda z: np.full(len(z), np.nan)), np.random.default_rng(0))
    assert nowhere.modes == () and "finite" in nowhere.trouble
    spike = target(1, lambda z: np.where(np.abs(z[:, 0]) < 0.1, np.inf, -(z[:, 0] ** 2)))
    with pytest.raises(UnboundedDensity, match=r"\+inf"):
        find_modes(spike, np.random.default_rng(0))
    late = target(1, beta(8, 4), deadline=0.0)
    with pytest.raises(OutOfTime):
        find_modes(late, np.random.default_rng(0))
    with pytest.raises(ValueError, match="three dimensions"):
        integrate(target(4, lambda z: -(z**2).sum(1)), None)


def test_a_mode_that_was_missed_undoes_an_earlier_stage(monkeypatch):
    """The first stage is accepted; in the second a density shows that no mode explains."""
    smooth = target(1, mixture([[0.0]], [1.0], [1.0]))
    search = find_modes(smooth, np.random.default_rng(0))
    stages = iter([("", True), (UNSEEN, True)])
    monkeypatch.setattr(quadrature, "_refine", lambda *_: next(stages))
    result = integrate(smooth, search)
    assert not result.is_accepted and result.reason == UNSEEN


@pytest.mark.parametrize("constant", [0.0, -1e6])
def test_a_wide_posterior_is_no_angle(constant):
    """It varies by less than a nat over a turn, little beside the log density of many data; an angle's repeats."""
    rng = np.random.default_rng(3)

    def normal(points):
        return constant - (points**2).sum(1) / 2 / 20**2, -points / 20**2

    def angle(points):
        return constant + 3 * np.cos(points).sum(1), -3 * np.sin(points)

    wide, periodic = (Target(1, lambda z, f=f: f(z)[0], f) for f in (normal, angle))
    assert flat_direction(wide, [0], rng) is None
    assert flat_direction(periodic, [0], rng) == pytest.approx([1.0])
