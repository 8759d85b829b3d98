"""Linear regression: every number by two methods, the updates, the picture's formula, and bad input."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import integrate, stats

from models.linear import MODEL, LinearData
from models.linear.coordinate_ascent import Updates
from models.linear.noise import best_member
from models.linear.pictures import inflation, shrinkage

TINY = {"shape": 1.5, "rate": 0.7, "noise": 0.4, "prior_sd": 0.8, "intercept_sd": 1.3, "scale": 2.0}


def tutorial() -> Callable[[float], float]:
    """log p(y | sigma) of the tutorials' regression, by the eigenvalues of the targets' covariance."""
    data = LinearData("rugged")
    features = data.design.with_ones * data.prior_sds
    values, vectors = np.linalg.eigh(features @ features.T)
    squares = (vectors.T @ data.design.targets) ** 2

    def log_likelihood(sigma: float) -> float:
        spread = sigma**2 + values
        return -0.5 * float(np.sum(np.log(2 * math.pi * spread) + squares / spread))

    return log_likelihood


def test_longley_with_known_noise_has_the_known_ratios_and_gap() -> None:
    """Noise sd 0.1, unit priors: by the singular values, and by the precision written down here."""
    data = LinearData(prior="known")
    exact = MODEL.exact(data)
    features, targets = data.design.with_ones, data.design.targets
    precision = features.T @ features / 0.01 + np.eye(7)
    covariance = np.linalg.inv(precision)
    ratios = 1 / np.sqrt(np.diagonal(precision) * np.diagonal(covariance))
    assert exact.shrinkage == pytest.approx(ratios, abs=1e-8)
    assert exact.shrinkage[1:] == pytest.approx([0.103, 0.038, 0.263, 0.578, 0.068, 0.051], abs=6e-4)
    gap = 0.5 * (np.log(np.diagonal(precision)).sum() - np.linalg.slogdet(precision)[1])
    assert exact.extra_summary()["mean-field KL to the posterior"] == pytest.approx(gap, abs=1e-8)
    assert gap == pytest.approx(8.36, abs=0.005)
    evidence = stats.multivariate_normal(np.zeros(16), features @ features.T + 0.01 * np.eye(16)).logpdf(targets)
    assert exact.log_evidence == pytest.approx(evidence, abs=1e-8)
    assert exact.location == pytest.approx(covariance @ features.T @ targets / 0.01, abs=1e-8)


def test_the_tutorials_posterior_has_the_known_moments() -> None:
    """By the trapezoid rule on normal scores, and by SciPy's adaptive rule over sigma and the targets' Gaussian."""
    exact = MODEL.exact(LinearData("rugged"))
    log_likelihood = tutorial()
    height = log_likelihood(0.95)

    def moment(k: int) -> float:
        def integrand(s: float) -> float:
            return math.exp(log_likelihood(s) - height) * s**k / 10

        return integrate.quad(integrand, 0.7, 1.35, epsabs=0, epsrel=1e-11, limit=60)[0]

    total, first = moment(0), moment(1)
    assert exact.log_evidence == pytest.approx(math.log(total) + height, abs=1e-8)
    assert exact.log_evidence == pytest.approx(-247.634441, abs=1e-6)
    assert float(exact.mean()["sigma"]) == pytest.approx(first / total, abs=1e-8)
    means = [exact.mean()["intercept"], *exact.mean()["weights"], exact.mean()["sigma"]]
    assert means == pytest.approx([9.18025, -1.84038, -0.18285, 0.34581, 0.95147], abs=1e-5)


@pytest.mark.parametrize("prior", ["conjugate", "uniform", "half_normal"])
def test_the_evidence_is_an_integral_over_the_noise(prior: str) -> None:
    """Each prior's evidence on Longley by SciPy's adaptive rule over log sigma."""
    data = LinearData(prior=prior, **TINY)
    features, targets = data.design.with_ones * data.prior_sds, data.design.targets
    values, vectors = np.linalg.eigh(features @ features.T)
    squares = (vectors.T @ targets) ** 2

    def log_integrand(u: float) -> float:
        v = math.exp(2 * u)
        spread = v * (1 + values) if prior == "conjugate" else v + values
        log_prior = {
            "conjugate": stats.invgamma(data.shape, scale=data.rate).logpdf(v) + math.log(2) + 2 * u,
            "uniform": (u if math.exp(u) < 2 else -math.inf) - math.log(2),
            "half_normal": stats.halfnorm(scale=2.0).logpdf(math.exp(u)) + u,
        }[prior]
        return log_prior - 0.5 * float(np.sum(np.log(2 * math.pi * spread) + squares / spread))

    top = max(map(log_integrand, np.linspace(-5, math.log(2), 400)))
    mass = integrate.quad(lambda u: math.exp(log_integrand(u) - top), -6, 4 if prior != "uniform" else math.log(2),
                          epsabs=0, epsrel=1e-11, limit=200, points=[-2, -1])[0]  # fmt: skip
    assert MODEL.exact(data).log_evidence == pytest.approx(math.log(mass) + top, abs=1e-8)


def test_student_marginals_are_mixtures_of_gaussians() -> None:
    """Of the conjugate posterior: mean and sd of every element by averages over the variance's posterior."""
    data = LinearData(prior="conjugate")
    exact = MODEL.exact(data)
    assert exact.a == 9.0
    assert exact.extra_summary()["sd at the mean precision / true sd, sqrt(1 - 1 / a)"] == pytest.approx(
        math.sqrt(8) / 3
    )
    features = data.design.with_ones
    covariance = np.linalg.inv(features.T @ features + np.eye(7))
    mean_variance = stats.invgamma(exact.a, scale=exact.b).expect(lambda v: v)
    assert [exact.sd()["intercept"], *exact.sd()["weights"]] == pytest.approx(
        np.sqrt(mean_variance * np.diagonal(covariance)), rel=1e-7
    )
    variance = stats.invgamma(exact.a, scale=exact.b)

    def at(v: float) -> float:
        return stats.norm.pdf(0.4, exact.location[2], math.sqrt(v * covariance[2, 2])) * variance.pdf(v)

    density = integrate.quad(at, 0, 3, epsabs=1e-12, limit=200)[0]
    assert exact.density("weights", (1,), np.array([0.4]))[0] == pytest.approx(density, abs=1e-8)


@pytest.mark.parametrize("data", [LinearData(), LinearData(prior="known"), LinearData("diabetes")])
def test_coordinate_ascent_walks_to_the_best_member(data: LinearData) -> None:
    """To rounding; no update lowers the ELBO; and the last steps shrink at the rate that is said."""
    way = MODEL.coordinate_ascent(data)["coordinate_ascent"]
    state, elbo = way.start, way.elbo(way.start)
    for sweep in range(12_000):
        before = state
        for state in way.updates(before):
            higher = way.elbo(state) if sweep < 3 else elbo
            assert higher >= elbo - 1e-9 * abs(elbo)
            elbo = higher
        if max(float(np.max(np.abs(state[name] - before[name]))) for name in state) < 1e-12:
            break
    best = best_member(data, way.family)
    assert way.elbo(state) == pytest.approx(best.elbo, abs=1e-8)
    assert state["mean"] == pytest.approx(MODEL.exact(data).location, abs=1e-8)


def rate(data: LinearData) -> float:
    """The factor by which a sweep shrinks the means' error in the end: the Gauss-Seidel step's spectral radius."""
    design = Updates(data).design
    precision = design.T @ design
    step = np.linalg.solve(np.tril(precision), -np.triu(precision, 1))
    return float(np.abs(np.linalg.eigvals(step)).max())


def test_the_rate_of_coordinate_ascent_is_that_of_its_errors() -> None:
    data = LinearData(prior="known")
    way, location = MODEL.coordinate_ascent(data)["coordinate_ascent"], MODEL.exact(data).location
    state, sizes = way.start, []
    for _ in range(3000):
        *_, state = way.updates(state)
        sizes.append(float(np.linalg.norm(state["mean"] - location)))
    assert sizes[-1] / sizes[-2] == pytest.approx(rate(data), abs=1e-6)
    assert rate(data) == pytest.approx(0.99779, abs=1e-5)


def test_the_best_gaussian_under_the_conjugate_prior_cannot_be_bettered() -> None:
    """Its ELBO by 200,000 base draws, and at parameters beside it."""
    data = LinearData(prior="conjugate", **TINY)
    exact, rng = MODEL.exact(data), np.random.default_rng(0)
    eps = rng.standard_normal((200_000, 8))
    best = best_member(data, "full_rank")

    def elbo(location: np.ndarray, factor: np.ndarray) -> np.ndarray:
        x = location + eps @ factor.T
        latents = {"variance": np.exp(x[:, 0]), "intercept": x[:, 1], "weights": x[:, 2:]}
        log_q = -0.5 * (eps**2).sum(1) - 4 * math.log(2 * math.pi) - np.log(np.diagonal(factor)).sum()
        return exact.log_posterior(latents) + x[:, 0] - log_q + exact.log_evidence

    here = elbo(best.parameters["location"], best.parameters["scale_tril"])
    assert here.mean() == pytest.approx(best.elbo, abs=4 * here.std() / math.sqrt(len(here)))
    for _ in range(8):
        shift, tilt = 0.1 * rng.standard_normal(8), np.eye(8) + 0.1 * np.tril(rng.standard_normal((8, 8)))
        factor = best.parameters["scale_tril"]
        there = elbo(best.parameters["location"] + factor @ shift, factor @ tilt)
        assert (there - here).mean() < 4 * (there - here).std() / math.sqrt(len(here))


def test_wide_priors_give_the_textbooks_inflation() -> None:
    for name in ("longley", "diabetes", "rugged"):
        data = LinearData(name, prior="known", prior_sd=1e4, intercept_sd=1e4)
        assert MODEL.exact(data).shrinkage[1:] == pytest.approx(inflation(data) ** -0.5, rel=1e-5)


def write(tmp_path, text: str) -> str:
    path = tmp_path / "table.csv"
    path.write_text(text)
    return str(path)


ROWS = "1,2,0,3.1\n2,4,0,5.2\n3,6,0,6.8\n4,8,0,9.3\n"


def test_what_is_said_of_a_scaled_table_gives_it_back(tmp_path) -> None:
    """Inputs and target from their scaled values, by the means and sds that the data describe and keep."""
    rows = np.random.default_rng(0).normal(size=(9, 3)) * [1, 20, 300] + [5, -70, 900]
    text = "".join(",".join(map(repr, row)) + "\n" for row in rows.tolist())
    design = LinearData(write(tmp_path, "a,b,y\n" + text), target="y").design
    np.testing.assert_allclose(design.inputs * design.spread + design.centre, rows[:, :2], rtol=1e-12)
    about = design.about["target"]
    assert (about["name"], about["mean"], about["sd"]) == (
        "y",
        *(pytest.approx(f(rows[:, 2])) for f in (np.mean, np.std)),
    )
    np.testing.assert_allclose(design.targets * about["sd"] + about["mean"], rows[:, 2], rtol=1e-12)
    assert design.about["rows"] == 9 and design.about["inputs"] == ["a", "b"]


def test_collinear_constant_and_wide_tables_are_right(tmp_path) -> None:
    """Two columns that say the same, one that says nothing, and more columns than rows: all have a posterior."""
    data = LinearData(write(tmp_path, "a,b,c,y\n" + ROWS), target="y")
    assert data.design.columns == ("a", "b") and data.describe()["left out, constant"] == ["c"]
    assert np.isinf(inflation(data)).all()
    assert MODEL.exact(data).mean()["weights"][0] == pytest.approx(MODEL.exact(data).mean()["weights"][1])
    numbers = np.random.default_rng(0).normal(size=(4, 10))
    lines = [",".join([*(f"x{j}" for j in range(9)), "y"]), *(",".join(map("{:.4f}".format, row)) for row in numbers)]
    wide = "\n".join(lines)
    for prior in ("known", "conjugate", "uniform"):
        many = LinearData(write(tmp_path, wide), target="y", prior=prior)
        features = many.design.with_ones
        exact = MODEL.exact(many)
        latents = exact.draw(np.random.default_rng(1), 5)
        assert np.isfinite(exact.log_posterior(latents)).all()
        if prior == "known":
            covariance = features @ features.T + 0.01 * np.eye(4)
            truth = stats.multivariate_normal(np.zeros(4), covariance).logpdf(many.design.targets)
            assert exact.log_evidence == pytest.approx(truth, abs=1e-8)
        shrinkage({}, many, MODEL.exact(many), tmp_path / "shrinkage.png")
        assert (tmp_path / "shrinkage.png").stat().st_size, "drawn, though least squares leave no residual"


@pytest.mark.parametrize(
    ("text", "fields", "says"),
    [
        ("a,y\n1,2\n,3\n", {}, "line 3, column a .* is missing"),
        ("a,y\n1,2\n2,high\n3,low\n", {}, "not a number"),
        ("a,y\n1,2\n1,3\n", {}, "no input .* varies"),
        ("a,y\n1,2\n2,2\n", {}, "same value in every row"),
        ("a,y\n1,2\n2,4\n3,6\n", {"prior": "uniform"}, "without any noise"),
        ("a,y\n1,2\n2,4\n3,5\n", {"prior_sd": math.inf}, "flat prior"),
        ("a,y\n1,2\n2,4\n3,5\n", {"prior": "flat"}, "give auto, known"),
        ("a,y\n1,2\n2,4\n3,5\n", {"target": "z"}, "no column 'z'"),
        ("a,y\n1,2\n2,4\n", {"shape": 0.5}, "give the noise no sd"),
    ],
)
def test_bad_input_is_refused_in_one_line(tmp_path, text: str, fields: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says) as error:
        LinearData(**{"data": write(tmp_path, text), "target": "y"} | fields)
    assert "\n" not in str(error.value)


def test_data_of_the_zoo_take_no_target() -> None:
    with pytest.raises(ValueError, match="has its own target"):
        LinearData("longley", target="employed")
    assert dataclasses.replace(LinearData(), prior="known").noise == 0.1
