"""Multi-path Pathfinder: its mixture against closed forms, quadrature, Pathfinder and BlackJAX, in both libraries."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import LIBRARIES, side
from scipy import integrate, stats

import guides
from compare import compare, fit_guide
from compare.cli.main import main
from compare.fit.psis import smooth
from compare.fit.svi.draws import fresh
from compare.fit.svi.multipath import mix_all, shares
from compare.fit.svi.svi import optimise_many
from compare.fit.svi.unoptimised import take_all
from compare.options import Options
from models.coin import Coin
from models.logistic import LogisticData
from tests.bent import model

Y = 6.0
"""The square that is observed of the model `squared`."""


def prepared(library: str, name: str, data, family: str = "full_rank"):
    arguments, static = side(library).split_arguments(data.arguments())
    return side(library).prepare(name, family, static, arguments), arguments


def mixture_of(library: str, name: str, data, **options):
    (outcome,) = mix_all(prepared(library, name, data)[0], [prepared(library, name, data)[1]], Options(**options), [0])
    return outcome


def log_joint(z: np.ndarray) -> np.ndarray:
    return stats.norm.logpdf(z, 1, 2) + stats.norm.logpdf(Y, z**2, 1)


def gaussian(location: float, scale: float) -> dict[str, np.ndarray]:
    return {"location": np.array([location]), "scale_tril": np.array([[scale]])}


class Squared:
    """The log joint of the model `squared` as an objective of full rank."""

    def evaluate(self, path, eps, data):
        z = path["location"] + eps[:, 0] * path["scale_tril"][0]
        log_q = stats.norm.logpdf(z, path["location"], path["scale_tril"][0])
        return type("Evaluation", (), {"log_ratio": log_joint(z) - log_q})


MASS = [integrate.quad(lambda z: math.exp(log_joint(z)), *side)[0] for side in ((-np.inf, 0), (0, np.inf))]
"""Of the two modes: 0.23 and 0.77 of the whole."""


@pytest.mark.parametrize("library", LIBRARIES)
def test_one_path_is_pathfinder(library):
    objective, arguments = prepared(library, "logistic", LogisticData(), "pathfinder")
    (single,) = take_all(optimise_many, objective, [arguments], guides.load("pathfinder"), Options(), [0])
    outcome = mixture_of(library, "logistic", LogisticData(), paths=1)
    np.testing.assert_array_equal(outcome.parameters["locations"], single.parameters["location"][None])
    np.testing.assert_array_equal(outcome.parameters["scale_trils"], single.parameters["scale_tril"][None])
    np.testing.assert_allclose(outcome.parameters["logits"], [0.0], atol=1e-12)
    assert outcome.converged and not np.isfinite(outcome.gap.value)


def test_paths_to_one_mode_share_its_mass():
    """Three of four paths lead to the smaller mode; the weights are the modes' masses all the same, by quadrature."""
    paths = [gaussian(-2.4, 0.21), gaussian(-2.4, 0.21), gaussian(2.4, 0.21), gaussian(-2.38, 0.2)]
    rng = np.random.default_rng(0)
    share = shares(Squared(), None, paths, [fresh(rng, 4096, 1) for _ in paths])
    assert MASS[1] / sum(MASS) == pytest.approx(0.77, abs=0.005)
    assert share[2] == pytest.approx(MASS[1] / sum(MASS), abs=0.01)  # 6 standard errors of independent draws
    assert share.sum() == pytest.approx(1)


def test_k_hat_is_blackjaxs():
    """`blackjax.diagnostics.psis_weights` of BlackJAX 1.7.1 at the log ratios of Student's t over a normal."""
    eps = stats.norm.ppf((np.arange(400) + 0.5) / 400)
    for freedom, k, largest in ((3, 0.8832224577324818, 0.01425), (30, 0.6181715527798438, 0.003886)):
        weights, khat = smooth(stats.t.logpdf(eps, freedom) - stats.norm.logpdf(eps))
        assert khat == pytest.approx(k, abs=1e-10)
        assert weights.max() == pytest.approx(largest, rel=0.02)


PARAMETERS = {
    "logits": np.log([0.2, 0.7, 0.1]),
    "locations": np.array([[-1.0, -2.0], [0.5, -1.0], [2.0, 0.0]]),
    "scale_trils": np.array([[[0.5, 0.0], [0.2, 0.4]], [[1.0, 0.0], [-0.5, 0.6]], [[0.3, 0.0], [0.0, 0.2]]]),
}


@pytest.mark.parametrize("library", LIBRARIES)
def test_draws_and_densities_are_the_mixtures(library):
    """Against SciPy: the density at each draw, and by 4,096 draws of equal weight the means and the covariance."""
    objective, arguments = prepared(library, "logistic", LogisticData(), "multipath")
    eps = fresh(np.random.default_rng(1), 4096, 2)
    drawn = objective.evaluate(PARAMETERS, eps, arguments)
    z = np.column_stack([drawn.latents["intercept"], drawn.latents["weights"]])
    parts = [
        stats.multivariate_normal(location, factor @ factor.T)
        for location, factor in zip(PARAMETERS["locations"], PARAMETERS["scale_trils"], strict=True)
    ]
    weights = np.exp(PARAMETERS["logits"])
    log_q = np.log(sum(weight * part.pdf(z) for weight, part in zip(weights, parts, strict=True)))
    log_p = np.add(*side(library).density("logistic", ())(drawn.latents, arguments))
    np.testing.assert_allclose(drawn.log_ratio, log_p - log_q, rtol=1e-9)
    mean = weights @ PARAMETERS["locations"]
    second = sum(w * (p.cov + np.outer(p.mean, p.mean)) for w, p in zip(weights, parts, strict=True))
    covariance = second - np.outer(mean, mean)
    assert np.all(np.abs(z.mean(axis=0) - mean) < 4 * np.sqrt(np.diag(covariance) / 4096))
    np.testing.assert_allclose(np.cov(z.T), covariance, atol=0.1)


@pytest.mark.parametrize("library", LIBRARIES)
def test_it_holds_two_modes_which_no_gaussian_does(library):
    """The evidence gap falls from 0.27 nats, -log 0.77, to some hundredths, and the verdict is that it agrees."""
    result = compare(model(library, "squared"), {"y": np.array(Y)}, guides=["pathfinder", "multipath"], nuts=False)
    single, several = (result.summary["fits"][f"{library}-{guide}"] for guide in ("pathfinder", "multipath"))
    assert result.summary["log_evidence"]["value"] == pytest.approx(math.log(sum(MASS)), abs=1e-6)
    assert single["verdict"]["word"] == "off" and single["ledger"]["evidence_gap"]["value"] > 0.2
    assert several["verdict"]["word"] == "agrees" and several["diagnostics"]["khat"] < 0.7
    assert several["ledger"]["evidence_gap"]["value"] < 0.05
    assert (
        "Its Gaussians are the best on their ways to a mode; the gap to the best mixture is not known"
        in (several["verdict"]["sentence"])
    )


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_guide_is_handed_back_with_its_weights(library):
    fitted = fit_guide(model(library, "squared"), {"y": np.array(Y)}, guide="multipath", paths=3)
    logits = next(value for name, value in fitted.params.items() if name.endswith("logits"))
    draws = fitted.draws["z"].values.ravel()
    share = np.exp(logits) @ (np.ravel(next(v for n, v in fitted.params.items() if n.endswith("locations"))) > 0)
    assert np.shape(logits) == (3,) and np.mean(draws > 0) == pytest.approx(share, abs=4 * 0.5 / len(draws) ** 0.5)
    assert fitted.guide is not None


def test_a_budget_that_ends_on_a_path_is_said():
    outcome = mixture_of("numpyro", "logistic", LogisticData(), budget=1e-6)
    assert not outcome.converged and "its budget of 1e-06 s ended on path 1 of 4" in outcome.reason
    assert outcome.parameters["logits"].shape == (4,)


def test_where_no_path_leads_anywhere_it_fails_and_the_other_data_sets_go_on():
    data = [Coin(6, 10), Coin(2, 10)]
    split = [side("numpyro").split_arguments(coin.arguments()) for coin in data]
    arguments = [arrays for arrays, _ in split]
    arguments[1] = arguments[1] | {"alpha": arguments[1]["alpha"] * math.nan}
    objective = side("numpyro").prepare("coin", "full_rank", split[0][1], arguments[0])
    good, bad = mix_all(objective, arguments, Options(), [0, 0])
    assert good.converged and np.exp(good.parameters["logits"]).sum() == pytest.approx(1)
    assert isinstance(bad, FloatingPointError) and "none of 4 paths leads anywhere" in str(bad)


def test_the_program_of_a_fit_is_refused_in_a_line(capsys):
    assert main(["coin", "--show", "--guides", "multipath", "--libraries", "pyro"]) == 2
    assert "it mixes full_rank's guides on several ways to a mode" in capsys.readouterr().err
