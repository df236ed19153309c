"""Zip and tar archives, read member by member. A member that would land outside the target is refused."""

from __future__ import annotations

import gzip
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from tlcourse.assets.errors import AssetCorrupt

CHUNK = 1 << 20


def names(archive: Path) -> list[str]:
    """Names of all members; raises AssetCorrupt if one of them points outside the archive."""
    with _reading(archive):
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                found = opened.namelist()
        else:
            with tarfile.open(archive) as tar:
                found = tar.getnames()
    for name in found:
        _demand_inside(name, archive)
    return found


def extract(archive: Path, wanted: Mapping[str, str], folder: Path, *, limit: int) -> None:
    """Copy members to files in `folder`. `wanted` maps member to file name; "a.tar.gz!b" is b within a.

    Raises AssetCorrupt for a damaged archive, an absent member, a link, a path that escapes, or more than `limit` bytes
    (a small archive can unpack to a disk full of zeros).
    """
    direct = {member: target for member, target in wanted.items() if "!" not in member}
    nested: dict[str, dict[str, str]] = {}
    for member, target in wanted.items():
        if "!" in member:
            outer, inner = member.split("!", 1)
            nested.setdefault(outer, {})[inner] = target
    present = set(names(archive))
    for member in [*direct, *nested]:
        if member not in present:
            raise AssetCorrupt(f"{archive.name} has no member {member!r}; the package is not the one that was expected")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        inner_files = {outer: Path(scratch) / str(number) for number, outer in enumerate(nested)}
        _copy(archive, {member: _inside(folder, target) for member, target in direct.items()}, limit)
        _copy(archive, inner_files, limit + 2 * archive.stat().st_size)  # an archive hardly compresses again
        for outer, members in nested.items():
            extract(inner_files[outer], members, folder, limit=limit)


def _copy(archive: Path, targets: Mapping[str, Path], limit: int) -> None:
    left = limit
    with _reading(archive):
        for member, stream in _members(archive, targets):
            targets[member].parent.mkdir(parents=True, exist_ok=True)
            with targets[member].open("wb") as out:
                while block := stream.read(CHUNK):
                    left -= len(block)
                    if left < 0:
                        raise AssetCorrupt(f"{archive.name} unpacks to more than the {limit} bytes that were expected")
                    out.write(block)


def _members(archive: Path, wanted: Mapping[str, Path]) -> Iterator[tuple[str, IO[bytes]]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for member in wanted:
                if stat.S_ISLNK(opened.getinfo(member).external_attr >> 16):
                    raise AssetCorrupt(f"{archive.name}: member {member!r} is a link; only plain files are read")
                with opened.open(member) as content:
                    yield member, content
        return
    with tarfile.open(archive) as tar:
        for info in tar:  # in the order of the archive: a compressed tar cannot jump
            if info.name not in wanted:
                continue
            stream = tar.extractfile(info) if info.isreg() else None
            if stream is None:
                raise AssetCorrupt(f"{archive.name}: member {info.name!r} is no plain file; only plain files are read")
            yield info.name, stream


@contextmanager
def _reading(archive: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise AssetCorrupt(f"{archive.name} is damaged or incomplete ({error})") from error


def _demand_inside(name: str, archive: Path) -> None:
    windows = PureWindowsPath(name)
    if not name or windows.drive or windows.root or PurePosixPath(name).is_absolute() or ".." in windows.parts:
        raise AssetCorrupt(f"{archive.name}: member {name!r} points outside the archive; refused")


def _inside(folder: Path, target: str) -> Path:
    path = folder / target
    if not path.resolve().is_relative_to(folder.resolve()) or path == folder:
        raise AssetCorrupt(f"file name {target!r} points outside {folder}; refused")
    return path
