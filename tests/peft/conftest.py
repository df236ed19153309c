"""Tiny networks of the families that adapters are put on, and a batch with padding for them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from tlcourse.peft import (
    inject_adapter,
    inject_bitfit,
    inject_dora,
    inject_ia3,
    inject_lora,
    inject_prefix,
    inject_prompt,
    inject_vera,
)

VOCABULARY = 61
INJECT = {
    "lora": lambda m: inject_lora(m, "c_attn", rank=2, alpha=4, name="lora"),
    "wide lora": lambda m: inject_lora(m, ("c_attn", "c_fc", "c_proj"), rank=4, alpha=4, name="wide lora", seed=1),
    "dora": lambda m: inject_dora(m, ("c_attn", "c_fc"), rank=2, alpha=4, name="dora"),
    "vera": lambda m: inject_vera(m, "c_fc", rank=3, name="vera"),
    "ia3": lambda m: inject_ia3(m, ("c_attn", "mlp.c_proj"), feedforward="mlp.c_proj", name="ia3"),
    "adapter": lambda m: inject_adapter(m, "c_proj", size=3, name="adapter"),
    "bitfit": lambda m: inject_bitfit(m, name="bitfit"),
    "prompt": lambda m: inject_prompt(m, 3, name="prompt"),
    "prefix": lambda m: inject_prefix(m, 3, name="prefix"),
}


class Encoder(nn.Module):
    """What a text backbone is to an adapter: a module with a transformer inside."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        hidden = self.net(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return SimpleNamespace(logits=hidden)


def gpt2() -> nn.Module:
    config = GPT2Config(
        vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64, bos_token_id=0, eos_token_id=1
    )
    return GPT2LMHeadModel(config)


def llama() -> nn.Module:
    """With grouped keys and values, and a head that is the embedding."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
    )
    return LlamaForCausalLM(config)


def bert() -> nn.Module:
    config = BertConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4
    )
    return Encoder(BertModel(config, add_pooling_layer=False))


@pytest.fixture(scope="session")
def build() -> Callable[..., Any]:
    """build("gpt2" | "llama" | "bert", seed=0): always the same network, in evaluation mode, not a round one."""

    def make(family: str, seed: int = 0) -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = {"gpt2": gpt2, "llama": llama, "bert": bert}[family]()
            for name, parameter in model.named_parameters():
                if name.endswith("bias") or "norm" in name.lower() or "ln_" in name:
                    parameter.data += 0.2 * torch.randn_like(parameter)
                else:
                    parameter.data *= 3
        return model.eval()

    return make


@pytest.fixture(scope="session")
def batch() -> dict[str, Tensor]:
    """Three texts of up to seven tokens."""
    ids = torch.randint(2, VOCABULARY, (3, 7), generator=torch.Generator().manual_seed(5))
    mask = torch.tensor([[1] * 7, [1] * 5 + [0] * 2, [1] * 3 + [0] * 4])
    return {"input_ids": ids, "attention_mask": mask}


@pytest.fixture(scope="session")
def stir() -> Callable[[nn.Module], None]:
    """stir(model): move every trainable parameter away from where it starts, as training would."""

    def move(model: nn.Module, seed: int = 1) -> None:
        generator = torch.Generator().manual_seed(seed)
        for parameter in model.parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.data += (0.3 * noise).to(parameter)

    return move


@pytest.fixture(scope="session")
def original(build: Any, stir: Any) -> nn.Module:
    model = build("gpt2")
    for inject in INJECT.values():
        stir(inject(model))
    return model


@pytest.fixture
def crowd(original: nn.Module) -> nn.Module:
    """One backbone with an adapter of every kind, each moved away from its start."""
    return copy.deepcopy(original)


@pytest.fixture(scope="session")
def alone(build: Any, stir: Any, batch: dict[str, Tensor]) -> dict[str | None, Tensor]:
    """What each adapter gives on a backbone of its own."""
    found: dict[str | None, Tensor] = {None: build("gpt2")(**batch).logits.detach()}
    for name, inject in INJECT.items():
        model = inject(build("gpt2"))
        stir(model)
        found[name] = model(**batch).logits.detach()
    return found
