"""Files of adapters: the library `peft` reads ours, and we read its."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn

from tlcourse.peft import (
    active,
    adapters,
    count_parameters,
    inject_adapter,
    inject_bitfit,
    inject_dora,
    inject_ia3,
    inject_lora,
    inject_prefix,
    inject_prompt,
    inject_vera,
    load_adapter,
    merge,
    remove,
    save_adapter,
    switch,
)

LOW: dict[str, Any] = {"rank": 3, "alpha": 5.0}
OURS: dict[str, Any] = {
    "lora": lambda m, t: inject_lora(m, t, **LOW),
    "rslora": lambda m, t: inject_lora(m, t, rslora=True, dropout=0.1, **LOW),
    "dora": lambda m, t: inject_dora(m, t, **LOW),
    "vera": lambda m, t: inject_vera(m, t, rank=6, seed=3),
    "ia3": lambda m, t: inject_ia3(m, t, feedforward=t[-1]),
    "prompt": lambda m, t: inject_prompt(m, 4),
    "prefix": lambda m, t: inject_prefix(m, 4),
    "prefix through a network": lambda m, t: inject_prefix(m, 4, hidden=9),
}
TARGETS = {
    "gpt2": ["c_attn", "mlp.c_proj"],
    "llama": ["q_proj", "v_proj", "down_proj"],
    "bert": ["query", "output.dense"],
}
THEIRS: dict[str, Any] = {
    "lora": lambda t, k: peft.LoraConfig(r=3, lora_alpha=5, target_modules=t, task_type=k),
    "lora by a pattern": lambda t, k: peft.LoraConfig(r=3, target_modules=r".*\.(c_attn|q_proj|query)", task_type=k),
    "lora of all": lambda t, k: peft.LoraConfig(r=3, target_modules="all-linear", task_type=k),
    "lora but for one": lambda t, k: peft.LoraConfig(r=3, target_modules=t, exclude_modules=t[-1:], task_type=k),
    "lora of one block": lambda t, k: peft.LoraConfig(r=3, target_modules=t, layers_to_transform=[0], task_type=k),
    "rslora": lambda t, k: peft.LoraConfig(r=3, lora_alpha=5, use_rslora=True, target_modules=t, task_type=k),
    "dora": lambda t, k: peft.LoraConfig(r=3, lora_alpha=5, use_dora=True, target_modules=t, task_type=k),
    "vera": lambda t, k: peft.VeraConfig(r=6, projection_prng_key=3, target_modules=t),
    "vera without its matrices": lambda t, k: peft.VeraConfig(
        r=6, projection_prng_key=3, target_modules=t, save_projection=False
    ),
    "ia3": lambda t, k: peft.IA3Config(target_modules=t, feedforward_modules=t[-1:], task_type=k),
    "prompt": lambda t, k: peft.PromptTuningConfig(task_type=k, num_virtual_tokens=4),
    "prefix": lambda t, k: peft.PrefixTuningConfig(task_type=k, num_virtual_tokens=4),
    "prefix through a network": lambda t, k: peft.PrefixTuningConfig(
        task_type=k, num_virtual_tokens=4, prefix_projection=True, encoder_hidden_size=9
    ),
}


def quietly(act: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return act()


def outputs(model: nn.Module, batch: Any) -> Tensor:
    result = quietly(lambda: model(**batch))
    found = result.logits if hasattr(result, "logits") else result.last_hidden_state
    return found[:, -batch["input_ids"].shape[1] :].detach()


def for_peft(family: str, method: str, build: Any) -> Any:
    model = build(family)
    return model.net if family == "bert" and ("prompt" in method or "prefix" in method) else model


@pytest.mark.parametrize("family", TARGETS)
@pytest.mark.parametrize("method", OURS)
def test_peft_loads_what_we_save(method: str, family: str, build: Any, batch: Any, stir: Any, tmp_path: Path):
    ours = OURS[method](build(family), TARGETS[family])
    stir(ours)
    assert save_adapter(ours, tmp_path / "adapter") == tmp_path / "adapter"
    base = for_peft(family, method, build)
    theirs = quietly(lambda: peft.PeftModel.from_pretrained(base, tmp_path / "adapter"))
    expected = outputs(ours, batch)
    assert (outputs(theirs, batch) - expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max()))
    assert (expected - outputs(build(family), batch)).abs().max() > 0.02
    again = load_adapter(build(family), tmp_path / "adapter", name="again")
    assert torch.equal(outputs(again, batch), expected) or method == "prefix through a network"
    torch.testing.assert_close(outputs(again, batch), expected, atol=1e-5, rtol=1e-5)
    assert active(again) == "again"


@pytest.mark.parametrize("family", TARGETS)
@pytest.mark.parametrize("method", THEIRS)
def test_we_load_what_peft_saves(method: str, family: str, build: Any, batch: Any, stir: Any, tmp_path: Path):
    encoder = "FEATURE_EXTRACTION" if "prompt" in method or "prefix" in method else None
    task = encoder if family == "bert" else "CAUSAL_LM"
    config = quietly(lambda: THEIRS[method](TARGETS[family], task))
    theirs = quietly(lambda: peft.get_peft_model(for_peft(family, method, build), config)).eval()
    stir(theirs)
    expected = outputs(theirs, batch)
    quietly(lambda: theirs.save_pretrained(tmp_path))
    model = build(family)
    assert load_adapter(model, tmp_path) is model
    found = outputs(model, batch)
    assert (found - expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max()))
    assert (expected - outputs(build(family), batch)).abs().max() > 0.02
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert trainable, "training can go on"
    save_adapter(model, tmp_path / "again")
    torch.testing.assert_close(outputs(load_adapter(build(family), tmp_path / "again"), batch), found)


def test_random_matrices_in_a_file_count_more_than_their_seed(build: Any, batch: Any, stir: Any, tmp_path: Path):
    config = THEIRS["vera"](TARGETS["llama"], None)
    theirs = quietly(lambda: peft.get_peft_model(build("llama"), config)).eval()
    stir(theirs)
    theirs.base_model.vera_A["default"].neg_()
    quietly(lambda: theirs.save_pretrained(tmp_path))
    found = outputs(load_adapter(build("llama"), tmp_path), batch)
    torch.testing.assert_close(found, outputs(theirs, batch), atol=1e-5, rtol=1e-5)


def test_a_settings_file_that_peft_understands(build: Any, tmp_path: Path):
    model = build("gpt2")
    model.config._name_or_path = "openai-community/gpt2"
    save_adapter(inject_lora(model, ("attn.c_proj", "c_attn"), rank=2, alpha=4, dropout=0.1), tmp_path)
    config = peft.PeftConfig.from_pretrained(tmp_path)
    assert isinstance(config, peft.LoraConfig)
    assert config.target_modules == {"attn.c_attn", "attn.c_proj"}
    assert (config.r, config.lora_alpha, config.lora_dropout, config.fan_in_fan_out) == (2, 4, 0.1, True)
    assert (config.task_type, config.base_model_name_or_path) == ("CAUSAL_LM", "openai-community/gpt2")
    one = inject_lora(build("gpt2"), "h.1.mlp.c_proj", rank=2, alpha=4)
    save_adapter(one, tmp_path / "one")
    assert peft.PeftConfig.from_pretrained(tmp_path / "one").target_modules == {"transformer.h.1.mlp.c_proj"}


def test_the_adapter_of_a_name_is_saved_at_work_or_not(build: Any, batch: Any, stir: Any, tmp_path: Path):
    model = build("llama")
    for number, name in enumerate(("first", "second")):
        stir(inject_lora(model, "q_proj", rank=2 + number, alpha=4, name=name, seed=number))
    expected = outputs(model, batch)
    switch(model, "first")
    save_adapter(model, tmp_path / "second", name="second")
    save_adapter(merge(model), tmp_path / "first")
    assert json.loads((tmp_path / "first" / "adapter_config.json").read_text())["r"] == 2
    torch.testing.assert_close(outputs(load_adapter(build("llama"), tmp_path / "second"), batch), expected)
    remove(model)
    for name in ("first", "second"):
        load_adapter(model, tmp_path / name, name=name)
    assert adapters(model) == ("first", "second")
    assert torch.equal(outputs(model, batch), expected)
    with pytest.raises(KeyError, match="no adapter 'third'"):
        save_adapter(model, tmp_path, name="third")
    switch(model, None)
    with pytest.raises(KeyError, match="no adapter is at work"):
        save_adapter(model, tmp_path)


def test_methods_that_peft_does_not_have(build: Any, tmp_path: Path):
    for model, method in (
        (inject_bitfit(build("gpt2")), "bitfit"),
        (inject_adapter(build("gpt2"), "c_proj", size=2), "adapter"),
    ):
        with pytest.raises(ValueError, match=f"no file format for '{method}'"):
            save_adapter(model, tmp_path / method)
        assert not (tmp_path / method).exists()


def test_short_names_do_not_reach_layers_that_another_adapter_hides(build: Any, tmp_path: Path):
    model = inject_lora(build("llama"), "layers.0.*.q_proj", rank=2, alpha=4, name="first")
    inject_lora(model, "layers.1.*.q_proj", rank=2, alpha=4, name="second")
    for at_work in ("first", "second", None):
        switch(model, at_work)
        for number, name in enumerate(("first", "second")):
            settings = json.loads((save_adapter(model, tmp_path, name=name) / "adapter_config.json").read_text())
            assert settings["target_modules"] == [f"model.layers.{number}.self_attn.q_proj"]


@pytest.mark.parametrize("method", ["lora", "rslora", "dora", "vera", "ia3", "prompt", "prefix"])
def test_settings_are_those_that_peft_writes(method: str, build: Any, tmp_path: Path):
    targets = TARGETS["llama"]
    theirs = {
        **THEIRS,
        "rslora": lambda t, k: peft.LoraConfig(
            r=3, lora_alpha=5, lora_dropout=0.1, use_rslora=True, target_modules=t, task_type=k
        ),
    }
    config = quietly(lambda: theirs[method](targets, "CAUSAL_LM"))
    quietly(lambda: peft.get_peft_model(build("llama"), config).save_pretrained(tmp_path / "theirs"))
    save_adapter(OURS[method](build("llama"), targets), tmp_path / "ours")
    texts = [(tmp_path / side / "adapter_config.json").read_text() for side in ("ours", "theirs")]
    assert [text[:5] for text in texts] == ['{\n  "'] * 2, "a line for each setting, moved in by two spaces"
    ours, expected = (json.loads(text) for text in texts)
    for names in ("target_modules", "feedforward_modules"):
        assert sorted(ours.pop(names, None) or []) == sorted(expected.get(names) or [])
    assert len(ours) > 4
    expected["task_type"] = expected["task_type"] or "CAUSAL_LM"
    assert ours == {name: expected[name] for name in ours}


def test_saving_makes_folders_and_saves_again(build: Any, tmp_path: Path):
    model = inject_lora(build("llama"), "q_proj", rank=1, alpha=1)
    for _ in range(2):
        save_adapter(model, tmp_path / "one" / "two")
    assert active(load_adapter(build("llama"), tmp_path / "one" / "two")) == "default"


def test_a_layer_that_shares_its_name_with_another_kind_is_named_in_full(tmp_path: Path):
    """peft looks at every module, and refuses one that is not linear."""

    def network() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Sequential(nn.Linear(3, 3), nn.ReLU()), nn.ReLU(), nn.Sequential(nn.ReLU(), nn.Linear(3, 3))
        )

    model = inject_lora(network(), "0.0", rank=1, alpha=1)
    model[0][0].B.data += 1
    save_adapter(model, tmp_path)
    theirs = peft.PeftModel.from_pretrained(network(), tmp_path)
    torch.testing.assert_close(theirs(torch.ones(1, 3)), model(torch.ones(1, 3)))


def test_what_peft_leaves_out_of_a_file_has_its_default(build: Any, batch: Any, stir: Any, tmp_path: Path):
    model = inject_lora(build("llama"), ("q_proj", "v_proj"), rank=2, alpha=4)
    stir(model)
    file = save_adapter(model, tmp_path) / "adapter_config.json"
    config = json.loads(file.read_text())
    for name in ("lora_dropout", "use_rslora", "use_dora", "target_modules"):
        del config[name]
    file.write_text(json.dumps(config))
    again = load_adapter(build("llama"), tmp_path)
    assert again.model.layers[0].self_attn.q_proj.dropout.p == 0.0
    assert torch.equal(outputs(again, batch), outputs(model, batch))


@pytest.mark.parametrize("inject", [inject_prompt, inject_prefix])
def test_one_virtual_token_in_a_file(inject: Any, build: Any, batch: Any, tmp_path: Path):
    model = inject(build("llama"), 1)
    again = load_adapter(build("llama"), save_adapter(model, tmp_path))
    assert torch.equal(outputs(again, batch), outputs(model, batch))


def test_a_layer_that_stands_in_two_places_has_one_adapter_in_the_file_too(tmp_path: Path):
    def twice() -> nn.Module:
        torch.manual_seed(0)
        layer = nn.Linear(4, 4)
        return nn.Sequential(layer, nn.ReLU(), layer)

    model, x = inject_lora(twice(), "*", rank=2, alpha=4), torch.randn(3, 4)
    with torch.no_grad():
        model[0].B.normal_()
    save_adapter(model, tmp_path)
    loaded = load_adapter(twice(), tmp_path)
    torch.testing.assert_close(loaded(x), model(x))
    assert loaded[0] is loaded[2]
    assert count_parameters(loaded) == count_parameters(model)
