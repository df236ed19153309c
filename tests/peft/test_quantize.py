"""NF4: the published table, the definition, double quantisation, and the weights of a real model."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from tlcourse import models
from tlcourse.peft import (
    Quantized,
    dequantize,
    nf4_codebook,
    quantize,
)
from tlcourse.peft.quantize import BLOCK, GROUP, dequantize_scales, quantize_scales

# QLoRA, appendix E; also bitsandbytes' create_normal_map and its kernels.
PUBLISHED = [
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
]  # fmt: skip


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_codebook_is_the_published_table():
    assert nf4_codebook().tolist() == pytest.approx(PUBLISHED, abs=1e-7)


def test_codebook_is_made_of_quantiles_of_the_normal_distribution():
    codebook = nf4_codebook()
    below, above = codebook[:8], codebook[7:]
    scale = norm.ppf(0.9677083)
    for half in (-below.flip(0), above):
        probabilities = norm.cdf(half.double().numpy() * scale)
        steps = probabilities[1:] - probabilities[:-1]
        assert steps == pytest.approx([(0.9677083 - 0.5) / (len(half) - 1)] * len(steps), abs=1e-6)
    assert codebook[7] == 0
    assert (codebook[0], codebook[-1]) == (-1, 1)


def nearest(weight: torch.Tensor) -> torch.Tensor:
    """The definition, one number at a time, with exact scales."""
    table = torch.tensor(PUBLISHED)
    found = []
    for block in weight.flatten().split(BLOCK):
        largest = block.abs().max()
        for value in block:
            distance = (value / largest - table).abs() if largest > 0 else table.abs()
            found.append(largest * table[distance.argmin()])
    return torch.stack(found).view(weight.shape)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=3), st.sampled_from([1e-6, 1.0, 1e4]), st.integers(0, 10**6))
@settings(deadline=None, max_examples=25)
def test_each_number_becomes_the_nearest_value_of_its_block(shape: list[int], scale: float, seed: int):
    weight = scale * gaussian(*shape, seed=seed)[..., :20]
    stored = quantize(weight)
    assert stored.codes.dtype == torch.uint8
    found = dequantize(stored)
    assert found.shape == weight.shape
    exact = nearest(weight)
    largest = torch.stack([block.abs().max() for block in weight.flatten().split(BLOCK)])
    error = (dequantize_scales(stored) - largest).abs().max()
    assert (found - exact).abs().max() <= error + 1e-6 * scale, "only the scales may differ"


def test_two_codes_are_in_a_byte_the_first_one_above():
    weight = torch.zeros(BLOCK)
    weight[0], weight[1], weight[2] = 1.0, -1.0, 0.2461
    assert quantize(weight).codes[:2].tolist() == [15 << 4 | 0, 10 << 4 | 7]


def test_values_of_the_table_come_back_as_they_were():
    weight = torch.tensor(PUBLISHED).repeat(4 * 300)
    assert torch.allclose(dequantize(quantize(weight)), weight, atol=1e-7)


def test_a_block_of_zeros_and_one_that_is_not_full():
    weight = torch.cat([torch.zeros(BLOCK), gaussian(7)])
    found = dequantize(quantize(weight))
    assert not found[:BLOCK].any()
    assert torch.allclose(found[BLOCK:], weight[BLOCK:], atol=0.2 * float(weight.abs().max()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_shape_and_type_come_back(dtype: torch.dtype):
    weight = gaussian(5, 3, 8).to(dtype)
    found = dequantize(quantize(weight))
    assert (found.shape, found.dtype) == (weight.shape, dtype)


def test_scales_in_eight_bits_err_by_half_a_step_at_most():
    largest = 3 + gaussian(1000).abs()
    largest[700] = 40  # spoils the steps of its own group only
    codes, steps, mean = quantize_scales(largest)
    assert codes.dtype == torch.int8
    assert steps.shape == (4,)
    found = mean + steps.repeat_interleave(GROUP)[:1000] * codes
    half = steps.repeat_interleave(GROUP)[:1000] / 2
    assert ((found - largest).abs() <= 1.001 * half + 1e-6).all()
    assert steps[2] > 5 * steps[1]
    assert mean == pytest.approx(float(largest.mean()))


def test_the_mean_is_taken_away_first():
    """Scales are all positive: with the mean left in, half of the codes would be of no use."""
    largest = 5 + 0.1 * gaussian(GROUP)
    codes, steps, _ = quantize_scales(largest)
    assert steps[0] < 0.5 / 127
    assert codes.min() < -50
    assert codes.max() > 50


def test_blocks_are_of_64_and_groups_of_256():
    """The sizes of the paper (Section 3), where one number more begins another."""
    for count, blocks in ((1, 1), (64, 1), (65, 2), (128, 2)):
        assert len(quantize(gaussian(count)).scales) == blocks
    for count, groups in ((1, 1), (256, 1), (257, 2)):
        codes, steps, _ = quantize_scales(gaussian(count).abs())
        assert (len(codes), len(steps)) == (count, groups)


def test_one_number_is_its_own_scale():
    assert dequantize(quantize(torch.tensor([-2.5]))).tolist() == [-2.5]


def test_zeros_have_the_code_of_zero():
    stored = quantize(torch.zeros(2 * BLOCK))
    assert stored.codes.tolist() == [7 << 4 | 7] * BLOCK
    assert not dequantize(stored).any()


def test_a_scale_is_never_negative():
    scales = Quantized(
        torch.zeros(BLOCK, dtype=torch.uint8), torch.tensor([-5, 3], dtype=torch.int8), torch.ones(1), torch.zeros(()),
        (2 * BLOCK,), torch.float32,
    )  # fmt: skip
    assert dequantize_scales(scales).tolist() == [0, 3]


def test_what_is_quantised_does_not_change_and_is_itself():
    stored, again = quantize(gaussian(8)), quantize(gaussian(8))
    assert stored != again, "comparing tensors would have no single answer"
    assert stored == stored
    with pytest.raises(FrozenInstanceError):
        stored.dtype = torch.float16  # type: ignore[misc]


def test_bytes_of_a_number():
    stored = quantize(gaussian(1024, 1024))
    assert 8 * stored.nbytes / 1024**2 == pytest.approx(4 + 8 / 64 + 32 / (64 * 256), abs=1e-4)


@pytest.mark.parametrize("bad", [torch.tensor([1.0, float("nan")]), torch.tensor([float("inf")]), torch.zeros(0)])
def test_refuses_what_has_no_scale(bad: torch.Tensor):
    with pytest.raises(ValueError, match="empty or holds NaN or infinity"):
        quantize(bad)


def test_nf4_errs_less_than_even_steps_on_normal_numbers_and_on_real_weights():
    """The paper's reason for it (Section 4), on layers of SmolLM2 too, whose own four bits are in blocks of 32."""
    net = models.language().net
    weights = {
        "normal": gaussian(512, 512),
        "query": net.model.layers[5].self_attn.q_proj.weight.detach(),
        "down": net.model.layers[20].mlp.down_proj.weight.detach(),
    }
    for name, weight in weights.items():
        error = float((dequantize(quantize(weight)) - weight).norm() / weight.norm())
        blocks = weight.reshape(-1, BLOCK)
        step = blocks.abs().amax(dim=1, keepdim=True) / 7
        even = float(((blocks / step).round() * step - blocks).norm() / weight.norm())
        assert 0.08 < error < 0.105, name
        assert error < 0.95 * even, name
