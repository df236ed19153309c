"""The training loop that every lesson uses, on Accelerate."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from tlcourse.training.batches import Augment, Examples, prepare
from tlcourse.training.devices import check_seed, device
from tlcourse.training.evaluation import evaluate_on
from tlcourse.training.history import History
from tlcourse.training.schedules import LearningRates, Schedule

if TYPE_CHECKING:
    from accelerate import Accelerator

Loss = Callable[[Tensor, Tensor], Tensor]
MakeOptimizer = Callable[[list[nn.Parameter]], Optimizer]


def fit(
    model: nn.Module,
    dataset: Any,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int = 32,
    lr: float = 1e-3,
    weight_decay: float = 0.01,
    optimizer: Optimizer | MakeOptimizer | None = None,
    schedule: Schedule | None = None,
    loss: Loss | None = None,
    augment: Augment | None = None,
    validation: Any = None,
    patience: int | None = None,
    accumulate: int = 1,
    precision: str | None = None,
    clip: float | None = None,
    seed: int = 0,
    progress: bool = False,
    train_mode: bool = True,
) -> History:
    """Train the parameters of `model` that require gradients, in place; the model ends in evaluation mode.

    dataset: a tlcourse.data container, or a torch Dataset of (input, label). A model with `collate` gets its inputs
    through it.
    epochs, steps: passes over the data, or updates of the weights; give exactly one.
    batch_size, accumulate: each update sees batch_size × accumulate examples, in `accumulate` forward passes of
    batch_size (fewer at the end of an epoch), shared between the processes when there are several.
    optimizer: AdamW(lr, weight_decay) by default; or a function of the list of parameters; or an optimizer.
    schedule: factor of the learning rate, schedule(step, steps); see `training.cosine` and `training.warmup`.
    loss: mean loss of (outputs, labels); cross-entropy by default.
    augment: a function of a batch's inputs (a tensor, or a list of texts) that returns its augmented copy; its random
    numbers must come from torch to be repeatable.
    validation: evaluated after each epoch and at the end. With `patience`, training stops after that many evaluations
    without a lower validation loss, and the weights of the best one are put back, stopped or not.
    precision: None, "bf16", or "fp16" (CUDA only). clip: largest norm of the gradient.
    train_mode: False keeps evaluation mode (no dropout, BatchNorm statistics frozen) while the weights train.

    The same seed gives the same weights on the same machine; torch's global random state is left as it was.
    Raises ValueError for arguments that make no sense, FloatingPointError when the loss is not finite.
    """
    from tlcourse.training import setup

    setup.check_budget(epochs, steps)
    for name, value in {"batch_size": batch_size, "accumulate": accumulate, "lr": lr, "clip": clip}.items():
        setup.check_positive(name, value)
    setup.check_patience(patience, validation)
    check_seed(seed)
    examples = Examples(dataset)
    size = batch_size * accumulate
    total = steps if steps is not None else math.ceil(examples.n / size) * (epochs or 0)

    accelerator = setup.make_accelerator(precision)
    home = device() if accelerator.num_processes == 1 else accelerator.device
    rule = setup.make_optimizer(model.to(home), optimizer, lr, weight_decay)
    measure = loss or F.cross_entropy
    update = _Update(model, examples, measure, augment, accelerator, home, batch_size=batch_size)
    rates = LearningRates(rule, schedule, total)
    stepper = setup.make_stepper(rule, accelerator)
    watch = setup.Watch(model, patience)
    losses: list[float] = []
    seen = 0
    model.train(train_mode)
    model.zero_grad()
    begun = time.perf_counter()
    with rates, setup.running(update.wrapped, accelerator, home, seed), setup.bar(total, accelerator, progress) as bar:
        for indices, end_of_epoch in setup.updates(examples.n, size, total, seed):
            losses.append(update.gradients(indices))
            if clip is not None:
                accelerator.clip_grad_norm_(model.parameters(), clip)
            rates.set(len(losses) - 1)
            stepper.step()
            rule.zero_grad()
            model.zero_grad()  # also what the optimizer does not train: clipping would count it
            seen += len(indices)
            bar.update()
            if validation is not None and end_of_epoch:
                result = evaluate_on(model, validation, home, loss=measure)
                if watch.stop(len(losses), result):
                    break
    return History(
        losses=setup.summed(losses, accelerator, home),
        validation=tuple(watch.results),
        validation_steps=tuple(watch.steps),
        steps=len(losses),
        examples=seen,
        seconds=time.perf_counter() - begun,
        stopped_early=len(losses) < total,
        best_step=watch.restore(len(losses)),
    )


@dataclass
class _Update:
    """Forward and backward passes of one update of the weights."""

    model: nn.Module
    examples: Examples
    loss: Loss
    augment: Augment | None
    accelerator: Accelerator
    home: torch.device
    batch_size: int

    def __post_init__(self) -> None:
        self.wrapped = self.accelerator.prepare_model(self.model)

    def gradients(self, indices: Tensor) -> float:
        """Leave the gradient of the mean loss over `indices` in the parameters; this process's share of that loss.

        Every part counts by its share of the examples, so that neither accumulation, nor the number of processes, nor
        a short last batch changes the gradient. Processes average their gradients, hence the factor `world`.
        """
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        parts = indices.split(self.batch_size)
        total = 0.0
        for number, batch in enumerate(parts, start=1):
            mine = batch.tensor_split(world)[rank] if world > 1 else batch
            share = len(mine) / len(indices)
            loss = self._mean_loss(mine if len(mine) else batch[:1])
            value = share * loss.item()
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"the training loss is {value}; the weights are those before this update. "
                    "Lower lr, set clip=1.0, or look for NaN in the inputs"
                )
            total += value
            loss = loss if share * world == 1 else loss * (share * world)
            if number == len(parts):
                self.accelerator.backward(loss)
            else:
                with self.accelerator.no_sync(self.wrapped):
                    self.accelerator.backward(loss)
        return total

    def _mean_loss(self, indices: Tensor) -> Tensor:
        inputs, labels = self.examples.batch(indices)
        if self.augment is not None:
            inputs = self.augment(inputs)
        outputs = self.wrapped(prepare(inputs, self.model, self.home))
        self.examples.check_labels(labels, outputs.shape[-1])
        return self.loss(outputs, labels.to(self.home))
