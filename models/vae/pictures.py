"""The autoencoder's own pictures: posteriors on the plane, what lies where on it, the gaps, and one of each task."""

from __future__ import annotations

from typing import Any

from models.contract import Picture
from models.vae.gaps import gaps
from models.vae.planes import latent, plane
from models.vae.sheets import answers, reconstructions

__all__ = ["PICTURES"]


def trained(data: Any) -> bool:
    """Whether there is a decoder of binary pixels."""
    return data.network is not None and not data.network.grey


def compared(data: Any) -> bool:
    return trained(data) and data.task == "compare"


def flat(data: Any) -> bool:
    """Whether the latents are those of a plane."""
    return compared(data) and data.network.latent == 2


def asks(data: Any) -> bool:
    return trained(data) and data.task in ("reconstruct", "denoise", "inpaint")


PICTURES = (
    Picture("plane", "", plane, flat),
    Picture("latent", "", latent, flat),
    Picture("reconstructions", "", reconstructions, compared),
    Picture("gaps", "", gaps, compared),
    Picture("answers", "", answers, asks),
)
