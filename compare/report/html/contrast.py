"""How well a colour stands out from another, by WCAG 2.2 (relative luminance and contrast ratio)."""

from __future__ import annotations

__all__ = ["ratio", "visible"]


def channels(colour: str) -> tuple[float, float, float]:
    """Red, green and blue of ``#rgb`` or ``#rrggbb``, from 0 to 1."""
    digits = colour.removeprefix("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    red, green, blue = (int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4))
    return red, green, blue


def luminance(colour: str) -> float:
    """Relative luminance, from 0 (black) to 1 (white)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def ratio(one: str, other: str) -> float:
    """The contrast of two colours, from 1 to 21. Text needs 4.5, what is drawn 3."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def visible(colour: str, background: str, least: float = 3.0) -> str:
    """The colour, mixed with as much black or white as it takes to stand out from the background."""
    end = 0.0 if luminance(background) > 0.18 else 1.0
    for part in range(21):
        mixed = [c + (end - c) * part / 20 for c in channels(colour)]
        found = "#" + "".join(f"{round(255 * c):02x}" for c in mixed)
        if ratio(found, background) >= least:
            break
    return found
