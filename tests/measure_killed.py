"""A run that is killed at ten random moments, and goes on each time where it was.

    python tests/measure_killed.py [kills] [seed] -- MODEL [options]

The run is killed with SIGKILL after a time drawn between 0 and what an undisturbed run took, and started again, with
one folder for what is kept. Then it is left to finish. Its summary must be the undisturbed run's but for the seconds,
no fit that was kept may be made again, and nothing half-written may be left.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def without_seconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_seconds(item) for key, item in value.items() if key != "seconds"}
    return [without_seconds(item) for item in value] if isinstance(value, list) else value


def run(arguments: list[str], place: Path, cache: Path, limit: float | None = None) -> tuple[int, float, str]:
    """The exit status of the command, its seconds and what it printed; killed after ``limit`` seconds."""
    start = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "compare", *arguments, "--out", str(place)],
        env=os.environ | {"POSTERIOR_ZOO_CACHE": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            out, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            out, _ = process.communicate()
    return process.returncode, time.perf_counter() - start, out


def entries(cache: Path) -> dict[str, int]:
    """The fits that are kept, and when each was written."""
    return {path.name: path.stat().st_ino for path in cache.glob("fits/[!.]*.zip")}


def main() -> None:
    given, _, arguments = " ".join(sys.argv[1:]).partition("-- ")
    kills, seed = ([*map(int, given.split()), 10, 0][:2]) if len(given.split()) != 1 else (int(given), 0)
    rng, command = random.Random(seed), arguments.split()
    with tempfile.TemporaryDirectory() as scratch:
        alone, cache, out = Path(scratch) / "alone", Path(scratch) / "cache", Path(scratch) / "out"
        status, whole, _ = run(command, Path(scratch) / "undisturbed", alone)
        assert status == 0
        print(f"undisturbed: {whole:.1f} s, {len(entries(alone))} fits")
        before: dict[str, int] = {}
        for number in range(kills):
            limit = rng.uniform(0, whole)
            status, seconds, _ = run(command, out, cache, limit)
            now = entries(cache)
            again = [name for name in before if now.get(name) != before[name]]
            done = "killed" if status == -signal.SIGKILL else f"ended with {status}"
            print(f"{number + 1}: {done} after {seconds:.1f} s; {len(now)} fits kept, {len(again)} of them made again")
            assert not again and status in (0, -signal.SIGKILL)
            before = now
        status, seconds, said = run(command, out, cache)
        print(f"left to finish: {seconds:.1f} s; {said.splitlines()[-1] if 'kept' in said else 'nothing was kept'}")
        found, expected = (
            json.loads((place / "summary.json").read_text()) for place in (out, Path(scratch) / "undisturbed")
        )
        pages = (out / "report.html").read_bytes()
        status, seconds, _ = run(command, out, cache)
        print(
            f"once more: {seconds:.1f} s; the page is {'the same' if pages == (out / 'report.html').read_bytes() else 'another'}"
        )
        left = [str(path) for path in (*out.glob(".*"), *cache.glob("*/.*"))]
        print(
            f"the summary but for seconds is {'the same' if without_seconds(found) == without_seconds(expected) else 'another'}"
        )
        print(f"half-written files in the report's folder and the cache: {left or 'none'}")


if __name__ == "__main__":
    main()
