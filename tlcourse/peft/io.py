"""Save and load adapters in the files of the library `peft`: what is saved here loads there, and what is saved there
loads here."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from tlcourse.peft.from_peft import from_peft
from tlcourse.peft.linear import is_linear, weight_of
from tlcourse.peft.shelf import Place, attach, bare, chosen
from tlcourse.peft.to_peft import Config, Tensors, to_peft

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
MARKS = "backbone_marks"


def save_adapter(model: nn.Module, folder: str | Path, *, name: str | None = None) -> Path:
    """Write the adapter `name` (the one at work by default) to `folder`, and return the folder.

    `peft.PeftModel.from_pretrained(model, folder)` loads it on the bare model. A head that was trained beside the
    adapter is no part of it.

    Raises KeyError for an unknown name, ValueError for a method that peft has no format for (Houlsby, BitFit).
    """
    adapter = chosen(model, name)
    config, tensors = to_peft(model, adapter)
    config |= {
        "task_type": _task(model, adapter.recipe.method),
        "base_model_name_or_path": _origin(model),
        "inference_mode": True,
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt", MARKS: json.dumps(_marks(adapter.layers))})
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    return folder


def load_adapter(model: nn.Module, folder: str | Path, *, name: str = "default") -> nn.Module:
    """Put the adapter in `folder` on the model as `name`, and let it work. Returns the model.

    Everything is checked first: when anything is wrong the model stays as it was.

    Raises FileNotFoundError when a file is not there, ValueError when one is damaged or not complete, when the adapter
    is for another backbone or of an unknown method, and for a name that is taken.
    """
    config, tensors, marks = _files(Path(folder))
    with bare(model, name):
        try:
            layers, recipe = from_peft(model, config, tensors)
        except KeyError as error:
            raise ValueError(f"{Path(folder) / CONFIG} has no {error}; save the adapter again") from error
        _check_marks(marks, _marks(layers))
    return attach(model, layers, recipe=recipe, name=name)


def _files(folder: Path) -> tuple[Config, Tensors, list[float]]:
    """What is in the two files: settings, tensors, and the marks of the backbone where they were noted."""
    config_file, weights_file = folder / CONFIG, folder / WEIGHTS
    if not weights_file.is_file() and (folder / "adapter_model.bin").is_file():
        raise ValueError(
            f"{folder} holds adapter_model.bin, a pickle, which can run any code when it is loaded; have it saved "
            "again as safetensors"
        )
    for file in (config_file, weights_file):
        if not file.is_file():
            raise FileNotFoundError(f"{file} is not there; give the folder that save_adapter or peft wrote")
    try:
        config = json.loads(config_file.read_text())
        tensors = load_file(weights_file)
        with safe_open(weights_file, "pt") as opened:
            marks = json.loads((opened.metadata() or {}).get(MARKS, "[]"))
    except (ValueError, SafetensorError) as error:
        raise ValueError(f"the adapter in {folder} is damaged ({error}); save or download it again") from error
    if not isinstance(config, dict):
        raise ValueError(f"{config_file} is damaged: it holds no settings; save or download it again")
    return config, tensors, marks


def _marks(layers: Mapping[Place, Any]) -> list[float]:
    """A few numbers by which the weights of a backbone are known: projections of the adapted layers, or of the
    embeddings, on a fixed wave. Of unit variance for unrelated weights, and the same to a tenth in four bits.
    """
    marks: list[float] = []
    for spot in sorted(layers, key=lambda spot: spot.path)[:16]:
        linear = is_linear(spot.original)
        weight = weight_of(spot.original) if linear else spot.original.get_input_embeddings().weight
        parts = weight.detach().flatten()[:65536].cpu().float().tensor_split(8)
        waves = [torch.arange(len(part)).cos() for part in parts]
        marks += [float(2**0.5 * p @ w / p.norm().clamp(min=1e-12)) for p, w in zip(parts, waves, strict=True)]
    return marks


def _check_marks(theirs: list[float], here: list[float]) -> None:
    """Raise ValueError when the weights are others than those that the adapter was trained on. peft notes no marks."""
    if not theirs:
        return
    distance = math.dist(theirs, here) / math.sqrt(len(here)) if len(theirs) == len(here) else math.inf
    if not distance < 0.5:
        raise ValueError(
            "the model has the shape of the adapter's backbone and other weights; load the backbone that the adapter "
            "was trained on"
        )


def _task(model: nn.Module, method: str) -> str | None:
    """What peft calls the model's task: it decides how peft feeds the model, and an encoder's prompt needs one."""
    kinds = [type(module).__name__ for module in model.modules()]
    if any("CausalLM" in kind or "LMHead" in kind for kind in kinds):
        return "CAUSAL_LM"
    if any("ForSequenceClassification" in kind for kind in kinds):
        return "SEQ_CLS"
    return "FEATURE_EXTRACTION" if method in ("prompt", "prefix") else None


def _origin(model: nn.Module) -> str | None:
    config: Any = getattr(model, "config", None)
    return getattr(config, "name_or_path", None) or None
