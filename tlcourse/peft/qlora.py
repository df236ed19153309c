"""QLoRA: LoRA over a frozen backbone in four bits (Dettmers, Pagnoni, Holtzman and Zettlemoyer 2023,
arXiv:2305.14314, Eq. 5 and 6)."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tlcourse.peft.inject import Targets, find
from tlcourse.peft.linear import features, weight_of
from tlcourse.peft.lora import check_rank, inject_lora
from tlcourse.peft.quantize import Quantized, dequantize, quantize
from tlcourse.peft.shelf import adapters


class NF4Linear(nn.Module):
    """A frozen linear layer that stores its weight in NF4 and computes in the type of its inputs.

    `weight` is the weight (out, in) as the layer computes with it, made anew each time.
    """

    codes: Tensor
    scales: Tensor
    steps: Tensor
    mean: Tensor
    unit: Tensor

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.in_features, self.out_features = features(layer)
        stored = quantize(weight_of(layer))
        self.register_buffer("codes", stored.codes)
        self.register_buffer("scales", stored.scales)
        # As whole numbers, bit by bit, so that model.bfloat16() does not round them.
        self.register_buffer("steps", stored.steps.view(torch.int32))
        self.register_buffer("mean", stored.mean.view(torch.int32))
        self.register_buffer("unit", torch.ones((), dtype=stored.dtype, device=stored.codes.device), persistent=False)
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().clone(), requires_grad=False)

    @property
    def home(self) -> tuple[torch.device, torch.dtype]:
        """Where the layer is, and the type that it computes in."""
        return self.unit.device, self.unit.dtype

    @property
    def packed_parameters(self) -> int:
        """How many weights the codes stand for."""
        return self.in_features * self.out_features

    def stored(self) -> Quantized:
        """The weight in four bits."""
        steps, mean = self.steps.view(torch.float32), self.mean.view(torch.float32)
        return Quantized(self.codes, self.scales, steps, mean, (self.out_features, self.in_features), self.unit.dtype)

    @property
    def weight(self) -> Float[Tensor, "out in"]:
        """doubleDequant of Eq. 6."""
        return dequantize(self.stored())

    def forward(self, x: Float[Tensor, "*n in"]) -> Float[Tensor, "*n out"]:
        """X doubleDequant(W) + b, the first term of Eq. 5."""
        output = _Product.apply(x, self)
        return output if self.bias is None else output + self.bias


class _Product(torch.autograd.Function):
    """x Wᵀ for a quantised W. The backward pass makes W again, so that no layer keeps it in full meanwhile."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: NF4Linear) -> Tensor:
        ctx.layer = layer
        return x @ layer.weight.to(x.dtype).T

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient @ ctx.layer.weight.to(gradient.dtype), None


def quantize_linears(model: nn.Module, targets: Targets) -> nn.Module:
    """Put an `NF4Linear` in the place of every linear layer that matches `targets` (see `find`), for good.

    The paper quantises all linear layers of the transformer's blocks, but neither embeddings nor head: ("*",
    "!lm_head"). Returns the model. Raises ValueError for a pattern that matches nothing, or when the model has
    adapters.
    """
    if names := adapters(model):
        raise ValueError(f"the model has adapters, {list(names)}, on its layers as they are; call remove(model) first")
    layers = {spot: NF4Linear(spot.original).train(spot.original.training) for spot in find(model, targets)}
    for spot, layer in layers.items():
        spot.put(layer)
    return model


def inject_qlora(
    model: nn.Module,
    targets: Targets,
    *,
    rank: int,
    alpha: float | int,
    dropout: float = 0.0,
    rslora: bool = False,
    name: str = "default",
    seed: int = 0,
) -> nn.Module:
    """Quantise every linear layer that matches `targets` to NF4 for good, and put LoRA on it (Eq. 5).

    Removing the adapter leaves the quantised model. Returns the model. Raises ValueError for a pattern that matches
    nothing, and for a rank larger than a layer.
    """
    if not adapters(model):
        for spot in find(model, targets):
            check_rank(spot.original, rank)
    quantize_linears(model, targets)
    return inject_lora(model, targets, rank=rank, alpha=alpha, dropout=dropout, rslora=rslora, name=name, seed=seed)
