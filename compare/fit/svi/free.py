"""Coordinates for a family that has none: its guide's own unconstrained parameters, whitened by their Hessian."""

from __future__ import annotations

import numpy as np

from guides.contract import Parameters, whitening

__all__ = ["LARGEST_HESSIAN", "FreeCoordinates"]

LARGEST_HESSIAN = 250
"""Coordinates beyond which the Hessian is not formed, and the directions stay as they are."""


class FreeCoordinates:
    """flat = start + transform x."""

    def __init__(self, start: np.ndarray, transform: np.ndarray | None = None) -> None:
        self.begin, self.size = np.asarray(start, dtype=float), np.size(start)
        self.transform = np.eye(self.size) if transform is None else transform

    def parameters(self, x: np.ndarray) -> Parameters:
        return {"flat": self.begin + self.transform @ x}

    def pullback(self, x: np.ndarray, gradient: Parameters) -> np.ndarray:
        return self.transform.T @ gradient["flat"]

    def locate(self, parameters: Parameters) -> np.ndarray:
        return np.linalg.solve(self.transform, parameters["flat"] - self.begin)

    def whitened(self, x: np.ndarray, hessian: np.ndarray | None) -> FreeCoordinates:
        """Coordinates around x in which the Hessian there, given in these, is the identity; as they are without one."""
        here = self.parameters(x)["flat"]
        if hessian is None:
            return FreeCoordinates(here, self.transform)
        return FreeCoordinates(here, self.transform @ whitening(hessian))
