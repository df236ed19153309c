"""BatchNorm statistics of the target, and TENT: what trains, what is dropped, what comes out."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from tlcourse import finetuning, models, shift, training


@pytest.fixture
def trained(classifier, pictures):
    model = classifier()
    training.fit(model, pictures(128), steps=200, lr=0.02, batch_size=64)
    return model


def test_statistics_of_the_target_undo_a_change_of_contrast(trained, pictures):
    target = pictures(128, bright=60, contrast=0.5, seed=1)
    before = training.evaluate(trained, target).accuracy
    weights = copy.deepcopy(dict(trained.named_parameters()))
    shift.adapt_batch_norm(trained, target)
    assert training.evaluate(trained, pictures(128, bright=60, contrast=0.5, seed=2)).accuracy > before + 0.2
    for name, parameter in trained.named_parameters():
        assert torch.equal(parameter, weights[name])


def test_they_are_the_mean_and_variance_of_all_inputs(trained, pictures):
    target = pictures(100, bright=50, seed=1)
    shift.adapt_batch_norm(trained, target)
    with torch.no_grad():
        before_norm = trained.backbone.conv(target.pixels.float() / 255)
    norm = trained.backbone.norm
    torch.testing.assert_close(norm.running_mean, before_norm.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(norm.running_var, before_norm.var(dim=(0, 2, 3)), rtol=1e-4, atol=1e-6)
    assert norm.momentum == 0.1
    assert not trained.training
    shift.adapt_batch_norm(trained, target, batch_size=30)
    torch.testing.assert_close(norm.running_mean, before_norm.mean(dim=(0, 2, 3)), rtol=0.02, atol=1e-3)
    mixed = target.pixels.sum(dim=(1, 2, 3)).argsort()
    shift.adapt_batch_norm(trained, target.take(mixed), batch_size=25)
    torch.testing.assert_close(norm.running_var, before_norm.var(dim=(0, 2, 3)), rtol=0.02, atol=1e-5)
    shift.adapt_batch_norm(trained, pictures(128))
    assert not torch.allclose(norm.running_mean, before_norm.mean(dim=(0, 2, 3)))


def test_a_network_without_batch_norm_is_left_alone(table, gaussian):
    model = models.Classifier(models.MLP([4, 8]), 2)
    before = copy.deepcopy(model.state_dict())
    shift.adapt_batch_norm(model, table(gaussian(9), torch.zeros(9, dtype=torch.long)))
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in before.items())


def test_entropy():
    logits = torch.tensor([[0.0, 0.0, 0.0], [100.0, 0.0, 0.0], [0.0, math.log(3), -math.inf]])
    logits[2, 2] = -1e4
    expected = [math.log(3), 0, -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))]
    assert shift.entropy(logits).tolist() == pytest.approx(expected, abs=1e-5)


def test_tent_trains_scale_and_shift_of_batch_norm_alone(trained, pictures):
    tent = shift.Tent(trained, lr=0.05)
    before = copy.deepcopy(dict(tent.model.named_parameters()))
    tent(pictures(64, bright=50, seed=1).pixels)
    moved = {name for name, p in tent.model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"backbone.norm.weight", "backbone.norm.bias"}
    assert tent.model.backbone.norm.running_mean is None
    assert trained.backbone.norm.running_mean is not None, "the model itself is not touched"


def test_logits_are_those_from_before_the_update_under_the_batchs_own_statistics(trained, pictures):
    batch = pictures(64, bright=50, seed=1).pixels
    tent = shift.Tent(trained, lr=0.05)
    by_batch = copy.deepcopy(trained)
    by_batch.backbone.norm.train()
    with torch.no_grad():
        expected = by_batch(batch)
    found = tent(batch)
    torch.testing.assert_close(found, expected)
    assert not found.requires_grad
    again = tent(batch)
    assert not torch.allclose(again, expected)
    assert shift.entropy(again).mean() < shift.entropy(found).mean()
    tent.reset()
    torch.testing.assert_close(tent(batch), expected)


def test_the_update_is_one_step_of_adam_on_the_mean_entropy(trained, pictures):
    batch = pictures(64, bright=50, seed=1).pixels
    tent = shift.Tent(trained, lr=0.01)
    reference = copy.deepcopy(trained).requires_grad_(False)
    reference.backbone.norm.train().requires_grad_(True)
    rule = torch.optim.Adam(reference.backbone.norm.parameters(), lr=0.01)
    for _ in range(3):
        tent(batch)
        rule.zero_grad()
        shift.entropy(reference(batch)).mean().backward()
        rule.step()
    torch.testing.assert_close(tent.model.backbone.norm.weight, reference.backbone.norm.weight)
    torch.testing.assert_close(tent.model.backbone.norm.bias, reference.backbone.norm.bias)


def test_tent_works_where_gradients_are_off(trained, pictures):
    tent = shift.Tent(trained, lr=0.05)
    before = tent.model.backbone.norm.weight.clone()
    with torch.no_grad():
        tent(pictures(8, seed=3).pixels)
    assert not torch.equal(before, tent.model.backbone.norm.weight)


def test_the_course_backbone_can_be_adapted():
    model = models.Classifier(models.vision(pretrained=False), 3)
    pixels = torch.randint(0, 256, (4, 3, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    tent = shift.Tent(model)
    assert tent(pixels).shape == (4, 3)
    assert {name.rsplit(".", 1)[1] for name, p in tent.model.named_parameters() if p.requires_grad} == {
        "weight",
        "bias",
    }
    assert len(tent.trained) == 2 * len(shift.test_time.batch_norms(model))


def count_batches(model, dataset, **settings) -> list[int]:
    seen: list[int] = []
    handle = model.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    shift.adapt_batch_norm(model, dataset, **settings)
    handle.remove()
    return seen


def test_batches_of_statistics_are_of_about_their_size(classifier, pictures):
    model = classifier()
    assert count_batches(model, pictures(9), batch_size=4) == [5, 4]
    assert count_batches(model, pictures(3), batch_size=4) == [3]
    assert count_batches(model, pictures(511)) == [511]
    assert count_batches(model, pictures(512)) == [256, 256]


def test_statistics_are_put_in_place_without_a_graph(classifier, pictures):
    model = classifier()
    shift.adapt_batch_norm(model, pictures(8))
    norm = model.backbone.norm
    assert not norm.running_mean.requires_grad
    assert not norm.running_var.requires_grad
    assert norm.num_batches_tracked == 1


def test_bad_input(trained, pictures, unchecked):
    with pytest.raises(ValueError, match="MLP has no BatchNorm"):
        shift.Tent(models.MLP([2, 2]))
    with pytest.raises(ValueError, match="has no BatchNorm with statistics"):
        shift.Tent(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=False)))
    with pytest.raises(ValueError, match="a batch of one example; TENT needs"):
        shift.Tent(trained)(pictures(1).pixels)
    with pytest.raises(ValueError, match="dataset has one example"):
        shift.adapt_batch_norm(trained, pictures(1))


def test_statistics_of_a_frozen_norm_are_replaced_too():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    pictures = torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    pictures = TensorDataset(pictures, torch.zeros(40, dtype=torch.long))
    free = copy.deepcopy(network)
    shift.adapt_batch_norm(free, pictures)
    finetuning.freeze(network)
    shift.adapt_batch_norm(network, pictures)
    torch.testing.assert_close(network[1].running_mean, free[1].running_mean)
    torch.testing.assert_close(network[1].running_var, free[1].running_var)
    assert float((network[1].running_var - 1).abs().min()) > 1e-3
