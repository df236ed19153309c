"""A training step with our adapters beside one with the library peft's: `python -m benchmarks peft_steps`.

GPT-2 of 4 layers × 128, 4 heads, 256 tokens in its vocabulary; batches of 16 × 64; AdamW, forward, backward and step.
Rounds of the two alternate, each starting with the one that was second before, and the quickest step of each counts.
Memory is the most bytes of tensors alive during a step. Then, ours alone, the time to switch between two adapters.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import peft as library
import torch
from torch import nn

from tlcourse import peft

Row = tuple[str, str, str, float, str]
Inject = Callable[[nn.Module], nn.Module]

AIM, MEMORY_AIM, SWITCH_MS = 0.9, 1.0, 1.0
ROUNDS, STEPS = 12, 4
ALL = ["c_attn", "c_proj", "c_fc"]


def gpt2() -> Any:
    """The network of the comparison, with random weights."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=256, n_positions=128, n_embd=128, n_layer=4, n_head=4, bos_token_id=0, eos_token_id=0
    )
    return GPT2LMHeadModel(config).train()


def pairs() -> dict[str, tuple[Inject, Any]]:
    """Name of the method: our injection, and the library's configuration."""
    lora: dict[str, Any] = {"r": 8, "lora_alpha": 16, "fan_in_fan_out": True}
    task: dict[str, Any] = {"task_type": "CAUSAL_LM", "num_virtual_tokens": 8}
    return {
        "LoRA on c_attn": (
            lambda m: peft.inject_lora(m, "c_attn", rank=8, alpha=16),
            library.LoraConfig(target_modules=["c_attn"], **lora),
        ),
        "LoRA on all linears": (
            lambda m: peft.inject_lora(m, ALL, rank=8, alpha=16),
            library.LoraConfig(target_modules=ALL, **lora),
        ),
        "DoRA on c_attn": (
            lambda m: peft.inject_dora(m, "c_attn", rank=8, alpha=16),
            library.LoraConfig(target_modules=["c_attn"], use_dora=True, **lora),
        ),
        "IA3": (
            lambda m: peft.inject_ia3(m, ("c_attn", "mlp.c_proj"), feedforward="mlp.c_proj"),
            library.IA3Config(
                target_modules=["c_attn", "mlp.c_proj"], feedforward_modules=["mlp.c_proj"], fan_in_fan_out=True
            ),
        ),
        "prompt of 8": (lambda m: peft.inject_prompt(m, 8), library.PromptTuningConfig(**task)),
        "prefix of 8": (lambda m: peft.inject_prefix(m, 8), library.PrefixTuningConfig(**task)),
    }


def stepper(model: nn.Module) -> Callable[[], None]:
    """A training step on one fixed batch."""
    rule = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    ids = torch.randint(0, 256, (16, 64), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)

    def step() -> None:
        model(input_ids=ids, attention_mask=mask, labels=ids).loss.backward()
        rule.step()
        rule.zero_grad()

    step()
    return step


def seconds(step: Callable[[], None]) -> float:
    """Processor seconds of a step, the quickest of a few."""
    found = []
    for _ in range(STEPS):
        begun = time.process_time()
        step()
        found.append(time.process_time() - begun)
    return min(found)


def compare(name: str, inject: Inject, config: Any) -> list[Row]:
    """Time and memory of both."""
    models = {"ours": inject(gpt2()), "peer": library.get_peft_model(gpt2(), config)}
    steps = {who: stepper(model) for who, model in models.items()}
    taken: dict[str, list[float]] = {"ours": [], "peer": []}
    for index in range(ROUNDS):
        for who in ("ours", "peer") if index % 2 else ("peer", "ours"):
            taken[who].append(seconds(steps[who]))
    best = {who: min(values) for who, values in taken.items()}
    medians = " and ".join(f"{1e3 * median(taken[who]):.1f}" for who in ("ours", "peer"))
    setting = f"peft; GPT-2 4 × 128, 16 × 64 tokens, best of {ROUNDS} × {STEPS}, 1 thread; medians {medians} ms"
    memory = {who: peft.peak_bytes(steps[who], models[who]) / 2**20 for who in models}
    return [
        (f"{name}, step", _ms(best["ours"]), _ms(best["peer"]), best["ours"] / best["peer"], setting),
        (
            f"{name}, memory",
            f"{memory['ours']:.1f} MiB",
            f"{memory['peer']:.1f} MiB",
            memory["ours"] / memory["peer"],
            "most bytes of tensors alive during a step",
        ),
    ]


def switching() -> Row:
    """Time to let another LoRA work, on all linear layers of SmolLM2's sizes."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=64,
        hidden_size=144,
        intermediate_size=384,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
    )
    model = LlamaForCausalLM(config)
    for name in ("a", "b"):
        peft.inject_lora(model, ("*", "!lm_head"), rank=4, alpha=8, name=name)
    found = []
    for _ in range(50):
        begun = time.process_time()
        peft.switch(model, "a")
        peft.switch(model, "b")
        found.append(1e3 * (time.process_time() - begun) / 2)
    setting = f"210 layers, best of 50; median {median(found):.2f} ms"
    return "adapter switch", f"{min(found):.2f} ms", f"{SWITCH_MS:g} ms", min(found) / SWITCH_MS, setting


def _ms(value: float) -> str:
    return f"{1e3 * value:.1f} ms"


def failures(rows: list[Row]) -> list[str]:
    """Rows over their aim; a hundredth more memory than the peer's is rounding."""
    aims = {"step": AIM, "memory": MEMORY_AIM + 0.01, "switch": 1.0}
    return [
        f"{name}: {ratio:.2f}, aim {aim:g}"
        for name, _, _, ratio, _ in rows
        for kind, aim in aims.items()
        if name.endswith(kind) and ratio > aim
    ]


def main() -> list[Row]:
    """Every method on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows = [row for name, (inject, config) in pairs().items() for row in compare(name, inject, config)]
        return [*rows, switching()]
    finally:
        torch.set_num_threads(before)
