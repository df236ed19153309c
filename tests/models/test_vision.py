"""Image backbones: real weights that see, and checkpoints of the hub's architectures."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from sklearn.datasets import load_sample_images
from torch import Tensor, nn

from tlcourse import models
from tlcourse.models import vision_backbone


@pytest.fixture(scope="module")
def lite0() -> models.VisionBackbone:
    return models.vision()


def photographs(size: int = 224) -> Tensor:
    """scikit-learn's temple and flower."""
    pictures = [torch.from_numpy(picture.copy()).permute(2, 0, 1) for picture in load_sample_images().images]
    batch = torch.stack(pictures).float()
    return nn.functional.interpolate(batch, (size, size), antialias=True, mode="bilinear").byte()


def pixels(n: int = 2, c: int = 3, h: int = 32, w: int = 32) -> Tensor:
    return torch.randint(0, 256, (n, c, h, w), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_names_the_photographs(lite0: models.VisionBackbone):
    logits = lite0.logits(lite0(photographs()))
    assert logits.argmax(dim=1).tolist() == [442, 985], "ImageNet's bell cote and daisy"


@torch.no_grad()
def test_features_and_logits_are_those_of_the_whole_network(lite0: models.VisionBackbone):
    import timm

    whole = timm.create_model("tf_efficientnet_lite0").eval()
    weight, bias = lite0._head
    whole.load_state_dict({**lite0.net.state_dict(), "classifier.weight": weight, "classifier.bias": bias})
    x = photographs(96).float() / 127.5 - 1
    torch.testing.assert_close(lite0.logits(lite0(photographs(96))), whole(x), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(lite0(x), lite0(photographs(96)), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_one_channel_is_repeated(lite0: models.VisionBackbone):
    grey = pixels(c=1)
    torch.testing.assert_close(lite0(grey), lite0(grey.expand(-1, 3, -1, -1)), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_stages_go_from_shallow_to_deep(lite0: models.VisionBackbone):
    assert lite0.stages == ("stem", *(f"blocks.{i}" for i in range(7)), "head")
    found = lite0.stage_features(pixels())
    assert tuple(found) == lite0.stages
    assert [feature.shape[1] for feature in found.values()] == [32, 16, 24, 40, 80, 112, 192, 320, 1280]
    torch.testing.assert_close(found["head"], lite0(pixels()))
    stem = lite0.net.bn1(lite0.net.conv_stem(lite0.normalise(pixels())))
    torch.testing.assert_close(found["stem"], stem.mean(dim=(2, 3)))
    assert not any(module._forward_hooks for module in lite0.modules()), "hooks are taken off again"


def test_the_imagenet_head_is_no_parameter(lite0: models.VisionBackbone):
    assert sum(p.numel() for p in lite0.parameters()) == 3_371_008
    assert all(tensor.shape != (1000, 1280) for tensor in lite0.state_dict().values())


def test_random_weights_by_seed():
    one, same, other = (models.vision(pretrained=False, seed=seed) for seed in (1, 1, 2))
    assert one.fingerprint() == same.fingerprint() != other.fingerprint()
    assert models.vision(pretrained=False, seed=1).fingerprint() != models.vision().fingerprint()
    weight = one.net.conv_head.weight
    assert float(weight.detach().std()) == pytest.approx((2 / 1280) ** 0.5, rel=0.05), "timm's own initialisation"


def test_seeds_leave_global_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    models.vision(pretrained=False)
    models.vision()
    models.Classifier(models.Conv4(), 3)
    models.MLP([2, 3])
    assert torch.equal(torch.rand(1), expected)


def test_fingerprint_sees_one_changed_weight_and_batch_norm_statistics(lite0: models.VisionBackbone):
    before, changed = lite0.fingerprint(), copy.deepcopy(lite0)
    assert changed.fingerprint() == before
    with torch.no_grad():
        changed.net.blocks[3][0].conv_pw.weight[0, 0] += 1e-6
    assert changed.fingerprint() != before
    moved = copy.deepcopy(lite0).train()
    moved(pixels())
    assert moved.fingerprint() != before


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_resnet50_from_a_checkpoint_of_torchvision(tmp_path: Path, suffix: str):
    torch.manual_seed(0)
    theirs = torchvision.models.resnet50(num_classes=7).eval()
    file = tmp_path / f"resnet50{suffix}"
    if suffix == ".pth":
        torch.save(theirs.state_dict(), file)
    else:
        save_file(theirs.state_dict(), file)
    ours = models.vision(source="hub", checkpoint=file)
    assert (ours.name, ours.dim) == ("resnet50", 2048)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        expected = theirs((pixels(h=64, w=64) / 255 - mean) / std)
        found = ours.stage_features(pixels(h=64, w=64))
        torch.testing.assert_close(ours.logits(ours(pixels(h=64, w=64))), expected, atol=1e-4, rtol=1e-4)
    assert [feature.shape[1] for feature in found.values()] == [64, 256, 512, 1024, 2048]
    torch.testing.assert_close(found["layer4"], ours(pixels(h=64, w=64)).detach(), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_vit_b_16_resizes_to_what_it_was_trained_on():
    vit = models.vision("vit_b_16", pretrained=False)
    assert vit(pixels(n=1)).shape == (1, vit.dim) == (1, 768)
    assert tuple(vit.stage_features(pixels(n=1))) == vit.stages
    assert len(vit.stages) == 12


def test_the_environment_chooses_the_source(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TLCOURSE_SOURCE", "hub")
    assert models.vision(pretrained=False).name == "resnet50"
    assert models.vision(source="builtin", pretrained=False).name == "efficientnet_lite0"
    monkeypatch.setenv("TLCOURSE_SOURCE", "moon")
    with pytest.raises(ValueError, match="TLCOURSE_SOURCE"):
        models.vision()


def test_bad_arguments(tmp_path: Path):
    with pytest.raises(KeyError, match="did you mean efficientnet_lite0"):
        models.vision("efficientnet")
    with pytest.raises(ValueError, match="source"):
        models.vision(source="moon")
    with pytest.raises(ValueError, match="leave one of them out"):
        models.vision(pretrained=False, checkpoint=tmp_path / "x.pth")
    with pytest.raises(ValueError, match="no file"):
        models.vision(checkpoint=tmp_path / "x.pth")
    torch.save({"model": {"weight": torch.zeros(1)}, "epoch": 3}, tmp_path / "state.pth")
    with pytest.raises(ValueError, match="more than named tensors"):
        models.vision(checkpoint=tmp_path / "state.pth")
    torch.save(models.MLP([2, 3]).state_dict(), tmp_path / "other.pth")
    with pytest.raises(ValueError, match="not of this architecture"):
        models.vision(checkpoint=tmp_path / "other.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(ValueError, match="cannot be read"):
        models.vision(checkpoint=tmp_path / "text.pth")


class Marker:
    """What a hostile file would run: leaves a file behind when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple:
        return Path.touch, (self.file,)


def test_a_checkpoint_never_runs_code(tmp_path: Path):
    torch.save({"weight": Marker(tmp_path / "ran")}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match="cannot be read"):
        models.vision(checkpoint=tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


@pytest.fixture(scope="module")
def _as_readers_run_it() -> Iterator[None]:
    """Without the shape checks of the tests, which a reader does not have: our own errors must do."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("_as_readers_run_it")
class TestBadPixels:
    @given(st.lists(st.integers(0, 5), min_size=1, max_size=5))
    @settings(deadline=None, max_examples=40)
    def test_shapes(self, shape: list[int]):
        good = len(shape) == 4 and shape[1] in (1, 3) and 0 not in shape
        backbone = models.vision(pretrained=False)
        if good:
            return
        with pytest.raises(ValueError, match="1 or 3"):
            backbone(torch.zeros(shape, dtype=torch.uint8))

    @pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.bool])
    def test_types(self, lite0: models.VisionBackbone, dtype: torch.dtype):
        with pytest.raises(ValueError, match="uint8"):
            lite0(torch.zeros(1, 3, 32, 32, dtype=dtype))

    def test_features_of_another_network(self, lite0: models.VisionBackbone):
        with pytest.raises(ValueError, match="1280 wide"):
            lite0.logits(torch.zeros(2, 5))


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet50"])
@torch.no_grad()
def test_stage_modules_are_where_the_stages_end(name: str):
    backbone = models.vision(name, pretrained=False)
    assert tuple(backbone.stage_modules) == backbone.stages
    outputs: list[Tensor] = []
    for path in backbone.stage_modules.values():
        module = backbone.get_submodule(path)
        module.register_forward_hook(lambda module, inputs, output: outputs.append(output.mean(dim=(2, 3))))
    expected = backbone.stage_features(pixels())
    assert len(outputs) == len(expected), "each is called once, in this order"
    for output, (stage, features) in zip(outputs, expected.items(), strict=True):
        assert torch.equal(output, features), stage


def test_stage_modules_name_layers_of_a_transformer():
    recipe = vision_backbone._RECIPES["vit_b_16"]
    net, head = nn.Module(), nn.Linear(4, 2)
    net.encoder = nn.Module()
    net.encoder.layers = nn.ModuleDict({f"encoder_layer_{i}": nn.Linear(2, 2) for i in range(12)})
    backbone = models.VisionBackbone("vit", net, head=head, stages=recipe.stages, mean=recipe.mean, std=recipe.std)
    found = [backbone.get_submodule(path) for path in backbone.stage_modules.values()]
    assert all(a is b for a, b in zip(found, net.encoder.layers.values(), strict=True))
    backbone.stage_modules.clear()
    assert len(backbone.stage_modules) == 12, "a dictionary of its own each time"
