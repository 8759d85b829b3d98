"""Make the blocks of the READMEs anew, and print which differ.

    python -m tests.experiments.readme [README ...] [--within SECONDS] [--write]

A comment above a fenced block, a table or a picture names the command that made it, and how long that takes::

    <!-- command (20 s): python -m compare coin | head -n 15 -->
    <!-- command (9 min, timings): python -m compare bench coin -->
    <!-- picture (20 s): python -m compare coin -> out/coin/posterior.png -->

Blocks agree when they are the same but for columns of seconds. Where all numbers are timings only the words are
compared. ``--within`` leaves out what takes longer, ``--write`` puts the new blocks in their places. Commands run in
the project's folder with an empty cache.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ROOT", "Block", "blocks", "readmes", "without_numbers"]

ROOT = Path(__file__).parents[2]

BLOCK = re.compile(
    r"<!-- (?P<kind>command|picture) \((?P<time>[\d.]+) (?P<unit>s|min|h)(?P<timings>, timings)?\): "
    r"(?P<command>.*?) -->\n"
    r"(?P<text>```\w*\n.*?^```$|(?:\|[^\n]*\n)+|!\[[^\n]*\))",
    re.DOTALL | re.MULTILINE,
)
CACHED = re.compile(r"^\d+ of \d+ fits were cached by an earlier run.*\n", re.MULTILINE)
"""What a reader does not see who runs the command first."""

SECONDS = {"s": 1, "min": 60, "h": 3600}
NUMBER = re.compile(r"[-+±]*\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
TIMED = re.compile(r"\bseconds\b|\bs\b|\bms\b|\bMB\b")


@dataclass(frozen=True)
class Block:
    """A part of a README that a command made.

    Attributes:
        readme: The README's path.
        kind: ``command`` for text and tables, ``picture`` for an image.
        command: The shell command.
        seconds: How long the command takes.
        is_timing: Whether all of its numbers are timings.
        text: What stands in the README, without fences.
        start, end: Where the text stands in the README.
    """

    readme: Path
    kind: str
    command: str
    seconds: float
    is_timing: bool
    text: str
    start: int
    end: int

    def make(self, cache: str) -> str:
        """The text that the command prints now; of a picture the path of the new file."""
        command, _, file = self.command.partition(" -> ")
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "POSTERIOR_ZOO_CACHE": cache}
        ended = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        if ended.returncode not in (0, 141):  # head closes the pipe before the command ends
            raise RuntimeError(f"{command} ended with status {ended.returncode}: {ended.stderr.strip()[-500:]}")
        return file if self.kind == "picture" else CACHED.sub("", ended.stdout).strip("\n")

    def differs(self, text: str) -> bool:
        """Whether what the command printed is not what stands in the README."""
        if self.kind == "picture":
            return (ROOT / text).read_bytes() != self.picture.read_bytes()
        normal = without_numbers if self.is_timing else without_seconds
        return normal(text) != normal(self.text)

    @property
    def picture(self) -> Path:
        """The file that the README shows."""
        return self.readme.parent / re.search(r"\(([^()]*)\)$", self.text)[1]


def readmes() -> list[Path]:
    """Every README that git knows, and those not yet added."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*README.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / line for line in listed.stdout.splitlines()]


def blocks(readme: Path) -> list[Block]:
    """The README's blocks that name their commands, in order."""
    result = []
    for match in BLOCK.finditer(readme.read_text(encoding="utf-8")):
        text, (start, end) = match["text"], match.span("text")
        if text.startswith("```"):
            start, end = start + text.index("\n") + 1, end - len("\n```")
        elif text.startswith("|"):
            end -= 1
        seconds = float(match["time"]) * SECONDS[match["unit"]]
        shown = match.string[start:end]
        timed = bool(match["timings"])
        result.append(Block(readme, match["kind"], match["command"], seconds, timed, shown, start, end))
    return result


def without_seconds(text: str) -> str:
    """The text with columns of seconds left out, of tables in Markdown and of those that are printed."""
    lines, columns, span = [], None, None
    for line in text.splitlines():
        if line.startswith("|"):
            cells = line.split("|")
            if columns is None:
                columns = [number for number, cell in enumerate(cells) if TIMED.search(cell)]
            line = "|".join(cell for number, cell in enumerate(cells) if number not in columns)
        else:
            columns = None
            header = re.search(r" +seconds\b", line)
            if header and line.startswith("  "):
                span = header.span()
            if not line.strip():
                span = None
            if span:
                line = line[: span[0]] + line[span[1] :]
        lines.append(line.rstrip())
    return "\n".join(lines)


def without_numbers(text: str) -> str:
    """The text's words: numbers are replaced, and the spaces and rules that depend on their width."""
    return re.sub(r"[─-]{3,}", "---", re.sub(r"[ \t]+", " ", NUMBER.sub("#", text)))


def check(block: Block, cache: str) -> tuple[str | None, str]:
    """What the command makes now (None where it cannot be made), and a line that says how it compares."""
    began = time.perf_counter()
    try:
        remade = block.make(cache)
        word = "differs" if block.differs(remade) else "same"
    except (RuntimeError, OSError) as error:
        remade, word = None, f"cannot be made: {error}"
    seconds = time.perf_counter() - began
    return remade, f"{word:8} {seconds:6.0f} s  {block.readme.relative_to(ROOT)}: {block.command}"


def replace(block_and_text: list[tuple[Block, str]]) -> None:
    """Put new texts into one README, the last first, so that the places of the others stay right."""
    for block, remade in reversed(block_and_text):
        if block.kind == "picture":
            block.picture.write_bytes((ROOT / remade).read_bytes())
            continue
        text = block.readme.read_text(encoding="utf-8")
        block.readme.write_text(text[: block.start] + remade + text[block.end :], encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description="Make the blocks of the READMEs anew, and print which differ.")
    parser.add_argument("readmes", nargs="*", type=Path, help="READMEs (default: all)")
    parser.add_argument("--within", type=float, default=float("inf"), help="leave out what takes more seconds")
    parser.add_argument("--write", action="store_true", help="put the new blocks in their places")
    arguments = parser.parse_args()
    n_differing = 0
    with tempfile.TemporaryDirectory() as cache:
        for readme in [path.resolve() for path in arguments.readmes] or readmes():
            changed = []
            for block in blocks(readme):
                if block.seconds > arguments.within:
                    continue
                remade, line = check(block, cache)
                print(line, flush=True)
                if not line.startswith("same"):
                    n_differing += 1
                    if remade is not None and block.kind == "command" and not arguments.write:
                        before, after = block.text.splitlines(), remade.splitlines()
                        print(*difflib.unified_diff(before, after, "README", "now", lineterm="", n=0), sep="\n")
                    if remade is not None and arguments.write and block.kind == "picture":
                        replace([(block, remade)])  # before the next command overwrites it
                    elif remade is not None:
                        changed.append((block, remade))
            if arguments.write:
                replace(changed)
    return int(n_differing > 0)


if __name__ == "__main__":
    sys.exit(main())
