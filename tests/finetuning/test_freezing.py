"""Frozen means that nothing changes: no weight, and no statistic of a BatchNorm either."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from tlcourse import training
from tlcourse.finetuning import freeze, train_only, trainable, unfreeze

TOY_STATE = 4 * (2 + 2 + 3) + 2  # a block: convolution and BatchNorm with two weights each and three statistics; head


def snapshot(model: nn.Module) -> dict[str, object]:
    """All that freezing may change."""
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    learns = {name: p.requires_grad for name, p in model.named_parameters()}
    modes = {name: (module.training, "train" in vars(module)) for name, module in model.named_modules()}
    return {"weights": weights, "learns": learns, "modes": modes}


def same(before: dict[str, object], after: dict[str, object]) -> bool:
    alike = all(torch.equal(tensor, after["weights"][name]) for name, tensor in before["weights"].items())
    return alike and before["learns"] == after["learns"] and before["modes"] == after["modes"]


def norm(model: nn.Module, block: str = "blocks.0") -> nn.Module:
    return model.get_submodule(f"backbone.{block}.1")


def test_nothing_below_the_head_moves_in_training_mode(classifier, pictures):
    model, pixels = classifier(), pictures().pixels
    assert len(model.state_dict()) == TOY_STATE
    frozen = freeze(model, ["backbone"])
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        expected = model.backbone(pixels)
    training.fit(model, pictures(), epochs=2, lr=0.1, train_mode=True)
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {"head.weight", "head.bias"}
    assert frozen == tuple(name for name, _ in model.named_parameters() if name.startswith("backbone."))
    with torch.no_grad():
        assert torch.equal(model.train().backbone(pixels), expected)
        assert torch.equal(model.eval().backbone(pixels), expected)


def test_without_freezing_the_same_training_moves_the_statistics(classifier, pictures):
    model = classifier()
    model.backbone.requires_grad_(False)
    before = norm(model).running_mean.clone()
    training.fit(model, pictures(), epochs=1, train_mode=True)
    assert not torch.equal(norm(model).running_mean, before), "the trap that freeze() is for"


def test_a_part_frozen_leaves_the_rest_alone(classifier, pictures):
    model = classifier().train()
    freeze(model, ["backbone.stem", "backbone.blocks.[0-1]"])
    assert not norm(model, "stem").training
    assert norm(model, "blocks.2").training
    before = copy.deepcopy(model.state_dict())
    training.fit(model, pictures(), steps=2, train_mode=True)
    for name, tensor in model.state_dict().items():
        still = name.startswith(("backbone.stem", "backbone.blocks.0", "backbone.blocks.1"))
        assert torch.equal(tensor, before[name]) == still, name


def test_other_layers_keep_following_the_mode():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5))
    freeze(model)
    model.train()
    assert [module.training for module in model] == [True, False, True]
    assert model.training


@pytest.mark.parametrize("mode", [True, False])
def test_unfreeze_gives_the_batch_norm_back_its_mode(classifier, mode: bool):
    model = classifier().train(mode)
    before = snapshot(model)
    freeze(model)
    assert not norm(model).training
    model.train()
    assert not norm(model).training
    model.train(mode)
    unfreeze(model)
    assert same(before, snapshot(model))
    assert norm(model).training is mode
    model.train(not mode)
    assert norm(model).training is not mode


def test_a_batch_norm_with_one_weight_in_training_is_not_held(classifier):
    model = classifier().train()
    train_only(model, ["*.bias"])
    assert norm(model).training
    freeze(model, ["backbone.blocks.0.1.bias"])
    assert not norm(model).training


@pytest.mark.parametrize("kind", [nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm])
def test_every_kind_of_batch_norm_is_held(kind: type[nn.Module]):
    model = nn.Sequential(kind(3))
    freeze(model)
    assert not model.train()[0].training


def test_a_batch_norm_without_weights_goes_with_what_holds_it():
    block = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, affine=False))
    model = nn.Sequential(block, nn.Linear(3, 2)).train()
    freeze(model, ["1"])
    assert block[1].training, "its block still learns"
    freeze(model, ["0"])
    assert not model.train()[0][1].training
    before = block[1].running_mean.clone()
    model(torch.randn(8, 3))
    assert torch.equal(block[1].running_mean, before)
    unfreeze(model, ["0.0.bias"])
    assert block[1].training
    alone = nn.Sequential(nn.BatchNorm1d(3, affine=False), nn.Linear(3, 2))
    freeze(alone)
    assert not alone.train()[0].training, "what holds it here is the whole model"


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_is_frozen_and_a_thing_of_its_own(classifier, pictures, copied):
    model = classifier()
    freeze(model, ["backbone"])
    before = snapshot(model)
    other = copied(model)
    other.train()
    assert not norm(other).training
    unfreeze(other)
    other.train()
    assert norm(other).training
    other(pictures().pixels)
    assert same(before, snapshot(model))
    model.train()
    assert not norm(model).training
    unfreeze(model)
    freeze(other)
    assert norm(model).training, "and the other way round"


def test_the_names_of_what_has_changed_come_back(classifier):
    model = classifier()
    assert freeze(model, ["head.bias"]) == ("head.bias",)
    assert freeze(model, ["head"]) == ("head.weight",)
    assert freeze(model, ["head"]) == ()
    assert unfreeze(model, ["head", "head.bias"]) == ("head.weight", "head.bias")
    assert unfreeze(model) == ()
    assert len(freeze(model)) == len(list(model.parameters()))
    assert trainable(model) == {}


def test_train_only(classifier):
    model = classifier(n_classes=3)
    assert train_only(model, ["head", "*.bias"])[:2] == ("head.weight", "head.bias")
    assert set(trainable(model)) == {n for n, _ in model.named_parameters() if n == "head.weight" or n[-4:] == "bias"}
    train_only(model, ["head"])
    assert trainable(model) == {"head.weight": 24, "head.bias": 3}
    assert not norm(model).train().training
    train_only(model, ["backbone"])
    assert not any(parameter.requires_grad for parameter in model.head.parameters())
    assert norm(model).train().training


@pytest.mark.parametrize("action", [freeze, unfreeze, train_only])
@pytest.mark.parametrize("mode", [True, False])
def test_an_error_changes_nothing(classifier, action, mode: bool):
    model = classifier()
    freeze(model, ["backbone.blocks.1", "head.bias"])
    before = snapshot(model.train(mode))
    with pytest.raises(ValueError, match=r"pattern 'haed' names no parameter of Classifier; did you mean 'head'"):
        action(model, ["backbone", "haed"])
    assert same(before, snapshot(model))


def test_train_only_needs_something_to_train(classifier):
    model = classifier()
    before = snapshot(model)
    with pytest.raises(ValueError, match=r"patterns is empty, so nothing would be trained; .*\['head'\]"):
        train_only(model, [])
    assert same(before, snapshot(model))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("action", [freeze, unfreeze, train_only])
def test_a_text_is_no_list_of_patterns(classifier, action):
    with pytest.raises(TypeError, match="give a list"):
        action(classifier(), "head")
