"""Larger models as their users write them, in both libraries: the reference agrees with a long run of the library."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import arviz_base
import arviz_stats
import numpy as np
import pytest
from conftest import LIBRARIES, side

from compare import compare, user_model

HERE = Path(__file__).parent / "user_models"
EXAMPLES = [("logistic", "model"), ("process", "model"), ("mixture", "model"), ("mixture", "assigned"),
            ("eight_schools", "non_centred")]  # fmt: skip


def written(name: str, library: str):
    """A module of models in one library, which is set to float64 first as the command does."""
    import_module(f"compare.user_model.in_{library}")
    return import_module(f"tests.user_models.{name}_{library}")


def log_joint(library: str, function, data: dict, latents: dict) -> tuple[np.ndarray, np.ndarray]:
    """log p(z) and log p(x | z) of a user's model at latents of shapes (count, *site)."""
    mine = user_model.register(function, library)
    given = user_model.data_of(mine, data)
    assert set(given.layout.latents) == set(latents)
    arguments, static = side(library).split_arguments(given.arguments())
    return side(library).density(mine.name, static)(latents, arguments)


def errors_apart(library: str, name: str, function: str, warmup: int, draws: int, **options) -> dict[str, float]:
    """How many standard errors the reference's means and sds lie from those of the library's plain call, by element."""
    module = written(name, library)
    model = getattr(module, function)
    result = compare(model, module.data, library, guides=["mean_field"], nuts=False, **options)
    plain = import_module(f"tests.user_models.plain_{library}").nuts(model, module.data, warmup, draws)
    tree = arviz_base.from_dict({"posterior": plain})
    apart = {}
    for label, row in result.summary["fits"]["reference"]["variables"].items():
        site, _, index = label.partition("[")
        if site not in plain:
            continue
        draws = tree["posterior"][site].values[(..., *map(int, index.rstrip("]").split(","))) if index else ...]
        for moment, value in (("mean", draws.mean()), ("sd", draws.std())):
            error = np.hypot(row[f"mcse_{moment}"], float(arviz_stats.mcse(draws, method=moment)))
            apart[f"{moment} of {label}"] = abs(row[moment] - value) / error
    return apart


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("name", "function"), EXAMPLES)
def test_the_reference_agrees_with_a_long_run_of_the_library(library, name, function):
    """Within 4 standard errors, of both runs together, in every mean and sd."""
    warmup, draws = (1000, 10_000) if library == "numpyro" else (300, 1500)
    apart = errors_apart(library, name, function, warmup, draws, reference_ess=1000.0, reference_budget=600.0)
    worst = max(apart, key=apart.get)
    print(f"\n{library} {name} {function}: {len(apart)} numbers, at worst {apart[worst]:.1f} standard errors: {worst}")
    assert apart[worst] < 4, (worst, apart[worst])
