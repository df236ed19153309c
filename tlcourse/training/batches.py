"""One view of every dataset: how many examples, and the batch at some indices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

Augment = Callable[[Any], Any]


class Examples:
    """Inputs and labels by index.

    Tensors are indexed in one go, without a Python loop over the items of a batch. A `torch.utils.data.Dataset` of
    (input, label) pairs is read item by item. Raises TypeError or ValueError when `dataset` is neither, or is empty.
    """

    def __init__(self, dataset: Any, *, argument: str = "dataset") -> None:
        self.dataset = dataset
        self.paired = not (hasattr(dataset, "inputs") and hasattr(dataset, "labels"))
        if self.paired and not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
            raise TypeError(
                f"{argument} is a {type(dataset).__name__}; give a tlcourse.data container, or a "
                "torch.utils.data.Dataset of (input, label) with a length"
            )
        self.n = len(dataset)
        self._checked = False
        if self.n == 0:
            raise ValueError(f"{argument} is empty; give at least one example")
        if not self.paired and not len(dataset.inputs) == len(dataset.labels) == self.n:
            raise ValueError(
                f"{argument} has {len(dataset.inputs)} inputs and {len(dataset.labels)} labels; each input needs one"
            )

    def inputs(self, indices: Tensor) -> Any:
        """A tensor, or a list of whatever the inputs are."""
        if self.paired:
            return self._stacked([self._pair(i)[0] for i in indices.tolist()])
        inputs = self.dataset.inputs
        return inputs[indices] if isinstance(inputs, Tensor) else [inputs[i] for i in indices.tolist()]

    def labels(self, indices: Tensor) -> Tensor:
        """Labels at `indices`."""
        if not self.paired:
            return _numbers(torch.as_tensor(self.dataset.labels)[indices])
        return self._labels([self._pair(i) for i in indices.tolist()])

    def batch(self, indices: Tensor) -> tuple[Any, Tensor]:
        """Inputs and labels at `indices`; a dataset of pairs is read once for both."""
        if not self.paired:
            return self.inputs(indices), self.labels(indices)
        pairs = [self._pair(i) for i in indices.tolist()]
        return self._stacked([pair[0] for pair in pairs]), self._labels(pairs)

    def check_labels(self, labels: Tensor, n_outputs: int) -> None:
        """Raise ValueError for class labels that a model with `n_outputs` has no output for.

        All labels are looked at once where they are at hand; those of a dataset of pairs batch by batch.
        """
        if self._checked:
            return
        if not self.paired:
            labels, self._checked = torch.as_tensor(self.dataset.labels), True
        if labels.is_floating_point():
            return
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= n_outputs:
            raise ValueError(
                f"labels run from {low} to {high}, but the model has {n_outputs} outputs (classes 0 to "
                f"{n_outputs - 1}); give it one output for each class"
            )

    def _pair(self, index: int) -> Sequence[Any]:
        pair = self.dataset[index]
        if not isinstance(pair, Sequence) or len(pair) != 2:
            raise TypeError(f"dataset[{index}] is a {type(pair).__name__}; expected a pair (input, label)")
        return pair

    @staticmethod
    def _labels(pairs: Sequence[Sequence[Any]]) -> Tensor:
        return _numbers(torch.stack([torch.as_tensor(pair[1]) for pair in pairs]))

    @staticmethod
    def _stacked(items: list[Any]) -> Any:
        return torch.stack(items) if all(isinstance(item, Tensor) for item in items) else items


def _numbers(labels: Tensor) -> Tensor:
    """Classes in the type that the losses take, whatever they are counted in; numbers as they are."""
    return labels if labels.is_floating_point() else labels.long()


def prepare(inputs: Any, model: nn.Module, device: torch.device) -> Any:
    """What the model takes: `model.collate(list)` where it has one, on `device`.

    Raises TypeError for inputs that are no tensors, from a model that does not collate.
    """
    collate = getattr(model, "collate", None)
    if not isinstance(inputs, Tensor):
        if collate is None:
            raise TypeError(
                f"inputs are {type(inputs[0]).__name__}; {type(model).__name__} has no collate to make tensors of them"
            )
        inputs = cast("Callable[[Any], Any]", collate)(inputs)
    if isinstance(inputs, Tensor):
        return inputs.to(device)
    return {key: value.to(device) for key, value in inputs.items()}
