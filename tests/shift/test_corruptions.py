"""Corruptions: the right thing changes, more of it at a higher degree, and nothing else. And MNIST-M."""

from __future__ import annotations

import pytest
import torch
from scipy.ndimage import gaussian_filter

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


# Each degree by another description than the code's.


@pytest.fixture(scope="module")
def uneven() -> torch.Tensor:
    """Two random pictures in colour, 45 high and 56 wide, with values from 0 to 1."""
    return torch.rand(2, 3, 45, 56, generator=torch.Generator().manual_seed(0))


def degrees(kind: str, pixels: torch.Tensor) -> list[torch.Tensor]:
    """A corruption at degrees 1 to 5, on values from 0 to 1."""
    return [shift.CORRUPTIONS[kind](pixels, severity, torch.Generator().manual_seed(0)) for severity in range(1, 6)]


def test_noise_has_the_spread_of_its_degree(uneven):
    for made, spread in zip(degrees("noise", uneven), (0.04, 0.08, 0.12, 0.18, 0.26), strict=True):
        added = (made - uneven) / spread
        assert added.std() == pytest.approx(1, abs=0.02)  # of 15,120 values, known to 0.006
        assert added.mean() == pytest.approx(0, abs=0.03)


def test_shot_noise_counts_whole_grains(uneven):
    for made, grains in zip(degrees("shot noise", uneven), (120, 50, 25, 12, 6), strict=True):
        counts = made * grains
        torch.testing.assert_close(counts, counts.round(), atol=1e-3, rtol=0)
        assert counts.round().diff(dim=3).abs().unique()[:2].tolist() == [0, 1], "a step is one grain"
        assert made.mean() == pytest.approx(float(uneven.mean()), abs=0.01)
    assert (shift.CORRUPTIONS["shot noise"](uneven - 2, 1, torch.Generator()) == 0).all(), "no light, no grain"


@pytest.mark.parametrize("width", [56, 96])
def test_blur_is_scipys_gaussian_filter(uneven, width: int):
    pixels = uneven.repeat(1, 1, 1, 2)[..., :width]
    for made, at_64 in zip(degrees("blur", pixels), (0.5, 0.8, 1.2, 1.8, 2.6), strict=True):
        sigma = at_64 * width / 64
        expected = gaussian_filter(pixels.numpy(), sigma=(0, 0, sigma, sigma), mode="nearest", truncate=3.0)
        torch.testing.assert_close(made, torch.from_numpy(expected), atol=2e-6, rtol=0)


def test_brightness_adds_tenths_and_contrast_shrinks_what_differs(uneven):
    brighter, flatter = degrees("brightness", uneven), degrees("contrast", uneven)
    mean = torch.stack([picture.mean() for picture in uneven])[:, None, None, None]
    for i, left in enumerate((0.6, 0.45, 0.3, 0.2, 0.12)):
        torch.testing.assert_close(brighter[i] - uneven, torch.full_like(uneven, (i + 1) / 10))
        torch.testing.assert_close(flatter[i] - mean, left * (uneven - mean))


def test_pixelate_leaves_so_many_rows_and_columns(uneven):
    blocks = ((22, 28), (18, 22), (14, 17), (10, 12), (7, 9))  # 45 and 56 times ½, 0.4, 0.3, 0.22 and 0.16
    for made, (rows, columns) in zip(degrees("pixelate", uneven), blocks, strict=True):
        assert made[0, 0].unique(dim=0).shape[0] == rows
        assert made[0, 0].unique(dim=1).shape[1] == columns
        assert made.mean() == pytest.approx(float(uneven.mean()), abs=0.01)
    tiny = uneven[:, :, :3, :4]
    for small in (tiny, tiny.transpose(2, 3)):
        made = shift.CORRUPTIONS["pixelate"](small, 5, torch.Generator())
        torch.testing.assert_close(made, small.mean(dim=(2, 3), keepdim=True).expand_as(small))


def test_bytes_are_rounded_and_cut_at_both_ends():
    values = torch.tensor([0, 1, 100, 203, 204, 205, 255], dtype=torch.uint8)
    row = Images(name="row", pixels=values.reshape(1, 1, 1, 7), labels=torch.tensor([0]), classes=("a",))
    made = shift.corrupt(row, "brightness", severity=2)  # a fifth of 255 is 51
    assert made.pixels.flatten().tolist() == [51, 52, 151, 254, 255, 255, 255]
    black = shift.corrupt(grey(0.0), "noise").pixels
    assert (black == 0).float().mean() == pytest.approx(0.5, abs=0.03), "half of the noise is below 0"
    assert black.max() < 200


def test_the_degree_is_3_by_default_and_1_to_5(pictures):
    assert torch.equal(shift.corrupt(pictures, "blur").pixels, shift.corrupt(pictures, "blur", severity=3).pixels)
    for severity in (0, 6):
        with pytest.raises(ValueError, match=f"severity is {severity}; give a whole number from 1"):
            shift.corrupt(pictures, "blur", severity=severity)


def scenery(height: int, width: int, n: int = 1) -> Images:
    pixels = torch.randint(0, 256, (n, 3, height, width), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    return Images(name="scenery", pixels=pixels, labels=torch.zeros(n, dtype=torch.long), classes=("s",))


def test_patches_come_from_everywhere_in_every_photograph():
    digits, photographs = grey(0.0, n=200, size=8), scenery(10, 11, n=3)
    made = shift.blend(digits, photographs).pixels
    seen = set()
    for picture in made:
        [place] = [
            (i, top, left)
            for i in range(3)
            for top in range(3)
            for left in range(4)
            if torch.equal(picture, photographs.pixels[i, :, top : top + 8, left : left + 8])
        ]
        seen.add(place)
    assert len(seen) == 3 * 3 * 4


def test_a_photograph_as_large_as_a_digit_and_one_that_is_too_small(unchecked):
    digit = grey(0.2, n=3, size=8)
    fits = scenery(8, 8)
    expected = (digit.pixels.int() - fits.pixels.int()).abs()
    assert torch.equal(shift.blend(digit, fits).pixels.int(), expected)
    for bad in (scenery(7, 9), scenery(9, 7), grey(0.5, n=1, size=9)):
        with pytest.raises(ValueError, match="give grey digits, and colour photographs at least as large"):
            shift.blend(digit, bad)
    with pytest.raises(ValueError, match="give grey digits"):
        shift.blend(scenery(8, 8), scenery(9, 9))


def test_bad_input(pictures):
    with pytest.raises(KeyError, match="kind='fog' is unknown; choose from: noise"):
        shift.corrupt(pictures, "fog")
    with pytest.raises(ValueError, match="severity is 6"):
        shift.corrupt(pictures, "blur", severity=6)
    with pytest.raises(ValueError, match="give grey digits, and colour photographs"):
        shift.blend(pictures, pictures)
    with pytest.raises(ValueError, match=r"photographs \(3, 48, 48\); give"):
        shift.blend(grey(0.1, size=64), pictures)
