"""How deep in its network a parameter lies: 0 is next to the input."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import nn


def depths(model: nn.Module, *, stages: Sequence[str] | None = None) -> dict[str, int]:
    """The depth of every parameter, from 0 to the number of stages; what comes after the last stage is the head.

    timm models say it themselves (`group_matcher`); transformers models have embeddings (0), numbered layers (1 …) and
    a head; a `Classifier` has the stages of its backbone. For any other module give `stages`, dotted names of the
    modules that end its stages, from shallow to deep: a parameter belongs to the first stage that does not end before
    it, in the order in which the model registers its modules.

    Raises ValueError for stages that are unknown, listed twice or not in the model's order, and for a model whose
    stages are not known.
    """
    if stages is not None:
        return _by_ends(model, _given(model, stages))
    if hasattr(model, "group_matcher"):
        from timm.models import group_parameters

        timm_model: Any = model
        return dict(group_parameters(model, timm_model.group_matcher(coarse=False), reverse=True))
    ends = _of_vision_backbone(model) or _of_layer_list(model)
    if not ends:
        raise ValueError(
            f"the stages of {type(model).__name__} are not known; give stages=, names of the modules that end them, "
            f"for example {[name for name, _ in model.named_children()][:3]}"
        )
    return _by_ends(model, ends)


def _by_ends(model: nn.Module, ends: Sequence[int]) -> dict[str, int]:
    """Depth of each parameter, when stage i ends with the module at position ends[i]."""
    position = {name: i for i, (name, _) in enumerate(model.named_modules())}
    return {name: sum(end < position[name.rpartition(".")[0]] for end in ends) for name, _ in model.named_parameters()}


def _last(names: list[str], path: str) -> int:
    """Position of the last module at or below `path`."""
    return max(i for i, name in enumerate(names) if name == path or name.startswith(f"{path}."))


def _given(model: nn.Module, stages: Sequence[str]) -> list[int]:
    names = [name for name, _ in model.named_modules()]
    for stage in stages:
        if stage not in names:
            near = difflib.get_close_matches(stage, names, n=3, cutoff=0.5) or [n for n, _ in model.named_children()]
            raise ValueError(f"stage {stage!r} is no module of {type(model).__name__}; near it: {', '.join(near)}")
    ends = [_last(names, stage) for stage in stages]
    for (shallow, deep), (first, second) in zip(pairwise(stages), pairwise(ends), strict=True):
        if first >= second:
            raise ValueError(
                f"stages name {shallow!r} before {deep!r}, but the model ends them the other way round or together; "
                "list each stage once, from shallow to deep"
            )
    if not ends:
        raise ValueError("stages is empty; name at least one module")
    return ends


def _of_vision_backbone(model: nn.Module) -> list[int]:
    names = [name for name, _ in model.named_modules()]
    for prefix, module in model.named_modules():
        paths: Any = getattr(module, "stage_modules", None)
        if isinstance(paths, dict):
            return [_last(names, f"{prefix}.{path}".lstrip(".")) for path in paths.values()]
    return []


def _of_layer_list(model: nn.Module) -> list[int]:
    """transformers: the list with as many modules as the config has layers; what stands before it is depth 0."""
    names = [name for name, _ in model.named_modules()]
    for _, owner in model.named_modules():
        wanted = getattr(getattr(owner, "config", None), "num_hidden_layers", None)
        for name, module in model.named_modules() if wanted else ():
            if isinstance(module, nn.ModuleList) and len(module) == wanted:
                return [names.index(name) - 1, *(_last(names, f"{name}.{i}") for i in range(wanted))]
    return []
