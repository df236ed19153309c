"""Does an answer store numbers in four bits: by blocks, each with its scale, each number as the nearest code?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tlcourse.checks.base import CheckFailed
from tlcourse.checks.expect import expect, tensor
from tlcourse.peft import nf4_codebook
from tlcourse.peft import quantize as package_quantize
from tlcourse.peft.quantize import BLOCK

Answer = Callable[..., Any]
Known = list[tuple[Tensor, str]]
ONE_SCALE = "One scale for the whole tensor: one large weight would make all others coarse. Each block has its own."


def blocks_of(weight: Tensor, block: int) -> Tensor:
    """The numbers in blocks, one a row, the last one filled up with zeros."""
    flat = weight.reshape(-1)
    return F.pad(flat, (0, -len(flat) % block)).view(-1, block)


def nearest(scaled: Tensor, codebook: Tensor) -> Tensor:
    """Position of the nearest value of the codebook."""
    return (scaled[..., None] - codebook).abs().argmin(dim=-1)


def check_quantize(answer: Answer) -> None:
    """CheckFailed unless answer(weight, codebook, block) gives codes (blocks, block) and scales (blocks,)."""
    codebook = nf4_codebook()
    for shape, block, values in (((9, 16), 8, codebook), ((5, 7), 8, codebook), ((40,), 4, _any_codebook())):
        _check_blocks(answer, 0.02 * torch.randn(shape), values, block)
    _check_zeros(answer, codebook)
    weight = torch.randn(6, 40)
    codes, _ = _codes_and_scales(answer, weight, codebook, BLOCK)
    bytes_ = codes.reshape(-1, 2).long()
    same = (bytes_[:, 0] * 16 + bytes_[:, 1]).equal(package_quantize(weight).codes.long())
    why = "Blocks run along the flattened tensor, row after row, and each number goes to the nearest value."
    expect(same, tried=_quantized(weight, BLOCK), got="other codes than peft.quantize", misconception=why)


def _any_codebook() -> Tensor:
    """A codebook that is not NF4: 16 values in order from -1 to 1, with 0 among them, at least 0.04 apart."""
    gaps = 0.04 + torch.rand(15)
    values = F.pad(gaps.cumsum(dim=0), (1, 0))
    values = values - values[7]
    return torch.where(values < 0, values / -values[0], values / values[-1])


def _quantized(weight: Tensor, block: int) -> str:
    return f"quantize(weight, codebook, block={block}) for random numbers of shape {tuple(weight.shape)}"


def _codes_and_scales(answer: Answer, weight: Tensor, codebook: Tensor, block: int) -> tuple[Tensor, Tensor]:
    """What the answer returns, with the right shapes."""
    tried, rows = _quantized(weight, block), -(-weight.numel() // block)
    kept = weight.clone()
    try:
        value = answer(weight, codebook, block)
    except RuntimeError as error:
        if "invalid for input of size" not in str(error) or weight.numel() % block == 0:
            raise
        why = "The last block is not full. Fill it up with zeros: F.pad(flat, (0, -len(flat) % block))."
        raise CheckFailed(tried=tried, got=f"RuntimeError: {error}", misconception=why) from None
    two = "Return two tensors: codes, scales."
    fits = isinstance(value, (tuple, list)) and len(value) == 2
    expect(fits, tried=tried, got=type(value).__name__, misconception=two)
    expect(
        weight.equal(kept),
        tried=f"{tried}; then a look at the weight",
        got="it is not what it was",
        misconception="You write into the weight of the caller. Make a new tensor.",
    )
    faults = {
        (): ONE_SCALE,
        (1,): ONE_SCALE,
        (weight.shape[0],): "One scale for each row of the weight. A block is "
        "`block` numbers of the flattened tensor, whatever its shape.",
        (rows, 1): "keepdim=True leaves a second axis. Return one scale for each block, shape (blocks,).",
        (rows - 1,): "The numbers after the last full block are lost. Fill the last block up with zeros.",
    }
    codes, scales = value
    scales = tensor(scales, (rows,), tried=f"{tried}: scales", misconception=faults.get(tuple(scales.shape), ""))
    lines = f"Return one row of codes for each block: shape ({rows}, {block})."
    codes = tensor(codes, (rows, block), tried=f"{tried}: codes", misconception=lines)
    whole = not codes.is_floating_point() and codes.dtype != torch.bool
    values = "A code is a position in the codebook, a whole number from 0 to 15, and not the value itself."
    expect(whole, tried=f"{tried}: codes", got=f"{codes.dtype}", misconception=values)
    return codes.long(), scales.float()


def _check_blocks(answer: Answer, weight: Tensor, codebook: Tensor, block: int) -> None:
    codes, scales = _codes_and_scales(answer, weight, codebook, block)
    tried, rows = _quantized(weight, block), blocks_of(weight, block)
    largest = rows.abs().amax(dim=1)
    strided = rows.reshape(block, -1).T
    wrong: Known = [
        (
            rows.amax(dim=1),
            (
                "The largest number, not the largest magnitude. A block whose extreme is negative would "
                "reach below −1, where the codebook ends: abs() first."
            ),
        ),
        (largest.max().expand(len(rows)), ONE_SCALE),
        (rows.std(dim=1), "Standard deviations. Then many numbers lie outside −1 … 1, and are cut off."),
        (rows.abs().mean(dim=1), "Mean magnitudes. Then many numbers lie outside −1 … 1, and are cut off."),
        (largest / 7, "Divided by 7, as for whole numbers from −7 to 7. The codebook goes from −1 to 1."),
        (largest / 15, "Divided by 15. The codebook goes from −1 to 1, so the scale is the largest magnitude."),
        (1 / largest, "One over the scale. Bringing back multiplies by it, so it is the largest magnitude itself."),
        (rows.amax(dim=1) - rows.amin(dim=1), "The range from smallest to largest. Asked is the largest magnitude."),
        (strided.abs().amax(dim=1), "Numbers that lie far apart share a block. A block is `block` numbers in a row."),
    ]
    match(scales, largest, wrong, tried=f"{tried}: scales", otherwise="The scale is the block's largest magnitude.")
    scaled = rows / largest[:, None]
    even = torch.linspace(-1, 1, 16)
    below = torch.searchsorted(codebook, scaled.contiguous(), right=True) - 1
    signed = rows / rows.amax(dim=1)[:, None]
    guesses: list[tuple[Tensor, str]] = [
        (
            nearest(scaled, even),
            (
                "Rounded to an even grid. NF4's values are close together near 0 and far apart at the "
                "ends: look for the nearest value of the codebook."
            ),
        ),
        (((scaled + 1) * 7.5).long(), "Cut off on an even grid. Look for the nearest value of the codebook."),
        (below, "The next value below, not the nearest."),
        ((below + 1).clamp(max=15), "The next value above, not the nearest."),
        (torch.searchsorted(codebook, scaled.contiguous()).clamp(max=15), "The next value above, not the nearest."),
        (nearest(rows, codebook), "The numbers were not divided by their scale, so that all are near 0."),
        (
            nearest(rows / rows.abs().max(), codebook),
            "Codes by one scale for the whole tensor, though each block has its own.",
        ),
        (nearest(signed, codebook), "Divided by the largest number, not the largest magnitude."),
        (nearest(scaled.abs(), codebook), "The sign is lost: abs() is for the scale alone."),
    ]
    inside = bool(((codes >= 0) & (codes < 16)).all())
    numbers = "Four bits hold the numbers from 0 to 15."
    got = f"codes from {int(codes.min())} to {int(codes.max())}"
    expect(inside, tried=f"{tried}: codes", got=got, misconception=numbers)
    misses = (codebook[codes] - scaled).abs() > (codebook[nearest(scaled, codebook)] - scaled).abs() + 1e-5
    known = next(
        (why for guess, why in guesses if codes.equal(guess)),
        "Each number over its scale, then the position of the nearest value of the codebook.",
    )
    at = misses.flatten().long().argmax()
    got = f"{int(misses.sum())} of {misses.numel()} are not the nearest, such as {scaled.flatten()[at]:.3f} stored as "
    got += f"{codebook[codes].flatten()[at]:.3f}"
    expect(not misses.any(), tried=f"{tried}: codes", got=got, misconception=known)


def _check_zeros(answer: Answer, codebook: Tensor) -> None:
    """A block of zeros comes back as zeros, and its codes say so."""
    weight = torch.cat([torch.randn(8), torch.zeros(8), torch.randn(8)])
    tried = "quantize of 24 numbers, the second block of 8 all zeros"
    codes, scales = answer(weight.clone(), codebook, 8)
    zero = "0 / 0 is NaN, and no value of the codebook is nearest to that. Divide by scales.clamp(min=1e-30)."
    expect(torch.isfinite(scales).all(), tried=f"{tried}: scales", got="NaN or infinity", misconception=zero)
    got = f"{scales[1]:.3g} for the block of zeros"
    none = "The largest magnitude of zeros is 0. Only the division needs help; return the scale as it is."
    expect(abs(float(scales[1])) < 1e-6, tried=f"{tried}: scales", got=got, misconception=none)
    got = f"{codes[1].tolist()}, where the value 0 has the code 7"
    expect(bool((codes[1] == 7).all()), tried=f"{tried}: codes of the zeros", got=got, misconception=zero)


def match(found: Tensor, right: Tensor, known: Known, *, tried: str, otherwise: str) -> None:
    """CheckFailed unless `found` is right, with the misconception that gives the same numbers."""
    why = next((why for wrong, why in known if torch.allclose(found, wrong, atol=1e-6, rtol=1e-4)), otherwise)
    gap = float((found - right).abs().max())
    holds = torch.allclose(found, right, atol=1e-6, rtol=1e-4)
    expect(holds, tried=tried, got=f"differs from the right result by up to {gap:.2g}", misconception=why)
