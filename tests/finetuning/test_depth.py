"""How deep each parameter lies, in the networks of three libraries and in any other."""

from __future__ import annotations

import pytest
import timm
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertForSequenceClassification,
)

from tlcourse import models
from tlcourse.finetuning import depths

SMALL = {"vocab_size": 30, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}


def bert(layers: int = 3, **more: object) -> BertConfig:
    return BertConfig(num_hidden_layers=layers, **SMALL, **more)


def starts(found: dict[str, int]) -> dict[int, set[str]]:
    """The parameters of each depth, by the name of the part that they lie in: "layer.0", "embeddings", "head"."""
    parts: dict[int, set[str]] = {}
    for name, depth in found.items():
        words = name.split(".")
        number = next((i for i, word in enumerate(words) if word.isdigit()), None)
        known = [word for word in words if word in ("embeddings", "pooler", "classifier", "pre_classifier", "head")]
        parts.setdefault(depth, set()).add(f"layer.{words[number]}" if number is not None else known[0])
    return parts


def test_bert_has_embeddings_numbered_layers_and_a_head():
    found = depths(BertForSequenceClassification(bert()))
    layers = {i + 1: {f"layer.{i}"} for i in range(3)}
    assert starts(found) == {0: {"embeddings"}, **layers, 4: {"pooler", "classifier"}}


def test_distilbert_too():
    config = DistilBertConfig(vocab_size=30, dim=16, hidden_dim=16, n_layers=2, n_heads=2)
    found = depths(DistilBertForSequenceClassification(config))
    expected = {0: {"embeddings"}, 1: {"layer.0"}, 2: {"layer.1"}, 3: {"pre_classifier", "classifier"}}
    assert starts(found) == expected


def test_a_classifier_over_texts():
    backbone = models.TextBackbone("tiny", BertModel(bert(2), add_pooling_layer=False), None)
    found = depths(models.Classifier(backbone, 2))
    assert starts(found) == {0: {"embeddings"}, 1: {"layer.0"}, 2: {"layer.1"}, 3: {"head"}}
    assert set(depths(backbone).values()) == {0, 1, 2}


def test_a_classifier_over_pictures():
    model = models.Classifier(models.vision(pretrained=False), 3)
    found = depths(model)
    assert set(found) == {name for name, _ in model.named_parameters()}
    net = {name.removeprefix("backbone.net."): depth for name, depth in found.items()}
    assert {depth for name, depth in net.items() if name.startswith(("conv_stem", "bn1"))} == {0}
    for i in range(7):
        assert {depth for name, depth in net.items() if name.startswith(f"blocks.{i}.")} == {i + 1}
    assert {depth for name, depth in net.items() if name.startswith(("conv_head", "bn2"))} == {8}
    assert (found["head.weight"], found["head.bias"]) == (9, 9)
    alone = depths(model.backbone)
    assert alone == {name.removeprefix("backbone."): d for name, d in found.items() if name.startswith("backbone")}


def test_a_classifier_over_a_network_of_torchvision():
    net = torchvision.models.resnet18(weights=None)
    head, net.fc = net.fc, nn.Identity()
    stages = {"stem": "maxpool", **{f"layer{i}": f"layer{i}" for i in range(1, 5)}}
    backbone = models.VisionBackbone(
        "resnet18", net, head=head, stages=stages, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
    )
    found = depths(models.Classifier(backbone, 3))
    assert found["backbone.net.conv1.weight"] == found["backbone.net.bn1.bias"] == 0
    assert [found[f"backbone.net.layer{i}.0.conv1.weight"] for i in range(1, 5)] == [1, 2, 3, 4]
    assert found["head.weight"] == 5


def test_a_timm_model_says_it_itself():
    model = timm.create_model("resnet10t", pretrained=False, num_classes=3)
    found = depths(model)
    assert set(found) == {name for name, _ in model.named_parameters()}
    assert found["conv1.0.weight"] == 0
    assert found["layer1.0.conv1.weight"] < found["layer2.0.conv1.weight"] < found["fc.weight"] == max(found.values())
    by_hand = depths(model, stages=["layer2", "layer4"])
    assert set(by_hand.values()) == {0, 1, 2}, "stages= goes before what the model says"


class Nested(nn.Module):
    """A parameter of its own, layers in groups, and parts that no stage names."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(nn.Linear(2, 2).weight)
        self.first = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
        self.between = nn.Linear(2, 2)
        self.second = nn.Sequential(nn.Sequential(nn.Linear(2, 2)), nn.Linear(2, 2))
        self.head = nn.Linear(2, 2)


def test_a_stage_ends_with_the_last_module_in_it_and_takes_what_stands_before():
    found = depths(Nested(), stages=["first", "second.0"])
    by_depth = {d: {name.rsplit(".", 1)[0] for name, at in found.items() if at == d} for d in (0, 1, 2)}
    assert by_depth == {0: {"scale", "first.0", "first.2"}, 1: {"between", "second.0.0"}, 2: {"second.1", "head"}}


def test_a_number_is_not_the_beginning_of_another():
    model = nn.Sequential(*(nn.Linear(1, 1) for _ in range(12)))
    assert [depths(model, stages=["1", "10"])[f"{i}.bias"] for i in range(12)] == [0, 0, *[1] * 9, 2]


def test_the_list_of_layers_is_the_one_with_as_many_as_the_config_says():
    model = nn.Module()
    model.config = bert(layers=3)
    model.embeddings = nn.ModuleList(nn.Embedding(2, 2) for _ in range(2))
    model.blocks = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
    model.norm = nn.LayerNorm(2)
    found = depths(model)
    assert [found[f"embeddings.{i}.weight"] for i in range(2)] == [0, 0]
    assert [found[f"blocks.{i}.weight"] for i in range(3)] == [1, 2, 3]
    assert found["norm.weight"] == 4


def test_stages_may_go_as_far_as_the_head():
    assert max(depths(Nested(), stages=["first", "head"]).values()) == 1


@given(st.data())
def test_depth_never_falls_along_the_model_and_begins_with_each_stage(data: st.DataObject):
    n = data.draw(st.integers(2, 12))
    model = nn.Sequential(*(nn.Linear(1, 1) for _ in range(n)))
    stages = sorted(data.draw(st.sets(st.integers(0, n - 1), min_size=1)))
    found = depths(model, stages=[str(stage) for stage in stages])
    for i in range(n):
        assert found[f"{i}.weight"] == found[f"{i}.bias"] == sum(stage < i for stage in stages)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (["first", "seconds"], r"stage 'seconds' is no module of Nested; near it: .*second"),
        (["qqqqqq"], r"stage 'qqqqqq' is no module of Nested; near it: first, between, second, head"),
        (["first", "first"], r"stages name 'first' before 'first', .* list each stage once, from shallow to deep"),
        (["second", "first"], r"stages name 'second' before 'first', but the model ends them the other way round"),
        (["first", "first.2"], r"stages name 'first' before 'first\.2', .*or together"),
        (["first", "second", "between"], r"stages name 'second' before 'between'"),
        ([], "stages is empty; name at least one module"),
    ],
)
def test_stages_that_make_no_sense(stages: list[str], message: str):
    with pytest.raises(ValueError, match=message):
        depths(Nested(), stages=stages)


@pytest.mark.parametrize("make", [Nested, lambda: torchvision.models.resnet18(weights=None)])
def test_a_model_whose_stages_are_not_known(make):
    model = make()
    first = next(name for name, _ in model.named_children())
    with pytest.raises(ValueError, match=rf"stages of {type(model).__name__} are not known; give stages=.*\['{first}'"):
        depths(model)
