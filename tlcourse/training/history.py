"""What a training run leaves behind."""

from __future__ import annotations

from dataclasses import dataclass

from tlcourse.training.evaluation import Evaluation


@dataclass(frozen=True, eq=False)
class History:
    """The course of one `fit`.

    `losses`: training loss of each step. `validation`: one evaluation at the end of each epoch (empty without a
    validation set), at the steps `validation_steps`. `steps`: how often the weights were updated; `examples`: how many
    examples went through, with repeats. `seconds`: wall time. `best_step`: the step whose weights the model has now.
    """

    losses: tuple[float, ...]
    validation: tuple[Evaluation, ...]
    validation_steps: tuple[int, ...]
    steps: int
    examples: int
    seconds: float
    stopped_early: bool
    best_step: int
