"""The benchmark: ``python -m compare bench``, the zoo's fits beside the libraries' usual way.

Nothing heavy is imported here: the processes whose start is timed import this package too.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark that the arguments ask for; the exit status."""
    from compare.bench.command import main

    return main(arguments)
