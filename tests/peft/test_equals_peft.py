"""Every method that the library `peft` has, against it: the same numbers give the same outputs and gradients."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn

from tlcourse.peft import (
    inject_dora,
    inject_ia3,
    inject_lora,
    inject_prefix,
    inject_prompt,
    inject_vera,
)

TARGETS = {
    "gpt2": ["c_attn", "mlp.c_proj"],
    "llama": ["q_proj", "v_proj", "down_proj"],
    "bert": ["query", "value", "output.dense"],
}
FEEDFORWARD = {"gpt2": "mlp.c_proj", "llama": "down_proj"}
LAYER_NAMES = {
    "A": "lora_A.default.weight",
    "B": "lora_B.default.weight",
    "magnitude": "lora_magnitude_vector.default.weight",
    "scales": "ia3_l.default",
    "b": "vera_lambda_b.default",
    "d": "vera_lambda_d.default",
}
PROMPT_NAMES = {
    "prompt": "embedding.weight",
    "prefix": "embedding.weight",
    "network.0.weight": "transform.0.weight",
    "network.0.bias": "transform.0.bias",
    "network.2.weight": "transform.2.weight",
    "network.2.bias": "transform.2.bias",
}


@dataclass(frozen=True)
class Case:
    ours: Callable[[nn.Module], nn.Module]
    theirs: Any
    virtual: int = 0


LOW: dict[str, Any] = {"rank": 3, "alpha": 5.0}


def cases() -> dict[str, tuple[str, Case]]:
    found: dict[str, tuple[str, Case]] = {}
    for family in ("gpt2", "llama", "bert"):
        targets, task = TARGETS[family], "FEATURE_EXTRACTION" if family == "bert" else "CAUSAL_LM"
        turned = {"target_modules": targets, "fan_in_fan_out": family == "gpt2"}
        lora = {"r": 3, "lora_alpha": 5.0, **turned}
        of_family = {
            "lora": Case(lambda m, t=targets: inject_lora(m, t, **LOW), peft.LoraConfig(**lora)),
            "rslora": Case(
                lambda m, t=targets: inject_lora(m, t, rslora=True, **LOW), peft.LoraConfig(use_rslora=True, **lora)
            ),
            "dora": Case(lambda m, t=targets: inject_dora(m, t, **LOW), peft.LoraConfig(use_dora=True, **lora)),
            "vera": Case(
                lambda m, t=targets: inject_vera(m, t, rank=6, seed=3),
                peft.VeraConfig(r=6, projection_prng_key=3, **turned),
            ),
            "prompt": Case(
                lambda m: inject_prompt(m, 4), peft.PromptTuningConfig(task_type=task, num_virtual_tokens=4), virtual=4
            ),
            "prefix": Case(
                lambda m: inject_prefix(m, 4), peft.PrefixTuningConfig(task_type=task, num_virtual_tokens=4)
            ),
            "prefix through a network": Case(
                lambda m: inject_prefix(m, 4, hidden=9),
                peft.PrefixTuningConfig(
                    task_type=task, num_virtual_tokens=4, prefix_projection=True, encoder_hidden_size=9
                ),
            ),
        }
        if family in FEEDFORWARD:
            inner = FEEDFORWARD[family]
            of_family["ia3"] = Case(
                lambda m, t=targets, f=inner: inject_ia3(m, t, feedforward=f),
                peft.IA3Config(feedforward_modules=[inner], **turned),
            )
        found |= {f"{method} on {family}": (family, case) for method, case in of_family.items()}
    return found


CASES = cases()


def counterparts(ours: nn.Module, theirs: nn.Module) -> list[tuple[str, nn.Parameter, nn.Parameter]]:
    """Each trainable parameter of ours, and what it is in peft."""
    known = dict(theirs.named_parameters())
    pairs = []
    for name, parameter in ours.named_parameters():
        if not parameter.requires_grad:
            continue
        prompt = next((end for end in PROMPT_NAMES if name.endswith(f".{end}")), None)
        if prompt is not None:
            pairs.append((name, parameter, known[f"prompt_encoder.default.{PROMPT_NAMES[prompt]}"]))
        else:
            path, _, own = name.rpartition(".")
            pairs.append((name, parameter, known[f"base_model.model.{path}.{LAYER_NAMES[own]}"]))
    return pairs


def with_peft(family: str, case: Case, build: Callable[..., Any]) -> nn.Module:
    base = build(family)
    if "prompt" in type(case.theirs).__name__.lower() or "prefix" in type(case.theirs).__name__.lower():
        base = base.net if family == "bert" else base
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return peft.get_peft_model(base, case.theirs).eval()


def outputs(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = model(**batch)
    return result.logits if hasattr(result, "logits") else result.last_hidden_state


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_gradients_are_those_of_peft(name: str, build: Any, batch: Any, stir: Any):
    family, case = CASES[name]
    bare = outputs(build(family), batch)
    ours, theirs = case.ours(build(family)), with_peft(family, case, build)
    stir(ours)
    pairs = counterparts(ours, theirs)
    assert len(pairs) == sum(parameter.requires_grad for parameter in theirs.parameters()) > 0
    for _, mine, other in pairs:
        other.data = mine.detach().reshape(other.shape).clone()
    mine, other = outputs(ours, batch), outputs(theirs, batch)[:, case.virtual :]
    assert mine.shape == bare.shape
    assert (mine - bare).abs().max() > 0.02, "the adapter must matter for the test to say anything"
    assert (mine - other).abs().max() <= 1e-5 * max(1.0, float(other.detach().abs().max()))
    weights = torch.randn(mine.shape, generator=torch.Generator().manual_seed(2))
    for result in (mine, other):
        (result * weights).sum().backward()
    for path, mine_parameter, other_parameter in pairs:
        assert mine_parameter.grad is not None, path
        expected = other_parameter.grad.reshape(mine_parameter.shape)
        largest = float(expected.abs().max())
        assert largest > 0, path
        assert (mine_parameter.grad - expected).abs().max() <= 1e-4 * largest, path


@pytest.mark.parametrize("name", [name for name in CASES if name.split()[0] in ("lora", "rslora", "dora", "ia3")])
def test_training_goes_the_same_way(name: str, build: Any, batch: Any):
    family, case = CASES[name]
    ours, theirs = case.ours(build(family)), with_peft(family, case, build)
    for _, mine, other in counterparts(ours, theirs):
        other.data = mine.detach().reshape(other.shape).clone()
    for model in (ours, theirs):
        rule = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
        for _ in range(3):
            outputs(model, batch).square().mean().backward()
            rule.step()
            rule.zero_grad()
    for path, mine, other in counterparts(ours, theirs):
        torch.testing.assert_close(mine, other.reshape(mine.shape), atol=1e-5, rtol=1e-4, msg=path)


def test_the_random_matrices_of_vera_are_those_of_peft(build: Any):
    family, case = CASES["vera on llama"]
    ours, theirs = case.ours(build(family)), with_peft(family, case, build)
    layer = ours.model.layers[0].self_attn.q_proj
    torch.testing.assert_close(layer.projections.A, theirs.base_model.vera_A["default"], atol=1e-7, rtol=0)
    torch.testing.assert_close(layer.projections.B, theirs.base_model.vera_B["default"], atol=1e-7, rtol=0)


@pytest.mark.parametrize("name", CASES)
def test_as_many_parameters_are_trained(name: str, build: Any):
    family, case = CASES[name]
    ours, theirs = case.ours(build(family)), with_peft(family, case, build)
    count = [sum(p.numel() for p in model.parameters() if p.requires_grad) for model in (ours, theirs)]
    assert count[0] == count[1]
