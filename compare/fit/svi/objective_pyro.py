"""What Pyro computes for a fit: the log joint with its curvature, and the ELBO with its gradients at given draws."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import pyro
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO
from pyro.poutine.util import site_is_subsample

import guides
from compare.fit.svi.base_pyro import BaseDraws, columns, mask_probability
from compare.fit.svi.laplace import precision_by_differences
from compare.fit.svi.protocol import Evaluation, Static, bind
from compare.user_model import twins
from compare.user_model.density_pyro import (
    Form,
    choose_form,
    density,
    fastest,
    nesting,
    over_points,
    per_particle,
    split_arguments,
    tensors,
)
from compare.user_model.held_pyro import Held
from compare.user_model.sites import is_delta
from guides.contract import Implementation, Parameters, Settings

__all__ = ["LogJoint", "Objective", "density", "prepare", "split_arguments"]

Tensors = dict[str, torch.Tensor]
SMALL_STEP = 1e-4
"""The step of a product by differences, beside the largest number of the location."""

Ratios = tuple[torch.Tensor, Tensors]
"""log p(x, z) - log q(z), and the latents z."""


def prepare(model: str, family: str, static: Static, data: Tensors, settings: Settings = ()) -> Objective:
    """The objective of a model and a family, for these static arguments and data of these shapes."""
    return Objective(twins.twin(model, "pyro"), family, static, data, settings)


class ParticleELBO(Trace_ELBO):
    """The library's ELBO, kept apart particle by particle."""

    def log_ratios(self, model: Callable[..., Any], guide: Callable[..., Any], data: Tensors) -> torch.Tensor:
        """log p(x, z) - log q(z) of each particle, shape (num_particles,)."""
        total: Any = 0.0
        for model_trace, guide_trace in self._get_traces(model, guide, (), data):
            for trace, sign in ((model_trace, 1), (guide_trace, -1)):
                for site in trace.nodes.values():
                    if site["type"] == "sample" and "log_prob" in site:
                        log_prob = site["log_prob"]
                        each = (
                            per_particle(log_prob, self.num_particles) if self.vectorize_particles else log_prob.sum()
                        )
                        total = total + sign * each
        return total


class Particles:
    """The library's ELBO of a guide at given standard normals, many particles at once."""

    def __init__(self, twin: Any, family: Implementation, data: Tensors) -> None:
        self.twin, self.family, self.model = twin, family, twin.model
        self.guide, trace = self.begin(0, data)
        with pyro.validation_enabled(False):
            self.nesting = nesting(trace, poutine.trace(self.model).get_trace(**data))
        self.names = {name.rpartition(".")[2]: name for name in trace.param_nodes}
        values, store = self.params_in(trace), pyro.get_param_store()
        names = self.names if family.sites is None else {}
        self.transforms = {
            name: torch.distributions.transform_to(store._constraints[full]) for name, full in names.items()
        }
        self.shapes = {name: value.shape for name, value in values.items()}
        self.spread = {name: value for name, value in self.parameters(values).items() if name != "location"}
        samples = [site for site in trace.nodes.values() if site["type"] == "sample" and not site_is_subsample(site)]
        masks = [mask for site in samples if (mask := mask_probability(site["fn"])) is not None]
        self.mask_probabilities = np.concatenate([np.zeros(0), *(mask.detach().numpy().ravel() for mask in masks)])
        self.dimension = sum(columns(site["fn"]) for site in samples if not is_delta(site["fn"]))
        with pyro.validation_enabled(False), torch.no_grad(), torch.random.fork_rng(devices=[]):
            self.form = self.choose_form(self.parameters(values), data)

    def choose_form(self, parameters: Tensors, data: Tensors) -> Form:
        """The fastest way to evaluate many draws that gives what the same draws give one by one."""
        draws = torch.randn(3, self.dimension)

        def evaluated(form: Form) -> list[torch.Tensor]:
            ratios, latents = self.log_ratios(parameters, parameters, draws, data, form)
            return [ratios, *latents.values()]

        return fastest(evaluated, choose_form(self.model, data))

    def begin(self, seed: int, data: Tensors) -> tuple[Any, Any]:
        """The guide where it starts, and its trace there."""
        pyro.clear_param_store()
        pyro.set_rng_seed(seed)
        guide = self.family.guide(self.twin)
        with pyro.validation_enabled(False):
            return guide, poutine.trace(guide).get_trace(**data)

    def params_in(self, trace: Any) -> Tensors:
        """The values of the guide's param sites, constrained, by short name."""
        return {short: trace.nodes[name]["value"].detach() for short, name in self.names.items()}

    def parameters(self, params: Tensors) -> Tensors:
        """The family's parameters from the guide's param sites, by short name."""
        if self.family.sites is not None:
            return self.family.sites.to_parameters(params)
        return {"flat": torch.cat([self.transforms[name].inv(params[name]).reshape(-1) for name in self.shapes])}

    def params(self, parameters: Tensors) -> Tensors:
        if self.family.sites is not None:
            return self.family.sites.from_parameters(parameters)
        pieces = parameters["flat"].split([math.prod(shape) for shape in self.shapes.values()])
        shaped = zip(self.shapes.items(), pieces, strict=True)
        return {name: self.transforms[name](piece.reshape(shape)) for (name, shape), piece in shaped}

    def param_sites(self, parameters: Parameters) -> dict[str, Any]:
        params = self.params({name: torch.as_tensor(value) for name, value in parameters.items()})
        return {self.names[short]: value.detach().numpy() for short, value in params.items()}

    def start(self, seed: int, data: Tensors) -> Parameters:
        return arrays(self.parameters(self.params_in(self.begin(seed, data)[1])))

    def guide_at(self, parameters: Tensors) -> Callable[..., Any]:
        """The guide with its param sites at the family's parameters."""
        params, guide = self.params(parameters), self.guide
        if isinstance(guide, torch.nn.Module):  # a module's unconstrained parameters do not listen to handlers
            own = {name: params[name] for name, _ in guide.named_parameters() if name in self.names}

            def guide(**data: Any) -> Any:
                return torch.func.functional_call(self.guide, own, (), data)

        return poutine.substitute(guide, data={self.names[name]: value for name, value in params.items()})

    def log_ratio(self, path: Tensors, density: Tensors, eps: torch.Tensor, data: Tensors) -> Ratios:
        """log p(x, z) - log q(z), z made of one draw along ``path``, q with parameters ``density``; and z."""
        fed, elbo = BaseDraws(eps), ParticleELBO(max_plate_nesting=self.nesting)
        if self.family.is_forward:
            return elbo.log_ratios(self.model, fed(self.guide_at(path)), data), fed.latents
        with fed:
            self.guide_at(path)(**data)
        return elbo.log_ratios(self.model, Held(fed.values)(self.guide_at(density)), data), fed.latents

    def log_ratios(
        self, path: Tensors, density: Tensors, draws: torch.Tensor, data: Tensors, form: Form | None = None
    ) -> Ratios:
        """The same for rows of draws: log ratios of shape (rows,), latents of shapes (rows, *site)."""
        each, form = partial(self.log_ratio, path, density, data=data), form or self.form
        if form != "plate":
            return over_points(each, draws, form)
        count = len(draws)
        fed = BaseDraws(draws, self.nesting)
        elbo = ParticleELBO(num_particles=count, vectorize_particles=True, max_plate_nesting=self.nesting)
        if self.family.is_forward:
            ratios = elbo.log_ratios(self.model, fed(self.guide_at(path)), data)
        else:
            with pyro.plate("num_particles_vectorized", count, dim=-1 - self.nesting):
                with fed:
                    self.guide_at(path)(**data)
            ratios = elbo.log_ratios(self.model, Held(fed.values)(self.guide_at(density)), data)
        return ratios, {
            name: value.reshape(count, *value.shape[1 + self.nesting :]) for name, value in fed.latents.items()
        }


class LogJoint(Particles):
    """The log joint with its curvature: what mean field's ELBO is at its location, up to a constant."""

    def __init__(self, twin: Any, data: Tensors) -> None:
        super().__init__(twin, guides.implementation("mean_field", "pyro"), data)
        rows = torch.linspace(-1.0, 1.0, 3)[:, None].expand(3, self.dimension)
        with pyro.validation_enabled(False), torch.no_grad():
            self.form = fastest(lambda form: [self._rows(rows, data, form)], self.form)

    def at(self, location: torch.Tensor, data: Tensors) -> Ratios:
        point = {"location": location} | self.spread
        return self.log_ratio(point, point, torch.zeros_like(location), data)

    def _rows(self, rows: torch.Tensor, data: Tensors, form: Form | None = None) -> torch.Tensor:
        form, (count, size) = form or self.form, rows.shape
        if form != "plate":
            return over_points(lambda row: self.at(row, data)[0], rows, form)
        point = {"location": rows.reshape(count, *(1,) * self.nesting, size)} | self.spread
        return self.log_ratios(point, point, torch.zeros(count, size), data, form)[0]

    def _gradients(self, locations: np.ndarray, data: Tensors) -> tuple[np.ndarray, np.ndarray]:
        """The log joint and its gradient at rows of locations, shape (rows, d), or (fits, rows, d)."""
        rows = torch.tensor(locations, requires_grad=True)
        with pyro.validation_enabled(False):
            value = torch.func.vmap(self._rows)(rows, tensors(data)) if rows.ndim == 3 else self._rows(rows, data)
            (gradient,) = torch.autograd.grad(value.sum(), rows)
        return value.detach().numpy(), gradient.numpy()

    def value(self, location: np.ndarray, data: Tensors) -> tuple[np.ndarray, np.ndarray]:
        value, gradient = self._gradients(location[..., None, :], data)
        return value[..., 0], gradient[..., 0, :]

    def products(self, location: np.ndarray, directions: np.ndarray, data: Tensors) -> np.ndarray:
        """By autograd twice where every distribution has second derivatives, else by central differences."""
        with pyro.validation_enabled(False), suppress(RuntimeError, NotImplementedError):
            rows = torch.as_tensor(location).expand(directions.shape).clone().requires_grad_()
            (slopes,) = torch.autograd.grad(self._rows(rows, data).sum(), rows, create_graph=True)
            along = (slopes * torch.as_tensor(directions)).sum()
            return -torch.autograd.grad(along, rows)[0].numpy()
        length = np.maximum(np.abs(directions).max(axis=1, keepdims=True), np.finfo(float).tiny)
        step = SMALL_STEP * np.maximum(1.0, np.abs(location).max()) / length
        _, ahead = self._gradients(location + step * directions, data)
        _, behind = self._gradients(location - step * directions, data)
        return (behind - ahead) / (2 * step)

    def precision(self, location: np.ndarray, data: Tensors) -> np.ndarray:
        """Minus the Hessian: dense, or beyond `DENSE` its tridiagonal.

        By central differences of gradients, all in one vectorised call: not every distribution has second derivatives
        by autograd.
        """
        return precision_by_differences(lambda rows: self._gradients(rows, data)[1], location)


class Objective(Particles):
    """-ELBO of a guide as a function of its family's parameters and of base draws."""

    def __init__(self, twin: Any, family: str, static: Static, data: Tensors, settings: Settings = ()) -> None:
        bound = bind(twin, static)
        super().__init__(bound, guides.implementation(family, "pyro", settings), data)
        self.log_joint = LogJoint(bound, data) if guides.load(family).coordinates is not None else None

    def adam(self, seed: int, data: Tensors, steps: int, learning_rate: float) -> Parameters:
        """The library's default loop: SVI's own steps with Adam and one draw each."""
        guide, _ = self.begin(seed, data)
        adam = pyro.optim.Adam({"lr": learning_rate})  # type: ignore[attr-defined]  # it is made when imported
        svi = SVI(self.model, guide, adam, Trace_ELBO())
        with pyro.validation_enabled(False):
            for _ in range(steps):
                svi.step(**data)
            return arrays(self.parameters(self.params_in(poutine.trace(guide).get_trace(**data))))

    def evaluate(self, parameters: Parameters, draws: np.ndarray, data: Tensors) -> Evaluation:
        log_ratios, data = self.log_ratios, tensors(data)
        if draws.ndim == 3:
            log_ratios = torch.func.vmap(log_ratios)
        with pyro.validation_enabled(False):
            path, density = (
                {name: torch.tensor(value, requires_grad=True) for name, value in parameters.items()} for _ in range(2)
            )
            log_ratio, latents = log_ratios(path, density, torch.as_tensor(draws), data)
            leaves = [*path.values(), *density.values()]
            slopes = torch.autograd.grad(-log_ratio.sum() / draws.shape[-2], leaves, allow_unused=True)
        gradients = [np.zeros(leaf.shape) if g is None else g.numpy() for leaf, g in zip(leaves, slopes, strict=True)]
        along = dict(zip(path, gradients, strict=False))
        return Evaluation(
            log_ratio=log_ratio.detach().numpy(),
            latents=arrays(latents),
            path=along,
            total={name: along[name] + part for name, part in zip(density, gradients[len(path) :], strict=True)},
        )


def arrays(values: Tensors) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy().copy() for name, value in values.items()}
