"""The conjugate family: the prior's own family, which holds the exact posterior.

A model that has one defines it beside the model, as the function ``conjugate``, as a user does who knows the shape of
the posterior. Fitted by SVI like any other guide, it must reach the evidence.
"""

from __future__ import annotations

from guides.contract import Family

FAMILY = Family(is_particular=True)
