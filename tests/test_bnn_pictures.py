"""The network's pictures: the numbers behind them against hand-made cases and theory, and that all are drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import arviz_base
import numpy as np
import pytest
import xarray as xr
from conftest import layout
from matplotlib.image import imread
from scipy import stats

from models.bnn import BnnData, network
from models.bnn.datasets import Dataset
from models.bnn.pictures import PICTURES, predictive
from models.bnn.uncertainty import bound, coverage, gap, input_range, limited, reliability
from models.plotting import flat_draws, list_fits, one_per_family, style


def a_network(columns: int = 1, classes: bool = False, activation: str = "tanh", rows: int = 60) -> BnnData:
    """A network of three hidden units on made-up rows, half of them held out, with two clusters in each input."""
    rng = np.random.default_rng(columns)
    inputs = rng.uniform(1, 2, (rows, columns)) * rng.choice([-1.0, 1.0], (rows, 1))
    targets = np.sin(2 * inputs[:, 0]) + 0.2 * rng.standard_normal(rows)
    targets = (targets > 0).astype(float) if classes else targets
    half = rows // 2
    dataset = Dataset(inputs[:half], targets[:half], inputs[half:], targets[half:], inputs[half : half + 5], classes)
    data = BnnData(hidden=3, activation=activation, noise="unknown")
    object.__setattr__(data, "dataset", dataset)
    return data


def a_tree(data: BnnData, seed: int = 0, draws: int = 40) -> xr.DataTree:
    """A fit whose draws are the prior's, in two chains."""
    rng = np.random.default_rng(seed)
    sites = {site: rng.standard_normal((2, draws, *shape)) for site, shape in layout(data).latents.items()}
    if "noise" in sites:
        sites["noise"] = 0.1 + np.abs(sites["noise"])
    return arviz_base.from_dict({"posterior": sites})


# Which fits are shown, and how many of their draws


def test_the_truth_comes_first_and_numpyro_stands_for_a_family():
    names = ["pyro-nuts", "pyro-mean_field", "numpyro-new", "numpyro-mean_field", "reference", "mean_field-variant"]
    fits = dict.fromkeys(names, xr.DataTree.from_dict({"posterior": xr.Dataset()}))
    shown = {fit.name: fit for fit in list_fits(fits, references=True)}
    first = one_per_family(fits, references=True)
    assert list(shown) == ["reference", "numpyro-mean_field", "pyro-mean_field", "pyro-nuts", "numpyro-new"]
    assert [fit.name for fit in first] == ["reference", "numpyro-mean_field", "pyro-nuts", "numpyro-new"]
    assert [fit.name for fit in list_fits(fits)] == list(shown)[1:]
    assert shown["numpyro-mean_field"].color == shown["pyro-mean_field"].color
    assert (shown["numpyro-mean_field"].line, shown["pyro-mean_field"].line) == ("-", "--")
    assert len({fit.color for fit in first}) == 4
    assert list_fits({}) == []


def test_draws_are_thinned_over_all_chains_and_stay_together():
    data = a_network()
    tree = a_tree(data, draws=500)
    number = np.arange(1000.0).reshape(2, 500)
    tree["posterior"]["output_bias"][:] = number
    tree["posterior"]["noise"][:] = number
    draws = flat_draws(tree, most=100)
    assert draws["output_bias"].tolist() == list(range(0, 1000, 10)) == draws["noise"].tolist()
    assert draws["hidden_weights"].shape == (100, 1, 3)
    assert len(flat_draws(tree, most=10**6)["noise"]) == 1000


# One input


def test_the_gap_is_the_largest_between_neighbours():
    assert gap(np.array([3.0, -1.0, 0.0, 2.5, -1.5])) == (0.0, 2.5)
    assert gap(np.array([4.0, 1.0])) == (1.0, 4.0)


def test_the_reach_holds_the_grid_and_a_margin_around_the_rows():
    data = a_network()
    somewhere = replace(data.dataset, inputs=np.array([[0.0], [10.0]]), grid=np.array([[-5.0], [2.0]]))
    object.__setattr__(data, "dataset", somewhere)
    low, high = input_range(data)
    assert (low.tolist(), high.tolist()) == ([-5.0], [11.0])


def test_bands_are_the_quantiles_of_the_function_and_of_the_targets_with_their_noise():
    """f = b ~ N(0, 1) everywhere and noise of sd 0.75, so that targets are N(0, 1.25^2)."""
    data, count = a_network(), 20_000
    latents = {site: np.zeros((count, *shape)) for site, shape in layout(data).latents.items()}
    latents["output_bias"] = np.random.default_rng(1).standard_normal(count)
    latents["noise"] = np.full(count, 0.75)
    f, targets = predictive(data, latents, np.array([-1.0, 3.0]))
    levels = np.array([0.025, 0.25, 0.5, 0.75, 0.975])
    error = np.sqrt(levels * (1 - levels) / count) / stats.norm.pdf(stats.norm.ppf(levels))
    assert np.all(np.abs(f - stats.norm.ppf(levels)[:, None]) < 4 * error[:, None])
    assert np.all(np.abs(targets - 1.25 * stats.norm.ppf([[0.025], [0.975]])) < 4 * 1.25 * error[0])

    probability, none = predictive(a_network(classes=True), latents, np.array([0.0]))
    assert np.allclose(probability, 1 / (1 + np.exp(-f[:, :1])), atol=1e-3)
    assert none.shape == (0, 1)


class Factorised(SimpleNamespace):
    """Independent Gaussians on the weights of a ReLU network with one input, and the variance of f in closed form."""

    @classmethod
    def any(cls, rng: np.random.Generator, hidden: int = 3) -> Factorised:
        sites = ("hidden_weights", "hidden_biases", "output_weights")
        return cls(
            mean={site: 2 * rng.standard_normal(hidden) for site in sites},
            sd={site: rng.gamma(1.0, 1.0, hidden) for site in sites},
            bias_sd=rng.gamma(1.0, 0.3),
        )

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        sites = {site: self.mean[site] + self.sd[site] * rng.standard_normal((count, 3)) for site in self.mean}
        sites["hidden_weights"] = sites["hidden_weights"][:, None, :]
        return {**sites, "output_bias": self.bias_sd * rng.standard_normal(count)}

    def variance(self, x: float) -> float:
        """Var(b) + sum_k Var(v_k h_k) with E h = m Phi(m/s) + s phi(m/s), E h^2 = (m^2 + s^2) Phi + m s phi."""
        m = self.mean["hidden_weights"] * x + self.mean["hidden_biases"]
        s = np.sqrt((self.sd["hidden_weights"] * x) ** 2 + self.sd["hidden_biases"] ** 2)
        below, density = stats.norm.cdf(m / s), stats.norm.pdf(m / s)
        first, second = m * below + s * density, (m**2 + s**2) * below + m * s * density
        v, square = self.mean["output_weights"], self.mean["output_weights"] ** 2 + self.sd["output_weights"] ** 2
        return float(self.bias_sd**2 + np.sum(square * second - v**2 * first**2))


def test_the_theorem_holds_where_the_picture_says_and_not_beyond():
    """For 500 factorised networks, at every r nearer to the origin than both ends; and for some not elsewhere."""
    rng, beyond = np.random.default_rng(2), 0
    for _ in range(500):
        some, p, q = Factorised.any(rng), -rng.gamma(1.0, 1.0), rng.gamma(1.0, 1.0)
        limit, near = some.variance(p) + some.variance(q), min(-p, q)
        assert all(some.variance(r) <= limit for r in np.linspace(-near, near, 21))
        beyond += some.variance(1.5 * max(-p, q)) > limit
    assert beyond > 100


def test_both_sides_of_the_theorem_are_measured_with_their_errors():
    rng = np.random.default_rng(3)
    some = Factorised.any(rng)
    truth = np.sqrt(some.variance(0.0)), np.sqrt(some.variance(-1.0) + some.variance(0.7))
    at = np.array([[-1.0], [0.0], [0.7]])
    bounds = np.array([bound(network.values(some.draw(rng, 4000), at, "relu")) for _ in range(50)])
    for side, true in ((0, truth[0]), (2, truth[1])):
        values, errors = bounds[:, side], bounds[:, side + 1]
        assert abs(values.mean() - true) < 4 * values.std() / np.sqrt(50)
        assert errors.mean() == pytest.approx(values.std(), rel=4 / np.sqrt(100))


def test_the_theorem_is_silent_without_relu_or_where_the_gap_lies_to_one_side():
    data = a_network(activation="relu")
    assert limited(data) and not limited(a_network()) and not limited(a_network(2, activation="relu"))
    object.__setattr__(data, "dataset", replace(data.dataset, inputs=data.dataset.inputs + 3))
    assert not limited(data)


# Calibration


def test_coverage_counts_the_rows_within_each_interval():
    below = np.array([0.5, 0.25, 0.875, 1.0])
    assert coverage(below, np.array([0.0, 0.4, 0.5, 0.75, 1.0])).tolist() == [0.25, 0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_coverage_is_what_theory_says_of_intervals_too_narrow_right_and_too_wide(scale):
    """Of y ~ N(0, 1) an interval of N(0, scale^2) at level a holds 2 Phi(scale Phi^-1((1 + a) / 2)) - 1."""
    y, levels = np.random.default_rng(4).standard_normal(5000), np.array([0.1, 0.5, 0.8, 0.95])
    truth = 2 * stats.norm.cdf(scale * stats.norm.ppf((1 + levels) / 2)) - 1
    error = np.sqrt(truth * (1 - truth) / len(y))
    assert np.all(np.abs(coverage(stats.norm.cdf(y / scale), levels) - truth) < 4 * error)


def test_reliability_puts_equally_many_rows_in_each_bin():
    """Wilson's interval of 2 of 2 begins at 2 / (2 + 1.96^2), and that of 1 of 2 is symmetric about a half."""
    low, high = reliability(np.array([0.9, 0.1, 0.8, 0.2]), np.array([1.0, 0.0, 1.0, 1.0]), 2)
    assert low[:2] == pytest.approx((0.15, 0.5)) and high[:2] == pytest.approx((0.85, 1.0))
    assert high[2:] == pytest.approx((2 / (2 + 1.959964**2), 1.0))
    assert low.low + low.high == pytest.approx(1.0) and low.high > 0.9
    sizes = reliability(np.linspace(0, 1, 11), np.ones(11), 3)
    assert [group.predicted for group in sizes] == pytest.approx([0.15, 0.55, 0.9])


def test_a_calibrated_fit_is_reliable_and_a_bold_one_is_not():
    rng = np.random.default_rng(5)
    probability = rng.random(4000)
    outcome = (rng.random(4000) < probability).astype(float)
    bins = np.array(reliability(probability, outcome, 8))
    assert np.all(np.abs(bins[:, 0] - bins[:, 1]) < 4 * np.sqrt(bins[:, 0] * (1 - bins[:, 0]) / 500))
    bold = np.array(reliability(probability**3 / (probability**3 + (1 - probability) ** 3), outcome, 8))
    assert bold[1, 0] < bold[1, 2] and bold[-2, 0] > bold[-2, 3]


# All of them are drawn

KINDS = {
    "curve": (a_network(), ["bands", "spread", "calibration"]),
    "ReLU curve": (a_network(activation="relu"), ["bands", "spread", "calibration"]),
    "curve of classes": (a_network(classes=True), ["bands", "spread", "calibration"]),
    "surface": (a_network(2), ["surface", "calibration"]),
    "surface of classes": (a_network(2, classes=True), ["surface", "calibration"]),
    "many inputs": (a_network(5), ["calibration"]),
    "many inputs, classes": (a_network(5, classes=True), ["calibration"]),
    "two rows": (a_network(rows=4), ["bands", "spread", "calibration"]),
}

CHOICES = {
    "both libraries": ["reference", "numpyro-mean_field", "pyro-mean_field", "numpyro-flow", "pyro-nuts"],
    "one library, no reference": ["pyro-mean_field", "pyro-full_rank"],
    "one fit": ["numpyro-mean_field"],
    "the truth alone": ["exact"],
    "nothing": [],
}

EVERY = [(kind, "both libraries") for kind in KINDS] + [("ReLU curve", "one library, no reference")]
EVERY += [(kind, choice) for kind in ("curve of classes", "surface") for choice in list(CHOICES)[1:]]


@pytest.mark.parametrize(("kind", "choice"), EVERY)
def test_each_picture_is_drawn_of_whatever_was_fitted(kind: str, choice: str, tmp_path: Path):
    data, names = KINDS[kind]
    fits = {name: a_tree(data, seed) for seed, name in enumerate(CHOICES[choice])}
    some = [picture for picture in PICTURES if picture.applies(data)]
    assert [picture.name for picture in some] == names
    for picture in some:
        path = tmp_path / f"{picture.name}.png"
        with style():
            picture.draw(fits, data, None, path)
        image = imread(path)
        colors = (255 * image[..., :3]).round() @ [1, 256, 256**2]
        assert len(np.unique(colors)) > 10
