"""Draws of the posterior that a user brings: arrays, a library's MCMC object, an ArviZ tree, a table, or a file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from compare.comparison import Layout
from compare.messages import one_line
from compare.user_model import draws_table
from compare.user_model.guides import listed
from compare.user_model.sites import underscored

STATS = ("diverging", "energy")
"""What of a sampler's statistics is looked at."""

N_CHAINS = 4
"""Pieces of a chain that is alone: R-hat compares chains."""

N_ALTERNATING, CHANCE = 16, 8.0
"""Most rows between those that are compared, and by how many standard errors they may be more alike than neighbours."""

FEWEST = 16
"""Draws of a chain below which nothing can be said of it."""


@dataclass(frozen=True, eq=False)
class UserDraws:
    """Draws by site, each of shape (n_chains, n_draws, *site), and the sampler's statistics, (n_chains, n_draws)."""

    sites: Mapping[str, np.ndarray]
    stats: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of chains and of draws in each."""
        n_chains, n_draws = next(iter(self.sites.values())).shape[:2]
        return n_chains, n_draws


_known: dict[str, UserDraws] = {}


def find(model: str) -> UserDraws:
    """The draws that were brought for the model of this name.

    Raises:
        ValueError: there are none in this process.
    """
    if model not in _known:
        raise ValueError("the draws are known only to the process that they were given to")
    return _known[model]


def add(model: str, given: Any, layout: Layout) -> UserDraws:
    """Take draws for the model of this name; one chain is cut into four, which must agree with each other.

    Raises:
        ValueError: a site is missing, has another shape or a number that is not finite.
    """
    posterior, stats = arrays_of(given)
    sites: dict[str, np.ndarray] = {}
    for site, shape in layout.latents.items():
        if site not in posterior:
            raise ValueError(f"draws: there is no site {site!r}, a latent of the model; there is {listed(posterior)}")
        value = np.asarray(posterior[site])
        rank = len(shape)
        if value.shape[value.ndim - rank :] != tuple(shape) or value.ndim - rank not in (1, 2):
            form = ", ".join(map(str, ("chain", "draw", *shape)))
            raise ValueError(
                f"draws: site {site!r} has shape {value.shape}, in the model {tuple(shape)}: give ({form}), or no chain"
            )
        if value.ndim - rank == 1:
            value = value[None]
        elif value.shape[1] == 1 < len(value):  # draws of Pyro's Predictive: a plate of size 1 to their right
            value = value.swapaxes(0, 1)
        if value.dtype.kind not in "biuf":
            raise ValueError(f"draws: site {site!r} has values that are no numbers ({value.dtype}); give numbers")
        if not np.isfinite(value).all():
            raise ValueError(f"draws: site {site!r} has values that are not finite (NaN or infinite); leave them out")
        if len(value) == 1:
            refuse_alternating(site, value[0])
            value = cut(value[0])
        sites[site] = value.astype(float)
    shapes = {site: value.shape[:2] for site, value in sites.items()}
    first = next(iter(shapes))
    for site, shape in shapes.items():
        if shape != shapes[first]:
            raise ValueError(
                f"draws: site {site!r} has {shape[0]} chains of {shape[1]}, {first!r} {shapes[first][0]} of "
                f"{shapes[first][1]}: give every site the same"
            )
    if shapes[first][1] < FEWEST:
        raise ValueError(f"draws: {shapes[first][1]} a chain are too few to judge; give at least {FEWEST}")
    stats = {name: cut(value[0]) if len(value) == 1 else value for name, value in stats.items()}
    stats = {name: value for name, value in stats.items() if np.shape(value) == shapes[first]}
    _known[model] = UserDraws(sites, stats)
    return _known[model]


def refuse_outside(model: str, library: str, arguments: Mapping[str, Any]) -> None:
    """Raise ValueError for draws of a model, known by its name, that lie where its log joint is not finite."""
    sites = {site: value.reshape(-1, *value.shape[2:]) for site, value in find(model).sites.items()}
    side = import_module(f"compare.user_model.density_{library}")
    data, static = side.split_arguments(arguments)
    log_prior, log_likelihood = side.density(model, static)(sites, data)
    outside = int(np.sum(~np.isfinite(log_prior + log_likelihood)))
    if outside:
        raise ValueError(
            f"draws: log p(x, z) is not finite at {outside:,} of {log_prior.size:,}: they lie outside of the model's "
            "support, or are another model's"
        )


def refuse_alternating(site: str, chain: np.ndarray) -> None:
    """Raise ValueError for one chain, shape (n_draws, ...), in which others seem to alternate: chains cut from it would
    each hold all of them, and agree however far these are apart.

    Draws of a chain are most like their neighbours, or least where they alternate about the mean. Here those some rows
    away are more alike.
    """
    z = chain.reshape(len(chain), -1).astype(float)
    z = (z - z.mean(0)) / np.where(z.std(0) > 0, z.std(0), 1)
    lags = range(1, min(N_ALTERNATING, len(z) // 2) + 1)
    if len(lags) < 2:
        return
    alike = np.array([(z[lag:] * z[: len(z) - lag]).mean(0) for lag in lags])
    beyond = (alike[1:] - np.abs(alike[0])).max(1) > CHANCE / math.sqrt(len(chain))
    if beyond.any():
        lag = 2 + int(beyond.argmax())
        raise ValueError(
            f"draws: of {site!r} every {lag}th row is more alike than neighbours are, as where the rows of chains "
            "alternate; give a column chain, or arrays of shape (chain, draw, ...)"
        )


def cut(chain: np.ndarray) -> np.ndarray:
    """One chain, shape (n_draws, ...), in four pieces, (4, n_draws / 4, ...), without the first few that are left."""
    return chain[len(chain) % N_CHAINS :].reshape(N_CHAINS, -1, *chain.shape[1:])


def arrays_of(given: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The posterior's arrays by site, chains and draws first, and the sampler's statistics."""
    if isinstance(given, str) and "," in given and not Path(given).exists():
        given = given.split(",")
    if isinstance(given, str | Path):
        return arrays_in(Path(given))
    if hasattr(given, "columns"):  # a data frame
        given = [given]
    if isinstance(given, list | tuple) and given:
        return arrays_of_tables(given)
    stats: dict[str, np.ndarray] = {}
    if hasattr(given, "get_samples"):  # an MCMC object of either library
        refuse_without_run(given)
        stats = stats_of(given)
        given = given.get_samples(group_by_chain=True)
    if not isinstance(given, Mapping) or isinstance(given, xr.DataTree | xr.Dataset):
        posterior = group_of(given, "posterior")
        if posterior is None:
            raise ValueError(
                f"draws is a {type(given).__name__}{' without a posterior' if isinstance(given, xr.DataTree) else ''}: "
                "give a dict of arrays by site, an InferenceData or DataTree with a posterior, a data frame with a row "
                "for each draw, or a file of these"
            )
        group = group_of(given, "sample_stats")
        names = [name for name in STATS if group is not None and name in group]
        return values_of(posterior), {name: values_of(group)[name] for name in names}
    return {underscored(str(name)): as_array(value) for name, value in given.items()}, stats


def arrays_of_tables(tables: Sequence[Any]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The same of tables, or of files of them, a chain each: see `draws_table`."""
    read: list[Any] = []
    for table in tables:
        read += tables_in(Path(table)) if isinstance(table, str | Path) else [table]
    for table in read:
        if not (isinstance(table, Mapping) or hasattr(table, "columns")):
            raise ValueError(f"draws is a list with a {type(table).__name__}: give a table or a file for each chain")
    sites, stats = draws_table.arrays(read)
    return {underscored(name): value for name, value in sites.items()}, stats


def refuse_without_run(mcmc: Any) -> None:
    """Raise ValueError for an MCMC object that has no draws: NumPyro asserts that it was run, Pyro has nothing."""
    try:
        has_draws = bool(mcmc.get_samples())
    except Exception:
        has_draws = False
    if not has_draws:
        raise ValueError("mcmc has no draws: run it first, mcmc.run(...)")


def stats_of(mcmc: Any) -> dict[str, np.ndarray]:
    """An MCMC object's statistics, shape (n_chains, n_draws); of Pyro's, which lists the places, its divergences."""
    if hasattr(mcmc, "get_extra_fields"):
        fields = mcmc.get_extra_fields(group_by_chain=True)
        return {name: np.asarray(fields[name]) for name in STATS if name in fields}
    flags = np.zeros((mcmc.num_chains, mcmc.num_samples), bool)
    for chain, places in enumerate(mcmc.diagnostics().get("divergences", {}).values()):
        flags[chain, places] = True
    return {"diverging": flags}


def arrays_in(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The same from a file: NetCDF (``.nc``), arrays of NumPy's (``.npz``), or a table (``.csv``, ``.json``)."""
    if draws_table.SUFFIXES & set(path.suffixes):
        return arrays_of_tables([path])
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return {underscored(name): arrays[name] for name in arrays.files}, {}
        with xr.open_datatree(path) as tree:
            return arrays_of(tree.load())
    except FileNotFoundError:
        raise ValueError(f"draws {path}: there is no such file") from None
    except OSError as error:
        raise ValueError(f"draws {path} cannot be read: {error.strerror or 'it is no NetCDF file'}") from None
    except ValueError as error:
        if str(error).startswith("draws"):
            raise
        raise ValueError(
            f"draws {path} cannot be read: give ArviZ's NetCDF, an .npz of arrays by site, or a table (.csv, .json)"
        ) from None


def tables_in(path: Path) -> Sequence[Any]:
    try:
        return draws_table.read(path)
    except FileNotFoundError:
        raise ValueError(f"draws {path}: there is no such file") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"draws {path} cannot be read as a table: {one_line(error)}") from None


def group_of(given: Any, name: str) -> Any:
    """A group of an ArviZ tree, old or new, as a dataset; None where there is none."""
    if isinstance(given, xr.DataTree):
        if name == "posterior" and not given.children and given.data_vars:  # a group that was saved by itself
            return given.to_dataset()
        return given[name].to_dataset() if name in given.children else None
    if isinstance(given, xr.Dataset):
        return given if name == "posterior" else None
    return getattr(given, name, None)


def values_of(dataset: Any) -> dict[str, Any]:
    """A dataset's arrays, chains and draws first."""
    return {
        underscored(str(name)): value.transpose(*[d for d in ("chain", "draw") if d in value.dims], ...).values
        for name, value in dataset.data_vars.items()
    }


def as_array(value: Any) -> np.ndarray:
    """An array of NumPy, JAX or torch as one of NumPy."""
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
