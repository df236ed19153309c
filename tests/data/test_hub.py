"""Hub counterparts, read from tiny local files in the formats of their publishers."""

from __future__ import annotations

import hashlib
import pickle
import socket
import sys
import urllib.error

import numpy as np
import pytest
from PIL import Image

from tlcourse import assets, data
from tlcourse.assets import cache
from tlcourse.data import hub


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise urllib.error.URLError("no network in this test")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setattr("urllib.request.urlretrieve", refuse)


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3072), dtype=np.uint8)
    pixels[0] = np.repeat([255, 128, 0], 1024)  # one picture of a single colour shows the order of the channels
    batches = {"data_batch_1": [3, 1], "data_batch_2": [0, 9], "test_batch": [5, 5]}
    for i, (name, labels) in enumerate(batches.items()):
        start = 0 if name == "test_batch" else 2 * i
        content = {"data": pixels[start : start + 2], "labels": labels, "batch_label": name, "filenames": ["a", "b"]}
        (folder / name).write_bytes(pickle.dumps(content))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"class {i}" for i in range(10)]}))
    sums = [[name, md5(folder / name)] for name in batches]
    monkeypatch.setattr(CIFAR10, "train_list", sums[:2])
    monkeypatch.setattr(CIFAR10, "test_list", sums[2:])
    meta = {"filename": "batches.meta", "key": "label_names", "md5": md5(folder / "batches.meta")}
    monkeypatch.setattr(CIFAR10, "meta", meta)
    return tmp_path


def test_cifar10(cifar, no_network):
    train, test = data.cifar10(root=cifar), data.cifar10("test", root=cifar)
    assert train.pixels.shape == (4, 3, 32, 32)
    assert train.pixels[0, :, 7, 9].tolist() == [255, 128, 0]
    assert train.labels.tolist() == [3, 1, 0, 9]
    assert test.labels.tolist() == [5, 5]
    assert train.classes[3] == "class 3"
    assert data.cifar10(root=cifar, size=64).pixels.shape == (4, 3, 64, 64)


def test_cifar10_with_a_damaged_file_asks_for_the_network(cifar, no_network):
    (cifar / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"damaged")
    with pytest.raises(
        assets.AssetUnavailable, match=r"CIFAR-10 is not in .* no network in this test.*data\.emoji\(\)"
    ):
        data.cifar10(root=cifar)


def test_flowers102(tmp_path, monkeypatch, no_network):
    from scipy.io import savemat
    from torchvision.datasets import Flowers102

    folder = tmp_path / "flowers-102"
    (folder / "jpg").mkdir(parents=True)
    for i in range(1, 7):
        Image.new("RGB", (60, 50), (40 * i, 0, 0)).save(folder / "jpg" / f"image_{i:05d}.jpg", quality=95)
    savemat(folder / "imagelabels.mat", {"labels": np.array([[1, 102, 3, 4, 5, 6]])})
    savemat(folder / "setid.mat", {"trnid": [[2, 1]], "valid": [[3, 4]], "tstid": [[5, 6]]})
    sums = {key: (name, md5(folder / name)) for key, name in (("label", "imagelabels.mat"), ("setid", "setid.mat"))}
    monkeypatch.setattr(Flowers102, "_file_dict", {**Flowers102._file_dict, **sums})
    parts = {part: data.flowers102(part, root=tmp_path, size=16) for part in ("train", "validation", "test")}
    assert parts["train"].labels.tolist() == [101, 0]
    assert parts["validation"].labels.tolist() == [2, 3]
    assert parts["test"].labels.tolist() == [4, 5]
    assert parts["train"].n_classes == 102
    assert abs(int(parts["train"].pixels[0, 0, 8, 8]) - 80) < 4
    assert parts["train"].pixels.shape == (2, 3, 16, 16)


def test_eurosat(tmp_path, no_network):
    for label, name in enumerate(("AnnualCrop", "Forest", "River")):
        folder = tmp_path / "eurosat" / "2750" / name
        folder.mkdir(parents=True)
        for i in range(10):
            Image.new("RGB", (64, 64), (80 * label, 20 * i, 0)).save(folder / f"{name}_{i}.jpg", quality=95)
    train, test = (data.eurosat(part, root=tmp_path, size=32) for part in ("train", "test"))
    assert train.counts() == {"AnnualCrop": 7, "Forest": 7, "River": 7}
    assert test.counts() == {"AnnualCrop": 3, "Forest": 3, "River": 3}
    assert not {p.numpy().tobytes() for p in train.pixels} & {p.numpy().tobytes() for p in test.pixels}
    reds = train.pixels[:, 0].float().mean((1, 2)) / 80
    assert reds.round().long().tolist() == train.labels.tolist()


def test_pneumonia_mnist(tmp_path, no_network):
    random = np.random.default_rng(0)
    for flag, size in (("", 28), ("_64", 64)):
        arrays = {}
        for part, n in (("train", 4), ("val", 2), ("test", 3)):
            arrays[f"{part}_images"] = random.integers(0, 256, (n, size, size), dtype=np.uint8)
            arrays[f"{part}_labels"] = np.arange(n, dtype=np.uint8)[:, None] % 2
        np.savez(tmp_path / f"pneumoniamnist{flag}.npz", **arrays)
    train = data.pneumonia_mnist(root=tmp_path)
    assert train.pixels.shape == (4, 1, 64, 64)
    assert np.array_equal(train.pixels[:, 0].numpy(), np.load(tmp_path / "pneumoniamnist_64.npz")["train_images"])
    assert train.labels.tolist() == [0, 1, 0, 1]
    assert train.classes == ("normal", "pneumonia")
    assert len(data.pneumonia_mnist("validation", root=tmp_path)) == 2
    assert data.pneumonia_mnist("test", root=tmp_path, size=28).pixels.shape == (3, 1, 28, 28)
    assert data.pneumonia_mnist("test", root=tmp_path, size=32).pixels.shape == (3, 1, 32, 32)


def parquet(path, columns):
    import pyarrow
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table(columns), path)


def test_sst2(tmp_path, no_network):
    for split, labels in (("train", [1, 0, 1]), ("validation", [0, 1]), ("test", [-1])):
        columns = {
            "idx": list(range(len(labels))),
            "sentence": [f"{split} {i} " for i in range(len(labels))],
            "label": labels,
        }
        parquet(tmp_path / "data" / f"{split}-00000-of-00001.parquet", columns)
    train, test = data.sst2(root=tmp_path), data.sst2("test", root=tmp_path)
    assert train.texts == ("train 0", "train 1", "train 2")
    assert train.labels.tolist() == [1, 0, 1]
    assert train.classes == ("negative", "positive")
    assert test.texts == ("validation 0", "validation 1")


def test_ag_news(tmp_path, no_network):
    for split in ("train", "test"):
        parquet(tmp_path / "data" / f"{split}-00000-of-00001.parquet", {"text": [f"{split} news"], "label": [3]})
    assert data.ag_news("test", root=tmp_path).texts == ("test news",)
    train = data.ag_news(root=tmp_path)
    assert (train.texts, train.labels.tolist(), train.classes[3]) == (("train news",), [3], "Sci/Tech")


@pytest.mark.parametrize(
    ("load", "title", "instead"),
    [
        (data.cifar10, "CIFAR-10", r"data\.emoji\(\)"),
        (data.flowers102, "Oxford Flowers 102", r"data\.emoji\(label='subgroup'\)"),
        (data.eurosat, "EuroSAT", r"data\.textiles\(\)"),
        (data.pneumonia_mnist, "PneumoniaMNIST", r"data\.textiles\(\)"),
        (data.sst2, "SST-2", r'data\.sentiment\("movies"\)'),
        (data.ag_news, "AG News", r'data\.sentiment\("nyt"\)'),
    ],
)
def test_without_network_the_built_in_set_is_named(load, title, instead, tmp_path, no_network):
    with pytest.raises(assets.AssetUnavailable, match=rf"(?s){title} is not in {tmp_path}.*internet access.*{instead}"):
        load(root=tmp_path)
    assert socket.getdefaulttimeout() is None


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(assets.AssetUnavailable, match=r'SST-2 needs datasets; run: python .* -e "\.\[hub\]"'):
        data.sst2(root=tmp_path)


def test_files_are_kept_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TLCOURSE_HOME", str(tmp_path))
    assert hub._folder("sst2", None) == tmp_path / "hub" / "sst2"


def test_a_shared_cache_is_read_and_what_is_not_in_it_goes_to_ones_own(tmp_path, monkeypatch):
    shared, own = tmp_path / "shared", tmp_path / "own"
    (shared / "hub" / "sst2").mkdir(parents=True)
    monkeypatch.setattr(cache, "places", lambda: (shared, own))  # as where the first cannot be written
    assert hub._folder("sst2", None) == shared / "hub" / "sst2"
    assert hub._folder("cifar10", None) == own / "hub" / "cifar10"
    monkeypatch.setattr(cache, "writable", lambda folder: False)
    assert hub._folder("sst2", None) == shared / "hub" / "sst2", "reading needs no place to write"


@pytest.mark.parametrize("load", [data.cifar10, data.flowers102, data.eurosat, data.pneumonia_mnist, data.sst2])
def test_unknown_part(load, tmp_path):
    with pytest.raises(KeyError, match="Did you mean 'train'"):
        load("trains", root=tmp_path)
    if load is not data.sst2:
        with pytest.raises(ValueError, match="whole number of pixels"):
            load(root=tmp_path, size=1)
