"""The layers of an adapter from a file of the library `peft`, checked before the model is touched."""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tlcourse.models.drawing import drawn_by
from tlcourse.peft.dora import DoRALinear
from tlcourse.peft.ia3 import IA3Linear
from tlcourse.peft.inject import find
from tlcourse.peft.linear import features, home, is_linear
from tlcourse.peft.lora import LoRALinear
from tlcourse.peft.prefix import Prefix, key_value_shape
from tlcourse.peft.prompt import SoftPrompt, find_transformer
from tlcourse.peft.shelf import Place, Recipe
from tlcourse.peft.to_peft import NAMES, PROMPT, ROOT, Config, Tensors
from tlcourse.peft.vera import Projections, VeRALinear

Loaded = tuple[dict[Place, nn.Module], Recipe]
CHANGES_THE_METHOD = (
    "alora_invocation_tokens",
    "alpha_pattern",
    "arrow_config",
    "kasa_config",
    "layer_replication",
    "monteclora_config",
    "rank_pattern",
    "use_bdlora",
    "use_qalora",
    "velora_config",
)
"""Settings of peft with which LoRA is another method than here."""


def from_peft(model: nn.Module, config: Config, tensors: Tensors) -> Loaded:
    """The layers for this model, which stays as it is.

    Raises ValueError for a method or setting that this package does not have, for tensors that are missing or that it
    does not know, and for an adapter of another backbone.
    """
    readers: dict[str, Callable[[nn.Module, Config, Tensors], Loaded]] = {
        "LORA": _lora,
        "IA3": _ia3,
        "VERA": _vera,
        "PROMPT_TUNING": _prompt,
        "PREFIX_TUNING": _prefix,
    }
    kind = config.get("peft_type")
    if kind not in readers:
        raise ValueError(f"the adapter's peft_type is {kind!r}; this package reads {', '.join(readers)}")
    if changed := [key for key in CHANGES_THE_METHOD if config.get(key)]:
        raise ValueError(f"the adapter was made with {', '.join(changed)}; load it with peft itself")
    with drawn_by(0):  # what layers draw here is not kept
        layers, recipe = readers[kind](model, config, tensors)
    made: dict[int, nn.Module] = {}  # by the layer, so that one that stands in two places gets one adapter
    return {spot: made.setdefault(id(spot.original), layer) for spot, layer in layers.items()}, recipe


def _lora(model: nn.Module, config: Config, tensors: Tensors) -> Loaded:
    method, make = ("dora", DoRALinear) if config.get("use_dora") else ("lora", LoRALinear)
    settings = {
        "alpha": config["lora_alpha"],
        "dropout": config.get("lora_dropout", 0.0),
        "rslora": bool(config.get("use_rslora")),
    }
    layers: dict[Place, nn.Module] = {}
    for spot, own in _by_place(model, config, tensors, method).items():
        layer = make(spot.original, rank=config["r"], **settings)
        layers[spot] = _filled(layer, own, spot.path)
    return layers, Recipe(method, {"rank": config["r"], **settings})


def _ia3(model: nn.Module, config: Config, tensors: Tensors) -> Loaded:
    layers: dict[Place, nn.Module] = {}
    for spot, own in _by_place(model, config, tensors, "ia3").items():
        layer = IA3Linear(spot.original, feedforward=len(own["scales"]) == 1)  # (1, in), or else (out, 1)
        layers[spot] = _filled(layer, {"scales": own["scales"].flatten()}, spot.path)
    return layers, Recipe("ia3", {})


def _vera(model: nn.Module, config: Config, tensors: Tensors) -> Loaded:
    """Random matrices that the file does not hold are drawn again."""
    shared = {name: tensors.pop(f"base_model.vera_{name}", None) for name in ("A", "B")}
    found = _by_place(model, config, tensors, "vera")
    widths = [features(spot.original) for spot in found]
    settings = {"rank": config["r"], "d_initial": config["d_initial"], "seed": config["projection_prng_key"]}
    projections = Projections(
        max(w[0] for w in widths), max(w[1] for w in widths), rank=settings["rank"], seed=settings["seed"]
    )
    for name, matrix in shared.items():
        if matrix is not None:
            _fill(getattr(projections, name), matrix, f"vera_{name}")
    projections.to(*home(next(iter(found)).original))
    layers: dict[Place, nn.Module] = {}
    for spot, own in found.items():
        layers[spot] = _filled(VeRALinear(spot.original, projections), own, spot.path)
    return layers, Recipe("vera", settings)


def _prompt(model: nn.Module, config: Config, tensors: Tensors) -> Loaded:
    spot = find_transformer(model)
    vectors = _only_prompt(tensors)
    layer = SoftPrompt(spot.original, len(vectors))
    return {spot: _filled(layer, {"prompt": vectors}, PROMPT)}, Recipe("prompt", {"tokens": len(vectors)})


def _prefix(model: nn.Module, config: Config, tensors: Tensors) -> Loaded:
    spot = find_transformer(model)
    vectors = _only_prompt(tensors)
    layers, heads, _ = key_value_shape(spot.original)
    theirs = (config.get("num_layers"), config.get("num_attention_heads"))
    if theirs != (layers, heads):
        raise ValueError(
            f"the prefix is for {theirs[0]} layers of {theirs[1]} heads, and this model has {layers} of {heads}; "
            "load the backbone that it was trained on"
        )
    layer = Prefix(spot.original, len(vectors))
    return {spot: _filled(layer, {"prefix": vectors}, PROMPT)}, Recipe("prefix", {"tokens": len(vectors)})


def _only_prompt(tensors: Tensors) -> Tensor:
    vectors = tensors.get(PROMPT)
    if vectors is None or len(tensors) > 1 or vectors.ndim != 2 or len(vectors) == 0:
        raise ValueError(f"the file holds {sorted(tensors)}; expected {PROMPT!r} of shape (tokens, width) and no more")
    return vectors


def _by_place(model: nn.Module, config: Config, tensors: Tensors, method: str) -> dict[Place, Tensors]:
    """The tensors of each layer by their names here. Raises ValueError unless every layer has all, and no others."""
    names = NAMES[method]
    found: dict[str, Tensors] = {}
    for key, tensor in tensors.items():
        theirs = next((name for name in names if key.startswith(ROOT) and key.endswith(f".{name}")), None)
        if theirs is None:
            raise ValueError(f"the file holds {key!r}, which no {method} adapter here has; load it with peft itself")
        found.setdefault(key[len(ROOT) : -len(theirs) - 1], {})[names[theirs]] = tensor
    for path in [*found, *_targeted(model, config)]:
        absent = [theirs for theirs, ours in names.items() if ours not in found.get(path, {})]
        if absent:
            raise ValueError(
                f"the file has no {absent[0]} for {path!r}; it is not complete, or for a smaller backbone: save the "
                "adapter again, or load the backbone that it was trained on"
            )
    if not found:
        raise ValueError("the file holds no tensors; save the adapter again")
    linear = {spot.path: spot for spot in find(model, "*")}
    for path in found:
        if path not in linear:
            raise ValueError(
                f"the adapter changes {path!r}, and this model has no such linear layer; load the backbone that it was "
                f"trained on{_origin(config)}"
            )
    return {linear[path]: own for path, own in found.items()}


def _targeted(model: nn.Module, config: Config) -> list[str]:
    """Linear layers that the settings name, where they do so by ends of names or a pattern and nothing else."""
    wanted = config.get("target_modules")
    if not wanted or wanted == "all-linear" or config.get("exclude_modules") or config.get("layers_to_transform"):
        return []
    names = [name for name, module in model.named_modules() if is_linear(module)]
    if isinstance(wanted, str):
        return [name for name in names if re.fullmatch(wanted, name)]
    return [name for name in names if any(name == end or name.endswith(f".{end}") for end in wanted)]


def _filled(layer: nn.Module, values: Tensors, path: str) -> nn.Module:
    for name, value in values.items():
        _fill(getattr(layer, name), value, f"{path}.{name}")
    return layer


@torch.no_grad()
def _fill(own: Tensor, value: Tensor, called: str) -> None:
    if own.shape != value.shape or not value.is_floating_point():
        raise ValueError(
            f"{called} is {tuple(value.shape)} in the file and {tuple(own.shape)} for this model; load the backbone "
            "that the adapter was trained on"
        )
    own.copy_(value)


def _origin(config: Config) -> str:
    name = config.get("base_model_name_or_path")
    return f", {name}" if name else ""
