"""LoRA (Hu, Shen, Wallis, Allen-Zhu, Li, Wang, Wang and Chen 2021, arXiv:2106.09685), and its rank-stabilised scale
(Kalajdzievski 2023, arXiv:2312.03732)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tlcourse.peft.inject import AdapterLayer, Targets, inject
from tlcourse.peft.linear import features, parameter, weight_of, widened, with_weight
from tlcourse.peft.shelf import Recipe


class LoRALinear(AdapterLayer):
    """h = W x + b + s·B A x (Eq. 3): a frozen linear layer and a change of low rank.

    A (rank, in) is uniform with bound 1/√in, B (out, rank) is zero, so that the layer starts as its base. The scale s
    is alpha/rank; with `rslora` it is alpha/√rank, which keeps the size of the update at large ranks (Theorem 3.2).
    `dropout` acts on the input of A. `generator` draws A, on the CPU.
    """

    def __init__(
        self,
        base: nn.Module,
        *,
        rank: int,
        alpha: float | int,
        dropout: float = 0.0,
        rslora: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(base)
        inputs, outputs = check_rank(base, rank)
        bound = 1 / math.sqrt(inputs)
        self.scale = alpha / (math.sqrt(rank) if rslora else rank)
        self.dropout = nn.Dropout(dropout)
        self.A = parameter(torch.empty(rank, inputs).uniform_(-bound, bound, generator=generator), like=base)
        # Stored by columns: its gradient is then a product with long rows, several times faster on a CPU.
        self.B = parameter(torch.zeros(rank, outputs).T, like=base)

    def forward(self, x: Float[Tensor, "*n in"]) -> Float[Tensor, "*n out"]:
        """The base's output and the change; the scale is on the r numbers between A and B, where it is cheapest."""
        return self.base(x) + F.linear(self.scale * F.linear(self.dropout(x), self.A), self.B)

    def delta(self) -> Float[Tensor, "out in"]:
        """The change of the weight, s·B A."""
        return self.scale * (self.B @ self.A)

    def merged(self) -> nn.Module:
        """One linear layer with the weight W + s·B A (Section 4.1, "No additional inference latency").

        The sum is in 32 bits or more and is rounded once, to the type of W.
        """
        return with_weight(self.base, self.changed().to(weight_of(self.base).dtype), self.base.bias)

    def changed(self) -> Float[Tensor, "out in"]:
        """W + s·B A, in 32 bits or more."""
        return widened(weight_of(self.base)) + self.scale * (widened(self.B) @ widened(self.A))


def check_rank(layer: nn.Module, rank: int) -> tuple[int, int]:
    """Width of the layer's inputs and outputs. Raises ValueError for a rank that no weight of this shape has."""
    inputs, outputs = features(layer)
    if not 1 <= rank <= min(inputs, outputs):
        raise ValueError(
            f"rank is {rank}, and the layer is {inputs} → {outputs}; give 1 to {min(inputs, outputs)}: "
            "no matrix of this shape has a higher rank"
        )
    return inputs, outputs


def inject_lora(
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
    """Freeze the model and put a `LoRALinear` in the place of every linear layer that matches `targets` (see `find`).

    Returns the model. Raises ValueError for a pattern that matches nothing and for a rank larger than a layer.
    """
    generator = torch.Generator().manual_seed(seed)
    return inject(
        model,
        targets,
        lambda path, layer: LoRALinear(
            layer, rank=rank, alpha=alpha, dropout=dropout, rslora=rslora, generator=generator
        ),
        recipe=Recipe("lora", {"rank": rank, "alpha": alpha, "dropout": dropout, "rslora": rslora}),
        name=name,
    )
