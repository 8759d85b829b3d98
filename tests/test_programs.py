"""Compiled programs are cached on disk while the zoo works, and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

import jax
import pytest
from jax import monitoring
from jax.experimental.compilation_cache import compilation_cache

from compare.cache.store import LIMIT, PROGRAMS, VARIABLE, Store
from compare.user_model.process import undisturbed

SETTINGS = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
HIT = "/jax/compilation_cache/cache_hits"


def settings() -> tuple:
    return tuple(jax.config.values[name] for name in SETTINGS)


def configure(*values) -> None:
    for name, value in zip(SETTINGS, values, strict=True):
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture
def caching():
    """A function that sets the user's own settings; those of the tests come back at the end."""
    before = settings()
    yield configure
    configure(*before)


def compile_one(number: float) -> float:
    return float(jax.jit(lambda x: x * number + 1)(2.0))


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("jit__lambda*-cache"))


def test_programs_are_cached_in_the_zoos_folder_during_a_call_only(caching):
    caching(None, 1.0)
    folder = Path(os.environ[VARIABLE]) / PROGRAMS
    with undisturbed("numpyro"):
        assert compile_one(3.25) == 7.5
        assert len(entries(folder)) == 1
    assert settings() == (None, 1.0)
    compile_one(4.25)
    assert len(entries(folder)) == 1


def test_a_program_that_another_process_compiled_is_not_compiled_again(caching):
    caching(None, 1.0)
    events: list[str] = []

    def count(event: str, **_) -> None:
        events.append(event)

    with undisturbed("numpyro"):
        compile_one(5.25)
        jax.clear_caches()  # as in a new process
        compilation_cache.reset_cache()
        monitoring.register_event_listener(count)
        try:
            assert compile_one(5.25) == 11.5
        finally:
            monitoring.unregister_event_listener(count)
    assert HIT in events


def test_a_folder_that_the_user_has_chosen_stays(caching, tmp_path):
    caching(str(tmp_path), 0.0)
    with undisturbed("numpyro"):
        compile_one(6.25)
    assert settings() == (str(tmp_path), 0.0)
    assert len(entries(tmp_path)) == 1
    assert not (Path(os.environ[VARIABLE]) / PROGRAMS).exists()


def test_an_entry_that_was_cut_off_costs_its_compilation(caching, recwarn):
    caching(None, 1.0)
    folder = Path(os.environ[VARIABLE]) / PROGRAMS
    with undisturbed("numpyro"):
        compile_one(7.25)
        (name,) = entries(folder)
        (folder / name).write_bytes((folder / name).read_bytes()[:100])
        jax.clear_caches()
        assert compile_one(7.25) == 15.5
    assert not [warning for warning in recwarn if "compilation cache" in str(warning.message)]


def test_programs_count_to_the_limit_of_the_cache(tmp_path):
    folder = tmp_path / PROGRAMS
    folder.mkdir()
    (folder / "jit_f-0-cache").write_bytes(bytes(3_000))
    Store(tmp_path, limit=LIMIT).prune(tmp_path)
    assert (folder / "jit_f-0-cache").exists()
    Store(tmp_path, limit=2_000).prune(tmp_path)
    assert not (folder / "jit_f-0-cache").exists()
