"""All planted faults, by where they are made."""

from __future__ import annotations

from faults import (
    Fault,
    in_acting_and_references,
    in_exact_posteriors,
    in_fits,
    in_guides,
    in_later_models,
    in_measures,
    in_models,
    in_print,
    in_shapes_and_orders,
    in_the_text,
)

__all__ = ["KINDS"]

KINDS: dict[str, list[Fault]] = {
    "model": in_models.FAULTS,
    "guide": in_guides.FAULTS,
    "exact posterior": in_exact_posteriors.FAULTS,
    "fit": in_fits.FAULTS,
    "measure": in_measures.FAULTS,
    "text": in_the_text.FAULTS,
    "later model": in_later_models.FAULTS,
    "print": in_print.FAULTS,
    "acting and references": in_acting_and_references.FAULTS,
    "shape, order or error": in_shapes_and_orders.FAULTS,
}
