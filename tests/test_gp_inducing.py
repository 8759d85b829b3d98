"""Inducing points: their bound, gap and guide by dense Gaussians and other libraries, classes, and placement."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pyro
import pyro.contrib.gp as pyro_gp
import pytest
import torch
from scipy import special, stats

from models import logit_gaussians
from models.gp import MODEL, GpData, sparse_hyperparameters
from models.gp.exact import GaussianProcess
from models.gp.inducing import OBJECTIVES, SparseClasses, SparseRegression, approximate, best_noise, even
from models.gp.placement import PLACES, best_member, climb, fitted, greedy, inducing_points, placed
from tests.dense_processes import covariance, divergence

CLIFF = GpData(points=200, jitter=1e-10)
CLASSES = GpData(likelihood="bernoulli", jitter=1e-9)


def process_divergence(sparse: SparseRegression) -> float:
    """KL(q(f, w), p(f, w | y)) without the bound: of w, and of f given w on average over q(w).

    In v, w = L_M v, the exact posterior is N(A S^-1 y, I - A S^-1 A') with A = L_M^-1 K_MN and S = K + s^2 I. Given v,
    f has the covariance C = K - A'A, and given y as well the precision C^-1 + I / s^2 and a mean that is off by
    C (C + s^2 I)^-1 (y - A' v).
    """
    data, across = sparse.data, sparse.across
    x, y, variance = data.design.inputs, data.design.targets, data.noise**2
    eye = np.eye(len(y))
    prior = covariance(data, x, x) + data.jitter * data.variance * eye
    gain = np.linalg.solve(prior + variance * eye, across.T).T
    mean, cov = sparse.best["mean"], sparse.best["covariance"]
    of_w = divergence(mean, cov, gain @ y, np.eye(len(across)) - gain @ across.T)
    left = prior - across.T @ across
    form = np.linalg.solve(left + variance * eye, left) / variance
    residual = y - across.T @ mean
    squares = residual @ form @ residual + np.sum((across @ form) * (cov @ across))
    log_det = np.linalg.slogdet(eye + left / variance)[1]
    return of_w + 0.5 * (np.trace(left) / variance - log_det + squares)


@pytest.mark.parametrize(("count", "about"), [(5, 5693.2), (10, 90.76), (15, 0.801), (20, 0.00807), (25, 0.000117)])
def test_the_gap_of_inducing_points_is_a_divergence_and_falls_like_a_cliff(count: int, about: float) -> None:
    sparse = SparseRegression(CLIFF, even(CLIFF, count))
    gap = sparse.exact.log_evidence - sparse.bound()
    assert gap == pytest.approx(about, rel=5e-3)
    assert gap == pytest.approx(process_divergence(sparse), abs=1e-8)
    at_inputs = sparse.exact.log_evidence - sparse.elbo(sparse.best)
    assert 0 < gap - at_inputs < 2e-5  # as the README says


@pytest.mark.parametrize("placement", ["greedy", "kmeans", "optimised"])
@pytest.mark.parametrize("kernel", ["rbf", "matern52"])
def test_the_gap_of_inducing_points_in_a_plane_is_a_divergence(kernel: str, placement: str) -> None:
    data = GpData("plane", points=60, kernel=kernel, noise=0.3, jitter=1e-8)
    for count in (6, 25):
        sparse = placed(data, count, placement)
        gap = sparse.exact.log_evidence - sparse.bound()
        assert gap == pytest.approx(process_divergence(sparse), abs=1e-8)
        assert gap > 1


def test_without_the_trace_it_is_no_bound() -> None:
    """It is the evidence of a model whose kernel has a lower rank, here by a dense Gaussian; and lies above."""
    sparse = SparseRegression(CLIFF, even(CLIFF, 10))
    noisy = sparse.across.T @ sparse.across + CLIFF.noise**2 * np.eye(200)
    low_rank = stats.multivariate_normal(np.zeros(200), noisy).logpdf(CLIFF.design.targets)
    assert sparse.bound(with_trace=False) == pytest.approx(low_rank, abs=1e-7)
    assert sparse.bound() < sparse.exact.log_evidence < sparse.bound(with_trace=False) - 1


def test_fitc_is_another_models_evidence() -> None:
    """By a dense Gaussian; with a point at every input it is the process itself."""
    sparse = SparseRegression(CLIFF, even(CLIFF, 10))
    low_rank = sparse.across.T @ sparse.across
    noisy = low_rank + np.diag(1 + 1e-10 - np.diagonal(low_rank) + CLIFF.noise**2)
    assert sparse.fitc() == pytest.approx(
        stats.multivariate_normal(np.zeros(200), noisy).logpdf(CLIFF.design.targets), abs=1e-7
    )
    data = GpData(points=6, length=0.5, jitter=1e-10)
    sparse = SparseRegression(data, data.design.inputs)
    assert sparse.fitc() == pytest.approx(sparse.exact.log_evidence, abs=1e-9)


def test_sparse_methods_choose_another_noise() -> None:
    """Titsias' bound too much and FITC too little (Bauer, van der Wilk & Rasmussen 2016); each is at its maximum."""
    data, ends = GpData(points=60, jitter=1e-10), {}
    for name, objective in OBJECTIVES.items():
        ends[name], value = best_noise(data, even(data, 9), objective)
        for factor in (0.97, 1.03):
            assert objective(SparseRegression(data.with_derived(noise=factor * ends[name]), even(data, 9))) < value
    assert ends["FITC"] < 0.97 * ends["exact"] < 1.03 * ends["exact"] < ends["Titsias"]


def test_no_other_distribution_of_the_inducing_points_is_better() -> None:
    sparse, rng = SparseRegression(GpData(), even(GpData(), 8)), np.random.default_rng(0)
    start, best = sparse.elbo(sparse.start()), sparse.elbo(sparse.best)
    assert start < best < sparse.exact.log_evidence
    for size in (0.1, 1.0):
        root = np.linalg.cholesky(sparse.best["covariance"]) @ (np.eye(8) + size * np.tril(rng.normal(size=(8, 8))) / 8)
        beside = {"mean": sparse.best["mean"] + size * root @ rng.normal(size=8), "covariance": root @ root.T}
        assert sparse.elbo(beside) < best


@pytest.mark.parametrize("likelihood", ["normal", "bernoulli"])
@pytest.mark.parametrize("latents", ["whitened", "values"])
def test_the_sparse_guide_says_its_own_density_and_elbo(latents: str, likelihood: str) -> None:
    """log q of its draws by SciPy, and the ELBO as their average, within 4 standard errors."""
    noise = {"noise": 0.5} if likelihood == "normal" else {}
    data = GpData(points=10, inducing=4, latents=latents, likelihood=likelihood, kernel="matern52", **noise)
    (way,) = inducing_points(data).values()
    (state,) = way.updates(way.start)
    draws = way.draw(state, np.random.default_rng(0), 20_000)
    exact, sparse = MODEL.exact(data), fitted(data)
    x = data.design.inputs
    loading = np.linalg.solve(sparse.factor, covariance(data, sparse.places, x)).T
    prior = covariance(data, x, x) + data.jitter * np.eye(10)
    mean, cov = loading @ state["mean"], prior - loading @ (np.eye(4) - state["covariance"]) @ loading.T
    factor = np.linalg.cholesky(prior)
    f = draws["f"] if latents == "values" else draws["u"] @ factor.T
    jacobian = 0.0 if latents == "values" else np.log(np.diagonal(factor)).sum()
    log_guide = way.log_guide(state, draws)
    assert log_guide == pytest.approx(stats.multivariate_normal(mean, cov).logpdf(f) + jacobian, abs=1e-6)
    ratios = exact.log_posterior(draws) + exact.log_evidence - log_guide
    assert ratios.mean() == pytest.approx(way.elbo(state), abs=4 * ratios.std() / math.sqrt(len(ratios)))
    assert way.elbo(state) == best_member(data, "inducing").elbo
    middle, sd = sparse.predict(x)
    assert middle == pytest.approx(mean, abs=1e-9)
    assert sd**2 == pytest.approx(np.diagonal(cov), abs=2e-6)  # without the jitter


def pyros(kind: type, data: GpData, *arguments: torch.Tensor, **options: str) -> Any:
    """One of Pyro's own Gaussian processes on these data."""
    pyro.clear_param_store()
    form = {"rbf": pyro_gp.kernels.RBF, "matern52": pyro_gp.kernels.Matern52}[data.kernel]
    numbers = [torch.tensor(value, dtype=torch.float64) for value in (data.variance, data.length, data.noise**2)]
    x, y = torch.from_numpy(data.design.inputs), torch.from_numpy(data.design.targets)
    kernel, jitter = form(1, variance=numbers[0], lengthscale=numbers[1]), data.jitter * data.variance
    return kind(x, y, kernel, *arguments, noise=numbers[2], jitter=jitter, **options)


@pytest.mark.parametrize("approx", ["VFE", "FITC", "DTC"])
@pytest.mark.parametrize("kernel", ["rbf", "matern52"])
def test_pyros_own_sparse_gp_agrees(kernel: str, approx: str) -> None:
    """Objective, and of Titsias' approximation mean and variance off the data; Pyro's f at the data has no jitter."""
    data = GpData(kernel=kernel, noise=0.3, jitter=1e-8)
    sparse = SparseRegression(data, even(data, 6))
    other = pyros(pyro_gp.models.SparseGPRegression, data, torch.from_numpy(sparse.places), approx=approx)
    objective = pyro.poutine.trace(other.model).get_trace().log_prob_sum().item()
    ours = {"VFE": sparse.bound(), "FITC": sparse.fitc(), "DTC": sparse.bound(with_trace=False)}[approx]
    jitter = {"VFE": 0.5 * 20 * data.jitter / data.noise**2, "FITC": 0.0, "DTC": 0.0}[approx]
    assert ours + jitter == pytest.approx(objective, abs=2e-6 if approx == "FITC" else 1e-8)
    grid = np.linspace(-0.5, 3.5, 40)[:, None]
    if approx == "VFE":
        mean, sd = sparse.predict(grid)
        with torch.no_grad():
            theirs = other(torch.from_numpy(grid))
        assert mean == pytest.approx(theirs[0].numpy(), abs=1e-8)
        assert sd**2 == pytest.approx(theirs[1].numpy(), abs=1e-8)
    pyro.clear_param_store()


@pytest.mark.parametrize("kernel", ["rbf", "matern52"])
def test_pyros_own_gp_predicts_the_same(kernel: str) -> None:
    """Mean and variance of f at new inputs."""
    data, grid = GpData(kernel=kernel, noise=0.3), np.linspace(-0.5, 3.5, 40)[:, None]
    with torch.no_grad():
        theirs = pyros(pyro_gp.models.GPRegression, data)(torch.from_numpy(grid))
    mean, sd = GaussianProcess(data).predict(grid)
    assert mean == pytest.approx(theirs[0].numpy(), abs=1e-8)
    assert sd**2 == pytest.approx(theirs[1].numpy(), abs=1e-8)
    pyro.clear_param_store()


def hensman(sparse: SparseClasses, mean: np.ndarray, cov: np.ndarray) -> float:
    """The bound of w ~ N(mean, cov) at the places, by dense matrices and Gauss-Hermite quadrature of every point."""
    data, x = sparse.data, sparse.data.design.inputs
    prior = covariance(data, sparse.places, sparse.places) + data.jitter * data.variance * np.eye(len(mean))
    cross = covariance(data, sparse.places, x)
    loading = np.linalg.solve(prior, cross)
    variance = data.variance * (1 + data.jitter) + np.sum(loading * (cov @ loading - cross), axis=0)
    nodes, weights = np.polynomial.hermite_e.hermegauss(150)
    f = (loading.T @ mean)[:, None] + np.sqrt(variance)[:, None] * nodes
    fit = -np.logaddexp(0, (1 - 2 * data.design.targets)[:, None] * f) @ weights / math.sqrt(2 * math.pi)
    return float(fit.sum() - divergence(mean, cov, np.zeros(len(mean)), prior))


@pytest.mark.parametrize("data", [CLASSES, GpData("plane", likelihood="bernoulli")], ids=lambda data: data.data)
@pytest.mark.parametrize("kernel", ["rbf", "matern52"])
def test_the_bound_of_classes_by_gauss_hermite_quadrature_and_no_better_gaussian(kernel: str, data: GpData) -> None:
    data, rng = data.with_derived(kernel=kernel, variance=2.0), np.random.default_rng(0)
    sparse = placed(data, 6, data.placements[0])
    mean, root = sparse.factor @ sparse.best["mean"], sparse.factor @ np.linalg.cholesky(sparse.best["covariance"])
    bound = sparse.bound()
    assert bound == pytest.approx(hensman(sparse, mean, root @ root.T), abs=1e-7)
    for size in (0.03, 0.3):
        beside = root @ (np.eye(6) + size * np.tril(rng.normal(size=(6, 6))) / 6)
        assert hensman(sparse, mean + size * root @ rng.normal(size=6), beside @ beside.T) < bound - 1e-6


def test_the_gap_of_classes_falls_to_that_of_the_best_gaussian() -> None:
    """With a point at every input the approximation is the best Gaussian; fewer points are never better."""
    exact, full = MODEL.exact(CLASSES), best_member(CLASSES, "full_rank").elbo
    bounds = [SparseClasses(CLASSES, even(CLASSES, count)).bound() for count in (3, 6, 10, 15)]
    assert bounds == sorted(bounds) and bounds[-1] < full < exact.log_evidence + exact.tolerance
    assert exact.log_evidence - bounds[0] > 0.5 and full - bounds[-1] < 5e-4
    everywhere = SparseClasses(CLASSES, CLASSES.design.inputs)
    assert everywhere.bound() == pytest.approx(full, abs=1e-6)
    middle, sd = everywhere.predict(CLASSES.design.inputs)
    mean, covariance_of_u = logit_gaussians.best_gaussian(everywhere.process, False)
    factor = everywhere.process.factor
    assert middle == pytest.approx(factor @ mean, abs=1e-4)
    assert sd == pytest.approx(np.sqrt(np.diagonal(factor @ covariance_of_u @ factor.T)), abs=1e-4)


PLACED = [
    GpData(jitter=1e-8),
    GpData("mcycle", length=0.5, noise=0.5, jitter=1e-8),
    GpData(kernel="matern52", noise=0.3),
    GpData(points=12, likelihood="bernoulli"),
    GpData("plane", length=0.8, jitter=1e-8),
    GpData("plane", kernel="matern52", likelihood="bernoulli"),
]
EVERY_PLACED = pytest.mark.parametrize("data", PLACED, ids=lambda data: f"{data.data}-{data.kernel}-{data.likelihood}")


def test_the_greedy_choice_leaves_the_least_variance_at_every_step() -> None:
    """Each point is where the process given those before it is most variable, by dense matrices."""
    data = GpData("plane", points=40, kernel="matern52")
    x, chosen = data.design.inputs, greedy(data, 10)
    prior = covariance(data, x, x) + data.jitter * np.eye(40)
    rows = [int(np.flatnonzero((x == place).all(axis=1))[0]) for place in chosen]
    for count in range(10):
        given = rows[:count]
        left = prior - prior[:, given] @ np.linalg.solve(prior[np.ix_(given, given)], prior[given])
        assert np.diagonal(left)[rows[count]] == pytest.approx(np.diagonal(left).max(), abs=1e-9)


@EVERY_PLACED
def test_the_bounds_slope_by_differences(data: GpData) -> None:
    low, high = data.design.inputs.min(axis=0), data.design.inputs.max(axis=0)
    places = np.random.default_rng(0).uniform(low, high, (5, len(low)))
    slope, step = approximate(data, places).slope(), 1e-5
    for place in np.ndindex(places.shape):
        beside = np.zeros(places.shape)
        beside[place] = step
        up, down = (approximate(data, places + sign * beside).bound() for sign in (1, -1))
        assert slope[place] == pytest.approx((up - down) / (2 * step), abs=1e-6 * np.abs(slope).max())


@EVERY_PLACED
def test_optimised_placement_is_a_maximum_above_the_others(data: GpData) -> None:
    rng = np.random.default_rng(0)
    for count in (2, 5):
        best, *others = (placed(data, count, placement) for placement in reversed(data.placements))
        assert all(best.bound() > other.bound() + 1e-3 for other in others)
        for size in (0.003, 0.03):
            for _ in range(5):
                beside = best.places + size * rng.standard_normal(best.places.shape)
                assert approximate(data, beside).bound() < best.bound()
        assert count == len(fitted(replace(data, inducing=count, placement="optimised")).places)


@pytest.mark.parametrize(("data", "count"), [(CLIFF, 10), (CLIFF, 15), (PLACED[1], 8)], ids=["10", "15", "mcycle"])
def test_the_gap_of_optimised_points_is_a_divergence(data: GpData, count: int) -> None:
    sparse = placed(data, count, "optimised")
    assert sparse.exact.log_evidence - sparse.bound() == pytest.approx(process_divergence(sparse), abs=1e-8)


def test_several_starts_reach_higher_than_each_alone() -> None:
    """Eight points of the accident end in a lower maximum from even places, two of the wave from the greedy choice and
    from centres of clusters; in the plane three from the greedy choice, and ten from centres of clusters. Nine even
    points of the accident are as good as the best eight."""
    for data, count, lower in (
        (PLACED[1], 8, ["even"]),
        (PLACED[0], 2, ["greedy", "kmeans"]),
        (PLACED[4], 3, ["greedy"]),
        (GpData("plane", points=60, length=0.6), 10, ["kmeans"]),
    ):
        best = placed(data, count, "optimised").bound()
        for start, place in PLACES.items():
            if start in data.placements:
                gap = best - climb(data, place(data, count)).bound()
                assert gap > 1 if start in lower else gap == pytest.approx(0.0, abs=1e-3)
    accident = PLACED[1]
    assert placed(accident, 9, "even").bound() == pytest.approx(placed(accident, 8, "optimised").bound(), abs=0.1)


def at_inputs(data: GpData, x: np.ndarray, y: np.ndarray) -> GpData:
    return data.with_derived(design=replace(data.design, inputs=x[:, None], targets=y))


def test_placement_has_the_symmetry_of_the_data() -> None:
    """Even points at even inputs lose nothing, and cannot be improved; mirrored data have mirrored places."""
    x = np.linspace(0, 3, 6)
    data = at_inputs(GpData(jitter=1e-10), x, np.sin(4 * x))
    bounds = [placed(data, 6, placement).bound() for placement in ("even", "optimised")]
    assert bounds == pytest.approx([GaussianProcess(data).log_evidence] * 2, abs=1e-6)
    x, y = PLACED[0].design.inputs[:, 0], PLACED[0].design.targets
    ahead, back = (placed(at_inputs(PLACED[0], sign * x, y), 5, "optimised") for sign in (1, -1))
    assert ahead.bound() == pytest.approx(back.bound(), abs=1e-6)
    assert ahead.places == pytest.approx(-back.places[::-1], abs=1e-3)
    both = at_inputs(PLACED[0], np.concatenate([x, -x]), np.concatenate([y, y]))
    places = placed(both, 7, "optimised").places
    assert places == pytest.approx(-places[::-1], abs=1e-3)


WIDE = {"noise": 0.3, "spread": 0.3}
"""Where the other quadrature, of 50 by 50 points, has ten digits."""

UNKNOWN = pytest.mark.parametrize(
    "data",
    [
        GpData(points=5, hyperparameters="unknown", inducing=3, jitter=1e-4, **WIDE),
        GpData("plane", points=5, hyperparameters="unknown", inducing=3, placement="kmeans", latents="values", **WIDE),
    ],
    ids=["wave-whitened", "plane-values"],
)


def over_hyperparameters(data: GpData) -> tuple[np.ndarray, list[SparseRegression]]:
    """Gauss-Hermite weights over the logs of length and noise, shape (m,), and the approximation given each pair."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(50)
    places, steps = fitted(data).places, np.exp(data.spread * nodes)
    pairs = [(data.length * a, data.noise * b) for a in steps for b in steps]
    given = [SparseRegression(data.with_derived(length=length, noise=noise), places) for length, noise in pairs]
    return np.outer(weights, weights).ravel() / (2 * math.pi), given


@UNKNOWN
def test_the_gap_with_unknown_length_and_noise_is_a_divergence(data: GpData) -> None:
    """KL of q(length, noise), and of f and w given them on average, by another quadrature; and q's means."""
    weights, given = over_hyperparameters(data)
    exactly, bounds = np.array([(sparse.exact.log_evidence, sparse.bound()) for sparse in given]).T
    posterior, guide = (special.softmax(np.log(weights) + logs) for logs in (exactly, bounds))
    apart = special.rel_entr(guide, posterior).sum() + guide @ [process_divergence(sparse) for sparse in given]
    sparse, exact = sparse_hyperparameters.approximate(data, fitted(data).places), MODEL.exact(data)
    assert exact.log_evidence - sparse.log_evidence == pytest.approx(apart, abs=1e-8)
    assert sparse.log_evidence == pytest.approx(special.logsumexp(np.log(weights) + bounds), abs=1e-8)
    assert apart > 0.1
    (way,) = inducing_points(data).values()
    (state,) = way.updates(way.start)
    for name, value in state.items():
        assert value == pytest.approx(guide @ [getattr(each.data, name) for each in given], rel=1e-7)


@UNKNOWN
def test_the_sparse_guide_of_length_and_noise_says_its_own_density_and_elbo(data: GpData) -> None:
    """log q by the approximation given length and noise, the ELBO as an average over draws, and these draws' means."""
    (way,) = inducing_points(data).values()
    (state,) = way.updates(way.start)
    draws, exact = way.draw(state, np.random.default_rng(0), 20_000), MODEL.exact(data)
    for name, value in state.items():
        assert draws[name].mean() == pytest.approx(value, abs=4.5 * draws[name].std() / math.sqrt(20_000))
    log_guide, places = way.log_guide(state, draws), fitted(data).places
    normaliser = sparse_hyperparameters.approximate(data, places).log_evidence
    for row in range(20):
        here = {name: value[row : row + 1] for name, value in draws.items()}
        given = data.with_derived(**{name: float(here[name][0]) for name in state})
        sparse = SparseRegression(given, places)
        prior = sum(
            stats.lognorm(data.spread, scale=getattr(data, name)).logpdf(getattr(given, name)) for name in state
        )
        expected = prior + sparse.bound() - normaliser + sparse.log_guide(sparse.best, here)[0]
        assert log_guide[row] == pytest.approx(expected, abs=1e-6)
    ratios = exact.log_posterior(draws) + exact.log_evidence - log_guide
    assert ratios.mean() == pytest.approx(way.elbo(state), abs=4 * ratios.std() / math.sqrt(20_000))
    assert way.elbo(state) == best_member(data, "inducing").elbo > normaliser


def test_few_inducing_points_put_what_they_cannot_follow_into_the_noise() -> None:
    data = GpData(hyperparameters="unknown")
    noise = MODEL.exact(data).mean()["noise"]
    few, enough = (sparse_hyperparameters.approximate(data, even(data, count)).moments[0][1] for count in (5, 10))
    assert few > 3 * noise and enough == pytest.approx(noise, rel=0.03)
