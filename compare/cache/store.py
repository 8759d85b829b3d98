"""The folder of what is kept. An entry is a ZIP archive of some files, written whole or not at all.

Archives are read with their checksums: one that is damaged is removed, and what it held is made anew. They hold
NetCDF, JSON and the report's own files and no pickles, which would run whatever code someone had put there.
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

from compare.atomic import atomic_file

__all__ = ["LIMIT", "VARIABLE", "Store", "folder"]

VARIABLE = "POSTERIOR_ZOO_CACHE"
"""The environment variable that names the folder."""

LIMIT = 2_000_000_000
"""Bytes beyond which the entries that were used least recently are removed."""

DAY = 86_400
"""Seconds after which an entry that nobody finished is taken for abandoned."""

DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, RuntimeError, NotImplementedError)


def folder() -> Path:
    """The user's folder: what POSTERIOR_ZOO_CACHE says, else posterior-zoo among the system's caches."""
    said = os.environ.get(VARIABLE)
    if said:
        return Path(said).expanduser()
    if sys.platform == "win32" and os.environ.get("LOCALAPPDATA"):
        return Path(os.environ["LOCALAPPDATA"]) / "posterior-zoo"
    if sys.platform == "darwin":
        return Path("~/Library/Caches/posterior-zoo").expanduser()
    said = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(said) if Path(said).is_absolute() else Path("~/.cache").expanduser()) / "posterior-zoo"


class Store:
    """Entries by kind and key. ``fresh`` finds nothing, and replaces what is there.

    What cannot be written is said once, on standard error, and is no error: the next run has to make it again.
    """

    def __init__(self, path: Path | None = None, fresh: bool = False, limit: int = LIMIT) -> None:
        self.path, self.fresh, self.limit = path, fresh, limit
        self.complained = False
        self.unseen = limit  # bytes written since the folder was last looked at; all of them at first
        if path is None:
            try:
                self.path = folder()
            except RuntimeError as error:  # there is no home
                self.complain(str(error))

    def place(self, kind: str, key: str) -> Path:
        """Where an entry stands."""
        return self.path / kind / f"{key}.zip"

    def read(self, kind: str, key: str) -> dict[str, bytes] | None:
        """The files of an entry; None if there is none, or none that is whole."""
        if self.path is None or self.fresh:
            return None
        path = self.place(kind, key)
        try:
            with zipfile.ZipFile(path) as archive:
                found = {name: archive.read(name) for name in archive.namelist()}
        except OSError:
            return None
        except DAMAGE:
            self.remove(kind, key)
            return None
        with suppress(OSError):  # it was used: remove it last
            os.utime(path)
        return found

    def remove(self, kind: str, key: str) -> None:
        """Forget an entry, if it can be."""
        with suppress(OSError):
            self.place(kind, key).unlink(missing_ok=True)

    def write(self, kind: str, key: str, files: Mapping[str, bytes]) -> None:
        """Keep files under a key; whoever else does so at the same time, one of the two is kept."""
        if self.path is None:
            return
        try:
            with atomic_file(self.place(kind, key)) as temporary, open(temporary, "wb") as file:
                with zipfile.ZipFile(file, "w") as archive:
                    for name, value in files.items():
                        archive.writestr(name, value)
                file.flush()
                os.fsync(file.fileno())
            self.unseen += self.place(kind, key).stat().st_size
        except OSError as error:
            self.complain(error.strerror or str(error))
            return
        if self.unseen > self.limit / 20:
            self.unseen = 0
            self.prune()

    def prune(self) -> None:
        """Remove the entries used least recently until the rest is within the limit, and those nobody finished."""
        with suppress(OSError):
            found = [(path, path.stat()) for path in self.path.glob("*/*") if path.suffix == ".zip"]
            total = sum(stat.st_size for _, stat in found)
            for path, stat in sorted(found, key=lambda one: one[1].st_mtime):
                if path.name.startswith("."):
                    if stat.st_mtime < time.time() - DAY:
                        path.unlink(missing_ok=True)
                elif total > self.limit:
                    path.unlink(missing_ok=True)
                    total -= stat.st_size

    def complain(self, reason: str) -> None:
        """Say, once, that nothing can be kept."""
        if not self.complained:
            self.complained = True
            where = f"in {self.path}" if self.path else "anywhere"
            line = f"compare: warning: nothing can be kept {where} ({reason}); let {VARIABLE} name a folder with room"
            print(line, file=sys.stderr)
