"""Pictures and their captions as features that were computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Pairs:
    """Concepts, each with several views (pictures in several styles, augmented or not) and several captions.

    pictures: features or feature maps of every view. captions: for each concept the features of its captions, one a
    row; concepts may have different numbers of them.
    """

    pictures: Float[Tensor, "concepts views ..."]
    captions: tuple[Float[Tensor, "_ dim"], ...]

    def __post_init__(self) -> None:
        if len(self.pictures) != len(self.captions):
            raise ValueError(
                f"there are pictures of {len(self.pictures)} concepts and captions of {len(self.captions)}; "
                "give both for each concept, in the same order"
            )
        if len(self.captions) < 2 or any(len(rows) == 0 for rows in self.captions):
            raise ValueError("a contrast needs at least two concepts, and every concept a caption")

    def __len__(self) -> int:
        return len(self.captions)

    def draw(self, size: int, generator: torch.Generator) -> tuple[Float[Tensor, "n ..."], Float[Tensor, "n dim"]]:
        """Different concepts, at most `size` of them, each with one view and one caption at random."""
        if size < 2:
            raise ValueError(f"size is {size}; a contrast needs at least two pairs")
        concepts = torch.randperm(len(self), generator=generator)[:size]
        views = torch.randint(self.pictures.shape[1], (len(concepts),), generator=generator)
        share = torch.rand(len(concepts), generator=generator).tolist()
        texts = [
            self.captions[concept][int(part * len(self.captions[concept]))]
            for concept, part in zip(concepts.tolist(), share, strict=True)
        ]
        return self.pictures[concepts, views], torch.stack(texts)

    def take(self, concepts: Sequence[int]) -> Pairs:
        """Some of the concepts."""
        return Pairs(self.pictures[list(concepts)], tuple(self.captions[i] for i in concepts))
