"""The option `rank` of low_rank: what each rank holds, in comparisons and programs, and ranks that there are not."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import LIBRARIES

import models
from compare import compare, fit_guide
from compare.cli.main import main
from compare.comparison import Request
from compare.options import Options
from compare.pipeline import compare as compare_all
from guides.low_rank import Target
from tests.bent import model

LINEAR = models.load("linear")
DATA = LINEAR.data(prior="known")
"""Longley with known noise: 7 latents, a Gaussian posterior whose evidence is known."""


def evidence_gap(library: str, rank: int | None) -> float:
    request = Request(LINEAR, DATA, (library,), ("low_rank",), nuts=False, options=Options(rank=rank))
    gap = compare_all(request).summaries[f"{library}-low_rank"].ledger.evidence_gap
    assert gap is not None
    return gap.value


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_largest_rank_is_full_rank(library):
    """Full rank holds the posterior: its ELBO is the log evidence."""
    assert abs(evidence_gap(library, 7)) < 1e-7


def test_each_rank_holds_more_until_four_hold_all():
    """Of 7 latents a diagonal plus rank 4 is any covariance but for exceptions (Ledermann 1937)."""
    gaps = [evidence_gap("numpyro", rank) for rank in (1, 2, 3, 4)]
    assert all(larger > smaller + 0.1 for larger, smaller in pairwise(gaps))
    assert gaps[0] < 8.36 and gaps[-1] < 1e-6  # mean field's 8.36 nats
    assert evidence_gap("numpyro", None) == gaps[2]  # round(sqrt(7)) = 3


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_guide_is_handed_back_with_its_rank(library):
    fitted = fit_guide(model(library, "banana"), {"curvature": np.array(0.0)}, guide="low_rank", rank=2)
    factor = next(value for name, value in fitted.params.items() if name.endswith("cov_factor"))
    assert factor.shape == (2, 2) and fitted.guide.rank == 2


def test_a_rank_that_no_covariance_has_is_refused_in_a_line(capsys):
    assert main(["linear", "--prior", "known", "--guides", "low_rank", "--rank", "8"]) == 2
    most = "the number of unconstrained latents, here at most 7"
    assert capsys.readouterr().err == f"compare: --rank is 8: give 1 to {most}; mean_field has rank 0\n"
    assert main(["linear", "--guides", "low_rank", "--rank", "0"]) == 2
    assert "0 is too few; give 1 or more" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"^rank: 0 is too few; give 1 or more$"):
        compare(model("numpyro", "banana"), {"curvature": np.array(0.0)}, guides=["low_rank"], nuts=False, rank=0)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_program_has_the_rank_that_is_given(library, capsys):
    common = ["linear", "--guides", "low_rank", "--libraries", library, "--show"]
    assert main([*common, "--rank", "3"]) == 0
    assert "guide = AutoLowRankMultivariateNormal(model, rank=3)" in capsys.readouterr().out
    assert main(common) == 0
    assert "guide = AutoLowRankMultivariateNormal(model)\n" in capsys.readouterr().out


def test_a_rank_beyond_the_unconstrained_latents_is_refused_in_a_line():
    """A simplex of three has two: only its fit can tell."""
    simplex = SimpleNamespace(shapes={"cov_factor": (2, 3)}, diagonal=np.ones(2))
    with pytest.raises(ValueError, match=r"^rank 3 is more than the model's 2 unconstrained latents; give 2 or less$"):
        Target(simplex)
