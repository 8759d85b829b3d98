"""Simulation-based calibration: right posteriors pass, wrong ones fail in the direction that theory says."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import LIBRARIES, layout
from scipy import stats

import models
from compare.calibration import calibrate, ranks
from compare.calibration.judge import band, given, measure, outside, probability, widest
from compare.calibration.ranks import LEVELS, Ranked, pits
from compare.cli.main import main
from compare.comparison import Drawn, Request
from compare.fit import draw_many
from compare.fit.svi import svi
from compare.options import Options
from compare.plan import plan
from models.bnn import BnnData
from models.chain import Chain
from models.coin import Coin
from models.linear_decoder import most_likely
from models.vae import Autoencoder

CHAIN = Chain(2)


def linear_autoencoder() -> Autoencoder:
    """With the decoder of the principal components, which needs no training."""
    data = Autoencoder(pixels="grey", hidden=0)
    return replace(data, network=most_likely(data.dataset.train, 2))


@pytest.fixture(scope="module")
def chains():
    """Guides and coordinate ascent on chains of two nodes, both libraries."""
    return calibrate(
        Request(models.load("chain"), CHAIN, LIBRARIES, ("mean_field", "full_rank"), nuts=False), 500
    ).summary


def test_ranks_are_uniform_whatever_the_number_of_draws():
    """Of 20,000 true values among draws from the same distribution, with ties: Kolmogorov-Smirnov, 1 in 1,000."""
    rng = np.random.default_rng(0)
    for draws in (1, 7, 100):
        z = rng.integers(0, 5, (20_000, draws + 1, 1)).astype(float)
        pit = pits(z[:, 1:], z[:, 0], rng)[:, 0]
        assert stats.kstest(pit, "uniform").pvalue > 1e-3


def test_a_band_holds_uniform_numbers_as_often_as_it_says():
    """2,000 samples of 200 against the 90% band, within 4 standard errors."""
    rng, level, count = np.random.default_rng(1), 0.9, 2000
    inside = np.mean([outside(rng.random(200), level) == 0 for _ in range(count)])
    assert abs(inside - level) < 4 * math.sqrt(level * (1 - level) / count)
    points, low, high = band(200, level)
    assert np.all(low <= points) and np.all(points <= high)


def test_right_posteriors_pass(chains):
    for name in ("exact", "numpyro-full_rank", "pyro-full_rank"):
        assert chains["fits"][name]["verdict"]["word"] == "agrees", name


@pytest.mark.parametrize("name", ["coordinate_ascent", "numpyro-mean_field", "pyro-mean_field"])
def test_mean_field_is_too_narrow_by_as_much_as_theory_says(chains, name):
    """Its sd is sqrt(3/4) of the truth's, so an interval holds 2 Phi(sqrt(3/4) u) - 1: within 4 standard errors."""
    fit = chains["fits"][name]
    assert fit["verdict"]["word"] == "narrow"
    for quantity in ("z[0]", "z[1]"):
        for level in LEVELS:
            coverage = fit["quantities"][quantity]["coverage"][f"{100 * level:.0f}"]
            theory = 2 * stats.norm.cdf(math.sqrt(3 / 4) * stats.norm.ppf((1 + level) / 2)) - 1
            assert coverage["theory"] == pytest.approx(theory, abs=1e-12)
            assert abs(coverage["value"] - theory) < 4 * coverage["mcse"]
            assert abs(coverage["given_truth"]["value"] - theory) < 4 * coverage["given_truth"]["mcse"]
            assert coverage["given_truth"]["mcse"] < coverage["mcse"] / 5


def test_the_updates_as_printed_are_worse(chains):
    printed, right = (
        chains["fits"][name]["quantities"]["z[0]"] for name in ("coordinate_ascent-text", "coordinate_ascent")
    )
    assert printed["coverage"]["80"]["value"] < right["coverage"]["80"]["value"] - 0.1


@pytest.mark.usefixtures("quickly_compiled")
@pytest.mark.parametrize("library", ["numpyro", pytest.param("pyro", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "data", [pytest.param(Coin(), id="coin"), pytest.param(CHAIN, id="chain", marks=pytest.mark.slow)]
)
def test_nuts_side_by_side_passes(library, data):
    name = type(data).__name__.lower()
    options = Options(budget=600)  # it ends when its targets are met
    summary = calibrate(Request(models.load(name), data, (library,), (), options=options), 60).summary
    nuts = summary["fits"][f"{library}-nuts"]
    assert nuts["status"] == "done", nuts
    assert nuts["verdict"]["word"] == "agrees"
    assert nuts["diagnostics"]["divergences"] == 0
    assert nuts["data_sets"] == 60


def test_a_wrong_posterior_is_noticed(monkeypatch):
    """The exact posterior of the coin with its prior's parameters swapped is off."""
    from models.coin.exact import BetaPosterior

    model, data = models.load("coin"), Coin(alpha=5.0, beta=2.0)
    swapped = replace(model, truth=lambda data: BetaPosterior(replace(data, alpha=data.beta, beta=data.alpha)))
    words = {}
    for name, wrong in (("swapped", swapped), ("right", model)):
        monkeypatch.setattr("compare.registry.load", lambda _, wrong=wrong: wrong)
        summary = calibrate(Request(wrong, data, (), (), nuts=False), 500).summary
        words[name] = summary["fits"]["exact"]["verdict"]["word"]
    assert words == {"swapped": "off", "right": "agrees"}


def test_the_log_likelihood_notices_what_the_latents_cannot(monkeypatch):
    """A posterior that is the prior has uniform ranks for theta, and not for the log likelihood."""
    from models.coin.exact import BetaPosterior

    class Prior(BetaPosterior):
        def __init__(self, data):
            super().__init__(data)
            self.data = data

        def draw(self, rng, count):
            return {"theta": rng.beta(self.data.alpha, self.data.beta, count)}

    wrong = replace(models.load("coin"), truth=Prior)
    monkeypatch.setattr("compare.registry.load", lambda _: wrong)
    fit = calibrate(Request(wrong, Coin(), (), (), nuts=False), 500).summary["fits"]["exact"]
    assert fit["quantities"]["theta"]["outside"] == 0
    assert fit["quantities"]["log likelihood"]["outside"] > 0
    assert fit["verdict"]["word"] != "agrees"


def test_simulated_coins_are_beta_binomial():
    """Counts of heads over 5,000 coins: chi-square, 1 in 1,000."""
    data, count = Coin(tosses=6, heads=3, alpha=0.7, beta=2.0), 5000
    simulated = models.load("coin").simulate(data, np.random.default_rng(2), count)
    counts = np.bincount([replicate.heads for replicate in simulated.data], minlength=7)
    expected = count * stats.betabinom.pmf(np.arange(7), 6, 0.7, 2.0)
    assert stats.chisquare(counts, expected).pvalue > 1e-3


@pytest.mark.parametrize("data", [Chain(3), Chain(3, observe="all")], ids=["last", "all"])
def test_simulated_chains_have_the_prior_predictive_covariance(data):
    """Var x_k = k + 1 and Cov(x_j, x_k) = min(j, k), within 5 standard errors of a sample covariance."""
    count = 5000
    simulated = models.load("chain").simulate(data, np.random.default_rng(3), count)
    x = np.array([replicate.x for replicate in simulated.data])
    nodes = np.arange(1, 4)[-x.shape[1] :]
    expected = np.minimum(nodes[:, None], nodes) + np.eye(len(nodes))
    error = np.sqrt((expected**2 + np.outer(np.diag(expected), np.diag(expected))) / count)
    assert np.all(np.abs(np.cov(x.T).reshape(expected.shape) - expected) < 5 * error)


@pytest.mark.parametrize("data", [BnnData(hidden=1), BnnData(hidden=3, noise="unknown"), BnnData(data="moons")])
def test_simulated_networks_follow_the_log_joint(data):
    """The mean of -log p(y | z) over draws from the joint is the noise's entropy, within 5 standard errors."""
    model, count = models.load("bnn"), 2000
    simulated = model.simulate(data, np.random.default_rng(4), count)
    each = {site: value[:, None] for site, value in simulated.latents.items()}
    losses, entropy = np.empty(count), np.empty(count)
    for number, replicate in enumerate(simulated.data):
        latents = {site: value[number] for site, value in each.items()}
        losses[number] = -model.prediction.pointwise(replicate, latents)["targets"].sum()
        if data.dataset.classes:
            f = models.bnn.network.values(latents, replicate.dataset.inputs, replicate.activation)[0]
            entropy[number] = stats.bernoulli.entropy(1 / (1 + np.exp(-f))).sum()
        else:
            sd = data.dataset.noise or latents["noise"][0]
            entropy[number] = len(replicate.dataset.targets) * stats.norm.entropy(scale=sd)
    difference = losses - entropy
    assert abs(difference.mean()) < 5 * difference.std() / math.sqrt(count)
    assert data.dataset.targets is not simulated.data[0].dataset.targets and simulated.data[0] is not data


def test_every_error_is_what_its_number_varies_by():
    """Over 200 calibrations of 200 data sets, with ranks and scores that are no right posterior's: within 4 errors."""
    rng, estimates = np.random.default_rng(2), dict[str, list[tuple[float, float]]]()
    for _ in range(200):
        pit, scores = rng.beta(0.7, 1.1, (200, 1)), rng.standard_t(8, (200, 1))
        ranked = Ranked(pit, scores, np.zeros((200, 1, 6)), np.arange(200), {})
        numbers = measure(ranked, ["z"], None, {})["z"]
        for level, coverage in numbers.pop("coverage").items():
            numbers[f"coverage of {level}%"] = coverage
        for name, number in numbers.items():
            if name != "outside":
                estimates.setdefault(name, []).append((number["value"], number["mcse"]))
    assert estimates.keys() == {"rank_mean", "bias", "spread", *(f"coverage of {level:.0%}" for level in LEVELS)}
    for name, pairs in estimates.items():
        values, errors = np.array(pairs).T
        spread = stats.kurtosis(values, fisher=False) - 1  # the relative variance of a variance, times their number
        ratio = np.sqrt(np.mean(errors**2)) / values.std(ddof=1)
        assert ratio == pytest.approx(1, abs=4 * np.sqrt(spread / len(values)) / 2), name


def test_every_number_is_what_it_says():
    """Ten data sets and two quantities, counted by hand."""
    pit = np.array([[0.01, 0.05, 0.2, 0.26, 0.5, 0.62, 0.76, 0.93, 0.98, 0.4], np.linspace(0.49, 0.51, 10)]).T
    score = np.stack([np.linspace(-1.2, 1.5, 10), np.zeros(10)], axis=1)
    steps = np.linspace(0, 1, 21)  # the exact posterior's draws, of each data set the same
    ends = np.tile([0.05, 0.1, 0.3, 0.7, 0.9, 1.0], (10, 2, 1)) * np.linspace(0.6, 1.4, 10)[:, None, None]
    fit = Ranked(pit, score, ends, np.arange(10), {})
    exact = replace(fit, draws=np.tile(steps[:, None], (10, 1, 2)))
    every = measure(fit, ["a", "b"], exact, {0.8: {"a": 0.77}})
    numbers, coverage = every["a"], every["a"]["coverage"]
    for number, values in ((numbers["rank_mean"], pit[:, 0]), (numbers["bias"], score[:, 0])):
        assert number["value"] == pytest.approx(values.mean())
        assert number["mcse"] == pytest.approx(values.std(ddof=1) / math.sqrt(10))
    squares = 12 * (pit[:, 0] - 0.5) ** 2
    assert numbers["spread"]["value"] == pytest.approx(math.sqrt(squares.mean()))
    error = squares.std(ddof=1) / math.sqrt(10) / (2 * math.sqrt(squares.mean()))
    assert numbers["spread"]["mcse"] == pytest.approx(error)
    assert every["b"]["bias"] == {"value": 0.0, "mcse": 0.0}
    for level, count, (low, high) in (("50", 4, (2, 3)), ("80", 6, (1, 4)), ("95", 8, (0, 5))):
        assert coverage[level]["value"] == pytest.approx(count / 10)
        assert coverage[level]["mcse"] == pytest.approx(math.sqrt(count * (10 - count) / 900))
        inside = [np.mean([end[low] <= step <= end[high] for step in steps]) for end in ends[:, 0]]
        assert coverage[level]["given_truth"]["value"] == pytest.approx(np.mean(inside))
        assert coverage[level]["given_truth"]["mcse"] == pytest.approx(np.std(inside, ddof=1) / math.sqrt(10))
        assert coverage[level]["theory"] == (0.77 if level == "80" else None)
        assert every["b"]["coverage"][level]["value"] == 1.0
        assert every["b"]["coverage"][level]["mcse"] == pytest.approx(math.sqrt(12 / 14 * 2 / 14 / 10))
    assert numbers["outside"] == outside(pit[:, 0], 1 - 0.01 / 2) == 0


def test_the_quantity_that_speaks_loudest():
    spreads = {"a": 0.7, "b": 1.2, "log likelihood": 3.0}
    measured = {name: {"outside": 0.0, "spread": {"value": spread}} for name, spread in spreads.items()}
    assert widest(measured) == "a" and widest({"log likelihood": measured["log likelihood"]}) == "log likelihood"


def test_a_fit_and_the_truth_are_compared_on_the_data_sets_that_both_have():
    """Of five data sets, far from each other, the fit has no second, and the exact posterior no fourth."""
    draws = 100.0 * np.arange(5)[:, None, None] + np.linspace(0, 1, 101)[:, None]
    ends = 100.0 * np.arange(5)[:, None, None] + np.array([0.025, 0.1, 0.25, 0.5, 0.9, 0.975])
    rows, others = np.array([0, 2, 3, 4]), np.array([0, 1, 2, 4])
    nothing = np.full((4, 1), 0.5)
    fit = Ranked(nothing, nothing, ends[rows], rows, {1: "it failed"})
    exact = Ranked(nothing, nothing, ends[others], others, {3: "it failed"}, draws=draws[others])
    for level, inside in ((0.5, 26 / 101), (0.8, 81 / 101), (0.95, 95 / 101)):
        assert given(fit, exact, 0, level)["value"] == pytest.approx(inside)
    assert given(exact, exact, 0, 0.5) is None


def test_a_fit_that_fails_in_the_middle_moves_no_others_numbers(monkeypatch):
    """Each true value is ranked among the draws of its own data set; diagnostics are the worst of all, or their sum."""
    model = models.load("coin")
    (job,) = plan(Request(model, model.data(), ("numpyro",), ("mean_field",), nuts=False))[-1:]
    simulated = model.simulate(model.data(), np.random.default_rng(0), 5)
    truth = simulated.latents["theta"]
    steps = 1e-3 * np.linspace(-1, 1, 10)  # five below the truth, five above
    known = [Drawn({"theta": t + steps}, n != 3, 1.0 + n / 100, 50.0 * n + 50, n) for n, t in enumerate(truth)]
    results = [*known[:1], ArithmeticError("no"), *known[2:]]
    jobs = []
    monkeypatch.setattr(ranks, "draw_many", lambda some, count: jobs.extend(some) or results)
    ranked = ranks.rank(job, simulated, with_draws=True)
    assert ranked.sets.tolist() == [0, 2, 3, 4] and ranked.failed == {1: "no"}
    assert ((ranked.pit[:, 0] >= 5 / 11) & (ranked.pit[:, 0] <= 6 / 11)).all()
    assert [each.data for each in jobs] == list(simulated.data)
    for row, n in enumerate(ranked.sets):  # the log likelihood is that of the data set, at the draws and at the truth
        coin = simulated.data[n]
        likelihood = stats.binom.logpmf(coin.heads, coin.tosses, truth[n] + steps)
        np.testing.assert_allclose(ranked.draws[row, :, 1], likelihood)
        below = np.sum(likelihood < stats.binom.logpmf(coin.heads, coin.tosses, truth[n]))
        assert below / 11 <= ranked.pit[row, 1] <= (below + 1) / 11
    np.testing.assert_allclose(ranked.scores[:, 0], 0.0, atol=1e-9)
    np.testing.assert_allclose(ranked.draws[:, :, 0], truth[[0, 2, 3, 4], None] + steps)
    assert (ranked.ends[:, 0, 0] < truth[[0, 2, 3, 4]]).all() and (ranked.ends[:, 0, -1] > truth[[0, 2, 3, 4]]).all()
    assert (ranked.converged, ranked.r_hat, ranked.ess, ranked.divergences) == (3, 1.04, 50.0, 0 + 2 + 3 + 4)


def test_each_observation_of_a_plate_is_ranked_among_its_own_draws(monkeypatch):
    """Of three images all draws lie below the true value of the first, around the second's and above the third's."""
    data, model = linear_autoencoder(), models.load("vae")
    (job,) = plan(Request(model, data, (), (), nuts=False))
    simulated = model.simulate(data, np.random.default_rng(0), 3)
    assert simulated.plate and len(simulated.data) == 1
    truth = simulated.latents["z"]
    steps = 1e-3 * np.linspace(-1, 1, 10)[:, None, None] + 1e-2 * np.array([-1, 0, 1])[:, None]
    monkeypatch.setattr(ranks, "draw_many", lambda *given: [Drawn({"z": truth + steps}, True, None, None, None)])
    ranked = ranks.rank(job, simulated)
    assert ranked.pit.shape == (3, 2) and ranked.sets.tolist() == [0, 1, 2] and ranked.converged == 3
    assert [sorted({int(11 * pit) for pit in row}) for row in ranked.pit] == [[10], [5], [0]]
    assert ranked.draws is None and (ranked.r_hat, ranked.ess, ranked.divergences) == (None, None, None)


def test_quantities_are_the_reported_elements_and_the_likelihood():
    """Of a plate those of an observation, named without its number, once each."""
    assert ranks.find_quantities(layout(CHAIN), False) == ["z[0]", "z[1]", "log likelihood"]
    plate = SimpleNamespace(reported_elements=[("z", (image, axis)) for image in (0, 1) for axis in (0, 1)])
    plate.label = lambda site, index: f"{site}{list(index)}"
    assert ranks.find_quantities(plate, True) == ["z[0]", "z[1]"]


def test_scores_are_distances_in_sds():
    draws = np.stack([np.linspace(0, 3, 7), np.full(7, 0.1)], axis=-1)[None]
    score = ranks.scores(draws, np.array([[2.0, 0.7]]))
    np.testing.assert_allclose(score, [[0.5 / np.linspace(0, 3, 7).std(ddof=1), 0.0]])


def test_images_of_a_plate_are_ranked_one_by_one():
    """The closed form of the linear autoencoder passes over 400 images; with the noise taken for half it fails."""
    data = linear_autoencoder()
    model = models.load("vae")
    summary = calibrate(Request(model, data, (), (), nuts=False), 400).summary
    assert summary["quantities"] == ["z[0]", "z[1]"]
    assert summary["fits"]["exact"]["verdict"]["word"] == "agrees"
    weights = dict(data.network.weights)
    louder = replace(data, network=type(data.network)(weights | {"noise": weights["noise"] * 2}))
    simulated = model.simulate(louder, np.random.default_rng(5), 1000)
    quiet = simulated.data[0]
    object.__setattr__(quiet, "network", data.network)
    draws = model.exact(quiet).draw(np.random.default_rng(6), 200)["z"]
    pit = pits(draws.swapaxes(0, 1), simulated.latents["z"], np.random.default_rng(7))
    assert outside(pit[:, 0], probability(2)) > 0


def test_a_fit_that_fails_is_reported_and_the_others_go_on(monkeypatch):
    from compare.fit import coordinate_ascent

    def ascend(*arguments):
        raise ArithmeticError("it met a number that is not finite")

    monkeypatch.setattr(coordinate_ascent, "ascend", ascend)
    request = Request(models.load("chain"), CHAIN, ("numpyro",), ("markov",), nuts=False)
    fits = calibrate(request, 50).summary["fits"]
    assert fits["coordinate_ascent"]["status"] == "failed"
    assert fits["coordinate_ascent"]["verdict"]["word"] == "failed"
    assert "not finite" in fits["coordinate_ascent"]["reason"]
    assert fits["numpyro-markov"]["status"] == "done"


def test_optimisers_that_did_not_arrive_are_counted_in_the_verdict():
    options = Options(sweeps=1)
    request = Request(models.load("chain"), CHAIN, ("numpyro",), ("markov",), nuts=False, options=options)
    fits = calibrate(request, 50).summary["fits"]
    assert fits["coordinate_ascent"]["converged"] == 0
    assert "arrived on 0 of 50 data sets only" in fits["coordinate_ascent"]["verdict"]["sentence"]
    assert "arrived" not in fits["numpyro-markov"]["verdict"]["sentence"]


def test_data_sets_fitted_together_have_time_for_all(monkeypatch):
    budgets = []

    def fit_guides(jobs, prepare, data):
        budgets.append(jobs[0].options.budget)
        return [FloatingPointError("not made")] * len(jobs)

    monkeypatch.setattr(svi, "fit_guides", fit_guides)
    model = models.load("coin")
    (job,) = plan(Request(model, model.data(), ("numpyro",), ("mean_field",), nuts=False))[-1:]
    for count in (1, 5, 200):
        draw_many([job] * count, 10)
    assert budgets == [60.0, 60.0, 1200.0]


def test_the_command_writes_its_files_and_prints_its_json(tmp_path, capsys):
    arguments = ["chain", "--length", "3", "--no-nuts", "--libraries", "numpyro", "--guides", "mean_field"]
    status = main([*arguments, "--calibrate", "60", "--format", "json", "--out", str(tmp_path)])
    printed = json.loads(capsys.readouterr().out)
    folder = tmp_path / "calibration"
    assert status == 0
    assert printed == json.loads((folder / "calibration.json").read_text(encoding="utf-8"))
    assert printed["data_sets"] == 60 and set(printed["fits"]) == {"exact", "coordinate_ascent", "numpyro-mean_field"}
    assert {path.name for path in folder.iterdir()} == {
        "calibration.json",
        "ranks.png",
        "ranks.nc",
        "coverage.png",
        "calibration.html",
    }
    page = (folder / "calibration.html").read_text(encoding="utf-8")
    assert 'src="http' not in page and "--calibrate 60" in page


def test_the_table_names_every_fit(tmp_path, capsys):
    assert main(["coin", "--calibrate", "50", "--no-nuts", "--libraries", "numpyro", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    for name in ("exact", "numpyro-mean_field", "numpyro-full_rank", "numpyro-conjugate"):
        assert f"{name}: agrees" in printed
    assert "±" in printed


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["coin", "--calibrate", "3"], "give 50 data sets or more"),
        (["coin", "--calibrate", "many"], "is not a whole number"),
        (["all", "--calibrate", "100"], "takes one model"),
        (["tests/user_models/logistic_numpyro.py", "--calibrate", "9"], "give 50 data sets or more"),
        (["tests/user_models/logistic_numpyro.py", "--calibrate", "99", "--draws", "x.nc"], "give one of them"),
    ],
)
def test_what_cannot_be_calibrated_is_one_line(arguments, says, tmp_path, capsys):
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert says in message and message.count("\n") == 1
    assert not (tmp_path / "out").exists()
