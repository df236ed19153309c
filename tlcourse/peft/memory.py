"""How much memory training takes: weights, gradients, optimizer (Rajbhandari, Rasley, Ruwase and He 2020,
arXiv:1910.02054, Section 3.1) and activations (as Korthikanti et al. 2022, arXiv:2205.05198, Section 4 count them, but
for the blocks of today and for what PyTorch really keeps)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tlcourse.peft.architecture import Architecture
from tlcourse.peft.quantize import BLOCK, GROUP

METHODS = ("full", "lora", "qlora")
NF4_BYTES = 0.5 + 1 / BLOCK + 4 / (BLOCK * GROUP)
"""Bytes of a weight in NF4 with double quantisation."""


@dataclass(frozen=True)
class Memory:
    """Bytes that training takes.

    weights, gradients, optimizer: of the parameters. activations: what the forward pass keeps for the backward pass;
    of that, logits: the log-probabilities of the vocabulary. Then what is held at the three moments that can be the
    worst: when the loss is differentiated, in the block whose backward pass comes first, and at the update.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    at_loss: int
    at_block: int
    at_update: int

    @property
    def peak(self) -> int:
        """The most that is held at once."""
        return max(self.at_loss, self.at_block, self.at_update)


@dataclass(frozen=True)
class Run:
    """A training run, as the formulas need it. width: bytes of a number. adapted: linear layers with LoRA."""

    sizes: Architecture
    method: str
    adapted: tuple[str, ...]
    rank: int
    width: int
    batch: int
    length: int
    padded: bool

    @property
    def full(self) -> bool:
        """Whether every parameter is trained."""
        return self.method == "full"

    @property
    def tokens(self) -> int:
        """Tokens of a batch."""
        return self.batch * self.length

    def learns(self, *names: str) -> bool:
        """Whether one of these layers needs its input for a gradient: of its weight, or of LoRA's A."""
        return self.full or any(name in self.adapted for name in names)


def predict_memory(
    sizes: Architecture,
    *,
    batch: int,
    length: int,
    method: str = "full",
    targets: Sequence[str] | None = None,
    rank: int = 8,
    dtype: torch.dtype = torch.float32,
    checkpointing: bool = False,
    padded: bool = False,
    scored: int | None = None,
    state_bytes: int = 4,
) -> Memory:
    """Bytes for training on batches of `batch` texts of `length` tokens with AdamW.

    method: "full", "lora" or "qlora". The last two freeze the model and adapt the linear layers `targets` (names as in
    `sizes.linears`; all by default) with `rank`, without dropout; "qlora" keeps those layers in NF4.
    dtype: of weights, gradients and activations. state_bytes: of each of AdamW's two numbers for a parameter.
    checkpointing: only the input of each block is kept, and the rest computed again. padded: the batch has a mask.
    scored: tokens of each text that get logits; all by default, and none in an encoder.

    Raises ValueError for sizes below 1, an unknown method or an unknown target.
    """
    adapted = _checked(sizes, method, targets, (batch, length, rank))
    run = Run(sizes, method, adapted, rank, dtype.itemsize, batch, length, padded)
    trained = sizes.parameters if run.full else lora_parameters(sizes, adapted, rank=rank)
    weights, gradients, optimizer = weight_bytes(run, trained), trained * run.width, trained * 2 * state_bytes
    static = weights + optimizer

    block, entry = run.tokens * block_bytes(run), run.tokens * sizes.hidden * run.width
    blocks = sizes.layers * (entry if checkpointing else block) - (0 if checkpointing else _unused_norm(run))
    logits = batch * (length if scored is None else scored) * sizes.vocabulary * 4 if sizes.family == "llama" else 0
    activations = blocks + _around_blocks(run, checkpointing) + logits

    recomputed = block - entry if checkpointing else 0
    largest = sizes.vocabulary * sizes.hidden if run.full else rank * max(sizes.hidden, sizes.intermediate)
    return Memory(
        weights=weights,
        gradients=gradients,
        optimizer=optimizer,
        activations=activations,
        logits=logits,
        # The gradient of the log-probabilities and that of the logits are as large again, each.
        at_loss=static + activations + 2 * logits,
        at_block=static + blocks + recomputed + _temporary(run),
        # AdamW works on one parameter after the other, with two tensors of its size.
        at_update=static + gradients + 2 * largest * run.width,
    )


def lora_parameters(sizes: Architecture, targets: Sequence[str], *, rank: int) -> int:
    """Parameters of LoRA on these linear layers of every block: rank·(in + out) each."""
    return sizes.layers * rank * sum(sum(sizes.linears[name]) for name in targets)


def weight_bytes(run: Run, trained: int) -> int:
    """Bytes of the weights, those of LoRA included."""
    sizes = run.sizes
    if run.full:
        return trained * run.width
    quantised = 0
    if run.method == "qlora":
        quantised = sizes.layers * sum(sizes.linears[name][0] * sizes.linears[name][1] for name in run.adapted)
    return round(quantised * NF4_BYTES) + (sizes.parameters - quantised + trained) * run.width


def block_bytes(run: Run) -> int:
    """Bytes that one block keeps for each token: every tensor that some gradient needs, once.

    Both norms keep their input (RMSNorm in 32 bits) and one or two numbers of a token; RMSNorm whose weight is trained
    its output too. Attention keeps queries, keys, values, its output and one number a head; with a mask, keys and
    values are repeated for every head, and the mask is kept. The feed-forward network keeps the input of its
    activation; a gated one the activation and the gated values as well. A linear layer that learns keeps its input.
    """
    sizes, width = run.sizes, run.width
    d, ff = sizes.hidden, sizes.intermediate
    attention = 2 * d * width + 2 * (d if run.padded else sizes.kv) * width + 4 * sizes.heads
    attention += run.length * width if run.padded else 0
    lora = 0 if run.full else len(run.adapted) * run.rank * width
    if sizes.family == "bert":
        norms, network = 2 * (d * width + 8), ff * width
        learning = {("query", "key", "value"): d, ("intermediate.dense",): d, ("output.dense",): ff}
    else:
        norms, network = 2 * (d * 4 + 4 + (d * width if run.full else 0)), 3 * ff * width
        learning = {("q_proj", "k_proj", "v_proj"): d, ("gate_proj", "up_proj"): d, ("down_proj",): ff}
    inputs = sum(size * width for names, size in learning.items() if run.learns(*names))
    return norms + attention + network + lora + inputs


def _around_blocks(run: Run, checkpointing: bool) -> int:
    """Bytes kept by the last norm and the head's input (Llama), or by the norm of the embeddings (BERT).

    transformers asks for a gradient of the embeddings when blocks are checkpointed.
    """
    d, width = run.sizes.hidden, run.width
    if run.sizes.family == "bert":
        return run.tokens * (d * width + 8) if run.full or checkpointing else 0
    return run.tokens * (4 * d + 4 + (2 * d * width if run.full else 0))


def _unused_norm(run: Run) -> int:
    """Bytes that the first norm does not keep when nothing before it is trained."""
    return 0 if run.full or run.sizes.family == "bert" else run.tokens * (4 * run.sizes.hidden + 4)


def _temporary(run: Run) -> int:
    """Bytes that the backward pass of a block holds besides: gradients on their way through the feed-forward network,
    what the head has learned already, and in QLoRA a weight taken out of its four bits."""
    sizes = run.sizes
    bert = sizes.family == "bert"
    last = "output.dense" if bert else "down_proj"
    # A gated network splits a gradient in two; LoRA adds one to another. The input of the last layer is free by then.
    arriving = 3 if not bert or last in run.adapted else 2
    passing = sizes.hidden + (arriving - (1 if run.learns(last) else 0)) * sizes.intermediate
    head = sizes.vocabulary * sizes.hidden if run.full and not bert else 0
    unpacked = 8 * sizes.hidden * sizes.intermediate if run.method == "qlora" else 0
    return (run.tokens * passing + head) * run.width + unpacked


def _checked(
    sizes: Architecture, method: str, targets: Sequence[str] | None, numbers: tuple[int, ...]
) -> tuple[str, ...]:
    """The adapted layers. Raises ValueError for what makes no sense."""
    if min(numbers) < 1:
        raise ValueError(f"batch, length and rank are {numbers}; each must be 1 or more")
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; choose one of {', '.join(METHODS)}")
    if method == "full":
        return ()
    adapted = tuple(sizes.linears if targets is None else targets)
    unknown = [name for name in adapted if name not in sizes.linears]
    if unknown or not adapted:
        raise ValueError(f"targets {list(adapted)} are not all linear layers of a block: {', '.join(sizes.linears)}")
    return adapted
