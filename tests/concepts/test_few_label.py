"""Frozen, fine-tuned and from scratch: the same but for their first weights."""

import math

import pytest
import torch
from torch import nn

from tlcourse import concepts, models, training
from tlcourse.concepts import few_label
from tlcourse.data import Images


def images(n: int = 24, size: int = 32, seed: int = 0) -> Images:
    """Two classes that differ in brightness."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    noise = torch.randint(0, 60, (n, 3, size, size), generator=generator, dtype=torch.uint8)
    pixels = noise + (labels * 150).to(torch.uint8)[:, None, None, None]
    return Images(name="toy", labels=labels, classes=("dark", "light"), pixels=pixels)


class Tiny(nn.Module):
    dim = 3

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.float().mean(dim=(2, 3)) / 255 * self.scale


def test_frozen_is_a_probe_on_the_features_and_moves_nothing():
    backbone = Tiny()
    assert concepts.frozen(backbone, images(), images(seed=1)) == 1.0
    assert backbone.scale.item() == 1.0


def test_control_differs_from_fine_tuning_in_the_first_weights_only(monkeypatch):
    asked, fitted = [], []

    def vision(**arguments):
        asked.append(arguments)
        return Tiny()

    def fit(model, train, **settings):
        fitted.append({"head": model.head.weight.clone(), "train": train, **settings})

    monkeypatch.setattr(models, "vision", vision)
    monkeypatch.setattr(training, "fit", fit)
    train = images()
    few_label.fine_tuned(train, train, seed=3, lr=1e-3)
    few_label.from_scratch(train, train, seed=3, lr=1e-3)
    assert asked == [{}, {"pretrained": False, "seed": 3}]
    assert torch.equal(fitted[0].pop("head"), fitted[1].pop("head"))
    assert fitted[0].pop("schedule")(1, 10) == fitted[1].pop("schedule")(1, 10)
    assert fitted[0] == fitted[1]


def test_training_from_scratch_learns_something_real():
    untrained = models.Classifier(models.vision(pretrained=False, seed=0), 2, seed=0)
    before = training.evaluate(untrained, images(seed=1)).loss
    model = models.Classifier(models.vision(pretrained=False, seed=0), 2, seed=0)
    training.fit(model, images(), steps=3, augment=few_label.shift_and_flip, lr=3e-3, seed=0)
    assert not torch.equal(model.head.weight, untrained.head.weight)
    assert math.isfinite(before)


def test_augmentation_keeps_every_pixel_and_stays_within_a_twelfth():
    pixels = torch.arange(24 * 24, dtype=torch.float).view(1, 1, 24, 24)
    torch.manual_seed(0)
    seen = [few_label.shift_and_flip(pixels) for _ in range(50)]
    assert all(torch.equal(moved.flatten().sort().values, pixels.flatten()) for moved in seen)
    assert len({int(moved[0, 0, 0, 0]) for moved in seen}) > 5
    rows = {int((moved[0, 0].flatten() == 0).nonzero()) // 24 for moved in seen}
    assert rows == {22, 23, 0, 1, 2}


def test_raw_pixels_are_block_means():
    data = images(n=2)
    small = concepts.raw_pixels(data, size=16)
    assert small.shape == (2, 3 * 16 * 16)
    assert small[0, 0].item() == pytest.approx(data.pixels[0, 0, :2, :2].float().mean().item() / 255)


def test_labels_saved_reads_the_control_on_a_logarithmic_axis():
    labels, transfer = [1, 2, 4, 8, 16], [0.5, 0.6, 0.7, 0.8, 0.9]
    assert concepts.labels_saved(labels, transfer, transfer, 4) == pytest.approx(1)
    control = [0.2, 0.3, 0.4, 0.5, 0.6]
    assert concepts.labels_saved(labels, transfer, control, 1) == pytest.approx(8)
    assert concepts.labels_saved(labels, transfer, [0.4, 0.4, 0.4, 0.4, 0.6], 1) == pytest.approx(8 * 2**0.5)
    assert concepts.labels_saved(labels, transfer, control, 16) == math.inf
    assert concepts.labels_saved(labels, [0.1] * 5, control, 4) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 2], [0.1, 0.2], [0.1], 1), "one value of transfer and one of control"),
        (([2, 1], [0.1, 0.2], [0.1, 0.2], 1), "must rise"),
        (([1, 2], [0.1, 0.2], [0.1, 0.2], 3), "k=3 is not on the curve"),
    ],
)
def test_labels_saved_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        concepts.labels_saved(*arguments)
