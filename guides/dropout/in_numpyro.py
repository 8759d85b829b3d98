"""The dropout guide in NumPyro: the one the model's own file defines."""

from __future__ import annotations

from typing import Any

from guides.contract import Implementation


def guide(twin: Any) -> Any:
    return twin.dropout


IMPLEMENTATION = Implementation(guide)
