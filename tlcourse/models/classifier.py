"""A backbone with a new linear layer on top."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from tlcourse.models.drawing import drawn_by


class Classifier(nn.Module):
    """Features of `backbone` through a new linear `head` to `n_classes` logits.

    The backbone is any module with an attribute `dim`, the width of its features. A backbone that collates its own
    inputs (texts) hands `collate` on. The head is PyTorch's default initialisation, drawn by `seed`.
    """

    def __init__(self, backbone: nn.Module, n_classes: int, *, seed: int = 0) -> None:
        super().__init__()
        if n_classes < 2:
            raise ValueError(f"n_classes is {n_classes}; a classifier needs at least 2")
        dim = getattr(backbone, "dim", None)
        if not isinstance(dim, int):
            raise ValueError(f"backbone {type(backbone).__name__} has no `dim`; set it to the width of its features")
        self.backbone = backbone
        with drawn_by(seed):
            self.head = nn.Linear(dim, n_classes)
        if hasattr(backbone, "collate"):
            self.collate = backbone.collate

    def forward(self, inputs: Any) -> Float[Tensor, "n classes"]:
        """Logits; `inputs` is whatever the backbone takes."""
        return self.head(self.backbone(inputs))
