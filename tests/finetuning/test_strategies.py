"""Seven strategies on a toy: each does what it says, with the settings of the run."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from tlcourse import models, training
from tlcourse.data import Texts
from tlcourse.finetuning import L2SP, STRATEGIES, Run, depths, fine_tune, start_from_probe, trainable
from tlcourse.finetuning import strategies as module

RUN = Run(steps=16, lr=0.01, batch_size=8)
FULL = [name for name in STRATEGIES if name not in ("frozen features", "last block")]


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def moved(model: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


class Spy:
    """In place of `training.fit`: notes what it is given, and the weights at that time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[dict[str, Any]] = []
        self.fit = training.fit
        monkeypatch.setattr(training, "fit", self)

    def __call__(self, model: nn.Module, dataset: object, **settings: Any) -> training.History:
        optimizer = settings.get("optimizer")
        groups = [] if optimizer is None else [{**g, "params": list(g["params"])} for g in optimizer.param_groups]
        self.calls.append({"dataset": dataset, "state": state(model), "groups": groups, **settings})
        return self.fit(model, dataset, **settings)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_each_learns_in_place_and_keeps_the_statistics(classifier, pictures, strategy: str):
    model, data = classifier(3), pictures(30, 3)
    before, loss = state(model), training.evaluate(model, data).loss
    model.train()
    assert fine_tune(model, data, strategy=strategy, run=RUN) is model
    assert not any(part.training for part in model.modules())
    after = training.evaluate(model, data)
    assert after.loss < 0.8 * loss
    statistics = {name for name in before if "running" in name or "tracked" in name}
    assert len(statistics) == 12
    assert not moved(model, before) & statistics
    again = classifier(3)
    fine_tune(again, data, strategy=strategy, run=RUN)
    assert not moved(again, state(model)), "the same run gives the same weights"


@pytest.mark.parametrize("strategy", FULL)
def test_most_move_every_weight(classifier, pictures, strategy: str):
    model = classifier()
    before = state(model)
    fine_tune(model, pictures(), strategy=strategy, run=RUN)
    assert moved(model, before) == {name for name, _ in model.named_parameters()}
    assert len(trainable(model)) == len(list(model.parameters()))


def test_frozen_features_move_the_head_only(classifier, pictures):
    model, probed = classifier(), classifier()
    before = state(model)
    fine_tune(model, pictures(), strategy="frozen features", run=RUN)
    assert moved(model, before) == {"head.weight", "head.bias"}
    start_from_probe(probed, pictures())
    assert not moved(probed, state(model))


def test_last_block_leaves_the_stages_below_as_they_are(classifier, pictures):
    model = classifier()
    before, depth = state(model), depths(model)
    fine_tune(model, pictures(), strategy="last block", run=RUN)
    assert moved(model, before) == {name for name, d in depth.items() if d >= 2}, "the last two of four stages"
    assert set(trainable(model)) == moved(model, before)


def test_last_block_sends_no_gradient_below(classifier, pictures):
    model = classifier()
    asked: list[bool] = []
    model.backbone.blocks[0].register_forward_hook(lambda part, inputs, output: asked.append(output.requires_grad))
    fine_tune(model, pictures(), strategy="last block", run=RUN)
    assert not any(asked)


def test_full_is_plain_training(classifier, pictures):
    model, plain = classifier(), classifier()
    run = Run(steps=5, lr=0.02, batch_size=7, weight_decay=0.3, clip=0.2, seed=4, augment=lambda pixels: pixels.flip(3))
    fine_tune(model, pictures(), strategy="full", run=run)
    training.fit(
        plain,
        pictures(),
        steps=5,
        lr=0.02,
        batch_size=7,
        weight_decay=0.3,
        clip=0.2,
        seed=4,
        augment=run.augment,
        schedule=training.warmup(0.2),
        train_mode=False,
    )
    assert not moved(model, state(plain))


def test_lp_ft_starts_from_the_probe(classifier, pictures, monkeypatch):
    spy, model, probed = Spy(monkeypatch), classifier(), classifier()
    start_from_probe(probed, pictures())
    fine_tune(model, pictures(), strategy="LP-FT", run=RUN)
    assert not moved(probed, spy.calls[0]["state"])
    assert spy.calls[0]["groups"] == []


def test_layer_decay_slows_the_stages_below(classifier, pictures, monkeypatch):
    spy, model = Spy(monkeypatch), classifier()
    fine_tune(model, pictures(), strategy="layer-wise decay", run=Run(steps=2, lr=0.1, weight_decay=0.3))
    rates = {id(p): group["lr"] for group in spy.calls[0]["groups"] for p in group["params"]}
    found = {depths(model)[name]: rates[id(parameter)] for name, parameter in model.named_parameters()}
    assert found == pytest.approx({depth: 0.1 * 0.7 ** (4 - depth) for depth in range(5)})
    assert {group["weight_decay"] for group in spy.calls[0]["groups"]} == {0.0, 0.3}
    assert isinstance(spy.calls[0]["optimizer"], torch.optim.AdamW)


def test_gradual_unfreezing_has_four_phases_with_the_settings_of_the_run(classifier, pictures, monkeypatch):
    spy, augment = Spy(monkeypatch), lambda pixels: pixels.flip(3)
    run = Run(steps=10, lr=0.1, batch_size=5, weight_decay=0.3, clip=0.5, seed=7, augment=augment)
    fine_tune(classifier(), pictures(), strategy="gradual unfreezing", run=run)
    assert [call["steps"] for call in spy.calls] == [2, 3, 2, 3]
    assert [call["seed"] for call in spy.calls] == [7, 8, 9, 10]
    for call in spy.calls:
        assert (call["batch_size"], call["clip"], call["train_mode"], call["augment"]) == (5, 0.5, False, augment)
        assert [call["schedule"](step, 10) for step in range(10)] == [training.warmup(0.2)(s, 10) for s in range(10)]
        assert {(group["lr"], group["weight_decay"]) for group in call["groups"]} == {(0.1, 0.3)}


def test_l2_sp_stays_near_where_it_began(classifier, pictures, monkeypatch):
    spy, model = Spy(monkeypatch), classifier()
    before = copy.deepcopy(model)
    fine_tune(model, pictures(), strategy="L2-SP", run=RUN)
    (call,) = spy.calls
    assert isinstance(call["loss"], L2SP)
    assert (call["loss"].alpha, call["loss"].beta) == (0.1, 0.01)
    for start, parameter in zip(call["loss"].start, before.backbone.parameters(), strict=True):
        assert torch.equal(start, parameter)
    assert {(group["lr"], group["weight_decay"]) for group in call["groups"]} == {(0.01, 0.0)}
    assert isinstance(call["optimizer"], torch.optim.AdamW)
    assert len(call["groups"][0]["params"]) == len(list(model.parameters()))


@pytest.mark.parametrize("strategy", ["last block", "full", "LP-FT", "layer-wise decay", "L2-SP"])
def test_the_settings_of_the_run_reach_the_loop(classifier, pictures, monkeypatch, strategy: str):
    spy, augment, data = Spy(monkeypatch), lambda pixels: pixels, pictures()
    run = Run(steps=3, lr=0.03, batch_size=5, weight_decay=0.3, clip=0.5, seed=7, augment=augment)
    fine_tune(classifier(), data, strategy=strategy, run=run)
    (call,) = spy.calls
    assert call["dataset"] is data
    assert (call["steps"], call["lr"], call["batch_size"], call["weight_decay"]) == (3, 0.03, 5, 0.3)
    assert (call["clip"], call["seed"], call["augment"], call["train_mode"]) == (0.5, 7, augment, False)
    assert [call["schedule"](step, 10) for step in range(10)] == [training.warmup(0.2)(s, 10) for s in range(10)]


def test_defaults_of_a_run():
    assert (RUN.weight_decay, RUN.clip, RUN.seed, RUN.augment) == (0.01, 1.0, 0, None)
    assert Run(steps=1, lr=0.1).batch_size == 16
    assert list(STRATEGIES) == [
        "frozen features",
        "last block",
        "full",
        "LP-FT",
        "layer-wise decay",
        "gradual unfreezing",
        "L2-SP",
    ]


def tokenizer(texts: list[str], **settings: Any) -> dict[str, Tensor]:
    """A token for each letter, padded with 0."""
    rows = [torch.tensor([ord(letter) - 96 for letter in text]) for text in texts]
    ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return {"input_ids": ids, "attention_mask": (ids > 0).long()}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_on_texts(strategy: str):
    torch.manual_seed(0)
    config = BertConfig(vocab_size=27, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=16)
    net = BertModel(config, add_pooling_layer=False)
    model = models.Classifier(models.TextBackbone("tiny", net, tokenizer), 2).eval()
    words = ("good", "gooooood", "god", "goods", "bad", "baaad", "baba", "bada")
    data = Texts(name="words", labels=torch.tensor([1] * 4 + [0] * 4), classes=("bad", "good"), texts=words)
    before = state(model)
    fine_tune(model, data, strategy=strategy, run=Run(steps=10, lr=0.01))
    changed = {depths(model)[name] for name in moved(model, before)}
    expected = {"frozen features": {4}, "last block": {2, 3, 4}}
    assert changed == expected.get(strategy, {0, 1, 2, 3, 4})
    assert training.evaluate(model, data).accuracy == 1.0


def test_an_unknown_strategy(classifier, pictures):
    model = classifier()
    before = state(model)
    with pytest.raises(KeyError, match="strategy 'ful' is unknown; choose from: frozen features, last block, full"):
        fine_tune(model, pictures(), strategy="ful", run=RUN)
    assert not moved(model, before)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_head_that_does_not_fit(classifier, pictures, strategy: str):
    model = classifier(2)
    before = state(model)
    message = r"the head has 2 outputs, but toy has 3 classes; call finetuning\.replace_head\(model, 3\) first"
    with pytest.raises(ValueError, match=message):
        fine_tune(model, pictures(n_classes=3), strategy=strategy, run=RUN)
    assert not moved(model, before)
    assert len(trainable(model)) == len(list(model.parameters()))


def test_the_settings_that_a_lesson_quotes():
    assert (module.DECAY, module.ALPHA, module.LAST_STAGES, module.WARMUP) == (0.7, 0.1, 2, 0.2)
