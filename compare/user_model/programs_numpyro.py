"""Compiled programs on disk: what a process has compiled, no later one compiles again."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import jax
from jax.experimental.compilation_cache import compilation_cache

from compare.cache.store import PROGRAMS, Store, cache_folder

SETTINGS = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")


def cache_programs() -> None:
    """Have JAX cache what it compiles in the zoo's cache folder, unless it already caches it elsewhere.

    JAX's key holds the program with its constants and options, the versions, and the platform; what it reads is the
    machine code that it has written, so the numbers are the same. A program that calls back into Python is not cached.
    An entry that cannot be read or written costs its compilation in each process: JAX never replaces one.
    """
    warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation cache entry")
    if jax.config.values[SETTINGS[0]] is not None:
        return
    with suppress(RuntimeError):  # the user has no home folder
        for name, value in zip(SETTINGS, (str(cache_folder() / PROGRAMS), 0.0), strict=True):
            jax.config.update(name, value)


@contextmanager
def undisturbed_cache() -> Iterator[None]:
    """A block in which programs are cached, after which they are, or are not, as before."""
    settings = {name: jax.config.values[name] for name in SETTINGS}
    cache_programs()
    try:
        yield
    finally:
        if jax.config.values[SETTINGS[0]] != settings[SETTINGS[0]]:
            for name, value in settings.items():
                jax.config.update(name, value)
            compilation_cache.reset_cache()  # it is open as long as the process, whatever the settings say
            Store(cache_folder()).prune(cache_folder())
