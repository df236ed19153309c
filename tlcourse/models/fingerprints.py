"""A short name for the exact weights of a network, for caches."""

from __future__ import annotations

import hashlib
from itertools import chain

import torch
from torch import nn


def fingerprint(module: nn.Module) -> str:
    """SHA-256 over every parameter and buffer, saved with the network or not, and over the kind of each part and its
    numbers, words and switches, such as LoRA's scale.

    Two networks with the same fingerprint compute the same function, unless a part keeps what it does in anything else.
    About a gigabyte of weights a second.
    """
    digest = hashlib.sha256()
    for name, part in module.named_modules():
        plain = {k: v for k, v in vars(part).items() if isinstance(v, bool | int | float | str) and k != "training"}
        digest.update(f"{name} {type(part).__qualname__} {sorted(plain.items())}\n".encode())
    tensors = chain(module.named_parameters(remove_duplicate=False), module.named_buffers(remove_duplicate=False))
    for name, tensor in tensors:
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()
