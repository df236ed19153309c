"""The checks that the methods of this part make of their arguments."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def domain(features: Tensor, name: str, *, least: int = 2) -> Tensor:
    """Features as float64 on the CPU. Raises ValueError unless they are (n ≥ least, dim), floats and finite."""
    if features.ndim != 2 or len(features) < least or features.shape[1] == 0 or not features.is_floating_point():
        raise ValueError(
            f"{name} is {features.dtype} of shape {tuple(features.shape)}; expected floats (n, dim) with n ≥ {least}"
        )
    if not torch.isfinite(features).all():
        raise ValueError(f"{name} holds NaN or infinity; look for a network that diverged, or a missing measurement")
    return features.detach().cpu().double()


def domains(source: Tensor, target: Tensor, *, least: int = 2) -> tuple[Tensor, Tensor]:
    """Both checked. Raises ValueError when they are not equally wide."""
    pair = domain(source, "source", least=least), domain(target, "target", least=least)
    same_width(source, target)
    return pair


def same_width(source: Tensor, target: Tensor) -> None:
    """Raise ValueError unless both are (n ≥ 2, dim) with the same dim; nothing is copied, so that gradients flow."""
    if source.ndim != 2 or target.ndim != 2 or min(len(source), len(target)) < 2:
        raise ValueError(
            f"source is {tuple(source.shape)} and target {tuple(target.shape)}; expected (n, dim) with n ≥ 2 of both"
        )
    if source.shape[1] != target.shape[1]:
        raise ValueError(
            f"source is {source.shape[1]} wide and target {target.shape[1]}; take both from the same backbone"
        )


def whole_numbers(labels: Tensor, n: int, name: str) -> Tensor:
    """Labels on the CPU. Raises ValueError unless they are n whole numbers, 0 or more."""
    if labels.ndim != 1 or len(labels) != n or labels.is_floating_point():
        raise ValueError(f"{name} are {labels.dtype} of shape {tuple(labels.shape)}; expected {n} class numbers")
    if len(labels) and int(labels.min()) < 0:
        raise ValueError(f"{name} hold {int(labels.min())}; class numbers begin at 0")
    return labels.detach().cpu().long()


def shares(values: Tensor, name: str) -> Tensor:
    """Class shares as float64. Raises ValueError unless they are above 0 and add up to 1."""
    values = torch.as_tensor(values).detach().cpu().double()
    if values.ndim != 1 or len(values) < 2 or not torch.isfinite(values).all():
        raise ValueError(f"{name} are {values.tolist()}; give one share for each class, two classes or more")
    if (values <= 0).any():
        absent = int(values.argmin())
        raise ValueError(
            f"{name} give class {absent} a share of {float(values[absent]):g}; a class that is absent cannot be "
            "weighted back in, so leave it out of both domains, or give it a share above 0"
        )
    if abs(float(values.sum()) - 1) > 1e-4:
        raise ValueError(f"{name} add up to {float(values.sum()):.4f}; divide them by their sum")
    return values


def check_item(value: float) -> None:
    """Raise ValueError for an item of a stream that is not finite."""
    if not math.isfinite(value):
        raise ValueError(f"value is {value}; a stream of errors has 0 and 1, and no gaps: skip what has no label")


def same_classes(source: Any, target: Any) -> None:
    """Raise ValueError for datasets whose classes differ, or that are not of the same kind."""
    if type(source) is not type(target):
        raise ValueError(
            f"source is a {type(source).__name__} and target a {type(target).__name__}; adaptation needs the same kind "
            "of input in both"
        )
    if tuple(source.classes) != tuple(target.classes):
        raise ValueError(
            f"source has the classes {_few(source.classes)} and target {_few(target.classes)}; keep those that both "
            "have with dataset.only([...]), in one order: aligning different label sets pulls strangers together"
        )


def _few(classes: tuple[str, ...]) -> str:
    return ", ".join(classes[:4]) + (f", … ({len(classes)})" if len(classes) > 4 else "")
