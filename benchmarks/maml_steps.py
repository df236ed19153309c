"""A meta-step of MAML and of FOMAML against higher and learn2learn: `python -m benchmarks maml_steps`.

Conv4 with 64 filters at 28 px, five ways, one shot, 15 queries of each class, four tasks, one inner step at 0.4, then
backward and Adam. All sides have the same weights and episodes, and the gradients are compared first. Ours runs the
Conv4 of `tlcourse.meta`, the peers the same function as it is usually written; in the rows "one module" both run ours.
The aim is 1.2 times the peer's steps. It is missed: nearly all the time goes into the queries' pass through the
network, which is the same convolutions on every side.
Batch norm has the statistics of the batch. higher 0.2.1 is among the dependencies of the tests; learn2learn is
not, as its wheel does not build with a new setuptools: its rows are there where it can be imported.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import replace_all_batch_norm_modules_

from benchmarks._clock import medians
from tlcourse import meta, models
from tlcourse.meta import conv4

Row = tuple[str, str, str, float, str]
WAY, QUERIES, TASKS, RATE, ROUNDS, STEPS, TOLERANCE, AIM = 5, 15, 4, 0.4, 4, 2, 1e-4, 1.2
Examples = tuple[Tensor, Tensor]
Gradient = Callable[[nn.Module, Examples, Examples, bool], None]


def network(usual: bool = False) -> nn.Module:
    """Conv4 with a head, the same weights each time; `usual`: ReLU before the pooling, channels first."""
    model = models.Classifier(conv4.Conv4(1, 64, seed=0), WAY, seed=0)
    if usual:
        plain = models.Classifier(models.Conv4(1, 64, seed=0), WAY, seed=0)
        plain.load_state_dict({name: weight.contiguous() for name, weight in model.state_dict().items()})
        model = plain
    return replace_all_batch_norm_modules_(model)


def tasks() -> tuple[Examples, Examples]:
    """Support and query of the episodes: random pictures serve for a clock."""
    generator = torch.Generator().manual_seed(0)

    def examples(each: int) -> Examples:
        pictures = torch.rand(TASKS, WAY * each, 1, 28, 28, generator=generator)
        return pictures, torch.arange(WAY).repeat_interleave(each).expand(TASKS, -1)

    return examples(1), examples(QUERIES)


def ours(model: nn.Module, support: Examples, query: Examples, first_order: bool) -> None:
    meta.meta_loss(model, support, query, inner=meta.InnerLoop(RATE, first_order=first_order)).backward()


def higher_gradient(model: nn.Module, support: Examples, query: Examples, first_order: bool) -> None:
    """As in the examples of its authors."""
    import higher

    for x, y, u, v in zip(*support, *query, strict=True):
        inner = torch.optim.SGD(model.parameters(), lr=RATE)
        context = higher.innerloop_ctx(model, inner, copy_initial_weights=False, track_higher_grads=not first_order)
        with context as (fast, steps):
            steps.step(F.cross_entropy(fast(x), y))
            loss = F.cross_entropy(fast(u), v) / TASKS
            if not first_order:
                loss.backward()
                continue
            for parameter, part in zip(
                model.parameters(), torch.autograd.grad(loss, list(fast.parameters())), strict=True
            ):
                parameter.grad = part if parameter.grad is None else parameter.grad + part


def learn2learn_gradient(model: nn.Module, support: Examples, query: Examples, first_order: bool) -> None:
    """As in the examples of its authors."""
    from learn2learn.algorithms import MAML

    learner = MAML(model, lr=RATE, first_order=first_order)
    for x, y, u, v in zip(*support, *query, strict=True):
        fast = learner.clone()
        fast.adapt(F.cross_entropy(fast(x), y))
        (F.cross_entropy(fast(u), v) / TASKS).backward()


def meta_steps(gradient: Gradient, first_order: bool, usual: bool = False) -> Callable[[], None]:
    """Some meta-steps, to be timed."""
    model, (support, query) = network(usual), tasks()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def run() -> None:
        for _ in range(STEPS):
            optimizer.zero_grad()
            gradient(model, support, query, first_order)
            optimizer.step()

    return run


def largest_gap(one: Gradient, other: Gradient, first_order: bool) -> float:
    """Largest difference of the two gradients, over the largest entry."""
    found = []
    for gradient, usual in ((one, False), (other, True)):
        model = network(usual)
        gradient(model, *tasks(), first_order)
        found.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    return float((found[0] - found[1]).abs().max() / found[1].abs().max())


def peers() -> dict[str, Gradient]:
    """Those that can be imported."""
    found: dict[str, Gradient] = {"higher": higher_gradient}
    try:
        import learn2learn  # noqa: F401
    except ImportError:
        return found
    return {**found, "learn2learn": learn2learn_gradient}


def main() -> list[Row]:
    """One row for each method and peer."""
    rows = []
    for method, first_order in (("MAML", False), ("FOMAML", True)):
        for name, gradient in peers().items():
            gap = largest_gap(ours, gradient, first_order)
            if gap > TOLERANCE:
                raise AssertionError(
                    f"{method}: the gradient differs from that of {name} by {gap:.1e} of its largest entry"
                )
            for usual in (True, False):
                sides = meta_steps(ours, first_order), meta_steps(gradient, first_order, usual)
                mine, theirs = (STEPS / seconds for seconds in medians(*sides, rounds=ROUNDS))
                what = f"{method} meta-steps" + ("" if usual else ", one module")
                setting = f"Conv4-64, 5-way 1-shot, {TASKS} tasks, {name}, gradients equal to {gap:.0e}"
                rows.append((what, f"{mine:.2f}/s", f"{theirs:.2f}/s", mine / theirs, setting))
    return rows


def failures(rows: list[Row]) -> list[str]:
    """The aims that were missed; with one module for both there is none."""
    return [
        f"{name}: {ratio:.2f} times the peer's steps a second, aim {AIM}"
        for name, _, _, ratio, _ in rows
        if ratio < AIM and not name.endswith("one module")
    ]
