"""A user's Pyro model at many unconstrained points at once, by the library's own transforms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pyro
import torch
from pyro import poutine
from torch.distributions import biject_to

from compare.user_model.compiled_pyro import autograd, with_gradient
from compare.user_model.density_pyro import choose_form, split_arguments, tensors, terms_of_many
from compare.user_model.held_pyro import Tensors
from compare.user_model.in_pyro import derive, twin, unsplit

FEWEST = 16
"""Points that are evaluated together with their gradient at least: fewer are filled up, as it is compiled for each
power of two."""

SHIFT = 0.1
"""How far from where it was recorded a compiled function is tried, too."""


class Functions:
    """What `compare.user_model.unconstrained.Functions` asks for, in Pyro."""

    largest = (16_384, 2048)

    def __init__(self, user: Any, arguments: Mapping[str, Any], names: tuple[str, ...]) -> None:
        self.user, self.arguments, self.names = user, arguments, names
        self.data, static = split_arguments(arguments)
        self.plain, model = partial(unsplit, user, **dict(static)), partial(twin(user).model, **dict(static))
        with torch.no_grad(), torch.random.fork_rng(devices=[]), pyro.validation_enabled(False):
            nodes: Any = poutine.trace(model).get_trace(**self.data).nodes
            self.transforms = {name: biject_to(nodes[name]["fn"].support) for name in names}
            self.form = choose_form(model, self.data)
            alone = poutine.trace(model).get_trace(**self.data) if self.form == "plate" else None
        self.terms = partial(terms_of_many, self.form, model, data=self.data, alone=alone)
        self.compiled: dict[int, Callable[..., Any]] = {}
        self.derived = tuple(name for name, node in nodes.items() if node.get("infer", {}).get("_deterministic"))

    @torch.no_grad()
    def draw(self, count: int, seed: int) -> dict[str, np.ndarray]:
        draws: dict[str, list[torch.Tensor]] = {name: [] for name in self.names}
        with torch.random.fork_rng(devices=[]), pyro.validation_enabled(False):
            pyro.set_rng_seed(seed)
            for _ in range(count):
                nodes = poutine.trace(self.plain).get_trace(**self.data).nodes
                for name in self.names:
                    draws[name].append(self.transforms[name].inv(nodes[name]["value"]))
        return {name: torch.stack(values).numpy() for name, values in draws.items()}

    def _log_joint(self, points: Tensors) -> torch.Tensor:
        latents, total = {}, torch.zeros(())
        for name, z in points.items():
            value = latents[name] = self.transforms[name](z)
            total = total + self.transforms[name].log_abs_det_jacobian(z, value).reshape(len(z), -1).sum(-1)
        with pyro.validation_enabled(False):
            prior, likelihood = self.terms(latents)
        return total + prior + likelihood

    @torch.no_grad()
    def value(self, points: dict[str, np.ndarray], size: int) -> np.ndarray:
        return self._log_joint(tensors(points)).numpy()

    def gradient(self, points: dict[str, np.ndarray], size: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        count = len(next(iter(points.values())))
        rows = min(size, max(FEWEST, 1 << (count - 1).bit_length()))
        padded = [torch.as_tensor(np.concatenate([z, z[:1].repeat(rows - count, axis=0)])) for z in points.values()]
        if rows not in self.compiled:
            self.compiled[rows] = self._compiled(list(points), padded)
        value, *slopes = (result[:count].numpy() for result in self.compiled[rows](*padded))
        return value, dict(zip(points, slopes, strict=True))

    def _compiled(self, names: list[str], points: list[torch.Tensor]) -> Callable[..., Any]:
        """The log joint and its gradient, recorded at this number of points; unrecorded where points run one by one."""

        def log_joint(*values: torch.Tensor) -> torch.Tensor:
            return self._log_joint(dict(zip(names, values, strict=True)))

        elsewhere = [z.flip(0) + SHIFT for z in points]
        return autograd(log_joint) if self.form == "loop" else with_gradient(log_joint, [points, elsewhere])

    @torch.no_grad()
    def constrain(self, points: dict[str, np.ndarray], size: int) -> dict[str, np.ndarray]:
        latents = {name: self.transforms[name](torch.as_tensor(z)).numpy() for name, z in points.items()}
        return latents | (derive(self.user.name, self.arguments, self.derived, latents) if self.derived else {})

    @torch.no_grad()
    def unconstrain(self, latents: dict[str, np.ndarray], size: int) -> dict[str, np.ndarray]:
        return {name: self.transforms[name].inv(torch.as_tensor(latents[name])).numpy() for name in self.names}
