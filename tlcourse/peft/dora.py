"""DoRA: the direction of a weight by LoRA, its length by itself (Liu, Wang, Yin, Molchanov, Wang, Cheng and Chen 2024,
arXiv:2402.09353)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tlcourse.peft.inject import Targets, inject
from tlcourse.peft.linear import parameter, weight_of, widened, with_weight
from tlcourse.peft.lora import LoRALinear
from tlcourse.peft.shelf import Recipe


class DoRALinear(LoRALinear):
    """W' = m ⊙ (W + s·B A) / ‖W + s·B A‖ (Eq. 5), one magnitude and one norm for each output.

    The magnitude m starts as the norm of W's rows, so that the layer starts as its base. The norm is a constant of the
    backward pass (Section 4.3), which saves memory and hardly changes what is learned.
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
        super().__init__(base, rank=rank, alpha=alpha, dropout=dropout, rslora=rslora, generator=generator)
        self.magnitude = parameter(self.norm(), like=base)

    @torch.no_grad()
    def norm(self) -> Float[Tensor, " out"]:
        """Length of each row of W + s·B A, in 32 bits or more, from products with r columns instead of the whole:

        ‖w + s·b A‖² = ‖w‖² + b · (2s·A w + s²·A Aᵀ b) for a row w of W and the row b of B.
        """
        weight, a, b = weight_of(self.base), widened(self.A), widened(self.B)
        squares = torch.linalg.vector_norm(weight, dim=1, dtype=a.dtype).square()
        cross = widened(F.linear(weight, self.A))
        total = squares + (b * (2 * self.scale * cross + self.scale**2 * (b @ (a @ a.T)))).sum(dim=1)
        return total.clamp(min=1e-12).sqrt()

    def forward(self, x: Float[Tensor, "*n in"]) -> Float[Tensor, "*n out"]:
        """m / ‖·‖ ⊙ (W x + s·B A x) + b."""
        change = F.linear(self.scale * F.linear(self.dropout(x), self.A), self.B)
        direction = F.linear(x, weight_of(self.base)) + change
        length = self.magnitude / self.norm().to(self.magnitude.dtype)
        bias = self.base.bias
        return length * direction if bias is None else torch.addcmul(bias, length, direction)

    def merged(self) -> nn.Module:
        """One linear layer with the weight of Eq. 5, computed in 32 bits or more and rounded once."""
        total = (widened(self.magnitude) / self.norm())[:, None] * self.changed()
        return with_weight(self.base, total.to(weight_of(self.base).dtype), self.base.bias)


def inject_dora(
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
    """Freeze the model and put a `DoRALinear` in the place of every linear layer that matches `targets` (see `find`).

    Returns the model. Raises ValueError for a pattern that matches nothing and for a rank larger than a layer.
    """
    generator = torch.Generator().manual_seed(seed)
    return inject(
        model,
        targets,
        lambda path, layer: DoRALinear(
            layer, rank=rank, alpha=alpha, dropout=dropout, rslora=rslora, generator=generator
        ),
        recipe=Recipe("dora", {"rank": rank, "alpha": alpha, "dropout": dropout, "rslora": rslora}),
        name=name,
    )
