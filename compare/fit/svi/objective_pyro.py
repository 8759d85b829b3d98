"""What Pyro computes for a fit: the log joint with its curvature, and the ELBO with its gradients at given draws.

Many particles are evaluated at once: in a particle plate, the library's own way, where the model broadcasts over it
(`broadcasts` finds out), else by torch.func.vmap over the model as it is.
"""

from __future__ import annotations

import math
from functools import lru_cache, partial

import numpy as np
import pyro
import torch
from pyro import poutine
from pyro.distributions import Delta
from pyro.infer import SVI, Trace_ELBO
from pyro.poutine.util import site_is_subsample

import guides
from compare import registry
from compare.fit.svi.base_pyro import BaseDraws, Held, columns
from compare.fit.svi.protocol import DENSE, Evaluation, bind

__all__ = ["Density", "Objective", "density", "prepare", "split_arguments"]

CHUNK = 512
"""Points a model that does not broadcast is evaluated at in one go."""

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)  # more threads wait for each other longer than these tensors take, the more so beside others


def split_arguments(arguments):
    """The arguments that are data (tensors), and those that shape the program (counts, flags, words)."""
    data = {
        name: torch.tensor(value) for name, value in arguments.items() if isinstance(value, np.ndarray | np.generic)
    }
    return data, tuple(sorted((name, value) for name, value in arguments.items() if name not in data))


def prepare(model, family, static):
    """The objective of a model of the catalogue and a family, for these static arguments."""
    return Objective(registry.twin(model, "pyro"), guides.load(family, "pyro"), static)


@lru_cache(maxsize=64)
def density(model, static):
    """The densities of a model of the catalogue, for these static arguments."""
    return Density(registry.twin(model, "pyro"), static)


def nesting(*traces):
    """The number of plate dimensions in use."""
    return max(
        (-frame.dim for trace in traces for site in trace.nodes.values() if site["type"] == "sample"
         for frame in site["cond_indep_stack"] if frame.vectorized),
        default=0,
    )  # fmt: skip


def per_particle(site_log_prob, rows):
    """A site's log probability summed to one number a particle, shape (rows,)."""
    if site_log_prob.ndim and site_log_prob.shape[0] == rows:
        return site_log_prob.reshape(rows, -1).sum(-1)
    return site_log_prob.sum().expand(rows)


def terms(model, latents, data):
    """log p(z) and log p(x | z) at one point: latents of the sites' own shapes."""
    with Held(latents):
        trace = poutine.trace(model).get_trace(**data)
    trace.compute_log_prob()
    prior, likelihood = torch.zeros(()), torch.zeros(())
    for name, site in trace.nodes.items():
        if site["type"] == "sample" and "log_prob" in site:
            total = site["log_prob"].sum()
            prior, likelihood = (
                (prior + total, likelihood) if of_prior(name, site, latents) else (prior, likelihood + total)
            )
    return prior, likelihood


def of_prior(name, site, latents):
    """Whether a site is part of log p(z): a latent, or a factor that is marked so."""
    return name in latents or site["infer"].get("of_prior", False)


def plated(model, latents, data):
    """`terms` of many points, latents of shapes (count, *site), in a particle plate: each of shape (count,)."""
    alone = poutine.trace(model).get_trace(**data)
    deep, count = nesting(alone), len(next(iter(latents.values())))
    values = {
        name: value.reshape(count, *(1,) * (deep - len(alone.nodes[name]["fn"].batch_shape)), *value.shape[1:])
        for name, value in latents.items()
    }
    with Held(values), pyro.plate("particles", count, dim=-1 - deep):
        trace = poutine.trace(model).get_trace(**data)
    trace.compute_log_prob()
    prior, likelihood = torch.zeros(count), torch.zeros(count)
    for name, site in trace.nodes.items():
        if site["type"] == "sample" and "log_prob" in site:
            target = prior if of_prior(name, site, latents) else likelihood
            target += per_particle(site["log_prob"], count)
    return prior, likelihood


def broadcasts(model, data):
    """Whether the model does in a particle plate what it does by itself, its latents outside of plates.

    It is tried on three draws from the prior.
    """
    draws = []
    for _ in range(3):
        trace = poutine.trace(model).get_trace(**data)
        sites = {name: trace.nodes[name] for name in trace.stochastic_nodes}
        sites = {name: site for name, site in sites.items() if not site_is_subsample(site)}
        if any(frame.vectorized for site in sites.values() for frame in site["cond_indep_stack"]):
            return False
        draws.append({name: site["value"].detach() for name, site in sites.items()})
    if not draws[0]:
        return True
    alone = [terms(model, latents, data) for latents in draws]
    try:
        together = plated(model, {name: torch.stack([one[name] for one in draws]) for name in draws[0]}, data)
    except Exception:  # shapes that do not fit are said in many ways
        return False
    return all(
        torch.allclose(torch.stack(each), every, rtol=1e-9, equal_nan=True)
        for each, every in zip(zip(*alone, strict=True), together, strict=True)
    )


class Density:
    """The model's log densities at given latents, in its own constrained space."""

    def __init__(self, twin, static=()):
        self.model = partial(twin.model, **dict(static))
        self.broadcasts = {}

    @torch.no_grad()
    def __call__(self, latents, data):
        """Latents of shapes (count, *site) in, log p(z) and log p(x | z) of shape (count,) out."""
        latents = {name: torch.as_tensor(value) for name, value in latents.items()}
        shapes = tuple(value.shape for value in data.values())
        with pyro.validation_enabled(False):
            if shapes not in self.broadcasts:
                self.broadcasts[shapes] = broadcasts(self.model, data)
            if self.broadcasts[shapes]:
                found = plated(self.model, latents, data)
            else:
                one = partial(terms, self.model, data=data)
                found = torch.func.vmap(one, chunk_size=CHUNK)(latents)
        return tuple(part.numpy() for part in found)


class ParticleELBO(Trace_ELBO):
    """The library's ELBO, kept apart particle by particle."""

    def log_ratios(self, model, guide, data):
        """log p(x, z) - log q(z) of each particle, shape (num_particles,)."""
        total = 0.0
        for model_trace, guide_trace in self._get_traces(model, guide, (), data):
            for trace, sign in ((model_trace, 1), (guide_trace, -1)):
                for site in trace.nodes.values():
                    if site["type"] == "sample" and "log_prob" in site:
                        log_prob = site["log_prob"]
                        one = per_particle(log_prob, self.num_particles) if self.vectorize_particles else log_prob.sum()
                        total = total + sign * one
        return total


class Objective:
    """-ELBO of a guide as a function of its family's parameters and of base draws."""

    def __init__(self, twin, family, static=()):
        self.twin, self.family = bind(twin, dict(static)), family
        self.model = self.twin.model

    def start(self, seed, data):
        """The family's parameters that the guide starts from."""
        pyro.clear_param_store()
        pyro.set_rng_seed(seed)
        self.guide = self.family.guide(self.twin)
        with pyro.validation_enabled(False):
            trace = poutine.trace(self.guide).get_trace(**data)
            self.nesting = nesting(trace, poutine.trace(self.model).get_trace(**data))
            self.broadcasts = broadcasts(self.model, data)
        self.svi = SVI(self.model, self.guide, pyro.optim.Adam({"lr": 0.01}), Trace_ELBO())
        self.names = {name.rpartition(".")[2]: name for name in trace.param_nodes}
        params = {short: trace.nodes[name]["value"].detach() for short, name in self.names.items()}
        store = pyro.get_param_store()
        if not hasattr(self.family, "parameters"):
            self.transforms = {name: torch.distributions.transform_to(store._constraints[name]) for name in params}
            self.shapes = {name: value.shape for name, value in params.items()}
        start = self._canonical(params)
        self.rest = {name: torch.as_tensor(value) for name, value in start.items() if name != "location"}
        return start

    def sites(self, parameters):
        """The guide's param sites, constrained, for the family's parameters."""
        if hasattr(self.family, "sites"):
            return {self.names[name]: value for name, value in self.family.sites(parameters).items()}
        pieces = parameters["flat"].split([math.prod(shape) for shape in self.shapes.values()])
        return {
            name: self.transforms[name](piece.reshape(shape))
            for (name, shape), piece in zip(self.shapes.items(), pieces, strict=True)
        }

    def adam(self, seed, data, steps, learning_rate):
        """The library's usual way: SVI's own steps with Adam and one draw each. Parameters and losses."""
        self.start(seed, data)
        svi = SVI(self.model, self.guide, pyro.optim.Adam({"lr": learning_rate}), Trace_ELBO())
        with pyro.validation_enabled(False):
            losses = [svi.step(**data) for _ in range(steps)]
            trace = poutine.trace(self.guide).get_trace(**data)
        params = {short: trace.nodes[name]["value"].detach() for short, name in self.names.items()}
        return self._canonical(params), np.asarray(losses)

    def _canonical(self, params):
        """The family's parameters from the guide's param sites, by short name."""
        if hasattr(self.family, "parameters"):
            canonical = self.family.parameters(params)
        else:
            canonical = {
                "flat": torch.cat([self.transforms[name].inv(params[name]).reshape(-1) for name in self.shapes])
            }
        return {name: value.numpy().copy() for name, value in canonical.items()}

    def _guide_at(self, parameters):
        """The guide with its param sites at the family's parameters."""
        sites, guide = self.sites(parameters), self.guide
        if isinstance(guide, torch.nn.Module):  # a module's unconstrained parameters do not listen to handlers
            own = {name: sites[self.names[name]] for name, _ in guide.named_parameters() if name in self.names}
            guide = partial(_call, guide, own)
        return poutine.substitute(guide, data=sites)

    def dimension(self, parameters, data):
        """How many standard normals one draw from the guide takes."""
        with pyro.validation_enabled(False):
            trace = poutine.trace(self.guide).get_trace(**data)
        return sum(
            columns(site["fn"])
            for site in trace.nodes.values()
            if site["type"] == "sample" and not isinstance(site["fn"], Delta) and not site_is_subsample(site)
        )

    def _log_ratio(self, path, density, eps, data):
        """log p(x, z) - log q(z), z made of one draw along ``path``, q with parameters ``density``; and z."""
        fed = BaseDraws(eps)
        with fed:
            self._guide_at(path)(**data)
        elbo = ParticleELBO(max_plate_nesting=self.nesting)
        return elbo.log_ratios(self.model, Held(fed.values)(self._guide_at(density)), data), fed.latents

    def _log_ratios(self, path, density, draws, data):
        """The same for rows of draws: log ratios of shape (rows,), latents of shapes (rows, *site)."""
        if not self.broadcasts:
            each = partial(self._log_ratio, path, density, data=data)
            return torch.func.vmap(each, chunk_size=CHUNK)(draws)
        count = len(draws)
        fed = BaseDraws(draws, self.nesting)
        with pyro.plate("num_particles_vectorized", count, dim=-1 - self.nesting):
            with fed:
                self._guide_at(path)(**data)
        elbo = ParticleELBO(num_particles=count, vectorize_particles=True, max_plate_nesting=self.nesting)
        latents = {name: value.reshape(count, *value.shape[1 + self.nesting :]) for name, value in fed.latents.items()}
        return elbo.log_ratios(self.model, Held(fed.values)(self._guide_at(density)), data), latents

    def evaluate(self, parameters, draws, data):
        """The ELBO at given draws, shape (rows, dimension), with both its gradients. One row counts one gradient."""
        stacked = {name: value[None] for name, value in parameters.items()}
        return self._evaluate(stacked, draws[None], lambda *parts: self._first(*parts, data)).of(0)

    def _first(self, path, density, draws, data):
        """The only one of the fits, kept as a stack of one."""
        path, density = ({name: value[0] for name, value in one.items()} for one in (path, density))
        log_ratio, latents = self._log_ratios(path, density, draws[0], data)
        return log_ratio[None], {name: value[None] for name, value in latents.items()}

    def evaluate_many(self, parameters, draws, data):
        """The same for many fits at once: all arrays, the data's too, have the fits first."""
        data = {name: torch.as_tensor(value) for name, value in data.items()}
        return self._evaluate(parameters, draws, lambda *parts: torch.func.vmap(self._log_ratios)(*parts, data))

    def _evaluate(self, parameters, draws, log_ratios):
        rows = draws.shape[1]
        with pyro.validation_enabled(False):
            path, density = (
                {name: torch.tensor(value, requires_grad=True) for name, value in parameters.items()} for _ in range(2)
            )
            log_ratio, latents = log_ratios(path, density, torch.as_tensor(draws))
            leaves = [*path.values(), *density.values()]
            gradients = torch.autograd.grad(-log_ratio.sum() / rows, leaves, allow_unused=True)
        gradients = [
            np.zeros(leaf.shape) if g is None else g.numpy() for leaf, g in zip(leaves, gradients, strict=True)
        ]
        along = dict(zip(path, gradients, strict=False))
        return Evaluation(
            log_ratio=log_ratio.detach().numpy(),
            latents={name: value.detach().numpy() for name, value in latents.items()},
            path=along,
            total={name: along[name] + part for name, part in zip(density, gradients[len(path) :], strict=True)},
        )

    def _joint(self, rows, data):
        """log p(x, z), up to a constant, at each row of unconstrained z, shape (rows, d)."""
        count, size = rows.shape
        if not self.broadcasts:
            return torch.func.vmap(partial(self._joint_at, data=data), chunk_size=CHUNK)(rows)
        point = {"location": rows.reshape(count, *(1,) * self.nesting, size)} | self.rest
        return self._log_ratios(point, point, torch.zeros(count, size), data)[0]

    def _joint_at(self, location, data):
        """The same at one point, shape (d,)."""
        point = {"location": location} | self.rest
        return self._log_ratio(point, point, torch.zeros_like(location), data)[0]

    def _gradients(self, locations, joint):
        """The log joint and its gradient, shapes (fits, rows) and (fits, rows, d); ``joint`` takes the locations."""
        rows = torch.tensor(locations, requires_grad=True)
        with pyro.validation_enabled(False):
            value = joint(rows)
            (gradient,) = torch.autograd.grad(value.sum(), rows)
        return value.detach().numpy(), gradient.numpy()

    def _alone(self, data):
        """The log joint of one data set, at a stack of one."""
        return lambda rows: self._joint(rows[0], data)[None]

    def _together(self, data):
        """The log joints of data sets with the fits first."""
        data = {name: torch.as_tensor(value) for name, value in data.items()}
        return lambda rows: torch.func.vmap(self._joint)(rows, data)

    def log_joint(self, location, data):
        """log p(x, z) at z = location in the unconstrained space, up to a constant, and its gradient, shape (d,)."""
        value, gradient = self._gradients(location[None, None], self._alone(data))
        return float(value[0, 0]), gradient[0, 0]

    def log_joint_many(self, locations, data):
        """The same for many fits at once: all arrays have the fits first."""
        value, gradient = self._gradients(locations[:, None], self._together(data))
        return value[:, 0], gradient[:, 0]

    def potential_many(self, data):
        """-log p(x, z), up to a constant, summed over many data sets: a function of z, shape (fits, d).

        ``data`` have the fits first. What else it returns are the latents of each, constrained.
        """
        data = {name: torch.as_tensor(value) for name, value in data.items()}

        def one(location, data):
            point = {"location": location} | self.rest
            log_ratio, latents = self._log_ratio(point, point, torch.zeros_like(location), data)
            return -log_ratio, latents

        def potential(locations):
            values, latents = torch.func.vmap(one)(locations, data)
            return values.sum(), latents

        return potential

    def precision(self, location, data):
        """Minus the log joint's Hessian: dense, shape (d, d), or beyond `DENSE` its tridiagonal, (2, d)."""
        return self._precision(location[None], self._alone(data))[0]

    def precision_many(self, locations, data):
        """The same for many fits at once."""
        return self._precision(locations, self._together(data))

    def _precision(self, locations, joint):
        """By central differences of gradients, all in one vectorised call: second derivatives by autograd are not to be
        had for every distribution. The steps are fitted to the scale of the posterior that they find.
        """
        step = 1e-4 * np.maximum(1, np.abs(locations))
        for _ in range(3):
            found = self._differences(locations, step, joint)
            dense = locations.shape[1] <= DENSE
            scale = 1 / np.sqrt(np.maximum(np.abs(np.einsum("fii->fi", found) if dense else found[:, 0]), 1e-300))
            if np.all((step > 1e-5 * scale) & (step < 0.1 * scale)):
                break
            step = np.clip(1e-2 * scale, 1e-12, 1e12)
        return found

    def _differences(self, locations, step, joint):
        size = locations.shape[1]
        index = np.arange(size)
        colours = np.eye(size) if size <= DENSE else (index % 3 == np.arange(3)[:, None]).astype(float)
        shifts = colours * step[:, None, :]
        _, ahead = self._gradients(locations[:, None] + shifts, joint)
        _, behind = self._gradients(locations[:, None] - shifts, joint)
        slopes = (behind - ahead) / 2
        if size <= DENSE:
            slopes /= step[:, :, None]
            return (slopes + slopes.swapaxes(1, 2)) / 2
        # A tridiagonal precision from three differences: each coordinate sees its neighbours in different ones.
        below = np.pad(slopes[:, index[1:] % 3, index[:-1]] / step[:, 1:], ((0, 0), (0, 1)))
        return np.stack([slopes[:, index % 3, index] / step, below], axis=1)


def _call(module, parameters, **data):
    return torch.func.functional_call(module, parameters, (), data)
