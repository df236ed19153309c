"""Measurements and photographs that scikit-learn brings along."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from tlcourse.data.choices import one_of
from tlcourse.data.containers import Images, Table
from tlcourse.data.splits import held_out


def breast_cancer(part: str = "all") -> Table:
    """Breast cancer Wisconsin, diagnostic: 569 patients, 30 measurements of cell nuclei (Wolberg et al. 1993).

    classes: "malignant" (212) and "benign" (357); the features are as published, neither centred nor scaled
    part:    "train" (398) and "test" (171) are fixed and have the same shares of the classes
    """
    one_of("part", part, ("all", "train", "test"))
    patients = _breast_cancer()
    if part == "all":
        return patients.take(range(len(patients)))
    test = held_out([f"breast_cancer/{i}" for i in range(len(patients))], patients.labels, 0.3)
    return patients.where(test if part == "test" else ~test)


@lru_cache(maxsize=1)
def _breast_cancer() -> Table:
    from sklearn.datasets import load_breast_cancer

    source = load_breast_cancer()
    return Table(
        name="breast_cancer",
        features=torch.from_numpy(source.data).float(),
        columns=tuple(map(str, source.feature_names)),
        labels=torch.from_numpy(source.target).long(),
        classes=tuple(map(str, source.target_names)),
    )


def photographs() -> Images:
    """Two photographs, a temple in China and a flower, 3 × 427 × 640 (Flickr, under Creative Commons Attribution)."""
    from sklearn.datasets import load_sample_images

    source = load_sample_images()
    pixels = torch.from_numpy(np.stack(source.images)).permute(0, 3, 1, 2).contiguous()
    return Images(name="photographs", pixels=pixels, labels=torch.tensor([0, 1]), classes=("china", "flower"))
