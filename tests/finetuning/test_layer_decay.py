"""Rates by depth against timm's own groups, and groups by name."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertForSequenceClassification,
)

from tlcourse import models
from tlcourse.finetuning import depths, layer_decay_groups, parameter_groups

LR, DECAY, WEIGHT_DECAY = 0.03, 0.7, 0.05
VIT = {"img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2, "num_classes": 3}


def by_name(model: nn.Module, groups: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """(rate over LR, weight decay) of each parameter; each must be in one group only."""
    name = {id(parameter): name for name, parameter in model.named_parameters()}
    found: dict[str, tuple[float, float]] = {}
    for group in groups:
        rate = group["lr_scale"] if "lr_scale" in group else group["lr"] / LR
        assert not {name[id(p)] for p in group["params"]} & found.keys()
        found |= {name[id(p)]: (rate, group["weight_decay"]) for p in group["params"]}
    return found


@pytest.mark.parametrize(
    ("name", "settings"), [("tf_efficientnet_lite0", {}), ("vit_tiny_patch16_224", VIT), ("resnet10t", {})]
)
@pytest.mark.parametrize("frozen", [(), ("stem", "conv_stem", "patch_embed", "conv1", "head", "fc")])
def test_equals_timm(name: str, settings: dict[str, int], frozen: tuple[str, ...]):
    model = timm.create_model(name, pretrained=False, **settings)
    for parameter_name, parameter in model.named_parameters():
        parameter.requires_grad_(not parameter_name.startswith(frozen) if frozen else True)
    ours = by_name(model, layer_decay_groups(model, lr=LR, decay=DECAY, weight_decay=WEIGHT_DECAY))
    theirs = by_name(model, param_groups_layer_decay(model, weight_decay=WEIGHT_DECAY, layer_decay=DECAY))
    assert ours.keys() == theirs.keys()
    for parameter_name, values in theirs.items():
        assert ours[parameter_name] == pytest.approx(values, rel=1e-12), parameter_name
    assert len({rate for rate, _ in theirs.values()}) > 3, "otherwise the two agree about nothing"


def bert() -> nn.Module:
    config = BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, num_labels=3
    )
    return BertForSequenceClassification(config)


def distilbert() -> nn.Module:
    config = DistilBertConfig(vocab_size=30, dim=16, hidden_dim=16, n_layers=2, n_heads=2, num_labels=3)
    return DistilBertForSequenceClassification(config)


def over_texts() -> nn.Module:
    return models.Classifier(models.TextBackbone("tiny", BertModel(bert().config, add_pooling_layer=False), None), 3)


@pytest.mark.parametrize("make", [bert, distilbert, over_texts])
def test_transformers_are_slowest_at_the_embeddings(make):
    model = make()
    rates = {name: rate for name, (rate, _) in by_name(model, layer_decay_groups(model, lr=LR, decay=DECAY)).items()}
    assert rates.keys() == {name for name, _ in model.named_parameters()}
    for name, rate in rates.items():
        if "embeddings" in name:
            expected = DECAY**3
        elif ".layer." in name:
            expected = DECAY ** (2 - int(name.split(".layer.")[1].split(".")[0]))
        else:
            expected = 1.0
        assert rate == pytest.approx(expected, rel=1e-12), name


def test_a_classifier_over_pictures():
    model = models.Classifier(models.vision(pretrained=False), 3)
    rates = by_name(model, layer_decay_groups(model, lr=LR, decay=0.5, weight_decay=WEIGHT_DECAY))
    assert rates["head.weight"] == pytest.approx((1.0, WEIGHT_DECAY))
    assert rates["head.bias"] == pytest.approx((1.0, 0.0))
    assert rates["backbone.net.conv_head.weight"] == pytest.approx((0.5, WEIGHT_DECAY))
    assert rates["backbone.net.blocks.6.0.conv_pw.weight"] == pytest.approx((0.25, WEIGHT_DECAY))
    assert rates["backbone.net.bn1.weight"] == pytest.approx((0.5**9, 0.0))
    assert rates["backbone.net.conv_stem.weight"] == pytest.approx((0.5**9, WEIGHT_DECAY))


def test_any_module_with_stages():
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(4)))
    found = by_name(model, layer_decay_groups(model, lr=LR, decay=0.1, weight_decay=WEIGHT_DECAY, stages=["1", "2"]))
    assert found == {
        f"{i}.{kind}": pytest.approx((rate, WEIGHT_DECAY if kind == "weight" else 0.0))
        for i, rate in enumerate((0.01, 0.01, 0.1, 1.0))
        for kind in ("weight", "bias")
    }


def test_each_group_says_what_is_in_it(classifier):
    model = classifier()
    groups = layer_decay_groups(model, lr=LR, decay=DECAY)
    depth, parameters = depths(model), dict(model.named_parameters())
    for group in groups:
        assert {depth[name] for name in group["names"]} == {group["depth"]}
        assert all(parameters[name] is p for name, p in zip(group["names"], group["params"], strict=True))
    assert len(groups) == 2 * 5, "weights and the rest, at each of five depths"
    assert {group["weight_decay"] for group in groups} == {0.0, 0.01}


def test_one_step_of_the_optimizer_goes_as_far_as_the_rate_says(classifier):
    model = classifier()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    groups = layer_decay_groups(model, lr=0.1, decay=0.5, weight_decay=0.0)
    torch.optim.AdamW(groups).step()
    for name, parameter in model.named_parameters():
        step = (before[name] - parameter.detach()).mean().item()
        assert step == pytest.approx(0.1 * 0.5 ** (4 - depths(model)[name]), rel=1e-3), name


def test_decay_of_one_is_one_rate(classifier):
    assert {group["lr"] for group in layer_decay_groups(classifier(), lr=LR, decay=1.0)} == {LR}


@pytest.mark.parametrize(("lr", "decay"), [(0.0, 0.5), (-1.0, 0.5), (float("nan"), 0.5), (0.1, 0.0), (0.1, 1.01)])
def test_rates_that_make_no_sense(classifier, lr: float, decay: float):
    with pytest.raises(ValueError, match=rf"lr is {lr} and decay {decay}; expected lr > 0, and a factor 0 < decay"):
        layer_decay_groups(classifier(), lr=lr, decay=decay)


def test_nothing_to_train(classifier):
    model = classifier().requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter that requires a gradient; unfreeze some before training"):
        layer_decay_groups(model, lr=LR, decay=DECAY)
    with pytest.raises(ValueError, match="no parameter that requires a gradient; unfreeze some before training"):
        parameter_groups(model, {"*": {"lr": LR}})


def test_stages_that_are_not_known(classifier):
    with pytest.raises(ValueError, match="give stages="):
        layer_decay_groups(nn.Sequential(nn.Linear(2, 2)), lr=LR, decay=DECAY)
    with pytest.raises(ValueError, match="stage 'backbnoe' is no module"):
        layer_decay_groups(classifier(), lr=LR, decay=DECAY, stages=["backbnoe"])


def test_groups_by_name(classifier):
    model = classifier()
    model.backbone.stem.requires_grad_(False)
    settings = {"head": {"lr": 1.0}, "backbone.stem": {"lr": 5.0}, "backbone.blocks": {"lr": 0.1, "weight_decay": 0.2}}
    head, blocks = parameter_groups(model, settings)
    assert {key: value for key, value in head.items() if key != "params"} == {"lr": 1.0}
    assert {key: value for key, value in blocks.items() if key != "params"} == {"lr": 0.1, "weight_decay": 0.2}
    assert list(map(id, head["params"])) == list(map(id, model.head.parameters()))
    assert list(map(id, blocks["params"])) == list(map(id, model.backbone.blocks.parameters()))
    torch.optim.AdamW([head, blocks])


def test_a_parameter_that_is_named_twice(classifier):
    message = r"parameter 'head\.bias' is named by 'head' and by '\*\.bias'; it would be updated twice"
    with pytest.raises(ValueError, match=message):
        parameter_groups(classifier(), {"head": {"lr": 1.0}, "*.bias": {"lr": 2.0}, "backbone": {"lr": 0.1}})


def test_a_parameter_that_is_not_named(classifier):
    model = classifier()
    with pytest.raises(ValueError, match=r"no pattern names 'head\.weight' \(and 1 more\); add one for them"):
        parameter_groups(model, {"backbone": {"lr": 1.0}})
    model.head.requires_grad_(False)
    (group,) = parameter_groups(model, {"backbone": {"lr": 1.0}})
    assert len(group["params"]) == len(list(model.backbone.parameters()))
    with pytest.raises(ValueError, match=r"no pattern names 'backbone\.stem\.0\.weight' \(and 15 more\)"):
        parameter_groups(model, {})


def test_a_pattern_that_names_nothing(classifier):
    with pytest.raises(ValueError, match="pattern 'haed' names no parameter of Classifier; did you mean 'head'"):
        parameter_groups(classifier(), {"backbone": {"lr": 1.0}, "haed": {"lr": 1.0}})
