"""What is wrong with an adapter's file is said, and the model stays as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tlcourse.peft import (
    active,
    adapters,
    find,
    inject_dora,
    inject_ia3,
    inject_lora,
    inject_prefix,
    inject_prompt,
    inject_vera,
    io,
    load_adapter,
    quantize_linears,
    save_adapter,
)

METHODS: dict[str, Any] = {
    "lora": lambda m, t: inject_lora(m, t, rank=3, alpha=5),
    "dora": lambda m, t: inject_dora(m, t, rank=3, alpha=5),
    "vera": lambda m, t: inject_vera(m, t, rank=6),
    "ia3": lambda m, t: inject_ia3(m, t, feedforward=t[-1]),
    "prompt": lambda m, t: inject_prompt(m, 4),
    "prefix": lambda m, t: inject_prefix(m, 4),
}
TARGETS = {"gpt2": ["c_attn", "mlp.c_proj"], "llama": ["q_proj", "v_proj", "down_proj"]}


def outputs(model: Any, batch: Any) -> Tensor:
    return model(**batch).logits.detach()


@pytest.fixture
def saved(build: Any, stir: Any, tmp_path: Path) -> Path:
    """A LoRA adapter of the tiny Llama."""
    model = inject_lora(build("llama"), ("q_proj", "v_proj"), rank=2, alpha=4)
    stir(model)
    return save_adapter(model, tmp_path / "saved")


def changed(folder: Path, *, settings: dict[str, Any] | None = None, drop: str = "", add: str = "") -> None:
    """Write the adapter again with other settings, without the tensors whose name ends so, or with one more."""
    config = json.loads((folder / "adapter_config.json").read_text()) | (settings or {})
    (folder / "adapter_config.json").write_text(json.dumps(config))
    tensors = load_file(folder / "adapter_model.safetensors")
    tensors = {name: tensor for name, tensor in tensors.items() if not (drop and name.endswith(drop))}
    if add:
        tensors[add] = torch.zeros(2, 2)
    save_file(tensors, folder / "adapter_model.safetensors")


def truncate(folder: Path, file: str, keep: float) -> None:
    whole = (folder / file).read_bytes()
    (folder / file).write_bytes(whole[: int(keep * len(whole))])


FAULTS: dict[str, Any] = {
    "no weights": (lambda f: (f / "adapter_model.safetensors").unlink(), "adapter_model.safetensors is not there"),
    "no settings": (lambda f: (f / "adapter_config.json").unlink(), "adapter_config.json is not there"),
    "a pickle": (
        lambda f: (f / "adapter_model.safetensors").rename(f / "adapter_model.bin"),
        "a pickle, which can run any code",
    ),
    "cut weights": (lambda f: truncate(f, "adapter_model.safetensors", 0.8), "is damaged .*save or download it again"),
    "cut header": (lambda f: truncate(f, "adapter_model.safetensors", 0.02), "is damaged"),
    "empty weights": (lambda f: truncate(f, "adapter_model.safetensors", 0), "is damaged"),
    "no tensors": (
        lambda f: save_file({}, f / "adapter_model.safetensors"),
        "has no lora_A.weight for 'model.layers.0",
    ),
    "cut settings": (lambda f: truncate(f, "adapter_config.json", 0.5), "is damaged"),
    "settings that are none": (lambda f: (f / "adapter_config.json").write_text("[]"), "holds no settings"),
    "no rank": (
        lambda f: (f / "adapter_config.json").write_text(
            json.dumps({k: v for k, v in json.loads((f / "adapter_config.json").read_text()).items() if k != "r"})
        ),
        "adapter_config.json has no 'r'",
    ),
    "another rank": (lambda f: changed(f, settings={"r": 3}), r"A is \(2, 32\) in the file and \(3, 32\) for this"),
    "one tensor missing": (
        lambda f: changed(f, drop="layers.1.self_attn.v_proj.lora_B.weight"),
        "no lora_B.weight for 'model.layers.1.self_attn.v_proj'; it is not complete",
    ),
    "one layer missing": (lambda f: changed(f, drop="layers.1.self_attn.v_proj.lora_A.weight"), "no lora_A.weight for"),
    "a tensor too many": (
        lambda f: changed(f, add="base_model.model.lm_head.weight"),
        "holds 'base_model.model.lm_head.weight', which no lora adapter here has",
    ),
    "a layer too many": (
        lambda f: [changed(f, add=f"base_model.model.model.layers.7.mlp.up_proj.lora_{x}.weight") for x in "AB"],
        "changes 'model.layers.7.mlp.up_proj', and this model has no such linear layer; load the backbone",
    ),
    "another method": (lambda f: changed(f, settings={"peft_type": "LOHA"}), "peft_type is 'LOHA'; this package reads"),
    "a variant": (lambda f: changed(f, settings={"alpha_pattern": {"q_proj": 3}}), "made with alpha_pattern; load it"),
    "dora without lengths": (lambda f: changed(f, settings={"use_dora": True}), "no lora_magnitude_vector for"),
}


def check_untouched(model: Any, batch: Any, act: Any, message: str, kind: type[Exception] = Exception) -> None:
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modules, learning = list(model.modules()), [parameter.requires_grad for parameter in model.parameters()]
    before = outputs(model, batch)
    with pytest.raises(kind, match=message):
        act()
    assert list(model.modules()) == modules
    assert [parameter.requires_grad for parameter in model.parameters()] == learning
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(outputs(model, batch), before)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_file_says_what_is_wrong_and_leaves_the_model_alone(fault: str, saved: Path, build: Any, batch: Any):
    spoil, message = FAULTS[fault]
    spoil(saved)
    kind = FileNotFoundError if "not there" in message else ValueError
    model = build("llama")
    check_untouched(model, batch, lambda: load_adapter(model, saved), message, kind)
    assert adapters(model) == ()
    inject_lora(model, "k_proj", rank=1, alpha=1, name="own")
    check_untouched(model, batch, lambda: load_adapter(model, saved), message, kind)
    assert active(model) == "own"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_an_adapter_of_another_backbone(family: str, method: str, build: Any, batch: Any, stir: Any, tmp_path: Path):
    model = METHODS[method](build(family), TARGETS[family])
    save_adapter(model, tmp_path)
    other = build("llama" if family == "gpt2" else "gpt2")
    message = "load the backbone that (it|the adapter) was trained on"
    check_untouched(other, batch, lambda: load_adapter(other, tmp_path), message, ValueError)
    twin = build(family, seed=1)
    check_untouched(twin, batch, lambda: load_adapter(twin, tmp_path), "shape .* and other weights", ValueError)


def test_backbones_of_other_sizes(saved: Path, build: Any, batch: Any):
    from transformers import LlamaForCausalLM

    for size, message in {
        "hidden_size": r"q_proj.A is \(2, 32\) in the file and \(2, 64\) for this model; load the backbone",
        "num_hidden_layers": "no lora_A.weight for 'model.layers.2.self_attn.q_proj'; .* for a smaller backbone",
    }.items():
        config = build("llama").config
        setattr(config, size, 64 if size == "hidden_size" else 3)
        config.head_dim = config.hidden_size // config.num_attention_heads
        model = LlamaForCausalLM(config).eval()
        check_untouched(model, batch, lambda m=model: load_adapter(m, saved), message, ValueError)


def test_the_same_backbone_in_fewer_bits_is_the_same(saved: Path, build: Any):
    for model in (build("llama").bfloat16(), quantize_linears(build("llama"), ("*", "!lm_head"))):
        load_adapter(model, saved)
        assert model.model.layers[0].self_attn.q_proj.A.dtype == model.model.embed_tokens.weight.dtype


def test_a_prompt_for_other_widths_or_more_layers(build: Any, batch: Any, tmp_path: Path):
    save_adapter(inject_prefix(build("llama"), 3), tmp_path)
    changed(tmp_path, settings={"num_layers": 5})
    model = build("llama")
    message = "for 5 layers of 2 heads, and this model has 2 of 2"
    check_untouched(model, batch, lambda: load_adapter(model, tmp_path), message, ValueError)
    changed(tmp_path, settings={"num_layers": 2}, drop="prompt_embeddings", add="prompts")
    check_untouched(model, batch, lambda: load_adapter(model, tmp_path), "holds .'prompts'.; expected", ValueError)


def test_a_name_that_is_taken(saved: Path, build: Any, batch: Any):
    model = load_adapter(build("llama"), saved)
    check_untouched(model, batch, lambda: load_adapter(model, saved), "has an adapter 'default'", ValueError)


PROMPTS: dict[str, dict[str, Tensor]] = {
    "none": {},
    "one more": {"prompt_embeddings": torch.zeros(2, 32), "other": torch.zeros(2, 32)},
    "a vector": {"prompt_embeddings": torch.zeros(32)},
    "a cube": {"prompt_embeddings": torch.zeros(2, 32, 1)},
    "no tokens": {"prompt_embeddings": torch.zeros(0, 32)},
}


@pytest.mark.parametrize("case", PROMPTS)
def test_a_prompt_of_another_form(case: str, build: Any, batch: Any, tmp_path: Path):
    save_adapter(inject_prompt(build("llama"), 2), tmp_path)
    save_file(PROMPTS[case], tmp_path / "adapter_model.safetensors")
    model = build("llama")
    message = r"expected 'prompt_embeddings' of shape \(tokens, width\) and no more"
    check_untouched(model, batch, lambda: load_adapter(model, tmp_path), message, ValueError)


def test_tensors_under_another_root_or_of_whole_numbers(saved: Path, build: Any, batch: Any):
    weights = saved / "adapter_model.safetensors"
    tensors = load_file(weights)
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    model = build("llama")
    save_file(tensors | {name.replace("base_model.model.", "other."): tensors[name].clone()}, weights)
    message = "holds 'other.model.layers.0.self_attn.q_proj.lora_A.weight', which no lora adapter here has"
    check_untouched(model, batch, lambda: load_adapter(model, saved), message, ValueError)
    save_file(tensors | {name: tensors[name].int()}, weights)
    message = r"q_proj.A is \(2, 32\) in the file and \(2, 32\) for this model"
    check_untouched(model, batch, lambda: load_adapter(model, saved), message, ValueError)


def marks(*weights: Tensor) -> list[float]:
    model = nn.ModuleDict({f"{number:02}": nn.Linear(1, 1, bias=False) for number in range(len(weights))})
    for layer, weight in zip(model.values(), weights, strict=True):
        layer.weight.data = weight
    return io._marks(dict.fromkeys(find(model, "*")))


def test_eight_marks_of_the_first_sixteen_layers_and_the_first_65536_weights():
    generator = torch.Generator().manual_seed(0)
    small = [torch.randn(10, 10, generator=generator) for _ in range(20)]
    assert len(marks(*small)) == 16 * 8
    assert marks(*small)[:8] == marks(small[0])
    weight = torch.randn(1, 70_000, generator=generator)
    before, after = weight.clone(), weight.clone()
    before[0, 65535] += 100
    after[0, 65536] += 100
    assert marks(after) == marks(weight)
    assert marks(before)[:7] == marks(weight)[:7]
    assert marks(before)[7] != marks(weight)[7]


def test_marks_are_of_unit_variance_whatever_the_size_of_the_weights():
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(40, 50, generator=generator) for _ in range(16)]
    found = torch.tensor([marks(*[weight.roll(n) for weight in weights]) for n in range(0, 2000, 250)])
    assert float(found.square().mean()) == pytest.approx(1, rel=0.15)
    assert marks(*[1e-4 * weight for weight in weights]) == pytest.approx(found[0].tolist(), abs=1e-3)
    assert marks(torch.zeros(10, 10)) == [0.0] * 8, "no number of a layer of zeros is NaN"


def test_marks_that_are_half_a_deviation_apart_are_of_another_backbone():
    io._check_marks([0.49, -0.49, 0.49, -0.49], [0.0] * 4)
    io._check_marks([], [0.0] * 4)  # peft notes none
    for theirs in ([0.5, -0.5, 0.5, -0.5], [0.0] * 3, [float("nan")] * 4):
        with pytest.raises(ValueError, match="other weights"):
            io._check_marks(theirs, [0.0] * 4)
