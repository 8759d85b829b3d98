"""Latent sites held at given values, in Pyro."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pyro.poutine.messenger import Messenger

Tensors = dict[str, torch.Tensor]
Trace = Any
"""A trace of Pyro's, whose sites are dictionaries."""


class Held(Messenger):
    """Hold latent sites at given values, still as latent sites."""

    def __init__(self, values: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self.values = values

    def _pyro_sample(self, message: dict[str, Any]) -> None:
        if message["name"] in self.values:
            message["value"], message["done"] = self.values[message["name"]], True
