"""Does an answer unfreeze stage after stage from the top, with one optimizer that keeps what it has learned?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tlcourse.checks.base import CheckFailed
from tlcourse.checks.expect import expect

Answer = Callable[..., Any]
STAGES, STEPS = 4, 3


def check_gradual(answer: Answer) -> None:
    """CheckFailed unless answer(stages, train_phase, lr) trains the head, then one stage more in each phase."""
    lr = 0.001 + 0.01 * float(torch.rand(()))
    lab = Lab(lr)
    try:
        answer(lab.stages, lab.train_phase, lr)
    except ValueError as error:
        if "more than one parameter group" not in str(error):
            raise
        raise CheckFailed(
            tried=f"gradual(stages, train_phase, lr) with {STAGES} stages",
            got=f"after {lab.phase} phases PyTorch refused a group: {error}",
            misconception="A stage joins once. In each phase add only the stage that is new.",
        ) from None
    expect(
        lab.phase == STAGES,
        tried=f"gradual(stages, train_phase, lr) with {STAGES} stages, to its end",
        got=f"train_phase was called {lab.phase} times",
        misconception="Call it once in each phase. There are as many phases as stages: the last one trains them all.",
    )


class Lab:
    """The `train_phase` that an answer is given: it judges the optimizer, then takes some steps with it."""

    def __init__(self, lr: float) -> None:
        self.lr = lr
        self.stages = [nn.Sequential(nn.Linear(6, 6), nn.Tanh()) for _ in range(STAGES)]
        self.phase = 0
        self.learned: dict[nn.Parameter, dict[str, Any]] = {}

    def train_phase(self, optimizer: object) -> None:
        """CheckFailed unless this is the right optimizer for the next phase."""
        self.phase += 1
        tried = f"gradual(stages, train_phase, lr) with {STAGES} stages, at the beginning of phase {self.phase}"
        expect(
            isinstance(optimizer, Optimizer),
            tried=tried,
            got=f"`train_phase` was given {type(optimizer).__name__}",
            misconception="It takes the optimizer: `train_phase(optimizer)`.",
        )
        assert isinstance(optimizer, Optimizer)
        expect(
            self.phase <= STAGES,
            tried=tried,
            got=f"a phase more than there are stages, which are {STAGES}",
            misconception="The head alone is the first phase, so there are as many phases as stages.",
        )
        self._check_stages(optimizer, tried)
        self._check_rates(optimizer, tried)
        self._check_state(optimizer, tried)
        self._train(optimizer, tried)

    def _check_stages(self, optimizer: Optimizer, tried: str) -> None:
        held = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
        opened = {i for i, stage in enumerate(self.stages) if any(w.requires_grad for w in stage.parameters())}
        known = {i for i, stage in enumerate(self.stages) if any(id(w) in held for w in stage.parameters())}
        got = f"{_names(opened)} {'have' if len(opened) > 1 else 'has'} requires_grad=True, "
        got += f"the optimizer holds {_names(known)}"
        misconception = _fault(self.phase, opened, known)
        expect(not misconception, tried=tried, got=got, misconception=misconception)
        left = [w for i in opened for w in self.stages[i].parameters() if not w.requires_grad or id(w) not in held]
        expect(
            not left,
            tried=tried,
            got=f"{len(left)} weights or biases of {_names(opened)} left out",
            misconception="A stage joins with all of its parameters.",
        )

    def _check_rates(self, optimizer: Optimizer, tried: str) -> None:
        rates = sorted({float(group["lr"]) for group in optimizer.param_groups})
        expect(
            all(abs(rate - self.lr) < 1e-6 * self.lr for rate in rates),
            tried=tried,
            got=f"the rates {', '.join(f'{rate:.3g}' for rate in rates)}, where lr is {self.lr:.3g}",
            misconception="Here every stage learns at `lr`. A group that joins without one takes the optimizer's.",
        )

    def _check_state(self, optimizer: Optimizer, tried: str) -> None:
        """What the optimizer has learned about a weight is what it knew at the end of the phase before."""
        for weight, before in self.learned.items():
            now = optimizer.state.get(weight, {})
            expect(
                all(name in now and _same(now[name], value) for name, value in before.items()),
                tried=tried,
                got=f"{_step(now)} steps noted for a weight of a stage that has taken {_step(before)}",
                misconception="A new optimizer in each phase forgets what Adam has learned of the gradients' size, "
                "and its first steps are as long as can be. Keep one, and let stages join with add_param_group.",
            )

    def _train(self, optimizer: Optimizer, tried: str) -> None:
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = nn.Sequential(*self.stages)(torch.randn(8, 6)).square().mean()
            loss.backward()
            optimizer.step()
        for group in optimizer.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self.learned[weight] = {name: _copy(value) for name, value in optimizer.state[weight].items()}
        expect(
            any(self.learned.values()),
            tried=tried.replace("beginning", "end"),
            got=f"{type(optimizer).__name__} has kept nothing about any weight",
            misconception="This optimizer has no memory. The task is about one that has: torch.optim.Adam.",
        )


def _fault(phase: int, opened: set[int], known: set[int]) -> str:
    """The misconception behind these sets of stages, or nothing. Stage 0 is next to the input."""
    new, wanted, live = STAGES - phase, set(range(STAGES - phase, STAGES)), opened & known
    if phase < STAGES and len(live) == STAGES:
        return "All stages train at once. Freeze all of them first, then open one stage in each phase."
    if phase < STAGES and live == set(range(phase)):
        return "The wrong end. stages[0] is next to the input, stages[-1] is the head, and the head comes first."
    if live > wanted:
        return "A stage joins too early. The head trains alone in phase 1, and each phase after it adds one stage."
    if new not in live and new in opened:
        return f"The optimizer does not know stages[{new}], so it gets gradients but never moves. Add a group for it."
    if new not in live and new in known:
        return (
            f"The optimizer holds stages[{new}], but it is frozen: without a gradient nothing moves. Unfreeze it too."
        )
    if new not in live:
        return f"stages[{new}] should join before this phase begins: first open it, then call train_phase."
    if not wanted <= opened:
        return "What has joined goes on learning. Do not freeze a stage again when the next one comes."
    if not wanted <= known:
        return "This optimizer has the new stage only, so those that joined before it stand still."
    if opened - wanted:
        return (
            "Stages that wait have requires_grad=True. Their gradients cost time and pile up, because zero_grad() "
            "clears only what the optimizer holds. Freeze all stages at the start."
        )
    return ""


def _names(stages: Iterable[int]) -> str:
    return ", ".join(f"stages[{i}]" for i in sorted(stages)) or "no stage"


def _copy(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else value


def _same(a: Any, b: Any) -> bool:
    return torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else bool(a == b)


def _step(state: dict[str, Any]) -> int:
    return int(state.get("step", 0))
