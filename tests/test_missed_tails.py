"""A reference whose chains stop short of a tail is convicted, with where they end and how much mass is beyond."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from conftest import LIBRARIES
from scipy import stats

from compare import user_model
from compare.comparison import Job, Request
from compare.fit.density import layout_of
from compare.fit.reference import tails
from compare.fit.reference.tails import missed_tails, with_missed_tails
from compare.fit.reference.target import OutOfTime, Refused, Target
from compare.fit.tree import build, split
from compare.options import Options
from compare.plan import plan

N_CHAINS, N_DRAWS, SEEDS = 4, 2048, range(5)

Draws = Callable[[np.random.Generator, int], np.ndarray]
Gradient = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def normal(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return -(z**2).sum(1) / 2, -z


def laplace(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return -np.abs(z).sum(1), -np.sign(z)


def cauchy(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return -np.log1p(z**2).sum(1), -2 * z / (1 + z**2)


def funnel(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Neal's: u ~ N(0, 3), the other coordinates ~ N(0, exp(u / 2))."""
    u, x = z[:, 0], z[:, 1:]
    squares = x**2 * np.exp(-u)[:, None]
    slope_of_u = -u / 9 + (squares - 1).sum(1) / 2
    return -(u**2) / 18 - (squares + u[:, None]).sum(1) / 2, np.c_[slope_of_u, -x * np.exp(-u)[:, None]]


def draws_of_funnel(rng: np.random.Generator, n: int) -> np.ndarray:
    u = rng.normal(0, 3, n)
    return np.c_[u, rng.standard_normal((n, 9)) * np.exp(u / 2)[:, None]]


RIGHT: dict[str, tuple[Gradient, Draws]] = {
    "normal": (normal, lambda rng, n: rng.standard_normal((n, 3))),
    "laplace": (laplace, lambda rng, n: rng.laplace(size=(n, 3))),
    "cauchy": (cauchy, lambda rng, n: rng.standard_cauchy((n, 3))),
    "funnel": (funnel, draws_of_funnel),
}


def chains(draws: np.ndarray) -> np.ndarray:
    return draws[: N_CHAINS * N_DRAWS].reshape(N_CHAINS, N_DRAWS, -1)


def tails_of(gradient: Gradient, draws: np.ndarray, seed: int = 0) -> list[tails.Tail]:
    target = Target(draws.shape[1], lambda z: gradient(z)[0], gradient)
    return missed_tails(target, chains(draws), np.random.default_rng(seed))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("posterior", RIGHT)
def test_right_draws_miss_no_tail(posterior, seed):
    """Also where the tails are heavy, or a neck is all that a coordinate has on one side."""
    gradient, draw = RIGHT[posterior]
    assert tails_of(gradient, draw(np.random.default_rng(seed), N_CHAINS * N_DRAWS)) == []


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("share", [0.03, 0.1])
def test_what_is_beyond_an_end_is_weighed(share, sign):
    """Of a tail that falls exponentially, whose rate the draws know: to four of its own standard errors."""
    masses = []
    for seed in range(12):
        z = np.random.default_rng(seed).laplace(size=(3 * N_CHAINS * N_DRAWS, 2))
        draws = z[sign * z[:, 1] > np.log(2 * share)]
        missed = tails_of(laplace, draws, seed)
        assert len(missed) == 1
        (tail,) = missed
        furthest = chains(draws).reshape(-1, 2)[tail.draw, 1]
        assert tail.coordinate == 1 and abs(furthest - sign * np.log(2 * share)) < 0.05
        masses.append(tail.mass)
    error = np.std(masses, ddof=1) / np.sqrt(len(masses))
    assert error < 0.05 * share and abs(np.mean(masses) - share) < 4 * error


def test_a_neck_that_no_chain_has_entered_is_missed():
    """Seven per cent of a funnel; most sure of where other directions explain what varies."""
    z = draws_of_funnel(np.random.default_rng(0), 2 * N_CHAINS * N_DRAWS)
    (tail,) = tails_of(funnel, z[z[:, 0] > stats.norm(0, 3).ppf(0.07)])
    assert tail.coordinate == 0 and 0.05 < tail.mass < 0.12  # it falls faster than exponentially


def test_less_than_one_per_cent_convicts_nobody():
    z = np.random.default_rng(0).laplace(size=(2 * N_CHAINS * N_DRAWS, 2))
    assert tails_of(laplace, z[z[:, 0] > np.log(2 * 0.005)]) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_where_the_density_jumps_nothing_is_known(seed):
    """A bound of the data's support: theta - 1 ~ Exponential, where the largest of the data is 1."""

    def bounded(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inside = z[:, 0] > 0
        return np.where(inside, -z[:, 0], -np.inf) - z[:, 1] ** 2 / 2, np.c_[-1.0 * inside, -z[:, 1]]

    rng = np.random.default_rng(seed)
    with pytest.raises(Refused, match="not continuous"):
        tails_of(bounded, np.c_[rng.exponential(size=8192), rng.standard_normal(8192)])


def test_where_it_jumps_often_and_little_nothing_is_known_either():
    """A changepoint among 400 times, each of which changes the log joint by 0.05 nats."""
    rng = np.random.default_rng(0)
    times = np.sort(rng.standard_normal(400))

    def stepped(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return 0.05 * np.searchsorted(times, z[:, 0]) - (z**2).sum(1) / 2, -z

    wide = rng.standard_normal((400 * N_CHAINS * N_DRAWS, 1))
    rising = wide[rng.random(len(wide)) < np.exp(0.05 * np.searchsorted(times, wide[:, 0]) - 20)]
    draws = np.c_[rising, rng.standard_normal(len(rising))]
    assert len(draws) >= N_CHAINS * N_DRAWS
    with pytest.raises(Refused, match="not continuous"):
        tails_of(stepped, draws)


def test_draws_at_the_edge_of_the_support_are_refused():
    draws = np.random.default_rng(0).standard_normal((N_CHAINS * N_DRAWS, 2))
    draws[7, 1] = np.inf
    with pytest.raises(Refused, match="at the edge of the support"):
        tails_of(normal, draws)


def test_it_ends_at_its_deadline():
    target = Target(2, lambda z: normal(z)[0], normal, deadline=0.0)
    with pytest.raises(OutOfTime):
        missed_tails(target, np.zeros((4, 100, 2)), np.random.default_rng(0))


Y = np.array([0.3, -0.4])
GRID = np.linspace(1e-4, 20, 200_001)


def job_of(library: str) -> Job:
    """A reference for y_i ~ N(mean, scale), mean ~ N(0, 1), scale ~ Gamma(2, 1)."""
    import_module(f"compare.user_model.in_{library}")  # float64
    mine = user_model.register(import_module(f"tests.user_models.small_{library}").location_scale, library)
    data = user_model.data_of(mine, {"y": Y})
    job = plan(Request(mine.model, data, (library,), ("mean_field",), False, Options(), 0))[0]
    return replace(job, method="reference", layout=job.layout or layout_of(job))


def draws_of(lost: float) -> dict[str, np.ndarray]:
    """The scale by its distribution function without the lowest share, then the mean, which is normal given it."""
    total = GRID**2 + len(Y)  # of y's covariance, along (1, 1); GRID^2 across it
    squares = Y.sum() ** 2 / len(Y) / total + np.var(Y) * len(Y) / GRID**2
    density = GRID * np.exp(-GRID - squares / 2 - np.log(total) / 2 - np.log(GRID))
    rng, cumulative = np.random.default_rng(0), np.cumsum(density) / density.sum()
    scale = np.interp(rng.uniform(lost, 1, N_CHAINS * N_DRAWS), cumulative, GRID)
    variance = 1 / (1 + len(Y) / scale**2)
    mean = variance * Y.sum() / scale**2 + np.sqrt(variance) * rng.standard_normal(len(scale))
    return {"mean": mean, "scale": scale}


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_reference_says_what_it_misses_in_place_of_its_evidence(library):
    """Given draws without the lowest tenth of the scale; of whole ones nothing is said."""
    for lost in (0.0, 0.1):
        draws, zeros = draws_of(lost), np.zeros((N_CHAINS, N_DRAWS))
        tree = build(split(draws), {"diverging": zeros.astype(bool), "energy": zeros}, {})
        tree.attrs.update(log_evidence=-0.36, log_evidence_mcse=0.01, log_evidence_method="bridge sampling")
        attrs = with_missed_tails(job_of(library), tree).attrs
        assert ("missed" in attrs) == ("log_evidence" not in attrs) == bool(lost)
    share = float(attrs["missed"].split("about ")[1].split("%")[0]) / 100
    assert 0.05 < share < 0.2
    assert f"its chains end at scale {draws['scale'].min():.3g}, where the posterior goes on" in attrs["missed"]
    assert attrs["no_log_evidence"] == "the chains of the reference stop short of a tail"
    tree.attrs["missed"] = "a mode"
    assert with_missed_tails(job_of(library), tree).attrs["missed"] == "a mode"
