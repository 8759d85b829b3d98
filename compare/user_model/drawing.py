"""Random numbers that a model's file draws when it is read, in float64: they are others than in float32."""

from __future__ import annotations

DRAWN = "__drawn__"
"""The name under which stands beside a model whether its file draws such numbers."""

NOTE = (
    "the model's file draws random numbers, and in float64, in which it is read, they may not be those of "
    "the library's float32: to have the same data as there, draw them with NumPy or read them from a file"
)
"""What the reader should know of such a file."""
