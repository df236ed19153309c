"""Seven ways to use a pre-trained network and a few labels, with everything equal but the way.

Each takes a `Classifier` with a fresh head, the labelled examples and the settings of the run, and trains the model in
place. BatchNorm keeps its statistics in all of them: a few labels are no sample to estimate new ones from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from tlcourse import models, training
from tlcourse.finetuning.depth import depths
from tlcourse.finetuning.freezing import train_only
from tlcourse.finetuning.gradual_unfreezing import gradual_unfreezing
from tlcourse.finetuning.heads import check_head
from tlcourse.finetuning.l2_sp import L2SP
from tlcourse.finetuning.layer_decay import layer_decay_groups
from tlcourse.finetuning.lp_ft import start_from_probe

DECAY = 0.7  # factor of the learning rate from one stage to the one below
ALPHA = 0.1  # of L2-SP
LAST_STAGES = 2  # how many stages are "the last block": of EfficientNet, the last block and the layer on top of it
WARMUP = 0.2


@dataclass(frozen=True)
class Run:
    """Settings that all strategies share: `steps` updates of `batch_size` examples; `lr` is the head's rate."""

    steps: int
    lr: float
    batch_size: int = 16
    weight_decay: float = 0.01
    clip: float = 1.0
    seed: int = 0
    augment: Callable[[Any], Any] | None = None

    def fit(
        self,
        model: models.Classifier,
        train: Any,
        *,
        optimizer: torch.optim.Optimizer | None = None,
        loss: Callable[..., Any] | None = None,
    ) -> None:
        """`training.fit` with these settings."""
        training.fit(
            model,
            train,
            steps=self.steps,
            lr=self.lr,
            batch_size=self.batch_size,
            weight_decay=self.weight_decay,
            clip=self.clip,
            seed=self.seed,
            augment=self.augment,
            schedule=training.warmup(WARMUP),
            optimizer=optimizer,
            loss=loss,
            train_mode=False,
        )


def frozen_features(model: models.Classifier, train: Any, run: Run) -> None:
    """No weight of the network moves: a linear probe becomes the head."""
    start_from_probe(model, train)


def last_block(model: models.Classifier, train: Any, run: Run) -> None:
    """Head and last stages move; no gradient goes below them, which makes a step cheaper."""
    depth = depths(model)
    top = max(depth.values())
    train_only(model, [name for name, d in depth.items() if d >= top - LAST_STAGES])
    run.fit(model, train)


def full(model: models.Classifier, train: Any, run: Run) -> None:
    """All weights move at one rate, from a random head."""
    run.fit(model, train)


def lp_ft(model: models.Classifier, train: Any, run: Run) -> None:
    """All weights move, from the probe's head (Kumar et al. 2022)."""
    start_from_probe(model, train)
    run.fit(model, train)


def layer_decay(model: models.Classifier, train: Any, run: Run) -> None:
    """All weights move, the slower the nearer they are to the input."""
    groups = layer_decay_groups(model, lr=run.lr, decay=DECAY, weight_decay=run.weight_decay)
    run.fit(model, train, optimizer=torch.optim.AdamW(groups, fused=True))


def gradual(model: models.Classifier, train: Any, run: Run) -> None:
    """The head first, then one group of stages after the other, from the top."""
    gradual_unfreezing(
        model,
        train,
        steps=run.steps,
        lr=run.lr,
        batch_size=run.batch_size,
        weight_decay=run.weight_decay,
        schedule=training.warmup(WARMUP),
        augment=run.augment,
        clip=run.clip,
        train_mode=False,
        seed=run.seed,
    )


def l2_sp(model: models.Classifier, train: Any, run: Run) -> None:
    """All weights move at one rate, held back by a penalty on the way they have gone."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=run.lr, weight_decay=0.0, fused=True)
    run.fit(model, train, optimizer=optimizer, loss=L2SP(model, alpha=ALPHA))


STRATEGIES: dict[str, Callable[[models.Classifier, Any, Run], None]] = {
    "frozen features": frozen_features,
    "last block": last_block,
    "full": full,
    "LP-FT": lp_ft,
    "layer-wise decay": layer_decay,
    "gradual unfreezing": gradual,
    "L2-SP": l2_sp,
}


def fine_tune(model: models.Classifier, train: Any, *, strategy: str, run: Run) -> models.Classifier:
    """Train `model` in place by one of STRATEGIES; returns it, in evaluation mode.

    Raises KeyError for an unknown strategy, ValueError for a head that does not fit the labels.
    """
    if strategy not in STRATEGIES:
        raise KeyError(f"strategy {strategy!r} is unknown; choose from: {', '.join(STRATEGIES)}")
    check_head(model, train)
    STRATEGIES[strategy](model, train, run)
    return model.eval()
