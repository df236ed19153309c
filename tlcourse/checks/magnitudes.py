"""Does an answer learn length and direction of a weight apart, as DoRA does, with the norm a constant?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse.checks.expect import close, expect, tensor
from tlcourse.peft import DoRALinear

Answer = Callable[..., Any]
WIDTH, RANK = 6, 2
NAMES = ("A", "B", "magnitude")
Known = list[tuple[Tensor, str]]
COLUMNS = "These are the lengths of the columns. Each output has a row of W, and one length: norm(dim=1)."
ACROSS = "The norm runs over the wrong axis: it is that of the columns. Each row has a length, dim=1."
WHOLE = "This is one length for the whole matrix. DoRA has one for each output: norm(dim=1)."


def check_dora(answer: Answer) -> None:
    """CheckFailed unless answer(base, rank, alpha) is a module that computes and learns as `peft.DoRALinear`."""
    _check_shape(answer)
    for bias in (True, False):
        Pair(answer, bias=bias).check()


def _check_shape(answer: Answer) -> None:
    """The magnitude is a parameter, one number for each output, and starts as the lengths of the rows."""
    base = nn.Linear(5, 7)
    tried = "DoRA(nn.Linear(5, 7), rank=2, alpha=4)"
    layer = answer(base, 2, 4)
    got = type(layer).__name__
    expect(isinstance(layer, nn.Module), tried=tried, got=got, misconception="DoRA is a class made from nn.Module.")
    tried += ".magnitude"
    magnitude = getattr(layer, "magnitude", None)
    there = "Keep the lengths as self.magnitude, so that they can be learned."
    expect(isinstance(magnitude, Tensor), tried=tried, got=type(magnitude).__name__, misconception=there)
    assert isinstance(magnitude, Tensor)
    second = "keepdim=True leaves a second axis. Store one row of numbers, shape (out,), and add the axis in forward."
    faults = {(5,): COLUMNS, (1, 5): COLUMNS, (): WHOLE, (1,): WHOLE, (7, 1): second}
    found = tensor(magnitude, (7,), tried=tried, misconception=faults.get(tuple(magnitude.shape), ""))
    expect(
        isinstance(magnitude, nn.Parameter) and magnitude.requires_grad,
        tried=tried,
        got="a tensor that no optimizer finds",
        misconception="Then the length is fixed, and only the direction learns. Make it an nn.Parameter.",
    )
    rows = base.weight.detach().norm(dim=1)
    known: Known = [
        (torch.ones(7), "Ones would cut every row to length 1. The magnitude starts as the length that the row has."),
        (torch.zeros(7), "Zeros would switch the layer off. The magnitude starts as the length that the row has."),
        (rows.square(), "These are squares of the lengths: the root is missing."),
        (
            base.weight.detach().abs().sum(dim=1),
            "Sums of absolute values. The length is the root of the sum of squares.",
        ),
        (base.weight.detach().abs().amax(dim=1), "Largest entries. The length is the root of the sum of squares."),
        (base.weight.detach().norm().expand(7), WHOLE),
    ]
    rule = "It starts as the length of each row of W: base.weight.norm(dim=1)."
    close(found, rows, tried=tried, misconception=rule, known=known, tolerance=1e-4)


class Pair:
    """An answer's layer and the package's on the same base, as wide as high so that all mistakes fit."""

    def __init__(self, answer: Answer, *, bias: bool) -> None:
        alpha = 5 + int(torch.randint(4, ()))
        self.base = nn.Linear(WIDTH, WIDTH, bias=bias)
        self.kept = self.base.weight.detach().clone()
        self.tried = f"DoRA(nn.Linear({WIDTH}, {WIDTH}{'' if bias else ', bias=False'}), rank={RANK}, alpha={alpha})"
        self.layer = answer(self.base, RANK, alpha)
        self.right = DoRALinear(self.base, rank=RANK, alpha=alpha)
        self.scale = alpha / RANK
        self.x = torch.randn(2, 3, WIDTH)

    def check(self) -> None:
        """Start, output, gradients, and what learns."""
        if all(isinstance(getattr(self.layer, name, None), nn.Parameter) for name in NAMES):
            self._check_output("before any training", starting=True)
        self._set_numbers()
        self._check_output("A, B and magnitude set to random numbers", starting=False)
        self._check_gradients()
        learning = [name for name, value in self.layer.named_parameters() if value.requires_grad]
        more = [name for name in learning if name not in NAMES]
        frozen = "W and b are frozen: self.base = base.requires_grad_(False)."
        expect(not more, tried=f"{self.tried}: what learns", got=", ".join(more), misconception=frozen)
        same = self.base.weight.equal(self.kept)
        into = "W was written to. It belongs to the base, which other adapters share."
        expect(same, tried=f"{self.tried}: the base's weight", got="other numbers", misconception=into)

    def _set_numbers(self) -> None:
        for name, shape in zip(NAMES, ((RANK, WIDTH), (WIDTH, RANK), (WIDTH,)), strict=True):
            mine = getattr(self.layer, name, None)
            missing = "A and B are written for you: leave them as they are, and add the magnitude."
            expect(isinstance(mine, nn.Parameter), tried=f"{self.tried}.{name}", got="none", misconception=missing)
            with torch.no_grad():
                value = torch.rand(shape) + 0.5 if name == "magnitude" else 0.5 * torch.randn(shape)
                mine.copy_(value)  # type: ignore[union-attr]
                getattr(self.right, name).copy_(value)

    def _check_output(self, state: str, *, starting: bool) -> None:
        with torch.no_grad():
            right = self.base(self.x) if starting else self.right(self.x)
            known = [(F.linear(self.x, w, b), why) for w, b, why in self._wrong_weights()]
            tried = f"{self.tried}, {state}, for x of shape (2, 3, {WIDTH})"
            found = tensor(self.layer(self.x), tuple(right.shape), tried=tried)
        otherwise = (
            "B is 0 and the magnitude is the row's length, so the layer should compute what its base computes."
            if starting
            else "Add s·BA to W, divide each row by its length, multiply it by its magnitude. Then x and the bias."
        )
        close(found, right, tried=tried, misconception=otherwise, known=known, tolerance=1e-4)

    def _wrong_weights(self) -> list[tuple[Tensor, Tensor | None, str]]:
        """Weight and bias that known mistakes compute with, each with its misconception."""
        w, b, s, m = self.base.weight, self.base.bias, self.scale, self.layer.magnitude[:, None]
        product = self.layer.B @ self.layer.A
        v, plain = w + s * product, w + product
        length = v.norm(dim=1, keepdim=True)
        columns = v.norm(dim=0, keepdim=True)
        frozen = "The length is that of W alone, so it no longer fits once BA has grown. Take the norm of W + s·BA."
        forgotten = "The scale is missing: the change is s·BA with s = alpha / rank."
        half = "The scale is in one of the two only. Direction and norm belong to the same matrix, W + s·BA."
        unlearned = "The magnitude has no effect: each row is given the length that W or the sum had, or 1."
        wrong: list[tuple[Tensor, Tensor | None, str]] = [
            (m * v / columns, b, ACROSS),
            (m * v / columns.T, b, ACROSS),
            (m.T * v / columns, b, ACROSS),
            (
                m.T * v / length,
                b,
                "Row and column: the magnitudes multiply the columns. Give them a last axis, [:, None].",
            ),
            (m * v / length.T, b, "The lengths of the rows divide the columns. Give them a last axis: [:, None]."),
            (m * v / v.norm(), b, WHOLE),
            (m * v / w.norm(dim=1, keepdim=True), b, frozen),
            (m * plain / plain.norm(dim=1, keepdim=True), b, forgotten),
            (m * plain / length, b, half),
            (m * v / plain.norm(dim=1, keepdim=True), b, half),
            (m * v, b, "Nothing is divided by its length, so that magnitude × length remains. Divide first."),
            (m * v / length.square(), b, "Divided by the square of the length: the root is missing."),
            (v, b, unlearned),
            (v / length, b, unlearned),
            (w.norm(dim=1, keepdim=True) * v / length, b, unlearned),
            (
                w + m * s * product / (s * product).norm(dim=1, keepdim=True).clamp(min=1e-9),
                b,
                "Only the change was brought to a length. The norm is that of the sum, W + s·BA.",
            ),
            (m * w / w.norm(dim=1, keepdim=True), b, "The change is missing: B and A have no effect."),
        ]
        if b is not None:
            wrong += [
                (
                    m * v / length,
                    m.flatten() / length.flatten() * b,
                    "The bias was scaled too. It is added at the end, as it is.",
                ),
                (m * v / length, None, "The bias of the base is missing."),
            ]
        return wrong

    def _check_gradients(self) -> None:
        weights = torch.randn(2, 3, WIDTH)
        tried = f"{self.tried}, random numbers: the gradient of"
        output = self.layer(self.x)
        expect(
            output.requires_grad,
            tried=f"{tried} A, B and magnitude",
            got="none",
            misconception="The whole forward pass is without gradients. Only the norm is a constant.",
        )
        mine = [getattr(self.layer, name) for name in NAMES]
        found = torch.autograd.grad((output * weights).sum(), mine, allow_unused=True)
        theirs = [getattr(self.right, name) for name in NAMES]
        right = torch.autograd.grad((self.right(self.x) * weights).sum(), theirs)
        through = torch.autograd.grad((self._live_norm() * weights).sum(), mine)
        stopped = "Too much is detached. Only the norm is a constant; magnitude, A and B learn."
        live = (
            "The gradient runs through the norm as well. The paper takes it for a constant, which saves memory and "
            "hardly changes what is learned: .norm(dim=1).detach()."
        )
        for name, grad, wanted, whole in zip(NAMES, found, right, through, strict=True):
            expect(grad is not None, tried=f"{tried} {name}", got="none", misconception=stopped)
            if name != "magnitude":
                known = [(whole, live)]
                close(grad, wanted, tried=f"{tried} {name}", misconception=stopped, known=known, tolerance=1e-4)
            else:
                close(grad, wanted, tried=f"{tried} {name}", misconception=stopped, tolerance=1e-3)

    def _live_norm(self) -> Tensor:
        """The right output, with a norm that has a gradient."""
        v = self.base.weight.detach() + self.scale * self.layer.B @ self.layer.A
        return F.linear(self.x, self.layer.magnitude[:, None] * v / v.norm(dim=1, keepdim=True))
