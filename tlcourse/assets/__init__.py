"""Files of the course: what to fetch, from where, its hash, and a cache that is verified before use.

folder = assets.path("minilm")                    # fetched on first use
weights = assets.path("minilm", "model.safetensors")
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache as _once
from pathlib import Path

from tlcourse.assets import store as _store
from tlcourse.assets.cache import home
from tlcourse.assets.derived import derived
from tlcourse.assets.errors import AssetCorrupt, AssetError, AssetNoSpace, AssetUnavailable
from tlcourse.assets.registry import Archive, Asset, AssetFile, Tree

__all__ = [
    "Archive",
    "Asset",
    "AssetCorrupt",
    "AssetError",
    "AssetFile",
    "AssetNoSpace",
    "AssetUnavailable",
    "Tree",
    "derived",
    "fetch",
    "home",
    "path",
    "table",
    "verify",
]


@_once
def _default() -> _store.Store:
    return _store.Store()


def table() -> tuple[Asset, ...]:
    """Every asset, with its licence, citation and sizes."""
    return tuple(_default().assets.values())


def path(name: str, file: str | None = None, *, progress: bool = True) -> Path:
    """Verified folder of an asset, or one file in it; fetched (with a progress bar) when absent or damaged.

    Raises KeyError for an unknown name or file (with the near matches), ValueError for a part of an installed
    library, and AssetError when the files cannot be had.
    """
    return _default().path(name, file, progress=progress)


def fetch(names: Iterable[str] | None = None, *, progress: bool = True) -> dict[str, Path]:
    """Fetch whatever is absent or damaged among `names` (default: every default asset); folders by name.

    After a failure run it again: what has arrived is kept. Raises KeyError and AssetError as `path` does.
    """
    return _default().fetch(names, progress=progress)


def verify(names: Iterable[str] | None = None) -> dict[str, str]:
    """State of each asset without fetching: "ok", "absent", or "corrupt: …"."""
    return _default().verify(names)
