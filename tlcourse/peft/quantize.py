"""Four-bit NormalFloat with double quantisation (Dettmers, Pagnoni, Holtzman and Zettlemoyer 2023, arXiv:2305.14314).

A weight of a trained network is close to normally distributed. NF4 spends its 16 values where such numbers lie, scaled
in blocks of 64 by the block's largest; the scales themselves are then stored in 8 bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float, Int8, UInt8
from torch import Tensor

BLOCK = 64
"""Weights that share a scale."""
GROUP = 256
"""Scales that share a scale of their own."""


def nf4_codebook() -> Float[Tensor, " 16"]:
    """The 16 values of NF4, from −1 to 1 (appendix E), computed as bitsandbytes does.

    They are quantiles of the normal distribution with equal steps of probability, taken for the two halves apart so
    that zero is one of them: seven below it, eight above. The outermost probability is the mean of 1 − 1/32 and
    1 − 1/30, half a step from the end for grids of 16 and of 15 values. The published table was computed with its
    first seven digits.
    """
    outermost = 0.9677083
    above = torch.special.ndtri(torch.linspace(outermost, 0.5, 9)[:-1].double())
    below = -torch.special.ndtri(torch.linspace(outermost, 0.5, 8)[:-1].double())
    values = torch.cat([below, torch.zeros(1, dtype=torch.float64), above.flip(0)])
    return (values / values.max()).float()


@dataclass(frozen=True, eq=False)
class Quantized:
    """A tensor in about 4.13 bits a number.

    codes: two codes a byte, the first in the upper half. scales: the blocks' largest magnitudes in 8 bits; a scale is
    mean + step of its group × its code. shape, dtype: of the tensor that was quantised.
    """

    codes: UInt8[Tensor, " half"]
    scales: Int8[Tensor, " blocks"]
    steps: Float[Tensor, " groups"]
    mean: Float[Tensor, ""]
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        """Bytes in all. A scale of 8 bits for 64 numbers and one of 32 for 64·256 come to 0.127 bits a number."""
        return sum(
            tensor.numel() * tensor.element_size() for tensor in (self.codes, self.scales, self.steps, self.mean)
        )


def quantize(weight: Float[Tensor, "*shape"]) -> Quantized:
    """NF4 of a tensor: each block over its largest magnitude, then the nearest value of the codebook (Eq. 1 and 4).

    A last block that is not full is filled up with zeros. Raises ValueError for an empty tensor, or one that holds NaN
    or infinity.
    """
    flat = weight.detach().reshape(-1).float()
    if len(flat) == 0 or not torch.isfinite(flat).all():
        raise ValueError("weight is empty or holds NaN or infinity; load the weights again before quantising them")
    blocks = torch.nn.functional.pad(flat, (0, -len(flat) % BLOCK)).view(-1, BLOCK)
    largest = blocks.abs().amax(dim=1)
    codebook = nf4_codebook().to(flat.device)
    middles = (codebook[1:] + codebook[:-1]) / 2
    codes = torch.bucketize(blocks / largest.clamp(min=1e-30)[:, None], middles).to(torch.uint8).view(-1, 2)
    scales, steps, mean = quantize_scales(largest)
    return Quantized(codes[:, 0] << 4 | codes[:, 1], scales, steps, mean, tuple(weight.shape), weight.dtype)


def quantize_scales(
    largest: Float[Tensor, " blocks"],
) -> tuple[Int8[Tensor, " blocks"], Float[Tensor, " groups"], Float[Tensor, ""]]:
    """Double quantisation (Section 3): the scales minus their mean, in 8 bits with one step for each group of 256.

    The paper and bitsandbytes use 8-bit floats here. Even steps are simpler, and err about as little: what is left
    when the mean is taken away is small, and of either sign.
    """
    mean = largest.mean()
    groups = torch.nn.functional.pad(largest - mean, (0, -len(largest) % GROUP)).view(-1, GROUP)
    steps = groups.abs().amax(dim=1) / 127
    codes = (groups / steps.clamp(min=1e-30)[:, None]).round().to(torch.int8)
    return codes.view(-1)[: len(largest)].clone(), steps, mean


def dequantize_scales(quantized: Quantized) -> Float[Tensor, " blocks"]:
    """The blocks' largest magnitudes, back from 8 bits."""
    steps = quantized.steps.repeat_interleave(GROUP)[: len(quantized.scales)]
    return (quantized.mean + steps * quantized.scales).clamp(min=0)


def dequantize(quantized: Quantized) -> Float[Tensor, "*shape"]:
    """The tensor back from four bits, in its own shape and type."""
    pairs = _pairs(quantized.codes.device).index_select(0, quantized.codes.int())
    flat = (pairs.view(-1, BLOCK) * dequantize_scales(quantized)[:, None]).view(-1)
    return flat[: math.prod(quantized.shape)].view(quantized.shape).to(quantized.dtype)


@cache
def _pairs(device: torch.device) -> Float[Tensor, "256 2"]:
    """The two numbers that each byte stands for."""
    codebook = nf4_codebook()
    return torch.stack([codebook.repeat_interleave(16), codebook.repeat(16)], dim=1).to(device)
