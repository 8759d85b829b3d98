"""A user's guide in NumPyro as an `Objective`: fixed draws feed it where they can, else each draw is a random key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax.flatten_util import ravel_pytree
from numpyro import handlers
from numpyro.infer import SVI, Trace_ELBO
from numpyro.primitives import Messenger

from compare.fit.svi.base_numpyro import BaseDraws, columns, mask_probability
from compare.fit.svi.objective_numpyro import BY_SITE, Objective, density, split_arguments
from compare.fit.svi.protocol import Evaluation
from compare.user_model.guide_numpyro import begin
from compare.user_model.guides import UserGuide, no_density
from compare.user_model.in_numpyro import twin
from compare.user_model.jit_numpyro import QUICK, compiled, unvalidated
from compare.user_model.sites import is_delta, is_point
from guides.contract import Parameters

__all__ = ["UserObjective", "density", "prepare", "split_arguments"]

Arrays = dict[str, Any]


class KeyDraws(Messenger):
    """Record what a guide draws with its own key; ``values`` and ``latents`` as those of `BaseDraws`."""

    def __init__(self, fn: Any) -> None:
        self.values: Arrays = {}
        self.latents: Arrays = {}
        super().__init__(fn)

    def postprocess_message(self, message: dict[str, Any]) -> None:
        if message["type"] != "sample" or message["is_observed"]:
            return
        if not is_delta(message["fn"]):
            self.values[message["name"]] = message["value"]
        if not message["infer"].get("is_auxiliary"):
            self.latents[message["name"]] = message["value"]


def is_point_site(site: Mapping[str, Any]) -> bool:
    """Whether a latent is a point, by itself and not made of an auxiliary draw."""
    return is_point(site["fn"]) and not site["infer"].get("is_auxiliary")


class UserObjective(Objective):
    """-ELBO of a user's guide, its params as one unconstrained vector ``flat``.

    Attributes:
        is_fed: Whether all that it draws can be made of standard normals; else a draw is one number, whose bits are the
            key, and only its values may be used, not their slopes.
        is_scaled: Whether a handler or a subsampled plate scales the density of a site that it draws.
        is_late: Whether params enter the latents behind the draws, as in ``loc + scale * sample("eps", Normal(0, 1))``.
    """

    def __init__(self, user: Any, guide: UserGuide, values: Mapping[str, Any], seed: int) -> None:
        data, static = split_arguments(values)
        begun = begin(user, guide, values, seed)
        self.model, self.guide = partial(twin(user).model, **dict(static)), begun.program
        self.sites, self.log_joint, self.transforms = None, None, begun.transforms
        self.first = {name: np.asarray(value) for name, value in self.parameters(begun.params).items()}
        sites = [site for site in begun.trace.values() if site["type"] == "sample" and not site["is_observed"]]
        drawn = [site["fn"] for site in sites]
        self.is_scaled = not all(np.all(site["scale"] == 1) for site in sites if site["scale"] is not None)
        self.is_fed, self.dimension = True, sum(columns(fn) for fn in drawn if not is_delta(fn))
        is_point = all(map(is_point_site, sites))
        if (self.dimension == 0 and not is_point) or any(mask_probability(fn) is not None for fn in drawn):
            raise no_density(guide.name)
        if not self.can_be_fed(data):
            self.is_forward = True  # log q of its own draws may need no inverse of its transforms
            if not self.can_be_fed(data):
                self.is_fed, self.dimension = False, 1
        self.is_late = self.is_fed and self.has_late_params(data)
        gradients = jax.value_and_grad(self._loss, argnums=(0, 1), has_aux=True)
        self.compiled = compiled(gradients)
        self.valued = jax.jit(self._loss, compiler_options=QUICK)

    def can_be_fed(self, data: Any) -> bool:
        """Whether fixed draws can feed the guide."""
        try:
            jax.eval_shape(self._loss, self.first, self.first, jnp.zeros((1, self.dimension)), data)
        except NotImplementedError:
            return False
        return True

    @unvalidated
    def has_late_params(self, data: Any) -> bool:
        """Whether params enter the latents behind the draws: then the path gradient cannot be split from the total."""
        fed = BaseDraws(
            handlers.substitute(handlers.seed(self.guide, 0), self.params(self.first)), jnp.zeros(self.dimension)
        )
        fed(**data)
        moved = {"flat": self.first["flat"] + 0.01 * np.random.default_rng(0).standard_normal(self.first["flat"].shape)}
        fixed = handlers.substitute(handlers.substitute(self.guide, data=fed.values), data=self.params(moved))
        trace = handlers.trace(handlers.seed(fixed, 0)).get_trace(**data)
        return any(not np.array_equal(trace[site]["value"], value) for site, value in fed.latents.items())

    def start(self, seed: int, data: Any) -> Parameters:
        return self.first

    @unvalidated
    def particle(self, path: Arrays, density: Arrays, eps: jax.Array, data: Any) -> tuple[jax.Array, Arrays]:
        """As `Particles.particle`; where the guide cannot be fed it draws by itself."""
        if self.is_fed:
            return super().particle(path, density, eps, data)
        high, low = jax.lax.bitcast_convert_type(eps[0], jnp.uint32)
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), high), low)
        drawn = KeyDraws(handlers.substitute(handlers.seed(self.guide, key), self.params(path)))
        drawn(**data)
        held = handlers.substitute(self.guide, data=drawn.values)
        losses = BY_SITE.loss(jax.random.key(0), self.params(density), self.model, held, **data)
        return sum(losses[name] for name in sorted(losses)), drawn.latents

    def evaluate(self, parameters: Parameters, draws: np.ndarray, data: Any) -> Any:
        if self.is_fed:
            evaluation = super().evaluate(parameters, draws, data)
            return replace(evaluation, path=evaluation.total) if self.is_late else evaluation
        _, (losses, latents) = jax.tree.map(np.asarray, self.valued(parameters, parameters, draws, data))
        nothing = {"flat": np.full_like(parameters["flat"], np.nan)}
        return Evaluation(-losses, latents, nothing, nothing)

    def rounds(self, seed: int, data: Any, steps: int, learning_rate: float) -> Iterator[Parameters]:
        """The parameters after each round of ``steps`` steps of the library's SVI; each round halves Adam's rate."""
        adam = numpyro.optim.Adam(lambda step: learning_rate * 0.5 ** (step // steps))
        svi = SVI(self.model, self.guide, adam, Trace_ELBO())

        @jax.jit
        @unvalidated
        def one_round(state: Any) -> Any:
            return jax.lax.scan(lambda state, _: (svi.update(state, **data)[0], None), state, length=steps)[0]

        with numpyro.validation_enabled(False):
            state = svi.init(jax.random.key(seed), **data, init_params=self.params(self.first))
        while True:
            state = one_round(state)
            yield jax.tree.map(np.asarray, self.parameters(svi.get_params(state)))

    def parameters(self, params: Arrays) -> Arrays:
        free = {name: self.transforms[name].inv(params[name]) for name in self.transforms}
        flat, self.unravel = ravel_pytree(free)
        return {"flat": flat}


@contextmanager
def prepare(user: Any, guide: UserGuide, values: Mapping[str, Any], seed: int) -> Iterator[UserObjective]:
    """The objective of a user's guide."""
    yield UserObjective(user, guide, values, seed)
