"""Everything that happens to a model: plan, fits, measures, verdicts, report.

``from compare import calibrate, check, compare, fit_guide`` is the whole of it for a model, a guide or a fit of your
own; see `compare.result.compare`, `compare.result.check`, `compare.fitted.fit_guide`, `compare.calibrated.calibrate`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["CalibrationResult", "Result", "calibrate", "check", "compare", "fit_guide"]


def __getattr__(name: str) -> Any:
    """Imported when asked for, so that a part of this package does not load the whole."""
    if name in __all__:
        return getattr(import_module(".result", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
