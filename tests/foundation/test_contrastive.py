"""Pictures and their captions: the loss of CLIP, towers that are locked, retrieval both ways."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tlcourse.foundation import (
    Pairs,
    TwoTowers,
    info_nce,
    linear_head,
    mlp_head,
    retrieval_recall,
    train_towers,
)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def open_clip_loss(pictures: Tensor, texts: Tensor, scale: float) -> float:
    """ClipLoss of open_clip, written out: features of length 1, scaled products, labels 0 … n − 1, mean of both."""
    image = pictures.double().numpy()
    text = texts.double().numpy()
    image = image / np.linalg.norm(image, axis=-1, keepdims=True)
    text = text / np.linalg.norm(text, axis=-1, keepdims=True)
    logits_per_image = scale * image @ text.T
    logits_per_text = scale * text @ image.T

    def cross_entropy(logits: np.ndarray) -> float:
        total = 0.0
        for i, row in enumerate(logits):
            total -= row[i] - math.log(np.exp(row - row.max()).sum()) - row.max()
        return total / len(logits)

    return (cross_entropy(logits_per_image) + cross_entropy(logits_per_text)) / 2


@pytest.mark.parametrize("scale", [1.0, 14.3, 100.0])
def test_the_loss_is_that_of_open_clip(scale: float) -> None:
    pictures, texts = 3 * drawn(9, 5), drawn(9, 5, seed=1)
    assert info_nce(pictures, texts, scale).item() == pytest.approx(open_clip_loss(pictures, texts, scale), rel=1e-4)


def test_the_loss_asks_in_both_directions() -> None:
    pictures, texts = drawn(6, 4), drawn(6, 4, seed=1)
    assert info_nce(pictures, texts, 5.0).item() == pytest.approx(info_nce(texts, pictures, 5.0).item())
    # Two pictures of one caption's direction: their texts are found, but not the other way round.
    pictures = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    texts = torch.tensor([[1.0, 0.0], [0.9, 0.1], [1.0, 0.9]])
    logits = 20 * nn.functional.normalize(pictures, dim=1) @ nn.functional.normalize(texts, dim=1).T
    one, other = (nn.functional.cross_entropy(x, torch.arange(3)).item() for x in (logits, logits.T))
    assert abs(one - other) > 0.1
    assert info_nce(pictures, texts, 20.0).item() == pytest.approx((one + other) / 2, rel=1e-4)


@pytest.mark.usefixtures("unchecked")
def test_the_loss_knows_its_ends() -> None:
    eye = torch.eye(8)
    assert info_nce(eye, eye, 100.0).item() < 1e-6
    assert info_nce(torch.ones(8, 3), drawn(8, 3), 7.0).item() > math.log(8) - 1e-3
    assert info_nce(torch.ones(8, 3), torch.ones(8, 3), 7.0).item() == pytest.approx(math.log(8), rel=1e-5)
    with pytest.raises(ValueError, match="a text for each picture"):
        info_nce(drawn(4, 3), drawn(4, 5), 1.0)
    with pytest.raises(ValueError, match="two pairs or more"):
        info_nce(drawn(1, 3), drawn(1, 3), 1.0)
    for scale in (0.0, -20.0, math.nan):
        with pytest.raises(ValueError, match="a number above 0"):
            info_nce(drawn(4, 3), drawn(4, 3), scale)


def test_the_scale_is_learned_as_its_logarithm_and_has_a_ceiling() -> None:
    model = TwoTowers(None, None)
    assert model.scale.item() == pytest.approx(1 / 0.07)
    model.log_scale.data.fill_(math.log(500))
    assert model.scale.item() == pytest.approx(100)
    for scale in (0.0, -1.0, 101.0):
        with pytest.raises(ValueError, match="above 0 and up to 100"):
            TwoTowers(None, None, scale=scale)


def toy_pairs(concepts: int = 40, views: int = 3) -> Pairs:
    """Pictures are a fixed turn of their captions, with noise."""
    texts = drawn(concepts, 6)
    turn = drawn(6, 10, seed=1)
    pictures = (texts @ turn)[:, None] + 0.1 * drawn(concepts, views, 10, seed=2)
    return Pairs(pictures, tuple(torch.stack([row, 1.01 * row]) for row in texts))


def test_training_finds_the_common_space_for_concepts_never_seen() -> None:
    pairs = toy_pairs()
    seen, unseen = pairs.take(range(30)), pairs.take(range(30, 40))
    model = TwoTowers(linear_head(10, 6), None)
    names = torch.stack([captions[0] for captions in unseen.captions])
    before = retrieval_recall(model.pictures(unseen.pictures[:, 0]), names, k=[1])
    losses = train_towers(model, seen, steps=150, batch_size=16, lr=2e-2)
    assert len(losses) == 150
    assert np.mean(losses[-10:]) < 0.3 * np.mean(losses[:10])
    assert not model.training
    after = retrieval_recall(model.pictures(unseen.pictures[:, 0]), names, k=[1])
    assert before[1] < 0.5 < 0.9 <= after[1]
    again = TwoTowers(linear_head(10, 6), None)
    assert train_towers(again, seen, steps=150, batch_size=16, lr=2e-2) == losses
    other = TwoTowers(linear_head(10, 6), None)
    assert train_towers(other, seen, steps=3, batch_size=16, lr=2e-2, seed=1) != losses[:3]
    assert train_towers(other, seen, steps=2, batch_size=16, noise=0.5)[1] > 0


def test_locked_towers_do_not_move_and_the_tail_does() -> None:
    pairs = toy_pairs()
    tail = nn.Sequential(nn.Linear(10, 10), nn.BatchNorm1d(10))
    model = TwoTowers(linear_head(10, 6), linear_head(6, 6, seed=1), picture_tail=tail)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train_towers(model, pairs, steps=5, lr=1e-2, tail_lr=1e-3)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert {"picture_tail.0.weight", "picture_head.weight", "text_head.weight", "log_scale"} <= moved
    assert not any("running" in name for name in moved)
    shift = {
        n: (model.state_dict()[n] - before[n]).abs().max().item()
        for n in ("picture_tail.0.weight", "picture_head.weight")
    }
    assert shift["picture_tail.0.weight"] < 0.5 * shift["picture_head.weight"]  # its own, lower rate
    locked = TwoTowers(linear_head(10, 6), None)
    assert sorted(name for name, _ in locked.named_parameters()) == ["log_scale", "picture_head.weight"]
    assert torch.equal(locked.texts(drawn(3, 6)), nn.functional.normalize(drawn(3, 6), dim=1))


def test_heads_keep_lengths_and_are_drawn_by_seed() -> None:
    x = drawn(200, 128, seed=7)
    for head in (linear_head(128, 64), mlp_head(128, 256, 64)):
        assert head(x).square().mean().item() == pytest.approx(1.0, abs=0.25)
    assert torch.equal(linear_head(5, 4, seed=3).weight, linear_head(5, 4, seed=3).weight)
    assert not torch.equal(mlp_head(5, 6, 4, seed=3)[0].weight, mlp_head(5, 6, 4, seed=4)[0].weight)
    assert torch.equal(mlp_head(5, 6, 4, seed=3)[0].bias, torch.zeros(6))


def test_a_batch_has_each_concept_once() -> None:
    pairs = Pairs(
        torch.arange(6.0).view(6, 1, 1) + torch.tensor([0.0, 0.25]).view(1, 2, 1),
        tuple(torch.full((1 + i % 3, 1), float(i)) + 0.1 * torch.arange(1 + i % 3)[:, None] for i in range(6)),
    )
    generator = torch.Generator().manual_seed(0)
    views, captions = set(), set()
    for _ in range(60):
        pictures, texts = pairs.draw(4, generator)
        assert torch.equal(pictures.floor(), texts.floor())
        assert len(pictures.floor().unique()) == 4
        views |= {round(float(x) % 1, 2) for x in pictures}
        captions |= {round(float(x), 1) for x in texts}
    assert views == {0.0, 0.25}
    assert len(captions) == 12  # every caption of every concept
    assert len(pairs.draw(99, generator)[0]) == 6


def test_pairs_that_do_not_match() -> None:
    with pytest.raises(ValueError, match="pictures of 3 concepts and captions of 2"):
        Pairs(drawn(3, 1, 4), (drawn(1, 2), drawn(1, 2)))
    with pytest.raises(ValueError, match="every concept a caption"):
        Pairs(drawn(2, 1, 4), (drawn(1, 2), drawn(0, 2)))
    with pytest.raises(ValueError, match="at least two concepts"):
        Pairs(drawn(1, 1, 4), (drawn(1, 2),))
    with pytest.raises(ValueError, match="size is 1"):
        toy_pairs().draw(1, torch.Generator())
    with pytest.raises(ValueError, match="at least 1"):
        train_towers(TwoTowers(linear_head(10, 6), None), toy_pairs(), steps=0)
    broken = TwoTowers(linear_head(10, 6), None)
    broken.picture_head.weight.data.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="lower lr"):
        train_towers(broken, toy_pairs(), steps=1)


@pytest.mark.usefixtures("unchecked")
def test_recall_by_hand_in_both_directions() -> None:
    pictures = torch.eye(3)
    texts = torch.tensor([[1.0, 0.2, 0.0], [0.9, 0.1, 0.8], [0.0, 0.3, 1.0]])
    assert retrieval_recall(pictures, texts, k=[1, 2, 3]) == pytest.approx({1: 2 / 3, 2: 1.0 - 1 / 3, 3: 1.0})
    assert retrieval_recall(texts, pictures, k=[1, 2, 3]) == pytest.approx({1: 2 / 3, 2: 2 / 3, 3: 1.0})
    same = torch.ones(4, 2)
    assert retrieval_recall(same, same, k=[1, 3, 4]) == {1: 0.0, 3: 0.0, 4: 1.0}  # it says nothing, so it gets nothing
    with pytest.raises(ValueError, match="an item for each"):
        retrieval_recall(pictures, texts[:2])
    with pytest.raises(ValueError, match="from 1 to 3"):
        retrieval_recall(pictures, texts, k=[4])


def test_the_scale_comes_back_from_its_limit():
    pairs = Pairs(drawn(64, 1, 4), tuple(drawn(64, 1, 4)))
    model = TwoTowers(nn.Linear(4, 4), nn.Linear(4, 4), scale=100.0)
    with torch.no_grad():
        model.log_scale += 1  # as after a step that was too long
    train_towers(model, pairs, steps=3, lr=0.01)
    assert float(model.log_scale.detach()) <= math.log(100) + 1e-6
