"""VeRA: one pair of random matrices for all layers, scaled by two learned vectors in each (Kopiczko, Blankevoort and
Asano 2023, arXiv:2310.11454)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tlcourse.peft.inject import AdapterLayer, Targets, find, inject
from tlcourse.peft.linear import features, home, parameter, weight_of, widened, with_weight
from tlcourse.peft.shelf import Recipe, bare


class Projections(nn.Module):
    """The frozen random A (rank, in) and B (out, rank), as wide as the widest layer; others use a part of them.

    Uniform with the bounds of Kaiming's initialisation (Section 3.3), drawn by `seed`.
    """

    A: Tensor
    B: Tensor

    def __init__(self, inputs: int, outputs: int, *, rank: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        a, b = torch.empty(rank, inputs), torch.empty(outputs, rank)
        for matrix in (a, b):
            bound = math.sqrt(6 / matrix.shape[1])
            matrix.uniform_(-bound, bound, generator=generator)
        self.register_buffer("A", a, persistent=False)
        self.register_buffer("B", b.T.contiguous().T, persistent=False)  # by columns, for speed, as in LoRA


class VeRALinear(AdapterLayer):
    """h = W x + b + Λ_b B Λ_d A x (Eq. 2) with the diagonal matrices Λ of the vectors b (out) and d (rank).

    b starts at zero, so that the layer starts as its base, and d at `d_initial`.
    """

    def __init__(self, base: nn.Module, projections: Projections, *, d_initial: float = 0.1) -> None:
        super().__init__(base)
        self.inputs, self.outputs = features(base)
        self.projections = projections
        self.b = parameter(torch.zeros(self.outputs), like=base)
        self.d = parameter(torch.full((len(projections.A),), d_initial), like=base)

    def factors(self) -> tuple[Float[Tensor, "rank in"], Float[Tensor, "out rank"]]:
        """A, and Λ_b B Λ_d for this layer: scaling the matrices is cheaper than scaling every token."""
        a, b = self.projections.A[:, : self.inputs], self.projections.B[: self.outputs]
        return a, self.b[:, None] * b * self.d

    def forward(self, x: Float[Tensor, "*n in"]) -> Float[Tensor, "*n out"]:
        """The base's output and the change."""
        a, b = self.factors()
        return self.base(x) + F.linear(F.linear(x, a), b)

    def merged(self) -> nn.Module:
        """One linear layer with the weight W + Λ_b B Λ_d A, summed in 32 bits or more and rounded once."""
        a, b = self.factors()
        weight = weight_of(self.base)
        return with_weight(self.base, (widened(weight) + widened(b) @ widened(a)).to(weight.dtype), self.base.bias)


def inject_vera(
    model: nn.Module,
    targets: Targets,
    *,
    rank: int,
    d_initial: float = 0.1,
    name: str = "default",
    seed: int = 0,
) -> nn.Module:
    """Freeze the model and put a `VeRALinear` in the place of every linear layer that matches `targets` (see `find`).

    Only `seed` and the vectors need to be kept: the random matrices can be drawn again. Returns the model.
    Raises ValueError for a pattern that matches nothing, or a rank below 1.
    """
    if rank < 1:
        raise ValueError(f"rank is {rank}; give 1 or more (the paper uses 64 to 1024)")
    with bare(model, name):
        layers = [spot.original for spot in find(model, targets)]
    widths = [features(layer) for layer in layers]
    shared = Projections(max(w[0] for w in widths), max(w[1] for w in widths), rank=rank, seed=seed).to(
        *home(layers[0])
    )
    return inject(
        model,
        targets,
        lambda path, layer: VeRALinear(layer, shared, d_initial=d_initial),
        recipe=Recipe("vera", {"rank": rank, "d_initial": d_initial, "seed": seed}),
        name=name,
    )
