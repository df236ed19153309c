"""What a transformer's configuration says about its size: layers, widths, parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FAMILIES = {
    "llama": ("llama", "mistral"),
    "bert": ("bert",),
}
"""The two kinds of block that are known, and the names of model types that are built of them."""


@dataclass(frozen=True)
class Architecture:
    """Sizes of a transformer.

    family: "llama" (causal, RMSNorm, rotary positions, gated feed-forward network, no biases, a head over the
    vocabulary) or "bert" (encoder, LayerNorm, learned positions, biases, no head). kv_heads: heads of keys and values.
    tied: the head is the embedding. positions: how many are learned, with BERT's two segments.
    """

    family: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    intermediate: int
    vocabulary: int
    tied: bool = False
    positions: int = 0

    @property
    def kv(self) -> int:
        """Width of the keys, and of the values."""
        return self.hidden // self.heads * self.kv_heads

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """The linear layers of a block: the end of their names, and their (in, out)."""
        d, ff = self.hidden, self.intermediate
        if self.family == "bert":
            return {
                "query": (d, d),
                "key": (d, d),
                "value": (d, d),
                "attention.output.dense": (d, d),
                "intermediate.dense": (d, ff),
                "output.dense": (ff, d),
            }
        return {
            "q_proj": (d, d),
            "k_proj": (d, self.kv),
            "v_proj": (d, self.kv),
            "o_proj": (d, d),
            "gate_proj": (d, ff),
            "up_proj": (d, ff),
            "down_proj": (ff, d),
        }

    @property
    def block_parameters(self) -> int:
        """Weights of the linear layers of all blocks; with biases for BERT they are counted in `parameters`."""
        return self.layers * sum(inputs * outputs for inputs, outputs in self.linears.values())

    @property
    def parameters(self) -> int:
        """All parameters."""
        d = self.hidden
        if self.family == "bert":
            biases = self.layers * (sum(outputs for _, outputs in self.linears.values()) + 4 * d)
            return self.block_parameters + biases + (self.vocabulary + self.positions) * d + 2 * d
        tables = self.vocabulary * d * (1 if self.tied else 2)
        return self.block_parameters + tables + (2 * self.layers + 1) * d


LLAMA_2_7B = Architecture("llama", 32, 4096, 32, 32, 11008, 32000)
LLAMA_2_13B = Architecture("llama", 40, 5120, 40, 40, 13824, 32000)
LLAMA_2_70B = Architecture("llama", 80, 8192, 64, 8, 28672, 32000)
"""The sizes of Llama 2 (Touvron et al. 2023, arXiv:2307.09288), as its published configurations give them."""


def architecture_of(config: Any) -> Architecture:
    """The sizes in a configuration of transformers, such as `model.config`.

    Raises ValueError for a family that is not known, or for attention of another width than the layers.
    """
    kind = str(config.model_type)
    family = next((name for name, kinds in FAMILIES.items() if kind in kinds), None)
    if family is None:
        known = ", ".join(name for kinds in FAMILIES.values() for name in kinds)
        raise ValueError(f"model type {kind!r} is not one of {known}; build an Architecture from its sizes instead")
    heads = int(config.num_attention_heads)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    if head_dim * heads != config.hidden_size:
        raise ValueError(f"{heads} heads of {head_dim} are not as wide as the layers, {config.hidden_size}")
    bert = family == "bert"
    return Architecture(
        family=family,
        layers=int(config.num_hidden_layers),
        hidden=int(config.hidden_size),
        heads=heads,
        kv_heads=int(getattr(config, "num_key_value_heads", None) or heads),
        intermediate=int(config.intermediate_size),
        vocabulary=int(config.vocab_size),
        tied=not bert and bool(config.tie_word_embeddings),
        positions=int(config.max_position_embeddings + config.type_vocab_size) if bert else 0,
    )
