"""Runs that are killed at random moments, and go on each time where they were.

    python -m tests.experiments.killed KILLS SEED -- MODEL [options]
    python -m tests.experiments.killed KILLS SEED -- all [options]

A run is killed with SIGKILL at a random time, at most what an undisturbed run takes, and started again with the same
cache, until it ends undisturbed; such rounds are repeated until there were KILLS kills. After each round the summaries
must equal the undisturbed run's but for the seconds, no cached fit may be repeated, nothing half-written may be left,
and the pages must be the same.
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
    """The fits that are cached, and when each was written."""
    return {path.name: path.stat().st_ino for path in cache.glob("fits/[!.]*.zip")}


def summaries(place: Path) -> dict[str, Any]:
    """Every summary in a folder, its seconds left out."""
    return {
        str(path.relative_to(place)): without_seconds(json.loads(path.read_text()))
        for path in sorted(place.rglob("summary.json"))
    }


def pages(place: Path) -> dict[str, bytes]:
    """Every page in a folder."""
    return {str(path.relative_to(place)): path.read_bytes() for path in sorted(place.rglob("*.html"))}


def main() -> None:
    split = sys.argv.index("--")
    kills, seed = map(int, sys.argv[1:split])
    rng, command = random.Random(seed), sys.argv[split + 1 :]
    with tempfile.TemporaryDirectory() as scratch:
        alone = Path(scratch) / "alone"
        status, undisturbed, _ = run(command, Path(scratch) / "undisturbed", alone)
        assert status == 0
        print(f"undisturbed: {undisturbed:.1f} s, {len(entries(alone))} fits")
        expected = summaries(Path(scratch) / "undisturbed")
        killed = turn = 0
        while killed < kills:
            turn += 1
            cache, out = Path(scratch) / f"cache-{turn}", Path(scratch) / f"out-{turn}"
            before: dict[str, int] = {}
            status = -signal.SIGKILL
            while status:
                limit = rng.uniform(0, undisturbed) if killed < kills else None
                status, seconds, output = run(command, out, cache, limit)
                assert status in (0, -signal.SIGKILL)
                now = entries(cache)
                again = [name for name in before if now.get(name) != before[name]]
                killed += status != 0
                done = f"kill {killed}" if status else "ended by itself"
                print(f"round {turn}: {done} after {seconds:.1f} s; {len(now)} fits cached, {len(again)} repeated")
                assert not again
                before = now
            assert expected and summaries(out) == expected
            once = pages(out)
            status, seconds, _ = run(command, out, cache)
            assert status == 0 and once and pages(out) == once
            assert not [*out.rglob(".*"), *cache.glob("*/.*")]
            print(f"round {turn}: {output.splitlines()[-1] if 'were cached' in output else 'nothing was cached'}")
            print(f"round {turn}: {len(expected)} summaries the same, nothing half-written")
            print(f"round {turn}: once more, in {seconds:.1f} s, the same pages")


if __name__ == "__main__":
    main()
