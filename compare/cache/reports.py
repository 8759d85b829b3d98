"""Finished reports that are kept: the files of a comparison's folder, and the text that was printed with them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from compare.atomic import atomic_folder, remove_leftovers
from compare.cache.keys import Uncacheable, digest, report_document
from compare.cache.store import Store

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Report", "Restored"]

KIND, TEXTS = "reports", "texts"
ABOUT = "about.json"


class Restored(NamedTuple):
    """The files of a report that was kept, the page last, how many fits it is made of, and its summary as JSON."""

    paths: list[Path]
    fits: int
    summary: str


@dataclass(frozen=True)
class Report:
    """One comparison's report in the store; ``key`` is None where what it depends on cannot be told."""

    store: Store
    key: str | None

    @classmethod
    def of(
        cls, store: Store, model: str, data: Any, asked: Sequence[Any], own: Mapping[str, str] | None = None
    ) -> Report:
        """The report on a model and its data, made as ``asked``; ``own`` are the sources of a user's model."""
        try:
            return cls(store, digest(report_document(model, data, asked, own)))
        except (Uncacheable, RecursionError):
            return cls(store, None)

    def restore(self, folder: Path) -> Restored | None:
        """Put the kept files into a folder, those that are missing there or differ; None if none are kept."""
        found = self.store.read(KIND, self.key) if self.key else None
        if found is None:
            return None
        try:
            about = json.loads(found.pop(ABOUT))
            possible, fits, summary = about["possible"], about["fits"], found["summary.json"].decode()
        except (KeyError, TypeError, ValueError):  # whole, but not what this version writes
            self.store.remove(KIND, self.key)
            return None
        with atomic_folder(folder) as temporary:
            for name, content in found.items():
                if not same(folder / name, content):
                    (temporary / name).write_bytes(content)
        for path in [path for pattern in possible for path in folder.glob(pattern) if path.name not in found]:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        remove_leftovers(folder)
        return Restored([folder / name for name in found], fits, summary)

    def keep(self, paths: Sequence[Path], possible: Iterable[str], fits: int) -> None:
        """Keep the files of a report on so many fits. ``possible`` are patterns of those that another may have left."""
        if self.key:
            about = json.dumps({"possible": list(possible), "fits": fits}).encode()
            try:
                files = {ABOUT: about, **{path.name: path.read_bytes() for path in paths}}
            except OSError as error:
                self.store.complain(error.strerror or str(error))
                return
            self.store.write(KIND, self.key, files)

    def text_key(self, console: Console) -> str:
        """The key of what is printed, which depends on the terminal."""
        shape = [console.width, console.color_system, console.encoding, console.legacy_windows]
        return digest({"report": self.key, "shape": shape})

    def text(self, console: Console) -> str | None:
        """What was printed; None where it has not been printed on such a console."""
        found = self.store.read(TEXTS, self.text_key(console)) if self.key else None
        return found["text"].decode() if found and "text" in found else None

    def keep_text(self, text: str, console: Console) -> None:
        """Keep what was printed."""
        if self.key:
            self.store.write(TEXTS, self.text_key(console), {"text": text.encode()})


def same(path: Path, content: bytes) -> bool:
    """Whether a file holds just this."""
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False
