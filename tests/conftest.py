"""Shared by all tests: each library's side of a model, and float64 throughout."""

from __future__ import annotations

import gc
import os
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read as libraries load: the cores are taken by pytest's processes
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np
import pytest

import models
from compare import user_model
from compare.cache.store import VARIABLE
from compare.comparison import Layout

LIBRARIES = ("numpyro", "pyro")

IN_NUMPYRO = ("numpyro", pytest.param("pyro", marks=pytest.mark.slow))
IN_PYRO = ("pyro", pytest.param("numpyro", marks=pytest.mark.slow))
"""For tests that take seconds in either library: by default they run in the one in which they are quicker."""

gc.set_threshold(20_000, 20, 20)
"""Tracing allocates many small objects: with Python's own 700 a twelfth of the time goes to looking for garbage."""

if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    # What is compiled is shared by all processes of a test session: those of xdist and of the command line inherit it.
    PROGRAMS = tempfile.TemporaryDirectory(prefix="programs-", ignore_cleanup_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = PROGRAMS.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

LONG_OF_FEW_TESTS = (
    "test_autoguides",
    "test_bnn",
    "test_catalogue_evidence",
    "test_fitted",
    "test_mushrooms",
    "test_newcomer",
    "test_rank",
    "test_user_model_discrete",
    "test_user_process",
    "test_world",
)
"""Files that take over ten seconds; by the number of their tests, which xdist goes by, one core ends alone with one."""


def pytest_configure(config) -> None:
    config.option.loadscopereorder = False  # the order is ours


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items) -> None:
    """Files with many tests first, and before them those that are long all the same."""
    counts = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path.stem not in LONG_OF_FEW_TESTS, -counts[item.path], item.path))


import_module("compare.user_model.jit_numpyro")  # float64 from here on: a call of `compare` leaves it as it is then


@pytest.fixture(autouse=True, scope="session")
def cache_of_the_tests(tmp_path_factory) -> None:
    """The tests neither write to the user's cache nor read from it."""
    os.environ[VARIABLE] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def cache_of_the_test(tmp_path_factory, monkeypatch) -> None:
    """Nor does a test read what another cached."""
    monkeypatch.setenv(VARIABLE, str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def quickly_compiled() -> Iterator[None]:
    """JAX compiles without optimising: programs that run a few times take longer to compile than to run."""
    import jax

    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(params=LIBRARIES)
def library(request) -> str:
    return request.param


def ready(name: str):
    """The data sets that a model is tried on, each with a network, an untrained one where none is given."""
    model = models.load(name)
    for data in (model.data(), *model.test_cases):
        yield with_network(model, data)


def with_network(model, data):
    """The data with a network, an untrained one where the model has one that is not given."""
    training = model.amortization.training(data) if model.amortization else None
    if training is None or training.decoder is not None:
        return data
    return model.amortization.with_decoder(data, training.start_decoder(np.random.default_rng(0)))


def layout(data: Any, library: str = "numpyro") -> Layout:
    """What tracing tells of a catalogue model on these data."""
    name = next(name for name in models.CATALOGUE if isinstance(data, models.load(name).data))
    return user_model.trace(name, data, library)


def side(library: str):
    """The file that speaks one library (compare.fit.svi.objective_numpyro, ...)."""
    return import_module(f"compare.fit.svi.objective_{library}")
