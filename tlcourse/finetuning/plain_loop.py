"""Fine-tuning written out by hand, for a model that reads: what `training.fit` and `transformers.Trainer` do inside."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from tlcourse.training.devices import device
from tlcourse.training.schedules import Schedule


def plain_loop(
    model: nn.Module,
    texts: Any,
    *,
    epochs: int,
    lr: float,
    batch_size: int = 16,
    weight_decay: float = 0.01,
    schedule: Schedule | None = None,
    clip: float = 1.0,
    seed: int = 0,
) -> list[float]:
    """Train all weights of a classifier of texts, in place; returns the loss of each step (nats).

    texts: a tlcourse.data container with `inputs` and `labels`. model: has `collate`, and returns logits. `seed` draws
    the order; dropout draws from torch's global numbers.
    Raises ValueError when there is nothing to train on, or a number that makes no sense.
    """
    if len(texts) == 0 or epochs < 1 or batch_size < 1 or not lr > 0 or not clip > 0:
        raise ValueError(
            f"{len(texts)} texts, epochs={epochs}, batch_size={batch_size}, lr={lr}, clip={clip}: all must be above 0"
        )
    collate: Any = model.collate
    home = device()
    order = torch.Generator().manual_seed(seed)
    batches = [b for _ in range(epochs) for b in torch.randperm(len(texts), generator=order).split(batch_size)]
    optimizer = torch.optim.AdamW(model.to(home).parameters(), lr=lr, weight_decay=weight_decay, fused=True)
    losses = []
    model.train()
    for step, batch in enumerate(batches):
        inputs = {key: value.to(home) for key, value in collate([texts.inputs[i] for i in batch]).items()}
        loss = F.cross_entropy(model(inputs), texts.labels[batch].to(home))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        for group in optimizer.param_groups:
            group["lr"] = lr * (schedule(step, len(batches)) if schedule else 1)
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    return losses
