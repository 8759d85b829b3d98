"""Low rank in NumPyro: the library's own AutoLowRankMultivariateNormal."""

from __future__ import annotations

from typing import Any

from numpyro.infer.autoguide import AutoLowRankMultivariateNormal

from guides.contract import Implementation, sites_named


def guide(twin: Any, rank: int | None = None) -> AutoLowRankMultivariateNormal:
    return AutoLowRankMultivariateNormal(twin.model, rank=rank)


IMPLEMENTATION = Implementation(guide, sites_named("auto_"))
