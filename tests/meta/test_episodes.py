"""Episodes: as many classes and examples as asked for, no query in the support, splits without a shared class."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

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


def test_the_smallest_draw_and_the_one_of_all_classes():
    assert draw(tasks=1, n_way=2, k_shot=1, n_query=1).query.shape == (1, 2)
    everything = draw(tasks=1, n_way=4, k_shot=4, n_query=1)
    assert sorted(everything.classes[0].tolist()) == [0, 3, 4, 7]
    assert everything.support.shape == (1, 16)


@pytest.mark.parametrize("labels", [LABELS, LABELS[torch.randperm(25, generator=torch.Generator().manual_seed(1))]])
def test_a_draw_written_as_loops(labels):
    """The classes with the largest keys, in order of the keys, and of each the items with the largest keys."""
    found = draw(labels, tasks=20, n_way=3, k_shot=2, n_query=3, seed=5)
    generator = torch.Generator().manual_seed(5)
    of_classes = torch.rand(20, 4, generator=generator).tolist()
    of_items = torch.rand(20, 3, 9, generator=generator).tolist()  # the largest class has 9 items
    for i in range(20):
        chosen = [c for _, c in sorted(zip(of_classes[i], (0, 3, 4, 7), strict=True), reverse=True)][:3]
        assert found.classes[i].tolist() == chosen
        for way, c in enumerate(chosen):
            members = (labels == c).nonzero().flatten().tolist()
            keys = of_items[i][way][: len(members)]
            rows = [row for _, row in sorted(zip(keys, members, strict=True), reverse=True)][:5]
            assert found.support[i, 2 * way : 2 * way + 2].tolist() == rows[:2]
            assert found.query[i, 3 * way : 3 * way + 3].tolist() == rows[2:]
    assert found.support_labels.tolist() == [[0, 0, 1, 1, 2, 2]] * 20
    assert found.query_labels.tolist() == [[0, 0, 0, 1, 1, 1, 2, 2, 2]] * 20


@pytest.mark.usefixtures("unchecked")
def test_labels_must_fit_the_items():
    for labels in (LABELS[:24], LABELS[:, None], LABELS.float()):
        with pytest.raises(ValueError, match="for 25 items; give one class number for each item"):
            meta.sample_episodes(
                torch.arange(25), labels, tasks=1, n_way=2, k_shot=1, n_query=1, generator=torch.Generator()
            )


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


def test_one_class_may_be_held_out_or_all_but_one():
    labels = torch.tensor([4, 4, 9, 9, 9])
    for seed in range(3):
        test = meta.split_classes(labels, held_out=0.5, generator=torch.Generator().manual_seed(seed))
        assert test.tolist() in ([True] * 2 + [False] * 3, [False] * 2 + [True] * 3)
    three = torch.tensor([0, 1, 2])
    assert meta.split_classes(three, held_out=0.6, generator=torch.Generator()).sum() == 2
    with pytest.raises(ValueError, match=r"held_out=0\.9 of 3 families leaves one side empty"):
        meta.split_classes(three, held_out=0.9, generator=torch.Generator())
    for share in (0.0, 1.0):
        with pytest.raises(ValueError, match=f"held_out is {share}; give the share"):
            meta.split_classes(labels, held_out=share, generator=torch.Generator())


def test_quarter_turns_are_new_classes():
    pictures = torch.arange(8, dtype=torch.uint8).view(2, 1, 2, 2)
    turned, labels = meta.quarter_turns(pictures, torch.tensor([0, 1]))
    assert labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert torch.equal(turned[:2], pictures)
    assert turned[2, 0].tolist() == [[1, 3], [0, 2]]
    for oblong in (pictures[:, :, :1], pictures[:, :, :, :1]):
        with pytest.raises(ValueError, match="needs squares"):
            meta.quarter_turns(oblong, torch.tensor([0, 1]))


def test_quarter_turns_of_pictures_with_several_channels():
    pictures = torch.rand(3, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    turned, labels = meta.quarter_turns(pictures, torch.tensor([4, 0, 4]))
    assert labels.tolist() == [4, 0, 4, 9, 5, 9, 14, 10, 14, 19, 15, 19]
    for k in range(4):
        for i in range(3):
            wanted = [np.rot90(channel.numpy(), k) for channel in pictures[i]]
            np.testing.assert_array_equal(turned[3 * k + i].numpy(), np.stack(wanted))


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
    for negative in ("degrees", "zoom", "shift"):
        with pytest.raises(ValueError, match="give 0 or more"):
            meta.small_changes(picture, torch.Generator(), **{negative: -0.01})


def test_small_changes_are_those_of_scipy():
    """Turned about the middle, stretched and moved: by hand from the same uniform numbers, four for each picture."""
    pictures = torch.rand(5, 2, 9, 13, generator=torch.Generator().manual_seed(0))
    ours, theirs = (torch.Generator().manual_seed(1) for _ in range(2))
    for _ in range(2):  # one call takes up where the last has stopped
        found = meta.small_changes(pictures, ours, degrees=30.0, zoom=0.3, shift=0.2)
        for i, (turn, size, right, down) in enumerate((2 * torch.rand(4, 5, generator=theirs) - 1).T.tolist()):
            angle, scale = 30 * math.pi / 180 * turn, 1 + 0.3 * size
            back = scale * np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
            middle = np.array([4.0, 6.0])
            offset = middle - back @ middle + 0.2 * np.array([9 * down, 13 * right])
            for channel in range(2):
                wanted = ndimage.affine_transform(
                    pictures[i, channel].numpy(), back, offset, order=1, mode="grid-constant"
                )
                np.testing.assert_allclose(found[i, channel].numpy(), wanted, atol=1e-4)


def test_by_default_pictures_turn_by_20_degrees_grow_by_0_15_and_move_by_0_1_at_most():
    pictures = torch.rand(6, 1, 15, 15, generator=torch.Generator().manual_seed(0))
    default = meta.small_changes(pictures, torch.Generator().manual_seed(3))
    given = meta.small_changes(pictures, torch.Generator().manual_seed(3), degrees=20.0, zoom=0.15, shift=0.1)
    assert torch.equal(default, given)
    largest = meta.small_changes(pictures, torch.Generator().manual_seed(3), zoom=0.99)
    assert largest.shape == default.shape
