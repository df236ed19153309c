"""A model in use on a stream: predict first, learn when the label comes (prequential evaluation, Gama, Sebastião and
Rodrigues 2013, Machine Learning 90, "On evaluating stream learning algorithms")."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor


@runtime_checkable
class OnlineModel(Protocol):
    """What `prequential` needs of a model."""

    def predict(self, features: Any) -> int:
        """The class of one item."""

    def learn(self, features: Any, label: int) -> None:
        """One step on one item."""

    def reset(self) -> None:
        """Forget everything."""


@runtime_checkable
class Detector(Protocol):
    """`Adwin`, `PageHinkley`, or one of your own. `rose`: whether the last alarm was about a rise."""

    rose: bool

    def update(self, value: float) -> bool:
        """Add 0 or 1 for a right or wrong prediction; True for an alarm."""

    def reset(self) -> None:
        """Start anew."""


class OnlineLogistic:
    """Logistic regression that takes one step of gradient descent on each labelled item."""

    def __init__(self, dim: int, n_classes: int, *, lr: float = 0.1) -> None:
        if dim < 1 or n_classes < 2 or not lr > 0:
            raise ValueError(f"dim is {dim}, n_classes {n_classes}, lr {lr}; give 1, 2 or more, and a rate above 0")
        self.weight, self.bias, self.lr = torch.zeros(n_classes, dim), torch.zeros(n_classes), lr

    def predict(self, features: Float[Tensor, " dim"]) -> int:
        """The class with the highest score."""
        return int((self.weight @ features + self.bias).argmax())

    def learn(self, features: Float[Tensor, " dim"], label: int) -> None:
        """w ← w − lr · (p − onehot(label)) xᵀ, the gradient of the cross-entropy."""
        error = (self.weight @ features + self.bias).softmax(dim=0)
        error[label] -= 1
        self.weight -= self.lr * torch.outer(error, features)
        self.bias -= self.lr * error

    def reset(self) -> None:
        """All weights 0."""
        self.weight.zero_()
        self.bias.zero_()


@dataclass(frozen=True, eq=False)
class Prequential:
    """`predictions`: what was said of each item when it came; `right`: 1 or 0, NaN where no label ever came; `alarms`:
    the items at which the detector found more errors than before."""

    predictions: Int64[Tensor, " n"]
    right: Float[Tensor, " n"]
    alarms: tuple[int, ...]

    @property
    def accuracy(self) -> float:
        """Over the whole stream."""
        return float(self.right.nanmean())

    def moving(self, window: int) -> Float[Tensor, " n"]:
        """Accuracy over the last `window` items at each item (over fewer at the start; NaN while none has a label)."""
        known = ~self.right.isnan()
        sums = [torch.cat([torch.zeros(1), v.float().cumsum(0)]) for v in (self.right.nan_to_num(), known)]
        ends = torch.arange(1, len(known) + 1)
        starts = (ends - window).clamp(min=0)
        return (sums[0][ends] - sums[0][starts]) / (sums[1][ends] - sums[1][starts])


def prequential(
    model: OnlineModel,
    inputs: Any,
    labels: Int[Tensor, " n"],
    *,
    delay: int = 0,
    detector: Detector | None = None,
) -> Prequential:
    """Walk through the stream once: predict each item, and learn from it when its label comes, `delay` items later.

    A label of −1 never comes. The detector is told of each error when it is known. When it finds that errors have
    become more, model and detector are reset: what they know is of the world before. Labels that are still on their way
    are newer than the one that gave the alarm, so the new model learns from them; but those errors are of the old
    model, and the detector is not told of them. That errors become fewer, as they do while a model learns, is no
    reason to forget.
    Raises ValueError for labels that do not fit the inputs, or a stream without any label.
    """
    n = len(inputs)
    if labels is None or len(labels) != n or n == 0 or delay < 0:
        raise ValueError(
            f"{n} inputs, {'no' if labels is None else len(labels)} labels, delay {delay}; give a label for each input "
            "(−1 where it never comes), and a delay of 0 or more"
        )
    if bool((labels < 0).all()):
        raise ValueError(
            "the stream has no labels, so errors cannot be counted and nothing can be learned; compare windows of the "
            "inputs with a two-sample test, or have some items labelled"
        )
    predictions, right, alarms = torch.empty(n, dtype=torch.int64), torch.full((n,), torch.nan), []
    waiting: deque[int] = deque()
    since = 0  # the first item that was predicted after the last alarm
    for now in range(n):
        predictions[now] = model.predict(inputs[now])
        waiting.append(now)
        while waiting and waiting[0] <= now - delay:
            item = waiting.popleft()
            label = int(labels[item])
            if label < 0:
                continue
            right[item] = float(predictions[item] == label)
            wrong = 1.0 - float(right[item])
            if detector is not None and item >= since and detector.update(wrong) and detector.rose:
                alarms.append(now)
                model.reset()
                detector.reset()
                since = now + 1
            model.learn(inputs[item], label)
    for item in range(n):  # what was still on its way counts for the accuracy
        if right[item].isnan() and int(labels[item]) >= 0:
            right[item] = float(predictions[item] == int(labels[item]))
    return Prequential(predictions, right, tuple(alarms))
