"""Mixture: q(z) = sum_k weight_k N(z; location_k, diag(scale_k^2)), a few independent Gaussians with weights.

It holds several modes and, by laying components side by side, bent or slanted posteriors. As a guide of an encoder:
the encoder gives weights, locations and scales of all components for an image.
"""

from __future__ import annotations

from guides.contract import Family
from guides.mixture.local_posterior import LOCAL_POSTERIOR

__all__ = ["FAMILY"]

FAMILY = Family(local_posterior=LOCAL_POSTERIOR, is_particular=True)
