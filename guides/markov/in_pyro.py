"""The Markov family in Pyro: a Gaussian with a bidiagonal precision factor, and its autoguide."""

from __future__ import annotations

import math
from typing import Any

import torch
from pyro.distributions import TorchDistribution, constraints
from pyro.nn.module import PyroParam
from torch import nn

from guides.autoguide_pyro import AutoGaussian
from guides.contract import Implementation, sites_named
from models.banded import solve


class Substitute(torch.autograd.Function):
    """B^-1 y, or B^-T y where ``transposed``, for B lower bidiagonal and y of shape (..., d).

    LAPACK does it in O(d), which torch has no operation for; the gradient is one more substitution, so it can be
    differentiated any number of times.
    """

    @staticmethod
    def forward(diagonal: torch.Tensor, off_diagonal: torch.Tensor, y: torch.Tensor, transposed: bool) -> torch.Tensor:
        on, below, right = (part.detach().cpu().double().numpy() for part in (diagonal, off_diagonal, y))
        return torch.from_numpy(solve(on, below, right, transposed=transposed)).to(y)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        diagonal, off_diagonal, _, ctx.transposed = inputs
        ctx.save_for_backward(diagonal, off_diagonal, output)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        diagonal, off_diagonal, solution = ctx.saved_tensors
        pull = Substitute.apply(diagonal, off_diagonal, gradient, not ctx.transposed)
        ahead, behind = (pull, solution) if ctx.transposed else (solution, pull)
        along = tuple(range(pull.dim() - 1))
        on = -(pull * solution)
        below = -(ahead[..., :-1] * behind[..., 1:])
        return (on.sum(along), below.sum(along), pull, None) if along else (on, below, pull, None)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *parts: Any) -> tuple[torch.Tensor, int]:
        """One system after another: LAPACK knows no stacks of them."""
        stacks = [
            [part] * info.batch_size if at is None else part.unbind(at) for part, at in zip(parts, in_dims, strict=True)
        ]
        return torch.stack([Substitute.apply(*system) for system in zip(*stacks, strict=True)]), 0


class MarkovNormal(TorchDistribution):
    """N(loc, (B B')^-1), B lower bidiagonal with ``diagonal`` (d,) and ``off_diagonal`` (d - 1,); loc (..., d)."""

    arg_constraints = {
        "loc": constraints.real_vector,
        "diagonal": constraints.independent(constraints.positive, 1),
        "off_diagonal": constraints.real_vector,
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self, loc: torch.Tensor, diagonal: torch.Tensor, off_diagonal: torch.Tensor, validate_args: bool | None = None
    ) -> None:
        self.loc, self.diagonal, self.off_diagonal = loc, diagonal, off_diagonal
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> TorchDistribution:
        loc = self.loc.expand(torch.Size(batch_shape) + self.event_shape)
        return MarkovNormal(loc, self.diagonal, self.off_diagonal, validate_args=False)

    def from_base(self, eps: torch.Tensor) -> torch.Tensor:
        return self.loc + Substitute.apply(self.diagonal, self.off_diagonal, eps, True)

    def rsample(self, sample_shape: Any = ()) -> torch.Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        return self.from_base(torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device))

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        centred = value - self.loc
        eps = self.diagonal * centred + nn.functional.pad(self.off_diagonal * centred[..., 1:], (0, 1))
        constant = self.diagonal.log().sum(-1) - 0.5 * self.event_shape[0] * math.log(2 * math.pi)
        return constant - 0.5 * (eps**2).sum(-1)

    @property
    def mean(self) -> torch.Tensor:
        return self.loc

    @property
    def variance(self) -> torch.Tensor:
        slope = self.off_diagonal / self.diagonal[:-1]
        variance = Substitute.apply(torch.ones_like(self.diagonal), -(slope**2), self.diagonal**-2, True)
        return variance.expand(self.loc.shape)


class AutoMarkovNormal(AutoGaussian):
    """A Gaussian over the entire latent space whose precision couples neighbours only."""

    def _setup_prototype(self, *args: Any, **kwargs: Any) -> None:
        super()._setup_prototype(*args, **kwargs)
        self.loc = nn.Parameter(self._init_loc())
        self.diagonal = PyroParam(
            self.loc.new_full((self.latent_dim,), 1 / self._init_scale),
            constraints.independent(constraints.positive, 1),
        )
        self.off_diagonal = nn.Parameter(self.loc.new_zeros(self.latent_dim - 1))

    def get_posterior(self, *args: Any, **kwargs: Any) -> TorchDistribution:
        return MarkovNormal(self.loc, self.diagonal, self.off_diagonal)  # type: ignore[arg-type]  # a PyroParam's value


def guide(twin: Any) -> AutoMarkovNormal:
    return AutoMarkovNormal(twin.model)


IMPLEMENTATION = Implementation(guide, sites_named())
