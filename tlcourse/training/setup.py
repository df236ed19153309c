"""What `fit` needs around its loop: checks, Accelerate, the optimizer, the order of examples, early stopping."""

from __future__ import annotations

import atexit
import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from accelerate import Accelerator, DistributedType
from accelerate.state import AcceleratorState, PartialState
from torch import Tensor, nn
from torch.optim import Optimizer

from tlcourse.training.devices import device
from tlcourse.training.evaluation import Evaluation

MakeOptimizer = Callable[[list[nn.Parameter]], Optimizer]


def check_budget(epochs: int | None, steps: int | None) -> None:
    """Raise ValueError unless exactly one of the two is given, and is at least 1."""
    if (epochs is None) == (steps is None):
        raise ValueError("give either epochs (passes over the data) or steps (updates of the weights), and not both")
    if (epochs or steps or 0) < 1:
        raise ValueError(f"epochs={epochs}, steps={steps}: train for at least 1")


def check_positive(name: str, value: float | int | None) -> None:
    """Raise ValueError for a number that is given and is not above 0."""
    if value is not None and not value > 0:
        raise ValueError(f"{name} is {value}; it must be above 0")


def check_patience(patience: int | None, validation: Any) -> None:
    """Raise ValueError for early stopping without anything to watch."""
    if patience is None:
        return
    if patience < 1:
        raise ValueError(f"patience is {patience}; wait for at least 1 evaluation")
    if validation is None:
        raise ValueError("patience needs validation=, a dataset whose loss is watched")


def make_accelerator(precision: str | None) -> Accelerator:
    """An Accelerator for this fit. Under `accelerate launch` the launcher's settings hold where `precision` is None.

    Accelerate keeps device and precision for the whole process and refuses other ones later; a notebook wants both
    free for every fit, so they are forgotten when they change and no other process depends on them.
    """
    if precision not in (None, "bf16", "fp16"):
        raise ValueError(f'precision is {precision!r}; choose None (32 bits), "bf16" or "fp16"')
    home = device()
    if precision == "fp16" and home.type != "cuda":
        raise ValueError(f'precision="fp16" needs CUDA and this is {home.type}; use "bf16" or None')
    wanted = precision or os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    before = AcceleratorState._shared_state
    if before and (before.get("_mixed_precision") != wanted or before["device"].type != home.type):
        AcceleratorState._reset_state(reset_partial_state=before["num_processes"] == 1)
    accelerator = Accelerator(mixed_precision=wanted, cpu=home.type == "cpu", device_placement=False)
    if accelerator.num_processes > 1:
        _leave_together()
    return accelerator


@cache
def _leave_together() -> None:
    """Take the processes apart before Python ends: with gloo they may otherwise wait for each other for ever.

    They meet first, and let go of the wrapped model, which holds on to the connection through reference cycles: a
    process that is still connected when Python ends can abort.
    """
    state = PartialState()
    for step in (state.destroy_process_group, gc.collect, state.wait_for_everyone):  # the last one runs first
        atexit.register(step)


def make_optimizer(
    model: nn.Module, optimizer: Optimizer | MakeOptimizer | None, lr: float, weight_decay: float
) -> Optimizer:
    """The given optimizer, or one over the parameters that require gradients (AdamW by default).

    Raises ValueError when nothing would be trained.
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trainable:
        raise ValueError("model has no parameter that requires a gradient; unfreeze some before training")
    if optimizer is not None:
        return optimizer(trainable)
    return torch.optim.AdamW(trainable, lr=lr, weight_decay=weight_decay, fused=True)


def make_stepper(optimizer: Optimizer, accelerator: Accelerator) -> Any:
    """The optimizer, behind Accelerate's wrapper only where that does something (scaled fp16 gradients, XLA and such).

    The wrapper looks for an optional package on disk at every step, which doubles the time of a small network.
    """
    plain = {DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU}
    if accelerator.scaler is None and accelerator.distributed_type in plain:
        return optimizer
    return accelerator.prepare_optimizer(optimizer)


def updates(n: int, size: int, total: int, seed: int) -> Iterator[tuple[Tensor, bool]]:
    """Indices of the examples of each of `total` updates, and whether an epoch or the training ends with it.

    Each epoch is a new permutation drawn by `seed`; its last update may have fewer than `size` examples.
    """
    generator = torch.Generator().manual_seed(seed)
    done = 0
    while done < total:
        chunks = torch.randperm(n, generator=generator).split(size)
        for position, indices in enumerate(chunks, start=1):
            done += 1
            yield indices, position == len(chunks) or done == total
            if done == total:
                return


class Watch:
    """Early stopping: keeps the evaluations and, with `patience`, the weights of the best one."""

    def __init__(self, model: nn.Module, patience: int | None) -> None:
        self.model = model
        self.patience = patience
        self.results: list[Evaluation] = []
        self.steps: list[int] = []
        self.best: dict[str, Tensor] = {}
        self.best_index = 0

    def stop(self, step: int, result: Evaluation) -> bool:
        """Note the evaluation after `step`; True when it is time to stop."""
        self.results.append(result)
        self.steps.append(step)
        if self.patience is None:
            return False
        if not self.best or result.loss < self.results[self.best_index].loss:
            self.best_index = len(self.results) - 1
            self.best = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        return len(self.results) - 1 - self.best_index >= self.patience

    def restore(self, last_step: int) -> int:
        """Put the best weights back, if any were kept; the step that the weights are from."""
        if not self.best:
            return last_step
        self.model.load_state_dict(self.best)
        return self.steps[self.best_index]


@contextmanager
def running(wrapped: nn.Module, accelerator: Accelerator, home: torch.device, seed: int) -> Iterator[None]:
    """Random numbers of this process drawn by `seed`; afterwards the model is as it was, in evaluation mode."""
    try:
        with torch.random.fork_rng(devices=[home] if home.type == "cuda" else []):
            torch.manual_seed(seed + accelerator.process_index)
            yield
    finally:
        model = accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False)
        for left_behind in ("forward", "_is_accelerate_prepared"):  # with them the next fit would keep this precision
            model.__dict__.pop(left_behind, None)
        model.eval()


def bar(total: int, accelerator: Accelerator, show: bool) -> Any:
    """A progress bar over updates, in the main process."""
    from tqdm.auto import tqdm

    return tqdm(total=total, desc="training", disable=not (show and accelerator.is_main_process))


def summed(losses: list[float], accelerator: Accelerator, home: torch.device) -> tuple[float, ...]:
    """Each loss, added up over the processes."""
    if accelerator.num_processes == 1:
        return tuple(losses)
    shares = torch.tensor(losses, dtype=torch.float32, device=home)
    return tuple(accelerator.reduce(shares, reduction="sum").tolist())
