"""Torch's functions on tensors of float32 and float64 mixed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map


class Promoted(TorchFunctionMode):
    """A block in which torch computes in float64 where it would refuse to mix float32 with it, as a product of
    matrices does.

    What a closure, a module or a distribution of the user's holds is mostly in float32, while the data and the latents
    are in float64.
    """

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        try:
            return function(*args, **kwargs)
        except RuntimeError as error:
            if not is_about_types(error):
                raise
            return function(*tree_map(promoted, args), **tree_map(promoted, kwargs))


def promoted(value: Any) -> Any:
    """The value, in float64 if it is a tensor of float32."""
    return value.double() if isinstance(value, torch.Tensor) and value.dtype == torch.float32 else value


def is_about_types(error: RuntimeError) -> bool:
    return "dtype" in str(error)


def is_mixed(run: Callable[[], Any]) -> bool:
    """Whether this ends in torch's refusal to mix float32 with float64."""
    try:
        run()
    except RuntimeError as error:
        return is_about_types(error)
    except Exception:  # what else is wrong with the model is said when it is inspected
        return False
    return False
