"""Features of a frozen backbone, and when they may come from the cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tlcourse import models, training
from tlcourse.training import extraction


class Backbone(nn.Module):
    """Two stages, dropout to notice training mode, and a counter of forward passes."""

    dim = 4
    stages = ("first", "second")

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.read = nn.Linear(6, 5), nn.Sequential(nn.Linear(5, 4), nn.Dropout(0.9)), []

    @property
    def calls(self) -> int:
        return sum(self.read)  # a plain counter would be a part of what the network is

    def forward(self, x: Tensor) -> Tensor:
        self.read.append(len(x))
        return self.second(self.first(x))

    def stage_features(self, x: Tensor) -> dict[str, Tensor]:
        self.read.append(len(x))
        return {"first": self.first(x), "second": self.second(self.first(x))}

    def fingerprint(self) -> str:
        return models.fingerprint(self)


@dataclass(frozen=True, eq=False)
class Points:
    inputs: Tensor
    labels: Tensor
    name: str

    def __len__(self) -> int:
        return len(self.labels)

    def fingerprint(self) -> str:
        return self.name


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLCOURSE_HOME", str(tmp_path))


def points(name: str = "a", n: int = 10) -> Points:
    generator = torch.Generator().manual_seed(len(name) * 1000 + n)
    return Points(torch.randn(n, 6, generator=generator), torch.zeros(n, dtype=torch.int64), name)


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("batch_size", [3, 64])
def test_equals_the_backbone_in_evaluation_mode(cache: bool, batch_size: int):
    backbone, data = Backbone().train(), points()
    found = training.features(backbone, data, batch_size=batch_size, cache=cache)
    assert backbone.training
    assert not found.requires_grad
    torch.testing.assert_close(found, backbone.eval()(data.inputs).detach())
    stages = training.stage_features(backbone, data, batch_size=batch_size, cache=cache)
    assert list(stages) == ["first", "second"]
    torch.testing.assert_close(stages["first"], backbone.first(data.inputs).detach())
    torch.testing.assert_close(training.features(backbone, data, stage="first", cache=cache), stages["first"])


def test_the_second_time_comes_from_disk():
    backbone = Backbone()
    first = training.features(backbone, points())
    assert backbone.calls == 10
    assert torch.equal(training.features(backbone, points()), first)
    assert backbone.calls == 10
    training.features(backbone, points(), cache=False)
    assert backbone.calls == 20


def test_other_weights_data_or_stage_are_other_entries():
    backbone = Backbone()
    first = training.features(backbone, points())
    assert not torch.equal(training.features(backbone, points("bb")), first)
    with torch.no_grad():
        backbone.first.weight[0, 0] += 1e-3
    assert not torch.equal(training.features(backbone, points()), first)
    assert training.features(backbone, points(), stage="first").shape == (10, 5)


def test_another_version_of_the_method_is_another_entry(monkeypatch: pytest.MonkeyPatch):
    backbone = Backbone()
    training.features(backbone, points())
    monkeypatch.setattr(extraction, "_VERSION", 2)
    training.features(backbone, points())
    assert backbone.calls == 20


def test_without_a_fingerprint_nothing_is_cached(tmp_path: Path):
    class Nameless(Points):
        fingerprint = property()  # hasattr() is False

    backbone, data = Backbone(), Nameless(**vars(points()))
    for _ in range(2):
        training.features(backbone, data)
    assert backbone.calls == 20
    assert not (tmp_path / "derived").exists()


def test_a_damaged_entry_is_computed_again(tmp_path: Path):
    backbone = Backbone()
    first = training.features(backbone, points())
    (file,) = tmp_path.rglob("features.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"\x00")
    assert torch.equal(training.features(backbone, points()), first)
    assert backbone.calls == 20


def test_texts_come_back_in_their_own_order():
    class Lengths(nn.Module):
        dim = 1

        def __init__(self) -> None:
            super().__init__()
            self.batches: list[list[str]] = []

        def collate(self, texts: list[str]) -> dict[str, Tensor]:
            self.batches.append(texts)
            return {"lengths": torch.tensor([[float(len(text))] for text in texts])}

        def forward(self, batch: dict[str, Tensor]) -> Tensor:
            return batch["lengths"]

    @dataclass(frozen=True)
    class Texts:
        inputs: tuple[str, ...]

        @property
        def labels(self) -> Tensor:
            return torch.zeros(len(self), dtype=torch.int64)

        def __len__(self) -> int:
            return len(self.inputs)

    backbone = Lengths()
    found = training.features(backbone, Texts(("ccc", "a", "dddd", "bb")), batch_size=2)
    assert found[:, 0].tolist() == [3, 1, 4, 2]
    assert backbone.batches == [["a", "bb"], ["ccc", "dddd"]], "texts of like length share a batch"


def test_bad_input():
    with pytest.raises(KeyError, match="first, second"):
        training.features(Backbone(), points(), stage="third")
    with pytest.raises(ValueError, match="no stages"):
        training.stage_features(nn.Linear(6, 2), points())
    with pytest.raises(ValueError, match="empty"):
        training.features(Backbone(), points(n=0))
    with pytest.raises(ValueError, match="batch_size"):
        training.features(Backbone(), points(), batch_size=0)
