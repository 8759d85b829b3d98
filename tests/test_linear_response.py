"""Linear response against closed forms and a Hessian by quadrature, and what its verdict and its price are."""

from __future__ import annotations

import math
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import LIBRARIES, side
from scipy import optimize

import models
from compare import fit_guide
from compare.cache.keys import fit_sources
from compare.cli.main import main
from compare.comparison import Request
from compare.fit.svi import linear_response
from compare.fit.svi.linear_response import ENOUGH, inverted
from compare.fit.svi.svi import responses
from compare.options import Options
from compare.pipeline import compare as compare_all
from guides import load
from models.linear import LinearData
from models.linear.exact import GaussianRegression
from models.linear.noise import ConjugateRegression
from models.logistic import LogisticData
from models.logistic.exact import LogJoint
from models.logit_gaussians import best_gaussian, elbo

PATIENT = Options(budget=600.0)


def covariance_of(library: str, name: str, data) -> np.ndarray:
    """Of the unconstrained latents, on a model of the catalogue."""
    arguments, static = side(library).split_arguments(data.arguments())
    objective = side(library).prepare(name, "mean_field", static, arguments)
    (outcome,) = responses(objective, [arguments], load("mean_field"), PATIENT, [0])
    assert outcome.converged, outcome
    return outcome.parameters["scale_tril"] @ outcome.parameters["scale_tril"].T


@pytest.mark.parametrize("library", LIBRARIES)
def test_with_known_noise_the_covariance_is_the_posteriors(library):
    """On Longley's collinear columns, where mean field's sds are 0.04 to 1 of the true ones."""
    data = LinearData(prior="known")
    exact = GaussianRegression(data)
    covariance = covariance_of(library, "linear", data)
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), exact.sds, rtol=1e-6)
    np.testing.assert_allclose(covariance, exact.rotated.covariance(exact.variance), atol=1e-6 * exact.sds.max() ** 2)


def test_with_unknown_noise_the_sds_lack_the_tails_of_t():
    """NIG(1, 1, 1) on Longley: the variance's posterior has shape a = 9, the ratio is sqrt(1 - 1 / a) = 0.943.

    Mean field may stop 0.001 nats short, (a + d / 2) shift^2 / 2 in log variance: sds are then 0.5% off.
    """
    exact = ConjugateRegression(LinearData())
    assert exact.a == 9
    sds = np.sqrt(np.diag(covariance_of("numpyro", "linear", LinearData())))[1:]
    truth = np.array([exact.marginal("weights", (place,)).std() for place in range(6)])
    np.testing.assert_allclose(sds[1:] / truth, math.sqrt(1 - 1 / 9), rtol=5e-3)


def test_on_the_launches_it_is_the_hessian_by_quadrature():
    """The ELBO is a sum of one-dimensional integrals there; and the sds are within 2% of the posterior's."""
    data = LogisticData()
    target, covariance = LogJoint(data), covariance_of("numpyro", "logistic", data)
    mean, spread = best_gaussian(target, diagonal=True)
    place = np.concatenate([mean, 0.5 * np.log(np.diag(spread))])

    def loss(x: np.ndarray) -> float:
        return -elbo(target, x[:2], np.diag(np.exp(2 * x[2:])))

    implied = np.linalg.inv(hessian(loss, place, 1e-3))[:2, :2]
    np.testing.assert_allclose(covariance, implied, rtol=4 * 2 * ENOUGH)
    sds = np.sqrt(np.diag(covariance))
    exact = models.load("logistic").truth(data).sd()
    np.testing.assert_allclose(sds, [exact["intercept"], exact["weights"][0]], rtol=0.02)


def hessian(function, place: np.ndarray, step: float) -> np.ndarray:
    """By central differences of values."""
    axes = step * np.eye(len(place))
    return np.array(
        [
            [
                sum(s * t * function(place + s * a + t * b) for s in (1, -1) for t in (1, -1)) / (4 * step**2)
                for b in axes
            ]
            for a in axes
        ]
    )


def counted(library: str):
    """A user's own model: counts whose log rate is a sum of two latents."""
    module, dist = import_module(library), import_module(f"{library}.distributions")
    exp = import_module("jax.numpy" if library == "numpyro" else "torch").exp

    def model(y):
        a, b = module.sample("a", dist.Normal(0.0, 1.0)), module.sample("b", dist.Normal(0.0, 0.5))
        module.sample("y", dist.Poisson(exp(a + b)), obs=y)

    return model


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_users_model_has_it_in_closed_form(library):
    """E_q[exp(a + b)] is known; and it is handed back as the library's own guide.

    Mean field may stop ``tolerance`` nats short: shift^2 / (2 variance) of each mean, if all of it is that mean's.
    """
    tolerance = 1e-4

    def loss(x: np.ndarray) -> float:
        mean, log_sd = x[:2], x[2:]
        variance = np.exp(2 * log_sd)
        prior = 0.5 * np.sum((mean**2 + variance) / np.array([1.0, 0.25]))
        return float(np.exp(mean.sum() + variance.sum() / 2) - 4.0 * mean.sum() + prior - log_sd.sum())

    optimum = optimize.minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-7}).x
    implied = np.linalg.inv(hessian(loss, optimum, 1e-3))[:2, :2]
    best = fit_guide(counted(library), {"y": np.array(4.0)}, "linear_response", budget=600.0, tolerance=tolerance)
    assert best.optimisation.converged
    names = {name.rpartition(".")[2].removeprefix("auto_"): value for name, value in best.params.items()}
    factor = names["scale_tril"] * (names["scale"][:, None] if "scale" in names else 1.0)
    assert np.all((names["loc"] - optimum[:2]) ** 2 / (2 * np.diag(implied)) <= tolerance)
    assert factor @ factor.T == pytest.approx(implied, rel=4 * 2 * ENOUGH)
    assert type(best.guide).__name__ == "AutoMultivariateNormal"


@pytest.fixture(scope="module")
def regression():
    """Longley with known noise, beside mean field."""
    names = ("mean_field", "linear_response")
    data = LinearData(prior="known")
    return compare_all(Request(models.load("linear"), data, ("numpyro",), names, nuts=False, options=PATIENT))


def test_its_verdict_is_right_where_mean_field_is_narrow(regression):
    mean_field, own = (regression.summaries[f"numpyro-{name}"] for name in ("mean_field", "linear_response"))
    assert mean_field.verdict.word == "narrow" and own.verdict.word == "agrees"
    assert own.ledger.evidence_gap.value == pytest.approx(0, abs=1e-6)
    assert own.ledger.family_gap.value == pytest.approx(0, abs=1e-6)
    assert own.optimisation.gap.value == pytest.approx(mean_field.optimisation.gap.value, abs=1e-6)


def test_it_costs_the_hessian_more_than_mean_field(regression):
    """4 d rows a batch, four batches where the posterior is Gaussian: d = 7, 256 rows."""
    mean_field, own = (regression.summaries[f"numpyro-{name}"] for name in ("mean_field", "linear_response"))
    assert own.gradients - mean_field.gradients == pytest.approx(4 * 7 * 256 * 4, rel=0.05)


def test_what_the_budget_has_allowed_is_kept(monkeypatch):
    """The fifth of eight batches is done when the time is up: five count. In the first four there is none to keep."""
    noise, clock = 0.1 * np.random.default_rng(0).standard_normal((8, 4)), [0.0]

    def hessian(*_):
        if clock[0] >= 5:
            raise TimeoutError("its budget ended")
        clock[0] += 1
        return np.diag(1 + noise[int(clock[0]) - 1])

    monkeypatch.setattr(linear_response, "hessian", hessian)
    monkeypatch.setattr(linear_response, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    parameters = {"location": np.zeros(2), "scale": np.array([1.0, 2.0])}
    implied = linear_response.response(None, parameters, None, 0, deadline=4.5)
    assert implied.error > ENOUGH
    assert np.diag(implied.covariance) == pytest.approx([1.0, 4.0] / (1 + noise[:5, :2].mean(axis=0)))
    clock[0] = 2.0
    with pytest.raises(TimeoutError):
        linear_response.response(None, parameters, None, 0, deadline=4.5)


def test_where_elbos_do_not_curve_there_is_none():
    with pytest.raises(FloatingPointError, match="no linear response"):
        inverted(np.array([np.diag([1.0, 1.0, 1.0, -0.1])] * 2))


def test_errors_of_sds_are_those_of_their_batches():
    """By simulation: the inverse of a mean of noisy Hessians, many times."""
    rng = np.random.default_rng(0)
    mean = np.array([[1.0, 0.6, 0.0, 0.1], [0.6, 1.0, 0.1, 0.0], [0.0, 0.1, 2.0, 0.0], [0.1, 0.0, 0.0, 2.0]])
    noise = 0.02 * rng.standard_normal((4000, 16, 4, 4))
    runs = mean + noise + noise.swapaxes(-1, -2)
    sds = np.sqrt([np.diag(np.linalg.inv(run.mean(axis=0)))[:2] for run in runs])
    actual = (sds.std(axis=0) / sds.mean(axis=0)).max()
    stated = np.mean([inverted(run)[1] for run in runs[:200]])
    assert 0.9 < stated / actual < 1.3  # the larger of two noisy errors


def test_its_program_is_refused_in_a_line_and_its_sources_are_hashed(capsys):
    assert main(["coin", "--show", "--guides", "linear_response", "--libraries", "pyro"]) == 2
    assert "Hessian" in capsys.readouterr().err
    sources = fit_sources("coin", "numpyro", "linear_response")
    assert {"guides/mean_field/__init__.py", "guides/full_rank/in_numpyro.py"} <= sources.keys()
