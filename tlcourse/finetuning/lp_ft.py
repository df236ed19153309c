"""LP-FT: linear probing, then fine-tuning (Kumar, Raghunathan, Jones, Ma and Liang 2022, arXiv:2202.10054)."""

from __future__ import annotations

from typing import Any

import torch

from tlcourse import models, training
from tlcourse.finetuning.heads import check_head


def start_from_probe(model: models.Classifier, dataset: Any, *, l2: float = 10.0) -> training.Probe:
    """Fit a linear probe on the frozen features of `dataset` and put it in place of the head; returns the probe.

    This is the first step of LP-FT. The second is to fine-tune everything, at a smaller rate than from a random head:
    the head is right for these features already, so the first gradients that reach them are small, and they are
    distorted less (Section 3.4).

    The probe sees standardised features, the head sees them as they are: its weight is w / scale, and its bias is what
    the probe says of a feature vector of zeros. The model moves to `training.device()`.
    Raises ValueError when the head does not fit the classes.
    """
    check_head(model, dataset)
    model.to(training.device())
    features = training.features(model.backbone, dataset, cache=False)
    probe = training.probe(features, dataset.labels, l2=l2, scaling="common")
    weight = probe.weight / probe.scale
    with torch.no_grad():
        model.head.weight[probe.classes] = weight.to(model.head.weight)
        model.head.bias[probe.classes] = (probe.bias - weight @ probe.mean).to(model.head.bias)
    return probe
