"""Pathfinder in NumPyro: full rank's guide, where the way to the mode was best."""

from __future__ import annotations

from guides.full_rank.in_numpyro import IMPLEMENTATION

__all__ = ["IMPLEMENTATION"]
