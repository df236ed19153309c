"""What a default means: seeds begin at 0, and sizes that are not named add nothing."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from tlcourse import peft
from tlcourse.peft import (
    DoRALinear,
    LoRALinear,
    VeRALinear,
    inject_adapter,
    inject_dora,
    inject_lora,
    inject_qlora,
    inject_vera,
)
from tlcourse.peft.architecture import LLAMA_2_7B
from tlcourse.peft.vera import Projections


def test_every_seed_is_0_by_default():
    defaults = {
        name: inspect.signature(thing).parameters["seed"].default
        for name, thing in ((name, getattr(peft, name)) for name in peft.__all__)
        if inspect.isfunction(thing) and "seed" in inspect.signature(thing).parameters
    }
    assert len(defaults) > 4
    assert {name: value for name, value in defaults.items() if value != 0} == {}


def test_positions_that_are_not_named_have_no_parameters():
    sizes = dataclasses.asdict(LLAMA_2_7B)
    assert sizes.pop("positions") == 0
    assert not sizes.pop("tied")
    assert type(LLAMA_2_7B)(**sizes) == LLAMA_2_7B


def test_layers_after_one_that_stands_in_two_places_get_their_adapters_too():
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.ReLU(), shared, nn.Linear(4, 5))
    inject_lora(model, "*", rank=2, alpha=4)
    assert model[0] is model[2]
    assert isinstance(model[3], LoRALinear)


def test_the_scale_of_a_layer_is_alpha_over_rank():
    assert LoRALinear(nn.Linear(8, 8), rank=4, alpha=8).scale == 2.0
    assert inject_lora(nn.Sequential(nn.Linear(8, 8)), "0", rank=4, alpha=8)[0].scale == 2.0


LOW_RANK: dict[str, Callable[[nn.Linear], Any]] = {
    "LoRALinear": lambda base: LoRALinear(base, rank=4, alpha=8),
    "DoRALinear": lambda base: DoRALinear(base, rank=4, alpha=8),
    "lora": lambda base: inject_lora(nn.Sequential(base), "0", rank=4, alpha=8)[0],
    "dora": lambda base: inject_dora(nn.Sequential(base), "0", rank=4, alpha=8)[0],
    "qlora": lambda base: inject_qlora(nn.Sequential(base), "0", rank=4, alpha=8)[0],
}


@pytest.mark.parametrize("kind", LOW_RANK)
def test_the_plain_scale_and_no_dropout_unless_asked(kind: str):
    layer = LOW_RANK[kind](nn.Linear(8, 8))
    assert layer.scale == 2.0, "alpha/rank, and alpha/√rank only with rslora"
    assert layer.dropout.p == 0.0


def test_the_vectors_of_vera_start_at_a_tenth_and_at_zero():
    layer = VeRALinear(nn.Linear(5, 3), Projections(5, 3, rank=2, seed=0))
    assert torch.equal(layer.d, torch.full((2,), 0.1))
    assert torch.equal(layer.b, torch.zeros(3))


def test_vera_starts_with_the_papers_tenth():
    model = inject_vera(nn.Sequential(nn.Linear(8, 8)), "0", rank=4)
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    assert any(torch.equal(value, torch.full_like(value, 0.1)) for value in trained.values())


def test_a_bottleneck_of_one():
    model = inject_adapter(nn.Sequential(nn.Linear(4, 6)), "0", size=1)
    assert model[0].down.shape == (1, 6)
    assert model(torch.ones(2, 4)).shape == (2, 6)
