"""Networks that turn images into features: EfficientNet-Lite0, and ResNet-50 and ViT-B/16 from the hub."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from tlcourse import assets
from tlcourse.models.drawing import drawn_by
from tlcourse.models.fingerprints import fingerprint
from tlcourse.models.sources import asset_digest, check_pretrained, from_hub, resolve, state_dict

Pixels = UInt8[Tensor, "n c h w"] | Float[Tensor, "n c h w"]


class VisionBackbone(nn.Module):
    """An image network without its last layer.

    `net` is the network of timm or torchvision, its classification layer replaced by the identity. That layer is kept
    aside for `logits`: it is no parameter of the backbone, so no optimiser moves it.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: str,
        net: nn.Module,
        *,
        head: nn.Linear,
        stages: Mapping[str, str],
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        size: int | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.net = net.to(memory_format=torch.channels_last)
        self.dim = head.in_features
        self.size = size
        self._stages = dict(stages)
        self._head = (head.weight.detach(), head.bias.detach())
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages, from shallow to deep."""
        return tuple(self._stages)

    @property
    def stage_modules(self) -> dict[str, str]:
        """For each stage the dotted name, in this backbone, of the module that ends it."""
        return {stage: f"net.{path}" for stage, path in self._stages.items()}

    def normalise(self, pixels: Pixels) -> Float[Tensor, "n 3 h2 w2"]:
        """What the network was trained to see: three channels, (x / 255 - mean) / std.

        uint8 pixels (0 to 255) are scaled here; floating-point pixels are taken as normalised already. One channel is
        repeated to three. A network that accepts a single size gets its images resized.

        Raises ValueError for another number of dimensions, channels or type.
        """
        if pixels.ndim != 4 or pixels.shape[1] not in (1, 3) or 0 in pixels.shape:
            raise ValueError(f"pixels have shape {tuple(pixels.shape)}; expected (n, 1 or 3, height, width), not empty")
        if pixels.dtype != torch.uint8 and not pixels.is_floating_point():
            raise ValueError(f"pixels are {pixels.dtype}; give uint8 (0 to 255), or floats that are already normalised")
        dtype = next(self.net.parameters()).dtype
        images = pixels.to(self.mean.device)
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        images = (images.to(dtype) / 255 - self.mean) / self.std if images.dtype == torch.uint8 else images.to(dtype)
        if self.size is not None and images.shape[-2:] != (self.size, self.size):
            images = F.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True)
        return images.contiguous(memory_format=torch.channels_last)

    def forward(self, pixels: Pixels) -> Float[Tensor, "n dim"]:
        """Pooled features, one row an image; see `normalise` for what `pixels` may be."""
        return self.net(self.normalise(pixels))

    def stage_features(self, pixels: Pixels) -> dict[str, Float[Tensor, "n _"]]:
        """The mean over positions of what each stage puts out, from shallow to deep, in one forward pass."""
        outputs: dict[str, Tensor] = {}

        def keep(stage: str, module: nn.Module, inputs: object, output: Tensor) -> None:
            outputs[stage] = output.mean(dim=(2, 3)) if output.ndim == 4 else output.mean(dim=1)

        hooks = [
            self.net.get_submodule(path).register_forward_hook(partial(keep, stage))
            for stage, path in self._stages.items()
        ]
        try:
            self(pixels)
        finally:
            for hook in hooks:
                hook.remove()
        return outputs

    def logits(self, features: Float[Tensor, "n dim"]) -> Float[Tensor, "n classes"]:
        """Scores of the classes that the network was first trained on, 1,000 for ImageNet, from its features.

        Raises ValueError when `features` are not as wide as the backbone's.
        """
        if features.shape[-1] != self.dim:
            raise ValueError(f"features are {features.shape[-1]} wide; {self.name} needs its own, {self.dim} wide")
        weight, bias = (tensor.to(features) for tensor in self._head)
        return F.linear(features, weight, bias)

    def fingerprint(self) -> str:
        """Name and exact weights, for caches."""
        return f"{self.name}-{fingerprint(self.net)}"


@dataclass(frozen=True)
class _Recipe:
    """How to make one architecture: `build(n_classes)`, where its last layer is, what its stages are called."""

    build: Callable[[int], nn.Module]
    head: str
    stages: Mapping[str, str]
    weights: Callable[[], dict[str, Tensor]]
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    size: int | None = None


def vision(
    name: str = "efficientnet_lite0",
    *,
    pretrained: bool = True,
    source: str | None = None,
    checkpoint: str | Path | None = None,
    seed: int = 0,
) -> VisionBackbone:
    """An image backbone with its ImageNet weights, in evaluation mode.

    `name`: "efficientnet_lite0" (built in, 1,280 features), "resnet50" or "vit_b_16" (torchvision).
    `pretrained=False`: the same architecture with random weights drawn by `seed`.
    `source="hub"` (or TLCOURSE_SOURCE=hub) takes the larger counterpart.
    `checkpoint`: weights of that architecture on this disk (.safetensors, or .pth read without running code).

    Raises KeyError for an unknown name, ValueError for a checkpoint that does not fit.
    """
    check_pretrained(pretrained, checkpoint)
    chosen = resolve(name, source, _RECIPES)
    recipe = _RECIPES[chosen]
    if not pretrained:
        weights = None
    elif checkpoint is not None:
        weights = state_dict(checkpoint)
    else:
        weights = recipe.weights()
    net = _with_weights(recipe, weights, seed=seed)
    owner, _, leaf = recipe.head.rpartition(".")
    head = net.get_submodule(recipe.head)
    assert isinstance(head, nn.Linear)
    setattr(net.get_submodule(owner), leaf, nn.Identity())
    backbone = VisionBackbone(
        chosen, net, head=head, stages=recipe.stages, mean=recipe.mean, std=recipe.std, size=recipe.size
    )
    return backbone.eval()


def _with_weights(recipe: _Recipe, weights: dict[str, Tensor] | None, *, seed: int) -> nn.Module:
    """The whole network, with `weights`, or drawn by `seed` when there are none."""
    if weights is None:
        with drawn_by(seed):
            return recipe.build(1000)
    last = weights.get(f"{recipe.head}.weight")
    try:
        if last is None:
            raise RuntimeError(f"no entry {recipe.head}.weight")
        with drawn_by(seed):  # what is drawn is not kept
            net = recipe.build(len(last))
        net.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(
            f"checkpoint: these weights are not of this architecture; {' '.join(str(error).split())[:300]}"
        ) from error
    return net


def _efficientnet_lite0(n_classes: int) -> nn.Module:
    import timm

    return timm.create_model("tf_efficientnet_lite0", num_classes=n_classes)


def _efficientnet_lite0_weights() -> dict[str, Tensor]:
    """The asset's weights under timm's names: both lists have the same 296 entries in the same order and shapes."""

    def convert(folder: Path) -> None:
        from safetensors.torch import save_file

        theirs = state_dict(assets.path("efficientnet_lite0", "efficientnet-lite0.pth"))
        ours = _efficientnet_lite0(1000).state_dict()
        pairs = list(zip(ours.items(), theirs.values(), strict=True))
        if any(old.shape != new.shape for (_, old), new in pairs):
            raise ValueError("efficientnet_lite0: timm's layers are not in the order of the weights file")
        save_file({name: new.contiguous() for (name, _), new in pairs}, folder / "model.safetensors")

    key = {"asset": asset_digest("efficientnet_lite0"), "names": "timm"}
    folder = assets.derived("efficientnet_lite0", key, convert)
    return state_dict(folder / "model.safetensors")


def _torchvision(architecture: str, n_classes: int) -> nn.Module:
    import torchvision

    return torchvision.models.get_model(architecture, weights=None, num_classes=n_classes)


def _torchvision_weights(architecture: str) -> dict[str, Tensor]:
    import torchvision

    weights = torchvision.models.get_model_weights(architecture).DEFAULT
    return from_hub(
        f"torchvision's {architecture}",
        lambda: dict(weights.get_state_dict(progress=False, check_hash=True, weights_only=True)),
        builtin="efficientnet_lite0",
    )


_RECIPES: dict[str, _Recipe] = {
    "efficientnet_lite0": _Recipe(
        build=_efficientnet_lite0,
        head="classifier",
        stages={"stem": "bn1", **{f"blocks.{i}": f"blocks.{i}" for i in range(7)}, "head": "bn2"},
        weights=_efficientnet_lite0_weights,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    ),
    "resnet50": _Recipe(
        build=partial(_torchvision, "resnet50"),
        head="fc",
        stages={"stem": "maxpool", **{f"layer{i}": f"layer{i}" for i in range(1, 5)}},
        weights=partial(_torchvision_weights, "resnet50"),
    ),
    "vit_b_16": _Recipe(
        build=partial(_torchvision, "vit_b_16"),
        head="heads.head",
        stages={f"blocks.{i}": f"encoder.layers.encoder_layer_{i}" for i in range(12)},
        weights=partial(_torchvision_weights, "vit_b_16"),
        size=224,
    ),
}
