"""What `training.fit` adds to a bare PyTorch loop: `python -m benchmarks fit_overhead`.

Both train the same network on the same batches in the same order; their weights are compared afterwards. Rounds of
the two alternate, so that other programs on the machine disturb both alike. The time is that of the processor,
and the quickest round counts, the one that was disturbed least.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse import models, training

Row = tuple[str, str, str, float, str]

BAR = 1.05  # for networks of some size: a step of the MLP is so short that the loop's own 0.1 ms shows


@dataclass(frozen=True, eq=False)
class Random:
    """Random pictures or vectors with random labels."""

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


def random(shape: tuple[int, ...], *, n: int = 256, n_classes: int = 5) -> Random:
    generator = torch.Generator().manual_seed(0)
    return Random(torch.randn(n, *shape, generator=generator), torch.randint(n_classes, (n,), generator=generator))


def bare_loop(model: nn.Module, data: Random, *, steps: int) -> float:
    """Processor seconds of AdamW on shuffled batches of 32; the losses are read, as every course does."""
    rule = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
    order = torch.Generator().manual_seed(0)
    model.train()
    losses: list[float] = []
    begun = time.process_time()
    while True:
        for batch in torch.randperm(len(data), generator=order).split(32):
            loss = F.cross_entropy(model(data.inputs[batch]), data.labels[batch])
            loss.backward()
            rule.step()
            rule.zero_grad()
            losses.append(loss.item())
            if len(losses) == steps:
                return time.process_time() - begun


def our_loop(model: nn.Module, data: Random, *, steps: int) -> float:
    begun = time.process_time()
    training.fit(model, data, steps=steps, batch_size=32, lr=1e-3)
    return time.process_time() - begun


def compare(name: str, make: Callable[[], nn.Module], data: Random, *, steps: int, rounds: int = 9) -> Row:
    """The quickest of `rounds`, ours and bare, and their ratio."""
    start = make()
    ours, bare = [], []
    for index in range(rounds + 1):
        mine, peer = copy.deepcopy(start), copy.deepcopy(start)
        if index % 2:
            seconds = our_loop(mine, data, steps=steps), bare_loop(peer, data, steps=steps)
        else:
            seconds = bare_loop(peer, data, steps=steps), our_loop(mine, data, steps=steps)
            seconds = seconds[::-1]
        same = all(torch.equal(a, b) for a, b in zip(mine.parameters(), peer.parameters(), strict=True))
        if not same:
            raise AssertionError(f"{name}: the two loops do not train the same weights, so their times say nothing")
        if index:  # the first round warms up
            ours.append(seconds[0] / steps)
            bare.append(seconds[1] / steps)
    ratio = min(ours) / min(bare)
    medians = f"{1e3 * median(ours):.2f} and {1e3 * median(bare):.2f} ms"
    setting = f"a bare loop; {steps} steps of 32, best of {rounds}, 1 thread, processor time; medians {medians}"
    return name, _milliseconds(ours), _milliseconds(bare), ratio, setting


def _milliseconds(seconds: list[float]) -> str:
    return f"{1e3 * min(seconds):.2f} ms"


def failures(rows: list[Row]) -> list[str]:
    return [
        f"{name}: {ratio:.3f} times the bare loop, the bar is {BAR}"
        for name, _, _, ratio, _ in rows
        if ratio > BAR and "MLP" not in name
    ]


def main() -> list[Row]:
    """One row for each network, from the cheapest step to a real fine-tuning."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [
            compare("fit, MLP 20-64-5", lambda: models.MLP([20, 64, 5]), random((20,)), steps=200),
            compare(
                "fit, Conv4 on 28x28",
                lambda: models.Classifier(models.Conv4(), 5),
                random((1, 28, 28)),
                steps=8,
            ),
            compare(
                "fit, EfficientNet-Lite0 on 64x64",
                lambda: models.Classifier(models.vision(pretrained=False), 5),
                random((3, 64, 64)),
                steps=2,
                rounds=15,
            ),
        ]
    finally:
        torch.set_num_threads(before)
