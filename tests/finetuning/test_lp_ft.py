"""The head begins as the probe."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from tlcourse import models, training
from tlcourse.data import Table
from tlcourse.finetuning import replace_head, start_from_probe


class Widened(nn.Module):
    """Features far from zero, on very unlike scales, so that a head without the probe's mean and scale is far off."""

    dim = 30

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.logspace(-1, 1, 30).to(x) + 20


def table(n: int = 40, n_classes: int = 3, *, seed: int = 0) -> Table:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % n_classes
    centres = 2 * torch.randn(n_classes, 30, generator=torch.Generator().manual_seed(9))
    return Table(
        name="points",
        labels=labels,
        classes=tuple("abcdefgh"[:n_classes]),
        features=centres[labels] + torch.randn(n, 30, generator=generator),
        columns=tuple(str(i) for i in range(30)),
    )


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_says_what_the_probe_says_of_held_out_examples(n_classes: int):
    model, held_out = models.Classifier(Widened(), n_classes), table(200, n_classes, seed=1)
    probe = start_from_probe(model, table(n_classes=n_classes))
    features = training.features(model.backbone, held_out, cache=False)
    with torch.no_grad():
        logits = model(held_out.features)
    torch.testing.assert_close(logits, probe.scores(features), atol=1e-4, rtol=0)
    assert torch.equal(logits.argmax(dim=1), probe.predict(features))
    assert probe.scores(features).abs().max() > 1, "logits near zero would agree about nothing"
    assert training.evaluate(model, held_out).accuracy > 0.8


def test_on_pictures_the_network_below_keeps_still(classifier, pictures):
    model = classifier(3)
    before = copy.deepcopy(model.state_dict())
    mode = model.backbone.train().training
    probe = start_from_probe(model, pictures(n_classes=3))
    assert model.backbone.training is mode
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {"head.weight", "head.bias"}
    held_out = pictures(60, 3, seed=1)
    features = training.features(model.backbone, held_out, cache=False)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(held_out.pixels), probe.scores(features), atol=1e-4, rtol=0)
    assert all(parameter.requires_grad for parameter in model.parameters()), "the second step trains them all"


def test_classes_without_examples_are_left_alone():
    model, data = models.Classifier(Widened(), 5), table(n_classes=5)
    before = copy.deepcopy(model.head)
    some = data.where((data.labels == 1) | (data.labels == 4) | (data.labels == 2))
    probe = start_from_probe(model, some)
    assert probe.classes.tolist() == [1, 2, 4]
    for number in (0, 3):
        assert torch.equal(model.head.weight[number], before.weight[number])
        assert torch.equal(model.head.bias[number], before.bias[number])
    with torch.no_grad():
        logits = model(some.features)[:, [1, 2, 4]]
    torch.testing.assert_close(logits, probe.scores(model.backbone(some.features)), atol=1e-4, rtol=0)


def test_the_penalty_is_that_of_the_probe():
    data = table()
    strong, weak, default = (models.Classifier(Widened(), 3) for _ in range(3))
    start_from_probe(strong, data, l2=100.0)
    start_from_probe(weak, data, l2=0.1)
    probe = start_from_probe(default, data)
    expected = training.probe(default.backbone(data.features), data.labels, l2=10.0, scaling="common")
    torch.testing.assert_close(probe.weight, expected.weight)
    assert strong.head.weight.norm() < default.head.weight.norm() < weak.head.weight.norm()


def test_a_head_of_another_type_keeps_it():
    model = models.Classifier(Widened(), 3)
    model.head.double()
    probe = start_from_probe(model, table())
    assert model.head.weight.dtype == torch.float64
    features = model.backbone(table().features)
    torch.testing.assert_close(model.head(features.double()).float(), probe.scores(features), atol=1e-4, rtol=0)


def test_a_head_that_does_not_fit():
    model = models.Classifier(Widened(), 2)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=r"2 outputs, but points has 3 classes; call finetuning\.replace_head"):
        start_from_probe(model, table())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    replace_head(model, 3)
    start_from_probe(model, table())
