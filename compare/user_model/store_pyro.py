"""A param store of Pyro's that was saved to a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pyro.distributions import constraints as of_pyro
from torch.distributions import constraints as of_torch

from compare.user_model.process_pyro import constrained


def read(path: Path | str) -> dict[str, Any]:
    """The params, constrained, in a file that ``pyro.get_param_store().save(path)`` wrote; no code in it is run.

    Raises:
        ValueError: there is no such file, or it holds something else.
    """
    known: list[Any] = [
        kind for module in (of_torch, of_pyro) for kind in vars(module).values() if isinstance(kind, type)
    ]
    try:
        with torch.serialization.safe_globals(known):
            state = torch.load(path, map_location="cpu", weights_only=True)
        return constrained(state["params"], state["constraints"])
    except FileNotFoundError:
        raise ValueError(f"params {path} cannot be read: there is no such file") from None
    except Exception:
        raise ValueError(
            f"params {path} is no saved param store; write it by pyro.get_param_store().save({str(path)!r})"
        ) from None
