"""Old examples in the mix: the right number of them, under labels of their own, competing among themselves."""

import pytest
import torch
import torch.nn.functional as F

from tlcourse import finetuning
from tlcourse.data import Texts


def texts(name: str, n: int, classes: tuple[str, ...]) -> Texts:
    labels = torch.arange(n) % len(classes)
    return Texts(name=name, texts=tuple(f"{name} {i}" for i in range(n)), labels=labels, classes=classes)


NEW, OLD = texts("new", 30, ("bad", "good")), texts("old", 40, ("a", "b", "c"))


def test_share_labels_and_classes_of_the_mix():
    mixed = finetuning.mix(NEW, OLD, share=0.25, seed=0)
    assert len(mixed) == 40
    assert mixed.classes == ("bad", "good", "a", "b", "c")
    assert mixed.texts[:30] == NEW.texts
    assert torch.equal(mixed.labels[:30], NEW.labels)
    for text, label in zip(mixed.texts[30:], mixed.labels[30:].tolist(), strict=True):
        assert label == 2 + OLD.labels[OLD.texts.index(text)]
    assert len(set(mixed.texts)) == 40


def test_the_draw_follows_the_seed():
    first, again, other = (finetuning.mix(NEW, OLD, share=0.25, seed=seed) for seed in (0, 0, 1))
    assert first.texts == again.texts
    assert first.texts != other.texts


def test_loss_is_the_cross_entropy_within_each_task():
    torch.manual_seed(0)
    outputs, labels = torch.randn(6, 5, requires_grad=True), torch.tensor([0, 1, 2, 4, 1, 3])
    loss = finetuning.per_task_loss(2)(outputs, labels)
    by_hand = [
        F.cross_entropy(row[:2], y) if y < 2 else F.cross_entropy(row[2:], y - 2)
        for row, y in zip(outputs, labels, strict=True)
    ]
    assert loss.item() == pytest.approx(torch.stack(by_hand).mean().item(), abs=1e-6)
    loss.backward()
    assert torch.isfinite(outputs.grad).all()
    assert (outputs.grad[0, 2:] == 0).all()
    assert (outputs.grad[2, :2] == 0).all()


@pytest.mark.parametrize(("share", "message"), [(0.0, "share is 0"), (1.0, "share is 1"), (0.9, "means 270 old texts")])
def test_shares_that_make_no_mix(share, message):
    with pytest.raises(ValueError, match=message):
        finetuning.mix(NEW, OLD, share=share)
