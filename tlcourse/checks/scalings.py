"""Does an answer scale what (IA)³ scales: outputs with their bias, or the inputs of a feed-forward layer?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tlcourse.checks.expect import close, expect, tensor
from tlcourse.peft import IA3Linear

Answer = Callable[..., Any]
WIDTH = 6
KINDS = {False: "keys and values", True: "feed-forward"}


def check_ia3(answer: Answer) -> None:
    """CheckFailed unless answer(base, feedforward) is a module that computes and learns as `peft.IA3Linear`."""
    for feedforward in (False, True):
        _check_scales(answer, feedforward)
        for bias in (True, False):
            _check_values(answer, feedforward, bias=bias)
        _check_start(answer, feedforward)
        _check_learning(answer, feedforward)


def _build(answer: Answer, base: nn.Linear, feedforward: bool, *, tried: str) -> Any:
    layer = answer(base, feedforward)
    got = type(layer).__name__
    expect(isinstance(layer, nn.Module), tried=tried, got=got, misconception="IA3 is a class made from nn.Module.")
    return layer


def _name(feedforward: bool, base: nn.Linear) -> str:
    return f"IA3(nn.Linear({base.in_features}, {base.out_features}), feedforward={feedforward})"


def _check_scales(answer: Answer, feedforward: bool) -> None:
    """`scales` is a parameter with one number for each input or output."""
    base = nn.Linear(5, 7)
    tried = _name(feedforward, base)
    layer = _build(answer, base, feedforward, tried=tried)
    scales = getattr(layer, "scales", None)
    expect(
        isinstance(scales, Tensor),
        tried=f"{tried}.scales",
        got=type(scales).__name__,
        misconception="Keep the scales as self.scales, so that others can find them.",
    )
    right, other = ((5,), (7,)) if feedforward else ((7,), (5,))
    faults = {
        other: "A feed-forward layer has its inputs scaled, so there is one scale for each input."
        if feedforward
        else "Keys and values are outputs of their layer, so there is one scale for each output.",
        (): "One scale for the whole layer can only turn it up or down. (IA)³ has one for each feature.",
        (1,): "One scale for the whole layer can only turn it up or down. (IA)³ has one for each feature.",
        (7, 5): "One scale for each weight is as much to store as the weight itself. (IA)³ has one for each feature.",
    }
    assert isinstance(scales, Tensor)
    tensor(scales, right, tried=f"{tried}.scales", misconception=faults.get(tuple(scales.shape), ""))
    expect(
        isinstance(scales, nn.Parameter),
        tried=f"{tried}.scales",
        got="a tensor, but no parameter",
        misconception="layer.parameters() does not list a plain tensor, so no optimizer moves it: nn.Parameter(…).",
    )


def _check_values(answer: Answer, feedforward: bool, *, bias: bool) -> None:
    """With any scales the output is that of the package. Inputs and outputs are as wide, so that all mistakes fit."""
    base = nn.Linear(WIDTH, WIDTH, bias=bias)
    scales, x = 2 * torch.randn(WIDTH), torch.randn(2, 3, WIDTH)
    right = IA3Linear(base, feedforward=feedforward)
    tried = f"{_name(feedforward, base)}{'' if bias else ' without bias'}"
    layer = _build(answer, base, feedforward, tried=tried)
    with torch.no_grad():
        right.scales.copy_(scales)
        layer.scales.copy_(scales)
        wanted, known = right(x), _wrong_outputs(base, scales, x, feedforward)
    tried += f" ({KINDS[feedforward]}), its scales set to random numbers, for x of shape (2, 3, {WIDTH})"
    found = tensor(layer(x), tuple(wanted.shape), tried=tried)
    gap = float((found - wanted).abs().max())
    why = next((why for wrong, why in known if torch.allclose(found, wrong, atol=1e-4)), _RIGHT[feedforward])
    expect(gap < 1e-4, tried=tried, got=f"differs from the right output by up to {gap:.2g}", misconception=why)


_RIGHT = {
    False: "Call the base first, then multiply its output, one scale for each output: scales * base(x).",
    True: "Multiply the input, one scale for each input, then call the base: base(scales * x).",
}


def _wrong_outputs(base: nn.Linear, scales: Tensor, x: Tensor, feedforward: bool) -> list[tuple[Tensor, str]]:
    """What known mistakes give, each with its misconception."""
    bias = torch.zeros(WIDTH) if base.bias is None else base.bias
    output, inner = base(x), base(scales * x)
    added = "The scales are added. The paper multiplies: a scale of 0 switches a feature off, 1 leaves it as it is."
    offset = "The factor is 1 + scales here. The scale itself is the factor, and it starts at 1."
    both = "Input and output are both scaled. It is one of the two."
    side = (
        "The outputs are scaled. In a feed-forward layer the inputs are: they are what comes out of the activation."
        if feedforward
        else "The inputs are scaled. For keys and values the outputs are."
    )
    return [
        (scales * inner, both),
        (inner, side),
        (scales * output, side),
        (
            scales * (output - bias) + bias,
            side
            if feedforward
            else "The bias is left out of the scaling. The output is scaled as a whole: scales * (x Wᵀ + b).",
        ),
        (scales * inner - scales * bias + bias, both),
        (output + scales, added),
        (base(x + scales), added),
        ((1 + scales) * output, offset),
        (base((1 + scales) * x), offset),
        (output, "The scales have no effect on the output."),
        (scales * x, "The base is missing: this scales the input and stops."),
        (output / scales, "You divide by the scales."),
    ]


def _check_start(answer: Answer, feedforward: bool) -> None:
    """A new layer computes what its base computes, because the scales are ones."""
    base, x = nn.Linear(WIDTH, WIDTH), torch.randn(4, WIDTH)
    tried = f"{_name(feedforward, base)}, before any training"
    kept = base.weight.detach().clone()
    layer = _build(answer, base, feedforward, tried=tried)
    start, output = layer.scales.detach(), layer(x)
    zero = "Scales of 0 switch every feature off, and with it all that was learned before. They start at ones."
    expect(bool((start != 0).any()), tried=f"{tried}: its scales", got="zeros", misconception=zero)
    close(
        output,
        base(x).detach(),
        tried=f"{tried}: its output against that of the base",
        misconception="The layer changes the model before it has learned anything. Scales start at ones, not random.",
    )
    same = base.weight.equal(kept)
    into = "You scale the weight of the base itself. Other adapters share it: leave it alone, and scale on the way."
    expect(same, tried=f"{tried}: the base's weight", got="other numbers than before", misconception=into)


def _check_learning(answer: Answer, feedforward: bool) -> None:
    """Only the scales learn, and they do."""
    base = nn.Linear(WIDTH, WIDTH)
    tried = _name(feedforward, base)
    layer = _build(answer, base, feedforward, tried=tried)
    names = [name for name, parameter in layer.named_parameters() if parameter.requires_grad]
    frozen = "W and b are the base's, and frozen: base.requires_grad_(False). Only the scales learn."
    more = [name for name in names if name != "scales"]
    expect(not more, tried=f"{tried}: what learns", got=", ".join(more), misconception=frozen)
    expect(
        bool(names),
        tried=f"{tried}: what learns",
        got="nothing",
        misconception="The scales are frozen too. Freeze the base only, before you make them or by its own name.",
    )
    output = layer(torch.randn(4, WIDTH))
    moved = None
    if output.requires_grad:
        moved = torch.autograd.grad(output.square().sum(), layer.scales, allow_unused=True)[0]
    expect(
        moved is not None and bool((moved != 0).any()),
        tried=f"{tried}: the gradient of the scales",
        got="none",
        misconception="No gradient arrives, so nothing is learned. Leave out detach, .data and torch.no_grad.",
    )
