"""A function of torch tensors compiled together with its gradient: what autograd does once is played back.

TorchScript compiles a function and leaves its gradient to autograd; of functions of small tensors that is most of the
time. Here the operations of both are recorded below autograd, and TorchScript compiles their list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

Function = Callable[..., Any]
Point = Mapping[str, torch.Tensor]
Potential = Callable[[Point], torch.Tensor]


class Tape(TorchDispatchMode):
    """Records operations in their order.

    Args:
        variables: The tensors that a recorded function is called with.

    Raises:
        ValueError: a branch depends on the variables, or a tensor is changed that was there before.
    """

    def __init__(self, variables: Sequence[torch.Tensor]) -> None:
        super().__init__()
        self.calls: list[tuple[Function, Any, Any]] = []  # the operation, its arguments, its result
        self.depends, self.is_given = ({storage(value) for value in variables} for _ in range(2))
        self.is_made: set[int] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or torch imports, for a second, a compiler that is not used here

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        arguments = [value for value in tree_leaves((args, kwargs)) if isinstance(value, torch.Tensor)]
        storages = {storage(value) for value in arguments}
        depends = bool(storages & self.depends)
        if depends and function is torch.ops.aten._local_scalar_dense.default:
            raise ValueError("a branch depends on the variables")
        self.is_given |= storages - self.is_made
        if any(storage(value) in self.is_given for value in changed(function, args, kwargs or {})):
            raise ValueError("a tensor is changed that was there before")
        result = function(*args, **(kwargs or {}))
        written = {storage(value) for value in tree_leaves(result) if isinstance(value, torch.Tensor)}
        self.is_made |= written - self.is_given
        if depends:
            self.depends |= written
        self.calls.append((function, (args, kwargs or {}), result))
        return result


def changed(function: Any, args: Any, kwargs: Any) -> Iterator[torch.Tensor]:
    """The arguments that an operation writes to."""
    for place, argument in enumerate(function._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            yield args[place] if place < len(args) else kwargs[argument.name]


def storage(value: torch.Tensor) -> int:
    """What tells whether two tensors share their memory, as views do."""
    return value.untyped_storage()._cdata


def with_gradient(function: Function, variables: Sequence[torch.Tensor]) -> Function:
    """The function of the variables, compiled, as its value and its gradient by each of them, in one tuple.

    Args:
        function: Of as many tensors; its value is a scalar.
        variables: Where it is recorded. Elsewhere it must take the same branches.

    Raises:
        ValueError: as `Tape`.
    """
    points = [value.detach().requires_grad_() for value in variables]
    with Tape(points) as tape, torch.enable_grad():
        value = function(*points)
        results = (value, *torch.autograd.grad(value, points))

    seen = tree_leaves([arguments for _, arguments, _ in tape.calls])
    constants = {id(value): value.detach() for value in seen if isinstance(value, torch.Tensor)}

    def play(*variables: torch.Tensor) -> tuple[torch.Tensor, ...]:
        known = constants | {id(point): value for point, value in zip(points, variables, strict=True)}

        def now(value: Any) -> Any:
            return known[id(value)] if isinstance(value, torch.Tensor) else value

        for operation, arguments, result in tape.calls:
            args, kwargs = tree_map(now, arguments)
            values = operation(*args, **kwargs)
            known |= {id(then): value for then, value in zip(tree_leaves(result), tree_leaves(values), strict=True)}
        return tuple(map(now, results))

    with torch.no_grad():
        return torch.jit.trace(play, tuple(map(torch.Tensor.detach, points)), check_trace=False)


class Played(torch.autograd.Function):
    """The first of the results of a compiled function, whose gradient is the others."""

    @staticmethod
    def forward(context: Any, compiled: Function, *variables: torch.Tensor) -> torch.Tensor:
        value, *context.gradient = compiled(*variables)
        return value

    @staticmethod
    def backward(context: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return (None, *(upstream[0] * slope for slope in context.gradient))


def compile_potential(function: Potential, at: Sequence[Point]) -> Potential:
    """A potential compiled with its gradient; as it is where a branch depends on the latents.

    Args:
        function: Of the latents by name; its value is a scalar.
        at: Where both must be the same, to a relative 1e-9; it is recorded at the first.
    """
    names = list(at[0])
    try:
        compiled = with_gradient(lambda *values: function(dict(zip(names, values, strict=True))), list(at[0].values()))
    except (ValueError, RuntimeError):  # or torch has no way to compile it
        return function

    def played(point: Point) -> torch.Tensor:
        return Played.apply(compiled, *(point[name] for name in names))

    is_same = all(same(results(function, point), results(played, point)) for point in at)
    return played if is_same else function


def results(function: Potential, at: Point) -> list[torch.Tensor]:
    """The value of a function of the latents and its gradient by each."""
    point = {name: value.detach().requires_grad_() for name, value in at.items()}
    value = function(point)
    return [value.detach(), *torch.autograd.grad(value, list(point.values()))]


def same(left: Sequence[torch.Tensor], right: Sequence[torch.Tensor]) -> bool:
    return all(torch.allclose(a, b, rtol=1e-9, equal_nan=True) for a, b in zip(left, right, strict=True))
