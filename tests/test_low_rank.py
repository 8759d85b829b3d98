"""Low rank: its coordinates and best member against dense algebra, its fits in both libraries against closed forms."""

from __future__ import annotations

import importlib
import math
from itertools import pairwise

import numpy as np
import pytest
from conftest import LIBRARIES, side
from scipy import optimize, stats

import guides
import models
from compare.fit.svi import matrix_free
from compare.fit.svi.draws import fresh
from compare.fit.svi.elbo import elbos
from compare.fit.svi.ensemble import UNKNOWN, Outcome, n_rows
from compare.fit.svi.newton import LongLogJoint, banded_product
from compare.fit.svi.svi import optimise
from compare.options import Options
from guides import low_rank
from guides.contract import Curvature
from guides.low_rank import Coordinates
from guides.matrix_free import Deflated, extreme, solve
from models.chain import Chain
from models.chain.exact import GaussianChain
from models.linear import LinearData
from models.logistic import LogisticData
from tests.experiments.low_rank import divergence, problem

PATIENT = Options(budget=600.0)
DIABETES = LinearData("diabetes", prior="known", noise=0.7)


def rank_of(dimension: int) -> int:
    return round(math.sqrt(dimension))


def covariance(parameters) -> np.ndarray:
    loading = parameters["scale"][:, None] * parameters["cov_factor"]
    return np.diag(parameters["scale"] ** 2) + loading @ loading.T


def kl(parameters, mean: np.ndarray, precision: np.ndarray) -> float:
    """KL(q, N(mean, precision^-1)) in nats, dense."""
    spread, shift = covariance(parameters), parameters["location"] - mean
    log_dets = np.linalg.slogdet(spread)[1] + np.linalg.slogdet(precision)[1]
    return 0.5 * (np.sum(precision * spread) + shift @ precision @ shift - len(shift) - log_dets)


def held(dimension: int, rng: np.random.Generator) -> np.ndarray:
    """A precision whose inverse the family holds."""
    loading = rng.normal(size=(dimension, rank_of(dimension)))
    return np.linalg.inv(np.diag(0.3 + rng.random(dimension)) + loading @ loading.T)


def any_precision(dimension: int, rng: np.random.Generator) -> np.ndarray:
    root = rng.normal(size=(dimension, 2 * dimension + 2))
    return root @ root.T / dimension


def curvature_of(precision: np.ndarray, rng: np.random.Generator) -> Curvature:
    shapes = {"cov_factor": (len(precision), rank_of(len(precision)))}
    mean = rng.normal(size=len(precision))
    return Curvature(mean, np.linalg.cholesky(precision), np.diag(precision).copy(), shapes)


def banded_curvature(dimension: int, rng: np.random.Generator) -> tuple[Curvature, np.ndarray]:
    factor = np.zeros((2, dimension))
    factor[0], factor[1, :-1] = 0.7 + rng.random(dimension), rng.normal(size=dimension - 1)
    dense = np.diag(factor[0]) + np.diag(factor[1, :-1], -1)
    precision = dense @ dense.T
    shapes = {"cov_factor": (dimension, rank_of(dimension))}
    return Curvature(rng.normal(size=dimension), factor, np.diag(precision).copy(), shapes), precision


def dense_search(precision: np.ndarray, rng: np.random.Generator, starts: int = 5) -> float:
    """The least KL(q, N(0, precision^-1)) of the family that BFGS finds over the guide's own parameters."""
    dimension, rank = len(precision), rank_of(len(precision))

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        scale, factor = np.exp(flat[:dimension]), flat[dimension:].reshape(dimension, rank)
        parameters = {"location": np.zeros(dimension), "scale": scale, "cov_factor": factor}
        slope = precision - np.linalg.inv(covariance(parameters))
        turn = slope @ (scale[:, None] * factor)
        stretch = scale * (np.diag(slope) * scale + np.sum(turn * factor, axis=1))
        slopes = np.concatenate([stretch, (scale[:, None] * turn).ravel()])
        return kl(parameters, np.zeros(dimension), precision), slopes

    begins = [0.5 * rng.normal(size=dimension * (1 + rank)) for _ in range(starts)]
    return min(optimize.minimize(loss, begin, jac=True, method="BFGS").fun for begin in begins)


@pytest.mark.parametrize("dimension", [1, 2, 3, 4, 7, 12])
def test_a_covariance_of_the_family_is_held_and_minus_elbo_bends_like_the_identity_there(dimension):
    """At D + W W' KL is 0; the Hessian is the identity in all directions that are not flat."""
    rng = np.random.default_rng(dimension)
    precision = held(dimension, rng)
    curvature = curvature_of(precision, rng)
    coordinates, step = Coordinates(curvature), 1e-4

    def loss(x):
        return kl(coordinates.parameters(x), curvature.location, precision)

    size = coordinates.size
    assert abs(loss(np.zeros(size))) < 1e-9
    axes = [step * axis for axis in np.eye(size)[:: max(1, size // 8)]]
    hessian = [[(loss(a + b) - loss(a - b) - loss(b - a) + loss(-a - b)) / (4 * step**2) for a in axes] for b in axes]
    np.testing.assert_allclose(hessian, np.eye(len(axes)), atol=2e-3)


@pytest.mark.parametrize("dimension", [2, 3, 5, 7])
def test_the_best_member_is_what_a_dense_search_finds(dimension):
    """Also where some of D are best at 0; with k = d - 1 (of two and three latents) nothing is left out."""
    rng = np.random.default_rng(dimension)
    for _ in range(2):
        precision = any_precision(dimension, rng)
        curvature = curvature_of(precision, rng)
        coordinates = Coordinates(curvature)
        ours = kl(coordinates.parameters(np.zeros(coordinates.size)), curvature.location, precision)
        mean_field = 0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])
        assert -1e-9 < ours < mean_field
        assert ours < dense_search(precision, rng) + 1e-4
        if dimension <= 3:
            assert ours < 1e-5


@pytest.mark.parametrize("directions", ["whitened", "unrotated"])
@pytest.mark.parametrize("banded", [False, True])
@pytest.mark.parametrize("dimension", [1, 3, 9])
def test_pullback_and_locate(dimension, banded, directions, monkeypatch):
    if directions == "unrotated":
        monkeypatch.setattr(low_rank, "LARGEST_HESSIAN", 0)
    rng = np.random.default_rng(dimension)
    curvature = banded_curvature(dimension, rng)[0] if banded else curvature_of(any_precision(dimension, rng), rng)
    coordinates = Coordinates(curvature)
    x = 0.02 * rng.normal(size=coordinates.size)
    here = coordinates.parameters(x)
    there = coordinates.parameters(coordinates.locate(here))
    np.testing.assert_allclose(there["location"], here["location"], atol=1e-9)
    np.testing.assert_allclose(covariance(there), covariance(here), rtol=1e-7, atol=1e-9)
    weights = {name: rng.normal(size=value.shape) for name, value in here.items()}

    def loss(x):
        values = coordinates.parameters(x)
        return sum(np.sum(weights[name] * np.sin(value)) for name, value in values.items())

    slopes = {name: weights[name] * np.cos(value) for name, value in here.items()}
    numeric = [(loss(x + h) - loss(x - h)) / 2e-6 for h in 1e-6 * np.eye(coordinates.size)]
    np.testing.assert_allclose(coordinates.pullback(x, slopes), numeric, rtol=1e-5, atol=1e-5)


def test_a_banded_curvature_has_the_best_member_of_the_same_dense_one():
    rng = np.random.default_rng(3)
    banded, precision = banded_curvature(11, rng)
    dense = Curvature(banded.location, np.linalg.cholesky(precision), np.diag(precision).copy(), banded.shapes)
    values = [kl(c.parameters(np.zeros(c.size)), banded.location, precision) for c in map(Coordinates, (banded, dense))]
    assert values[0] == pytest.approx(values[1], abs=1e-6)


def test_no_direction_rotates_the_columns(monkeypatch):
    """The covariance moves along every direction but as many as there are rotations, which move nothing."""
    monkeypatch.setattr(low_rank, "LARGEST_HESSIAN", 0)
    rng = np.random.default_rng(0)
    coordinates, step = Coordinates(curvature_of(any_precision(16, rng), rng)), 1e-4
    directions = coordinates.directions
    projection = np.stack([directions.forward(axis) for axis in np.eye(directions.size)])
    np.testing.assert_allclose(projection @ projection, projection, atol=1e-12)
    np.testing.assert_allclose(projection, projection.T, atol=1e-12)
    assert np.trace(projection) == pytest.approx(directions.size - 4 * 3 / 2)
    begin = coordinates.begin[16:].reshape(16, 4)
    turn = np.concatenate([np.zeros(16), (begin @ (np.eye(4, k=1) - np.eye(4, k=-1))).ravel()])
    np.testing.assert_allclose(directions.forward(step * turn), 0, atol=1e-12)


def normal(library: str, precision: np.ndarray, mean: np.ndarray):
    """The objective for a Gaussian posterior, whose log evidence is 0, and its data."""
    spread = np.linalg.inv(precision)
    data = {"location": mean, "scale_tril": np.linalg.cholesky((spread + spread.T) / 2)}
    arguments, static = side(library).split_arguments(data)
    twin = importlib.import_module(f"targets.gaussian_{library}")
    return side(library).Objective(twin, "low_rank", static, arguments), arguments


def in_order_of(library: str, draws: np.ndarray, dimension: int) -> np.ndarray:
    """Draws (e, eps) as the library takes them: Pyro takes those of the diagonal first."""
    return draws if library == "numpyro" else np.roll(draws, dimension, axis=1)


@pytest.mark.parametrize("library", LIBRARIES)
def test_draws_and_density_against_scipy(library):
    """z = location + S (F e + eps), and log p - log q with the densities of dense normals."""
    rng = np.random.default_rng(0)
    precision, mean = any_precision(6, rng), rng.normal(size=6)
    objective, data = normal(library, precision, mean)
    parameters = {"location": rng.normal(size=6), "scale": 0.3 + rng.random(6), "cov_factor": rng.normal(size=(6, 2))}
    draws = rng.normal(size=(32, 8))
    result = objective.evaluate(parameters, in_order_of(library, draws, 6), data)
    (z,) = result.latents.values()
    expected = parameters["location"] + parameters["scale"] * (draws[:, :2] @ parameters["cov_factor"].T + draws[:, 2:])
    np.testing.assert_allclose(z, expected, rtol=1e-12, atol=1e-12)
    log_p = stats.multivariate_normal(mean, np.linalg.inv(precision)).logpdf(z)
    log_q = stats.multivariate_normal(parameters["location"], covariance(parameters)).logpdf(z)
    np.testing.assert_allclose(result.log_ratio, log_p - log_q, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("library", LIBRARIES)
def test_gaussian_posteriors_of_the_family_and_beyond(library):
    """The fit ends at KL 0 where the family holds the posterior, else at the best of a dense search."""
    rng = np.random.default_rng(1)
    for precision, best in ((held(9, rng), 0.0), (beyond := any_precision(9, rng), dense_search(beyond, rng))):
        mean = rng.normal(size=9)
        objective, data = normal(library, precision, mean)
        outcome = optimise(objective, data, guides.load("low_rank"), PATIENT, 0)
        truth = kl(outcome.parameters, mean, precision) - best
        assert outcome.converged and abs(truth) < 2e-5
        assert abs(outcome.gap.value - truth) <= 4 * outcome.gap.mcse + 2e-5


def fit(library: str, name: str, data, family: str = "low_rank", seed: int = 0):
    """A fit on a model of the catalogue: its outcome, objective and data."""
    arguments, static = side(library).split_arguments(data.arguments())
    objective = side(library).prepare(name, family, static, arguments)
    return optimise(objective, arguments, guides.load(family), PATIENT, seed), objective, arguments


def elbo_of(outcome, objective, arguments) -> tuple[float, float]:
    """The ELBO at fresh draws, and its standard error."""
    rng, shape = np.random.default_rng(5), (n_rows(objective.dimension), objective.dimension)
    values = elbos(objective, outcome.parameters, [fresh(rng, *shape) for _ in range(16)], arguments)
    return values.mean(), values.std(ddof=1) / 4


def test_the_twins_agree_at_the_same_parameters():
    rng, data = np.random.default_rng(2), LogisticData("german")
    parameters = {
        "location": 0.1 * rng.normal(size=25),
        "scale": 0.1 + 0.1 * rng.random(25),
        "cov_factor": 0.3 * rng.normal(size=(25, 5)),
    }
    draws, results = rng.normal(size=(16, 30)), []
    for library in LIBRARIES:
        arguments, static = side(library).split_arguments(data.arguments())
        objective = side(library).prepare("logistic", "low_rank", static, arguments)
        results.append(objective.evaluate(parameters, in_order_of(library, draws, 25), arguments))
    numpyro, pyro = results
    np.testing.assert_allclose(numpyro.log_ratio, pyro.log_ratio, rtol=1e-9)
    for name, slope in numpyro.path.items():
        np.testing.assert_allclose(slope, pyro.path[name], rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("library", LIBRARIES)
def test_on_two_latents_it_is_full_rank(library):
    """k = d - 1: on the O-rings it ends at full rank's best ELBO, which is known by quadrature."""
    outcome, *context = fit(library, "logistic", LogisticData())
    value, error = elbo_of(outcome, *context)
    best = models.load("logistic").best_member(LogisticData(), "full_rank").elbo
    assert outcome.converged and value == pytest.approx(best, abs=4 * error + 1e-3)


def test_its_elbo_is_between_mean_fields_and_full_ranks():
    """On Longley's collinear columns, where the best D has zeros."""
    data = LinearData(prior="known")
    values = [elbo_of(*fit("numpyro", "linear", data, family)) for family in ("mean_field", "low_rank", "full_rank")]
    for (smaller, error), (larger, other) in pairwise(values):
        assert smaller + 0.1 < larger - 4 * math.hypot(error, other)
    assert values[1][0] > values[0][0] + 5


def test_a_chain_too_long_for_the_hessian_of_its_covariance():
    """The gap is 0 within its error, and the ELBO that of the member where the fit ended, known without sampling."""
    data = Chain(150)
    outcome, *context = fit("numpyro", "chain", data)
    exact = GaussianChain(data)
    value, error = elbo_of(outcome, *context)
    precision = np.linalg.inv(exact.covariance())
    expected = exact.log_evidence - kl(outcome.parameters, exact.location, precision)
    assert outcome.converged and abs(outcome.gap.value) <= 4 * outcome.gap.mcse + 1e-6
    assert value == pytest.approx(expected, abs=4 * error + 1e-6)


def wide(library: str, name: str, arguments: dict, options: Options = PATIENT):
    """A fit on a model of the catalogue without a matrix of its latents, and its objective and data."""
    data, static = side(library).split_arguments(arguments)
    objective = side(library).prepare(name, "low_rank", static, data)
    return matrix_free.fit(objective, data, guides.load("low_rank"), options, 0), objective, data


@pytest.mark.parametrize(
    ("library", "name", "data"),
    [
        ("numpyro", "linear", DIABETES),
        ("pyro", "linear", DIABETES),
        ("numpyro", "logistic", LogisticData("german")),
        pytest.param("pyro", "logistic", LogisticData("german"), marks=pytest.mark.slow),
    ],
)
def test_without_a_matrix_it_arrives_at_the_same_elbo(library, name, data):
    """As the fit with one does, on a Gaussian posterior and on one that is none: within the tolerance and its error."""
    outcome, objective, arguments = wide(library, name, data.arguments())
    with_matrix, *_ = fit(library, name, data)
    shape = n_rows(objective.dimension), objective.dimension
    batches = [fresh(np.random.default_rng([7, n]), *shape) for n in range(32)]
    ends = [elbos(objective, end.parameters, batches, arguments) for end in (outcome, with_matrix)]
    apart = ends[0] - ends[1]
    assert outcome.converged and with_matrix.converged
    assert abs(apart.mean()) <= 0.01 + 4 * apart.std(ddof=1) / math.sqrt(len(apart))


@pytest.mark.parametrize(("name", "size"), [("chain", 700), pytest.param("linear", 620, marks=pytest.mark.slow)])
def test_beyond_the_largest_matrix_it_ends_where_a_long_search_ends(name, size):
    """The divergence from a Gaussian posterior, and what a search with the exact factor still gains."""
    arguments, exact = problem(name, size)
    (outcome, *_) = wide("numpyro", name, arguments)
    ended = divergence(outcome.parameters, exact)
    dimension = len(exact.mean)
    dense = exact.product(np.eye(dimension))
    shapes = {"cov_factor": outcome.parameters["cov_factor"].shape}
    target = low_rank.Target(Curvature(exact.mean, np.linalg.cholesky(dense), np.diag(dense).copy(), shapes))
    best = target.search(target.locate(outcome.parameters), 2000)
    further = divergence(target.parameters(exact.mean, best.x), exact)
    assert outcome.converged and further <= ended + 1e-9
    assert ended - further <= PATIENT.tolerance / 10 and outcome.gap.upper <= PATIENT.tolerance
    mean_field = 0.5 * (np.log(exact.diagonal).sum() - exact.log_determinant)
    assert 0 < ended < mean_field


def test_the_budget_holds_without_a_matrix():
    arguments, _ = problem("linear", 620)
    outcome, *_ = wide("numpyro", "linear", arguments, Options(budget=1e-6))
    assert not outcome.converged and "its budget ended" in outcome.reason


def test_many_latents_take_the_way_without_a_matrix(monkeypatch):
    arguments, _ = problem("chain", 601)
    ways = []
    monkeypatch.setattr(matrix_free, "fit", lambda *_: ways.append("without") or Outcome({}, UNKNOWN, False, "", 0))
    data, static = side("numpyro").split_arguments(arguments)
    objective = side("numpyro").prepare("chain", "low_rank", static, data)
    optimise(objective, data, guides.load("low_rank"), PATIENT, 0)
    assert ways == ["without"]
    assert n_rows(1500) == 64


class ByHand:
    """An objective, and its log joint: a Gaussian's around 0, plus y - 2 exp(y) of each latent y that is a log rate
    with a prior Gamma(1, 1) and a Poisson count of 0."""

    def __init__(self, product, is_rate: np.ndarray) -> None:
        self.push, self.is_rate, self.log_joint = product, is_rate, self

    def start(self, seed: int, data) -> dict[str, np.ndarray]:
        dimension = len(self.is_rate)
        factor = np.zeros((dimension, rank_of(dimension)))
        return {"location": np.full(dimension, 1e-4), "scale": np.full(dimension, 0.1), "cov_factor": factor}

    def value(self, location, data):
        pushed, rate = self.push(location[:, None])[:, 0], self.rate(location)
        return -0.5 * location @ pushed + np.sum(location * self.is_rate - rate), self.is_rate - rate - pushed

    def products(self, location, directions, data):
        return self.push(directions.T).T + self.rate(location) * directions

    def rate(self, location: np.ndarray) -> np.ndarray:
        return np.where(self.is_rate, 2 * np.exp(np.where(self.is_rate, location, 0)), 0)


TIGHT = 650
"""Latents of sd 0.0001 beside those of sd 1: the norm of a product is theirs alone."""


def beside_tight_ones(block: np.ndarray) -> ByHand:
    def product(columns: np.ndarray) -> np.ndarray:
        return np.concatenate([1e8 * columns[:TIGHT], block @ columns[TIGHT:]])

    return ByHand(product, np.zeros(TIGHT + len(block), dtype=bool))


def test_latents_that_are_correlated_beside_many_of_large_precision():
    """c ~ N(0, 0.9 + 0.1 I): its precision is no tridiagonal, and the family holds it, so that its sds are 1."""
    truth = 0.9 + 0.1 * np.eye(5)
    outcome = matrix_free.fit(beside_tight_ones(np.linalg.inv(truth)), None, guides.load("low_rank"), PATIENT, 0)
    assert outcome.converged
    np.testing.assert_allclose(covariance(outcome.parameters)[TIGHT:, TIGHT:], truth, atol=0.02)


def test_a_rate_beside_many_latents_of_large_precision():
    """The posterior is no Gaussian: of y - 2 exp(y) the best is N(-log 2 - 1/2, 1), half an sd below the mode."""
    density = beside_tight_ones(np.zeros((1, 1)))
    density.is_rate[-1] = True
    outcome = matrix_free.fit(density, None, guides.load("low_rank"), PATIENT, 0)
    m, v = outcome.parameters["location"][-1], covariance(outcome.parameters)[-1, -1]
    short = -math.log(2) - 1.5 - (m - 2 * math.exp(m + v / 2) + 0.5 * math.log(v))
    assert outcome.converged and -1e-9 < short <= PATIENT.tolerance
    assert abs(outcome.gap.value - short) <= 4 * outcome.gap.mcse + 1e-3


def test_scales_far_apart_leave_a_gaussian_chain_what_it_is():
    """A tridiagonal precision is known by three products, and a Gaussian without noise, be the sds 1e-6 or 1e3."""
    rng = np.random.default_rng(4)
    scale = 10.0 ** rng.uniform(-6, 3, 650)
    bands = np.stack([1 / scale**2, np.append(-0.4 / (scale[1:] * scale[:-1]), 0.0)])
    objective = ByHand(lambda columns: banded_product(bands, columns), np.zeros(650, dtype=bool))
    outcome = matrix_free.fit(objective, None, guides.load("low_rank"), PATIENT, 0)
    assert outcome.converged and outcome.gradients < 100


@pytest.mark.filterwarnings("ignore:overflow")
def test_without_a_mode_the_reason_says_what_to_do():
    """A centred hierarchy of 700 groups without data: its density rises without end as the groups' sd goes to 0."""

    class Centred(ByHand):
        def value(self, location, data):
            log_sd, groups = location[0], location[1:]
            force = groups * np.exp(-2 * log_sd)
            value = -0.5 * log_sd**2 - len(groups) * log_sd - 0.5 * groups @ force
            return value, np.append(-log_sd - len(groups) + groups @ force, -force)

        def products(self, location, directions, data):
            precision, groups = np.exp(-2 * location[0]), location[1:]
            along = -2 * precision * groups
            first = (1 + 2 * precision * groups @ groups) * directions[:, 0] + directions[:, 1:] @ along
            return np.column_stack([first, directions[:, :1] * along + precision * directions[:, 1:]])

    objective = Centred(lambda columns: columns, np.zeros(701, dtype=bool))
    outcome = matrix_free.fit(objective, None, guides.load("low_rank"), PATIENT, 0)
    assert not outcome.converged and outcome.reason.endswith("non-centre it, or take mean_field")


@pytest.mark.parametrize("library", LIBRARIES)
def test_products_are_those_of_the_hessian(library):
    arguments = LogisticData("german").arguments()
    data, static = side(library).split_arguments(arguments)
    log_joint = side(library).prepare("logistic", "low_rank", static, data).log_joint
    location, rng = 0.1 * np.ones(25), np.random.default_rng(0)
    directions = rng.standard_normal((5, 25))
    expected = directions @ log_joint.precision(location, data)
    np.testing.assert_allclose(log_joint.products(location, directions, data), expected, rtol=1e-4, atol=1e-4)
    density = LongLogJoint(log_joint, data)
    np.testing.assert_allclose(density.diagonal(location, math.inf), np.diag(log_joint.precision(location, data)), 1e-4)


def test_conjugate_gradients_and_extreme_directions():
    rng = np.random.default_rng(1)
    root = rng.standard_normal((40, 60))
    matrix, columns = root @ root.T, rng.standard_normal((40, 3))
    solved, _ = solve(lambda x: matrix @ x, columns, 1e-16, 200)
    np.testing.assert_allclose(matrix @ solved, columns, atol=1e-6)
    diagonal = np.diag(matrix)
    scaled = matrix / np.sqrt(np.outer(diagonal, diagonal))
    values, vectors = extreme(lambda x: matrix @ x, diagonal, 3, largest=False, rounds=200)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(scaled)[:3], rtol=1e-3)
    whitener = Deflated(1 / np.sqrt(diagonal), values, vectors)
    np.testing.assert_allclose(whitener.colour(whitener.discolour(columns)), columns, atol=1e-9)
    white = vectors.T @ whitener.whiten(matrix @ whitener.colour(vectors))
    np.testing.assert_allclose(white, np.eye(3), atol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "data", "library"),
    [
        ("linear", LinearData(), "numpyro"),
        ("logistic", LogisticData("german"), "numpyro"),
        ("linear", LinearData(), "pyro"),
    ],
    ids=["longley-numpyro", "german-numpyro", "longley-pyro"],
)
def test_twenty_seeds_arrive(name, data, library):
    """Each within 0.01 nats of the best of them at common draws, 4 errors allowed; at least 19 say so."""
    fits = [fit(library, name, data, seed=seed) for seed in range(20)]
    _, objective, arguments = fits[0]
    rng, shape = np.random.default_rng(6), (n_rows(objective.dimension), objective.dimension)
    batches = [fresh(rng, *shape) for _ in range(64)]
    values = np.array([elbos(objective, outcome.parameters, batches, arguments) for outcome, _, _ in fits])
    short = values[values.mean(axis=1).argmax()] - values
    errors = short.std(axis=1, ddof=1) / 8
    assert np.all(short.mean(axis=1) <= 0.01 + 4 * errors)
    assert sum(outcome.converged for outcome, _, _ in fits) >= 19
