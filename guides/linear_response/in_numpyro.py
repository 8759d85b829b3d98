"""Linear response in NumPyro: full rank's guide, with mean field's means and their response for a covariance."""

from __future__ import annotations

from guides.full_rank.in_numpyro import IMPLEMENTATION

__all__ = ["IMPLEMENTATION"]
