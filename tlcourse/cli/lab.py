"""`tlcourse lab`: JupyterLab on this machine only, with the first lesson open."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from pathlib import Path

from tlcourse.cli import course


def server_arguments(folder: Path, *, port: int, browser: bool, token: str) -> list[str]:
    """JupyterLab's options for the course in `folder`."""
    options = [
        f"--ServerApp.root_dir={folder}",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        f"--IdentityProvider.token={token}",
        "--ServerApp.log_level=WARN",  # leaves the address, without forty lines above it
        f"--LabApp.default_url=/lab/tree/{course.START.as_posix()}",
    ]
    if not browser:
        options.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--allow-root")  # containers and classroom servers; the token still guards the door
    return options


def run(arguments: argparse.Namespace) -> int:
    """Fetch what is missing, then serve until interrupted."""
    folder = course.root()
    try:
        from jupyter_server.auth.identity import IdentityProvider
        from jupyterlab.labapp import LabApp
    except ModuleNotFoundError as error:
        raise course.CommandError(
            f"JupyterLab is not installed ({error.name} is missing). Run: {course.INSTALL}"
        ) from error
    if not arguments.no_fetch:
        _fetch()
    # `!tlcourse` and `!pip` in a notebook must be those of this environment, activated or not.
    scripts = Path(sys.executable).parent
    os.environ["PATH"] = f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}"
    # Given by us, there is a token whatever the user's Jupyter settings say; marked as generated, it is shown.
    IdentityProvider.token_generated = True
    options = server_arguments(
        folder, port=arguments.port, browser=not arguments.no_browser, token=secrets.token_hex(24)
    )
    LabApp.launch_instance([*options, *arguments.options])
    return 0


def _fetch() -> None:
    """Fetch all assets; without a network the course still opens, and each lesson says what it lacks."""
    from tlcourse import assets

    try:
        assets.fetch()
    except assets.AssetError as error:
        print(f"tlcourse: {error}\nOpening the course all the same.", file=sys.stderr)
