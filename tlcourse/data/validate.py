"""Checks of the containers' fields: each error names the field, what was expected and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a {str(value.dtype).removeprefix('torch.')} tensor of shape {tuple(value.shape)}"
    return f"a {type(value).__name__}"


def _vector(field: str, value: object, dtype: torch.dtype) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError(f"{field} must be a tensor, got {_describe(value)}; write torch.tensor(...) around it")
    if value.ndim != 1 or value.dtype != dtype:
        kind = str(dtype).removeprefix("torch.")
        raise ValueError(
            f"{field} must be a 1-D {kind} tensor, got {_describe(value)}; "
            f"convert it with .flatten() or .to(torch.{kind})"
        )
    return value


def strings(field: str, values: object) -> tuple[str, ...]:
    """The values as a tuple, each of them a string."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise TypeError(f"{field} must be a tuple of strings, got {_describe(values)}")
    for i, value in enumerate(values):
        if not isinstance(value, str):
            raise TypeError(f"{field}[{i}] must be a string, got {value!r}; convert it with str(...)")
    return tuple(values)


def length(field: str, got: int, n: int) -> None:
    """As many entries as there are labels."""
    if got != n:
        raise ValueError(f"{field} has {got} items but labels has {n}; give one of each per item")


def labels(value: object, classes: object) -> int:
    """Check labels against the class names; return the number of items."""
    tensor, names = _vector("labels", value, torch.int64), strings("classes", classes)
    if not names or len(set(names)) != len(names):
        raise ValueError(f"classes must be one or more different names, got {list(names)[:10]}; name each class once")
    if len(tensor) == 0:
        raise ValueError(
            "labels is empty: a dataset needs at least one item; check the mask or filter that chose the items"
        )
    low, high = int(tensor.min()), int(tensor.max())
    if low < 0 or high >= len(names):
        bad = low if low < 0 else high
        raise ValueError(
            f"labels has the value {bad}, but {len(names)} classes allow 0 … {len(names) - 1}; "
            "renumber the labels or name every class"
        )
    return len(tensor)


def groups(value: object, n: int) -> None:
    """A group number for each item."""
    length("groups", len(_vector("groups", value, torch.int64)), n)


def meta(value: object, n: int) -> dict[str, tuple[str, ...]]:
    """The columns as tuples of strings, one string for each item."""
    if not isinstance(value, Mapping):
        raise TypeError(f"meta must map column names to tuples of strings, got {_describe(value)}")
    columns = {str(key): strings(f"meta[{key!r}]", column) for key, column in value.items()}
    for key, column in columns.items():
        length(f"meta[{key!r}]", len(column), n)
    return columns


def pixels(value: object) -> None:
    """Bytes with one or three channels."""
    if not isinstance(value, Tensor):
        raise TypeError(f"pixels must be a tensor, got {_describe(value)}; write torch.from_numpy(array) around it")
    if value.dtype != torch.uint8:
        raise ValueError(
            f"pixels must hold bytes 0 … 255 (uint8), got {_describe(value)}; "
            "convert with (x * 255).round().to(torch.uint8)"
        )
    if value.ndim != 4 or value.shape[1] not in (1, 3) or 0 in value.shape[2:]:
        raise ValueError(
            f"pixels must have the shape (items, 1 or 3 channels, height, width), got {tuple(value.shape)}; "
            "permute or unsqueeze it"
        )


def texts(value: object) -> tuple[str, ...]:
    """Strings with something in them."""
    checked = strings("texts", value)
    for i, text in enumerate(checked):
        if not text.strip():
            raise ValueError(f"texts[{i}] is empty; leave empty texts out")
    return checked


def features(value: object, columns: Sequence[str]) -> None:
    """Finite numbers, a name for each column."""
    if not isinstance(value, Tensor):
        raise TypeError(f"features must be a tensor, got {_describe(value)}; write torch.from_numpy(array) around it")
    if value.ndim != 2 or not value.is_floating_point():
        raise ValueError(
            f"features must be a floating-point tensor of shape (items, columns), got {_describe(value)}; "
            "convert with .float()"
        )
    if len(strings("columns", columns)) != value.shape[1] or len(set(columns)) != len(columns):
        raise ValueError(
            f"columns must be {value.shape[1]} different names, one per column of features, "
            f"got {len(columns)}: {list(columns)[:10]}"
        )
    bad = (~torch.isfinite(value)).nonzero()
    if len(bad):
        row, column = bad[0].tolist()
        raise ValueError(
            f"features has {float(value[row, column])} in row {row}, column {columns[column]!r}; "
            "drop the row or fill the gap"
        )


def indices(value: object, n: int) -> Tensor:
    """Positions as a non-empty int64 vector inside 0 … n − 1."""
    if isinstance(value, Tensor):
        index = _vector("indices", value, torch.int64).cpu()
    elif isinstance(value, Sequence) and all(type(i) is int for i in value):
        index = torch.tensor(list(value), dtype=torch.int64)
    else:
        raise TypeError(
            f"indices must be an int64 tensor or whole numbers, got {_describe(value)}; "
            "for true/false values use where(mask)"
        )
    if len(index) == 0:
        raise ValueError("indices is empty: nothing would be left; choose at least one item")
    bad = index[(index < 0) | (index >= n)]
    if len(bad):
        raise ValueError(f"indices has {int(bad[0])}, but there are {n} items: use 0 … {n - 1}")
    return index


def mask(value: object, n: int) -> Tensor:
    """A truth value for each item, true at least once."""
    tensor = _vector("mask", value, torch.bool).cpu()
    length("mask", len(tensor), n)
    if not tensor.any():
        raise ValueError("mask is false everywhere: nothing would be left; choose at least one item")
    return tensor
