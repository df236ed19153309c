"""What the library `peft` writes into a file for each method: its settings, and its names of the tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from tlcourse.peft.inject import AdapterLayer
from tlcourse.peft.linear import is_linear, is_transposed
from tlcourse.peft.shelf import Adapter, Place

Config = dict[str, Any]
Tensors = dict[str, Tensor]
ROOT = "base_model.model."
PROMPT = "prompt_embeddings"
NAMES = {
    "lora": {"lora_A.weight": "A", "lora_B.weight": "B"},
    "dora": {"lora_A.weight": "A", "lora_B.weight": "B", "lora_magnitude_vector": "magnitude"},
    "ia3": {"ia3_l": "scales"},
    "vera": {"vera_lambda_b": "b", "vera_lambda_d": "d"},
}
"""What peft calls the tensors of a layer, and what they are called here."""


def to_peft(model: nn.Module, adapter: Adapter) -> tuple[Config, Tensors]:
    """Settings and tensors of an adapter. Raises ValueError for a method that peft does not have."""
    writers: dict[str, Callable[[nn.Module, Adapter], tuple[Config, Tensors]]] = {
        "lora": _lora,
        "dora": _lora,
        "ia3": _ia3,
        "vera": _vera,
        "prompt": _prompt,
        "prefix": _prefix,
    }
    method = adapter.recipe.method
    if method not in writers:
        raise ValueError(f"peft has no file format for {method!r}; it has one for {', '.join(writers)}")
    config, tensors = writers[method](model, adapter)
    # Copies: a layer that stands in two places is written twice, and safetensors refuses shared memory.
    return config, {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}


def _lora(model: nn.Module, adapter: Adapter) -> tuple[Config, Tensors]:
    settings = adapter.recipe.settings
    return {
        "peft_type": "LORA",
        "r": settings["rank"],
        "lora_alpha": settings["alpha"],
        "lora_dropout": settings["dropout"],
        "use_rslora": settings["rslora"],
        "use_dora": adapter.recipe.method == "dora",
        "bias": "none",
        **_places(model, list(adapter.layers)),
    }, _layers(adapter)


def _ia3(model: nn.Module, adapter: Adapter) -> tuple[Config, Tensors]:
    inner = [spot for spot, layer in adapter.layers.items() if layer.feedforward]
    outer = [spot for spot, layer in adapter.layers.items() if not layer.feedforward]
    feedforward = short_names(model, inner)
    tensors = _layers(adapter)
    return {
        "peft_type": "IA3",
        **_places(model, list(adapter.layers)),
        "target_modules": [*short_names(model, outer), *feedforward],
        "feedforward_modules": feedforward,
    }, {
        name: scales[None] if layer.feedforward else scales[:, None]
        for (name, scales), layer in zip(tensors.items(), adapter.layers.values(), strict=True)
    }


def _vera(model: nn.Module, adapter: Adapter) -> tuple[Config, Tensors]:
    settings = adapter.recipe.settings
    shared = next(iter(adapter.layers.values())).projections
    return {
        "peft_type": "VERA",
        "r": settings["rank"],
        "d_initial": settings["d_initial"],
        "projection_prng_key": settings["seed"],
        "save_projection": True,
        "bias": "none",
        **_places(model, list(adapter.layers)),
    }, {**_layers(adapter), "base_model.vera_A": shared.A, "base_model.vera_B": shared.B}


def _prompt(model: nn.Module, adapter: Adapter) -> tuple[Config, Tensors]:
    ((spot, layer),) = adapter.layers.items()
    config = spot.original.config
    return {
        "peft_type": "PROMPT_TUNING",
        "num_virtual_tokens": len(layer.prompt),
        "token_dim": layer.prompt.shape[1],
        "num_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "num_transformer_submodules": 1,
        "prompt_tuning_init": "RANDOM",
    }, {PROMPT: layer.prompt}


def _prefix(model: nn.Module, adapter: Adapter) -> tuple[Config, Tensors]:
    """The prefix itself: the network that made it is not needed any more."""
    ((_, layer),) = adapter.layers.items()
    layers, heads, dim = layer.shape
    return {
        "peft_type": "PREFIX_TUNING",
        "num_virtual_tokens": len(layer.prefix),
        "token_dim": heads * dim,
        "num_layers": layers,
        "num_attention_heads": heads,
        "num_transformer_submodules": 1,
        "encoder_hidden_size": heads * dim,
        "prefix_projection": False,
    }, {PROMPT: layer.vectors()}


def _layers(adapter: Adapter) -> Tensors:
    names = NAMES[adapter.recipe.method]
    return {
        f"{ROOT}{spot.path}.{theirs}": getattr(layer, ours)
        for spot, layer in adapter.layers.items()
        for theirs, ours in names.items()
    }


def _places(model: nn.Module, places: Sequence[Place]) -> Config:
    return {
        "target_modules": short_names(model, places),
        "fan_in_fan_out": all(is_transposed(spot.original) for spot in places),
    }


def short_names(model: nn.Module, places: Sequence[Place]) -> list[str]:
    """The shortest ends of names by which peft finds exactly these layers: "q_proj", or else whole names."""
    paths = {spot.path for spot in places}
    modules = dict(model.named_modules())
    adapted = {name for name, module in modules.items() if isinstance(module, AdapterLayer) and is_linear(module.base)}
    inside = tuple(f"{name}." for name in adapted)
    seen = {name for name in modules if not name.startswith(inside)}  # peft refuses any other layer with such a name
    for parts in (1, 2):
        ends = sorted({".".join(path.split(".")[-parts:]) for path in paths})
        if {name for name in seen for end in ends if name == end or name.endswith(f".{end}")} == paths:
            return ends
    return sorted(paths)
