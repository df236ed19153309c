"""Adapters folded into the weights, and taken out again."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tlcourse.peft import inject_lora, merge, mixed, quantize_linears, remove, switch, unmerge

MERGEABLE = ["lora", "wide lora", "dora", "vera", "ia3"]


@pytest.mark.parametrize("name", MERGEABLE)
def test_merged_gives_the_same_and_unmerged_the_very_layers(name: str, crowd: Any, alone: Any, batch: Any):
    switch(crowd, name)
    modules = [(path, id(module)) for path, module in crowd.named_modules()]
    weights = {path: tensor.clone() for path, tensor in crowd.state_dict().items()}
    merge(crowd)
    kinds = {type(module).__name__ for module in crowd.modules()}
    assert not any(kind.startswith(("LoRA", "DoRA", "VeRA", "IA3")) for kind in kinds)
    assert type(crowd.transformer.h[0].attn.c_attn).__name__ == "Conv1D", "GPT-2's layers stay of GPT-2's kind"
    largest = float(alone[name].abs().max())
    assert (crowd(**batch).logits - alone[name]).abs().max() <= 1e-5 * max(1.0, largest)
    assert (alone[name] - alone[None]).abs().max() > 1e-2
    unmerge(crowd)
    assert [(path, id(module)) for path, module in crowd.named_modules()] == modules
    assert all(torch.equal(tensor, weights[path]) for path, tensor in crowd.state_dict().items())
    assert torch.equal(crowd(**batch).logits, alone[name])


def test_merging_twice_and_other_mistakes(crowd: Any, alone: Any, batch: Any):
    switch(crowd, "lora")
    with pytest.raises(ValueError, match="'lora' is not merged; there is nothing to undo"):
        unmerge(crowd)
    merge(crowd)
    with pytest.raises(ValueError, match="'lora' is merged already; a second time would add its change twice"):
        merge(crowd)
    for act in (
        lambda: switch(crowd, "dora"),
        lambda: inject_lora(crowd, "c_attn", rank=1, alpha=1, name="new"),
        lambda: mixed(crowd, ["lora"] * 3).__enter__(),
    ):
        with pytest.raises(ValueError, match=r"'lora' is merged into the weights; call unmerge\(model\) first"):
            act()
    assert (crowd(**batch).logits - alone["lora"]).abs().max() <= 1e-5
    remove(crowd, "lora")
    assert torch.equal(crowd(**batch).logits, alone[None]), "removing a merged adapter takes its change out"
    with pytest.raises(ValueError, match="no adapter is at work; switch"):
        merge(crowd)
    switch(crowd, "dora")
    assert torch.equal(crowd(**batch).logits, alone["dora"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("adapter", "BottleneckLayer computes more than one linear layer can"),
        ("prompt", "SoftPrompt computes more"),
        ("prefix", "Prefix computes more"),
        ("bitfit", "'bitfit' trains parameters of the model itself"),
    ],
)
def test_what_cannot_be_merged(name: str, message: str, crowd: Any, alone: Any, batch: Any):
    switch(crowd, name)
    with pytest.raises(TypeError, match=message):
        merge(crowd)
    assert torch.equal(crowd(**batch).logits, alone[name])


def test_unmerged_layers_are_in_the_mode_of_the_model(build: Any):
    model = inject_lora(build("gpt2").train(), "c_attn", rank=2, alpha=4, dropout=0.5)
    unmerge(merge(model).eval())
    assert not any(module.training for module in model.modules())
    unmerge(merge(model).train())
    assert all(module.training for module in model.modules())


def test_the_backbone_follows_a_merged_model_to_another_type(crowd: Any, alone: Any, batch: Any):
    switch(crowd, "lora")
    unmerge(merge(crowd).double())
    assert {p.dtype for p in crowd.parameters()} == {torch.float64}
    torch.testing.assert_close(crowd(**batch).logits.float(), alone["lora"], atol=1e-5, rtol=1e-5)


def test_lora_over_four_bits_merges_into_a_plain_layer(build: Any, batch: Any, stir: Any):
    model = quantize_linears(build("llama"), ("*", "!lm_head"))
    inject_lora(model, "q_proj", rank=2, alpha=4)
    stir(model)
    expected = model(**batch).logits
    merge(model)
    assert type(model.model.layers[0].self_attn.q_proj) is nn.Linear
    torch.testing.assert_close(model(**batch).logits, expected, atol=1e-4, rtol=1e-4)
    unmerge(model)
    assert torch.equal(model(**batch).logits, expected)


def test_removing_what_is_merged_follows_a_model_that_moved(build: Any, batch: Any):
    model = build("gpt2").eval()
    before = model(**batch).logits
    merge(inject_lora(model, "c_attn", rank=2, alpha=4))
    remove(model.double().train())
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert model.transformer.h[0].attn.c_attn.training
    torch.testing.assert_close(model.eval()(**batch).logits.float(), before, rtol=1e-4, atol=1e-5)


def test_what_is_merged_shares_no_numbers_with_the_backbone():
    model = inject_lora(nn.Sequential(nn.Linear(3, 3)), "*", rank=1, alpha=1)
    before = model[0].base.bias.clone()
    merge(model)
    with torch.no_grad():
        model[0].bias.zero_()
    unmerge(model)
    assert torch.equal(model[0].base.bias, before)
