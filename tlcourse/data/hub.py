"""Larger counterparts of the built-in sets, for readers with internet: torchvision, MedMNIST and Hugging Face.

Files are kept in `root`, by default `hub/NAME` in the cache (`assets.home()`). Where a set is there already, in the
format of its publisher, nothing is downloaded.
"""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from tlcourse import assets
from tlcourse.assets import cache
from tlcourse.data.choices import one_of, pixels
from tlcourse.data.containers import Images, Texts
from tlcourse.data.own import read_image
from tlcourse.data.splits import held_out

SECONDS_TO_WAIT = 20


def cifar10(part: str = "train", *, root: str | Path | None = None, size: int = 32) -> Images:
    """CIFAR-10: 50,000 and 10,000 small photographs in 10 classes (Krizhevsky 2009). Counterpart of `emoji`."""
    one_of("part", part, ("train", "test"))
    pixels(size, 8, 1024)
    folder = _folder("cifar10", root)
    with _hub("CIFAR-10", folder, "data.emoji()"):
        from torchvision.datasets import CIFAR10

        source = _open(lambda download: CIFAR10(str(folder), train=part == "train", download=download))
    photographs = torch.from_numpy(source.data).permute(0, 3, 1, 2).contiguous()
    return _images("cifar10", photographs, torch.tensor(source.targets), source.classes, size)


def flowers102(part: str = "train", *, root: str | Path | None = None, size: int = 96) -> Images:
    """Oxford Flowers: photographs of 102 kinds of flowers, 10 of each to train with (Nilsback and Zisserman 2008).

    part: "train" (1,020), "validation" (1,020) or "test" (6,149), as published
    """
    one_of("part", part, ("train", "validation", "test"))
    pixels(size, 8, 1024)
    split = "val" if part == "validation" else part
    folder = _folder("flowers102", root)
    with _hub("Oxford Flowers 102", folder, "data.emoji(label='subgroup')"):
        from torchvision.datasets import Flowers102

        source = _open(lambda download: Flowers102(str(folder), split=split, download=download))
    photographs = torch.stack([read_image(Path(file), size) for file in source._image_files])
    names = getattr(source, "classes", None) or [f"flower {i}" for i in range(1, 103)]
    return _images("flowers102", photographs, torch.tensor(source._labels), names, size)


def eurosat(part: str = "train", *, root: str | Path | None = None, size: int = 64) -> Images:
    """EuroSAT: 27,000 satellite pictures of 10 kinds of land use (Helber et al. 2019).

    It has no published split: "train" (70 %) and "test" are chosen by the names of the files, and so never change.
    """
    one_of("part", part, ("train", "test"))
    pixels(size, 8, 1024)
    folder = _folder("eurosat", root)
    with _hub("EuroSAT", folder, "data.textiles()"):
        from torchvision.datasets import EuroSAT

        source = _open(lambda download: EuroSAT(str(folder), download=download))
    files, labels = [Path(file) for file, _ in source.samples], torch.tensor([label for _, label in source.samples])
    test = held_out([file.name for file in files], labels, 0.3)
    chosen = (test if part == "test" else ~test).nonzero().flatten().tolist()
    pictures = torch.stack([read_image(files[i], size) for i in chosen])
    return _images("eurosat", pictures, labels[chosen], source.classes, size)


def pneumonia_mnist(part: str = "train", *, root: str | Path | None = None, size: int = 64) -> Images:
    """PneumoniaMNIST: 5,856 chest X-rays of children, grey (Yang et al. 2023). Counterpart of `textiles`.

    part: "train" (4,708), "validation" (524) or "test" (624), as published; published sizes are 28, 64, 128 and 224
    """
    one_of("part", part, ("train", "validation", "test"))
    pixels(size, 8, 224)
    folder = _folder("pneumonia_mnist", root)
    published = next(s for s in (28, 64, 128, 224) if s >= size)
    split = "val" if part == "validation" else part
    with _hub("PneumoniaMNIST", folder, "data.textiles()"):
        from medmnist import PneumoniaMNIST

        folder.mkdir(parents=True, exist_ok=True)
        source = _open(lambda d: PneumoniaMNIST(split=split, root=str(folder), size=published, download=d))
    labels = torch.from_numpy(source.labels).flatten().long()
    return _images("pneumonia_mnist", torch.from_numpy(source.imgs)[:, None], labels, ("normal", "pneumonia"), size)


def sst2(part: str = "train", *, root: str | Path | None = None) -> Texts:
    """SST-2: phrases of film reviews (Socher et al. 2013). Counterpart of `sentiment("movies")`.

    part: "train" (67,349) or "test" (872, the published validation part: the labels of the test part are secret)
    """
    one_of("part", part, ("train", "test"))
    split = "validation" if part == "test" else "train"
    with _hub("SST-2", _folder("sst2", root), 'data.sentiment("movies")'):
        rows = _parquet("stanfordnlp/sst2", "sst2", split, root)
    return _texts("sst2", rows["sentence"], rows["label"], ("negative", "positive"))


def ag_news(part: str = "train", *, root: str | Path | None = None) -> Texts:
    """AG News: 120,000 and 7,600 news items on four subjects (Zhang et al. 2015). Counterpart of `sentiment("nyt")`."""
    one_of("part", part, ("train", "test"))
    with _hub("AG News", _folder("ag_news", root), 'data.sentiment("nyt")'):
        rows = _parquet("fancyzhx/ag_news", "ag_news", part, root)
    return _texts("ag_news", rows["text"], rows["label"], ("World", "Sports", "Business", "Sci/Tech"))


def _open(dataset: Callable[[bool], Any]) -> Any:
    """Without a download where the files are there; with one otherwise."""
    try:
        return dataset(False)
    except RuntimeError:
        return dataset(True)


def _parquet(repository: str, name: str, split: str, root: str | Path | None) -> Any:
    """The columns of one split, from parquet files in the folder, fetched if there are none."""
    from datasets import load_dataset

    folder = _folder(name, root)
    if not (files := sorted(folder.rglob(f"{split}-*.parquet"))):
        from huggingface_hub import constants, snapshot_download

        _reach(f"{constants.ENDPOINT}/datasets/{repository}")
        snapshot_download(repository, repo_type="dataset", local_dir=folder, allow_patterns=[f"*{split}-*.parquet"])
        files = sorted(folder.rglob(f"{split}-*.parquet"))
    data_files = {split: list(map(str, files))}
    return load_dataset("parquet", data_files=data_files, split=split, cache_dir=str(folder / "cache"))[:]


def _reach(url: str) -> None:
    """Fail at once without a network: the Hugging Face client would try again for half a minute."""
    with suppress(urllib.error.HTTPError):  # an answer all the same
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=SECONDS_TO_WAIT).close()


def _folder(name: str, root: str | Path | None) -> Path:
    """`root`, or where the data set is, or where it will be: a shared cache may be there for reading alone."""
    if root is not None:
        return Path(root).expanduser()
    there = (place / "hub" / name for place in cache.places())
    found = next((folder for folder in there if folder.is_dir()), None)
    return found or cache.workplace() / "hub" / name  # only what is new needs a place to write


@contextmanager
def _hub(title: str, folder: Path, instead: str) -> Iterator[None]:
    """Turn what goes wrong on the way to the internet into one error with a remedy."""
    waited = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS_TO_WAIT)  # the libraries set none, and would wait for ever
    try:
        yield
    except ImportError as error:
        raise assets.AssetUnavailable(f'{title} needs {error.name}; run: python -m pip install -e ".[hub]"') from error
    except (OSError, RuntimeError) as error:
        raise assets.AssetUnavailable(
            f"{title} is not in {folder} and could not be downloaded ({type(error).__name__}: {error}). "
            f"Try again with internet access, put its files there, or use {instead}, which needs no download."
        ) from error
    finally:
        socket.setdefaulttimeout(waited)


def _images(
    name: str, pictures: UInt8[Tensor, "n c h w"], labels: Int64[Tensor, " n"], classes: Sequence[str], size: int
) -> Images:
    if pictures.shape[-1] != size:
        from torchvision.transforms.v2.functional import resize

        pictures = torch.cat([resize(batch, [size, size], antialias=True) for batch in pictures.split(1000)])
    return Images(name=name, pixels=pictures, labels=labels, classes=tuple(classes))


def _texts(name: str, texts: Sequence[str], labels: Sequence[int], classes: tuple[str, ...]) -> Texts:
    stripped = tuple(text.strip() for text in texts)
    return Texts(name=name, texts=stripped, labels=torch.tensor(labels), classes=classes)
