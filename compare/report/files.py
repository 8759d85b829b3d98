"""The files of a report, each written whole or not at all."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from compare.atomic import atomic_file


def save_text(text: str, path: Path) -> Path:
    """Write text as UTF-8."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def strict(value: Any) -> Any:
    """The same in JSON's own types. What is not a finite number becomes null; arrays become lists."""
    if isinstance(value, Mapping):
        return {str(key): strict(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return strict(value.tolist())
    if isinstance(value, list | tuple | set):
        return [strict(item) for item in value]
    if isinstance(value, np.generic):
        return strict(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)


def as_json(summary: Mapping[str, Any]) -> str:
    """A summary as strict JSON: no NaN, no Infinity."""
    return json.dumps(strict(summary), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def attribute(value: Any) -> Any:
    """What NetCDF can hold as an attribute: true and false become 1 and 0, None an empty string, the rest JSON."""
    if value is None:
        return ""
    if isinstance(value, bool | np.bool_):
        return int(value)
    if isinstance(value, str | int | float | np.integer | np.floating):
        return value
    return json.dumps(strict(value), ensure_ascii=False)


def storable(dataset: xr.Dataset) -> xr.Dataset:
    dataset = dataset.copy()
    dataset.attrs = {key: attribute(value) for key, value in dataset.attrs.items()}
    for variable in dataset.variables.values():
        variable.attrs = {key: attribute(value) for key, value in variable.attrs.items()}
        variable.encoding = {}
    return dataset


def save_draws(trees: Mapping[str, xr.DataTree], path: Path, attributes: Mapping[str, Any] | None = None) -> Path:
    """Write NetCDF with one group a fit, each an ArviZ tree; ``xarray.open_datatree`` reads it.

    Attributes: true and false are stored as 1 and 0, None as an empty string. The file is put together in memory: HDF5
    ends the process where the disk is full.
    """
    groups: dict[str, xr.Dataset] = {"/": xr.Dataset(attrs={k: attribute(v) for k, v in (attributes or {}).items()})}
    for name, tree in trees.items():
        for node in tree.subtree:
            groups["/".join(["", name, *node.path.strip("/").split("/")]).rstrip("/")] = storable(node.to_dataset())
    content = xr.DataTree.from_dict(groups).to_netcdf(engine="h5netcdf")
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)
    return Path(path)
