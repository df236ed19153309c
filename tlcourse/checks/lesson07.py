"""Checks of lesson 07: the memory of training, NF4 there and back, and accumulated gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tlcourse.checks import accumulations, four_bits, memories, unpacking
from tlcourse.checks.base import check

Answer = Callable[..., Any]


@check
def training_memory(answer: Answer) -> None:
    """every weight is stored; only what is trained has a gradient and two states; all of it in GiB"""
    memories.check_memory(answer)


@check
def quantize(answer: Answer) -> None:
    """each block by its own largest magnitude, each number to the nearest value of the codebook"""
    four_bits.check_quantize(answer)


@check
def dequantize(answer: Answer) -> None:
    """both codes of a byte in order, each block with its scale, in the old shape and without padding"""
    unpacking.check_dequantize(answer)


@check
def accumulated_step(answer: Answer) -> None:
    """the gradient of the whole batch, one part of it in memory at a time, and one step"""
    accumulations.check_accumulation(answer)
