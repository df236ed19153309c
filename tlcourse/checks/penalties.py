"""Does a penalty pull the old weights to where they started, the new ones to zero, and does it pull at all?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from tlcourse.checks.diagnosis import Case, diagnose
from tlcourse.checks.expect import close, expect, number
from tlcourse.checks.frozen import SmallNet, batch

Answer = Callable[..., Any]
Tensors = dict[str, Tensor]


def check_l2_sp(answer: Answer) -> None:
    """CheckFailed unless answer(model, alpha, beta) returns the penalty as a function, whose gradients are right."""
    diagnose(
        lambda: _moved(answer)[0],
        otherwise="α/2 · Σ(w − w⁰)² over all weights of the backbone, plus β/2 · Σw² over those of the head.",
    )
    case, pulls = _moved(answer)
    tried = case.tried + ".backward()"
    none = [name for name, (pull, _) in pulls.items() if pull is None]
    expect(
        not none,
        tried=tried,
        got=f"no gradient at {', '.join(none[:3])}{' …' if len(none) > 3 else ''}",
        misconception="`detach()`, `no_grad` and `state_dict()` give numbers that pull at nothing. Only the "
        "start is a constant; the weights as they are now come from `parameters()`.",
    )
    expect(
        any(pull.abs().max() > 1e-6 for name, (pull, _) in pulls.items() if "backbone" in name),
        tried=tried,
        got="a gradient of 0 at every weight of the backbone, though the value is right",
        misconception="A `clone()` is still tied to its weight, so that the two gradients cancel: `detach().clone()`.",
    )
    for name, (pull, right) in pulls.items():
        why = "The gradient is α(w − w⁰) in the backbone and βw in the head, as the value says."
        close(pull, right, tried=f"{tried}, at {name}", misconception=why, tolerance=1e-4)


def _moved(answer: Answer) -> tuple[Case, dict[str, tuple[Any, Tensor]]]:
    """The penalty after the weights have moved, and its gradients, each beside the right one."""
    alpha, beta = 1 + float(torch.rand(())), 3 + 3 * float(torch.rand(()))
    model = SmallNet()
    start = {name: value.detach().clone() for name, value in model.state_dict().items()}
    penalty = answer(model, alpha=alpha, beta=beta)
    tried = f"penalty = l2_sp(model, alpha={alpha:.2f}, beta={beta:.2f}); all weights move; then penalty()"
    expect(
        callable(penalty),
        tried=tried,
        got=f"l2_sp returned {type(penalty).__name__}",
        misconception="A number belongs to one moment. Return a function without arguments: each step calls it anew.",
    )
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
        model.train()(batch())  # the statistics move too
    value = penalty()
    constant = "A float does not remember which weights it came from, so nothing is pulled. Return the tensor."
    expect(not isinstance(value, float), tried=tried, got="a Python float", misconception=constant)
    if isinstance(value, Tensor) and value.requires_grad and value.numel() == 1:
        value.backward()
    now = {name: weight.detach().double() for name, weight in model.named_parameters()}
    ways = {name: after.double() - start[name].double() for name, after in model.state_dict().items()}
    pulls = {
        name: (weight.grad, (alpha * ways[name] if "backbone" in name else beta * now[name]).float())
        for name, weight in model.named_parameters()
    }
    wrong = _wrong(now, ways, {name: start[name].double() for name in now}, alpha, beta)
    old, new = _parts(now)
    right = alpha / 2 * _sum(ways, old) + beta / 2 * _sum(now, new)
    return Case(tried, number(value, tried=tried), right, wrong), pulls


def _parts(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """The names of the backbone's weights, and of the head's."""
    return [n for n in names if n.startswith("backbone.")], [n for n in names if n.startswith("head.")]


def _square(x: Tensor) -> Tensor:
    return x.square().sum()


def _sum(tensors: Tensors, names: Iterable[str], of: Callable[[Tensor], Tensor] = _square) -> float:
    """Σ of(tensor) over these names."""
    return float(sum(float(of(tensors[name])) for name in names))


def _wrong(now: Tensors, ways: Tensors, start: Tensors, alpha: float, beta: float) -> list[tuple[float, str]]:
    """Penalties that are wrong in a known way, each with its misconception."""
    old, new = _parts(now)
    moved, size, back = _sum(ways, old), _sum(now, new), _sum(ways, new)
    statistics = [name for name in ways if name.startswith("backbone.") and name not in now]
    called = [name for name in old if "head" in name]
    unbiased = [[name for name in names if not name.endswith("bias")] for names in (old, new)]

    def half(a: float, b: float) -> float:
        return alpha / 2 * a + beta / 2 * b

    def each(of: Callable[[Tensor], Tensor]) -> float:
        return half(_sum(ways, old, of), _sum(now, new, of))

    mean = (moved / sum(ways[n].numel() for n in old), size / sum(now[n].numel() for n in new))
    live = (
        "However far the weights go, the way is 0. Without `clone()` the start is the weights themselves and moves "
        "with them; and it has to be taken once, in l2_sp, not in each call."
    )
    to_start = (
        "You pull the head to its random start, which is worth nothing. It has no start: pull it to zero, with β."
    )
    double = "A factor ½ is missing: the penalty is α/2 and β/2, so that the gradients are α(w − w⁰) and βw."
    length = "Lengths are not squared. The formula sums the squares of all entries, without a root."
    average = "This is a mean of squares, so that large layers count less. Sum them: `.square().sum()`."
    biases = "The biases are missing. They have a start too: take all of model.backbone.parameters()."
    return [
        (
            half(_sum(now, old), size),
            "You pull to zero: plain weight decay, away from all that was learned. Use w − w⁰.",
        ),
        (half(0.0, size), live),
        (
            half(0.0, _sum(start, new)),
            "The value is that of the beginning. Compute it inside the function, at each call.",
        ),
        (half(moved, back), to_start),
        (alpha / 2 * (moved + back), to_start),
        (alpha / 2 * (moved + back) + beta / 2 * size, "The head is in both parts. Only the backbone has a start."),
        (half(moved, 0.0), "The head is missing: β/2 · Σw² over its weights."),
        (half(2 * moved, 2 * size), double),
        (half(2 * moved, size), double),
        (half(moved, 2 * size), double),
        (alpha / 2 * size + beta / 2 * moved, "α and β have changed places: α holds the backbone, β the head."),
        (half(moved**0.5, size**0.5), length),
        (each(torch.linalg.vector_norm), length),
        (each(lambda x: x.abs().sum()), "These are absolute values. The penalty sums squares."),
        (half(*mean), average),
        (each(lambda x: x.square().mean()), average),
        (each(lambda x: x.sum().square()), "Square each entry first, then sum: otherwise ways up and down cancel."),
        (half(_sum(ways, unbiased[0]), size), biases),
        (half(_sum(ways, unbiased[0]), _sum(now, unbiased[1])), biases),
        (
            half(_sum(ways, [*old, *statistics]), size),
            "`state_dict()` also holds BatchNorm's statistics, and even a counter. Take `named_parameters()`.",
        ),
        (
            half(moved - _sum(ways, called), size + _sum(now, called)),
            '`"head" in name` also finds the layer conv_head of the backbone. Use `name.startswith("head.")`.',
        ),
    ]
