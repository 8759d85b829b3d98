"""Laplace in NumPyro: full rank's guide, at the mode. The library's own is AutoLaplaceApproximation, fitted by SVI."""

from __future__ import annotations

from guides.full_rank.in_numpyro import IMPLEMENTATION

__all__ = ["IMPLEMENTATION"]
