"""Episodes: as many classes and examples as asked for, no query in the support, splits without a shared class."""

from __future__ import annotations

import pytest
import torch

from tlcourse import meta

LABELS = torch.tensor([7] * 5 + [3] * 9 + [4] * 6 + [0] * 5)


def draw(labels=LABELS, *, seed=0, tasks=50, n_way=3, k_shot=2, n_query=3):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.arange(len(labels))
    return meta.sample_episodes(
        rows, labels, tasks=tasks, n_way=n_way, k_shot=k_shot, n_query=n_query, generator=generator
    )


def test_every_episode_has_different_classes_and_different_items():
    found = draw()
    assert (len(found), found.n_way) == (50, 3)
    assert found.support.shape == (50, 6)
    assert found.query.shape == (50, 9)
    for i in range(len(found)):
        rows = torch.cat([found.support[i], found.query[i]])
        assert len(rows.unique()) == 15
        assert len(found.classes[i].unique()) == 3
        for part, numbers in ((found.support, found.support_labels), (found.query, found.query_labels)):
            assert torch.equal(LABELS[part[i]], found.classes[i][numbers[i]])


def test_every_class_and_every_item_has_its_turn_equally_often():
    found = draw(tasks=4000, n_way=2, k_shot=1, n_query=1)
    assert torch.bincount(found.classes.flatten()).tolist() == pytest.approx(
        [2000, 0, 0, 2000, 2000, 0, 0, 2000], abs=150
    )
    of_three = found.support[LABELS[found.support] == 3]
    assert torch.bincount(of_three)[5:14].float().tolist() == pytest.approx([2000 / 9] * 9, abs=60)


def test_a_draw_is_repeated_by_its_seed_and_items_may_have_any_shape():
    assert torch.equal(draw(seed=1).query, draw(seed=1).query)
    assert not torch.equal(draw(seed=1).query, draw(seed=2).query)
    pictures = torch.rand(len(LABELS), 1, 4, 4)
    found = meta.sample_episodes(
        pictures, LABELS, tasks=2, n_way=2, k_shot=1, n_query=2, generator=torch.Generator().manual_seed(0)
    )
    assert found.support.shape == (2, 2, 1, 4, 4)
    assert found.take(slice(1, 2)).query.shape == (1, 4, 1, 4, 4)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"n_way": 5}, "n_way is 5, but the labels have 4 classes"),
        ({"n_way": 1}, "n_way is 1; give 2 or more"),
        ({"k_shot": 3, "n_query": 3}, r"class 0 has 5 items, fewer than k_shot \+ n_query = 3 \+ 3"),
        ({"k_shot": 0}, "k_shot is 0"),
        ({"n_query": -1}, "n_query is -1"),
        ({"tasks": 0}, "tasks is 0"),
    ],
)
def test_bad_numbers(numbers, message):
    with pytest.raises(ValueError, match=message):
        draw(**numbers)


def test_labels_must_fit_the_items(monkeypatch):
    with pytest.raises(ValueError, match="for 3 items"):
        meta.episodes._checked(torch.arange(3), LABELS)


def test_held_out_classes_and_families():
    labels = torch.arange(40).repeat_interleave(3)
    groups = labels // 4
    generator = torch.Generator().manual_seed(0)
    test = meta.split_classes(labels, held_out=0.3, generator=generator)
    assert not set(labels[test].tolist()) & set(labels[~test].tolist())
    assert len(labels[test].unique()) == 12
    test = meta.split_classes(labels, held_out=0.3, groups=groups, generator=generator)
    assert not set(groups[test].tolist()) & set(groups[~test].tolist())
    assert len(groups[test].unique()) == 3
    with pytest.raises(ValueError, match="class 1 is in more than one of the groups"):
        meta.split_classes(torch.tensor([0, 1, 1]), held_out=0.5, groups=torch.tensor([0, 0, 1]), generator=generator)
    with pytest.raises(ValueError, match=r"held_out is 1\.0"):
        meta.split_classes(labels, held_out=1.0, generator=generator)
    with pytest.raises(ValueError, match="one side empty"):
        meta.split_classes(torch.tensor([0, 1]), held_out=0.1, generator=generator)


def test_quarter_turns_are_new_classes():
    pictures = torch.arange(8, dtype=torch.uint8).view(2, 1, 2, 2)
    turned, labels = meta.quarter_turns(pictures, torch.tensor([0, 1]))
    assert labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert torch.equal(turned[:2], pictures)
    assert turned[2, 0].tolist() == [[1, 3], [0, 2]]
    with pytest.raises(ValueError, match="needs squares"):
        meta.quarter_turns(pictures[:, :, :1], torch.tensor([0, 1]))


def test_small_changes_are_small_and_differ_from_picture_to_picture():
    picture = torch.zeros(64, 1, 21, 21)
    picture[:, :, 9:12, 9:12] = 1
    none = meta.small_changes(picture, torch.Generator().manual_seed(0), degrees=0.0, zoom=0.0, shift=0.0)
    torch.testing.assert_close(none, picture, atol=1e-4, rtol=0)
    moved = meta.small_changes(picture, torch.Generator().manual_seed(0), degrees=0.0, zoom=0.0, shift=0.2)
    where = (moved.sum(dim=2) * torch.arange(21)).sum(dim=(1, 2)) / moved.sum(dim=(1, 2, 3)) - 10
    assert 3 < where.abs().max() <= 0.2 * 21 + 0.1
    assert where.std() > 1
    larger = meta.small_changes(picture, torch.Generator().manual_seed(0), degrees=0.0, zoom=0.5, shift=0.0).sum(
        (1, 2, 3)
    )
    assert larger.min() < 8 < 10 < larger.max()
    bytes_ = (255 * picture).to(torch.uint8)
    torch.testing.assert_close(
        meta.small_changes(bytes_, torch.Generator().manual_seed(1)),
        meta.small_changes(picture, torch.Generator().manual_seed(1)),
    )
    with pytest.raises(ValueError, match="zoom below 1"):
        meta.small_changes(picture, torch.Generator(), zoom=1.0)
