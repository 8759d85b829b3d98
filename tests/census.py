"""A census of what a process keeps globally, in a process of its own: ``python -m tests.census numpyro``.

It calls `compare.compare` and `compare.check` three ways each, the model ending well, in an error, and by Ctrl-C, and
prints as JSON what differs afterwards, by the call and the way that it ended.
"""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

import matplotlib
import numpy as np
from matplotlib import pyplot

from compare import check, compare

ENDS = ("well", "in an error", "by Ctrl-C")


def of_python() -> dict[str, Any]:
    return {
        "random": random.getstate(),
        "NumPy's random state": str(np.random.get_state()),
        "NumPy's errors": np.geterr(),
        "NumPy's printing": str(np.get_printoptions()),
        "warning filters": list(warnings.filters),
        "showing warnings": warnings.showwarning,
        "rcParams": dict(matplotlib.rcParams),
        "figures": pyplot.get_fignums(),
        "environment": dict(os.environ),
        "SIGINT": signal.getsignal(signal.SIGINT),
        "recursion": sys.getrecursionlimit(),
        "loggers' level": logging.getLogger().level,
        "hooks": (sys.excepthook, sys.unraisablehook),
        "threads of Python": threading.active_count(),
    }


def of_numpyro() -> dict[str, Any]:
    import jax
    from numpyro import primitives
    from numpyro.distributions import Distribution, distribution

    return {f"jax: {name}": value for name, value in jax.config.values.items()} | {
        "x64": jax.config.read("jax_enable_x64"),
        "precision of new arrays": str(jax.numpy.zeros(1).dtype),
        "validation": (distribution._VALIDATION_ENABLED, Distribution._validate_args),
        "handlers": list(primitives._PYRO_STACK),
    }


def of_pyro() -> dict[str, Any]:
    import pyro
    import torch
    from pyro.poutine import runtime
    from torch.distributions import Distribution

    store = pyro.get_param_store()
    return {
        "settings": pyro.settings.get(),
        "validation": Distribution._validate_args,
        "handlers": list(runtime._PYRO_STACK),
        "param store": {name: (id(value), value.tolist()) for name, value in store._params.items()},
        "constraints": {name: str(value) for name, value in store._constraints.items()},
        "names of params": sorted(store._param_to_name.values()),
        "way to the unconstrained": store._params["scale"] is PARAMS["scale"].unconstrained(),
        "dtype": torch.get_default_dtype(),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "random state": torch.get_rng_state().tolist(),
        "gradients": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


PARAMS: dict[str, Any] = {}


def prepare_numpyro() -> None:
    """Nothing: x64 is off, as it is by default."""


def prepare_pyro() -> None:
    """A store with a param in it, two threads, and a seed."""
    import pyro
    import torch

    torch.set_num_threads(2)
    pyro.set_rng_seed(7)
    PARAMS["scale"] = pyro.param("scale", torch.tensor(2.0), constraint=pyro.distributions.constraints.positive)


def model_of(library: str, end: str) -> Callable[..., Any]:
    """A model of one latent that ends so when it is run for the sixth time."""
    module, dist, runs = import_module(library), import_module(f"{library}.distributions"), [0]

    def model(y: Any) -> None:
        runs[0] += 1
        if runs[0] == 6 and end != "well":
            raise {"in an error": RuntimeError, "by Ctrl-C": KeyboardInterrupt}[end]
        module.sample("y", dist.Normal(module.sample("mean", dist.Normal(0.0, 1.0)), 1.0), obs=y)

    return model


def call_compare(library: str, model: Callable[..., Any]) -> None:
    result = compare(model, {"y": 1.0}, library, guides=["mean_field"])
    result.plot_posterior()
    assert result.verdict[f"{library}-nuts"].word == "agrees", result.verdict


def call_check(library: str, model: Callable[..., Any]) -> None:
    """A fit of another scale than the posterior's sqrt(1/2), which is far from the best one."""
    autoguide = import_module(f"{library}.infer.autoguide").AutoNormal(model)
    names = {"numpyro": "mean_auto_{}", "pyro": "AutoNormal.{}s.mean"}[library]
    params = {names.format("loc"): np.array(0.5), names.format("scale"): np.array(0.3)}
    result = check(model, {"y": 1.0}, guide=autoguide, params=params, library=library)
    assert result.verdict[f"{library}-AutoNormal"].word == "not converged", result.verdict


def main(library: str) -> None:
    """Print what differs after each call."""
    np.random.seed(3)
    random.seed(3)
    warnings.simplefilter("once", ImportWarning)
    matplotlib.rcParams["lines.linewidth"] = 3.5
    {"numpyro": prepare_numpyro, "pyro": prepare_pyro}[library]()
    of_library = {"numpyro": of_numpyro, "pyro": of_pyro}[library]
    of_library()  # the library is imported, as by the module of a model
    changes = {}
    for name, call in {"compare": call_compare, "check": call_check}.items():
        for end in ENDS:
            before = of_python() | of_library()
            try:
                call(library, model_of(library, end))
                outcome = "well"
            except KeyboardInterrupt:
                outcome = "by Ctrl-C"
            except Exception:
                outcome = "in an error"
            after = of_python() | of_library()
            key = f"{name} {end}"
            changes[key] = [part for part in before if before[part] != after[part]]
            changes[key] += [f"it ended {outcome}"] if outcome != end else []
    print(json.dumps(changes))


if __name__ == "__main__":
    main(sys.argv[1])
