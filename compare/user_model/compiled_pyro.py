"""A function of torch tensors compiled together with its gradient: what autograd does once is played back.

TorchScript compiles a function and leaves its gradient to autograd; of functions of small tensors that is most of the
time. Here the operations of both are recorded below autograd, and TorchScript compiles their list. What depends on the
variables without torch's knowledge, as what NumPy or `tolist` reads, is not recorded: what was compiled is therefore
tried where it was not recorded.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

aten = torch.ops.aten

LARGEST = 100_000_000
"""Bytes that a recording may hold. What takes more is no slower op by op."""

Function = Callable[..., Any]
Point = Mapping[str, torch.Tensor]
Potential = Callable[[Point], torch.Tensor]


class Tape(TorchDispatchMode):
    """Records operations in their order.

    Args:
        variables: The tensors that a recorded function is called with.

    Raises:
        ValueError: a branch, a shape or a check depends on the variables, a tensor is changed that was there before, or
            more than `LARGEST` bytes are recorded.
    """

    def __init__(self, variables: Sequence[torch.Tensor]) -> None:
        super().__init__()
        self.calls: list[tuple[Function, Any, Any]] = []  # the operation, its arguments, its result
        self.depends, self.is_given = ({storage(value) for value in variables} for _ in range(2))
        self.is_made: set[int] = set()
        self.size = 0
        self.checks: list[torch.Tensor] = []  # what is 0 where a factorisation has succeeded

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or torch imports, for a second, a compiler that is not used here

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        storages = {storage(value) for value in tensors_in((args, kwargs))}
        depends = bool(storages & self.depends)
        if depends and torch.Tag.data_dependent_output in function.tags:
            raise ValueError("a branch depends on the variables")
        if function is aten._linalg_check_errors.default:  # without a result it would not be compiled
            self.checks.append(args[0])
        elif depends and not function._schema.returns:
            raise ValueError("a check depends on the variables")
        if torch.Tag.dynamic_output_shape in function.tags and self.decides(function, args):
            raise ValueError("a shape depends on the variables")
        self.is_given |= storages - self.is_made
        if any(storage(value) in self.is_given for value in changed(function, args, kwargs or {})):
            raise ValueError("a tensor is changed that was there before")
        result = function(*args, **(kwargs or {}))
        written = {storage(value) for value in tensors_in(result)}
        new = {storage(value): value for value in tensors_in(result) if storage(value) not in storages}
        self.size += sum(value.untyped_storage().nbytes() for value in new.values())
        if self.size > LARGEST:
            raise ValueError(f"a recording of more than {LARGEST} bytes")
        self.is_made |= written - self.is_given
        if depends:
            self.depends |= written
        self.calls.append((function, (args, kwargs or {}), result))
        return result

    def decides(self, function: Any, args: Any) -> bool:
        """Whether the shape of an operation's result depends on the variables; of indices, only on a mask."""
        deciding = [index for index in args[1] if is_mask(index)] if function is aten.index.Tensor else args
        return any(storage(value) in self.depends for value in deciding if isinstance(value, torch.Tensor))


def is_mask(index: Any) -> bool:
    return isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8)


def changed(function: Any, args: Any, kwargs: Any) -> Iterator[torch.Tensor]:
    """The arguments that an operation writes to."""
    for place, argument in enumerate(function._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[place] if place < len(args) else kwargs.get(argument.name)
            yield from tensors_in(value)


def tensors_in(values: Any) -> list[torch.Tensor]:
    """The tensors in nested lists, tuples and dictionaries."""
    return [value for value in tree_leaves(values) if isinstance(value, torch.Tensor)]


def storage(value: torch.Tensor) -> int:
    """What tells whether two tensors share their memory, as views do."""
    return value.untyped_storage()._cdata


def recorded(function: Function, variables: Sequence[torch.Tensor]) -> Function:
    """The function of the variables, compiled, as its value and its gradient by each of them, in one tuple.

    Where a factorisation fails, autograd is asked, which raises what the library knows.

    Args:
        function: Of as many tensors; its value is a scalar, or the gradient is that of its sum.
        variables: Where it is recorded. Elsewhere it must take the same branches.

    Raises:
        ValueError: as `Tape`.
    """
    points = [value.detach().requires_grad_() for value in variables]
    with Tape(points) as tape, torch.enable_grad():
        value = function(*points)
        results = (value, *torch.autograd.grad(value.sum(), points))

    seen = tensors_in([results, *(arguments for _, arguments, _ in tape.calls)])
    constants = {id(value): value.detach() for value in seen}

    def play(*variables: torch.Tensor) -> tuple[torch.Tensor, ...]:
        known = constants | {id(point): value for point, value in zip(points, variables, strict=True)}

        def now(value: Any) -> Any:
            return known[id(value)] if isinstance(value, torch.Tensor) else value

        for operation, arguments, result in tape.calls:
            args, kwargs = tree_map(now, arguments)
            values = operation(*args, **kwargs)
            known |= {id(then): value for then, value in zip(tree_leaves(result), tree_leaves(values), strict=True)}
        return tuple(map(now, (*results, *tape.checks)))

    with torch.no_grad(), warnings.catch_warnings():  # how it is compiled is not the user's to change
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("ignore", r"`torch\.jit\.", FutureWarning)
        traced = torch.jit.trace(play, tuple(map(torch.Tensor.detach, points)), check_trace=False)

    plain, count = autograd(function), len(results)

    def run(*variables: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with torch.no_grad(), torch.jit.optimized_execution(False):  # what it saves does not pay for its first calls
            values: tuple[torch.Tensor, ...] = traced(*variables)
        has_failed = any(bool(check.any()) for check in values[count:])
        return plain(*variables) if has_failed else values[:count]

    return run


def autograd(function: Function) -> Function:
    """The function as its value and its gradient by each variable, in one tuple, by autograd."""

    def run(*variables: torch.Tensor) -> tuple[torch.Tensor, ...]:
        points = [value.detach().requires_grad_() for value in variables]
        with torch.enable_grad():
            value = function(*points)
        return (value.detach(), *torch.autograd.grad(value.sum(), points))

    return run


def with_gradient(function: Function, at: Sequence[Sequence[torch.Tensor]]) -> Function:
    """The function as `autograd` has it, compiled if it can be.

    Args:
        function: Of tensors; its value is a scalar, or the gradient is that of its sum.
        at: Variables at which both must be the same, to a relative 1e-9 or 1e-8; it is recorded at the first.
    """
    plain = autograd(function)
    try:
        compiled = recorded(function, at[0])
        is_same = all(same(plain(*variables), compiled(*variables)) for variables in at)
    except (
        Exception
    ):  # a branch depends on the variables, or torch has no way to compile it, which it says in many ways
        return plain
    return compiled if is_same else plain


def same(left: Sequence[torch.Tensor], right: Sequence[torch.Tensor]) -> bool:
    return all(torch.allclose(a, b, rtol=1e-9, equal_nan=True) for a, b in zip(left, right, strict=True))


class Played(torch.autograd.Function):
    """The value of a function that comes with its gradient, see `autograd`."""

    @staticmethod
    def forward(context: Any, function: Function, *variables: torch.Tensor) -> torch.Tensor:
        value, *context.gradient = function(*variables)
        return value

    @staticmethod
    @once_differentiable
    def backward(context: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return (None, *(upstream[0] * slope for slope in context.gradient))


def compile_potential(function: Potential, at: Sequence[Point]) -> Potential:
    """A potential that is evaluated together with its gradient, see `with_gradient`.

    Args:
        function: Of the latents by name; its value is a scalar.
        at: Where it is recorded, and where it must be the same.
    """
    names = list(at[0])
    values = [[point[name] for name in names] for point in at]
    compiled = with_gradient(lambda *variables: function(dict(zip(names, variables, strict=True))), values)
    return lambda point: Played.apply(compiled, *(point[name] for name in names))
