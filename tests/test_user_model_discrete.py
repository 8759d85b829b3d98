"""Discrete latents of a user's model are summed out: against sums written out by hand, and through a whole fit."""

from __future__ import annotations

from importlib import import_module
from itertools import product

import numpy as np
import pytest
from conftest import LIBRARIES, side
from scipy import integrate, stats
from scipy.special import logsumexp

from compare import compare, user_model


def written(name: str, library: str):
    """A module of models in one library, which is set to float64 first as the command does."""
    import_module(f"compare.user_model.in_{library}")
    return import_module(f"tests.user_models.{name}_{library}")


def log_joint(library: str, function, data: dict, latents: dict) -> tuple[np.ndarray, np.ndarray]:
    """log p(z) and log p(x | z) of a user's model at continuous latents of shapes (count, *site)."""
    mine = user_model.register(function, library)
    given = user_model.data_of(mine, data)
    assert {name: value.shape[1:] for name, value in latents.items()} == given.layout.latents
    arguments, static = side(library).split_arguments(given.arguments())
    return side(library).density(mine.name, static)(latents, arguments)


def normal(x, mean, sd):
    return stats.norm(mean, sd).logpdf(x)


def of_switched(values, scale):
    """By hand: a switch for all points."""
    sums = [normal(values, which, scale).sum() for which in (0, 1)]
    return stats.lognorm(1.0).logpdf(scale), np.logaddexp(np.log(0.7) + sums[0], np.log(0.3) + sums[1])


def of_slab(values, mean):
    """By hand: the prior itself is a mixture."""
    prior = np.logaddexp(normal(mean, 0, 2.0), normal(mean, 0, 0.1)) + np.log(0.5)
    return prior, normal(values, mean, 1).sum()


def of_hidden(values, means):
    """By hand: all paths of a hidden Markov chain."""
    paths = []
    for path in product((0, 1), repeat=len(values)):
        ones = [0.8 if before else 0.3 for before in (0, *path[:-1])]
        transitions = [np.log(p if state else 1 - p) for p, state in zip(ones, path, strict=True)]
        paths.append(sum(transitions) + normal(values, means[list(path)], 1).sum())
    return normal(means, 0, 3).sum(), logsumexp(paths)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("name", "site", "by_hand", "points"),
    [
        ("switched", "scale", of_switched, np.array([0.3, 1.0, 4.0])),
        ("slab", "mean", of_slab, np.array([-1.0, 0.05, 2.0])),
        ("hidden", "means", of_hidden, np.array([[0.0, 1.0], [2.0, -1.0], [5.0, 0.3]])),
    ],
)
def test_the_prior_and_the_likelihood_are_sums_over_the_discrete_latents(library, name, site, by_hand, points):
    module = written("awkward", library)
    values = module.VALUES[:6]
    prior, likelihood = log_joint(library, getattr(module, name), {"values": values}, {site: points})
    expected = np.array([by_hand(values, point) for point in points])
    assert np.allclose(prior, expected[:, 0], rtol=1e-10)
    assert np.allclose(likelihood, expected[:, 1], rtol=1e-10)


@pytest.mark.parametrize("library", LIBRARIES)
def test_assignments_in_a_plate_give_the_marginal_mixture(library):
    """The same log prior and log likelihood in both forms, far points too."""
    module = written("mixture", library)
    latents = {
        "weight": np.array([0.4, 1e-6, 0.9]),
        "mean": np.array([[-1.0, 2.0], [0.0, 30.0], [-5.0, 0.1]]),
        "scale": np.array([[1.0, 0.5], [0.1, 2.0], [1.0, 1.0]]),
    }
    forms = [log_joint(library, function, module.data, latents) for function in (module.model, module.assigned)]
    assert np.allclose(*(prior for prior, _ in forms), rtol=1e-10)
    assert np.allclose(*(likelihood for _, likelihood in forms), rtol=1e-10)


def test_what_depends_on_a_discrete_latent_is_not_reported():
    module = written("awkward", "pyro")
    for library in LIBRARIES:
        mine = user_model.register(written("awkward", library).slab, library)
        given = user_model.data_of(mine, {"values": module.VALUES})
        assert set(given.layout.derived) == {"double"} and set(given.layout.observed) == {"values"}
        assert given.layout.notes[0].startswith("site 'included' is discrete: its 2 values are summed out")


@pytest.mark.parametrize("library", ["numpyro", pytest.param("pyro", marks=pytest.mark.slow)])
def test_a_whole_fit_of_a_model_with_a_discrete_latent(library):
    """The posterior and the guide against SciPy: the moments of a scale, on its way through log space, and its ELBO."""
    module = written("awkward", library)
    values = module.VALUES
    result = compare(module.switched, {"values": values}, library, ["mean_field"], False)

    def weight(scale, power=0):
        return scale**power * np.exp(sum(of_switched(values, scale)) + 45.0)

    mass, first, second = (integrate.quad(weight, 0.4, 4, args=(power,), epsabs=0)[0] for power in (0, 1, 2))
    mean, sd = first / mass, np.sqrt(second / mass - (first / mass) ** 2)
    for fit in result.summary["fits"].values():
        variable, slack = fit["variables"]["scale"], 1e-6 if fit["method"] == "exact" else 0.1
        assert abs(variable["mean"] - mean) < 4 * variable["mcse_mean"] + slack * sd
        assert abs(variable["sd"] - sd) < 4 * variable["mcse_sd"] + slack * sd
    elbo = result.summary["fits"][f"{library}-mean_field"]["ledger"]["elbo"]
    gap = np.log(mass) - 45.0 - elbo["value"]
    assert -4 * elbo["mcse"] < gap < 0.05
