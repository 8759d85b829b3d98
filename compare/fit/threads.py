"""How many threads a fit may use."""

from __future__ import annotations

from contextlib import AbstractContextManager

from threadpoolctl import threadpool_limits

__all__ = ["one_thread"]


def one_thread() -> AbstractContextManager:
    """NumPy's and SciPy's linear algebra in one thread.

    More would fight those of the library, and of the fits beside this one, for the processors; and the last digits
    would depend on how many there are.
    """
    return threadpool_limits(limits=1, user_api="blas")
