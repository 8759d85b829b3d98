"""Shared by all tests: each library's side of a model, and float64 throughout."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest

import models

LIBRARIES = ("numpyro", "pyro")


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
    """The file that speaks one library (compare.fits.objective_numpyro, ...)."""
    return import_module(f"compare.fits.objective_{library}")
