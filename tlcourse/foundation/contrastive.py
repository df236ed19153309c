"""Contrastive pre-training of pictures and texts: CLIP (Radford et al. 2021, arXiv:2103.00020, Figure 3), and locked
towers (LiT, Zhai et al. 2022, arXiv:2111.07991)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from tlcourse import training
from tlcourse.foundation.pairs import Pairs
from tlcourse.models.drawing import drawn_by

START, LARGEST = 1 / 0.07, 100.0
"""The factor of the cosines at the start, and at most (Section 2.5)."""


def info_nce(
    pictures: Float[Tensor, "n dim"], texts: Float[Tensor, "n dim"], scale: Float[Tensor, ""] | float | int
) -> Float[Tensor, ""]:
    """Which text belongs to this picture, and which picture to this text: the mean of both cross-entropies.

    Row i of both belongs together; everything else in the batch is a wrong answer. `scale` is 1/τ, the inverse of the
    temperature. The rows are brought to length 1 here. Without learning the loss is log n.
    Raises ValueError for counts that differ, for fewer than two pairs, and a scale that is not above 0.
    """
    if pictures.shape != texts.shape or len(pictures) < 2:
        raise ValueError(
            f"pictures are {tuple(pictures.shape)} and texts {tuple(texts.shape)}; give two pairs or more, a text for "
            "each picture, in one space"
        )
    if not scale > 0:
        raise ValueError(f"scale is {float(scale)}; give 1/τ, a number above 0")
    logits = scale * F.normalize(pictures, dim=1) @ F.normalize(texts, dim=1).T
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


class TwoTowers(nn.Module):
    """Features of pictures and of texts, brought into one space by a head each, with a learned scale of the cosines.

    `picture_head`, `text_head`: linear maps, or anything else; None leaves the features as they are, so that the other
    side has to come to them. `picture_tail`: the last layers of the picture tower, if they are to learn as well; it
    then takes what the layers before them give. Everything that is not here is locked: a tower whose features are
    computed once and kept never learns. LiT locks the pictures; here the texts are locked, and the pictures as far as
    their tail.
    """

    def __init__(
        self,
        picture_head: nn.Module | None,
        text_head: nn.Module | None,
        *,
        picture_tail: nn.Module | None = None,
        scale: float = START,
    ) -> None:
        super().__init__()
        if not 0 < scale <= LARGEST:
            raise ValueError(f"scale is {scale}; give a factor above 0 and up to {LARGEST:.0f}")
        self.picture_tail = picture_tail or nn.Identity()
        self.picture_head = picture_head or nn.Identity()
        self.text_head = text_head or nn.Identity()
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    @property
    def scale(self) -> Float[Tensor, ""]:
        """The factor of the cosines, 1/τ. It is learned as its logarithm, and never above 100."""
        return self.log_scale.clamp(max=math.log(LARGEST)).exp()

    def pictures(self, features: Float[Tensor, "n ..."]) -> Float[Tensor, "n dim"]:
        """Pictures in the common space, of length 1."""
        return F.normalize(self.picture_head(self.picture_tail(features)), dim=1)

    def texts(self, features: Float[Tensor, "n dim"]) -> Float[Tensor, "n dim2"]:
        """Texts in the common space, of length 1."""
        return F.normalize(self.text_head(features), dim=1)

    def forward(self, pictures: Float[Tensor, "n ..."], texts: Float[Tensor, "n dim"]) -> Float[Tensor, ""]:
        """The loss of a batch of pairs."""
        return info_nce(self.pictures(pictures), self.texts(texts), self.scale)


def linear_head(inputs: int, outputs: int, *, seed: int = 0) -> nn.Linear:
    """CLIP's head: one matrix, without a bias, each column drawn so that lengths are kept on average."""
    with drawn_by(seed):
        head = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(head.weight, std=inputs**-0.5, generator=torch.Generator().manual_seed(seed))
    return head


def mlp_head(inputs: int, hidden: int, outputs: int, *, seed: int = 0) -> nn.Sequential:
    """A head with one hidden layer, as SimCLR's (Chen et al. 2020, arXiv:2002.05709, Section 4.2)."""
    with drawn_by(seed):
        first = nn.Linear(inputs, hidden)
    last = linear_head(hidden, outputs, seed=seed + 1)
    nn.init.normal_(first.weight, std=(2 / inputs) ** 0.5, generator=torch.Generator().manual_seed(seed))
    nn.init.zeros_(first.bias)
    return nn.Sequential(first, nn.ReLU(), last)


def train_towers(
    model: TwoTowers,
    pairs: Pairs,
    *,
    steps: int,
    batch_size: int = 256,
    lr: float = 1e-3,
    tail_lr: float = 1e-4,
    weight_decay: float = 0.1,
    noise: float = 0.0,
    seed: int = 0,
) -> tuple[float, ...]:
    """Train what is not locked, in place; the loss of each step. The model ends in evaluation mode.

    A batch has each concept once, in one of its views and with one of its captions, all drawn by `seed`: two pictures
    of one concept would be each other's wrong answer. `noise` blurs the text features (standard deviation, as a share
    of their size), so that nearby words mean the same. AdamW, cosine; the tail has a rate of its own, and stays in
    evaluation mode, so that its norms keep their statistics.
    Raises ValueError for fewer than one step, and FloatingPointError when the loss is not finite.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; train for at least 1")
    tail = list(model.picture_tail.parameters())
    heads = [*model.picture_head.parameters(), *model.text_head.parameters()]
    groups = [
        {"params": heads, "lr": lr, "weight_decay": weight_decay},
        {"params": tail, "lr": tail_lr, "weight_decay": weight_decay},
        {"params": [model.log_scale], "lr": lr, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=lr, fused=True)
    rates = training.LearningRates(optimizer, training.cosine, steps)
    generator = torch.Generator().manual_seed(seed)
    model.train()
    model.picture_tail.eval()
    losses: list[float] = []
    for step in range(steps):
        rates.set(step)
        pictures, texts = pairs.draw(batch_size, generator)
        if noise:
            length = texts.norm(dim=1, keepdim=True) / math.sqrt(texts.shape[1])
            texts = texts + noise * length * torch.randn(texts.shape, generator=generator)
        home = model.log_scale.device
        losses.append(training.update(model, optimizer, model(pictures.to(home).float(), texts.to(home))))
        model.log_scale.data.clamp_(max=math.log(LARGEST))  # beyond it there is no gradient that leads back
    model.eval()
    return tuple(losses)


def retrieval_recall(
    queries: Float[Tensor, "n dim"], items: Float[Tensor, "n dim"], *, k: Sequence[int] = (1, 5, 10)
) -> dict[int, float]:
    """Recall@k: share of queries whose own item, the one in the same row, is among the k most similar.

    Call it with pictures and texts, then the other way round: the two differ. Items that are equally similar are
    counted as found before the right one, so that a model that says nothing gets nothing.
    Raises ValueError for counts that differ, or a k that is not 1 … n.
    """
    if queries.shape != items.shape:
        raise ValueError(f"queries are {tuple(queries.shape)} and items {tuple(items.shape)}; give an item for each")
    if not k or min(k) < 1 or max(k) > len(items):
        raise ValueError(f"k is {tuple(k)}; give numbers from 1 to {len(items)}, the items that there are")
    similarity = F.normalize(queries, dim=1) @ F.normalize(items, dim=1).T
    rank = ranks(similarity, torch.arange(len(similarity), device=similarity.device))
    return {each: float((rank <= each).double().mean()) for each in k}


def ranks(similarity: Float[Tensor, "n m"], right: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """The place of the right item of each row, 1 for the most similar; of equals the right one comes last."""
    own = similarity.gather(1, right[:, None])
    return similarity.shape[1] - (similarity < own).sum(dim=1)  # NaN is less than nothing: it comes last
