"""LoRA's layer: where it starts, what it computes, what it learns, and what it is merged into."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tlcourse.peft import DoRALinear, IA3Linear, LoRALinear, VeRALinear, inject_dora, inject_lora, inject_vera
from tlcourse.peft.vera import Projections


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear(inputs: int, outputs: int, *, bias: bool = True, seed: int = 0) -> nn.Linear:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Linear(inputs, outputs, bias=bias)


def stirred(layer: nn.Module, seed: int = 1) -> Any:
    generator = drawn(seed)
    for name, parameter in layer.named_parameters():
        if not name.startswith("base."):
            parameter.data += 0.5 * torch.randn(parameter.shape, generator=generator)
    return layer


def test_starts_at_its_base_with_the_bound_of_the_inputs():
    base = linear(400, 300)
    layer = LoRALinear(base, rank=64, alpha=1, generator=drawn())
    assert layer.A.shape == (64, 400)
    assert layer.B.shape == (300, 64)
    assert not layer.B.any()
    bound = 1 / math.sqrt(400)
    assert 0.999 * bound < layer.A.abs().max() <= bound, "1/√in, not 1/√rank"
    assert float(layer.A.detach().std()) == pytest.approx(bound / math.sqrt(3), rel=0.02), "uniform"
    x = torch.randn(5, 400, generator=drawn(1))
    assert torch.equal(layer(x), base(x))


@pytest.mark.parametrize(("rslora", "scale"), [(False, 12 / 4), (True, 12 / 2)])
def test_is_the_equation(rslora: bool, scale: float):
    layer = stirred(LoRALinear(linear(7, 5), rank=4, alpha=12, rslora=rslora))
    x = torch.randn(2, 3, 7, generator=drawn(2))
    expected = x @ layer.base.weight.T + layer.base.bias + scale * (x @ layer.A.T) @ layer.B.T
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(layer.delta(), scale * layer.B @ layer.A, atol=1e-6, rtol=1e-6)


def test_dropout_acts_on_the_change_alone_and_only_in_training():
    layer = stirred(LoRALinear(linear(50, 6), rank=3, alpha=6, dropout=0.5))
    x = torch.randn(200, 50, generator=drawn(3))
    layer.eval()
    calm = layer(x)
    assert torch.equal(layer(x), calm)
    layer.train()
    torch.manual_seed(0)
    noisy = layer(x)
    torch.manual_seed(0)
    dropped = nn.functional.dropout(x, 0.5)
    torch.testing.assert_close(noisy - layer.base(x), dropped @ layer.delta().T, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(noisy, calm, atol=1e-2)


@pytest.mark.parametrize("make", [LoRALinear, DoRALinear])
@pytest.mark.parametrize("rank", [-1, 0, 6, 100])
def test_a_rank_that_no_weight_of_this_shape_has(make: type[LoRALinear], rank: int):
    with pytest.raises(ValueError, match=rf"rank is {rank}, and the layer is 9 → 5; give 1 to 5"):
        make(linear(9, 5), rank=rank, alpha=1)


@pytest.mark.parametrize("make", [LoRALinear, DoRALinear])
@pytest.mark.parametrize("rank", [1, 5])
def test_the_smallest_and_the_largest_rank(make: type[LoRALinear], rank: int):
    assert make(linear(9, 5), rank=rank, alpha=1).A.shape == (rank, 9)
    assert make(linear(5, 9), rank=rank, alpha=1).B.shape == (9, rank)


def test_vera_with_one_row_keeps_only_its_vectors():
    model = inject_vera(nn.Sequential(linear(4, 6)), "0", rank=1)
    assert {name: tuple(tensor.shape) for name, tensor in model.state_dict().items() if ".base." not in name} == {
        "0.b": (6,),
        "0.d": (1,),
    }, "the random matrices can be drawn again"


def test_one_layer_too_small_leaves_all_as_they_were(build: Any):
    model = build("llama")
    before = list(model.modules())
    for inject in (inject_lora, inject_dora):
        with pytest.raises(ValueError, match=r"layers\.0\.self_attn\.v_proj: rank is 20, and .* 32 → 16; give 1 to 16"):
            inject(model, ("q_proj", "v_proj"), rank=20, alpha=1)
    with pytest.raises(ValueError, match="rank is 0; give 1 or more"):
        inject_vera(model, "q_proj", rank=0)
    assert list(model.modules()) == before


def test_dora_starts_with_the_rows_norms_and_keeps_the_norm_out_of_the_gradient():
    base = linear(6, 4)
    layer = DoRALinear(base, rank=2, alpha=3, generator=drawn())
    torch.testing.assert_close(layer.magnitude.detach(), base.weight.norm(dim=1), atol=1e-6, rtol=1e-6)
    stirred(layer)
    x = torch.randn(3, 6, generator=drawn(4))
    direction = base.weight + layer.delta()
    length = direction.norm(dim=1)
    torch.testing.assert_close(layer.norm(), length.detach(), atol=1e-6, rtol=1e-5)
    for norm, same in ((length.detach(), True), (length, False)):
        expected = x @ (layer.magnitude[:, None] * direction / norm[:, None]).T + base.bias
        torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)
        ours, theirs = (
            torch.autograd.grad(y.square().sum(), [layer.A, layer.B], retain_graph=True) for y in (layer(x), expected)
        )
        assert all(torch.allclose(a, b, atol=1e-4, rtol=1e-4) for a, b in zip(ours, theirs, strict=True)) == same


def test_dora_with_an_update_that_undoes_the_weight_stays_finite():
    layer = DoRALinear(linear(4, 3, bias=False), rank=3, alpha=3)
    u, s, v = torch.linalg.svd(layer.base.weight.detach(), full_matrices=False)
    layer.A.data, layer.B.data = s[:, None] * v, -u
    assert torch.isfinite(layer(torch.ones(1, 4))).all()


def made(kind: str, base: nn.Linear, rank: int) -> nn.Module:
    inputs, outputs = base.in_features, base.out_features
    if kind == "lora":
        return LoRALinear(base, rank=min(rank, inputs, outputs), alpha=3)
    if kind == "dora":
        return DoRALinear(base, rank=min(rank, inputs, outputs), alpha=3, rslora=True)
    if kind == "vera":
        return VeRALinear(base, Projections(inputs + 2, outputs + 3, rank=rank, seed=0).to(base.weight))
    return IA3Linear(base, feedforward=kind == "ia3 of inputs")


KINDS = ["lora", "dora", "vera", "ia3 of inputs", "ia3 of outputs"]


@pytest.mark.parametrize("kind", KINDS)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 6), st.booleans(), st.integers(0, 10**6))
@settings(deadline=None, max_examples=25)
def test_merged_computes_the_same(kind: str, inputs: int, outputs: int, rank: int, bias: bool, seed: int):
    base = linear(inputs, outputs, bias=bias, seed=seed)
    layer = stirred(made(kind, base, rank), seed)
    weight = base.weight.clone()
    merged = layer.merged()
    x = torch.randn(4, inputs, generator=drawn(seed))
    expected = layer(x)
    assert type(merged) is nn.Linear
    assert (merged(x) - expected).abs().max() <= 1e-5 * max(1.0, float(expected.detach().abs().max()))
    assert not any(parameter.requires_grad for parameter in merged.parameters())
    assert torch.equal(base.weight, weight)
    assert merged.weight.data_ptr() != base.weight.data_ptr()


@pytest.mark.parametrize("kind", KINDS)
def test_merged_in_bfloat16_is_as_near_as_the_rounding_of_the_weight(kind: str):
    """Stated bound: 2⁻⁸ of ‖x‖‖w‖ for the one rounding of the merged weight, plus 2⁻⁷ of the output for those of both
    outputs and of the unmerged layer's sums."""
    base = linear(256, 128).bfloat16()
    layer = stirred(made(kind, base, 8))
    merged = layer.merged()
    assert merged.weight.dtype == torch.bfloat16
    x = torch.randn(64, 256, generator=drawn(6)).bfloat16()
    exact = made(kind, linear(256, 128), 8)
    exact.load_state_dict({name: tensor.float() for name, tensor in layer.state_dict().items()})
    reference = exact.merged()(x.float())
    scale = x.float().norm(dim=1)[:, None] * exact.merged().weight.norm(dim=1)
    bound = 2**-8 * scale + 2**-7 * reference.abs()
    assert ((merged(x).float() - reference).abs() <= bound).all()
    assert ((merged(x).float() - layer(x).float()).abs() <= 2 * bound).all()


def test_merging_in_bfloat16_rounds_once():
    layer = stirred(LoRALinear(linear(64, 32).bfloat16(), rank=8, alpha=3))
    base, b, a = (tensor.float() for tensor in (layer.base.weight, layer.B, layer.A))
    assert torch.equal(layer.merged().weight, (base + layer.scale * b @ a).bfloat16())


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_and_autocast(kind: str):
    layer = stirred(made(kind, linear(16, 8), 4))
    x = torch.randn(5, 16, generator=drawn(7))
    expected = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = layer(x)
        mixed.float().sum().backward()
    torch.testing.assert_close(mixed.float(), expected, atol=0.1, rtol=0.05)
    own = [p for name, p in layer.named_parameters() if not name.startswith("base.")]
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in own)
    half = made(kind, linear(16, 8).bfloat16(), 4)
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}, "new parameters follow the layer"
    assert half(x.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("kind", KINDS)
def test_new_parameters_are_where_the_layer_is(kind: str):
    layer = made(kind, linear(16, 8).to("meta"), 4)
    own = [tensor for name, tensor in layer.named_parameters() if not name.startswith("base.")]
    assert own
    assert {tensor.device.type for tensor in own} == {"meta"}
