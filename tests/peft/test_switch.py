"""Several adapters on one backbone: switching, and batches that mix them."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

from tlcourse.peft import (
    active,
    adapters,
    inject_lora,
    mixed,
    remove,
    switch,
)

NAMES = ["lora", "wide lora", "dora", "vera", "ia3", "adapter", "bitfit", "prompt", "prefix"]


def test_each_works_as_if_it_were_alone(crowd: Any, alone: Any, batch: Any):
    assert adapters(crowd) == tuple(NAMES)
    assert active(crowd) == "prefix"
    for name in [*NAMES, None, *reversed(NAMES), None]:
        switch(crowd, name)
        assert active(crowd) == name
        assert torch.equal(crowd(**batch).logits, alone[name]), name
    assert len({float(logits.sum()) for logits in alone.values()}) == len(alone), "all are different"


def test_switching_moves_modules_and_copies_nothing(crowd: Any):
    switch(crowd, "lora")
    layer = crowd.transformer.h[0].attn.c_attn
    tensors = {id(p): p.data_ptr() for p in crowd.parameters()}
    switch(crowd, "wide lora")
    assert crowd.transformer.h[0].attn.c_attn.base is layer.base
    switch(crowd, "lora")
    assert crowd.transformer.h[0].attn.c_attn is layer
    assert {id(p): p.data_ptr() for p in crowd.parameters()} == tensors


def test_only_the_adapter_at_work_is_part_of_the_network(crowd: Any):
    switch(crowd, "lora")
    names = {name for name, parameter in crowd.named_parameters() if parameter.requires_grad}
    assert names == {f"transformer.h.{i}.attn.c_attn.{part}" for i in (0, 1) for part in "AB"}
    assert not any("prompt" in name or "scales" in name for name in crowd.state_dict())


def test_a_waiting_adapter_comes_along_when_the_model_moves(crowd: Any, batch: Any):
    crowd.to(torch.float64)
    for name in NAMES:
        switch(crowd, name)
        assert {p.dtype for p in crowd.parameters()} == {torch.float64}, name
        assert crowd(**batch).logits.dtype == torch.float64
    with mixed(crowd.float(), ["dora", "ia3", "vera"]):
        assert crowd(**batch).logits.dtype == torch.float32


def test_a_waiting_adapter_learns_of_training_and_evaluation(build: Any):
    model = inject_lora(build("gpt2").train(), "c_attn", rank=2, alpha=4, dropout=0.5, name="a")
    inject_lora(model, "c_attn", rank=2, alpha=4, dropout=0.5, name="b")
    model.eval()
    switch(model, "a")
    assert not model.transformer.h[0].attn.c_attn.dropout.training
    model.train()
    switch(model, "b")
    assert model.transformer.h[0].attn.c_attn.dropout.training


def test_removing_one_leaves_the_others(crowd: Any, alone: Any, batch: Any):
    switch(crowd, "dora")
    remove(crowd, "dora")
    assert active(crowd) is None
    remove(crowd, "bitfit")
    assert "dora" not in adapters(crowd)
    switch(crowd, "ia3")
    assert torch.equal(crowd(**batch).logits, alone["ia3"])
    remove(crowd)
    assert torch.equal(crowd(**batch).logits, alone[None])
    assert all(parameter.requires_grad for parameter in crowd.parameters())


def test_unknown_names(crowd: Any):
    for act in (switch, remove):
        with pytest.raises(KeyError, match="no adapter 'loar' on this model; it has"):
            act(crowd, "loar")
    with pytest.raises(KeyError, match="no adapter 'loar'"), mixed(crowd, ["lora", "loar", None]):
        pass
    assert active(crowd) == "prefix"


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_of_the_model_has_copies_of_its_adapters(duplicate: Any, crowd: Any, alone: Any, batch: Any):
    twin = duplicate(crowd)
    switch(twin, "lora")
    twin.transformer.h[0].attn.c_attn.B.data += 1
    assert not torch.equal(twin(**batch).logits, alone["lora"])
    switch(crowd, "lora")
    assert torch.equal(crowd(**batch).logits, alone["lora"])
    assert torch.equal(remove(twin)(**batch).logits, alone[None])


MIXES = [
    ["lora", "dora", "vera"],
    ["ia3", None, "adapter"],
    ["wide lora", "lora", "wide lora"],
    ["dora", "dora", "dora"],
    [None, None, None],
    ["adapter", "lora", None],
]


@pytest.mark.parametrize("names", MIXES)
def test_rows_of_a_mixed_batch_get_what_each_adapter_gives_alone(names: Any, crowd: Any, alone: Any, batch: Any):
    switch(crowd, "bitfit")
    with mixed(crowd, names):
        together = crowd(**batch).logits
    for row, name in enumerate(names):
        torch.testing.assert_close(together[row], alone[name][row], atol=2e-5, rtol=1e-5)
    assert active(crowd) == "bitfit"
    assert torch.equal(crowd(**batch).logits, alone["bitfit"])


def test_a_batch_of_one_row(crowd: Any, alone: Any, batch: Any):
    with mixed(crowd, ["dora"]):
        found = crowd(**{key: value[1:2] for key, value in batch.items()}).logits
    torch.testing.assert_close(found[0], alone["dora"][1], atol=2e-5, rtol=1e-5)


def test_gradients_of_a_mixed_batch_reach_each_adapter_from_its_own_rows(crowd: Any, batch: Any):
    def gradient(name: str, rows: list[int]) -> Tensor:
        switch(crowd, name)
        part = {key: value[rows] for key, value in batch.items()}
        return torch.autograd.grad(crowd(**part).logits.square().sum(), crowd.transformer.h[0].attn.c_attn.A)[0]

    expected = {"lora": gradient("lora", [0, 2]), "wide lora": gradient("wide lora", [1])}
    layers = {}
    for name in expected:
        switch(crowd, name)
        layers[name] = crowd.transformer.h[0].attn.c_attn
    with mixed(crowd, ["lora", "wide lora", "lora"]):
        found = torch.autograd.grad(crowd(**batch).logits.square().sum(), [layer.A for layer in layers.values()])
    for mine, (name, other) in zip(found, expected.items(), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-4 * float(other.abs().max()), rtol=1e-4, msg=name)


def test_bad_mixed_batches(crowd: Any, batch: Any, alone: Any):
    with pytest.raises(ValueError, match="one adapter for each row"), mixed(crowd, []):
        pass
    with pytest.raises(ValueError, match="one adapter for each row"), mixed(crowd, "lora"):
        pass
    for name in ("prompt", "prefix", "bitfit"):
        with pytest.raises(TypeError, match=f"'{name}' is not made of single layers"), mixed(crowd, ["lora", name]):
            pass
    with (
        pytest.raises(ValueError, match="the batch has 3 rows and 2 adapters were named"),
        mixed(crowd, ["lora", None]),
    ):
        crowd(**batch)
    assert torch.equal(crowd(**batch).logits, alone["prefix"]), "it comes back after an error, too"
