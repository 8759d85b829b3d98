"""Shared by all tests: each library's side of a model, and float64 throughout."""

from __future__ import annotations

import os
from importlib import import_module

import numpy as np
import pytest

import models
from compare.cache.store import VARIABLE

LIBRARIES = ("numpyro", "pyro")


@pytest.fixture(autouse=True, scope="session")
def kept_elsewhere(tmp_path_factory) -> None:
    """Nothing that the tests make is kept where the user's is, nor found there."""
    os.environ[VARIABLE] = str(tmp_path_factory.mktemp("kept"))


@pytest.fixture(autouse=True)
def kept_apart(tmp_path_factory, monkeypatch) -> None:
    """Nor is it found by another test."""
    monkeypatch.setenv(VARIABLE, str(tmp_path_factory.mktemp("kept")))


@pytest.fixture(params=LIBRARIES)
def library(request) -> str:
    return request.param


def ready(name: str):
    """The data sets that a model is tried on, each with a network, an untrained one where none is given."""
    model = models.load(name)
    for data in (model.data(), *model.cases):
        told = model.amortised(data)
        learns = told is not None and told.decoder is None
        yield model.learnt(data, told.start(np.random.default_rng(0))) if learns else data


def side(library: str):
    """The file that speaks one library (compare.fit.svi.objective_numpyro, ...)."""
    return import_module(f"compare.fit.svi.objective_{library}")
