"""Ready-made tests for checks. Each raises `CheckFailed` in the words of the check's author."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch

from tlcourse.checks.friendly import CheckFailed

_NOT_FINITE = "Is something divided by zero, or is it the logarithm of zero?"


def expect(condition: object, *, tried: str, got: str, misconception: str) -> None:
    """Raise CheckFailed with these words unless `condition` holds."""
    if not condition:
        raise CheckFailed(tried=tried, got=got, misconception=misconception)


def tensor(value: object, shape: tuple[int, ...] | None = None, *, tried: str, misconception: str = "") -> Any:
    """`value` as a torch tensor, or CheckFailed if it is none, has another shape or holds NaN or infinity."""
    if not isinstance(value, torch.Tensor):
        kind = type(value).__name__
        hint = "Is the `return` missing?" if value is None else "Return a torch tensor."
        raise CheckFailed(tried=tried, got=f"{kind}, not a tensor", misconception=hint)
    if shape is not None and tuple(value.shape) != tuple(shape):
        got = f"shape {tuple(value.shape)}, not {tuple(shape)}"
        raise CheckFailed(
            tried=tried, got=got, misconception=misconception or "Follow the shapes through your code, line by line."
        )
    if not torch.isfinite(value).all():
        raise CheckFailed(
            tried=tried,
            got="NaN or infinity",
            misconception=_NOT_FINITE,
        )
    return value.detach()


def number(value: object, *, tried: str, misconception: str = "") -> float:
    """`value` as a finite float (a tensor or array of one element counts), or CheckFailed."""
    try:
        result = float(value.item() if hasattr(value, "item") else value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        hint = "Is the `return` missing?" if value is None else misconception or "Return one number."
        shape = f" of shape {tuple(value.shape)}" if hasattr(value, "shape") else ""
        raise CheckFailed(
            tried=tried, got=f"{type(value).__name__}{shape}, not one number", misconception=hint
        ) from None
    if not math.isfinite(result):
        raise CheckFailed(tried=tried, got=str(result), misconception=_NOT_FINITE)
    return result


def close(
    got: object,
    expected: Any,
    *,
    tried: str,
    misconception: str,
    known: Iterable[tuple[Any, str]] = (),
    tolerance: float = 1e-5,
) -> None:
    """CheckFailed unless `got` equals `expected` (a tensor or a number) within an absolute and relative `tolerance`.

    `known` are wrong results, each with its own misconception; where none of them came out, `misconception` is said.
    They are looked at only when the result is not right: chance can make a wrong way give the right result.
    """
    found: Any
    if isinstance(expected, torch.Tensor):
        found = tensor(got, tuple(expected.shape), tried=tried)
        gap = (found.double().cpu() - expected.detach().double().cpu()).abs().max().item() if found.numel() else 0.0
        said = f"differs from the right result by up to {gap:.2g}"
    else:
        found = number(got, tried=tried)
        said = f"{found:.6g}, not {float(expected):.6g}"
    if not _same(found, expected, tolerance):
        likely = next((reason for wrong, reason in known if _same(found, wrong, tolerance)), misconception)
        raise CheckFailed(tried=tried, got=said, misconception=likely)


def _same(found: Any, other: Any, tolerance: float) -> bool:
    """Whether two tensors or two numbers are equal within an absolute and relative tolerance."""
    if isinstance(found, torch.Tensor):
        a, b = found.double().cpu(), other.detach().double().cpu()
        return a.shape == b.shape and torch.allclose(a, b, atol=tolerance, rtol=tolerance)
    value = float(other)
    return math.isfinite(value) and abs(found - value) <= tolerance * max(1.0, abs(value))


def raises(kind: type[Exception], call: Callable[[], object], *, tried: str, misconception: str) -> None:
    """CheckFailed unless `call()` raises `kind`: for answers that must refuse bad input."""
    try:
        result = call()
    except kind:
        return
    except NotImplementedError:
        raise
    except Exception as error:
        got = f"{type(error).__name__}, not {kind.__name__}"
        raise CheckFailed(tried=tried, got=got, misconception=misconception) from None
    raise CheckFailed(tried=tried, got=f"no error, but {type(result).__name__}", misconception=misconception)
