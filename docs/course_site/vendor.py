"""Files of other projects that pages load: one table, fetched and verified as the course's models and data are."""

from __future__ import annotations

import shutil
from pathlib import Path

from tlcourse.assets import registry
from tlcourse.assets.store import Store

TABLE = Path(__file__).parents[1] / "vendor.toml"


def path(name: str, file: str) -> Path:
    """The verified local `file` of the entry `name` in vendor.toml; fetched from npm on first use."""
    return Store(registry.load(TABLE)).path(name, file, progress=True)


def copy(name: str, folder: Path) -> list[str]:
    """Copy all files of the entry `name` to `folder`, unless they are there; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [file.name for file in registry.load(TABLE)[name].files]
    for file in files:
        source, target = path(name, file), folder / file
        if not target.exists() or target.read_bytes() != source.read_bytes():
            shutil.copyfile(source, target)
    return files
