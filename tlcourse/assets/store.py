"""The verified cache: a path is handed out only when every byte of the asset is as the table says."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tlcourse.assets import archive, cache, sources
from tlcourse.assets.errors import AssetCorrupt, AssetError
from tlcourse.assets.registry import Asset, find, load, near

Download = Callable[[Asset, Path, sources.Report], Path]
ATTEMPTS = 2
OK, ABSENT = "ok", "absent"


@dataclass(frozen=True)
class Store:
    """Assets of a table, kept below `cache.home()`; `download` fetches one package file."""

    assets: Mapping[str, Asset] = field(default_factory=load)
    download: Download = sources.download

    def path(self, name: str, file: str | None = None, *, progress: bool = False) -> Path:
        """Folder of an asset, or one file in it, verified; fetched when absent or damaged.

        Raises KeyError for an unknown name or file, AssetError when it cannot be had.
        """
        asset = find(self.assets, name)
        if not asset.fetched:
            raise ValueError(
                f"{name} is a part of the package {asset.package}, not a file to fetch. {asset.description}"
            )
        folder = self._present(asset) or self._fetch(asset, progress)
        if file is None:
            return folder
        names = _names(asset, folder)
        if file not in names:
            raise KeyError(f"asset {name} has no file {file!r}; {near(file, dict.fromkeys(names))}")
        return folder / file

    def fetch(self, names: Iterable[str] | None = None, *, progress: bool = False) -> dict[str, Path]:
        """Folders of `names` (default: all default assets), fetching what is absent or damaged."""
        chosen = self._chosen(
            [asset.name for asset in self.assets.values() if asset.default] if names is None else names
        )
        return {asset.name: self.path(asset.name, progress=progress) for asset in chosen if asset.fetched}

    def verify(self, names: Iterable[str] | None = None) -> dict[str, str]:
        """State of each of `names` (default: all)."""
        return {asset.name: self.state(asset) for asset in self._chosen(self.assets if names is None else names)}

    def state(self, asset: Asset) -> str:
        """ "ok", "absent", or "corrupt: " and what is wrong; looks only, fetches nothing."""
        if not asset.fetched:
            return OK
        states = [_state(asset, _folder(root, asset)) for root in cache.places()]
        return OK if OK in states else next((state for state in states if state != ABSENT), ABSENT)

    def _chosen(self, names: Iterable[str]) -> list[Asset]:
        if isinstance(names, str):
            raise TypeError(f"names must be a list of names, such as [{names!r}], not one text")
        return [find(self.assets, name) for name in names]

    def _present(self, asset: Asset) -> Path | None:
        folders = [_folder(root, asset) for root in cache.places()]
        return next((folder for folder in folders if _state(asset, folder) == OK), None)

    def _fetch(self, asset: Asset, progress: bool) -> Path:
        root = cache.workplace()
        folder = _folder(root, asset)
        # Download, unpacked files, and the downloader's own temporary copy.
        needed = asset.bytes + 2 * asset.download_bytes
        with _bar(asset, progress) as report, cache.room_for(asset.name, root), cache.locked(root, folder.name):
            if present := self._present(asset):  # another process was quicker
                return present
            with cache.workshop(folder) as workshop, cache.room_for(asset.name, workshop, needed=needed):
                made = self._attempt(asset, workshop, report)
                cache.put(made, folder, aside=workshop / "aside")
        return folder

    def _attempt(self, asset: Asset, workshop: Path, report: sources.Report) -> Path:
        """Download and unpack; a damaged download is tried once more."""
        for attempt in range(ATTEMPTS):
            place = workshop / str(attempt)
            place.mkdir()
            try:
                return _unpack(asset, self.download(asset, place, report), place / "unpacked")
            except AssetCorrupt as error:
                problem = error
        raise AssetCorrupt(
            f"{problem}\n{asset.name} was downloaded {ATTEMPTS} times and never matched the table of files. "
            "Run `tlcourse fetch` again later; if it stays so, your mirror serves another file: report it to its owner"
        )


@contextmanager
def _bar(asset: Asset, progress: bool) -> Iterator[sources.Report]:
    from tqdm.auto import tqdm

    size = asset.download_bytes
    with tqdm(total=size, desc=f"{asset.name:<18}", unit="B", unit_scale=True, disable=not progress) as bar:

        def report(done: int) -> None:
            bar.update(min(done, size) - bar.n)

        yield report
        report(size)


def _unpack(asset: Asset, package: Path, folder: Path) -> Path:
    """Check the hash of a package file, copy the wanted members to `folder`, check every one of them."""
    assert asset.archive is not None
    _demand(package, asset.archive.bytes, asset.archive.sha256)
    folder.mkdir()
    if asset.tree:
        inside = asset.tree.root + "/"
        found = (name for name in archive.names(package) if name.startswith(inside))
        wanted = {name: name.removeprefix(inside) for name in found if asset.tree.matches(name.removeprefix(inside))}
    else:
        wanted = {file.member: file.name for file in asset.files}
    archive.extract(package, wanted, folder, limit=asset.bytes)
    state = _state(asset, folder)
    if state != OK:
        raise AssetCorrupt(f"the package of {asset.name} ({asset.requirement}) unpacks to other files: {state}")
    return folder


def _demand(path: Path, size: int, sha256: str) -> None:
    if path.stat().st_size != size:
        raise AssetCorrupt(f"{path.name} has {path.stat().st_size} bytes instead of {size}")
    if cache.sha256(path) != sha256:
        raise AssetCorrupt(f"{path.name} does not hash to {sha256[:12]}…")


def _state(asset: Asset, folder: Path) -> str:
    try:
        if not folder.is_dir():
            return ABSENT
        for file in asset.files:
            _demand(folder / file.name, file.bytes, file.sha256)
        if asset.tree and cache.tree_sha256(folder, names := _names(asset, folder)) != asset.tree.sha256:
            return f"corrupt: the {len(names)} files {asset.tree.pattern} are not the {asset.tree.count} expected ones"
    except (AssetError, OSError) as error:
        return f"corrupt: {error}"
    return OK


def _names(asset: Asset, folder: Path) -> list[str]:
    if asset.tree is None:
        return [file.name for file in asset.files]
    return sorted(path.relative_to(folder).as_posix() for path in folder.glob(asset.tree.pattern))


def _folder(root: Path, asset: Asset) -> Path:
    """Named after the contents, so that two versions of the course can share a cache."""
    table = hashlib.sha256(repr((asset.files, asset.tree)).encode()).hexdigest()
    return root / "assets" / f"{asset.name}-{asset.version}-{table[:8]}"
