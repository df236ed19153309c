"""Layers in four bits: what they compute, what they keep, and LoRA over them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from tlcourse.peft import (
    LoRALinear,
    NF4Linear,
    count_parameters,
    dequantize,
    inject_lora,
    inject_qlora,
    quantize,
    quantize_linears,
    remove,
    saved_bytes,
)


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def layer(seed: int = 0, **arguments: Any) -> nn.Linear:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Linear(96, 40, **arguments)


def test_a_quantised_layer_computes_with_the_dequantised_weight():
    for bias in (True, False):
        plain = layer(bias=bias)
        ours = NF4Linear(plain)
        x = gaussian(2, 3, 96).requires_grad_()
        weight = dequantize(quantize(plain.weight))
        assert torch.equal(ours.weight, weight)
        mine, other = ours(x), nn.functional.linear(x, weight, plain.bias)
        torch.testing.assert_close(mine, other, atol=1e-6, rtol=1e-6)
        gradients = [torch.autograd.grad(y.square().sum(), x)[0] for y in (mine, other)]
        torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-5)
        assert not any(parameter.requires_grad for parameter in ours.parameters())


def test_no_weight_in_full_waits_for_the_backward_pass():
    ours, x = NF4Linear(layer()), gaussian(2, 96).requires_grad_()
    assert saved_bytes(ours, lambda: ours(x)) == 0
    plain = layer()
    assert saved_bytes(nn.Identity(), lambda: plain(x)) >= 96 * 40 * 4


def test_a_change_of_type_does_not_touch_the_stored_weight():
    ours = NF4Linear(layer())
    before = ours.weight
    half = copy.deepcopy(ours).bfloat16()
    assert half(gaussian(2, 96).bfloat16()).dtype == torch.bfloat16
    assert torch.equal(half.weight, before.bfloat16())
    assert torch.equal(half.float().weight, before)
    assert torch.equal(half.mean.view(torch.float32), quantize(layer().weight).mean)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        x = gaussian(2, 96).requires_grad_()
        output = ours(x)
        output.sum().backward()
    torch.testing.assert_close(output.float(), ours(x), atol=0.05, rtol=0.05)
    assert x.grad is not None


def test_state_comes_back_from_a_file(tmp_path: Any):
    from safetensors.torch import load_file, save_file

    ours, other = NF4Linear(layer()), NF4Linear(layer(1))
    save_file(ours.state_dict(), tmp_path / "layer.safetensors")
    other.load_state_dict(load_file(tmp_path / "layer.safetensors"))
    assert torch.equal(other.weight, ours.weight)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_qlora_is_lora_over_the_dequantised_model(family: str, build: Any, batch: Any, stir: Any):
    targets = ("*", "!lm_head")
    reference, ours = build(family), inject_qlora(build(family), targets, rank=3, alpha=6, seed=4)
    total = sum(parameter.numel() for parameter in reference.parameters())
    for path, module in build(family).named_modules():
        if "weight" in dict(module.named_parameters(recurse=False)) and path + ".A" in dict(ours.named_parameters()):
            turned = type(module).__name__ == "Conv1D"
            weight = module.weight.detach().T if turned else module.weight.detach()
            weight = dequantize(quantize(weight))
            reference.get_submodule(path).weight.data = weight.T.contiguous() if turned else weight
    inject_lora(reference, targets, rank=3, alpha=6, seed=4)
    assert (
        count_parameters(ours)
        == count_parameters(reference)
        == (count_parameters(ours)[0], total + count_parameters(ours)[0])
    )
    for model in (reference, ours):
        stir(model)
    mine, other = ours(**batch).logits, reference(**batch).logits
    torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-5)
    for logits in (mine, other):
        logits.square().sum().backward()
    gradients = [[p.grad for p in model.parameters() if p.requires_grad] for model in (ours, reference)]
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4 * float(expected.abs().max()), rtol=1e-4)


def test_qlora_in_bfloat16(build: Any, batch: Any):
    model = inject_qlora(build("llama").bfloat16(), "q_proj", rank=2, alpha=4)
    own = model.model.layers[0].self_attn.q_proj
    assert isinstance(own, LoRALinear)
    assert own.A.dtype == own.B.dtype == torch.bfloat16
    assert model(**batch).logits.dtype == torch.bfloat16


def test_a_file_holds_the_four_bits_and_no_more():
    assert set(NF4Linear(layer()).state_dict()) == {"codes", "scales", "steps", "mean", "bias"}
    assert set(NF4Linear(layer(bias=False)).state_dict()) == {"codes", "scales", "steps", "mean"}


def test_quantising_is_for_good_and_all_or_nothing(build: Any):
    model = inject_qlora(build("llama"), "q_proj", rank=2, alpha=4)
    remove(model)
    assert isinstance(model.model.layers[0].self_attn.q_proj, NF4Linear)
    untouched = build("llama")
    with pytest.raises(ValueError, match="give 1 to 16"):
        inject_qlora(untouched, ("q_proj", "v_proj"), rank=17, alpha=4)
    assert not any(isinstance(module, NF4Linear) for module in untouched.modules())
    with pytest.raises(ValueError, match="near it: q_proj"):
        quantize_linears(untouched, "q_porj")
    inject_lora(untouched, "q_proj", rank=2, alpha=4)
    for act in (
        lambda: quantize_linears(untouched, "v_proj"),
        lambda: inject_qlora(untouched, "v_proj", rank=2, alpha=4, name="other"),
    ):
        with pytest.raises(ValueError, match=r"has adapters, \['default'\], on its layers as they are; call remove"):
            act()
