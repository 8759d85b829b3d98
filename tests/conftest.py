"""Shared by all tests: each library's side of a model, and float64 throughout."""

from __future__ import annotations

from importlib import import_module

import pytest

LIBRARIES = ("numpyro", "pyro")


@pytest.fixture(params=LIBRARIES)
def library(request) -> str:
    return request.param


def side(library: str):
    """The file that speaks one library (compare.fits.objective_numpyro, ...)."""
    return import_module(f"compare.fits.objective_{library}")
