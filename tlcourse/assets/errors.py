"""What can go wrong with a file of the course. Every message says what to do next."""

from __future__ import annotations

import errno
from pathlib import Path

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
NOT_WRITABLE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class AssetError(RuntimeError):
    """A file that the course needs cannot be had."""


class AssetUnavailable(AssetError):
    """Not in the cache, and the package registry did not serve it."""


class AssetCorrupt(AssetError):
    """What was downloaded is not what the registry table promises."""


class AssetNoSpace(AssetError):
    """The disk, or the quota, has no room for it."""


def no_space(what: str, folder: Path, *, needed: int | None = None) -> AssetNoSpace:
    """The error for a full disk, with its remedy."""
    room = f" (about {needed / 1e6:.0f} MB are needed)" if needed else ""
    return AssetNoSpace(
        f"no room for {what} in {folder}{room}; free some space there, "
        "or set the environment variable TLCOURSE_HOME to a folder on a larger disk and run `tlcourse fetch`"
    )
