"""The Gaussian process: the truth by other libraries, mean field in two coordinates, inducing points, bad input."""

from __future__ import annotations

import math

import arviz_stats
import jax
import numpy as np
import pyro
import pyro.contrib.gp as pyro_gp
import pytest
import torch
from numpyro.infer import MCMC, NUTS
from scipy import stats
from sklearn.gaussian_process import GaussianProcessRegressor, kernels

import models
from compare.calibration import calibrate
from compare.cli.main import main
from compare.comparison import Request
from models.contract import Reference
from models.gp import MODEL, GpData, classes, in_numpyro
from models.gp.data import co2
from models.gp.exact import GaussianProcess
from models.gp.pictures import curves
from models.gp.placement import best_member, fitted
from models.plotting import style
from tests.dense_processes import covariance, dense, divergence

PAIRS = [("whitened", "rbf"), ("values", "matern52")]
KINDS = [
    GpData(name, points=12, kernel=kernel, latents=latents)
    for name in ("wave", "plane")
    for kernel in ("rbf", "matern52")
    for latents in ("whitened", "values")
]
EVERY_KIND = pytest.mark.parametrize("data", KINDS, ids=lambda data: f"{data.data}-{data.kernel}-{data.latents}")


@EVERY_KIND
def test_the_posterior_is_a_conditional_gaussian(data: GpData) -> None:
    exact = GaussianProcess(data)
    mean, cov, evidence = dense(data)
    assert exact.log_evidence == pytest.approx(evidence, abs=1e-9)
    assert exact.mean()["f"] == pytest.approx(mean, abs=1e-9)
    assert exact.sd()["f"] == pytest.approx(np.sqrt(np.diagonal(cov)), abs=1e-9)
    draws = exact.draw(np.random.default_rng(0), 20)
    f = draws["f"] if exact.site == "f" else draws["u"] @ exact.factor.T
    jacobian = 0.0 if exact.site == "f" else np.log(np.diagonal(exact.factor)).sum()
    cov = (cov + cov.T) / 2
    expected = stats.multivariate_normal(mean, cov, allow_singular=False).logpdf(f) + jacobian
    assert exact.log_posterior(draws) == pytest.approx(expected, abs=1e-5)  # the dense covariance loses digits


@EVERY_KIND
def test_pyros_own_gp_has_the_same_evidence(data: GpData) -> None:
    pyro.clear_param_store()
    kind = {"rbf": pyro_gp.kernels.RBF, "matern52": pyro_gp.kernels.Matern52}[data.kernel]
    numbers = [torch.tensor(value, dtype=torch.float64) for value in (data.variance, data.length, data.noise**2)]
    x, y = (torch.from_numpy(value) for value in (data.design.inputs, data.design.targets))
    kernel = kind(x.shape[1], variance=numbers[0], lengthscale=numbers[1])
    regression = pyro_gp.models.GPRegression(x, y, kernel, noise=numbers[2], jitter=data.jitter * data.variance)
    log_likelihood = pyro.poutine.trace(regression.model).get_trace().log_prob_sum().item()
    pyro.clear_param_store()
    assert GaussianProcess(data).log_evidence == pytest.approx(log_likelihood, abs=1e-9)


@pytest.mark.parametrize(
    "data", [GpData(), GpData("mcycle", kernel="matern52", noise=0.5, variance=2.0)], ids=["wave", "mcycle"]
)
def test_scikit_learn_predicts_the_same(data: GpData) -> None:
    form = kernels.RBF(data.length) if data.kernel == "rbf" else kernels.Matern(data.length, nu=2.5)
    noise = data.noise**2 + data.jitter * data.variance
    other = GaussianProcessRegressor(kernels.ConstantKernel(data.variance) * form, alpha=noise, optimizer=None)
    other.fit(data.design.inputs, data.design.targets)
    exact, grid = GaussianProcess(data), np.linspace(-0.5, 3.5, 40)[:, None]
    assert exact.log_evidence == pytest.approx(other.log_marginal_likelihood(), abs=1e-8)
    for ours, theirs in zip(exact.predict(grid), other.predict(grid, return_std=True), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-6)


@EVERY_KIND
def test_mean_field_costs_what_the_formula_says(data: GpData) -> None:
    """KL(q*, posterior) of dense Gaussians; the gap rises wherever a sd of q* is changed."""
    exact, best = GaussianProcess(data), best_member(data, "mean_field")
    mean, root, scale = exact.location[exact.site], exact.roots[exact.site], best.parameters["scale"]
    gap = exact.log_evidence - best.elbo
    assert gap == pytest.approx(divergence(mean, np.diag(scale**2), mean, root @ root.T), rel=1e-6)
    for place in range(exact.size):
        for factor in (0.99, 1.01):
            beside = scale * np.where(np.arange(exact.size) == place, factor, 1.0)
            assert divergence(mean, np.diag(beside**2), mean, root @ root.T) > gap


def test_coordinates_decide_what_mean_field_costs() -> None:
    """The same posterior: u is nearly independent where the data say little, f where they say all."""
    gaps = {site: GaussianProcess(GpData()).divergence(site) for site in ("u", "f")}
    assert gaps == pytest.approx({"u": 7.685298, "f": 27.614754}, abs=1e-5)
    quiet, loud = (GaussianProcess(GpData(noise=noise)) for noise in (0.01, 10.0))
    assert quiet.divergence("f") < quiet.divergence("u")
    assert loud.divergence("u") < 0.01 < 40 < loud.divergence("f")
    values, whitened = GaussianProcess(GpData(latents="values")), GaussianProcess(GpData())
    assert values.log_evidence == whitened.log_evidence
    assert set(values.mean()) == {"f"} and set(whitened.mean()) == {"u", "f"}


def test_simulated_functions_lie_where_their_posteriors_say() -> None:
    """u in units of each posterior is standard normal: its squares are chi-squared, within 4 standard errors."""
    data = GpData(points=6, noise=0.3)
    simulated = MODEL.simulate(data, np.random.default_rng(0), 400)
    squares = 0.0
    for u, seen in zip(simulated.latents["u"], simulated.data, strict=True):
        exact = GaussianProcess(seen)
        squares += float(np.sum(((u - exact.location["u"]) @ exact.information) ** 2))
    count = 400 * 6
    assert squares / count == pytest.approx(1.0, abs=4 * math.sqrt(2 / count))


def test_coverage_is_what_simulation_gives() -> None:
    """The share of f_i inside mean field's 95% interval, over data sets, within 4 standard errors."""
    data = GpData(points=6, noise=0.3)
    simulated = MODEL.simulate(data, np.random.default_rng(1), 2000)
    best = best_member(data, "mean_field").parameters
    exact, inside = GaussianProcess(data), np.zeros(6)
    sds = np.sqrt(np.sum((exact.factor * best["scale"]) ** 2, axis=1))
    for u, seen in zip(simulated.latents["u"], simulated.data, strict=True):
        error = exact.factor @ (u - GaussianProcess(seen).location["u"])
        inside += np.abs(error) < 1.959963984540054 * sds
    for i, share in enumerate(inside / 2000):
        truth = MODEL.coverage(data, "mean_field", 0.95)[f"f[{i}]"]
        assert share == pytest.approx(truth, abs=4 * math.sqrt(truth * (1 - truth) / 2000))


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (GpData(points=6), 300),
        pytest.param(GpData(points=6, hyperparameters="unknown"), 200, marks=pytest.mark.slow),
        pytest.param(GpData(points=4, likelihood="bernoulli"), 100, marks=pytest.mark.slow),
    ],
    ids=["known", "unknown", "classes"],
)
def test_the_exact_posteriors_are_calibrated(data: GpData, count: int) -> None:
    summary = calibrate(Request(MODEL, data, ("numpyro",), (), nuts=False), count).summary
    assert summary["fits"]["exact"]["verdict"]["word"] == "agrees"


UNKNOWN = [GpData(points=5, hyperparameters="unknown", latents=latents, kernel=kernel) for latents, kernel in PAIRS]


@pytest.mark.parametrize("data", UNKNOWN, ids=lambda data: data.latents)
def test_unknown_length_and_noise_by_another_quadrature(data: GpData) -> None:
    """Gauss-Hermite quadrature over the two logs: the evidence, the means, and the density of the length."""
    exact, x, y = MODEL.exact(data), data.design.inputs, data.design.targets

    def likelihood(a: float, b: float) -> float:
        """p(y | length, noise) with normal scores a and b."""
        given, noise = data.with_derived(length=0.3 * math.exp(0.5 * a)), 0.1 * math.exp(0.5 * b)
        noisy = covariance(given, x, x) + (data.jitter + noise**2) * np.eye(len(x))
        return math.exp(-0.5 * (y @ np.linalg.solve(noisy, y) + np.linalg.slogdet(2 * math.pi * noisy)[1]))

    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / math.sqrt(2 * math.pi)
    masses = np.outer(weights, weights) * [[likelihood(a, b) for b in nodes] for a in nodes]
    total = masses.sum()
    assert exact.log_evidence == pytest.approx(math.log(total), abs=1e-6)
    assert exact.mean()["length"] == pytest.approx(0.3 * np.exp(0.5 * nodes) @ masses.sum(1) / total, abs=1e-6)
    assert exact.mean()["noise"] == pytest.approx(0.1 * np.exp(0.5 * nodes) @ masses.sum(0) / total, abs=1e-6)
    a = math.log(4 / 3) / 0.5
    at = stats.norm.pdf(a) / (0.5 * 0.4) * weights @ [likelihood(a, b) for b in nodes] / total
    assert exact.density("length", (), np.array([0.4]))[0] == pytest.approx(at, rel=1e-5)


@pytest.mark.parametrize("data", UNKNOWN, ids=lambda data: data.latents)
def test_unknown_length_and_noise_by_draws_from_the_prior(data: GpData) -> None:
    """The evidence, and means and second moments of f, by importance sampling within 4.5 standard errors."""
    exact, logs = MODEL.exact(data), 0.5 * np.random.default_rng(0).standard_normal((2000, 2))
    givens = [dense(data.with_derived(length=0.3 * math.exp(a), noise=0.1 * math.exp(b))) for a, b in logs]
    weights = np.exp([evidence - exact.log_evidence for _, _, evidence in givens])
    assert weights.mean() == pytest.approx(1.0, abs=4.5 * weights.std() / math.sqrt(len(weights)))
    mean, sd = exact.mean()["f"], exact.sd()["f"]
    for i in range(5):
        first = np.array([given[0][i] for given in givens]) - mean[i]
        second = np.array([given[1][i, i] for given in givens]) + first**2 - sd[i] ** 2
        for values in (weights * first, weights * second):
            assert values.mean() == pytest.approx(0.0, abs=4.5 * values.std() / math.sqrt(len(values)))


@pytest.mark.slow
def test_unknown_length_and_noise_by_nuts() -> None:
    """Means, sds and 90% quantiles of the length, the noise and f by NUTS in NumPyro, within 4.5 standard errors."""
    data = GpData(points=8, hyperparameters="unknown", noise=0.3, jitter=1e-4)
    exact, kernel = MODEL.exact(data), NUTS(in_numpyro.model, target_accept_prob=0.95)
    chains = MCMC(
        kernel, num_warmup=1000, num_samples=3000, num_chains=4, chain_method="vectorized", progress_bar=False
    )
    chains.run(jax.random.key(0), **data.arguments())
    draws = {site: np.asarray(value) for site, value in chains.get_samples(group_by_chain=True).items()}
    mean, sd, upper = exact.mean(), exact.sd(), exact.quantile(0.9)
    for site, index in MODEL.quantities.report(data):
        values = draws[site][(..., *index)]
        for kind, ours, truth in (
            ("mean", values.mean(), mean[site][index]),
            ("sd", values.std(), sd[site][index]),
            ("quantile", np.quantile(values, 0.9), upper[site][index]),
        ):
            options = {"prob": 0.9} if kind == "quantile" else {}
            error = float(arviz_stats.mcse(values, method=kind, chain_axis=0, draw_axis=1, **options))
            assert ours == pytest.approx(truth, abs=4.5 * error), (site, index, kind)
            assert error < 0.1 * sd[site][index]


def test_many_points_of_unknown_length_have_a_reference() -> None:
    assert isinstance(MODEL.truth(GpData(points=61, hyperparameters="unknown")), Reference)


CLASSES = GpData(points=20, likelihood="bernoulli")


@pytest.mark.parametrize("latents", ["whitened", "values"])
def test_classes_at_three_points_by_another_quadrature(latents: str) -> None:
    """Gauss-Hermite quadrature over u in three dimensions: the evidence, means and sds of f, and its median."""
    data = GpData(points=3, likelihood="bernoulli", latents=latents, variance=4.0, kernel="matern52")
    exact, x, y = MODEL.exact(data), data.design.inputs, data.design.targets
    nodes, weights = np.polynomial.hermite_e.hermegauss(90)
    u = np.stack(np.meshgrid(nodes, nodes, nodes, indexing="ij"), axis=-1).reshape(-1, 3)
    root = np.linalg.cholesky(covariance(data, x, x) + 4e-6 * np.eye(3))
    f = u @ root.T
    log_masses = np.log(weights / math.sqrt(2 * math.pi))
    logs = np.sum(-np.logaddexp(0, (1 - 2 * y) * f), axis=1) + np.add.outer(
        np.add.outer(log_masses, log_masses), log_masses
    ).reshape(-1)
    masses = np.exp(logs)
    evidence = math.log(masses.sum())
    assert exact.log_evidence == pytest.approx(evidence, abs=1e-8)
    mean = masses @ f / masses.sum()
    assert exact.mean()["f"] == pytest.approx(mean, abs=1e-8)
    assert exact.sd()["f"] == pytest.approx(np.sqrt(masses @ (f - mean) ** 2 / masses.sum()), abs=1e-8)
    for i in range(3):
        marginal = exact.marginal("f", (i,))
        assert (marginal.mean(), marginal.std()) == pytest.approx((mean[i], exact.sd()["f"][i]), abs=1e-6)
    here = {"whitened": {"u": u[:5]}, "values": {"f": f[:5]}}[latents]
    prior = stats.norm.logpdf(u[:5]).sum(1) - (np.log(np.diagonal(root)).sum() if latents == "values" else 0.0)
    joint = prior - np.logaddexp(0, (1 - 2 * y) * f[:5]).sum(axis=1)
    assert exact.log_posterior(here) + evidence == pytest.approx(joint, abs=1e-7)


def slices(data: GpData, count: int, rng: np.random.Generator, chains: int = 32) -> np.ndarray:
    """Draws of f by elliptical slice sampling (Murray, Adams & MacKay 2010), shape (chains, count, n)."""
    x, y = data.design.inputs, data.design.targets
    root = np.linalg.cholesky(covariance(data, x, x) + data.jitter * data.variance * np.eye(len(x)))

    def log_likelihood(f: np.ndarray) -> np.ndarray:
        return -np.logaddexp(0, (1 - 2 * y) * f).sum(axis=1)

    f, draws = rng.standard_normal((chains, len(y))) @ root.T, np.empty((chains, count, len(y)))
    for number in range(-200, count):
        other = rng.standard_normal((chains, len(y))) @ root.T
        level = log_likelihood(f) + np.log(rng.random(chains))
        angle = rng.uniform(0, 2 * math.pi, chains)
        low, high, todo = angle - 2 * math.pi, angle.copy(), np.ones(chains, bool)
        while todo.any():
            there = np.cos(angle)[:, None] * f + np.sin(angle)[:, None] * other
            todo &= log_likelihood(there) <= level
            low, high = np.where(todo & (angle < 0), angle, low), np.where(todo & (angle >= 0), angle, high)
            angle = np.where(todo, rng.uniform(low, high), angle)
        f = there
        if number >= 0:
            draws[:, number] = f
    return draws


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (CLASSES, 1000),
        pytest.param(GpData(points=200, likelihood="bernoulli", latents="values"), 4000, marks=pytest.mark.slow),
    ],
    ids=["20", "200"],
)
def test_elliptical_slice_sampling_agrees_on_classes(data: GpData, count: int) -> None:
    """Means, sds and 90% quantiles of f within 4.5 standard errors of both."""
    exact, draws = MODEL.exact(data), slices(data, count, np.random.default_rng(0))
    mean, sd, upper = exact.mean()["f"], exact.sd()["f"], exact.quantile(0.9)["f"]
    known = sd / math.sqrt(exact.share * len(exact.drawn))
    for i in range(0, exact.log_joint.size, max(1, exact.log_joint.size // 20)):
        for kind, value, truth, factor in (
            ("mean", draws[:, :, i].mean(), mean[i], 1.0),
            ("sd", draws[:, :, i].std(), sd[i], 1.0),
            ("quantile", np.quantile(draws[:, :, i], 0.9), upper[i], 1.8),
        ):
            options = {"prob": 0.9} if kind == "quantile" else {}
            error = float(arviz_stats.mcse(draws[:, :, i], method=kind, chain_axis=0, draw_axis=1, **options))
            assert value == pytest.approx(truth, abs=4.5 * math.hypot(error, factor * known[i])), (kind, i)


def test_the_evidence_of_classes_by_draws_from_the_prior() -> None:
    """The likelihood's mean over the prior, within 4.5 standard errors."""
    data, rng = GpData(points=8, likelihood="bernoulli"), np.random.default_rng(0)
    x, y = data.design.inputs, data.design.targets
    f = rng.standard_normal((200_000, 8)) @ np.linalg.cholesky(covariance(data, x, x) + 1e-6 * np.eye(8)).T
    weights = np.exp(-np.logaddexp(0, (1 - 2 * y) * f).sum(axis=1) - MODEL.exact(data).log_evidence)
    assert weights.mean() == pytest.approx(1.0, abs=4.5 * weights.std() / math.sqrt(len(weights)))
    assert MODEL.exact(data).tolerance < 0.01


def test_directions_of_which_classes_tell_nothing_are_the_priors() -> None:
    """With 200 points few directions matter. The evidence by draws from the Laplace approximation, of which the truth
    knows only the mode, agrees within 4.5 standard errors and the truth's own."""
    data, rng = GpData(points=200, likelihood="bernoulli"), np.random.default_rng(0)
    exact, y = MODEL.exact(data), data.design.targets
    assert exact.n_informed < 30 and exact.share > 0.7
    mode, factor = exact.log_joint.mode, exact.log_joint.factor
    chance = 1 / (1 + np.exp(-factor @ mode))
    root = np.linalg.cholesky(np.eye(200) + (factor.T * chance * (1 - chance)) @ factor)
    eps = rng.standard_normal((20_000, 200))
    u = mode + np.linalg.solve(root.T, eps.T).T
    logs = -np.logaddexp(0, (1 - 2 * y) * (u @ factor.T)).sum(axis=1) - 0.5 * (u**2 - eps**2).sum(axis=1)
    weights = np.exp(logs - np.log(np.diagonal(root)).sum() - exact.log_evidence)
    error = math.hypot(weights.std() / math.sqrt(len(weights)), exact.tolerance / 4)
    assert weights.mean() == pytest.approx(1.0, abs=4.5 * error)
    quiet = exact.basis[:, exact.n_informed + 20 :]
    assert np.diagonal(quiet.T @ exact.covariance @ quiet) == pytest.approx(1.0, abs=0.06)


def test_the_chances_that_are_drawn_are_those_of_the_joint_posterior() -> None:
    """Mean and ends of the 95% band of P(class 1) off the data, by weighted draws of f at the data and beyond from the
    prior; within 4.5 standard errors of both, those of the ends from the share of draws below them."""
    data, rng = GpData(points=3, likelihood="bernoulli", length=1.0), np.random.default_rng(0)
    x, y, grid = data.design.inputs, data.design.targets, np.array([[-0.5], [1.2], [3.6]])
    inputs = np.concatenate([x, grid])
    root = np.linalg.cholesky(covariance(data, inputs, inputs) + 1e-6 * np.eye(6))
    f = rng.standard_normal((100_000, 6)) @ root.T
    weights = np.exp(-np.logaddexp(0, (1 - 2 * y) * f[:, :3]).sum(axis=1))
    weights /= weights.sum()
    chances, n = 1 / (1 + np.exp(-f[:, 3:])), 20_000
    u = MODEL.exact(data).draw(rng, n)["u"]
    mean, low, high = curves(u, data, grid, rng)
    effective = 1 / np.sum(weights**2)
    for j in range(3):
        middle = weights @ chances[:, j]
        sd = math.sqrt(weights @ (chances[:, j] - middle) ** 2)
        assert mean[j] == pytest.approx(middle, abs=4.5 * sd * math.sqrt(1 / n + 1 / effective))
        for end, share in ((low[j], 0.025), (high[j], 0.975)):
            error = math.sqrt(share * (1 - share) * (1 / n + 1 / effective))
            assert weights @ (chances[:, j] < end) == pytest.approx(share, abs=4.5 * error)


def test_what_is_published_of_classes_is_judged_beyond_its_error() -> None:
    (bound, clear), (_, unclear) = (
        classes.published(data)
        for data in (
            GpData(points=200, likelihood="bernoulli"),
            GpData(points=20, likelihood="bernoulli", variance=0.01),
        )
    )
    assert bound.agrees is True and clear.agrees is True and unclear.agrees is None
    near, far = (float(word) for word in (clear.ours.split()[0], clear.ours.split()[2]))
    assert near < far < 1.2 * near


def test_simulated_classes_follow_their_logits() -> None:
    """Class less probability has mean 0, within 4 standard errors, at every point and along f."""
    data = GpData(points=6, likelihood="bernoulli", latents="values")
    simulated = MODEL.simulate(data, np.random.default_rng(0), 3000)
    f, seen = simulated.latents["f"], np.stack([each.design.targets for each in simulated.data])
    assert set(simulated.latents) == {"f"}
    for values in (seen - 1 / (1 + np.exp(-f)), (seen - 1 / (1 + np.exp(-f))) * f):
        assert values.mean(0) == pytest.approx(0.0, abs=4 * values.std() / math.sqrt(3000))


def test_unknown_length_of_classes_has_a_reference() -> None:
    data = GpData(points=5, likelihood="bernoulli", hyperparameters="unknown")
    assert isinstance(MODEL.truth(data), Reference) and "noise" not in data.arguments()
    assert MODEL.quantities.report(data)[0] == ("length", ()) and ("noise", ()) not in MODEL.quantities.report(data)
    assert set(MODEL.simulate(data, np.random.default_rng(0), 2).latents) == {"length", "u"}


def test_the_months_of_co2() -> None:
    """521 of the 526 months from March 1958 to December 2001; in ppm as statsmodels' weeks have them on average."""
    table = co2()
    months = (table.inputs[:, 0] - 1958) * 12 + 0.5
    assert months == pytest.approx(months.round(), abs=1e-3)
    assert (months[0].round(), months[-1].round()) == (3, 528) and len(np.unique(months.round())) == len(months) == 521
    december = (370.3, 370.8, 371.2, 371.3, 371.5)
    assert table.targets[-1] == pytest.approx(sum(december) / 5) and table.targets[0] == 316.1  # its only week
    assert set(np.setdiff1d(np.arange(3, 529), months.round())) == {6, 10, 74, 75, 76}
    assert GpData("co2").design.about["rows"] == 521


def test_tables_of_several_inputs(tmp_path) -> None:
    """The kernel takes distances in all inputs; a curve is drawn of one, and even points need a line."""
    path = tmp_path / "table.csv"
    path.write_text("a,b,y\n0,1,2\n1,0,1\n2,2,0\n3,1,2\n")
    data = GpData(str(path), target="y")
    a = data.design.inputs
    assert data.covariance(a, a)[0, 1] == pytest.approx(math.exp(-0.5 * np.sum((a[0] - a[1]) ** 2) / 0.3**2))
    assert [picture.name for picture in MODEL.pictures if picture.applies(data)] == []
    with pytest.raises(ValueError, match=r"lie on a line and .* has 2 inputs: give --placement greedy or kmeans or"):
        GpData(str(path), target="y", inducing=2)
    assert fitted(GpData(str(path), target="y", inducing=3, placement="greedy")).places.shape == (3, 2)


def test_pictures_need_no_fits(tmp_path) -> None:
    plane, path = GpData("plane", points=6, inducing=2, placement="optimised"), tmp_path / "picture.png"
    with style():
        for data, names in ((GpData(points=6), {"bands", "gaps"}), (CLASSES, {"chances"}), (plane, {"gaps"})):
            pictures = [picture for picture in MODEL.pictures if picture.applies(data)]
            assert {picture.name for picture in pictures} == names
            for picture in pictures:
                picture.draw({}, data, MODEL.exact(data), path)
                assert path.stat().st_size > 5000
                path.unlink()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--noise", "0"], "without noise equal inputs"),
        (["--jitter", "0"], "without jitter equal or close inputs"),
        (["--length", "-1"], "length is -1.0: give a number from"),
        (["--variance", "nan"], "variance is nan: give a number from"),
        (["--points", "5", "--inducing", "6"], "more than the 5 data points with different inputs: give at most"),
        (["--data", "TABLE", "--target", "y", "--inducing", "4"], "more than the 3 data points with different inputs"),
        (["--data", "plane", "--inducing", "4"], "even points lie on a line and plane has 2 inputs"),
        (["--inducing", "-1"], "give a whole number from 0"),
        (["--points", "1"], "give a whole number from 2"),
        (["--data", "mcycles"], "did you mean 'mcycle'"),
        (["--data", "co2", "--likelihood", "bernoulli"], "the targets of co2 are numbers, not classes"),
        (["--likelihood", "bernoulli", "--noise", "0.2"], "classes have no noise: leave --noise 0.2 out"),
        (["--likelihood", "bernoulli", "--points", "5", "--inducing", "6"], "more than the 5 data points"),
        (["--inducing", "3", "--placement", "optimized"], "optimised"),
        (["--placement", "optimised"], "there are no inducing points: give --inducing too"),
        (["--likelihood", "bernoulli", "--points", "301"], "give a whole number from 2 to 300"),
        (["--likelihood", "bernoulli", "--data", "mcycle"], "the targets of mcycle are numbers, not classes"),
        (["--likelihood", "poisson"], "poisson"),
        (["--data", "TABLE"], "needs --target"),
        (["--data", "TABLE", "--target", "z"], "no column 'z'"),
        (["--kernel", "matern"], "matern"),
        (["--hyperparameters", "unknown", "--inducing", "3", "--likelihood", "bernoulli"], "for a known length"),
        (["--spread", "0"], "spread is 0.0: give a number from 0.01 to 1"),
    ],
)
def test_bad_input_is_refused_in_one_line(options: list[str], says: str, tmp_path, capsys) -> None:
    path = tmp_path / "table.csv"
    path.write_text("x,y\n1,0\n2,0\n3,1\n3,2\n")
    assert main(["gp", *[str(path) if option == "TABLE" else option for option in options]]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and says in err


def test_it_is_listed() -> None:
    assert models.load("gp") is MODEL
