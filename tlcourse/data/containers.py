"""Labelled data as immutable values: pictures, texts and tables share one set of methods."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from tlcourse.data import splits, validate
from tlcourse.data.choices import one_of, pixels

Self = TypeVar("Self", bound="Dataset")  # typing.Self is not understood by the run-time checks of shapes


def _no_groups() -> Tensor:
    return torch.empty(0, dtype=torch.int64)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Dataset:
    """What all datasets have in common; make an `Images`, a `Texts` or a `Table`.

    name:    for plots and error messages
    labels:  class number of each item, 0 … n_classes − 1
    classes: class names; a class may be empty (a sub-set keeps the classes of the whole)
    groups:  items with the same number are kept on one side of every split; left out: each item is its own group
    meta:    further strings of each item, such as its caption or its drawing style
    """

    name: str
    labels: Int64[Tensor, " n"]
    classes: tuple[str, ...]
    groups: Int64[Tensor, " n"] = field(default_factory=_no_groups)
    meta: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = validate.labels(self.labels, self.classes)
        validate.length("inputs", len(self.inputs), n)
        if isinstance(self.groups, Tensor) and self.groups.numel() == 0:
            object.__setattr__(self, "groups", torch.arange(n))
        validate.groups(self.groups, n)
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "meta", MappingProxyType(validate.meta(self.meta, n)))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "meta": dict(self.meta)}  # a mapping proxy cannot be pickled

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, meta=MappingProxyType(state["meta"]))

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}: {len(self):,} × {self._item()}, {self.n_classes} classes)"

    @property
    def inputs(self) -> Any:
        """What a model is given: pixels, texts or features."""
        raise NotImplementedError("use Images, Texts or Table")

    @property
    def n_classes(self) -> int:
        """Number of class names, also of those that have no item here."""
        return len(self.classes)

    def counts(self) -> dict[str, int]:
        """Number of items of each class."""
        return dict(zip(self.classes, torch.bincount(self.labels, minlength=self.n_classes).tolist(), strict=True))

    def take(self: Self, indices: Int64[Tensor, " k"] | Sequence[int]) -> Self:
        """The items at these positions, in this order; repeats are allowed.

        Raises ValueError for an empty selection or a position outside 0 … n − 1.
        """
        index = validate.indices(indices, len(self))
        rows = index.tolist()
        meta = {key: tuple(column[i] for i in rows) for key, column in self.meta.items()}
        chosen: dict[str, Any] = {"labels": self.labels[index], "groups": self.groups[index], "meta": meta}
        return replace(self, **chosen, **self._take_inputs(index))

    def where(self: Self, mask: Bool[Tensor, " n"]) -> Self:
        """The items for which the mask is true, in their order."""
        return self.take(validate.mask(mask, len(self)).nonzero().flatten())

    def only(self: Self, classes: Sequence[str]) -> Self:
        """The items of these classes, renumbered in the order given. Raises KeyError for a class that is not there."""
        wanted = [self.classes.index(one_of("classes", name, self.classes)) for name in classes]
        number = torch.full((self.n_classes,), -1).scatter(0, torch.tensor(wanted), torch.arange(len(wanted)))
        part = self.where(number[self.labels] >= 0)
        return replace(part, labels=number[part.labels], classes=tuple(classes))

    def few(self: Self, k: int, seed: int, *, exact: bool = True) -> Self:
        """k random items of each class, class by class.

        The same seed gives nested sets: `few(5, 0)` is part of `few(10, 0)`, so learning curves are paired.
        With `exact=False` a class smaller than k gives all it has; otherwise that is a ValueError.
        """
        return self.take(splits.few(self.labels, self.classes, k, seed, exact=exact))

    def split(self: Self, fraction: float, seed: int) -> tuple[Self, Self]:
        """Two disjoint parts; the first has about `fraction` of each class.

        Whole groups go to one side. Where each item is its own group, the share of each class is exact to within one
        item, and every class with two items or more is on both sides.
        Raises ValueError if one side would be empty, as when all items belong to one group.
        """
        first = splits.split(self.labels, self.groups, fraction, seed)
        return self.where(first), self.where(~first)

    def relabel(self: Self, key: str) -> Self:
        """The same items with the column `key` of `meta` as labels; classes in alphabetical order."""
        column = self.meta.get(key)
        if column is None:
            raise KeyError(
                f"key={key!r} is no column of meta; choose from: {', '.join(self.meta) or 'none (meta is empty)'}."
            )
        classes = tuple(sorted(set(column)))
        number = {name: i for i, name in enumerate(classes)}
        return replace(self, classes=classes, labels=torch.tensor([number[name] for name in column]))

    def fingerprint(self) -> str:
        """sha256 of the whole content (not of `name`): the key under which results about this data may be cached."""
        digest = hashlib.sha256(type(self).__name__.encode())
        for tensor in (self.labels, self.groups):
            digest.update(tensor.contiguous().numpy().data)
        for strings in (self.classes, *(part for item in sorted(self.meta.items()) for part in ((item[0],), item[1]))):
            _add_strings(digest, strings)
        self._add_inputs(digest)
        return digest.hexdigest()

    def _take_inputs(self, index: Tensor) -> dict[str, Any]:
        raise NotImplementedError

    def _add_inputs(self, digest: Any) -> None:
        raise NotImplementedError

    def _item(self) -> str:
        raise NotImplementedError


def _add_strings(digest: Any, strings: Sequence[str]) -> None:
    """Length before content, so that ("ab", "c") and ("a", "bc") differ."""
    digest.update(len(strings).to_bytes(8, "little"))
    for text in strings:
        raw = text.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "little"))
        digest.update(raw)


def _add_tensor(digest: Any, tensor: Tensor) -> None:
    digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    digest.update(tensor.contiguous().numpy().data)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Images(Dataset):
    """Pictures as bytes 0 … 255: one channel (grey) or three (RGB)."""

    pixels: UInt8[Tensor, "n c h w"]

    def __post_init__(self) -> None:
        validate.pixels(self.pixels)
        super().__post_init__()

    @property
    def inputs(self) -> UInt8[Tensor, "n c h w"]:
        """The pixels."""
        return self.pixels

    def resized(self, size: int) -> Images:
        """The same pictures at size × size, by bilinear interpolation with anti-aliasing.

        Raises ValueError for a size outside 8 … 512.
        """
        pixels(size, 8, 512)
        drawn = F.interpolate(self.pixels.float(), (size, size), mode="bilinear", antialias=True)
        return replace(self, pixels=drawn.round().clamp(0, 255).to(torch.uint8))

    def _take_inputs(self, index: Tensor) -> dict[str, Any]:
        return {"pixels": self.pixels[index]}

    def _add_inputs(self, digest: Any) -> None:
        _add_tensor(digest, self.pixels)

    def _item(self) -> str:
        return "×".join(map(str, self.pixels.shape[1:]))


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Texts(Dataset):
    """Texts, none of them empty."""

    texts: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "texts", validate.texts(self.texts))
        super().__post_init__()

    @property
    def inputs(self) -> tuple[str, ...]:
        """The texts."""
        return self.texts

    def _take_inputs(self, index: Tensor) -> dict[str, Any]:
        return {"texts": tuple(self.texts[i] for i in index.tolist())}

    def _add_inputs(self, digest: Any) -> None:
        _add_strings(digest, self.texts)

    def _item(self) -> str:
        return "text"


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Table(Dataset):
    """Rows of measurements, all finite; `columns` names them."""

    features: Float[Tensor, "n d"]
    columns: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(self.columns))
        validate.features(self.features, self.columns)
        super().__post_init__()

    @property
    def inputs(self) -> Float[Tensor, "n d"]:
        """The features."""
        return self.features

    def _take_inputs(self, index: Tensor) -> dict[str, Any]:
        return {"features": self.features[index]}

    def _add_inputs(self, digest: Any) -> None:
        _add_tensor(digest, self.features)
        _add_strings(digest, self.columns)

    def _item(self) -> str:
        return f"{len(self.columns)} measurements"
