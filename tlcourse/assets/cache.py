"""Folders of files that several processes share: where they are, locks, hashes, atomic moves."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tlcourse.assets.errors import NO_ROOM, NOT_WRITABLE, AssetError, no_space

_hashes: dict[Path, tuple[tuple[int, int, int], str]] = {}


def home() -> Path:
    """The cache: the environment variable TLCOURSE_HOME, else this user's cache folder."""
    chosen = os.environ.get("TLCOURSE_HOME")
    return Path(chosen).expanduser().absolute() if chosen else personal()


def personal() -> Path:
    """This user's own cache folder."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("tlcourse", appauthor=False))


def places() -> tuple[Path, ...]:
    """Where to look, in order: a class may share a read-only TLCOURSE_HOME, with a personal cache beside it."""
    first = home()
    return (first,) if writable(first) else (first, personal())


def workplace() -> Path:
    """Where to put what is new: the last of the places. Raises AssetError if it cannot be written either."""
    place = places()[-1]
    if not writable(place):
        raise AssetError(f"{place} cannot be written; set TLCOURSE_HOME to a folder of your own")
    return place


def writable(folder: Path) -> bool:
    """Whether files can be made in `folder`. Tried for real: permission bits say nothing about a read-only disk."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError as error:
        if error.errno in NOT_WRITABLE:
            return False
        if error.errno in NO_ROOM:  # full, which is said when something is to be written
            return True
        raise AssetError(f"{folder} cannot hold the cache ({error}); set TLCOURSE_HOME to a folder") from error


@contextmanager
def locked(root: Path, name: str) -> Iterator[None]:
    """Hold the lock `name` of a cache; other processes wait. The system lets go of it when a process is killed."""
    from filelock import FileLock

    folder = root / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{name}.lock"):
        yield


@contextmanager
def workshop(target: Path) -> Iterator[Path]:
    """A new folder beside `target` to work in, removed afterwards. Call it with the lock of `target` held.

    What a killed process left behind is removed too: only the holder of the lock works here.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.name}."
    _clear(target.parent, prefix)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
    try:
        yield folder
    finally:
        _clear(target.parent, prefix)


def _clear(folder: Path, prefix: str) -> None:
    for stale in folder.glob(prefix + "*"):
        shutil.rmtree(stale, ignore_errors=True)


def put(folder: Path, target: Path, *, aside: Path) -> None:
    """Move a finished folder into place in one step; what was there goes to `aside`."""
    if target.exists():
        target.rename(aside)
    folder.rename(target)


def sha256(path: Path) -> str:
    """Hash of a file, computed once per process unless the file changed (size, time or inode)."""
    stat = path.stat()
    stamp = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
    known = _hashes.get(path)
    if known is None or known[0] != stamp:
        with path.open("rb") as stream:
            known = _hashes[path] = (stamp, hashlib.file_digest(stream, "sha256").hexdigest())
    return known[1]


def tree_sha256(folder: Path, names: list[str]) -> str:
    """One hash over the sorted lines "<sha256>  <name>" of many files."""
    lines = sorted(f"{sha256(folder / name)}  {name}\n" for name in names)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@contextmanager
def room_for(what: str, folder: Path, *, needed: int | None = None) -> Iterator[None]:
    """Turn a full disk into an error with its remedy, before starting where that can be known."""
    if needed is not None and shutil.disk_usage(folder).free < needed:
        raise no_space(what, folder, needed=needed)
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise no_space(what, folder, needed=needed) from error
        raise
