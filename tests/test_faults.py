"""Planted faults: each must be caught by what it names, and nothing is caught where none is planted."""

from __future__ import annotations

import pytest
from faults import Fault, complaint, planted
from faults.catalogue import KINDS
from test_quick_battery import CHECKS, is_slow

QUIET: dict[tuple[str, str], str | None] = {}
"""What each check complains of with no fault planted, by its name and arguments: asked once."""


def quiet(fault: Fault) -> str | None:
    """The complaint without the fault; `test_quick_battery` asks its own checks, in which nothing was forgotten."""
    if fault.caught_by in CHECKS and not is_slow(CHECKS[fault.caught_by]):
        return None
    check_and_arguments = fault.caught_by, repr(fault.arguments)
    if check_and_arguments not in QUIET:
        QUIET[check_and_arguments] = complaint(fault)
    return QUIET[check_and_arguments]


@pytest.mark.usefixtures("quickly_compiled")
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, id=f"{kind}-{fault.library}-{fault.name}", marks=[pytest.mark.slow] if fault.slow else [])
        for kind, faults in KINDS.items()
        for fault in faults
    ],
)
def test_the_fault_is_caught(fault):
    """The check that must catch it says nothing without it, and complains with it."""
    assert quiet(fault) is None
    with planted(fault):
        assert complaint(fault) is not None


def test_there_are_enough_of_them():
    """Over all models and both libraries, each fault once."""
    faults = [fault for kind in KINDS.values() for fault in kind]
    assert len(faults) >= 60
    felt = {"coin", "chain", "bnn", "vae", "linear", "logistic", "mixture", "lda", "gp", "bandit", "all"}
    felt |= {"dlgm", "ssvae"}
    assert {fault.model for fault in faults} >= felt
    assert {fault.library for fault in faults} >= {"numpyro", "pyro", "both"}
    assert len({(fault.module, fault.old, fault.new) for fault in faults}) == len(faults)


def test_a_fault_that_is_none_is_refused():
    """Text that is not there, or is there twice, and a change that changes nothing."""
    right = Fault("x", "models.coin.exact", "tolerance = 0.0", "tolerance = 0.0", "coin", "both", "coin: text")
    with pytest.raises(ValueError, match="nothing that runs is different"), planted(right):
        pass
    for old, count in (("no such text", 0), ("self.posterior.ppf", 6)):
        wrong = Fault("x", "models.coin.exact", old, "", "coin", "both", "coin: text")
        with pytest.raises(ValueError, match=rf"is {count} times in models\.coin\.exact"), planted(wrong):
            pass


def test_what_was_planted_is_put_back():
    """Functions held elsewhere, constants in every module that holds them, and after an error too."""
    from models.chain import exact
    from models.logit_normal import best_logit_normal as held

    entropy = Fault("x", "models.logit_normal", "0.5 * np.log(2 * np.pi * np.e))", "0.0)", "coin", "both", "coin: text")
    constant = Fault("x", "models.chain.exact", "math.log(2 * math.pi)", "1.0", "chain", "both", "chain: text")
    before, elsewhere = held(8.0, 6.0), __import__("models.chain.coordinate_ascent", fromlist=["LOG_2PI"])
    with pytest.raises(ZeroDivisionError), planted(entropy), planted(constant):
        assert held(8.0, 6.0)[2] != before[2]
        assert exact.LOG_2PI == elsewhere.LOG_2PI == 1.0
        raise ZeroDivisionError
    assert held(8.0, 6.0) == before
    assert exact.LOG_2PI == elsewhere.LOG_2PI > 1.8


def test_a_closure_that_was_built_meanwhile_is_put_right():
    """As where the first import of a guide's module falls into a fault of the function that builds its closure."""
    from guides import contract

    old = "else name): value for name, value in parameters.items()}"
    fault = Fault("x", "guides.contract", old, old.replace("value for", "0 * value for"), "all", "both", "coin: text")
    with planted(fault):
        build = contract.sites_named("auto_").from_parameters
        assert build({"scale": 1.0}) == {"auto_scale": 0.0}
    assert build({"scale": 1.0}) == {"auto_scale": 1.0}
