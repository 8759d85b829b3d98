r"""The Gaussian mixture: equal modes, and what a guide in one of them misses.

    weights ~ Dirichlet,  locations_k ~ N,  scale known, log-normal or one each,
    values ~ sum_k weights_k N(locations_k, scale)

The assignments of values to components are summed out. Renaming the K components changes nothing, so the posterior has
K! equal copies of each mode. A guide in one of them misses exactly log K! nats, the symmetry gap,
whatever else is right about it.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from models.contract import Element, Exact, Latents, Literature, Model, Quantities, Reference, Simulated, Symmetry
from models.mixture.best import best_member
from models.mixture.counts import MOST_VALUES, CountedMixture
from models.mixture.data import MixtureData
from models.mixture.exact import MOST_ASSIGNMENTS, EnumeratedMixture, by_location
from models.mixture.literature import published
from models.mixture.pictures import PICTURES

__all__ = ["MODEL", "MixtureData"]


def truth(data: MixtureData) -> Exact | Reference:
    """A sum over assignments where they are few, over counts for two components of known scale; else NUTS."""
    return solved(data, data.values.tobytes())


@lru_cache(maxsize=8)
def solved(data: MixtureData, content: bytes) -> Exact | Reference:
    """The posterior, computed once for each content of the data."""
    way = Reference("NUTS, the components named in the order of their locations")
    if data.has_own_scales:
        return way
    if data.components ** len(data.values) <= MOST_ASSIGNMENTS:
        exact = EnumeratedMixture(data)
        if exact.is_resolved:
            return exact
    if data.components == 2 and data.known_scale is not None and len(data.values) <= MOST_VALUES:
        return CountedMixture(data)
    return way


def derive(data: MixtureData, latents: Latents) -> dict[str, np.ndarray]:
    return by_location(latents)


def report(data: MixtureData) -> list[Element]:
    """The ordered locations, their weights but the last, and their scales or the common one where it is unknown."""
    locations: list[Element] = [("ordered_locations", (k,)) for k in range(data.components)]
    weights: list[Element] = [("ordered_weights", (k,)) for k in range(data.components - 1)]
    scales: list[Element] = [] if data.known_scale else [("scale", ())]
    if data.has_own_scales:
        scales = [("ordered_scales", (k,)) for k in range(data.components)]
    return locations + weights + scales


def copies(data: MixtureData) -> int:
    """The number of ways to name the components."""
    return math.factorial(data.components)


def region(data: MixtureData, latents: Latents) -> np.ndarray:
    """The order of the locations."""
    return np.argsort(latents["locations"], axis=1)


def canonical(data: MixtureData, latents: Latents) -> dict[str, np.ndarray]:
    """The components of each draw renamed in the order of their locations."""
    order = np.argsort(latents["locations"], axis=1)
    return {
        site: np.take_along_axis(np.asarray(value), order, axis=1) if np.ndim(value) == 2 else value
        for site, value in latents.items()
    }


def simulate(data: MixtureData, rng: np.random.Generator, count: int) -> Simulated:
    """Mixtures from the prior, and as many values of each."""
    n, k = len(data.values), data.components
    latents = {"locations": data.location_mean + data.location_sd * rng.standard_normal((count, k))}
    weights = rng.dirichlet(np.full(k, data.concentration), count)
    scales = np.full((count, 1), data.known_scale or 1.0)
    if k > 1:
        latents["weights"] = weights
    if data.has_own_scales:
        latents["variances"] = data.variance_rate / rng.gamma(data.variance_shape, size=(count, k))
        scales = np.sqrt(latents["variances"])
    elif data.known_scale is None:
        latents["scale"] = data.scale_median * np.exp(data.scale_sd * rng.standard_normal(count))
        scales = latents["scale"][:, None]
    chosen = (rng.random((count, n, 1)) > weights.cumsum(axis=1)[:, None, :-1]).sum(axis=2)
    means = np.take_along_axis(latents["locations"], chosen, axis=1)
    sds = np.take_along_axis(np.broadcast_to(scales, (count, k)), chosen, axis=1)
    values = means + sds * rng.standard_normal((count, n))
    return Simulated(latents, tuple(data.with_derived(values=row) for row in values))


MODEL = Model(
    name="mixture",
    title="a Gaussian mixture: what a guide in one of its equal modes misses",
    data=MixtureData,
    guides=("mean_field", "full_rank"),
    truth=truth,
    test_cases=(
        MixtureData(components=1),
        MixtureData(components=3, scale=1.0),
        MixtureData("galaxies", scale=2.0),
        MixtureData("galaxies", components=3),
        MixtureData("galaxies", components=3, scale="each"),
    ),
    simulate=simulate,
    best_member=best_member,
    quantities=Quantities(derive, report),
    symmetry=Symmetry(copies, region, canonical),
    literature=Literature(published=published),
    pictures=PICTURES,
    may_be_discrete=True,
    # NUTS takes long paths where a component has no values, and steps that suit that region are too long elsewhere.
    defaults={"budget": 480.0, "acceptance": 0.98},
)
