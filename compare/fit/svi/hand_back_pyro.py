"""A fitted guide in Pyro's own form."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoGuide
from pyro.nn import PyroModule

import guides
from compare.user_model.density_pyro import split_arguments
from compare.user_model.guide_pyro import copied
from compare.user_model.guides import caller, find
from compare.user_model.process_pyro import undisturbed
from guides.contract import Settings

NUMBERS = itertools.count(1)
"""So that no two guides that are handed back share names in the param store."""


def guide_of(user: Any, name: str, values: Mapping[str, Any], params: Mapping[str, Any], settings: Settings) -> Any:
    """The guide, an autoguide with its params at the values given, in the default dtype.

    A function, or a module that a user wrote, is given back as it came: its params go into the param store.
    """
    brought, dtype = find(user.name, name), torch.get_default_dtype()
    if brought is not None and not isinstance(brought.guide, type | AutoGuide):
        return brought.guide
    with undisturbed():
        torch.set_default_dtype(dtype)
        if brought is None:
            guide: Any = guides.implementation(name, "pyro", settings).guide(SimpleNamespace(model=user.function))
        else:
            guide = brought.guide(user.function) if isinstance(brought.guide, type) else copied(brought.guide)
        data, static = split_arguments(values)
        data = {key: value.to(dtype) if value.is_floating_point() else value for key, value in data.items()}
        with pyro.validation_enabled(False), poutine.block():  # a factor outside of inference would warn
            caller(guide, name, user, values)(**data, **dict(static))
        for full, value in params.items():
            *path, leaf = full.split(".")[1:]  # the first is the guide's own name
            owner = guide
            for part in path:
                owner = getattr(owner, part)
            tensor = torch.as_tensor(value, dtype=dtype)
            if leaf in owner._parameters:
                owner._parameters[leaf].data = tensor
            else:  # a PyroParam, whose unconstrained parameter follows
                setattr(owner, leaf, tensor)
    rename(guide, f"{guide._pyro_name}_{next(NUMBERS)}")
    return guide


def rename(guide: Any, name: str) -> None:
    """Give a guide and the modules in it another name.

    A PyroParam takes the value that the param store has under its name, be it from another guide of the same class.
    """
    old = guide._pyro_name
    for module in guide.modules():
        if isinstance(module, PyroModule):
            module._pyro_name = name + module._pyro_name.removeprefix(old)
