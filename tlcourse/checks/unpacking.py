"""Does an answer bring numbers back from four bits: two codes a byte, a scale for each block, the old shape?"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tlcourse.checks.base import CheckFailed
from tlcourse.checks.expect import expect, tensor
from tlcourse.checks.four_bits import blocks_of, match, nearest
from tlcourse.peft import dequantize as package_dequantize
from tlcourse.peft import nf4_codebook, quantize
from tlcourse.peft.quantize import dequantize_scales

Answer = Callable[..., Any]
Shape = tuple[int, ...]


def check_dequantize(answer: Answer) -> None:
    """CheckFailed unless answer(packed, scales, codebook, shape) is the tensor that was stored, rounded to 4 bits."""
    codebook = nf4_codebook()
    for shape, block in (((6, 16), 8), ((5, 7), 8), ((3, 5, 6), 4), ((30,), 16)):
        rows = blocks_of(torch.randn(shape), block)
        scales = rows.abs().amax(dim=1) * (0.5 + torch.rand(len(rows)))
        codes = nearest(rows / rows.abs().amax(dim=1)[:, None], codebook)
        pairs = codes.view(-1, 2)
        packed = (pairs[:, 0] * 16 + pairs[:, 1]).to(torch.uint8)
        _check(answer, packed, scales, codebook, shape, codes=codes)
    stored = quantize(torch.randn(7, 50))
    tried = "what peft.quantize has stored of random numbers of shape (7, 50)"
    found = tensor(answer(stored.codes, dequantize_scales(stored), codebook, (7, 50)), (7, 50), tried=tried)
    match(
        found, package_dequantize(stored), [], tried=tried, otherwise="It should be what peft.dequantize makes of it."
    )


def _check(answer: Answer, packed: Tensor, scales: Tensor, codebook: Tensor, shape: Shape, *, codes: Tensor) -> None:
    block, count = codes.shape[1], math.prod(shape)
    tried = f"dequantize(packed, scales, codebook, shape={shape}): {len(packed)} bytes, {len(scales)} blocks of {block}"
    given = packed.clone(), scales.clone()
    try:
        value = answer(packed, scales, codebook, shape)
    except IndexError as error:
        why = (
            "A tensor of uint8 as an index is taken for a mask of true and false. Make whole numbers of it first: "
            "packed.long()."
        )
        raise CheckFailed(tried=tried, got=f"IndexError: {error}", misconception=why) from None
    except RuntimeError as error:
        if "is invalid for input of size" not in str(error) or count == codes.numel():
            raise
        why = "The last block was filled up, so there are more numbers than the shape holds. Cut them off first."
        raise CheckFailed(tried=tried, got=f"RuntimeError: {error}", misconception=why) from None
    flat = "The shape is lost. Bring the numbers into `shape` again: .view(shape)."
    padded = "The padding is still there. Only the first numbers, as many as the shape holds, belong to the tensor."
    faults: dict[Shape, str] = {(count,): flat, (codes.numel(),): flat if count == codes.numel() else padded}
    faults |= {tuple(codes.shape): flat}
    found = tensor(value, shape, tried=tried, misconception=faults.get(tuple(getattr(value, "shape", ())), ""))
    same = packed.equal(given[0]) and scales.equal(given[1])
    expect(
        same,
        tried=f"{tried}; then a look at packed and scales",
        got="they are not what they were",
        misconception="You write into what was stored. It is needed again at the next forward pass.",
    )
    kind = "Return decimals: values of the codebook times their scales."
    expect(found.is_floating_point(), tried=tried, got=f"{found.dtype}", misconception=kind)

    def shaped(codes: Tensor, scale: Tensor) -> Tensor:
        return (codebook[codes].reshape(-1) * scale)[:count].reshape(shape)

    each = scales.repeat_interleave(block)
    swapped, halves = codes.view(-1, 2).flip(1), codes.view(-1, 2).T
    even = (codes.reshape(-1) / 7.5 - 1) * each
    right = shaped(codes, each)
    known = [
        (
            shaped(swapped, each),
            "The two codes of a byte have changed places. The first is in the upper half: packed >> 4.",
        ),
        (
            shaped(halves, each),
            (
                "All upper halves come first, then all lower ones. The two codes of a byte are neighbours: "
                "torch.stack([upper, lower], dim=1)."
            ),
        ),
        (
            shaped(halves.flip(0), each),
            (
                "All lower halves come first, then all upper ones. The two codes of a byte are "
                "neighbours: torch.stack([upper, lower], dim=1)."
            ),
        ),
        (shaped(codes, torch.ones(())), "The scales were not applied: all values lie between −1 and 1."),
        (
            shaped(codes, scales.repeat(block)),
            (
                "The scales are in the wrong order: each belongs to a whole block. "
                "repeat_interleave repeats number by number, repeat the whole row again and again."
            ),
        ),
        (shaped(codes, scales.max()), "One scale for all blocks. Each block has its own."),
        (shaped(codes, 1 / each), "Divided by the scales. Storing divides, bringing back multiplies."),
        (even[:count].reshape(shape), "The codes were taken for an even grid. A code is a position: codebook[code]."),
        (
            (codes.reshape(-1) * each)[:count].reshape(shape),
            "The codes themselves were scaled. A code is a position: codebook[code].",
        ),
        (
            (codebook[codes].reshape(-1) * each)[-count:].reshape(shape),
            "The padding is at the end; you cut off the beginning.",
        ),
    ]
    if len(shape) == 2:
        turned = (codebook[codes].reshape(-1) * each)[:count].reshape(shape[::-1]).T
        known.append((turned, "Rows and columns have changed places. The numbers run row after row: .view(shape)."))
    match(found, right, known, tried=tried, otherwise="codebook[code] times the scale of its block, number by number.")
