"""The same fine-tuning by `transformers.Trainer`, the loop that most people use for transformers."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse import models
from tlcourse.training.devices import device


def with_trainer(
    model: models.Classifier,
    texts: Any,
    *,
    epochs: int,
    lr: float,
    batch_size: int = 16,
    weight_decay: float = 0.01,
    clip: float = 1.0,
    seed: int = 0,
) -> None:
    """Train in place as `plain_loop` does with the schedule `training.warmup(0)`: the same texts in the same order.

    Trainer gives biases and normalisation layers no weight decay; all else is equal.
    """
    from torch.utils.data import DataLoader
    from transformers import Trainer, TrainingArguments

    order = torch.Generator().manual_seed(seed)
    batches = [b.tolist() for _ in range(epochs) for b in torch.randperm(len(texts), generator=order).split(batch_size)]

    read: Any = model.collate

    def collate(batch: list[list[int]]) -> dict[str, Tensor]:
        return {**read([texts.inputs[i] for i in batch[0]]), "labels": texts.labels[batch[0]]}

    class InOrder(Trainer):
        def get_train_dataloader(self) -> DataLoader[Any]:
            return DataLoader(batches, collate_fn=collate)  # type: ignore[arg-type]

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=len(batches),
            learning_rate=lr,
            weight_decay=weight_decay,
            lr_scheduler_type="linear",
            max_grad_norm=clip,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            remove_unused_columns=False,
            use_cpu=device().type == "cpu",
            seed=seed,
        )
        InOrder(_Labelled(model), arguments, train_dataset=batches).train()  # type: ignore[arg-type]
    model.eval()


class _Labelled(nn.Module):
    """A classifier behind the interface that Trainer expects: inputs and labels in, loss and logits out."""

    def __init__(self, classifier: models.Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, labels: Tensor, **inputs: Tensor) -> Mapping[str, Tensor]:
        logits = self.classifier(inputs)
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}
