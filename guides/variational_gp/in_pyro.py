"""The variational Gaussian process in Pyro: an auxiliary input, and a factor for its auxiliary density."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from pyro.distributions.transforms import LowerCholeskyAffine
from pyro.nn import PyroParam
from torch import nn
from torch.linalg import solve_triangular

from guides.autoguide_pyro import AutoScaled
from guides.contract import Implementation, sites_named
from guides.variational_gp import JITTER, POSITIVE, start


class AutoVariationalGP(AutoScaled):
    """Draws through a Gaussian process of a latent input: z = loc + scale_tril u, u | xi ~ N(f(xi), noise^2).

    It starts as independent normals of sd ``init_scale``, about.
    """

    def _setup_prototype(self, *args: Any, **kwargs: Any) -> None:
        super()._setup_prototype(*args, **kwargs)
        self.loc = nn.Parameter(self._init_loc())
        scale_tril = self._init_scale * torch.eye(self.latent_dim, dtype=self.loc.dtype)
        self.scale_tril = PyroParam(scale_tril, constraints.lower_cholesky)
        for name, value in start(self.latent_dim).items():
            constraint = constraints.positive if name in POSITIVE else constraints.real
            setattr(self, name, PyroParam(torch.as_tensor(value, dtype=self.loc.dtype), constraint))

    def sample_latent(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        param = {name: getattr(self, name) for name in start(self.latent_dim)}
        affine, name = LowerCholeskyAffine(self.loc, self.scale_tril, cache_size=1), f"_{self._pyro_name}"
        standard = dist.Normal(torch.zeros_like(self.length), 1.0)
        xi = pyro.sample(f"{name}_input", standard, infer={"is_auxiliary": True})
        posterior = dist.TransformedDistribution(mapping(param, xi), affine)
        latent = pyro.sample(f"{name}_latent", posterior, infer={"is_auxiliary": True})
        log_reverse = reverse(param, affine.inv(latent)).log_prob(xi)
        pyro.factor(f"{name}_reverse", -log_reverse, has_rsample=True)
        return latent


def mapping(param: dict[str, torch.Tensor], xi: torch.Tensor) -> dist.Distribution:
    """u given latent inputs, shape (...), with the Gaussian process integrated out."""

    def kernel(x: torch.Tensor) -> torch.Tensor:
        return torch.exp(-0.5 * ((x.unsqueeze(-1) - param["inputs"]) / param["length"]) ** 2)

    eye = torch.eye(len(param["inputs"]), dtype=xi.dtype)
    factor = torch.linalg.cholesky(kernel(param["inputs"]) + JITTER * eye)
    a = kernel(xi) @ solve_triangular(factor, eye, upper=False).T
    noise = param["noise"] * torch.exp(a @ param["stretch"])
    variance = (1 - (a**2).sum(-1, keepdim=True)) * param["amplitude"] ** 2 + noise**2
    return dist.Normal(xi.unsqueeze(-1) * param["slope"] + a @ param["targets"], variance.sqrt()).to_event(1)


def reverse(param: dict[str, torch.Tensor], u: torch.Tensor) -> dist.Distribution:
    """r(xi | z), the auxiliary density."""
    units = torch.tanh(u @ param["reverse_inward"] + param["reverse_biases"])
    outputs = units @ param["reverse_outward"] + param["reverse_level"]
    return dist.Normal(u @ param["reverse_slope"] + outputs[..., 0], outputs[..., 1].exp())


def guide(twin: Any) -> AutoVariationalGP:
    return AutoVariationalGP(twin.model)


IMPLEMENTATION = Implementation(guide, sites_named(), is_forward=True)
