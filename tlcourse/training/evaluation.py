"""How good a trained model is on a dataset."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Int, Int64
from torch import Tensor, nn

from tlcourse.training.batches import Examples, prepare
from tlcourse.training.devices import device as best_device


@dataclass(frozen=True, eq=False)
class Evaluation:
    """`accuracy` and `balanced_accuracy` (mean recall of the classes that occur), 0 to 1; mean `loss` in nats;
    `predictions`: the class with the highest logit for each example; `n`: how many examples. Labels that are no classes
    leave both accuracies NaN, and `predictions` empty."""

    accuracy: float
    balanced_accuracy: float
    loss: float
    predictions: Int64[Tensor, " n"]
    n: int


def evaluate(model: nn.Module, dataset: Any, *, batch_size: int = 256) -> Evaluation:
    """Accuracy and cross-entropy of a model whose output is logits, in evaluation mode and without gradients.

    The model moves to `training.device()`; its mode (train or eval) is put back.
    Raises ValueError for an empty dataset, or labels that the model has no output for.
    """
    return evaluate_on(model.to(best_device()), dataset, best_device(), batch_size=batch_size)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode while the block lasts; then each part is in the mode in which it was."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@torch.no_grad()
def evaluate_on(
    model: nn.Module,
    dataset: Any,
    device: torch.device,
    *,
    batch_size: int = 256,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
) -> Evaluation:
    """`evaluate` on a given device, with a given mean loss."""
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; give 1 or more")
    examples = Examples(dataset)
    with evaluating(model):
        total, predictions, truths = 0.0, [], []
        for indices in torch.arange(examples.n).split(batch_size):
            inputs, labels = examples.batch(indices)
            logits = model(prepare(inputs, model, device))
            examples.check_labels(labels, logits.shape[-1])
            total += float(loss(logits, labels.to(device))) * len(indices)
            if not labels.is_floating_point():
                predictions.append(logits.argmax(dim=-1).cpu())
            truths.append(labels.cpu())
    truth = torch.cat(truths)
    if truth.is_floating_point():
        nothing = torch.empty(0, dtype=torch.long)
        return Evaluation(math.nan, math.nan, total / examples.n, nothing, examples.n)
    predicted = torch.cat(predictions)
    return Evaluation(
        accuracy=accuracy(predicted, truth),
        balanced_accuracy=balanced_accuracy(predicted, truth),
        loss=total / examples.n,
        predictions=predicted,
        n=examples.n,
    )


def accuracy(predictions: Int[Tensor, " n"], labels: Int[Tensor, " n"]) -> float:
    """Share of right predictions."""
    return float((predictions == labels).double().mean())


def balanced_accuracy(predictions: Int[Tensor, " n"], labels: Int[Tensor, " n"]) -> float:
    """Mean over the classes that occur in `labels` of the share of right predictions (recall)."""
    right = (predictions == labels).double()
    counts = torch.bincount(labels)
    recalls = torch.bincount(labels, weights=right)[counts > 0] / counts[counts > 0]
    return float(recalls.mean())
