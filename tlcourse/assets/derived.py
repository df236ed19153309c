"""What is costly to make from assets (rendered emoji, features, converted weights), made once and kept."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tlcourse.assets import cache

MANIFEST = "manifest.json"


def derived(kind: str, key: Mapping[str, Any], build: Callable[[Path], object], *, progress: bool = False) -> Path:
    """Folder with the files that `build(folder)` writes, built only when it is absent or damaged.

    `key` holds everything that the result depends on (JSON types only), so a new version of the method is a new
    entry. Processes that ask for the same entry at once wait for one build. A build that fails leaves nothing.
    Raises ValueError for a bad kind or key, and whatever `build` raises.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", kind):
        raise ValueError(f"kind must be a short name of a-z, 0-9, _ and -, not {kind!r}")
    written = _canonical(key)
    entry = Path("derived") / kind / hashlib.sha256(written.encode()).hexdigest()[:24]
    if present := _present(entry):
        return present
    root = cache.workplace()
    folder = root / entry
    with cache.room_for(kind, root), cache.locked(root, f"{kind}-{folder.name}"):
        if present := _present(entry):  # another process was quicker
            return present
        with cache.workshop(folder) as workshop:
            made = workshop / "made"
            made.mkdir()
            with _note(kind, progress):
                build(made)
            _write_manifest(made, written)
            cache.put(made, folder, aside=workshop / "aside")
    return folder


def _canonical(key: Mapping[str, Any]) -> str:
    try:
        return json.dumps(dict(key), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"key must hold only text, numbers, lists and mappings of these: {error}") from error


def _present(entry: Path) -> Path | None:
    return next((root / entry for root in cache.places() if _whole(root / entry)), None)


def _whole(folder: Path) -> bool:
    """Whether every file of the manifest is there, unchanged."""
    try:
        files = json.loads((folder / MANIFEST).read_text("utf-8"))["files"]
        return all(cache.sha256(folder / name) == digest for name, digest in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _write_manifest(folder: Path, key: str) -> None:
    files = {path.relative_to(folder).as_posix(): cache.sha256(path) for path in folder.rglob("*") if path.is_file()}
    if not files:
        raise ValueError(f"build wrote no file into {folder}; write the result there")
    (folder / MANIFEST).write_text(json.dumps({"key": json.loads(key), "files": files}, indent=1), "utf-8")


def _note(kind: str, progress: bool) -> Any:
    from tqdm.auto import tqdm

    return tqdm(desc=f"{kind}: made once, then kept", bar_format="{desc} … {elapsed}", disable=not progress)
