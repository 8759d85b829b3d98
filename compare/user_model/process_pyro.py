"""What torch and Pyro keep for the whole process."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyro
import torch

STORE = ("_params", "_param_to_name", "_constraints")
"""What a param store consists of. Its own `get_state` takes from the params their way back to unconstrained ones."""


def stored_params() -> dict[str, Any]:
    """The params in the param store, constrained."""
    store: Any = pyro.get_param_store()
    return constrained(store._params, store._constraints)


def constrained(params: Mapping[str, Any], constraints: Mapping[str, Any]) -> dict[str, Any]:
    """Params by name from the unconstrained tensors behind them."""
    with torch.no_grad():
        transforms = {name: torch.distributions.transform_to(constraints[name]) for name in params}
        return {name: transforms[name](value).detach().clone().cpu().numpy() for name, value in params.items()}


@contextmanager
def undisturbed() -> Iterator[None]:
    """A block in float64, in one thread and with an empty param store, after which these, the random states and the
    settings are as before."""
    store, settings = pyro.get_param_store(), pyro.settings.get()
    store_entries = {name: getattr(store, name) for name in STORE}
    dtype, threads, state = torch.get_default_dtype(), torch.get_num_threads(), torch.get_rng_state()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    has_gradients = torch.is_grad_enabled()
    store.clear()  # by new dictionaries: the old ones are not touched
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    torch.set_grad_enabled(True)
    try:
        with warnings.catch_warnings():  # that torch evaluates many points one by one is not the user's to change
            warnings.filterwarnings("ignore", "There is a performance drop because .* batching rule")
            yield
    finally:
        for name, entries in store_entries.items():
            setattr(store, name, entries)
        pyro.settings.set(**settings)
        torch.set_default_dtype(dtype)
        torch.set_num_threads(threads)
        torch.set_grad_enabled(has_gradients)
        torch.set_rng_state(state)
        if devices:
            torch.cuda.set_rng_state_all(devices)


@contextmanager
def watch_draws() -> Iterator[set[str]]:
    """A block that starts from torch's seed: yields a set that stays empty where the random state ends as a seed leaves
    it."""
    drawn = set[str]()
    torch.default_generator.manual_seed(torch.initial_seed())
    yield drawn
    if not torch.equal(torch.get_rng_state(), torch.Generator().manual_seed(torch.initial_seed()).get_state()):
        drawn.add("torch")
