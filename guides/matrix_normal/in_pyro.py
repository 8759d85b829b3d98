"""The matrix normal family in Pyro: matrix normals side by side, and their autoguide."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from pyro.distributions import TorchDistribution, constraints
from pyro.nn.module import PyroParam
from torch import nn

from guides.autoguide_pyro import AutoGaussian
from guides.contract import Implementation, sites_named


class MatrixNormals(TorchDistribution):
    """Independent matrix normals on the pieces of a vector: each is loc + A E B', E (n, m) standard normals.

    ``rows`` holds each one's A (n, n), ``columns`` its B (m, m), lower triangular; loc (..., d), d the sum of all nm.
    """

    arg_constraints = {"loc": constraints.real_vector}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: torch.Tensor, rows: Any, columns: Any, validate_args: bool | None = None) -> None:
        self.loc, self.rows, self.columns = loc, tuple(rows), tuple(columns)
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> TorchDistribution:
        loc = self.loc.expand(torch.Size(batch_shape) + self.event_shape)
        return MatrixNormals(loc, self.rows, self.columns, validate_args=False)

    def pieces(self, flat: torch.Tensor) -> Iterator[torch.Tensor]:
        """A vector (..., d) as one matrix (..., n, m) each."""
        begin = 0
        for a, b in zip(self.rows, self.columns, strict=True):
            end = begin + len(a) * len(b)
            yield flat[..., begin:end].unflatten(-1, (len(a), len(b)))
            begin = end

    def from_base(self, eps: torch.Tensor) -> torch.Tensor:
        each = zip(self.rows, self.pieces(eps), self.columns, strict=True)
        return self.loc + torch.cat([(a @ e @ b.T).flatten(-2) for a, e, b in each], dim=-1)

    def rsample(self, sample_shape: Any = ()) -> torch.Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        return self.from_base(torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device))

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        log_prob: Any = -0.5 * self.event_shape[0] * math.log(2 * math.pi)
        for z, a, b in zip(self.pieces(value - self.loc), self.rows, self.columns, strict=True):
            halfway = torch.linalg.solve_triangular(a, z, upper=False)
            eps = torch.linalg.solve_triangular(b.T, halfway, upper=True, left=False)
            log_det = len(b) * a.diagonal().log().sum() + len(a) * b.diagonal().log().sum()
            log_prob = log_prob - log_det - 0.5 * (eps**2).sum((-2, -1))
        return log_prob

    @property
    def mean(self) -> torch.Tensor:
        return self.loc

    @property
    def variance(self) -> torch.Tensor:
        each = zip(self.rows, self.columns, strict=True)
        spread = [torch.outer((a**2).sum(-1), (b**2).sum(-1)).flatten() for a, b in each]
        return torch.cat(spread).expand(self.loc.shape)


class AutoMatrixNormal(AutoGaussian):
    """A matrix normal for each site; sites are independent of each other.

    A site of shape (..., m) is a matrix with m columns, a vector or a scalar one with a single column. The factors are
    numbered by the order of the sites in the model.
    """

    def _setup_prototype(self, *args: Any, **kwargs: Any) -> None:
        super()._setup_prototype(*args, **kwargs)
        self.loc = nn.Parameter(self._init_loc())
        for number, shape in enumerate(self._unconstrained_shapes.values()):
            last = shape[-1] if len(shape) > 1 else 1
            rows = self._init_scale * torch.eye(shape.numel() // last, dtype=self.loc.dtype)
            setattr(self, f"rows_{number}", PyroParam(rows, constraints.lower_cholesky))
            if last > 1:
                columns = torch.eye(last, dtype=self.loc.dtype)
                setattr(self, f"columns_{number}", PyroParam(columns, constraints.lower_cholesky))

    def get_posterior(self, *args: Any, **kwargs: Any) -> TorchDistribution:
        numbers, unit = range(len(self._unconstrained_shapes)), self.loc.new_ones(1, 1)
        rows = [getattr(self, f"rows_{number}") for number in numbers]
        return MatrixNormals(self.loc, rows, [getattr(self, f"columns_{number}", unit) for number in numbers])


def guide(twin: Any) -> AutoMatrixNormal:
    return AutoMatrixNormal(twin.model)


IMPLEMENTATION = Implementation(guide, sites_named())
