"""The cache folder. An entry is a ZIP archive of a few files, written completely or not at all.

Archives are read with their checksums; a damaged one is removed, and its content computed again. They hold NetCDF, JSON
and a report's own files but no pickles, which would run whatever code someone had put there.
"""

from __future__ import annotations

import os
import sys
import time
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path

from compare.atomic import atomic_file

VARIABLE = "POSTERIOR_ZOO_CACHE"
"""The environment variable that names the folder."""

PROGRAMS = "programs"
"""The folder, in that one, of compiled programs, which JAX writes and reads by itself."""

LIMIT = 2_000_000_000
"""Bytes beyond which the least recently used entries are removed."""

DAY = 86_400
"""Seconds after which an unfinished entry counts as abandoned."""

DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, RuntimeError, NotImplementedError)


def cache_folder() -> Path:
    """The user's cache folder: POSTERIOR_ZOO_CACHE, or posterior-zoo among the system's caches."""
    chosen = os.environ.get(VARIABLE)
    return (Path(chosen) if chosen else user_cache_path("posterior-zoo", False, opinion=False)).expanduser()


class Store:
    """Entries by kind and key. With ``fresh`` none is read, and new ones replace what is there.

    An entry that cannot be written is no error: a warning on standard error says so once.
    """

    def __init__(self, path: Path | None = None, fresh: bool = False, limit: int = LIMIT) -> None:
        self.path, self.fresh, self.limit = path, fresh, limit
        self.warned = False
        self.unchecked = limit  # bytes written since the last pruning: the first entry prunes
        if path is None:
            try:
                self.path = cache_folder()
            except RuntimeError as error:  # the user has no home folder
                self.warn(str(error))

    def entry(self, kind: str, key: str) -> Path:
        return (self.path or Path()) / kind / f"{key}.zip"

    def read(self, kind: str, key: str) -> dict[str, bytes] | None:
        """The files of an entry; None if there is none, or a damaged one."""
        if self.path is None or self.fresh:
            return None
        path = self.entry(kind, key)
        try:
            with zipfile.ZipFile(path) as archive:
                files = {name: archive.read(name) for name in archive.namelist()}
        except OSError:
            return None
        except DAMAGE:
            self.remove(kind, key)
            return None
        with suppress(OSError):  # the time of its last use
            os.utime(path)
        return files

    def remove(self, kind: str, key: str) -> None:
        with suppress(OSError):
            self.entry(kind, key).unlink(missing_ok=True)

    def write(self, kind: str, key: str, files: Mapping[str, bytes]) -> None:
        """Write an entry; of two that are written at the same time one remains."""
        if self.path is None:
            return
        path = self.entry(kind, key)
        try:
            with atomic_file(path) as temporary, open(temporary, "wb") as file:
                with zipfile.ZipFile(file, "w") as archive:
                    for name, content in files.items():
                        archive.writestr(name, content)
                file.flush()
                os.fsync(file.fileno())
            self.unchecked += path.stat().st_size
        except OSError as error:
            self.warn(error.strerror or str(error))
            return
        if self.unchecked > self.limit / 20:
            self.unchecked = 0
            self.prune(self.path)

    def prune(self, folder: Path) -> None:
        """Remove the least recently used fits and oldest programs beyond the limit, and what was never finished."""
        with suppress(OSError):
            paths = [path for path in folder.glob("*/*") if path.suffix == ".zip" or path.parent.name == PROGRAMS]
            entries = [(path, path.stat()) for path in paths if path.is_file()]
            total = sum(stat.st_size for _, stat in entries)
            for path, stat in sorted(entries, key=lambda entry: entry[1].st_mtime):
                if path.name.startswith("."):
                    if stat.st_mtime < time.time() - DAY:
                        path.unlink(missing_ok=True)
                elif total > self.limit:
                    path.unlink(missing_ok=True)
                    total -= stat.st_size

    def warn(self, reason: str) -> None:
        """Warn, once, that nothing can be cached."""
        if not self.warned:
            self.warned = True
            where = f"in {self.path}" if self.path else "anywhere"
            line = f"compare: warning: nothing can be cached {where} ({reason}); let {VARIABLE} name a folder with room"
            print(line, file=sys.stderr)
