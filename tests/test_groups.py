"""The groups of every fit's tree: ArviZ's functions work on it without another line, and the numbers are right."""

from __future__ import annotations

from functools import cache

import arviz_plots
import arviz_stats
import numpy as np
import numpyro
import numpyro.distributions as ndist
import pyro
import pyro.distributions as pdist
import pytest
import torch
from scipy import stats

import models
from compare import user_model
from compare.comparison import Fit, Job, Request
from compare.fit import groups, run
from compare.options import Options
from compare.plan import plan
from compare.user_model.process import undisturbed
from compare.user_model.sitewise import CHUNK, Form, Terms, evaluate
from compare.user_model.sitewise_pyro import parameters_of
from compare.user_model.variates import SAMPLERS, draw

LIBRARIES = ("numpyro", "pyro")
OPTIONS = Options(budget=600.0, warmup=150, ess=100.0, draws=1024, tolerance=0.1)
ERRORS = 4.0  # standard errors that a right number may be off

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # ArviZ's, where k-hat is high or a picture is dull


def fitted(library: str, function, data: dict, method: str = "svi") -> Fit:
    """A fit of a user's model by its only guide here, or by NUTS."""
    user = user_model.register(function, library)
    with undisturbed(library):
        given = user_model.data_of(user, data)
        guide = "full_rank" if method == "svi" else None
        return run(Job(f"{library}-{method}", user.name, given, method, library, guide, 0, OPTIONS, None, given.layout))


Y = np.array([0.3, -1.1, 0.8, 2.1, -0.4, 0.9, 1.6, -0.2, 0.5, 1.2])


def normal_numpyro(y):
    mean = numpyro.sample("mean", ndist.Normal(0.0, 2.0))
    with numpyro.plate("data", len(y)):
        numpyro.sample("y", ndist.Normal(mean, 1.0), obs=y)


def normal_pyro(y):
    mean = pyro.sample("mean", pdist.Normal(0.0, 2.0))
    with pyro.plate("data", len(y)):
        pyro.sample("y", pdist.Normal(mean, 1.0), obs=y)


def units_numpyro(counts, trials):
    a = numpyro.sample("a", ndist.LogNormal(0.0, 1.0))
    with numpyro.plate("units", len(counts)):
        theta = numpyro.sample("theta", ndist.Beta(a, a))
        numpyro.sample("counts", ndist.Binomial(trials, theta), obs=counts)


def units_pyro(counts, trials):
    a = pyro.sample("a", pdist.LogNormal(0.0, 1.0))
    with pyro.plate("units", len(counts)):
        theta = pyro.sample("theta", pdist.Beta(a, a))
        pyro.sample("counts", pdist.Binomial(trials, theta), obs=counts)


NORMAL = {"numpyro": normal_numpyro, "pyro": normal_pyro}, {"y": Y}
UNITS = {"numpyro": units_numpyro, "pyro": units_pyro}, {"counts": np.array([3.0, 7.0, 5.0, 9.0]), "trials": 10.0}


def coin(library: str, method: str) -> Fit:
    model = models.load("coin")
    request = Request(model, model.data(), (library,), ("mean_field",), options=OPTIONS)
    return run(next(job for job in plan(request) if job.method == method))


@cache
def fit_of(name: str, library: str, method: str) -> Fit:
    if name == "coin":
        return coin(library, method)
    functions, data = {"normal": NORMAL, "units": UNITS}[name]
    return fitted(library, functions[library], data, method)


TRIED = [("coin", "numpyro", "nuts"), ("coin", "pyro", "svi"), ("normal", "pyro", "nuts")]
TRIED += [("normal", "numpyro", "svi"), ("units", "numpyro", "svi"), ("units", "pyro", "svi")]


@pytest.mark.parametrize(("name", "library", "method"), TRIED)
def test_arviz_functions_work_on_the_tree(name, library, method):
    fit = fit_of(name, library, method)
    assert fit.status == "done", fit.reason
    tree = fit.tree
    assert not [attribute for attribute in tree.attrs if attribute.startswith("no_")]
    assert {*groups.GROUPS, "observed_data"} <= set(tree.children)
    count = next(iter(tree["observed_data"].data_vars.values())).size
    assert arviz_stats.loo(tree).n_data_points == count
    assert len(arviz_stats.compare({"left": tree, "right": tree})) == 2
    assert np.isfinite(arviz_stats.loo_pit(tree).to_array()).all()
    if method == "svi":
        log_p, log_q = tree.sample_stats.log_joint, tree.sample_stats.log_guide
        assert np.isfinite(arviz_stats.loo_approximate_posterior(tree, log_p=log_p, log_q=log_q).elpd)
    assert set(arviz_stats.psense(tree)) == set(tree.posterior)
    assert set(arviz_stats.psense(tree, group="likelihood")) == set(tree.posterior)
    arviz_plots.plot_ppc_dist(tree, backend="none")
    arviz_plots.plot_prior_posterior(tree, backend="none")


def test_a_binomial_is_one_observation():
    tree = fit_of("coin", "pyro", "svi").tree
    assert tree["log_likelihood"].attrs["observations"] == "heads: 1 observation"
    theta = tree.posterior["theta"].values
    assert tree.log_likelihood["heads"].values[..., 0] == pytest.approx(stats.binom(10, theta).logpmf(6), abs=1e-9)
    assert tree.log_prior["theta"].values == pytest.approx(stats.beta(2, 2).logpdf(theta), abs=1e-9)


@pytest.mark.parametrize("library", LIBRARIES)
def test_predictive_draws_and_loo_are_those_of_the_closed_form(library):
    tree = fit_of("normal", library, "svi").tree
    precision = 1 / 4 + len(Y)
    mean, sd = Y.sum() / precision, np.sqrt(1 + 1 / precision)
    replicated = tree["posterior_predictive"]["y"].values.reshape(-1, len(Y))
    close(replicated[:, 0], mean, sd)
    alike = np.corrcoef(replicated[:, 0], replicated[:, 1])[0, 1]  # the replicates of one draw share its mean
    assert abs(alike - 1 / precision / sd**2) < ERRORS / np.sqrt(len(replicated))
    close(tree["prior"]["mean"].values.ravel(), 0.0, 2.0)
    close(tree["prior_predictive"]["y"].values[..., 3].ravel(), 0.0, np.sqrt(5.0))
    without = (Y.sum() - Y) / (precision - 1)  # what the others say of the mean
    exact = stats.norm(without, np.sqrt(1 + 1 / (precision - 1))).logpdf(Y).sum()
    parts = [arviz_stats.loo(tree.isel(chain=[chain])).elpd for chain in range(4)]
    error = np.std(parts, ddof=1) / 2
    assert abs(arviz_stats.loo(tree).elpd - exact) < ERRORS * max(error, 0.01)


def close(values: np.ndarray, mean: float, sd: float) -> None:
    """Assert that independent draws have this mean and sd, within `ERRORS` standard errors."""
    assert abs(values.mean() - mean) < ERRORS * sd / np.sqrt(len(values))
    assert abs(values.std() / sd - 1) < ERRORS / np.sqrt(2 * len(values))


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_hierarchy_is_drawn_level_by_level(library):
    prior = fit_of("units", library, "svi").tree["prior"]
    a, theta = prior["a"].values.ravel(), prior["theta"].values.reshape(-1, 4)
    assert stats.kstest(np.log(a), "norm").pvalue > 1e-4
    for unit in range(4):
        assert stats.kstest(stats.beta(a, a).cdf(theta[:, unit]), "uniform").pvalue > 1e-4
    counts = fit_of("units", library, "svi").tree["prior_predictive"]["counts"].values.reshape(-1, 4)
    assert abs(np.sum(counts - 10 * theta) / np.sqrt(np.sum(10 * theta * (1 - theta)))) < ERRORS


def walk_numpyro(x):
    scale = numpyro.sample("scale", ndist.HalfNormal(1.0))
    first = numpyro.sample("first", ndist.Normal(0.0, 10.0), obs=x[0])
    numpyro.sample("second", ndist.Normal(first, 0.1 * scale), obs=x[1])


def walk_pyro(x):
    scale = pyro.sample("scale", pdist.HalfNormal(1.0))
    first = pyro.sample("first", pdist.Normal(0.0, 10.0), obs=x[0])
    pyro.sample("second", pdist.Normal(first, 0.1 * scale), obs=x[1])


class Line:
    """A program: y ~ N(z, 1) at every point; it notes the seeds that it is run with."""

    problems: dict[str, str] = {}
    forms = {"y": Form("Normal", 0)}

    def __init__(self) -> None:
        self.seeds: list[int] = []

    def run(self, latents, observed, seed) -> Terms:
        self.seeds.append(seed)
        z = latents["z"]
        return Terms({"z": 0 * z}, {"y": 0 * z}, {"y": {"loc": z, "scale": np.ones_like(z)}}, {}, {})


def test_no_two_points_have_the_same_random_numbers():
    """Points are evaluated in blocks, and each block has numbers of its own; another seed gives others."""
    z, observed = np.zeros(3 * CHUNK + 7), {"y": np.zeros(())}
    line = Line()
    drawn = [evaluate(line, {"z": z}, observed, seed).replicated["y"] for seed in (0, 0, 10**6)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert len(np.unique(np.concatenate(drawn[1:]))) == 2 * len(z)
    assert stats.kstest(drawn[0], "norm").pvalue > 1e-4
    assert len(set(line.seeds)) == 8  # a library that draws by itself has another seed in each block, too


@pytest.mark.parametrize(("library", "function"), [("numpyro", walk_numpyro), ("pyro", walk_pyro)])
def test_an_observation_that_follows_another_follows_its_replicate(library, function):
    tree = fitted(library, function, {"x": np.array([1.0, 1.1])}).tree
    for group in ("posterior", "prior"):
        drawn, name = tree[group], f"{group}_predictive"
        steps = tree[name]["second"] - tree[name]["first"].values
        z = (steps.values[..., 0] / (0.1 * drawn["scale"].values)).ravel()
        close(z, 0.0, 1.0)
        assert tree[name]["first"].values.std() > 5


def improper_numpyro(y):
    numpyro.sample(
        "y", ndist.Normal(numpyro.sample("mean", ndist.ImproperUniform(ndist.constraints.real, (), ())), 1.0), obs=y
    )


def overflow_numpyro(y):
    rate = numpyro.sample("rate", ndist.Normal(0.0, 100.0))
    numpyro.sample("y", ndist.Poisson(numpyro.deterministic("mean", 1.0 + 0 * rate) * np.e**rate), obs=y)


def factor_pyro(y):
    mean = pyro.sample("mean", pdist.Normal(0.0, 1.0))
    pyro.factor("likelihood", -0.5 * ((y - mean) ** 2).sum())


def discrete_pyro(y):
    weight = pyro.sample("weight", pdist.Beta(6.0, 2.0))
    with pyro.plate("data", len(y)):
        which = pyro.sample("which", pdist.Bernoulli(weight))
        pyro.sample("y", pdist.Normal(5.0 * which, 1.0), obs=y)


def test_what_cannot_be_had_is_left_out_with_the_reason():
    tree = fitted("numpyro", improper_numpyro, {"y": Y}).tree
    assert tree.attrs["no_prior"] == tree.attrs["no_prior_predictive"] == "the prior of site 'mean' is improper"
    assert {"log_likelihood", "log_prior", "posterior_predictive"} <= set(tree.children)
    tree = fitted("numpyro", overflow_numpyro, {"y": np.array([1.0, 2.0])}).tree
    assert "lam value too large" in tree.attrs["no_prior_predictive"] or "finite" in tree.attrs["no_prior_predictive"]
    assert {"prior", "posterior_predictive", "log_likelihood"} <= set(tree.children)
    tree = fitted("pyro", factor_pyro, {"y": Y}).tree
    assert tree.attrs["no_posterior_predictive"] == "no site is observed; from a factor nothing can be drawn"
    assert tree["log_likelihood"].attrs["observations"] == "likelihood: 1 observation"
    assert "prior" in tree


def test_discrete_latents_are_drawn_for_the_prior_and_for_nothing_else():
    tree = fitted("pyro", discrete_pyro, {"y": np.array([0.1, 5.2, 4.7, 5.5])}).tree
    assert "summed out" in tree.attrs["no_posterior_predictive"]
    weight = tree["prior"]["weight"].values.ravel()
    assert stats.kstest(weight, stats.beta(6, 2).cdf).pvalue > 1e-4
    high = tree["prior_predictive"]["y"].values.reshape(-1, 4) > 2.5
    share = 0.75 * stats.norm.cdf(2.5) + 0.25 * stats.norm.sf(2.5)
    assert abs(high.mean() - share) < ERRORS * np.sqrt(0.75 * 0.25 / len(high))


@pytest.mark.parametrize("library", LIBRARIES)
def test_data_sets_of_other_sizes_have_replicates_of_their_own(library):
    """Of one model in one process: what was traced for the first size is used again for the third."""
    function = {"numpyro": normal_numpyro, "pyro": normal_pyro}[library]
    for size in (10, 4, 10):
        tree = fitted(library, function, {"y": Y[:size]}).tree
        assert tree["posterior_predictive"]["y"].shape[2:] == tree["log_likelihood"]["y"].shape[2:] == (size,)


class Normal(ndist.Normal):
    """A user's, of the library's name: it has a sampler of its own."""

    def sample(self, key, sample_shape=()):
        return super().sample(key, sample_shape) + 77.0


class Silent(ndist.Distribution):
    """A user's that cannot be drawn from."""

    support = ndist.constraints.real

    def __init__(self, mean):
        self.mean_ = mean
        super().__init__(batch_shape=np.shape(mean))

    def log_prob(self, value):
        return ndist.Normal(self.mean_, 1.0).log_prob(value)


@pytest.mark.parametrize("own", [Normal, Silent])
def test_a_distribution_of_the_users_is_drawn_by_itself_or_not_at_all(own):
    def function(y):
        mean = numpyro.sample("mean", ndist.Normal(0.0, 2.0))
        likelihood = own(mean * np.ones(len(y)), 1.0) if own is Normal else own(mean * np.ones(len(y)))
        numpyro.sample("y", likelihood.to_event(1), obs=y)

    tree = fitted("numpyro", function, {"y": Y}).tree
    assert {"log_likelihood", "log_prior", "prior"} <= set(tree.children)
    if own is Normal:
        assert tree["posterior_predictive"]["y"].values.mean() > 70
    else:
        assert "cannot be drawn from" in tree.attrs["no_posterior_predictive"]


def test_groups_that_would_be_too_large_are_left_out(monkeypatch):
    monkeypatch.setattr(groups, "LARGEST", 5000)
    tree = fitted("pyro", normal_pyro, {"y": Y}).tree
    assert "more than 5,000; ask for fewer draws" in tree.attrs["no_log_likelihood"]
    assert not set(groups.GROUPS) & set(tree.children)


def test_terms_that_do_not_add_up_are_left_out(monkeypatch):
    honest = groups.evaluate

    def twice(*arguments):
        seen = honest(*arguments)
        return type(seen)(seen.log_prior, {n: 2 * v for n, v in seen.log_likelihood.items()}, seen.replicated)

    monkeypatch.setattr(groups, "evaluate", twice)
    tree = fitted("pyro", normal_pyro, {"y": Y}).tree
    assert "do not add up to the log likelihood" in tree.attrs["no_log_likelihood"]
    assert "log_likelihood" not in tree.children


CONTINUOUS = {
    "Normal": ((1.0, 2.0), stats.norm(1, 2)),
    "LogNormal": ((0.2, 0.5), stats.lognorm(0.5, scale=np.exp(0.2))),
    "HalfNormal": ((2.0,), stats.halfnorm(scale=2)),
    "Cauchy": ((1.0, 2.0), stats.cauchy(1, 2)),
    "HalfCauchy": ((2.0,), stats.halfcauchy(scale=2)),
    "Laplace": ((1.0, 2.0), stats.laplace(1, 2)),
    "Logistic": ((1.0, 2.0), stats.logistic(1, 2)),
    "StudentT": ((4.0, 1.0, 2.0), stats.t(4, 1, 2)),
    "Uniform": ((-1.0, 3.0), stats.uniform(-1, 4)),
    "Exponential": ((2.0,), stats.expon(scale=0.5)),
    "Gamma": ((3.0, 2.0), stats.gamma(3, scale=0.5)),
    "InverseGamma": ((3.0, 2.0), stats.invgamma(3, scale=2)),
    "Beta": ((2.0, 5.0), stats.beta(2, 5)),
}
DISCRETE = {
    "BernoulliProbs": ((0.3,), stats.bernoulli(0.3)),
    "BernoulliLogits": ((-0.5,), stats.bernoulli(1 / (1 + np.exp(0.5)))),
    "BinomialProbs": ((7.0, 0.3), stats.binom(7, 0.3)),
    "BinomialLogits": ((7.0, -0.5), stats.binom(7, 1 / (1 + np.exp(0.5)))),
    "BetaBinomial": ((7.0, 2.0, 3.0), stats.betabinom(7, 2, 3)),
    "Poisson": ((2.5,), stats.poisson(2.5)),
    "GammaPoisson": ((3.0, 2.0), stats.nbinom(3, 2 / 3)),
    "CategoricalProbs": (([0.2, 0.5, 0.3],), stats.rv_discrete(values=([0, 1, 2], [0.2, 0.5, 0.3]))),
    "CategoricalLogits": ((np.log([0.2, 0.5, 0.3]) + 1,), stats.rv_discrete(values=([0, 1, 2], [0.2, 0.5, 0.3]))),
}
COUNT = 20_000


def drawn(kind: str, values: tuple) -> np.ndarray:
    names = SAMPLERS[kind].parameters
    repeated = {n: np.broadcast_to(v, (COUNT, *np.shape(v))) for n, v in zip(names, values, strict=True)}
    return draw(kind, repeated, (), np.random.default_rng(1))


@pytest.mark.parametrize("kind", CONTINUOUS)
def test_continuous_draws_have_scipys_distribution(kind):
    values, truth = CONTINUOUS[kind]
    assert stats.kstest(drawn(kind, values), truth.cdf).pvalue > 1e-4


@pytest.mark.parametrize("kind", DISCRETE)
def test_discrete_draws_have_scipys_distribution(kind):
    values, truth = DISCRETE[kind]
    counts = np.bincount(drawn(kind, values).astype(int), minlength=40)[:40]
    expected = COUNT * truth.pmf(np.arange(40))
    error = np.sqrt(expected * (1 - expected / COUNT)) + 1
    assert (np.abs(counts - expected) < 5 * error).all()


def test_vectors_have_their_moments():
    values = drawn("Dirichlet", ([2.0, 3.0, 5.0],))
    assert np.abs(values.mean(axis=0) - [0.2, 0.3, 0.5]).max() < 5 * 0.16 / np.sqrt(COUNT)
    lower = np.array([[2.0, 0.0], [1.0, 0.5]])
    values = drawn("MultivariateNormal", ([1.0, -1.0], lower))
    assert np.abs(np.cov(values.T) - lower @ lower.T).max() < 5 * 4 * np.sqrt(2 / COUNT)
    assert np.abs(values.mean(axis=0) - [1.0, -1.0]).max() < 5 * 2 / np.sqrt(COUNT)


@pytest.mark.parametrize("kind", [*CONTINUOUS, *DISCRETE])
def test_a_distribution_of_either_library_has_the_mean_of_the_draws(kind):
    values, truth = (CONTINUOUS | DISCRETE)[kind]
    parameters = dict(zip(SAMPLERS[kind].parameters, values, strict=True))
    theirs = getattr(ndist, kind)(**{name: np.asarray(value) for name, value in parameters.items()})
    ours = parameters_of(in_pyro(kind, {name: torch.as_tensor(value) for name, value in parameters.items()}))
    if "Logits" not in kind:
        assert {name: value.tolist() for name, value in ours.items()} == {
            n: np.asarray(v).tolist() for n, v in parameters.items()
        }
    if np.isfinite(truth.mean()) and "Categorical" not in kind:
        assert float(theirs.mean) == pytest.approx(truth.mean(), rel=1e-6)


def in_pyro(kind: str, parameters: dict):
    name = kind.removesuffix("Probs").removesuffix("Logits")
    return getattr(pdist, name)(**parameters)
