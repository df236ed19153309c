"""Bottleneck adapters (Houlsby, Giurgiu, Jastrzebski, Morrone, de Laroussilhe, Gesmundo, Attariyan and Gelly 2019,
arXiv:1902.00751)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tlcourse.peft.inject import AdapterLayer, Targets, find
from tlcourse.peft.linear import features, parameter
from tlcourse.peft.shelf import Place, Recipe, Thing, attach, bare, trainable_copies


class BottleneckLayer(AdapterLayer):
    """y + W_up gelu(W_down y + b_down) + b_up for the output y of the base (Figure 2, right).

    Weights are normal with deviation 0.01, cut at two deviations, and biases zero (Section 3.6), so that the layer is
    nearly its base at first.
    """

    def __init__(self, base: nn.Module, *, size: int, generator: torch.Generator | None = None) -> None:
        super().__init__(base)
        _, outputs = features(base)
        if size < 1:
            raise ValueError(f"size is {size}; give the width of the bottleneck, 1 or more (the paper uses 8 to 256)")
        self.down = parameter(_near_zero(size, outputs, generator), like=base)
        self.down_bias = parameter(torch.zeros(size), like=base)
        self.up = parameter(_near_zero(size, outputs, generator).T, like=base)  # by columns, for speed, as in LoRA
        self.up_bias = parameter(torch.zeros(outputs), like=base)

    def forward(self, x: Float[Tensor, "*n in"]) -> Float[Tensor, "*n out"]:
        """The base's output, and what the bottleneck adds to it."""
        y = self.base(x)
        return y + F.linear(F.gelu(F.linear(y, self.down, self.down_bias)), self.up, self.up_bias)


def _near_zero(rows: int, columns: int, generator: torch.Generator | None) -> Float[Tensor, "rows columns"]:
    weight = torch.empty(rows, columns)
    return nn.init.trunc_normal_(weight, std=0.01, a=-0.02, b=0.02, generator=generator)


def _is_norm(module: nn.Module) -> bool:
    return "Norm" in type(module).__name__


def inject_adapter(
    model: nn.Module,
    targets: Targets,
    *,
    size: int,
    norms: Targets | None = None,
    name: str = "default",
    seed: int = 0,
) -> nn.Module:
    """Freeze the model and put a `BottleneckLayer` in the place of every linear layer that matches `targets`.

    The paper's places are the last layers of both sublayers, before the skip connection (Section 2.1): "output.dense"
    in BERT (attention and feed-forward), ("attn.c_proj", "mlp.c_proj") in GPT-2, ("o_proj", "down_proj") in Llama.
    `norms` are patterns of normalisation layers whose scales and shifts are learned too, as in the paper: "LayerNorm".

    Returns the model. Raises ValueError for a pattern that matches nothing, or a size below 1.
    """
    generator = torch.Generator().manual_seed(seed)
    with bare(model, name):
        layers: dict[Place, Thing] = {
            spot: BottleneckLayer(spot.original, size=size, generator=generator) for spot in find(model, targets)
        }
        if norms is not None:
            found = find(model, norms, kind=_is_norm, called="normalisation layer")
            names = [f"{spot.path}.{n}" for spot in found for n, _ in spot.original.named_parameters(recurse=False)]
            layers |= trainable_copies(model, names)
    return attach(model, layers, recipe=Recipe("adapter", {"size": size}), name=name)
