"""The conjugate family: the prior's own family, which holds the exact posterior.

Each model that has one writes it by hand beside the model, as the function ``conjugate``; this is what a user
does when the shape of the posterior is known. Fitted by SVI like any other guide, it must reach the evidence.
"""

from __future__ import annotations

__all__ = ["PARTICULAR"]

PARTICULAR = True
"""Only the models that name it have it."""
