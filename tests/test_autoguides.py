"""Every autoguide that NumPyro and Pyro ship, on three small models: compared, or refused in one line."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
from conftest import LIBRARIES
from test_user_guides import COUNTS, DATA

from compare import compare
from compare.options import Options

SCORES = {"y": np.array([1.2, 0.4, 2.1, 1.7, 0.9])}

MODELS = {"line": DATA, "counts": COUNTS, "scores": SCORES}
"""A vector, a positive number, and two latents of which one is positive; the posteriors are found by quadrature."""

EXACT, INSIDE, MODE = "holds the line's posterior", "arrives", "a point at the mode: tests/test_map.py"

CLASSES = {
    "numpyro": {
        "AutoNormal": INSIDE,
        "AutoDiagonalNormal": INSIDE,
        "AutoMultivariateNormal": EXACT,
        "AutoLowRankMultivariateNormal": EXACT,
        "AutoIAFNormal": "slow",
        "AutoDAIS": "slow",
        "AutoDelta": MODE,
        "AutoLaplaceApproximation": "one point",
        "AutoBNAFNormal": "slow",
        "AutoBatchedMultivariateNormal": "batch dimensions",
        "AutoBatchedLowRankMultivariateNormal": "batch dimensions",
        "AutoSemiDAIS": "needs more than a model",
        "AutoSurrogateLikelihoodDAIS": "needs more than a model",
        "AutoGuideList": "has no site",
    },
    "pyro": {
        "AutoNormal": INSIDE,
        "AutoDiagonalNormal": INSIDE,
        "AutoMultivariateNormal": EXACT,
        "AutoLowRankMultivariateNormal": EXACT,
        "AutoGaussian": EXACT,
        "AutoStructured": INSIDE,
        "AutoNormalMessenger": INSIDE,
        "AutoHierarchicalNormalMessenger": INSIDE,
        "AutoRegressiveMessenger": INSIDE,
        "AutoIAFNormal": "slow",
        "AutoDelta": MODE,
        "AutoLaplaceApproximation": "one point",
        "AutoDiscreteParallel": "to be discrete",
        "AutoNormalizingFlow": "needs more than a model",
        "AutoCallable": "needs more than a model",
        "AutoGuideList": "has no site",
    },
}
"""The expected outcome of each: that it arrives, or words of the line that refuses it."""

BASES = ("AutoGuide", "AutoContinuous", "AutoMessenger", "AutoBatchedMixin")


def model_of(library: str, name: str):
    if name != "scores":
        return getattr(import_module(f"tests.user_models.guides_{library}"), name)
    module, dist = import_module(library), import_module(f"{library}.distributions")

    def scores(y):
        mean, sd = module.sample("mean", dist.Normal(0.0, 2.0)), module.sample("sd", dist.Gamma(2.0, 2.0))
        module.sample("y", dist.Normal(mean, sd).expand(y.shape).to_event(1), obs=y)

    return scores


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_table_names_every_autoguide(library):
    module = import_module(f"{library}.infer.autoguide")
    shipped = {name for name, kind in vars(module).items() if name.startswith("Auto") and isinstance(kind, type)}
    assert shipped - set(BASES) == set(CLASSES[library])


def problem(result, library: str, name: str, must_arrive: bool) -> str:
    """What is wrong with a fit that should be done, and, of a guide that fixed draws feed, have arrived."""
    fit = result.summary["fits"][f"{library}-{name}"]
    if fit["status"] != "done" or (must_arrive and not fit["optimisation"]["converged"]):
        return f"{name}: {fit['reason'] or fit['optimisation']['reason']}"
    gap = fit["ledger"]["evidence_gap"]
    if gap["value"] < -4 * gap["mcse"] - 1e-6:
        return f"{name}: its ELBO is above the evidence by {-gap['value']} ± {gap['mcse']}"
    return ""


@pytest.mark.parametrize(
    "model", ["line", *(pytest.param(name, marks=pytest.mark.slow) for name in MODELS if name != "line")]
)
@pytest.mark.parametrize("library", LIBRARIES)
def test_autoguides_are_compared(library, model):
    """Below the evidence; on the line all arrive, and those that hold its Gaussian posterior reach it."""
    module = import_module(f"{library}.infer.autoguide")
    names = [name for name, kind in CLASSES[library].items() if kind in (EXACT, INSIDE)]
    result = compare(
        model_of(library, model), MODELS[model], guides=[getattr(module, name) for name in names], nuts=False
    )
    assert not [text for name in names if (text := problem(result, library, name, model == "line"))]
    for name in names if model == "line" else ():
        gap = result.summary["fits"][f"{library}-{name}"]["ledger"]["evidence_gap"]
        is_exact = abs(gap["value"]) < 4 * gap["mcse"] + Options().tolerance
        assert is_exact or CLASSES[library][name] != EXACT, (name, gap)


@pytest.mark.parametrize("library", LIBRARIES)
def test_other_autoguides_are_refused_in_one_line(library):
    """When they cannot be made or run; or as a failed fit, where only fitting shows it."""
    module = import_module(f"{library}.infer.autoguide")
    model, unlike = model_of(library, "line"), []
    for name, words in CLASSES[library].items():
        if words in (EXACT, INSIDE, MODE, "slow"):
            continue
        try:
            result = compare(model, DATA, guides=[getattr(module, name)], nuts=False)
            reason = result.summary["fits"][f"{library}-{name}"]["reason"] or "it was fitted"
        except ValueError as error:
            reason = str(error)
        if words not in reason or "\n" in reason:
            unlike.append((name, reason))
    assert not unlike


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_flows_and_annealed_guides_are_compared(library, model):
    """Their ELBO is below the evidence, and they get a verdict."""
    module = import_module(f"{library}.infer.autoguide")
    names = [name for name, kind in CLASSES[library].items() if kind == "slow"]
    result = compare(
        model_of(library, model), MODELS[model], guides=[getattr(module, name) for name in names], nuts=False
    )
    for name in names:
        fit = result.summary["fits"][f"{library}-{name}"]
        if fit["status"] == "done":
            gap = fit["ledger"]["evidence_gap"]
            assert gap["value"] > -4 * gap["mcse"] - 1e-6, (name, gap)
        else:
            assert "\n" not in fit["reason"] and fit["reason"]
