"""Does an answer count what training holds in memory: weights, gradients, optimizer states, activations?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from tlcourse.checks.diagnosis import Case, diagnose
from tlcourse.checks.expect import expect, number
from tlcourse.peft import LLAMA_2_7B, predict_memory

Answer = Callable[..., Any]
Known = list[tuple[float, str]]
GIB = 2**30
PARTS = ("weights", "gradients", "optimizer", "activations", "total")
ASKED = {
    "weights": "Frozen weights take `bits` bits each, trained ones 32 bits. 8 bits are a byte.",
    "gradients": "One number of 32 bits for everything that is trained, and nothing else.",
    "optimizer": "AdamW keeps two numbers of 32 bits for everything that is trained, and nothing else.",
    "activations": "They are given in bytes. Turn them into GiB.",
    "total": "The total is the sum of the four parts.",
}


@dataclass(frozen=True)
class Run:
    """A training run, as the answer is given it."""

    frozen: int
    trained: int
    bits: float | int
    activations: int

    def right(self) -> dict[str, float]:
        """The parts in GiB."""
        parts = {
            "weights": (self.frozen * self.bits / 8 + 4 * self.trained) / GIB,
            "gradients": 4 * self.trained / GIB,
            "optimizer": 8 * self.trained / GIB,
            "activations": self.activations / GIB,
        }
        return {**parts, "total": sum(parts.values())}

    def __str__(self) -> str:
        return (
            f"training_memory(frozen={self.frozen:_}, trained={self.trained:_}, bits={self.bits}, "
            f"activations={self.activations:_})"
        )


def check_memory(answer: Answer) -> None:
    """CheckFailed unless the answer gives all parts in GiB, for adapters and for full fine-tuning."""
    for part in PARTS:
        diagnose(lambda part=part: _case(answer, _adapters(), part), otherwise=ASKED[part])  # type: ignore[misc]
    for part in PARTS:
        diagnose(lambda part=part: _case(answer, _everything(), part), otherwise=ASKED[part])  # type: ignore[misc]
    _check_package(answer)


def _draw(low: float | int, high: float | int) -> int:
    return int(1e9 * (low + (high - low) * float(torch.rand(()))))


def _adapters() -> Run:
    bits = [4.127, 4.5, 8, 16][int(torch.randint(4, ()))]
    return Run(_draw(3, 9), _draw(0.3, 0.9), bits, _draw(5, 20))


def _everything() -> Run:
    return Run(0, _draw(1, 9), 32, _draw(5, 20))


def _case(answer: Answer, run: Run, part: str) -> Case:
    value = answer(frozen=run.frozen, trained=run.trained, bits=run.bits, activations=run.activations)
    kind = f"Return a dictionary with the keys {', '.join(PARTS)}."
    expect(isinstance(value, dict), tried=str(run), got=type(value).__name__, misconception=kind)
    missing = [name for name in PARTS if name not in value]
    expect(not missing, tried=str(run), got=f"no key {missing[:1]}", misconception=kind)
    tried = f'{run}["{part}"]'
    right = run.right()
    return Case(tried, number(value[part], tried=tried), right[part], [*_wrong(run, part), *_units(right[part])])


def _units(right: float) -> Known:
    """The right amount in another unit."""
    return [
        (right * GIB, "These are bytes. Divide by 2³⁰ for GiB."),
        (right * GIB / 1e9, "These are GB, 10⁹ bytes. Asked are GiB, 2³⁰ bytes: 7 % fewer."),
        (right * 8 * GIB / 1e9, "These are bits, where bytes are asked. 8 bits are a byte."),
        (right * 1024, "These are MiB, 2²⁰ bytes. Divide by 1024 once more."),
        (8 * right, "These are bits, where bytes are asked. 8 bits are a byte."),
    ]


def _wrong(run: Run, part: str) -> Known:
    """Amounts that are wrong in a known way."""
    f, t, own, right = run.frozen, run.trained, run.frozen * run.bits / 8, run.right()
    a = run.activations
    bits = "`bits` was taken for bytes. A weight of 4 bits takes half a byte: divide by 8."
    gradient = "Frozen weights get no gradient. Only what is trained has one: that is half of the saving of adapters."
    states = "AdamW keeps no states for frozen weights. They never move, so there is nothing to remember about them."
    one = "AdamW keeps two states for each trained number: the mean of its gradients, and of their squares."
    amounts: dict[str, list[tuple[float, str]]] = {
        "weights": [
            (f * run.bits + 4 * t, bits),
            (4 * (f + t), "All weights are counted in 32 bits. The frozen ones are stored in `bits` bits each."),
            ((f + t) * run.bits / 8, "The trained weights are counted in `bits` bits. They are in 32 bits."),
            (own, "The trained weights are missing. They are weights too, and take memory beside the frozen ones."),
            (4 * t, "The frozen weights are missing. They are not trained, but the forward pass needs them."),
            (own + 16 * t, "Gradients and states were counted in. Here it is the weights alone."),
            (f * (run.bits // 8) + 4 * t, "Whole bytes only: `//` cuts off. Use `/`."),
        ],
        "gradients": [
            (4 * (f + t), gradient),
            (own + 4 * t, gradient),
            (4 * f, gradient),
            (
                t * run.bits / 8,
                "The gradients are counted in `bits` bits. What is trained is in 32 bits, its gradient too.",
            ),
            (8 * t, "One gradient for each trained number, of 4 bytes."),
        ],
        "optimizer": [
            (8 * (f + t), states),
            (4 * (f + t), states),
            (2 * own + 8 * t, states),
            (2 * own, states),
            (8 * f, states),
            (4 * t, one),
            (12 * t, "The gradients were counted in. They have a key of their own."),
            (2 * t * run.bits / 8, "The states are counted in `bits` bits. They are in 32 bits."),
        ],
        "activations": [
            (0, "The activations are missing. They are given, in bytes."),
            (4 * a, "They are bytes already."),
        ],
        "total": [
            (GIB * (right["total"] - right["activations"]), "The activations are missing in the total."),
            (GIB * (right["total"] - right["weights"]), "The weights are missing in the total."),
            (GIB * (right["total"] + right["gradients"]), "The gradients are in the total twice."),
            (GIB * max(right[name] for name in PARTS[:4]), "This is the largest part. All four are there at once."),
        ],
    }
    return [(value / GIB, why) for value, why in amounts[part]]


def _check_package(answer: Answer) -> None:
    """The sizes of Llama 2 7B, against the course's own formulas."""
    sizes, method = LLAMA_2_7B, ("full", "lora")[int(torch.randint(2, ()))]
    memory = predict_memory(sizes, batch=1, length=128, method=method, rank=8)
    trained = memory.gradients // 4
    run = Run(0 if method == "full" else sizes.parameters, trained, 32, memory.activations)
    value = answer(frozen=run.frozen, trained=run.trained, bits=run.bits, activations=run.activations)
    for part in PARTS[:4]:
        tried = f'Llama 2 7B, {method}, all in 32 bits: {run}["{part}"]'
        found, right = number(value[part], tried=tried), getattr(memory, part) / GIB
        holds = abs(found - right) <= 1e-4 * max(right, 1e-3)
        expect(holds, tried=tried, got=f"{found:.4g}, not {right:.4g} GiB", misconception=ASKED[part])
