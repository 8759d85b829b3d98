"""The Gaussian chain: its exact posterior, its twins, the text's claims and coordinate ascent."""

import dataclasses
import json
import math
import pickle
import time
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from compare.comparison import Job
from compare.fit import run
from models import load
from models.chain import Chain
from models.chain.data import report
from models.chain.exact import GaussianChain
from models.plotting import style

MODEL = load("chain")
BOTH = pytest.mark.parametrize("observe", ["last", "all"])


def data_of(length, observe):
    x = np.random.default_rng(length).normal(size=length) if observe == "all" else 0.7
    return Chain(length, x, observe)


def dense(data):
    """Posterior mean, covariance and log evidence by conditioning a dense joint Gaussian."""
    n = data.length
    walk = np.tril(np.ones((n, n)))
    prior = walk @ walk.T
    seen = np.eye(n) if data.observe == "all" else np.eye(n)[-1:]
    noisy = seen @ prior @ seen.T + np.eye(len(seen))
    gain = prior @ seen.T @ np.linalg.inv(noisy)
    evidence = multivariate_normal(np.zeros(len(seen)), noisy).logpdf(data.x)
    return gain @ np.array(data.x), prior - gain @ seen @ prior, evidence


def test_the_chain_of_the_text():
    exact = GaussianChain(Chain())
    np.testing.assert_allclose(exact.mean()["z"], [1 / 3, 2 / 3], rtol=1e-14)
    np.testing.assert_allclose(exact.sd()["z"] ** 2, [2 / 3, 2 / 3], rtol=1e-14)
    np.testing.assert_allclose(exact.correlations()["z[0],z[1]"], 0.5, rtol=1e-14)
    np.testing.assert_allclose(exact.log_evidence, norm.logpdf(1, 0, math.sqrt(3)), rtol=1e-14)
    np.testing.assert_allclose(exact.log_evidence, -1.634911, atol=5e-7)
    best = MODEL.best_member(Chain(), "mean_field")
    np.testing.assert_allclose(best.parameters["location"], [1 / 3, 2 / 3], rtol=1e-14)
    np.testing.assert_allclose(best.parameters["scale"] ** 2, [0.5, 0.5], rtol=1e-14)
    np.testing.assert_allclose(exact.log_evidence - best.elbo, math.log(4 / 3) / 2, rtol=1e-13)
    for family in ("full_rank", "markov"):
        assert MODEL.best_member(Chain(), family).elbo == exact.log_evidence
    assert MODEL.best_member(Chain(), "conjugate") is None


@BOTH
@pytest.mark.parametrize("length", [1, 2, 3, 10])
def test_exact_against_dense_linear_algebra(length, observe):
    data = data_of(length, observe)
    exact = GaussianChain(data)
    mean, covariance, evidence = dense(data)
    np.testing.assert_allclose(exact.mean()["z"], mean, rtol=1e-11)
    np.testing.assert_allclose(exact.sd()["z"], np.sqrt(np.diag(covariance)), rtol=1e-11)
    np.testing.assert_allclose(exact.covariance(), covariance, rtol=1e-10)
    np.testing.assert_allclose(exact.log_evidence, evidence, rtol=1e-11)
    correlation = covariance / np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    pairs = exact.correlations()
    assert len(pairs) == length * (length - 1) // 2
    for i in range(length):
        for j in range(i + 1, length):
            np.testing.assert_allclose(pairs[f"z[{i}],z[{j}]"], correlation[i, j], rtol=1e-10)
    draws = exact.draw(np.random.default_rng(0), 20_000)
    whitened = np.linalg.solve(np.linalg.cholesky(covariance), (draws["z"] - mean).T)
    np.testing.assert_allclose(whitened @ whitened.T / 20_000, np.eye(length), atol=0.05)
    np.testing.assert_allclose(
        exact.log_posterior(draws)[:9], np.atleast_1d(multivariate_normal(mean, covariance).logpdf(draws["z"][:9]))
    )
    edge = exact.quantile(0.975)["z"]
    np.testing.assert_allclose(edge, norm.ppf(0.975, mean, np.sqrt(np.diag(covariance))), rtol=1e-9)
    grid = np.linspace(-3, 3, 5)
    np.testing.assert_allclose(exact.density("z", (0,), grid), norm.pdf(grid, mean[0], np.sqrt(covariance[0, 0])))


@BOTH
@pytest.mark.parametrize("length", [1, 2, 3, 10, 1000])
def test_joint_minus_posterior_is_the_evidence(length, observe):
    exact = GaussianChain(data_of(length, observe))
    z = {"z": exact.location + np.random.default_rng(1).normal(size=(50, length))}
    evidence = exact.log_joint(z) - exact.log_posterior(z)
    np.testing.assert_allclose(evidence, exact.log_evidence, atol=1e-9)


@pytest.mark.parametrize("length", [2, 3, 10])
def test_best_members_against_dense(length):
    """Stationary point and divergence by dense formulas; the other families hold the posterior."""
    data = data_of(length, "all")
    exact = GaussianChain(data)
    _, covariance, evidence = dense(data)
    precision = np.linalg.inv(covariance)
    best = MODEL.best_member(data, "mean_field")
    np.testing.assert_allclose(best.parameters["scale"], np.diag(precision) ** -0.5)
    divergence = 0.5 * (np.log(np.diag(precision)).sum() + np.linalg.slogdet(covariance)[1])
    np.testing.assert_allclose(best.elbo, evidence - divergence, rtol=1e-10)
    tril = MODEL.best_member(data, "full_rank").parameters["scale_tril"]
    np.testing.assert_allclose(tril @ tril.T, covariance, rtol=1e-10)
    markov = MODEL.best_member(data, "markov").parameters
    factor = np.diag(markov["diagonal"]) + np.diag(markov["off_diagonal"], -1)
    np.testing.assert_allclose(factor @ factor.T, precision, atol=1e-10)
    np.testing.assert_allclose(exact.mean_field_divergence(), divergence, rtol=1e-9)


def test_a_hundred_thousand_nodes_in_seconds():
    n = 100_000
    start = time.perf_counter()
    exact = GaussianChain(Chain(n))
    k = np.arange(1, n + 1)
    np.testing.assert_allclose(exact.location, k / (n + 1), rtol=1e-11)
    np.testing.assert_allclose(exact.variance, k * (n + 1 - k) / (n + 1), rtol=1e-11)
    np.testing.assert_allclose(exact.log_evidence, norm.logpdf(1, 0, math.sqrt(n + 1)), rtol=1e-10)
    z = exact.draw(np.random.default_rng(0), 20)
    evidence = exact.log_joint(z) - exact.log_posterior(z)
    np.testing.assert_allclose(evidence, exact.log_evidence, atol=exact.tolerance)
    assert len(exact.correlations()) == 19
    assert "scale_tril" not in MODEL.best_member(exact.data, "full_rank").parameters
    assert time.perf_counter() - start < 10


# The twins


@pytest.fixture
def numpyro_density():
    numpyro = pytest.importorskip("numpyro")
    numpyro.enable_x64()
    from numpyro.infer.util import log_density

    from models.chain.in_numpyro import model

    return lambda data, z: float(log_density(model, (), data.arguments(), {"z": z})[0])


@pytest.fixture
def pyro_density():
    pyro = pytest.importorskip("pyro")
    import torch

    from models.chain.in_pyro import model

    def density(data, z):
        arguments = data.arguments() | {"x": torch.tensor(data.x, dtype=torch.float64)}
        conditioned = pyro.condition(model, {"z": torch.tensor(z)})
        return pyro.poutine.trace(conditioned).get_trace(**arguments).log_prob_sum().item()

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield density
    torch.set_default_dtype(before)


@BOTH
@pytest.mark.parametrize("length", [1, 2, 3, 10, 1000])
@pytest.mark.parametrize("library", ["numpyro_density", "pyro_density"])
def test_twins_are_the_model(library, length, observe, request):
    density = request.getfixturevalue(library)
    data = data_of(length, observe)
    exact = GaussianChain(data)
    z = np.random.default_rng(2).normal(size=length).cumsum()
    joint = exact.log_joint({"z": z[None]})
    np.testing.assert_allclose(density(data, z), joint[0], rtol=1e-12, atol=1e-9)


# Coordinate ascent


def ascend(data, name="coordinate_ascent", options=None):
    fit = run(Job(name, "chain", data, "coordinate_ascent", options=options))
    assert fit.status == "done", fit.reason
    return fit.tree


@BOTH
@pytest.mark.parametrize("length", [1, 2, 3, 10, 150])
def test_coordinate_ascent_never_descends_and_arrives(length, observe):
    data = data_of(length, observe)
    enough = SimpleNamespace(sweeps=60_000 if length == 150 else 2000, cavi_tolerance=1e-10)
    tree = ascend(data, options=enough)
    steps = tree["optimisation"]
    assert steps.attrs["converged"] == 1
    assert np.diff(steps["elbo"].values).min() > -1e-10
    best = MODEL.best_member(data, "mean_field")
    np.testing.assert_allclose(steps.attrs["elbo"], best.elbo, atol=1e-6)
    if length <= 10:
        np.testing.assert_allclose(steps["mean"][-1], best.parameters["location"], atol=1e-6)
        np.testing.assert_allclose(steps["variance"][-1], best.parameters["scale"] ** 2, atol=1e-12)


def test_coordinate_ascent_on_the_chain_of_the_text():
    tree = ascend(Chain())
    steps = tree["optimisation"]
    assert steps.attrs["sweeps"] == 11 and steps.attrs["converged"] == 1
    assert steps.sizes["step"] == 1 + 2 * 11
    np.testing.assert_allclose(steps["mean"][-1], [1 / 3, 2 / 3], atol=1e-6)
    np.testing.assert_allclose(steps.attrs["elbo"], MODEL.best_member(Chain(), "mean_field").elbo, atol=1e-6)
    assert tree.posterior["z"].shape == (4, 1000, 2)
    terms = tree.sample_stats["log_joint"] - tree.sample_stats["log_guide"]
    assert abs(float(terms.mean()) - steps.attrs["elbo"]) < 4 * float(terms.std()) / math.sqrt(4000)
    again = ascend(Chain())
    np.testing.assert_array_equal(again.posterior["z"], tree.posterior["z"])


def test_the_text_s_update_walks_to_x_x():
    steps = ascend(Chain(), "coordinate_ascent-text")["optimisation"]
    np.testing.assert_allclose(steps["mean"][-1], [1, 1], atol=1e-6)
    np.testing.assert_allclose(MODEL.best_member(Chain(), "mean_field").elbo - steps.attrs["elbo"], 1 / 3, atol=1e-5)
    assert np.diff(steps["elbo"].values).min() < 0
    for other in (Chain(3), Chain(2, observe="all")):
        assert "coordinate_ascent-text" not in MODEL.coordinate_ascent(other)


@pytest.mark.parametrize("observe", ["last", "all"])
def test_a_sweep_at_once_is_the_sweep_node_by_node(observe):
    """Beyond 100 nodes a sweep is one linear recurrence; it must be the same sweep."""
    data = data_of(120, observe)
    exact, way = GaussianChain(data), MODEL.coordinate_ascent(data)["coordinate_ascent"]
    state = {"mean": np.random.default_rng(0).normal(size=120), "variance": np.ones(120)}
    (swept,) = way.updates(state)
    mean = np.concatenate([[0.0], state["mean"], [0.0]])
    for k in range(1, 121):
        mean[k] = (mean[k - 1] + mean[k + 1] + exact.pull[k - 1]) / exact.precision_diagonal[k - 1]
    np.testing.assert_allclose(swept["mean"], mean[1:-1], rtol=1e-12)


def test_small_changes_are_not_arrival():
    data = Chain(2000, 50.0)
    tree = ascend(data, options=SimpleNamespace(sweeps=100, cavi_tolerance=1e-6))
    steps = tree["optimisation"]
    assert steps.attrs["converged"] == 0 and steps.attrs["sweeps"] == 100
    assert "stopped after 100 sweeps" in steps.attrs["reason"]
    assert MODEL.best_member(data, "mean_field").elbo - steps.attrs["elbo"] > 1
    assert tree.posterior["z"].sizes["z_dim_0"] == 2000
    assert tree.posterior["z_dim_0"].values.tolist() == list(range(2000)), "all that verdicts look at is kept"


# The text


def test_claims_of_the_text():
    verdicts = {claim.claim: claim for claim in MODEL.literature.claims(Chain())}
    assert [claim.agrees for claim in verdicts.values()] == [False, False, True, True]
    assert "(0.3333, 0.6667)" in verdicts["the chain's posterior is intractable"].truth
    assert verdicts["coordinate update mu1 = (mu2 + x)/2"].truth.startswith("mu1 = 0.5 mu2;")
    assert verdicts["mean-field variances sigma1^2 = sigma2^2 = 1/2"].truth == pytest.approx(0.5)
    assert [claim.agrees for claim in MODEL.literature.claims(Chain(x=0.0))] == [False, False, True, True]
    assert MODEL.literature.claims(Chain(3)) == MODEL.literature.claims(Chain(2, observe="all")) == []


# The pictures


@pytest.mark.parametrize("data", [Chain(), Chain(2, 0.0), Chain(3, observe="all"), Chain(200, 20.0)], ids=repr)
def test_pictures_are_drawn_of_whatever_was_fitted(data, tmp_path):
    exact = GaussianChain(data)
    fits = {name: ascend(data, name) for name in MODEL.coordinate_ascent(data)}
    tree = fits["coordinate_ascent"]  # its draws stand in for a family's
    for some in ({}, fits, fits | {"pyro-mean_field": tree, "numpyro-markov": tree}):
        for picture in MODEL.pictures:
            if picture.applies(data):
                path = tmp_path / f"{picture.name}-{len(some)}.png"
                with style():
                    picture.draw(some, data, exact, path)
                assert path.read_bytes().startswith(b"\x89PNG")
    assert any(picture.applies(data) for picture in MODEL.pictures)


# The data


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 0}, "length is 0: give 1 or more"),
        ({"length": -3}, "give 1 or more"),
        ({"length": 2.5}, "give a whole number"),
        ({"length": float("nan")}, "give a whole number"),
        ({"length": True}, "give a whole number"),
        ({"length": "two"}, "give a whole number"),
        ({"x": float("nan")}, "give finite numbers"),
        ({"x": [1.0, float("inf")], "observe": "all"}, r"x\[1\] is inf"),
        ({"x": [1.0, 2.0]}, "use --observe all"),
        ({"x": [1.0, 2.0, 3.0], "observe": "all"}, "x has 3 numbers for 2 nodes: give 1 or 2"),
        ({"x": [], "observe": "all"}, "x has 0 numbers"),
        ({"x": [[1.0, 2.0]], "observe": "all"}, "shape"),
        ({"x": None}, "give"),
        ({"observe": "first"}, "give last or all"),
        ({"x": "no/such/file"}, "neither a number nor a file"),
    ],
)
def test_bad_data_is_refused_in_one_line(options, message):
    with pytest.raises(ValueError, match=message) as caught:
        Chain(**options)
    assert "\n" not in str(caught.value)


def test_observations_from_the_command_line_and_from_files(tmp_path):
    fields = {field.name: field.metadata["parse"] for field in dataclasses.fields(Chain)}
    assert fields["x"]("1.5") == (1.5,) and fields["x"]("1,2,-3e1") == (1.0, 2.0, -30.0)
    assert fields["length"]("1e5") == 100_000
    for text in ("2.5", "two", "inf"):
        with pytest.raises(ValueError, match="whole number"):
            fields["length"](text)
    for text in ("1 2\n3\n", "1,2,3", "# three\n1\n2\n3"):
        (tmp_path / "x.txt").write_text(text)
        assert fields["x"](str(tmp_path / "x.txt")) == (1.0, 2.0, 3.0)
    (tmp_path / "x.txt").write_text("1\ntwo\n")
    with pytest.raises(ValueError, match="'two' in line 2"):
        fields["x"](str(tmp_path / "x.txt"))
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(ValueError, match="holds no numbers"):
        fields["x"](str(tmp_path / "empty.txt"))
    (tmp_path / "noise.bin").write_bytes(bytes(range(256)))
    for path in (tmp_path, tmp_path / "noise.bin"):
        with pytest.raises(ValueError, match="cannot be read"):
            fields["x"](str(path))


def test_data_travels_and_describes_itself():
    chain = Chain(3, 0.5, "all")
    assert chain.x == (0.5, 0.5, 0.5) and chain == Chain(3, [0.5] * 3, "all")
    assert hash(chain) == hash(pickle.loads(pickle.dumps(chain)))
    assert Chain(1, 1.0).describe() == {"length": 1, "x": 1.0, "observe": "last"}
    long = data_of(5000, "all")
    text = json.dumps(long.describe())
    assert len(text) < 1000 and "sha256" in text and len(report(long)) == 20
    assert report(long)[0] == ("z", (0,)) and report(long)[-1] == ("z", (4999,))
    assert len(report(Chain(100))) == 100


def test_coverage_of_every_reported_node():
    """Of 150 nodes some are reported, and each has its own: by the dense covariance, and of the other families exactly
    the level."""
    data = data_of(150, "last")
    covariance = GaussianChain(data).covariance()
    ratio = 1 / np.sqrt(np.diag(np.linalg.inv(covariance)) * np.diag(covariance))
    nodes = [index[0] for _, index in report(data)]
    assert len(nodes) < 150 and len({round(ratio[node], 6) for node in nodes}) > 3
    for level in (0.5, 0.95):
        z = norm.ppf((1 + level) / 2)
        expected = {f"z[{node}]": 2 * norm.cdf(ratio[node] * z) - 1 for node in nodes}
        assert MODEL.coverage(data, "mean_field", level) == pytest.approx(expected, abs=1e-9)
        for family in ("full_rank", "markov"):
            assert MODEL.coverage(data, family, level) == pytest.approx(dict.fromkeys(expected, level), abs=1e-12)
