"""Map in NumPyro: the library's own AutoDelta."""

from __future__ import annotations

from typing import Any

from numpyro.infer.autoguide import AutoDelta

from guides.contract import Implementation


def guide(twin: Any) -> AutoDelta:
    return AutoDelta(twin.model)


IMPLEMENTATION = Implementation(guide)
