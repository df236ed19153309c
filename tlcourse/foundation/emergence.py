"""Are emergent abilities a mirage? (Schaeffer, Miranda and Koyejo 2023, arXiv:2304.15004)

A model that gets better smoothly, token by token, seems to learn a task all at once when only answers without a single
wrong token count.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool
from torch import Tensor

Curve = Sequence[float] | Sequence[int] | np.ndarray


def token_accuracy(hits: Bool[Tensor, "n length"]) -> float:
    """Share of right tokens, whatever answer they are in: the smooth metric."""
    _check(hits)
    return float(hits.double().mean())


def exact_match(hits: Bool[Tensor, "n length"]) -> float:
    """Share of answers in which every token is right: the sharp metric."""
    _check(hits)
    return float(hits.all(dim=1).double().mean())


def expected_exact_match(accuracy: Curve, length: int) -> np.ndarray:
    """accuracy^length: what exact match would be if errors were independent (Section 2).

    Raises ValueError for an accuracy outside 0 … 1, or a length below 1.
    """
    p = np.asarray(accuracy, dtype=float)
    if not ((p >= 0) & (p <= 1)).all() or length < 1:
        raise ValueError(f"accuracy={accuracy}, length={length}: give shares of 0 to 1, and a length of 1 or more")
    return p**length


def answers(hits: Bool[Tensor, " n"], length: int) -> Bool[Tensor, "answers length"]:
    """Hits of a long text, cut into answers of `length` tokens; what is left over at the end is dropped.

    Raises ValueError for a length that the text does not have.
    """
    if not 1 <= length <= len(hits):
        raise ValueError(f"length is {length} and there are {len(hits)} tokens; give 1 to that")
    return hits[: len(hits) // length * length].view(-1, length)


def emergence_score(values: Curve) -> float:
    """The emergence score of BIG-bench (Srivastava et al. 2022, arXiv:2206.04615), as Schaeffer et al. use it.

    sign(argmax − argmin) · (max − min) / √(median of the squared steps), for the values of a metric in the order of
    the models' sizes. Steps that are all alike give their number; one jump in a flat curve gives much more, and a curve
    that is exactly flat but for the jump gives infinity.
    """
    y = _curve(values)
    rise = (y.max() - y.min()) * np.sign(int(y.argmax()) - int(y.argmin()))
    step = np.sqrt(np.median(np.diff(y) ** 2))
    return float(rise / step) if step > 0 else float(np.sign(rise)) * float("inf") if rise else 0.0


def largest_step(values: Curve) -> float:
    """The largest step of the curve as a share of its range: 1 / (n − 1) for even steps, 1 for a single jump.

    Unlike `emergence_score` it stays finite, and does not hang on the smallest values. A flat curve has none: 0.
    """
    y = _curve(values)
    spread = float(y.max() - y.min())
    return float(np.abs(np.diff(y)).max()) / spread if spread > 0 else 0.0


def _curve(values: Curve) -> np.ndarray:
    y = np.asarray(values, dtype=float)
    if y.ndim != 1 or len(y) < 3 or not np.isfinite(y).all():
        raise ValueError(f"values have shape {y.shape}; give one finite number for each of at least three sizes")
    return y


def _check(hits: Tensor) -> None:
    if hits.ndim != 2 or 0 in hits.shape:
        raise ValueError(f"hits have shape {tuple(hits.shape)}; give (answers, tokens), at least one of each")
