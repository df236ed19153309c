"""Three costs of domain shift: `python -m benchmarks shift_steps`.

An MMD permutation test of 2 × 1,000 × 384 with 500 permutations against its budget; the Fisher of single examples by
`vmap` against a loop over them; and training with DANN through `adapt` against a bare loop with the same batches.
Runs of two sides alternate; medians of a few.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks._clock import medians
from tlcourse import data, models, shift

Row = tuple[str, str, str, float, str]
MMD_SECONDS, FISHER_AIM, DANN_AIM = 2.0, 5.0, 1.1
ROUNDS, STEPS, BATCH = 5, 40, 64


def mmd_row() -> Row:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(1000, 384, generator=generator), torch.randn(1000, 384, generator=generator)
    (seconds,) = medians(lambda: shift.mmd_test(x, y, permutations=500), rounds=ROUNDS)
    return (
        "MMD test",
        f"{seconds:.2f} s",
        f"{MMD_SECONDS:g} s",
        seconds / MMD_SECONDS,
        "2 × 1,000 × 384, 500 permutations",
    )


def fisher_row() -> Row:
    model = models.Classifier(models.MLP([64, 64], seed=0), 10, seed=0)
    x, labels = torch.randn(512, 64), torch.randint(10, (512,))

    def loop() -> list[Tensor]:
        total = [torch.zeros_like(p) for p in model.parameters()]
        for i in range(len(x)):
            loss = F.cross_entropy(model(x[i : i + 1]), labels[i : i + 1])
            for part, gradient in zip(total, torch.autograd.grad(loss, list(model.parameters())), strict=True):
                part += gradient.square()
        return total

    ours, theirs = medians(lambda: shift.diagonal_fisher(model, x, labels), loop, rounds=ROUNDS)
    return (
        "Fisher, 512 examples",
        f"{1e3 * ours:.1f} ms",
        f"{1e3 * theirs:.1f} ms",
        ours / theirs,
        "64 → 64 → 10, a loop",
    )


def dann_row() -> Row:
    domain = data.mnist("train").few(100, seed=0)

    def network() -> models.Classifier:
        return models.Classifier(models.Conv4(seed=0), 10, seed=0)

    def ours() -> None:
        model = network()
        shift.adapt(model, domain, domain, penalty=shift.Adversary(model.head.in_features), steps=STEPS)

    def bare() -> None:
        model, generator = network().train(), torch.Generator().manual_seed(0)
        adversary = shift.Adversary(model.head.in_features)
        both = nn.ModuleList([model, adversary])
        optimizer = torch.optim.Adam(both.parameters(), lr=1e-3, fused=True)
        for step in range(STEPS):
            mine, theirs = (torch.randint(len(domain), (BATCH,), generator=generator) for _ in range(2))
            features = model.backbone(domain.pixels[mine])
            loss = F.cross_entropy(model.head(features), domain.labels[mine])
            loss = loss + adversary(features, model.backbone(domain.pixels[theirs]), shift.ramp(step / STEPS))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        shift.adapt_batch_norm(model, domain)

    one, other = medians(ours, bare, rounds=ROUNDS)
    return (
        "DANN through adapt",
        f"{one:.2f} s",
        f"{other:.2f} s",
        one / other,
        f"Conv4, {STEPS} steps of 2 × {BATCH}, a bare loop",
    )


def main() -> list[Row]:
    """One row for each cost."""
    return [mmd_row(), fisher_row(), dann_row()]


def failures(rows: list[Row]) -> list[str]:
    """The bars that were missed."""
    bars = {"MMD test": 1.0, "Fisher, 512 examples": 1 / FISHER_AIM, "DANN through adapt": DANN_AIM}
    return [
        f"{name}: {ratio:.2f} of the peer, at most {bars[name]:.2f}"
        for name, _, _, ratio, _ in rows
        if ratio > bars[name]
    ]
