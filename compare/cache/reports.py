"""Cached reports: the files of a comparison's folder, and the text that was printed with them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from compare.atomic import atomic_folder, remove_leftovers
from compare.cache.keys import Uncacheable, digest, report_document
from compare.cache.store import Store

if TYPE_CHECKING:
    from rich.console import Console

    from compare.comparison import Request

KIND, TEXTS = "reports", "texts"
ABOUT = "about.json"


class Restored(NamedTuple):
    """A cached report that is in its folder again: its files, the page last, its fits' number, its summary as JSON."""

    paths: list[Path]
    n_fits: int
    summary: str


class ReportCache:
    """The report of one comparison in a store; its key is None where it depends on a value that cannot be hashed."""

    def __init__(self, store: Store, request: Request) -> None:
        self.store = store
        try:
            self.key: str | None = digest(report_document(request))
        except (Uncacheable, RecursionError):
            self.key = None

    def restore(self, folder: Path) -> Restored | None:
        """Write the cached files that are missing or differ in a folder; None if none are cached."""
        files = self.store.read(KIND, self.key) if self.key else None
        if self.key is None or files is None:
            return None
        try:
            about = json.loads(files.pop(ABOUT))
            possible, n_fits, summary = about["possible"], about["fits"], files["summary.json"].decode()
        except (KeyError, TypeError, ValueError):  # undamaged, but written by another version
            self.store.remove(KIND, self.key)
            return None
        with atomic_folder(folder) as temporary:
            for name, content in files.items():
                if not has_content(folder / name, content):
                    (temporary / name).write_bytes(content)
        for path in [path for pattern in possible for path in folder.glob(pattern) if path.name not in files]:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        remove_leftovers(folder)
        return Restored([folder / name for name in files], n_fits, summary)

    def save(self, paths: Sequence[Path], possible: Iterable[str], n_fits: int) -> None:
        """Cache a report's files; ``possible`` are patterns of files that other comparisons leave in the folder."""
        if self.key:
            about = json.dumps({"possible": list(possible), "fits": n_fits}).encode()
            try:
                files = {ABOUT: about, **{path.name: path.read_bytes() for path in paths}}
            except OSError as error:
                self.store.warn(error.strerror or str(error))
                return
            self.store.write(KIND, self.key, files)

    def text_key(self, console: Console, verbose: bool) -> str:
        """The key of the printed text, which depends on the terminal."""
        shape = [console.width, console.color_system, console.encoding, console.legacy_windows, verbose]
        return digest({"report": self.key, "shape": shape})

    def load_text(self, console: Console, verbose: bool) -> str | None:
        files = self.store.read(TEXTS, self.text_key(console, verbose)) if self.key else None
        return files["text"].decode() if files and "text" in files else None

    def save_text(self, text: str, console: Console, verbose: bool) -> None:
        if self.key:
            self.store.write(TEXTS, self.text_key(console, verbose), {"text": text.encode()})


def has_content(path: Path, content: bytes) -> bool:
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False
