"""What NumPyro computes for a fit: the log joint with its curvature, and the ELBO with its gradients at given draws.

Everything is compiled once for a model, a guide and the shapes of the data (`prepare`). Functions that take one fit
also take many: see `compare.fit.svi.protocol`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax.flatten_util import ravel_pytree
from numpyro import handlers
from numpyro.distributions import biject_to, constraints
from numpyro.distributions.transforms import UnpackTransform
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoContinuous, AutoDelta

import guides
from compare import registry
from compare.fit.svi.base_numpyro import BaseDraws, columns, mask_probability
from compare.fit.svi.curvature_numpyro import precision, products
from compare.fit.svi.protocol import Evaluation, Static, bind
from compare.user_model import twins
from compare.user_model.density_numpyro import density, split_arguments
from compare.user_model.jit_numpyro import ONCE, QUICK, SMALL, compiled, is_quick, unvalidated
from compare.user_model.sites import is_delta
from guides.contract import Implementation, Parameters, Settings

__all__ = ["LogJoint", "Objective", "density", "prepare", "split_arguments"]

BY_SITE = Trace_ELBO(sum_sites=False)
"""The library adds the sites in the order of a set, which is another in each process: the last digits would be too."""

Data = dict[str, jax.Array]
Arrays = dict[str, Any]


@registry.cached_by_model(64)
def prepared(model: str, family: str | None, static: Static) -> dict[tuple, Any]:
    """What is compiled for a model by the shapes of the data: the objectives of a family, else the log joints."""
    return {}


def prepare(model: str, family: str, static: Static, data: Data, settings: Settings = ()) -> Objective:
    """The compiled objective of a model and a family, for these static arguments and data of these shapes.

    Families share the log joints, so that no fit depends on what was fitted before.
    """
    shapes = tuple((name, value.shape, str(value.dtype)) for name, value in data.items())
    objectives, log_joints = prepared(model, family, static), prepared(model, None, static)
    if (shapes, settings) not in objectives:
        twin, has_mode = twins.twin(model, "numpyro"), guides.load(family).coordinates is not None
        if has_mode and shapes not in log_joints:
            log_joints[shapes] = LogJoint(bind(twin, static), data)
        log_joint = log_joints[shapes] if has_mode else None
        objectives[shapes, settings] = Objective(twin, family, static, data, log_joint, settings)
    return objectives[shapes, settings]


def in_model_order(guide: AutoContinuous) -> None:
    """Give a traced guide its latents in the order of the model, as it has without tracing, which sorts by name."""
    latents = guide._unpack_latent(guide._init_latent)
    names = [name for name in guide.prototype_trace if name in latents]
    guide._init_latent, unravel = ravel_pytree([latents[name] for name in names])
    guide._unpack_latent = UnpackTransform(
        lambda flat: dict(zip(names, unravel(flat), strict=True)),
        lambda values: ravel_pytree([values[name] for name in names])[0],
    )


class Particles:
    """The library's ELBO of a guide, a particle at a time, each made of given standard normals.

    A guide made like another one has that one's latents and starting location.
    """

    is_forward = False

    def __init__(self, twin: Any, family: Implementation, data: Data, like: Particles | None = None) -> None:
        self.model, self.sites, self.is_forward = twin.model, family.sites, family.is_forward
        traced: list[tuple[Any, Arrays]] = []

        @unvalidated
        def begin(key: jax.Array, data: Data) -> tuple[Arrays, Arrays]:
            """The starting parameters, and what the guide has seen of the model."""
            guide = family.guide(twin)
            if like is not None:
                known = vars(guide)
                known |= {name: value for name, value in vars(like.guide).items() if known.get(name) is None}
            seeded = handlers.seed(guide, jax.random.split(key, 3)[2])  # the key that SVI gives its guide
            trace = handlers.trace(seeded).get_trace(**data)
            if isinstance(guide, AutoContinuous) and like is None:
                in_model_order(guide)
            traced.append((guide, trace))
            return self._first(guide, trace), seen(guide) | {"mask_probabilities": probabilities_in(trace)}

        self.begin = jax.jit(begin, compiler_options=ONCE)  # compiled as one: op by op it would take seconds
        first, values = self.begin(jax.random.key(0), data)
        self.guide, trace = traced[0]
        self.mask_probabilities = np.asarray(values.pop("mask_probabilities"))
        for name, (fn, value) in values.pop("sites", {}).items():  # what the guide keeps of the run must be values
            self.guide.prototype_trace[name].update(fn=fn, value=value)
        vars(self.guide).update(values)
        self.spread = {name: np.asarray(value) for name, value in first.items() if name != "location"}
        samples = (site["fn"] for site in trace.values() if site["type"] == "sample")
        self.dimension = sum(columns(fn) for fn in samples if not is_delta(fn))

    def _first(self, guide: Any, trace: Arrays) -> Arrays:
        """The family's parameters in a trace of the guide."""
        params = {name: site for name, site in trace.items() if site["type"] == "param"}
        if self.sites is None:
            self.transforms = {n: biject_to(s["kwargs"].get("constraint", constraints.real)) for n, s in params.items()}
        first = self.parameters({name: site["value"] for name, site in params.items()})
        return first | ({"location": guide._init_latent} if "location" in first else {})

    def parameters(self, params: Arrays) -> Arrays:
        """The family's parameters from the guide's param sites, constrained."""
        if self.sites is not None:
            return self.sites.to_parameters(params)
        flat, self.unravel = ravel_pytree({name: self.transforms[name].inv(value) for name, value in params.items()})
        return {"flat": flat}

    def params(self, parameters: Arrays) -> Arrays:
        if self.sites is not None:
            return self.sites.from_parameters(parameters)
        return {name: self.transforms[name](value) for name, value in self.unravel(parameters["flat"]).items()}

    def param_sites(self, parameters: Parameters) -> dict[str, Any]:
        sites: dict[str, Any] = jax.tree.map(np.asarray, self.params(parameters))
        return sites

    @unvalidated
    def particle(self, path: Arrays, density: Arrays, eps: jax.Array, data: Data) -> tuple[jax.Array, Arrays]:
        """log q(z) - log p(x, z) by the library's ELBO, z made of eps along ``path``, q with parameters ``density``."""
        fed = BaseDraws(handlers.substitute(handlers.seed(self.guide, 0), self.params(path)), eps)
        params, guide = self.params(path), fed
        if not self.is_forward:
            fed(**data)
            params, guide = self.params(density), handlers.substitute(self.guide, data=fed.values)
        losses = BY_SITE.loss(jax.random.key(0), params, self.model, guide, **data)
        return sum(losses[name] for name in sorted(losses)), fed.latents


def probabilities_in(trace: Arrays) -> jax.Array:
    """P(1) of the elements of all dropout masks in a guide's trace, in the order they come."""
    masks = [mask_probability(site["fn"]) for site in trace.values() if site["type"] == "sample"]
    return jnp.concatenate([jnp.zeros(0), *(mask.reshape(-1) for mask in masks if mask is not None)])


def seen(guide: Any) -> Arrays:
    """What an autoguide has seen of its model: its sites, and where the guide starts."""
    if not isinstance(guide, AutoContinuous | AutoDelta):
        return {}
    prototype = guide.prototype_trace
    sites = {name: (site["fn"], site["value"]) for name, site in prototype.items() if site["type"] == "sample"}
    start = {name: vars(guide)[name] for name in ("_init_locs", "_init_latent") if name in vars(guide)}
    return {"sites": sites} | start


class LogJoint(Particles):
    """The log joint with its curvature: what mean field's ELBO is at its location, up to a constant."""

    def __init__(self, twin: Any, data: Data) -> None:
        super().__init__(twin, guides.implementation("mean_field", "numpyro"), data)
        gradient, many = jax.value_and_grad(self._value), (0, None, 0)
        self.together = jax.jit(
            lambda *arguments: (gradient(*arguments), self._precision(*arguments)), compiler_options=ONCE
        )
        self.gradient = jax.jit(gradient, compiler_options=QUICK)
        self.hessian = jax.jit(self._precision, compiler_options=QUICK)
        self.product = jax.jit(self._products, compiler_options=QUICK)
        self.gradient_many = jax.jit(jax.vmap(gradient, in_axes=many), compiler_options=QUICK)
        self.hessian_many = jax.jit(jax.vmap(self._precision, in_axes=many), compiler_options=QUICK)

    def start(self, seed: int, data: Data) -> np.ndarray:
        return np.asarray(self.begin(jax.random.key(seed), data)[0]["location"])

    def _value(self, location: jax.Array, spread: Arrays, data: Data) -> jax.Array:
        """The log joint at z = location: a draw of eps = 0."""
        parameters = {"location": location} | spread
        return -self.particle(parameters, parameters, jnp.zeros(location.size), data)[0]

    def _precision(self, location: jax.Array, spread: Arrays, data: Data) -> jax.Array:
        gradient = jax.grad(lambda z: self._value(z, spread, data))
        return precision(gradient, location)

    def _products(self, location: jax.Array, directions: jax.Array, spread: Arrays, data: Data) -> jax.Array:
        return products(jax.grad(lambda z: self._value(z, spread, data)), location, directions)

    def products(self, location: np.ndarray, directions: np.ndarray, data: Data) -> np.ndarray:
        return np.asarray(self.product(location, directions, self.spread, data))

    def value(self, location: np.ndarray, data: Data) -> tuple[np.ndarray, np.ndarray]:
        if location.ndim == 2:
            value, gradient = self.gradient_many(location, self.spread, data)
        elif location.size <= SMALL:  # it comes with its curvature: one compilation, and the curvature costs nothing
            value, gradient = self.together(location, self.spread, data)[0]
        else:
            value, gradient = self.gradient(location, self.spread, data)
        return np.asarray(value), np.asarray(gradient)

    def precision(self, location: np.ndarray, data: Data) -> np.ndarray:
        if location.ndim == 2:
            return np.asarray(self.hessian_many(location, self.spread, data))
        if location.size <= SMALL:
            return np.asarray(self.together(location, self.spread, data)[1])
        return np.asarray(self.hessian(location, self.spread, data))


class Objective(Particles):
    """-ELBO of a guide as a function of its family's parameters and of base draws.

    A family with coordinates around a mode starts where the log joint's own guide does.
    """

    def __init__(
        self,
        twin: Any,
        family: str,
        static: Static,
        data: Data,
        log_joint: LogJoint | None = None,
        settings: Settings = (),
    ) -> None:
        bound = bind(twin, static)
        if log_joint is None and guides.load(family).coordinates is not None:
            log_joint = LogJoint(bound, data)
        super().__init__(bound, guides.implementation(family, "numpyro", settings), data, log_joint)
        self.log_joint = log_joint
        gradients = jax.value_and_grad(self._loss, argnums=(0, 1), has_aux=True)
        self.compiled = compiled(gradients)
        self.compiled_many = jax.jit(jax.vmap(gradients), compiler_options=QUICK)

    def start(self, seed: int, data: Data) -> Parameters:
        if self.log_joint is not None:
            return {"location": self.log_joint.start(seed, data)} | self.spread
        return jax.tree.map(np.asarray, self.begin(jax.random.key(seed), data)[0])

    def adam(self, seed: int, data: Data, steps: int, learning_rate: float) -> Parameters:
        """The library's default loop: SVI.run with Adam and one draw a step."""
        svi = SVI(self.model, self.guide, numpyro.optim.Adam(learning_rate), Trace_ELBO())
        start = self.params(self.start(seed, data))
        result = svi.run(jax.random.key(seed), steps, **data, progress_bar=False, init_params=start)
        return jax.tree.map(np.asarray, self.parameters(result.params))

    def _loss(self, path: Arrays, density: Arrays, draws: jax.Array, data: Data) -> tuple[jax.Array, Any]:
        losses, latents = jax.vmap(lambda eps: self.particle(path, density, eps, data))(draws)
        return losses.mean(), (losses, latents)

    def evaluate(self, parameters: Parameters, draws: np.ndarray, data: Data) -> Evaluation:
        run = self.compiled_many if draws.ndim == 3 else self.compiled[is_quick(draws.shape[1], data)]
        (_, (losses, latents)), gradients = run(parameters, parameters, draws, data)
        losses, latents, (path, score) = jax.tree.map(np.asarray, (losses, latents, gradients))
        return Evaluation(-losses, latents, {name: path[name] + part for name, part in score.items()}, path)
