"""Colours change, shapes and labels do not."""

import pytest
import torch

from tlcourse import finetuning
from tlcourse.data import Images


def pictures(n: int = 40) -> Images:
    """Each picture is black but for one corner, whose colour is the picture's own."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.zeros(n, 3, 8, 8, dtype=torch.uint8)
    pixels[:, :, :3, :3] = torch.randint(60, 255, (n, 3, 1, 1), generator=generator, dtype=torch.uint8)
    labels = torch.arange(n) % 2
    return Images(name="corners", pixels=pixels, labels=labels, classes=("a", "b"), groups=torch.arange(n) // 2)


def test_recolour_keeps_the_shape_and_changes_each_picture_in_its_own_way():
    before = pictures().pixels
    torch.manual_seed(0)
    after = finetuning.recolour(before)
    assert after.dtype == torch.uint8
    corner = after[:, :, :3, :3].float()
    assert (corner.std(dim=(2, 3)) == 0).all()
    assert (corner.mean(dim=(1, 2, 3)) > after[:, :, 4:, 4:].float().mean(dim=(1, 2, 3))).all()
    grey = (corner[:, :, 0, 0].max(dim=1).values - corner[:, :, 0, 0].min(dim=1).values) <= 1
    assert 4 <= int(grey.sum()) <= 22
    assert len({tuple(c.tolist()) for c in corner[:, :, 0, 0]}) > 30


def test_contrast_stays_within_its_bounds_and_channels_change_places():
    flat = torch.full((300, 3, 8, 8), 100, dtype=torch.uint8)
    flat[:, 0, :, :4] = 110  # red differs between the halves by 10, the other channels not at all
    torch.manual_seed(1)
    after = finetuning.recolour(flat).float()
    gap = after[:, :, :, :4].mean(dim=(2, 3)) - after[:, :, :, 4:].mean(dim=(2, 3))
    assert set(gap.argmax(dim=1).tolist()) == {0, 1, 2}
    coloured = gap[gap.min(dim=1).values < 0.5].max(dim=1).values
    assert coloured.min() >= 5
    assert coloured.max() <= 15
    assert coloured.max() - coloured.min() > 5


def test_copies_carry_label_and_group_of_their_picture_and_the_originals_come_first():
    images = pictures(6)
    more = finetuning.with_copies(images, finetuning.recolour, copies=3, seed=0)
    assert len(more) == 24
    assert torch.equal(more.pixels[:6], images.pixels)
    assert torch.equal(more.labels.view(4, 6), images.labels.expand(4, 6))
    assert torch.equal(more.groups.view(4, 6), images.groups.expand(4, 6))
    assert not torch.equal(more.pixels[6:12], more.pixels[12:18])


def test_copies_follow_the_seed_and_leave_the_global_state_alone():
    images = pictures(6)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (finetuning.with_copies(images, finetuning.recolour, copies=1, seed=s) for s in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first.pixels, again.pixels)
    assert not torch.equal(first.pixels, other.pixels)


def test_bad_inputs():
    with pytest.raises(ValueError, match=r"shape \(2, 1, 8, 8\); expected \(n, 3"):
        finetuning.recolour(torch.zeros(2, 1, 8, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match="copies is 0"):
        finetuning.with_copies(pictures(), finetuning.recolour, copies=0, seed=0)
