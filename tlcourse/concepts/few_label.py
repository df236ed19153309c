"""The comparison that the course starts from: what does a pre-trained network buy when labels are few?

Each way of learning takes a training set of few labels and a test set, and returns balanced accuracy on the test set.
The two that train a network take the same number of steps with the same settings, but for the rate: one does not suit
both.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tlcourse import data, models, training

STEPS = 40
PROBE_L2 = 10.0


def frozen(backbone: torch.nn.Module, train: Any, test: Any) -> float:
    """Features of a pre-trained network that stays as it is, and a linear probe on them."""
    fitted = training.probe(training.features(backbone, train), train.labels, l2=PROBE_L2, scaling="common")
    return fitted.balanced_accuracy(training.features(backbone, test), test.labels)


def as_table(dataset: Any, features: Float[Tensor, "n dim"]) -> data.Table:
    """Frozen features are a table: `few` and `split` of it choose the same examples as those of `dataset`."""
    columns = tuple(f"feature {i}" for i in range(features.shape[1]))
    return data.Table(
        name=dataset.name,
        labels=dataset.labels,
        classes=dataset.classes,
        groups=dataset.groups,
        features=features,
        columns=columns,
    )


def probe_curve(
    train: data.Table,
    test: data.Table,
    *,
    labels: Sequence[int] = (1, 2, 5, 10, 20),
    seeds: int = 10,
    scaling: str = "common",
) -> dict[int, list[float]]:
    """Balanced accuracy on `test` of a linear probe, for each number of labels per class and each draw of them."""

    def accuracy(few: data.Table) -> float:
        fitted = training.probe(few.features, few.labels, l2=PROBE_L2, scaling=scaling)
        return fitted.balanced_accuracy(test.features, test.labels)

    return {k: [accuracy(train.few(k, seed)) for seed in range(seeds)] for k in labels}


def fine_tuned(train: Any, test: Any, *, seed: int, steps: int = STEPS, lr: float = 5e-4) -> float:
    """All weights of the pre-trained network trained on, with a new head."""
    return _trained(models.vision(), train, test, seed=seed, steps=steps, lr=lr)


def from_scratch(train: Any, test: Any, *, seed: int, steps: int = STEPS, lr: float = 3e-3) -> float:
    """The control: the same architecture, head, data, steps and schedule; the first weights are random."""
    return _trained(models.vision(pretrained=False, seed=seed), train, test, seed=seed, steps=steps, lr=lr)


def _trained(backbone: torch.nn.Module, train: Any, test: Any, *, seed: int, steps: int, lr: float) -> float:
    model = models.Classifier(backbone, train.n_classes, seed=seed)
    training.fit(
        model, train, steps=steps, lr=lr, schedule=training.warmup(0.2), augment=shift_and_flip, clip=1.0, seed=seed
    )
    return training.evaluate(model, test).balanced_accuracy


def shift_and_flip(pixels: Tensor) -> Tensor:
    """Each batch moved by up to a twelfth of its size, and half the batches mirrored: what keeps a picture's class."""
    reach = pixels.shape[-1] // 12
    down, right = (torch.randint(-reach, reach + 1, (2,))).tolist()
    moved = torch.roll(pixels, (down, right), (-2, -1))
    return moved.flip(-1) if torch.rand(()) < 0.5 else moved


def raw_pixels(images: Any, *, size: int = 16) -> Float[Tensor, "n _"]:
    """The second control, without any network: the pictures shrunk to size × size and flattened, 0 … 1."""
    small = torch.nn.functional.interpolate(images.pixels.float(), size=size, mode="area")
    return small.flatten(1) / 255


def labels_saved(labels: Sequence[int], transfer: Sequence[float], control: Sequence[float], k: int) -> float:
    """How many times more labels the control needs to be as good as transfer is with k.

    The control's curve is read off between its points on a logarithmic axis of labels; `math.inf` when it never gets
    there. 1 or less means that transfer saves nothing.

    Raises ValueError when k is not among `labels`, these do not rise, or the curves have other lengths.
    """
    if not len(labels) == len(transfer) == len(control) or sorted(set(labels)) != list(labels):
        raise ValueError("labels must rise, with one value of transfer and one of control for each")
    if k not in labels:
        raise ValueError(f"k={k} is not on the curve; choose from {list(labels)}")
    goal = transfer[list(labels).index(k)]
    if control[0] >= goal:
        return labels[0] / k
    for i in range(1, len(labels)):
        if control[i] >= goal:
            share = (goal - control[i - 1]) / (control[i] - control[i - 1])
            return math.exp(math.log(labels[i - 1]) + share * math.log(labels[i] / labels[i - 1])) / k
    return math.inf
