"""Corruptions: the right thing changes, more of it at a higher degree, and nothing else. And MNIST-M."""

from __future__ import annotations

import pytest
import torch

from tlcourse import data, shift
from tlcourse.data import Images


@pytest.fixture(scope="module")
def pictures() -> Images:
    """Crops of two photographs."""
    whole = data.photographs().pixels
    crops = [whole[i % 2, :, 60 * i : 60 * i + 48, 90 * i : 90 * i + 48] for i in range(6)]
    return Images(name="crops", pixels=torch.stack(crops), labels=torch.arange(6) % 2, classes=("china", "flower"))


@pytest.mark.parametrize("kind", shift.CORRUPTIONS)
def test_each_degree_is_further_away(pictures, kind: str):
    clean = pictures.pixels.float()
    distances = []
    for severity in range(1, 6):
        made = shift.corrupt(pictures, kind, severity=severity)
        assert made.pixels.shape == pictures.pixels.shape
        assert torch.equal(made.labels, pictures.labels)
        distances.append((made.pixels.float() - clean).square().mean().item())
    assert distances == sorted(distances)
    assert distances[0] > 1
    assert distances[4] > 1.5 * distances[0]


@pytest.mark.parametrize("kind", shift.CORRUPTIONS)
def test_the_seed_draws_the_noise_and_nothing_else(pictures, kind: str):
    state = torch.get_rng_state()
    first, again, other = (shift.corrupt(pictures, kind, seed=seed).pixels for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert torch.equal(first, other) == ("noise" not in kind)
    assert torch.equal(state, torch.get_rng_state())


def grey(value: float, n: int = 4, size: int = 32) -> Images:
    pixels = torch.full((n, 1, size, size), round(255 * value), dtype=torch.uint8)
    return Images(name="grey", pixels=pixels, labels=torch.zeros(n, dtype=torch.long), classes=("a", "b"))


def test_what_each_does_to_a_plain_grey_picture():
    for kind in ("blur", "contrast", "pixelate"):
        assert torch.equal(shift.corrupt(grey(0.5), kind, severity=5).pixels, grey(0.5).pixels)
    assert shift.corrupt(grey(0.2), "brightness", severity=3).pixels.float().mean() == pytest.approx(0.5 * 255, abs=1)
    noisy = shift.corrupt(grey(0.5), "noise", severity=2).pixels.float() / 255
    assert noisy.mean() == pytest.approx(0.5, abs=0.01)
    assert noisy.std() == pytest.approx(0.08, rel=0.05)
    shot = shift.corrupt(grey(0.25), "shot noise", severity=2).pixels.float() / 255
    assert shot.mean() == pytest.approx(0.25, abs=0.01)
    assert shot.std() == pytest.approx((0.25 / 50) ** 0.5, rel=0.05)


@pytest.mark.parametrize("size", [64, 96])
def test_blur_spreads_a_point_as_a_gaussian_that_grows_with_the_picture(size: int):
    point = grey(0.0, n=1, size=size)
    point.pixels[0, 0, 32, 32] = 255
    spread = shift.CORRUPTIONS["blur"](point.pixels.float(), 4, torch.Generator())[0, 0]
    assert spread.sum() == pytest.approx(255, rel=1e-3)
    rows = torch.arange(size) - 32.0
    assert (spread.sum(dim=1) * rows.square()).sum() / 255 == pytest.approx((1.8 * size / 64) ** 2, rel=0.03)


def test_contrast_keeps_the_mean_and_shrinks_the_rest(pictures):
    made = shift.corrupt(pictures, "contrast", severity=3).pixels.float()
    clean = pictures.pixels.float()
    torch.testing.assert_close(made.mean(dim=(1, 2, 3)), clean.mean(dim=(1, 2, 3)), atol=0.5, rtol=0)
    assert made.std() < clean.std()


def test_digits_are_blended_into_patches():
    digits = grey(0.0, n=5, size=8)
    digits.pixels[:, :, 2, 3] = 200
    scene = Images(
        name="scene",
        pixels=torch.arange(3 * 40 * 50).reshape(1, 3, 40, 50).remainder(256).to(torch.uint8),
        labels=torch.tensor([0]),
        classes=("scene",),
    )
    made = shift.blend(digits, scene)
    assert made.pixels.shape == (5, 3, 8, 8)
    spots = set()
    for picture in made.pixels:
        patch = picture.clone()
        matches = [
            (top, left)
            for top in range(33)
            for left in range(43)
            if torch.equal(scene.pixels[0, :, top, left : left + 8], patch[:, 0])
            and torch.equal(scene.pixels[0, :, top + 7, left : left + 8], patch[:, 7])
        ]
        top, left = matches[0]
        behind = scene.pixels[0, :, top + 2, left + 3].int()
        assert torch.equal(picture[:, 2, 3].int(), (200 - behind).abs())
        patch[:, 2, 3] = behind.to(torch.uint8)
        assert torch.equal(patch, scene.pixels[0, :, top : top + 8, left : left + 8])
        spots.add((top, left))
    assert len(spots) > 2
    assert torch.equal(made.pixels, shift.blend(digits, scene).pixels)
    assert not torch.equal(made.pixels, shift.blend(digits, scene, seed=1).pixels)
    assert torch.equal(made.labels, digits.labels)


def test_grey_pictures_in_colour():
    made = shift.in_colour(grey(0.3))
    assert made.pixels.shape == (4, 3, 32, 32)
    assert (made.pixels == grey(0.3).pixels).all()


def test_bad_input(pictures):
    with pytest.raises(KeyError, match="kind='fog' is unknown; choose from: noise"):
        shift.corrupt(pictures, "fog")
    with pytest.raises(ValueError, match="severity is 6"):
        shift.corrupt(pictures, "blur", severity=6)
    with pytest.raises(ValueError, match="give grey digits, and colour photographs"):
        shift.blend(pictures, pictures)
    with pytest.raises(ValueError, match=r"photographs \(3, 48, 48\); give"):
        shift.blend(grey(0.1, size=64), pictures)
