"""Handwritten digits from two sources: MNIST (28 × 28) and the optical recognition set of UCI (8 × 8)."""

from __future__ import annotations

import gzip
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from tlcourse import assets
from tlcourse.data.choices import one_of
from tlcourse.data.containers import Images
from tlcourse.data.splits import held_out
from tlcourse.data.stamps import stamps

CLASSES = tuple("0123456789")

# The items of optdigits come form by form, and each form has the same sequence of digits. A form was filled in by one
# person, so forms are the groups. These are their first items, found from the labels (a test finds them again).
FORMS = (0, 130, 256, 386, 516, 646, 776, 905, 1029, 1157, 1287, 1415, 1543, 1667)
FIRST_TEST_FORM = 10


def mnist(part: str = "all") -> Images:
    """5,000 digits of MNIST, 1 × 28 × 28, 500 of each class (LeCun et al. 1998).

    part: "train" (4,000) and "test" (1,000) are fixed. The 5,000 are a part of MNIST's training set, and who wrote
    which is not known, so one writer may be in both parts.
    """
    one_of("part", part, ("all", "train", "test"))
    digits = _mnist()
    if part == "all":
        return digits.take(range(len(digits)))
    test = held_out([f"mnist5k/{i}" for i in range(len(digits))], digits.labels, 0.2)
    return digits.where(test if part == "test" else ~test)


def optdigits(part: str = "all") -> Images:
    """1,797 digits, 1 × 8 × 8, from 0 (paper) to 255 (ink) in 17 steps (Alpaydin and Kaynak 1998).

    part: "train" (1,287) and "test" (510) share no form, and so hardly a writer. `groups` and the column `form` of
    `meta` say on which of the 14 forms a digit was written.
    """
    one_of("part", part, ("all", "train", "test"))
    digits = _optdigits()
    if part == "all":
        return digits.take(range(len(digits)))
    test = digits.groups >= FIRST_TEST_FORM
    return digits.where(test if part == "test" else ~test)


@lru_cache(maxsize=1)
def _mnist() -> Images:
    folder = assets.derived("mnist", {"recipe": 1, **stamps("mnist5k")}, _parse_mnist)
    stored = load_file(folder / "mnist.safetensors")
    return Images(name="mnist", pixels=stored["pixels"], labels=stored["labels"], classes=CLASSES)


def _parse_mnist(folder: Path) -> None:
    """Turn the table (784 grey levels and the label in each row) into tensors: parsing takes a second."""
    with gzip.open(assets.path("mnist5k", "mnist_5k.csv.gz"), "rt") as file:
        rows = torch.from_numpy(np.loadtxt(file, delimiter=",", dtype=np.float32))
    pixels = rows[:, :784].to(torch.uint8).reshape(-1, 1, 28, 28).contiguous()
    save_file({"pixels": pixels, "labels": rows[:, 784].long()}, folder / "mnist.safetensors")


@lru_cache(maxsize=1)
def _optdigits() -> Images:
    from sklearn.datasets import load_digits

    source = load_digits()
    grey = torch.from_numpy(source.images / 16 * 255).round().to(torch.uint8)
    labels = torch.from_numpy(source.target).long()
    form = torch.bucketize(torch.arange(len(labels)), torch.tensor(FORMS), right=True) - 1
    return Images(
        name="optdigits",
        pixels=grey[:, None].contiguous(),
        labels=labels,
        classes=CLASSES,
        groups=form,
        meta={"form": tuple(map(str, form.tolist()))},
    )
