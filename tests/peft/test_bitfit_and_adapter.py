"""BitFit against a loop over the biases, Houlsby's adapters against a network written out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tlcourse.peft import BottleneckLayer, count_parameters, inject_adapter, inject_bitfit, remove


def trained(model: nn.Module, batch: Any, learning: list[nn.Parameter], *, steps: int = 4) -> Tensor:
    """Outputs after a few steps of AdamW on these parameters."""
    rule = torch.optim.AdamW(learning, lr=0.05)
    for _ in range(steps):
        (model(**batch).logits - 1).square().mean().backward()
        rule.step()
        rule.zero_grad()
    return model(**batch).logits.detach()


@pytest.mark.parametrize("family", ["gpt2", "bert"])
def test_bitfit_is_a_loop_over_the_biases(family: str, build: Any, batch: Any):
    plain = build(family).requires_grad_(False)
    biases = [parameter.requires_grad_(True) for name, parameter in plain.named_parameters() if name.endswith("bias")]
    expected = trained(plain, batch, biases)
    ours = inject_bitfit(build(family))
    learning = [parameter for parameter in ours.parameters() if parameter.requires_grad]
    assert sum(p.numel() for p in learning) == sum(p.numel() for p in biases) == count_parameters(ours)[0]
    found = trained(ours, batch, learning)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    assert (found - build(family)(**batch).logits).abs().max() > 0.05


def test_bitfit_of_some_layers(build: Any):
    model = inject_bitfit(build("bert"), ("query", "intermediate.dense"))
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert names == [
        f"net.encoder.layer.{i}.{part}.bias" for i in (0, 1) for part in ("attention.self.query", "intermediate.dense")
    ]


def test_a_bias_in_two_places_stays_one():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
            self.second.bias = self.first.bias

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x))

    model = Tied()
    bias = model.first.bias
    inject_bitfit(model)
    assert model.first.bias is model.second.bias
    assert model.first.bias is not bias
    remove(model)
    assert model.first.bias is model.second.bias is bias


def test_bitfit_without_biases_says_so(build: Any):
    with pytest.raises(ValueError, match="LlamaForCausalLM has no layer with a bias"):
        inject_bitfit(build("llama"))


def by_hand(model: Any, batch: Any, adapters: dict[str, dict[str, Tensor]]) -> Tensor:
    """BERT with an adapter after each sublayer, before the skip connection, written out (Figure 2)."""

    def adapter(x: Tensor, name: str) -> Tensor:
        p = adapters[name]
        z = x @ p["down"].T + p["down_bias"]
        gelu = z * 0.5 * (1 + torch.erf(z / math.sqrt(2)))
        return x + gelu @ p["up"].T + p["up_bias"]

    net, mask = model.net, batch["attention_mask"]
    hidden = net.embeddings(input_ids=batch["input_ids"])
    unseen = torch.where(mask[:, None, None, :] == 0, -torch.inf, 0.0)
    for number, block in enumerate(net.encoder.layer):
        own = block.attention.self
        q, k, v = (f(hidden).unflatten(2, (4, 8)).transpose(1, 2) for f in (own.query, own.key, own.value))
        mixed = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(8) + unseen, dim=3) @ v
        out = block.attention.output
        after = nn.functional.linear(mixed.transpose(1, 2).flatten(2), out.dense.weight, out.dense.bias)
        hidden = out.LayerNorm(hidden + adapter(after, f"{number}.attention"))
        inner = nn.functional.gelu(block.intermediate.dense(hidden))
        after = nn.functional.linear(inner, block.output.dense.weight, block.output.dense.bias)
        hidden = block.output.LayerNorm(hidden + adapter(after, f"{number}.feed-forward"))
    return hidden


def test_adapter_is_the_network_written_by_hand(build: Any, batch: Any, stir: Any):
    ours, plain = inject_adapter(build("bert"), "output.dense", size=5), build("bert")
    stir(ours)
    places = [f"{i}.{part}" for i in (0, 1) for part in ("attention", "feed-forward")]
    layers = [module for module in ours.modules() if isinstance(module, BottleneckLayer)]
    parts = ("down", "down_bias", "up", "up_bias")
    copies = {
        place: {part: getattr(layer, part).detach().clone().requires_grad_() for part in parts}
        for place, layer in zip(places, layers, strict=True)
    }
    mine, other = ours(**batch).logits, by_hand(plain, batch, copies)
    seen = batch["attention_mask"].bool()
    torch.testing.assert_close(mine[seen], other[seen], atol=1e-5, rtol=1e-5)
    assert (mine - plain(**batch).logits).abs().max() > 0.1
    for result in (mine, other):
        result[seen].sin().sum().backward()
    for place, layer in zip(places, layers, strict=True):
        for part in parts:
            expected = copies[place][part].grad
            assert expected is not None
            largest = float(expected.abs().max())
            torch.testing.assert_close(getattr(layer, part).grad, expected, atol=1e-4 * largest, rtol=1e-4)


def test_adapter_starts_near_zero_with_cut_weights(build: Any):
    model = inject_adapter(build("gpt2"), "c_proj", size=16)
    layer = model.transformer.h[0].mlp.c_proj
    assert layer.down.shape == (16, 32)
    assert layer.up.shape == (32, 16)
    for weight in (layer.down.detach(), layer.up.detach()):
        assert 0.015 < weight.abs().max() <= 0.02
        assert float(weight.std()) == pytest.approx(0.0088, rel=0.15), "deviation of a normal cut at two deviations"
    assert not layer.down_bias.any()
    assert not layer.up_bias.any()


def test_norms_are_learned_too_when_they_are_named(build: Any):
    without = count_parameters(inject_adapter(build("bert"), "output.dense", size=4))[0]
    assert without == 4 * (2 * 4 * 32 + 4 + 32)
    with_norms = count_parameters(inject_adapter(build("bert"), "output.dense", size=4, norms="LayerNorm"))[0]
    assert with_norms == without + 5 * 2 * 32
    only_blocks = inject_adapter(build("llama"), "o_proj", size=4, norms="*_layernorm")
    assert count_parameters(only_blocks)[0] == 2 * (2 * 4 * 32 + 4 + 32) + 4 * 32
    with pytest.raises(ValueError, match="matches no normalisation layer"):
        inject_adapter(build("llama"), "o_proj", size=4, norms="LayerNorm")
    with pytest.raises(ValueError, match="size is 0"):
        inject_adapter(build("llama"), "o_proj", size=0)


def test_of_a_norm_only_its_own_parameters_are_learned():
    class NormThenMix(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale, self.mix = nn.Parameter(torch.ones(4)), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.mix(self.scale * x)

    model = inject_adapter(nn.Sequential(nn.Linear(4, 4), NormThenMix()), "0", size=1, norms="1")
    names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert names == {"0.down", "0.down_bias", "0.up", "0.up_bias", "1.scale"}


def test_ia3_refuses_a_feedforward_layer_that_is_no_target(build: Any):
    from tlcourse.peft import inject_ia3

    with pytest.raises(ValueError, match=r"feedforward matches '.*mlp\.c_proj', which targets does not"):
        inject_ia3(build("gpt2"), "c_attn", feedforward="mlp.c_proj")


def test_the_biases_put_back_follow_a_model_that_moved(build: Any, batch: Any):
    model = inject_bitfit(build("gpt2").eval()).double()
    remove(model)
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert model(**batch).logits.dtype == torch.float64
