"""What a derived file depends on, for the key of its cache entry."""

from __future__ import annotations

from tlcourse import assets


def stamps(*names: str) -> dict[str, str]:
    """Name → sha256 of each asset's archive: another version of an asset gives another cache entry."""
    return {asset.name: asset.archive.sha256 for asset in assets.table() if asset.name in names and asset.archive}
