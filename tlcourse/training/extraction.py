"""Features of a frozen backbone, kept on disk: they cost more than anything else in most lessons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tlcourse import assets
from tlcourse.training.batches import Examples, prepare
from tlcourse.training.devices import device as best_device
from tlcourse.training.evaluation import evaluating

_VERSION = 1  # raise it when this file computes something else from the same weights and data
_FINAL = "final"


def features(
    backbone: nn.Module,
    dataset: Any,
    *,
    stage: str | None = None,
    batch_size: int = 64,
    cache: bool = True,
    progress: bool = False,
) -> Float[Tensor, "n dim"]:
    """Features of every example, on the CPU, in evaluation mode and without gradients.

    `stage`: one of `backbone.stages` instead of the final features.
    `cache`: keep them on disk under a key of weights, data, stage and device. It needs `fingerprint()` of both; without
    one of them the features are computed anew. Cache the whole dataset and index the result: every subset would be
    an entry of its own.

    The backbone moves to `training.device()`. Raises KeyError for an unknown stage, ValueError for an empty dataset.
    """
    if stage is None:
        return _cached(backbone, dataset, False, batch_size=batch_size, cache=cache, progress=progress)[_FINAL]
    stages = getattr(backbone, "stages", ())
    if stage not in stages:
        raise KeyError(f"stage {stage!r} is unknown; choose one of: {', '.join(stages) or '(this backbone has none)'}")
    return stage_features(backbone, dataset, batch_size=batch_size, cache=cache, progress=progress)[stage]


def stage_features(
    backbone: nn.Module, dataset: Any, *, batch_size: int = 64, cache: bool = True, progress: bool = False
) -> dict[str, Float[Tensor, "n _"]]:
    """Features after every stage of the backbone, from shallow to deep, in one pass; cached as `features` are.

    Raises ValueError for a backbone without stages, or an empty dataset.
    """
    if not hasattr(backbone, "stage_features"):
        raise ValueError(f"backbone {type(backbone).__name__} has no stages; use training.features for its output")
    return _cached(backbone, dataset, True, batch_size=batch_size, cache=cache, progress=progress)


def _cached(
    backbone: Any, dataset: Any, stages: bool, *, batch_size: int, cache: bool, progress: bool
) -> dict[str, Tensor]:
    from safetensors.torch import load_file, save_file

    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; give 1 or more")
    backbone.to(best_device())
    if not (cache and hasattr(backbone, "fingerprint") and hasattr(dataset, "fingerprint")):
        return _compute(backbone, dataset, stages, batch_size=batch_size, progress=progress)
    names = list(backbone.stages) if stages else [_FINAL]
    key = {
        "backbone": backbone.fingerprint(),
        "dataset": dataset.fingerprint(),
        "outputs": names,
        "device": best_device().type,
        "torch": torch.__version__,
        "version": _VERSION,
    }

    def build(folder: Path) -> None:
        outputs = _compute(backbone, dataset, stages, batch_size=batch_size, progress=progress)
        save_file({name: tensor.contiguous() for name, tensor in outputs.items()}, folder / "features.safetensors")

    stored = load_file(assets.derived("features", key, build) / "features.safetensors")
    return {name: stored[name].clone() for name in names}  # what was loaded is still tied to the file


@torch.no_grad()
def _compute(backbone: Any, dataset: Any, stages: bool, *, batch_size: int, progress: bool) -> dict[str, Tensor]:
    """Outputs by name, rows in the order of the dataset."""
    from tqdm.auto import tqdm

    examples = Examples(dataset)
    device = best_device()
    order = _by_length(dataset, examples.n)
    chunks: dict[str, list[Tensor]] = {}
    with evaluating(backbone):
        for indices in tqdm(order.split(batch_size), desc="features", disable=not progress):
            batch = prepare(examples.inputs(indices), backbone, device)
            outputs = backbone.stage_features(batch) if stages else {_FINAL: backbone(batch)}
            for name, output in outputs.items():
                chunks.setdefault(name, []).append(output.float().cpu())
    back = torch.argsort(order)
    return {name: torch.cat(parts)[back] for name, parts in chunks.items()}


def _by_length(dataset: Any, n: int) -> Tensor:
    """Texts of like length together, so that little is computed for padding; anything else in its own order."""
    inputs = getattr(dataset, "inputs", None)
    if isinstance(inputs, (tuple, list)) and all(isinstance(item, str) for item in inputs):
        return torch.argsort(torch.tensor([len(item) for item in inputs]), stable=True)
    return torch.arange(n)
