"""Params of a user's Pyro model: which the log joint depends on, and the best by the library's own SVI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyro
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from pyro.infer.autoguide import AutoMultivariateNormal

from compare.user_model.arguments import hold
from compare.user_model.density_pyro import split_arguments
from compare.user_model.held_pyro import Held
from compare.user_model.in_pyro import twin
from compare.user_model.minimise import minimise

N_PARTICLES = 24
"""Draws that the ELBO is averaged over."""


def used(user: Any, values: Mapping[str, Any], starts: Mapping[str, Any], latents: Mapping[str, Any]) -> list[str]:
    """The params among ``starts`` that the log joint depends on."""
    data, static = split_arguments(dict(values) | hold(starts))
    leaves = {name: data[f"param:{name}"].requires_grad_() for name in starts}
    with pyro.validation_enabled(False), Held(dict(latents)):
        trace: Any = poutine.trace(partial(twin(user).model, **dict(static))).get_trace(**data)
        joint = trace.log_prob_sum()
    if not joint.requires_grad:
        return []
    slopes = torch.autograd.grad(joint, list(leaves.values()), allow_unused=True)
    return [name for name, slope in zip(leaves, slopes, strict=True) if slope is not None and slope.any()]


def learn(user: Any, values: Mapping[str, Any], names: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """The params, constrained, where the ELBO of a full-rank guide is highest."""
    data, static = split_arguments(values)
    model = partial(twin(user).model, **dict(static))
    guide, elbo = AutoMultivariateNormal(model), Trace_ELBO(num_particles=N_PARTICLES)

    def loss() -> tuple[torch.Tensor, dict[str, Any]]:
        """-ELBO at the same draws in every call, and the params of guide and model."""
        torch.manual_seed(seed)
        with poutine.trace(param_only=True) as capture:
            value = elbo.differentiable_loss(model, guide, **data)
        return value, {name: site["value"] for name, site in capture.trace.nodes.items()}

    def put(x: np.ndarray) -> None:
        with torch.no_grad():
            for leaf, part in zip(leaves, torch.as_tensor(x).split(sizes), strict=True):
                leaf.copy_(part.reshape(leaf.shape))

    def slope(x: np.ndarray) -> tuple[float, np.ndarray]:
        put(x)
        value = loss()[0]
        slopes = torch.autograd.grad(value, leaves, allow_unused=True)
        parts = [torch.zeros_like(leaf) if g is None else g for leaf, g in zip(leaves, slopes, strict=True)]
        return float(value.detach()), torch.cat([part.reshape(-1) for part in parts]).numpy()

    store = pyro.get_param_store()
    with store.scope(), torch.random.fork_rng(devices=[]), pyro.validation_enabled(False):
        leaves = [value.unconstrained() for value in loss()[1].values()]
        sizes = [leaf.numel() for leaf in leaves]
        start = torch.cat([leaf.detach().reshape(-1) for leaf in leaves]).numpy()
        try:
            put(minimise(slope, start))
            return {name: value.detach().numpy().copy() for name, value in loss()[1].items() if name in names}
        finally:
            put(start)  # those of a module are the user's
