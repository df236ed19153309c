"""A new last layer, wherever the library keeps it."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification

from tlcourse import models
from tlcourse.finetuning import check_head, head_of, replace_head


def tiny_bert(n_classes: int = 2) -> BertForSequenceClassification:
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=30,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            num_labels=n_classes,
        )
    ).eval()


def convnext_like() -> nn.Module:
    """Where torchvision's ConvNeXt has its head: the third of a Sequential."""
    model = nn.Module()
    model.features = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 4))
    model.classifier = nn.Sequential(nn.LayerNorm(4), nn.Flatten(1), nn.Linear(4, 6))
    return model


def check_new(head: nn.Linear, old: nn.Linear, n_classes: int, *, seed: int = 0) -> None:
    """The shape that it must have, and PyTorch's own first weights."""
    assert isinstance(head, nn.Linear)
    assert (head.in_features, head.out_features) == (old.in_features, n_classes)
    assert (head.bias is None) == (old.bias is None)
    torch.manual_seed(seed)
    expected = nn.Linear(old.in_features, n_classes, bias=old.bias is not None)
    assert torch.equal(head.weight, expected.weight)
    assert all(parameter.requires_grad for parameter in head.parameters())


def test_of_the_course_is_that_of_a_fresh_classifier(classifier, pictures):
    model = classifier(2)
    old = model.head
    new = replace_head(model, 5, seed=3)
    check_new(new, old, 5, seed=3)
    assert model.head is new
    fresh = models.Classifier(model.backbone, 5, seed=3)
    assert torch.equal(new.weight, fresh.head.weight)
    assert torch.equal(new.bias, fresh.head.bias)
    assert model(pictures().pixels).shape == (24, 5)
    assert not torch.equal(replace_head(model, 5, seed=4).weight, new.weight)


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda: timm.create_model("resnet10t", pretrained=False, num_classes=4), "fc"),
        (lambda: timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=4), "classifier"),
        (lambda: torchvision.models.resnet18(weights=None, num_classes=4), "fc"),
    ],
)
@torch.no_grad()
def test_of_image_networks(make, path: str):
    model = make().eval()
    name, old = head_of(model)
    assert name == path
    assert old.out_features == 4
    new = replace_head(model, 7)
    check_new(new, old, 7)
    assert head_of(model) == (path, new)
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 7)
    assert getattr(model, "num_classes", 7) == 7


@torch.no_grad()
def test_of_transformers_with_what_the_config_says():
    model = tiny_bert()
    old = model.classifier
    new = replace_head(model, 5)
    check_new(new, old, 5)
    assert model.classifier is new
    assert (model.num_labels, model.config.num_labels, len(model.config.id2label)) == (5, 5, 5)
    tokens = torch.ones(2, 3, dtype=torch.int64)
    assert model(tokens).logits.shape == (2, 5)
    assert model(tokens, labels=torch.tensor([0, 4])).loss.ndim == 0


def test_at_a_path():
    model = convnext_like()
    old = model.classifier[2]
    with pytest.raises(ValueError, match=r"no linear layer at head or .*\('features\.1', 'classifier\.2'\)"):
        replace_head(model, 3)
    new = replace_head(model, 3, path="classifier.2")
    check_new(new, old, 3)
    assert model.classifier[2] is new
    assert [type(module) for module in model.classifier] == [nn.LayerNorm, nn.Flatten, nn.Linear]


def test_the_path_goes_before_the_usual_names():
    model = convnext_like()
    model.head = nn.Linear(4, 2)
    assert head_of(model)[0] == "head"
    assert head_of(model, path="features.0")[0] == "features.0"


def test_a_name_that_is_no_linear_layer_is_passed_over():
    model = nn.Module()
    model.head, model.score = nn.Flatten(), nn.Linear(3, 2, bias=False)
    assert head_of(model)[0] == "score"
    check_new(replace_head(model, 4), nn.Linear(3, 2, bias=False), 4)


def test_type_and_device_are_kept(classifier):
    double, meta = classifier().double(), classifier().to("meta")
    assert {p.dtype for p in replace_head(double, 3).parameters()} == {torch.float64}
    assert {p.device.type for p in replace_head(meta, 3).parameters()} == {"meta"}


def test_global_random_state_is_left_alone(classifier):
    model = classifier()
    torch.manual_seed(7)
    expected: Tensor = torch.rand(1)
    torch.manual_seed(7)
    replace_head(model, 3, seed=1)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("n_classes", [1, 0, -2])
def test_one_class_is_none(classifier, n_classes: int):
    model = classifier()
    head = model.head
    with pytest.raises(ValueError, match=f"n_classes is {n_classes}; a classifier needs at least 2"):
        replace_head(model, n_classes)
    assert model.head is head


def test_two_classes_are_enough(classifier):
    assert replace_head(classifier(5), 2).out_features == 2


@pytest.mark.parametrize("path", ["hed", "backbone", "backbone.stem.0"])
def test_a_path_without_a_linear_layer(classifier, path: str):
    with pytest.raises(ValueError, match=rf"Classifier has no linear layer at {path}; give path=.*\('head'\)"):
        head_of(classifier(), path=path)


@pytest.mark.parametrize("model", [nn.Sequential(nn.ReLU()), nn.Linear(2, 2)])
def test_a_model_that_holds_no_linear_layer(model: nn.Module):
    with pytest.raises(ValueError, match="it holds no linear layer at all"):
        head_of(model)
    with pytest.raises(ValueError, match="it holds no linear layer at all"):
        replace_head(model, 3, path="")


def test_check_head(classifier, pictures):
    model = classifier(2)
    check_head(model, pictures(n_classes=2))
    message = r"the head has 2 outputs, but toy has 3 classes; call finetuning\.replace_head\(model, 3\) first"
    with pytest.raises(ValueError, match=message):
        check_head(model, pictures(n_classes=3))
    replace_head(model, 3)
    check_head(model, pictures(n_classes=3))
    with pytest.raises(ValueError, match="3 outputs, but toy has 2 classes"):
        check_head(model, pictures(n_classes=2))
