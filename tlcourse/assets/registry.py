"""The table of files: what the course fetches, from where, its hash, its licence."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

KINDS = ("wheel", "sdist", "npm", "library")
TABLE = Path(__file__).with_name("registry.toml")


@dataclass(frozen=True)
class AssetFile:
    """One file: its name in our cache, and the member of the archive that it is copied from."""

    name: str
    member: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Tree:
    """Many files under one hash: all members below `root` that match `pattern`."""

    root: str
    pattern: str
    count: int
    bytes: int
    sha256: str

    def matches(self, name: str) -> bool:
        """Whether `name` (relative to the root) belongs to the tree; `*` never crosses a folder."""
        parts, patterns = name.split("/"), self.pattern.split("/")
        return len(parts) == len(patterns) and PurePosixPath(name).match(self.pattern)


@dataclass(frozen=True)
class Archive:
    """The package file that is downloaded."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Asset:
    """One entry of the table. `archive` is None for what an installed library brings along."""

    name: str
    title: str
    kind: str
    package: str
    licence: str
    citation: str
    url: str
    description: str
    version: str = ""
    default: bool = True
    archive: Archive | None = None
    files: tuple[AssetFile, ...] = ()
    tree: Tree | None = None

    @property
    def bytes(self) -> int:
        """Size in the cache."""
        return sum(file.bytes for file in self.files) + (self.tree.bytes if self.tree else 0)

    @property
    def download_bytes(self) -> int:
        """Size of the download."""
        return self.archive.bytes if self.archive else 0

    @property
    def fetched(self) -> bool:
        """Whether there is something to fetch."""
        return self.kind != "library"

    @property
    def requirement(self) -> str:
        """What a person would ask the package registry for."""
        if not self.fetched:
            return self.package
        return f"{self.package}@{self.version}" if self.kind == "npm" else f"{self.package}=={self.version}"


def load(table: Path = TABLE) -> dict[str, Asset]:
    """Read and validate a table; raises ValueError that names the entry and the field."""
    return {name: _asset(name, entry) for name, entry in tomllib.loads(table.read_text("utf-8")).items()}


def find(assets: Mapping[str, Asset], name: str) -> Asset:
    """The entry called `name`; raises KeyError that lists the near matches."""
    if name not in assets:
        raise KeyError(f"no asset is called {name!r}; {near(name, assets)}")
    return assets[name]


def near(name: str, names: Mapping[str, object]) -> str:
    """A hint for a mistyped name."""
    close = difflib.get_close_matches(str(name), list(names), n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"there are: {', '.join(names)}"


def _asset(name: str, entry: Mapping[str, Any]) -> Asset:
    known = {field.name for field in fields(Asset)} - {"name"}
    for field in entry:
        if field not in known:
            raise ValueError(f"asset {name}: unknown field {field!r}; {near(field, dict.fromkeys(known))}")
    values = dict(entry)
    try:
        if "archive" in values:
            values["archive"] = Archive(**values["archive"])
        if "tree" in values:
            values["tree"] = Tree(**values["tree"])
        values["files"] = tuple(AssetFile(**file) for file in values.get("files", ()))
        asset = Asset(name=name, **values)
    except TypeError as error:
        raise ValueError(f"asset {name}: a field is missing or misspelt: {error}") from error
    _validate(asset)
    return asset


def _validate(asset: Asset) -> None:
    def demand(condition: object, problem: str) -> None:
        if not condition:
            raise ValueError(f"asset {asset.name}: {problem}")

    demand(re.fullmatch(r"[a-z][a-z0-9_]*", asset.name), "the name may hold only a-z, 0-9 and _")
    demand(asset.kind in KINDS, f"kind {asset.kind!r} is none of {', '.join(KINDS)}")
    for field in ("title", "package", "licence", "citation", "url", "description"):
        demand(getattr(asset, field), f"{field} is empty")
    if not asset.fetched:
        demand(not (asset.archive or asset.files or asset.tree), "a library part has nothing to fetch")
        return
    demand(asset.version, "version is empty")
    demand(asset.archive, "archive (bytes, sha256) is missing")
    demand(bool(asset.files) != bool(asset.tree), "give either files or a tree")
    for part in (asset.archive, asset.tree, *asset.files):
        if part is not None:
            demand(re.fullmatch(r"[0-9a-f]{64}", part.sha256), f"not a sha256: {part.sha256!r}")
            demand(part.bytes > 0, f"bytes must be positive, not {part.bytes}")
    names = [file.name for file in asset.files]
    demand(len(set(names)) == len(names), "two files have the same name")
