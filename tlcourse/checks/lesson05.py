"""Checks of lesson 05: what is trained, the LoRA layer, merging, names of targets, and the energy of a change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tlcourse.checks import low_rank, model_parts
from tlcourse.checks.base import check
from tlcourse.checks.diagnosis import Case, diagnose
from tlcourse.checks.expect import expect, number, tensor

Answer = Callable[..., Any]


@check
def count(answer: Answer) -> None:
    """(trained, all), in numbers and not tensors; what is shared counts once, the head counts too"""
    model_parts.check_count(answer)


@check
def lora_layer(answer: Answer) -> None:
    """starts as its base, scales by alpha / rank, only A and B learn, and gradients pass through"""
    low_rank.check_layer(answer)


class _Layer(nn.Module):
    """What the task says of a layer, and nothing else: base, A, B and scale."""

    def __init__(self, inputs: int, outputs: int, rank: int, *, bias: bool = True) -> None:
        super().__init__()
        self.base = nn.Linear(inputs, outputs, bias=bias).requires_grad_(False)
        self.A, self.B = nn.Parameter(torch.randn(rank, inputs)), nn.Parameter(torch.randn(outputs, rank))
        self.scale = 1.3 + 2 * float(torch.rand(()))

    def forward(self, x: Tensor) -> Tensor:
        """Output of the base and the correction."""
        return self.base(x) + self.scale * (x @ self.A.T @ self.B.T)


@check
def merge(answer: Answer) -> None:
    """one nn.Linear with the same output, bias included; the layer stays as it was"""
    for inputs, outputs, rank, bias in ((6, 6, 6, True), (9, 5, 2, True), (4, 7, 3, False)):
        layer = _Layer(inputs, outputs, rank, bias=bias)
        kept = {name: value.clone() for name, value in layer.state_dict().items()}
        tried = f"merge(layer) for a layer {inputs} → {outputs} with rank {rank}{'' if bias else ', without bias'}"
        merged = answer(layer)
        _check_merged_weight(merged, layer, kept, tried)
        _check_merged_bias(merged, kept.get("base.bias"), layer.scale, tried)
        _check_kept(layer, merged, kept, tried)


def _check_merged_weight(merged: Any, layer: _Layer, kept: dict[str, Tensor], tried: str) -> None:
    hint = "Return one plain nn.Linear, without anything beside it."
    if isinstance(merged, Tensor):
        hint = "A weight alone is no layer: put it into a new nn.Linear, together with the bias."
    expect(isinstance(merged, nn.Linear), tried=tried, got=type(merged).__name__, misconception=hint)
    a, b, w, s = kept["A"], kept["B"], kept["base.weight"], layer.scale
    shape = "The weight of a linear layer is stored as (out, in): B A has this shape, A B and Aᵀ Bᵀ do not."
    found, right = tensor(merged.weight, tuple(w.shape), tried=tried, misconception=shape), w + s * b @ a
    square = w.shape[0] == w.shape[1] == a.shape[0]
    flipped = "The change is transposed: Aᵀ Bᵀ is (B A)ᵀ. It only fits because this layer is square."
    swapped = "This is A B. In the layer x meets A first, so the product is B A. It only fits because all is square."
    shapes = [(a.T @ b.T, flipped), (a @ b, swapped), (b.T @ a.T, f"{swapped} And it is transposed.")] if square else []
    known = [
        (w + b @ a, "The scale is forgotten: the layer adds scale · B A, and so must the weight."),
        (w + s**2 * b @ a, "The scale acts twice."),
        (w - s * b @ a, "The change is subtracted. That is how one undoes a merge."),
        (w, "The weight is still that of the base. The change s · B A is missing."),
        (s * b @ a, "This is the change alone. Add it to the weight of the base."),
        (s * (w + b @ a), "The scale acts on the weight of the base too. It belongs to the change alone."),
        (w + 2 * s * b @ a, "The change is in twice. Is it added to the base itself, and then once more?"),
        *((w + factor * change, why) for change, why in shapes for factor in (1.0, s)),
    ]
    gap = f"its weight differs from the right one by up to {float((found - right).abs().max()):.2g}"
    why = next((message for wrong, message in known if torch.allclose(found, wrong, atol=1e-3)), "W + scale · B A.")
    expect(torch.allclose(found, right, atol=1e-3), tried=tried, got=gap, misconception=why)


def _check_merged_bias(merged: nn.Linear, right: Tensor | None, scale: float, tried: str) -> None:
    """The bias of the base, or none where it has none."""
    found, tried = merged.bias, f"{tried}; its bias"
    if right is None:
        none = "This base has no bias, and a new nn.Linear draws one unless told `bias=False`."
        expect(found is None, tried=tried, got="random numbers", misconception=none)
        return
    lost = "The bias is lost. The correction has none, so the bias of the base is the bias of the whole."
    expect(found is not None and found.any(), tried=tried, got="none, or zeros", misconception=lost)
    why = "A new nn.Linear draws a bias of its own. Put that of the base in its place."
    if torch.allclose(found, scale * right, atol=1e-5):
        why = "The scale acts on the bias too. It belongs to the change alone."
    alike = torch.allclose(found, right, atol=1e-5)
    expect(alike, tried=tried, got="other numbers than the base's", misconception=why)


def _check_kept(layer: _Layer, merged: nn.Linear, kept: dict[str, Tensor], tried: str) -> None:
    """The layer goes on as it was, for training or for taking the merge back."""
    now = layer.state_dict()
    changed = [name for name, value in kept.items() if name not in now or not torch.equal(now[name], value)]
    why = "The adapter itself was changed. Whoever takes the merge back needs A, B and the base as they were."
    if any(name.startswith("base") for name in changed):
        why = (
            "The base itself has got the change, so the layer now applies it twice, and merge(layer) again a third "
            "time. Put the sum into a new nn.Linear."
        )
        if merged is not layer.base and merged.weight is layer.base.weight:
            why = (
                "The new layer holds the very weight of the base, which has got the change too. `copy.copy` and "
                "`new.weight = base.weight` copy no numbers."
            )
    expect(not changed, tried=f"{tried}, then the layer", got=f"changed: {', '.join(changed)}", misconception=why)


@check
def find_targets(answer: Answer) -> None:
    """whole parts of names match, linear layers only, and a target without a match is an error that helps"""
    model_parts.check_find(answer)


@check
def energy_share(answer: Answer) -> None:
    """squared singular values of the change: the first k over all"""
    asked = "Take the singular values of after − before, square them, and divide the sum of the first k by all."
    diagnose(lambda: _energy_case(answer), otherwise=asked)
    before, after = torch.randn(6, 9), torch.randn(6, 9)
    for k in (6, 9):
        tried = f"weights of shape (6, 9), k = {k}"
        share = number(answer(before, after, k), tried=tried)
        whole = "There are 6 singular values, so that the first 6 or more hold everything."
        expect(abs(share - 1) < 1e-4, tried=tried, got=f"{share:.4g}, not 1", misconception=whole)


def _energy_case(answer: Answer) -> Case:
    rows, columns, k = int(torch.randint(8, 11, ())), int(torch.randint(12, 16, ())), int(torch.randint(2, 5, ()))
    before = torch.randn(rows, columns).double()
    turn, _ = torch.linalg.qr(torch.randn(columns, rows).double())
    change = (torch.randn(rows, rows).double() * 0.6 ** torch.arange(rows)) @ turn.T
    after = before + change
    kept = before.clone(), after.clone()
    tried = f"weights of shape ({rows}, {columns}) before and after, k = {k}"
    found = number(answer(before, after, k), tried=tried)
    touched = "Do not write into the weights that you are given: subtract into a new tensor."
    same = before.equal(kept[0]) and after.equal(kept[1])
    expect(same, tried=tried, got="before or after has changed", misconception=touched)
    right = _share(change, k)
    return Case(tried, found, right, _wrong_energies(before, after, k))


def _share(matrix: Tensor, k: int) -> float:
    squares = torch.linalg.svdvals(matrix).square()
    return float(squares[:k].sum() / squares.sum())


def _wrong_energies(before: Tensor, after: Tensor, k: int) -> list[tuple[float, str]]:
    change = after - before
    s = torch.linalg.svdvals(change)
    squares = s.square()
    total, right, ratio = float(squares.sum()), _share(change, k), float(s[:k].sum() / s.sum())
    k_th = "This is the share of the k-th direction alone. Add up the first k."
    off = "Off by one: the first k are `[:k]`, from 0 to k − 1."
    return [
        (ratio, "The singular values are not squared. Energy is the sum of squares, as the Frobenius norm squared."),
        (k / len(s), "k over the number of directions is what a change would give that is equally large in all."),
        (k / change.numel(), "k over the number of entries says nothing about the change."),
        (
            _share(after, k),
            "These are the directions of the new weights. They are mostly the old ones: subtract first.",
        ),
        (_share(before, k), "These are the directions of the weights before. What was learned is after − before."),
        (float(squares[k - 1]) / total, k_th),
        (float(squares[k]) / total, k_th),
        (_share(change, k + 1), off),
        (_share(change, k - 1), off),
        (
            float(squares[-k:].sum()) / total,
            "These are the last k, the smallest. `eigvalsh` sorts upwards, svd downwards.",
        ),
        (right**0.5, "This is a ratio of norms. Without the root it is the share of the energy."),
        (1 - right, "This is what is left over. Asked is what the first k hold."),
        (100 * right, "This is a percentage. Return a share from 0 to 1."),
        (float(squares[:k].sum()), "This is the energy itself. Divide by that of all directions."),
        (
            float((squares[:k] ** 2).sum() / (squares**2).sum()),
            "Squared twice: eigenvalues of Δᵀ Δ are squares already.",
        ),
        (float(change[:k].square().sum()) / total, "These are the first k rows. Directions come from the SVD."),
        (float(s[k - 1] / s[0]), "This compares two singular values. Add up squares: the first k over all."),
    ]
