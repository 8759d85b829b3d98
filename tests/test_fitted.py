"""The best member of a family, handed back in the library's own form, is the one that was found."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
from conftest import LIBRARIES
from test_user_guides import COVARIANCE, DATA, MEAN, PRECISION, written

from compare import check, fit_guide

ORDERED = {"y": np.array([4.0, 6.0, 5.0, 7.5])}


def ordered(library: str):
    """A model whose latents do not stand in the order of their names: in each the posterior is far from the other's."""
    module, dist = import_module(library), import_module(f"{library}.distributions")

    def model(y):
        second = module.sample("z", dist.Normal(0.0, 10.0))
        first = module.sample("a", dist.Normal(-40.0, 0.1))
        module.sample("y", dist.Normal(second + 0.0 * first, 1.0).expand(y.shape).to_event(1), obs=y)

    return model


def sampled(library: str, guide, params, data) -> dict[str, np.ndarray]:
    """Draws from a guide by the library alone, in its default precision, shape (4000, *site)."""
    if library == "numpyro":
        import jax
        from numpyro.infer import Predictive

        drawn = Predictive(guide, params=params, num_samples=4000)(jax.random.key(1), **data)
        return {name: np.asarray(value) for name, value in drawn.items() if not name.startswith("_")}
    import pyro
    import torch
    from pyro.infer import Predictive

    pyro.set_rng_seed(1)
    tensors = {name: torch.tensor(value, dtype=torch.get_default_dtype()) for name, value in data.items()}
    drawn = Predictive(guide, num_samples=4000)(**tensors)
    pyro.clear_param_store()
    return {name: value.detach().numpy() for name, value in drawn.items()}


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_family_is_handed_back_as_the_librarys_own_autoguide(library):
    """Fitted alone, with its gap; the library draws from it what was found, each site its own."""
    best = fit_guide(ordered(library), ORDERED, "full_rank")
    assert best.optimisation.converged and best.gap.value + 2 * best.gap.mcse < 0.01
    drawn = sampled(library, best.guide, best.params, ORDERED)
    precision = 4 + 1 / 100
    for site, mean, sd in (("z", ORDERED["y"].sum() / precision, precision**-0.5), ("a", -40.0, 0.1)):
        assert abs(drawn[site].mean() - mean) < 4 * sd / np.sqrt(4000) + 0.01 * sd, site
        assert abs(drawn[site].std() / sd - 1) < 4 / np.sqrt(8000) + 0.01, site
        assert abs(best.draws[site].values.mean() - mean) < 4 * sd / np.sqrt(4096) + 0.01 * sd
    evidence = -0.5 * np.linalg.slogdet(2 * np.pi * (np.eye(4) + 100.0))[1]
    evidence -= 0.5 * ORDERED["y"] @ np.linalg.solve(np.eye(4) + 100.0, ORDERED["y"])
    assert abs(best.elbo.value - evidence) < 4 * best.elbo.mcse + 0.01


def test_a_guide_in_pyro_is_not_touched_by_another_in_the_param_store():
    """One of the same class, at its start, with sds of 0.1; and one that was handed back before."""
    import pyro
    import torch
    from pyro.infer import SVI, Trace_ELBO
    from pyro.infer.autoguide import AutoMultivariateNormal

    model, y = ordered("pyro"), torch.tensor(ORDERED["y"])
    pyro.clear_param_store()
    SVI(model, AutoMultivariateNormal(model), pyro.optim.Adam({"lr": 1e-3}), Trace_ELBO()).step(y)
    other = fit_guide(model, {"y": ORDERED["y"][:1]}, "full_rank")
    best = fit_guide(model, ORDERED, "full_rank")
    other.guide(y)
    drawn = sampled("pyro", best.guide, best.params, ORDERED)
    sd = (4 + 1 / 100) ** -0.5
    assert abs(drawn["z"].std() / sd - 1) < 4 / np.sqrt(8000) + 0.01


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_checked_fit_goes_on_from_the_best_member(library):
    """The given params are judged, and those of the best member are handed back."""
    side = written(library)
    early = {"loc": MEAN + 0.3, "scale": np.full(2, 0.4)}
    best = check(side.line, DATA, guide=side.by_hand, params=early).fits[f"{library}-by_hand"]
    assert best.guide is side.by_hand and best.gap.value > 0.1
    assert np.allclose(best.params["scale"] * np.sqrt(np.diag(PRECISION)), 1, atol=0.05)  # gaps below 0.01 nats
    assert (np.abs(best.params["loc"] - MEAN) < 0.2 * np.sqrt(np.diag(COVARIANCE))).all()
    assert np.abs(best.draws["b"].values.mean(axis=(0, 1)) - early["loc"]).max() < 4 * 0.4 / np.sqrt(4096)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_class_and_a_nested_guide_are_handed_back(library):
    side = written(library)
    best = fit_guide(side.line, DATA, side.AUTOGUIDE)
    drawn = sampled(library, best.guide, best.params, DATA)["b"]
    assert np.allclose(drawn.std(axis=0) * np.sqrt(np.diag(PRECISION)), 1, atol=4 / np.sqrt(8000) + 0.05)
    assert (np.abs(drawn.mean(axis=0) - MEAN) < 0.2 * np.sqrt(np.diag(COVARIANCE))).all()
    if library == "numpyro":
        best = fit_guide(side.line, DATA, side.amortised)
        loc = best.params["net"]["w"] @ DATA["y"] + best.params["net"]["b"]
        assert (np.abs(loc - MEAN) < 0.2 * np.sqrt(np.diag(COVARIANCE))).all()


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_point_is_handed_back_at_the_mode(library):
    """The libraries' AutoDelta: the mode of a Gaussian posterior is its mean."""
    side = written(library)
    best = fit_guide(side.line, DATA, side.POINT)
    drawn = sampled(library, best.guide, best.params, DATA)["b"]
    assert np.ptp(drawn, axis=0).max() == 0
    assert drawn[0] == pytest.approx(MEAN, abs=1e-6)


def test_what_cannot_be_fitted_is_refused_in_one_line():
    side = written("numpyro")
    for guide, words in ((side.missing, "has no site 'b'"), ("ful_rank", "full_rank")):
        with pytest.raises(ValueError) as refusal:
            fit_guide(side.line, DATA, guide)
        assert words in str(refusal.value) and "\n" not in str(refusal.value)
