"""Does a LoRA layer start as its base, learn what it should at the right scale, and send gradients on?"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tlcourse.checks.base import CheckFailed
from tlcourse.checks.expect import close, expect, tensor

Answer = Callable[..., Any]
Known = list[tuple[Tensor, str]]
INPUTS, OUTPUTS, RANK = 60, 24, 6


def check_layer(answer: Answer) -> None:
    """CheckFailed unless answer(base, rank, alpha) is a LoRA layer around `base`."""
    base = nn.Linear(INPUTS, OUTPUTS)
    layer = answer(base, RANK, 9.0)
    what = f"LoRALinear(nn.Linear({INPUTS}, {OUTPUTS}), {RANK}, 9.0)"
    _check_factors(layer, what)
    _check_start(layer, base)
    _check_what_learns(layer, base, what)
    _check_formula(answer)
    _check_shapes(answer)
    _check_gradient_below(answer)
    _check_training(answer)


def _check_factors(layer: Any, what: str) -> None:
    """A and B are parameters of the right shapes, and the entries of A lie where they should."""
    for name, shape in (("A", (RANK, INPUTS)), ("B", (OUTPUTS, RANK))):
        value, tried = getattr(layer, name, None), f"{what}, and its attribute {name}"
        named = "The check and the next exercise look for `self.A` and `self.B`, of the type nn.Parameter."
        expect(isinstance(value, Tensor), tried=tried, got=type(value).__name__, misconception=named)
        known = any(value is parameter for parameter in layer.parameters())
        plain = "`parameters()` does not find a plain tensor, so no optimizer would move it. Wrap it in nn.Parameter."
        expect(known, tried=tried, got="a tensor that is no parameter of the layer", misconception=plain)
        _check_shape(layer, name, shape, tried)
    if layer.A.detach().any():
        _check_reach(layer.A.detach(), f"{what}, and the entries of A")


def _check_shape(layer: Any, name: str, shape: tuple[int, int], tried: str) -> None:
    found = tuple(getattr(layer, name).shape)
    reach = float(layer.A.detach().abs().max())
    stored = f"`x @ A.T` needs A as (rank, in) and B as (out, rank), as nn.Linear stores its weight: here {shape}."
    if found == shape[::-1] and name == "A" and _near(reach, RANK):
        stored = (
            f"Stored as (in, rank), A hands its initialiser the rank for the fan-in: the bound is 1/√{RANK} = "
            f"{RANK**-0.5:.2f}, and 1/√{INPUTS} = {INPUTS**-0.5:.2f} is asked. Store A as (rank, in)."
        )
    got = f"shape {found}" + (f", entries up to ±{reach:.2f}" if name == "A" else "")
    expect(found == shape, tried=tried, got=got, misconception=stored)


def _near(reach: float, fan: float | int) -> bool:
    """Whether entries that reach so far look uniform with bound 1/√fan; of 360, the largest is within 5 % of it."""
    return 0.95 < reach * math.sqrt(fan) < 1 + 1e-4


def _check_reach(factor: Tensor, tried: str) -> None:
    """The entries are uniform between ±1/√in."""
    reach, bound = float(factor.abs().max()), INPUTS**-0.5
    wrong_fan = f"±1/√{RANK} is the bound of the rank: the fan-out. The fan-in of A is the number of inputs, {INPUTS}."
    default = "Without a=math.sqrt(5), kaiming_uniform_ draws √6 times as far, as for a layer before a ReLU."
    square = "1/in is not 1/√in: the root is missing, and A learns and passes on less and less as layers get wide."
    uniform = "Use nn.init.kaiming_uniform_(A, a=math.sqrt(5)), or A.uniform_(-bound, bound) with bound 1/√in."
    for fan, why in ((RANK, wrong_fan), (INPUTS / 6, default), (INPUTS**2, square)):
        expect(not _near(reach, fan), tried=tried, got=f"they reach ±{reach:.2g}", misconception=why)
    got = f"they reach ±{reach:.2g}; with {INPUTS} inputs ±{bound:.2g} is asked"
    expect(_near(reach, INPUTS), tried=tried, got=got, misconception=uniform)
    signs = "Uniform between −bound and +bound: `torch.rand` starts at 0."
    expect(bool((factor < 0).any()), tried=tried, got="no entry below 0", misconception=signs)


def _output(layer: Any, x: Tensor, tried: str) -> Tensor:
    try:
        return layer(x)
    except RuntimeError as error:
        got = f"RuntimeError: {str(error).splitlines()[0]}"
        why = "Features are the last axis of x, whatever stands before it: `x @ A.T` takes any number of axes."
        raise CheckFailed(tried=tried, got=got, misconception=why) from None


def _check_start(layer: Any, base: nn.Linear) -> None:
    """Before training the layer computes what its base does, because B is zero and A is not."""
    x, tried = torch.randn(7, INPUTS), "a batch through the new layer, beside the same batch through its base"
    right = base(x).detach()
    found = tensor(_output(layer, x, tried), (7, OUTPUTS), tried=tried)
    gap = float((found - right).abs().max())
    moves = bool(layer.A.detach().any() and layer.B.detach().any())
    if moves:
        why = "A and B are both random, so the model is changed before it has learned anything. B must start at zero."
    elif torch.allclose(found, right - base.bias.detach(), atol=1e-4):
        why = "The bias of the base is lost. Call `self.base(x)`: it knows its weight and its bias."
    elif not found.any():
        why = "The base is missing. The output is that of the base plus the correction."
    else:
        why = "With B at zero the correction is zero, and base(x) is left."
    expect(gap < 1e-4, tried=tried, got=f"the outputs differ by up to {gap:.2g}", misconception=why)
    wrong_one = "Here A is zero and B is random. That trains as well, but LoRA is defined the other way: B is zero."
    expect(
        layer.A.detach().any() or not layer.B.detach().any(), tried="A and B", got="A is zero", misconception=wrong_one
    )


def _check_what_learns(layer: Any, base: nn.Linear, what: str) -> None:
    """`base` is held by the layer as it is, and A and B alone ask for a gradient."""
    parameters = dict(layer.named_parameters())
    inside = any(value is base.weight for value in parameters.values())
    copied = "The layer holds a copy or the bare numbers. A second copy of the frozen weights costs what LoRA saves."
    got = "the base's own weight is not among them"
    expect(inside, tried=f"the parameters of {what}", got=got, misconception=f"{copied} Write `self.base = base`.")
    learns = [name for name, value in parameters.items() if value.requires_grad]
    still = [name for name, value in parameters.items() if value is base.weight or value is base.bias]
    still = [name for name in still if name in learns]
    missing = [name for name in ("A", "B") if name not in learns]
    other = [name for name in learns if name not in ("A", "B", *still)]
    for bad, why in (
        (len(still) == 2, "The base still learns, so nothing is saved: freeze it with `base.requires_grad_(False)`."),
        (still, "A part of the base still learns. It has a weight and a bias; requires_grad_ of a module takes both."),
        (missing, "A and B have to learn. Freeze the base, not the whole layer, and before A and B are made."),
        (other, "Only A and B should learn. What else is a constant, or a part of the base."),
    ):
        got = f"requires_grad is True for {', '.join(learns) or 'none'}"
        expect(not bad, tried=f"the parameters of {what}", got=got, misconception=why)


def _random(answer: Answer, inputs: int, outputs: int, rank: int, *, bias: bool = True) -> tuple[Any, nn.Linear, float]:
    """A layer as if it had been trained, its base, and alpha."""
    base, alpha = nn.Linear(inputs, outputs, bias=bias), 2.3 + 4 * float(torch.rand(()))
    layer = answer(base, rank, alpha)
    for factor in (layer.A, layer.B):
        nn.init.normal_(factor)
    return layer, base, alpha


def _check_formula(answer: Answer) -> None:
    """The output is base(x) + alpha/rank · B A x; the layer is square, so that what is transposed fits as well."""
    layer, base, alpha = _random(answer, 8, 8, 3)
    weight, x = base.weight.detach().clone(), torch.randn(5, 8)
    tried = f"x through a layer 8 → 8 with rank 3, alpha {alpha:.2f} and random A and B"
    found = tensor(_output(layer, x, tried), (5, 8), tried=tried)
    expect(
        torch.equal(base.weight, weight),
        tried=f"{tried}, then the weight of the base",
        got="it has changed",
        misconception="The forward pass writes the correction into the base, once more at each call. Add the outputs.",
    )
    a, b, old = layer.A.detach(), layer.B.detach(), base(x).detach()
    change = x @ a.T @ b.T
    known: Known = [
        (old + change, "The scale is missing: multiply the correction by alpha / rank."),
        (old + alpha * change, "The scale is alpha alone. Divide by the rank."),
        (old + alpha / 3**0.5 * change, "The scale is alpha/√rank, which is that of rsLoRA. Here it is alpha / rank."),
        (old + 3 / alpha * change, "The scale is upside down: alpha / rank, and not rank / alpha."),
        (old + (alpha / 3) ** 2 * change, "The scale acts twice. Put it on A, on B or on the product: once."),
        (alpha / 3 * (old + change), "The scale acts on the base too. It belongs to the correction alone."),
        (old + alpha / 3 * x @ b @ a, "B A is transposed. A comes first: x @ A.T @ B.T."),
        (old - alpha / 3 * change, "The correction is subtracted. It is added."),
    ]
    right = old + alpha / 3 * change
    gap = f"the output differs from the formula by up to {float((found - right).abs().max()):.2g}"
    why = next((message for wrong, message in known if torch.allclose(found, wrong, atol=1e-3)), "")
    formula = "base(x) + alpha / rank · B A x."
    expect(torch.allclose(found, right, atol=1e-3), tried=tried, got=gap, misconception=why or formula)
    kept = "Keep alpha / rank as `self.scale`; whoever merges the layer needs it."
    expect(hasattr(layer, "scale"), tried=f"{tried}; its attribute scale", got="there is none", misconception=kept)
    close(layer.scale, alpha / 3, tried=f"{tried}; its attribute scale", misconception=kept)


def _check_shapes(answer: Answer) -> None:
    """Bases without a bias, and inputs with more axes."""
    layer, base, alpha = _random(answer, 5, 9, 2, bias=False)
    tried = "texts of shape (4, 3, 5) through a layer 5 → 9 without bias"
    x = torch.randn(4, 3, 5)
    right = base(x) + alpha / 2 * x @ layer.A.T @ layer.B.T
    why = "Features are the last axis of x. Use operations that leave the others alone."
    close(_output(layer, x, tried), right, tried=tried, misconception=why, tolerance=1e-3)


def _check_gradient_below(answer: Answer) -> None:
    """The gradient with respect to the input goes through the frozen base as well."""
    layer, base, alpha = _random(answer, 6, 7, 2)
    x = torch.randn(4, 6, requires_grad=True)
    slope = torch.randn(4, 7)
    tried, got = "the gradient of the loss with respect to the input of the layer", "it is not that of the formula"
    result = layer(x)
    expect(result.requires_grad, tried=tried, got="there is none", misconception="Leave out torch.no_grad and detach.")
    (result * slope).sum().backward()
    through = alpha / 2 * slope @ layer.B.detach() @ layer.A.detach()
    right, found = slope @ base.weight.detach() + through, torch.zeros(4, 6) if x.grad is None else x.grad
    why = "The whole layer should be differentiable: its base with respect to x, and the correction."
    if torch.allclose(found, through, atol=1e-4):
        why = (
            "The base runs without gradient, and the layers below learn from the correction alone. Frozen weights "
            "still pass gradients on: set requires_grad, and leave out torch.no_grad and detach."
        )
    elif torch.allclose(found, right - through, atol=1e-4):
        why = "The correction passes no gradient on to x, and so the layers below miss its part. Do not detach x."
    expect(torch.allclose(found, right, atol=1e-3), tried=tried, got=got, misconception=why)


def _check_training(answer: Answer) -> None:
    """In a few steps both factors move, and the base stays where it is."""
    base = nn.Linear(10, 8)
    layer = answer(base, 4, 8.0)
    start = {name: value.detach().clone() for name, value in layer.named_parameters()}
    learns = [value for value in layer.parameters() if value.requires_grad]
    x, target = torch.randn(32, 10), torch.randn(32, 8)
    for _ in range(3):
        loss = (layer(x) - target).square().mean()
        slopes = torch.autograd.grad(loss, learns, allow_unused=True)
        for value, slope in zip(learns, slopes, strict=True):
            value.data -= 0.1 * slope if slope is not None else 0  # by hand: a first optimizer takes seconds to import
    still = [name for name in ("A", "B") if torch.equal(start[name], getattr(layer, name))]
    stuck = (
        "A and B both start at zero. Then each gradient is multiplied by the other factor, zero: nothing ever moves."
    )
    cut = "It gets no gradient. `.data`, `.detach()` and torch.no_grad cut it off from the loss."
    expect(
        not still,
        tried="three steps of gradient descent",
        got=f"{' and '.join(still)} has not moved" if len(still) == 1 else "neither A nor B has moved",
        misconception=stuck if not start["A"].any() and not start["B"].any() else cut,
    )
