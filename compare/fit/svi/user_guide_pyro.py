"""A user's guide in Pyro as an `Objective`: fixed draws feed it where they can, else each draw is a random seed.

The guide is run as it is, on the tensors behind its params, whose values are set in place: whatever form it has, a
function, a module or an autoguide, autograd sees them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pyro
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample

from compare.fit.svi.base_pyro import BaseDraws, columns, mask_probability
from compare.fit.svi.objective_pyro import ParticleELBO, arrays, density, split_arguments
from compare.fit.svi.protocol import Evaluation
from compare.user_model.density_pyro import Form, fastest, nesting, over_points
from compare.user_model.guide_pyro import Begun, begin
from compare.user_model.guides import UserGuide, no_density
from compare.user_model.held_pyro import Held
from compare.user_model.in_pyro import twin
from compare.user_model.process_pyro import constrained
from compare.user_model.sites import is_delta, is_point
from guides.contract import Parameters

__all__ = ["UserObjective", "density", "prepare", "split_arguments"]

Tensors = dict[str, torch.Tensor]

SEEDS = 2**63 - 1
"""Modulus of the seeds: the bits of a number and of its negative differ by 2**63, and so give different ones."""


class SeedDraws(Messenger):
    """Record what a guide draws by itself; ``values`` and ``latents`` as those of `BaseDraws`."""

    def __init__(self) -> None:
        super().__init__()
        self.values: Tensors = {}
        self.latents: Tensors = {}

    def _pyro_post_sample(self, message: Any) -> None:
        if message["is_observed"] or site_is_subsample(message):
            return
        if not is_delta(message["fn"]):
            self.values[message["name"]] = message["value"]
        if not message["infer"].get("is_auxiliary"):
            self.latents[message["name"]] = message["value"]


class UserObjective:
    """-ELBO of a user's guide, its params as one unconstrained vector ``flat``.

    Attributes:
        dimension: Numbers that one draw takes.
        is_fed: Whether all that it draws can be made of standard normals; else a draw is one number, whose bits are the
            seed, and only its values may be used, not their slopes.
        is_scaled: Whether a handler or a subsampled plate scales the density of a site that it draws.
        is_late: Whether params enter the latents behind the draws, as in ``loc + scale * sample("eps", Normal(0, 1))``.
    """

    log_joint = None

    def __init__(self, user: Any, guide: UserGuide, begun: Begun, values: Mapping[str, Any]) -> None:
        self.data, static = split_arguments(values)
        self.model, self.guide, self.leaves = partial(twin(user).model, **dict(static)), begun.program, begun.leaves
        self.first = self.flat()
        sites = [site for site in begun.trace.nodes.values() if site["type"] == "sample" and not site["is_observed"]]
        latents = [site for site in sites if not site_is_subsample(site)]
        drawn = [site["fn"] for site in latents]
        self.shapes = {site["name"]: tuple(site["value"].shape) for site in sites}
        self.is_scaled = not all(np.all(torch.as_tensor(site["scale"]).numpy() == 1) for site in sites)
        self.is_fed, self.dimension = True, sum(columns(fn) for fn in drawn if not is_delta(fn))
        is_single = all(is_point(site["fn"]) and not site["infer"].get("is_auxiliary") for site in latents)
        if (self.dimension == 0 and not is_single) or any(mask_probability(fn) is not None for fn in drawn):
            raise no_density(guide.name)
        self.form: Form = "loop"
        with pyro.validation_enabled(False), torch.no_grad(), torch.random.fork_rng(devices=[]):
            self.nesting = nesting(begun.trace, pyro.poutine.trace(self.model).get_trace(**self.data))
            try:
                self.form = self.choose_form() if self.dimension else "loop"
            except NotImplementedError:
                self.is_fed, self.dimension = False, 1
        self.is_late = self.is_fed and self.dimension > 0 and self.has_late_params()

    def has_late_params(self) -> bool:
        """Whether params enter the latents behind the draws: then the path gradient cannot be split from the total."""
        with pyro.validation_enabled(False), torch.random.fork_rng(devices=[]):
            values, latents = self.sample(torch.zeros(1, self.dimension), "loop")
            fixed = Held({name: value[0].detach() for name, value in values.items()})
            trace: Any = pyro.poutine.trace(fixed(self.guide)).get_trace(**self.data)
        return any(trace.nodes[site]["value"].requires_grad for site in latents)

    def choose_form(self) -> Form:
        """The fastest way to evaluate many draws that gives what the same draws give one by one."""
        draws = torch.randn(3, self.dimension)

        def evaluated(form: Form) -> list[torch.Tensor]:
            values, latents = self.sample(draws, form)
            return [self.log_ratios(values, form), *latents.values()]

        return fastest(evaluated, "plate")

    def flat(self) -> Parameters:
        pieces = [leaf.detach().reshape(-1) for leaf in self.leaves.values()]
        return {"flat": torch.cat(pieces).numpy().copy() if pieces else np.zeros(0)}

    def put(self, parameters: Parameters) -> None:
        """Give the params these values."""
        sizes = [leaf.numel() for leaf in self.leaves.values()]
        pieces = torch.as_tensor(parameters["flat"]).split(sizes) if sizes else ()
        for leaf, piece in zip(self.leaves.values(), pieces, strict=True):
            leaf.data.copy_(piece.reshape(leaf.shape))

    def param_sites(self, parameters: Parameters) -> dict[str, Any]:
        self.put(parameters)
        return constrained(self.leaves, pyro.get_param_store()._constraints)  # type: ignore[attr-defined]

    def start(self, seed: int, data: Any) -> Parameters:
        return self.first

    def sample(self, draws: torch.Tensor, form: Form) -> tuple[Tensors, Tensors]:
        """What the guide draws, and the latents among it, each with the draws first."""
        if form == "plate":
            fed = BaseDraws(draws, self.nesting)
            with pyro.plate("num_particles_vectorized", len(draws), dim=-1 - self.nesting), fed:
                self.guide(**self.data)
            return fed.values, fed.latents
        values, latents = over_points(self.one_draw, draws, form)
        return values, latents

    def one_draw(self, row: torch.Tensor) -> tuple[Tensors, Tensors]:
        drawn: Any = BaseDraws(row) if self.is_fed else SeedDraws()
        if not self.is_fed:
            torch.manual_seed(int(row.numpy().view(np.uint64)[0] % SEEDS))
        with drawn:
            self.guide(**self.data)
        return drawn.values, drawn.latents

    def log_ratios(self, values: Tensors, form: Form) -> torch.Tensor:
        """log p(x, z) - log q(z) in nats of each draw, shape (rows,)."""
        if form == "plate":
            count = len(next(iter(values.values())))
            elbo = ParticleELBO(num_particles=count, vectorize_particles=True, max_plate_nesting=self.nesting)
            return elbo.log_ratios(self.model, Held(values)(self.guide), self.data)
        ratios: torch.Tensor = over_points(self.log_ratio, values, form)
        return ratios

    def log_ratio(self, values: Tensors) -> torch.Tensor:
        elbo = ParticleELBO(max_plate_nesting=self.nesting)
        return elbo.log_ratios(self.model, Held(values)(self.guide), self.data)

    def at_point(self) -> Evaluation:
        """A guide that draws nothing, at its params: a single row."""
        leaves = list(self.leaves.values())
        with pyro.validation_enabled(False):
            trace: Any = pyro.poutine.trace(self.guide).get_trace(**self.data)
            log_ratio = self.log_ratio({}).reshape(1)
            slopes = torch.autograd.grad(-log_ratio.sum(), leaves, allow_unused=True) if leaves else ()
        sites = {name: trace.nodes[name] for name in self.shapes}
        latents = {name: site["value"][None] for name, site in sites.items() if not site_is_subsample(site)}
        return Evaluation(
            log_ratio.detach().numpy(),
            arrays(latents),
            {"flat": flattened(slopes, leaves)},
            {"flat": np.zeros_like(self.first["flat"])},
        )

    def evaluate(self, parameters: Parameters, draws: np.ndarray, data: Any) -> Evaluation:
        self.data = data
        self.put(parameters)
        if not self.dimension:
            return self.at_point()
        leaves = list(self.leaves.values())
        with pyro.validation_enabled(False), torch.random.fork_rng(devices=[], enabled=not self.is_fed):
            values, latents = self.sample(torch.as_tensor(draws), self.form)
            if not self.is_fed:
                with torch.no_grad():
                    log_ratio = self.log_ratios(values, self.form)
                nothing = {"flat": np.full_like(parameters["flat"], np.nan)}
                return Evaluation(log_ratio.numpy(), held(latents, values, self.form, self.shapes), nothing, nothing)
            points = {name: value.detach().requires_grad_() for name, value in values.items()}
            log_ratio = self.log_ratios(points, self.form)
            slopes = torch.autograd.grad(-log_ratio.sum() / len(draws), [*points.values(), *leaves], allow_unused=True)
            moved = [
                (value, slope) for value, slope in zip(values.values(), slopes, strict=False) if value.requires_grad
            ]
            moved = [(value, torch.zeros_like(value) if slope is None else slope) for value, slope in moved]
            along: Any = [None] * len(leaves)
            if moved and leaves:
                ends, directions = zip(*moved, strict=True)
                along = torch.autograd.grad(ends, leaves, directions, allow_unused=True)
        path, score = flattened(along, leaves), flattened(slopes[len(points) :], leaves)
        if self.is_late:
            path, score = path + score, np.zeros_like(path)
        shaped = held(latents, values, self.form, self.shapes)
        return Evaluation(log_ratio.detach().numpy(), shaped, {"flat": path + score}, {"flat": path})

    def adam(self, seed: int, data: Any, steps: int, learning_rate: float) -> Parameters:
        """Where the library's SVI goes with Adam and one draw a step."""
        return next(self.rounds(seed, data, steps, learning_rate))

    def rounds(self, seed: int, data: Any, steps: int, learning_rate: float) -> Iterator[Parameters]:
        """The parameters after each round of ``steps`` steps of the library's SVI; each round halves Adam's rate."""
        parameters, number, self.data = self.first, 0, data
        while True:
            self.put(parameters)
            pyro.set_rng_seed(seed + number)
            optimiser = pyro.optim.Adam({"lr": learning_rate / 2**number})  # type: ignore[attr-defined]
            svi = SVI(self.model, self.guide, optimiser, Trace_ELBO())
            with pyro.validation_enabled(False):
                for _ in range(steps):
                    svi.step(**self.data)
            parameters, number = self.flat(), number + 1
            yield parameters


def held(latents: Tensors, values: Tensors, form: Form, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The latents with the draws first, then each site's own shape: plates of size one that are not its own go."""
    if form != "plate":
        return arrays(latents)
    count = len(next(iter(values.values())))
    return arrays({name: value.reshape(count, *shapes[name]) for name, value in latents.items()})


def flattened(slopes: Any, leaves: list[torch.Tensor]) -> np.ndarray:
    parts = [torch.zeros_like(leaf) if slope is None else slope for slope, leaf in zip(slopes, leaves, strict=True)]
    return torch.cat([part.reshape(-1) for part in parts]).detach().numpy() if parts else np.zeros(0)


@contextmanager
def prepare(user: Any, guide: UserGuide, values: Mapping[str, Any], seed: int) -> Iterator[UserObjective]:
    """The objective of a user's guide; its modules are as they were at the end of the block, its params too."""
    with begin(user, guide, values, seed) as begun:
        yield UserObjective(user, guide, begun, values)
