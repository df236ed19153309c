"""One view of the linear layers that adapters are put on: PyTorch's, GPT-2's transposed one, and the quantised one."""

from __future__ import annotations

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn


def is_linear(module: nn.Module) -> bool:
    """Whether adapters know the module as a linear layer."""
    return is_transposed(module) or (hasattr(module, "in_features") and hasattr(module, "out_features"))


def is_transposed(module: nn.Module) -> bool:
    """Whether the module is transformers' `Conv1D`, which GPT-2 uses: a linear layer that stores its weight (in, out).

    It is known by its name, so that networks without it do not wait for the import of transformers.
    """
    return type(module).__name__ == "Conv1D"


def features(layer: Any) -> tuple[int, int]:
    """Width of the inputs and of the outputs."""
    if is_transposed(layer):
        inputs, outputs = layer.weight.shape
        return int(inputs), int(outputs)
    return int(layer.in_features), int(layer.out_features)


def weight_of(layer: Any) -> Float[Tensor, "out in"]:
    """The weight as (out, in), however the layer stores it."""
    return layer.weight.T if is_transposed(layer) else layer.weight


def widened(tensor: Tensor) -> Tensor:
    """The numbers in 32 bits, or in as many as they have when that is more."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def with_weight(layer: nn.Module, weight: Float[Tensor, "out in"], bias: Float[Tensor, " out"] | None) -> nn.Module:
    """A frozen linear layer of the same kind with other numbers; a quantised one becomes a plain `nn.Linear`."""
    outputs, inputs = weight.shape
    if is_transposed(layer):
        new = copy.deepcopy(layer)
        weight = weight.T.contiguous()
    else:
        new = nn.Linear(inputs, outputs, bias=bias is not None, device="meta")
    new.weight = nn.Parameter(weight.detach(), requires_grad=False)
    if bias is not None:
        new.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
    return new.train(layer.training)


def home(thing: Any) -> tuple[torch.device, torch.dtype]:
    """Device and type that a layer computes on and in; a quantised one says so itself."""
    if hasattr(thing, "home"):
        return thing.home
    tensor = thing if isinstance(thing, nn.Parameter) else next(thing.parameters())
    return tensor.device, tensor.dtype


def parameter(values: Tensor, like: nn.Module) -> nn.Parameter:
    """Values to be learned, on the device and in the type of the layer that they belong to."""
    device, dtype = home(like)
    return nn.Parameter(values.to(device=device, dtype=dtype))
