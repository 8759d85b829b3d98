"""The evidence of a catalogue model's reference: a bridge in one region of a symmetry, against exact evidences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import models
from compare.comparison import Job
from compare.fit import traced
from compare.fit.density import log_densities
from compare.fit.reference import evidence
from compare.fit.tree import build, split
from models.bnn import COPIES, BnnData
from models.lda import Corpus
from models.mixture import MixtureData

GALAXIES = MixtureData("galaxies", scale=2.0)
SEVEN = MixtureData("galaxies", scale=2.0, components=3)
SEVEN = SEVEN.with_derived(values=SEVEN.values[3::12])


def bridged(name: str, data: Any, draws: dict[str, np.ndarray]) -> dict[str, Any]:
    """What the tree of a reference with these draws says of the evidence."""
    job = traced(Job("reference", name, data, "reference", "numpyro"))
    energy = np.random.default_rng(7).standard_normal((4, 1000))
    tree = build(split(draws), {"diverging": np.zeros((4, 1000), bool), "energy": energy}, {})
    return dict(evidence.with_evidence(job, tree).attrs)


@pytest.mark.parametrize(
    ("name", "data", "copies"),
    [
        ("mixture", GALAXIES, 2),
        ("mixture", SEVEN, 6),
        ("mixture", MixtureData(), 2),
        ("lda", Corpus(), 2),
        ("bnn", BnnData(hidden=1), 1),
    ],
    ids=["galaxies", "three components", "tutorial", "lda", "bnn"],
)
def test_draws_of_a_catalogue_posterior_give_its_evidence(name, data, copies):
    """Exact draws, in all regions of a symmetry alike, against the exact evidence, within 4 standard errors."""
    exact = models.load(name).exact(data)
    known = bridged(name, data, exact.draw(np.random.default_rng(6), 4000))
    assert "no_log_evidence" not in known, known
    error = known["log_evidence_mcse"]
    assert 0 < error < 0.05 and abs(known["log_evidence"] - exact.log_evidence) < 4 * error
    assert ("regions" in known["log_evidence_method"]) == (copies > 1)


def test_the_reason_stands_where_a_catalogue_posterior_has_no_evidence():
    """Chains each in a copy of their own of a symmetry that is not declared."""
    data = BnnData(hidden=1)
    draws = models.load("bnn").exact(data).draw(np.random.default_rng(6), 4000)
    signs = np.repeat([1.0, -1.0], 2000) * np.sign(draws["output_weights"][:, 0])
    turned = {
        site: value * signs.reshape(-1, *(1,) * (value.ndim - 1))
        for site, value in draws.items()
        if site != "output_bias"
    }
    assert "the chains contradict each other (R-hat" in bridged("bnn", data, draws | turned)["no_log_evidence"]


def test_canonical_draws_lie_in_one_region():
    """The map changes no log joint and no ordered quantity, and what it gives it leaves alone."""
    for name, data in (("mixture", SEVEN), ("lda", Corpus(topics=3))):
        model, rng = models.load(name), np.random.default_rng(3)
        latents = model.simulate(data, rng, 50).latents
        carried = model.symmetry.canonical(data, latents)
        assert len(np.unique(model.symmetry.region(data, latents), axis=0)) > 1
        assert len(np.unique(model.symmetry.region(data, carried), axis=0)) == 1
        density = log_densities(traced(Job("exact", name, data, "exact", twin="numpyro")), latents)
        again = log_densities(traced(Job("exact", name, data, "exact", twin="numpyro")), carried)
        for before, after in zip(density, again, strict=True):
            np.testing.assert_allclose(after, before, rtol=1e-10)
        twice = model.symmetry.canonical(data, carried)
        assert all(np.array_equal(carried[site], twice[site]) for site in carried)


def test_where_copies_are_not_declared_there_is_no_evidence_and_the_reason_is_said():
    """Draws in one copy of the network would give an evidence that is log 2 short, and no diagnostic would show it."""
    data = BnnData(hidden=1, noise="unknown")
    latents = models.load("bnn").simulate(data, np.random.default_rng(0), 4000).latents
    assert bridged("bnn", data, latents) == {"no_log_evidence": COPIES}
