"""What NumPyro computes for a fit: the log joint with its curvature, and the ELBO with its gradients at given draws.

Everything is compiled once for a model, a guide and the shapes of the data; seeds and data sets of the same shape
share it (`prepare`).
"""

from __future__ import annotations

import math
from functools import lru_cache, partial, wraps

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax.flatten_util import ravel_pytree
from numpyro import handlers
from numpyro.distributions.transforms import UnpackTransform
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.util import log_density

import guides
from compare import registry
from compare.fit.svi.base_numpyro import BaseDraws, columns
from compare.fit.svi.protocol import DENSE, Evaluation, bind

__all__ = [
    "ONCE",
    "Density",
    "Objective",
    "compiled",
    "density",
    "is_quick",
    "prepare",
    "split_arguments",
    "unvalidated",
]


def supported(options):
    """The compiler options, if this version of XLA knows them; none otherwise."""
    try:
        jax.jit(lambda x: x + 1, compiler_options=options)(jnp.zeros(1))
    except Exception:  # the kind of error differs between versions
        return {}
    return options


QUICK = supported({"xla_cpu_use_fusion_emitters": False})
"""Compiler options for everything: compiling takes two thirds of the time, running no longer."""

ONCE = QUICK | supported({"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True})
"""Compiler options for what runs a few times, or on a few numbers: compiling must not take longer than running."""

SMALL = 20
"""Dimensions up to which the log joint comes with its curvature: one compilation, and the curvature costs nothing."""

FEW = 1000
"""Numbers of data up to which, with a small dimension, running is so quick that compiling is what counts."""

CHUNK = 1024
"""Points a density is evaluated at in one go: one shape, one compilation. Fewer where they hold many numbers."""

LARGEST = 2_000_000
"""Numbers that are evaluated in one go."""

LENDER = "mean_field"
"""The family whose log joint and start serve all families with coordinates: compiled once, and the same whichever
families a process is asked for, so that a fit does not depend on what was made before it."""

BY_SITE = Trace_ELBO(sum_sites=False)
"""The library adds the sites in the order of a set, which is another in each process: the last digits would be too."""

numpyro.enable_x64()


def compiled(function):
    """The function compiled in two ways, by whether its run is quick: call the one that ``is_quick`` names."""
    return {quick: jax.jit(function, compiler_options=ONCE if quick else QUICK) for quick in (True, False)}


def is_quick(dimension, data):
    """Whether a model of this dimension on these data is quick to run."""
    return dimension <= SMALL and sum(np.size(value) for value in data.values()) <= FEW


def unvalidated(function):
    """Without the library's checks of arguments, which cannot see traced values and cost time on constants."""

    @wraps(function)
    def quiet(*arguments):
        with numpyro.validation_enabled(False):
            return function(*arguments)

    return quiet


def split_arguments(arguments):
    """The arguments that are data (traced), and those that shape the program (static: counts, flags, words)."""
    traced = {
        name: jnp.asarray(value) for name, value in arguments.items() if isinstance(value, np.ndarray | np.generic)
    }
    static = tuple(sorted((name, value) for name, value in arguments.items() if name not in traced))
    return traced, static


@lru_cache(maxsize=64)
def prepare(model, family, static):
    """The compiled objective of a model of the catalogue and a family, for these static arguments."""
    objective = Objective(registry.twin(model, "numpyro"), guides.load(family, "numpyro"), static)
    if hasattr(guides.load(family), "Coordinates") and family != LENDER:
        objective.lender = prepare(model, LENDER, static)
    return objective


@lru_cache(maxsize=64)
def density(model, static):
    """The compiled densities of a model of the catalogue, for these static arguments."""
    return Density(registry.twin(model, "numpyro"), static)


def unpack(flat, shapes):
    """The latents by name from one vector of them all."""
    sizes = [math.prod(shape) for shape in shapes.values()]
    pieces = jnp.split(flat, np.cumsum(sizes)[:-1])
    return {name: piece.reshape(shape) for (name, shape), piece in zip(shapes.items(), pieces, strict=True)}


def pack(latents, shapes):
    """The inverse of `unpack`."""
    return jnp.concatenate([jnp.reshape(latents[name], -1) for name in shapes])


class Density:
    """The model's log densities at given latents, in its own constrained space."""

    def __init__(self, twin, static=()):
        self.model = partial(twin.model, **dict(static))
        self.compiled = compiled(jax.vmap(self.terms, in_axes=(0, None)))

    @unvalidated
    def terms(self, latents, data):
        """log p(z) and log p(x | z) of one point."""
        joint, trace = log_density(self.model, (), data, latents)
        prior = 0.0
        for site in trace.values():
            if site["type"] != "sample" or not (site["name"] in latents or site["infer"].get("of_prior")):
                continue
            scale = 1.0 if site["scale"] is None else site["scale"]
            prior = prior + jnp.sum(scale * site["fn"].log_prob(site["value"]))
        return prior, joint - prior

    def __call__(self, latents, data):
        """Latents of shapes (count, *site) in, log p(z) and log p(x | z) of shape (count,) out."""
        count = len(next(iter(latents.values())))
        size = sum(np.size(value) for value in latents.values()) // count
        run, chunk = self.compiled[is_quick(size, data)], max(16, min(CHUNK, 1 << (LARGEST // size).bit_length()))
        pieces = []
        for begin in range(0, count, chunk):
            rows = np.minimum(np.arange(begin, begin + chunk), count - 1)
            pieces.append(run({name: value[rows] for name, value in latents.items()}, data))
        return tuple(np.concatenate([np.asarray(piece[term]) for piece in pieces])[:count] for term in (0, 1))


class Objective:
    """-ELBO of a guide as a function of its family's parameters and of base draws."""

    def __init__(self, twin, family, static=()):
        twin = bind(twin, dict(static))
        self.model, self.guide, self.family = twin.model, family.guide(twin), family
        self.svi = SVI(self.model, self.guide, numpyro.optim.Adam(0.01), Trace_ELBO())
        self.lender = self
        self.initialise = jax.jit(self._initialise, compiler_options=ONCE)
        self.canonical = jax.jit(self._canonical, compiler_options=ONCE)
        gradients = jax.value_and_grad(self._loss, argnums=(0, 1), has_aux=True)
        self.evaluate_compiled = compiled(gradients)
        self.joint_compiled = jax.jit(jax.value_and_grad(self._log_joint), compiler_options=QUICK)
        self.bend_compiled = jax.jit(self._bend, compiler_options=ONCE)
        self.precision_compiled = jax.jit(self._precision, compiler_options=QUICK)
        joints, bends = jax.value_and_grad(self._log_joint), self._precision
        self.evaluate_many_compiled = jax.jit(jax.vmap(gradients), compiler_options=QUICK)
        self.joint_many_compiled = jax.jit(jax.vmap(joints, in_axes=(0, None, 0)), compiler_options=QUICK)
        self.precision_many_compiled = jax.jit(jax.vmap(bends, in_axes=(0, None, 0)), compiler_options=QUICK)

    @unvalidated
    def _initialise(self, key, data):
        """The guide's own starting values. Compiled as one: op by op it would take seconds."""
        state = self.svi.init(key, **data)
        prototype = getattr(self.guide, "prototype_trace", None) or {}
        sites = {name: (site["fn"], site["value"]) for name, site in prototype.items() if site["type"] == "sample"}
        first = {name: value for name, value in vars(self.guide).items() if name in ("_init_locs", "_init_latent")}
        return self.svi.optim.get_params(state.optim_state), (sites, first)

    def start(self, seed, data):
        """The family's parameters that the guide starts from."""
        if self.lender is not self:
            return {"location": self.lender.start(seed, data)["location"]} | self._spread(data)
        unconstrained, (sites, first) = self.initialise(jax.random.key(seed), data)
        for name, (fn, value) in sites.items():  # what the guide keeps of the compiled run must be values
            self.guide.prototype_trace[name].update(fn=fn, value=value)
        vars(self.guide).update(first)
        start = jax.tree.map(np.asarray, self.canonical(unconstrained))
        if hasattr(self.guide, "_unpack_latent"):
            location = self._in_model_order(self.guide._init_latent)
            start |= {"location": location} if "location" in start else {}
        self.rest = {name: value for name, value in start.items() if name != "location"}
        return start

    def _in_model_order(self, location):
        """A location of the traced guide with its latents in the order of the model, as a guide of the user's has them.

        Tracing sorts them by name. From here on the guide itself keeps the model's order.
        """
        if not hasattr(self, "sorted"):
            self.sorted = self.guide._unpack_latent
            latents = self.sorted(location)
            shapes = {name: jnp.shape(latents[name]) for name in self.guide.prototype_trace if name in latents}
            self.guide._unpack_latent = UnpackTransform(partial(unpack, shapes=shapes), partial(pack, shapes=shapes))
            self.shapes = shapes
        return np.asarray(pack(self.sorted(location), self.shapes))

    def _spread(self, data):
        """The starting parameters but the location, around another guide's location and with its look at the model."""
        if not hasattr(self, "rest"):
            known = vars(self.lender.guide)
            vars(self.guide).update(
                {name: value for name, value in known.items() if vars(self.guide).get(name) is None}
            )
            unconstrained, _ = self.initialise(jax.random.key(0), data)
            start = jax.tree.map(np.asarray, self.canonical(unconstrained))
            self.rest = {name: value for name, value in start.items() if name != "location"}
        return self.rest

    def _canonical(self, unconstrained):
        """The family's parameters from the guide's unconstrained ones."""
        if hasattr(self.family, "parameters"):
            return self.family.parameters(self.svi.constrain_fn(unconstrained))
        flat, self.unravel = ravel_pytree(unconstrained)
        return {"flat": flat}

    def adam(self, seed, data, steps, learning_rate):
        """The library's usual way: SVI.run with Adam and one draw a step. Parameters and losses."""
        self.start(seed, data)
        svi = SVI(self.model, self.guide, numpyro.optim.Adam(learning_rate), Trace_ELBO())
        result = svi.run(jax.random.key(seed), steps, **data, progress_bar=False)
        parameters = self.canonical(svi.optim.get_params(result.state.optim_state))
        return jax.tree.map(np.asarray, parameters), np.asarray(result.losses)

    def sites(self, parameters):
        """The guide's param sites, constrained, for the family's parameters."""
        if hasattr(self.family, "sites"):
            return self.family.sites(parameters)
        return self.svi.constrain_fn(self.unravel(parameters["flat"]))

    @unvalidated
    def dimension(self, parameters, data):
        """How many standard normals one draw from the guide takes."""

        def shapes():
            guide = handlers.substitute(handlers.seed(self.guide, 0), self.sites(parameters))
            trace = handlers.trace(guide).get_trace(**data)
            fed = (site["fn"] for site in trace.values() if site["type"] == "sample")
            self._columns = sum(columns(fn) for fn in fed if not isinstance(fn, numpyro.distributions.Delta))

        jax.eval_shape(shapes)
        return self._columns

    @unvalidated
    def _particle(self, path, density, eps, data):
        """log q(z) - log p(x, z) by the library's ELBO, z made of eps along ``path``, q with parameters ``density``."""
        fed = BaseDraws(handlers.substitute(handlers.seed(self.guide, 0), self.sites(path)), eps)
        fed(**data)
        held = handlers.substitute(self.guide, data=fed.values)
        losses = BY_SITE.loss(jax.random.key(0), self.sites(density), self.model, held, **data)
        return sum(losses[name] for name in sorted(losses)), fed.latents

    def _loss(self, path, density, draws, data):
        losses, latents = jax.vmap(lambda eps: self._particle(path, density, eps, data))(draws)
        return losses.mean(), (losses, latents)

    def evaluate(self, parameters, draws, data):
        """The ELBO at given draws, shape (rows, dimension), with both its gradients. One row counts one gradient."""
        return self._evaluation(self.evaluate_compiled[is_quick(draws.shape[1], data)], parameters, draws, data)

    def evaluate_many(self, parameters, draws, data):
        """The same for many fits at once: all arrays, the data's too, have the fits first."""
        return self._evaluation(self.evaluate_many_compiled, parameters, draws, data)

    def _evaluation(self, run, parameters, draws, data):
        (_, (losses, latents)), (path, score) = run(parameters, parameters, draws, data)
        path = {name: np.asarray(part) for name, part in path.items()}
        return Evaluation(
            log_ratio=-np.asarray(losses),
            latents={name: np.asarray(value) for name, value in latents.items()},
            path=path,
            total={name: path[name] + np.asarray(part) for name, part in score.items()},
        )

    def _log_joint(self, location, rest, data):
        """log p(x, z) in the unconstrained space at z = location, up to a constant: a draw of eps = 0."""
        parameters = {"location": location} | rest
        return -self._particle(parameters, parameters, jnp.zeros(location.size), data)[0]

    def _bend(self, location, rest, data):
        """Value, gradient and precision of the log joint in one."""
        return jax.value_and_grad(self._log_joint)(location, rest, data), self._precision(location, rest, data)

    def _precision(self, location, rest, data):
        gradient = jax.grad(self._log_joint)

        def product(vector):
            return -jax.jvp(lambda z: gradient(z, rest, data), (location,), (vector,))[1]

        size = location.size
        if size <= DENSE:
            return jax.vmap(product)(jnp.eye(size))
        # A tridiagonal precision from three products: each coordinate sees its neighbours in different probes.
        index = jnp.arange(size)
        probes = (index[None, :] % 3 == jnp.arange(3)[:, None]).astype(location.dtype)
        products = jax.vmap(product)(probes)
        return jnp.stack([products[index % 3, index], jnp.append(products[index[1:] % 3, index[:-1]], 0.0)])

    def log_joint(self, location, data):
        """log p(x, z) at z = location in the unconstrained space, up to a constant, and its gradient, shape (d,)."""
        lender = self.lender
        if location.size <= SMALL:
            (value, gradient), _ = lender.bend_compiled(location, lender.rest, data)
        else:
            value, gradient = lender.joint_compiled(location, lender.rest, data)
        return float(value), np.asarray(gradient)

    def precision(self, location, data):
        """Minus the log joint's Hessian: dense, shape (d, d), or beyond `DENSE` its tridiagonal, (2, d)."""
        lender = self.lender
        if location.size <= SMALL:
            return np.asarray(lender.bend_compiled(location, lender.rest, data)[1])
        return np.asarray(lender.precision_compiled(location, lender.rest, data))

    def log_joint_many(self, locations, data):
        """log p(x, z) and its gradient for many fits at once: all arrays have the fits first."""
        values, gradients = self.lender.joint_many_compiled(locations, self.lender.rest, data)
        return np.asarray(values), np.asarray(gradients)

    def precision_many(self, locations, data):
        """Minus the log joints' Hessians for many fits at once."""
        return np.asarray(self.lender.precision_many_compiled(locations, self.lender.rest, data))
