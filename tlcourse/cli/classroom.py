"""Checks of `tlcourse doctor` for what goes wrong in a room full of notebooks: whose Python, whose kernel, which folder
cannot be written, which port is shut."""

from __future__ import annotations

import importlib.metadata as metadata
import os
import shutil
import socket
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from tlcourse.cli.finding import Finding

PORT = 8888  # where `tlcourse lab` begins to look


def environment() -> Finding:
    """Is the environment that is activated the one that runs, and does the course in this folder come from it?"""
    import tlcourse
    from tlcourse.cli import course

    active = os.environ.get("VIRTUAL_ENV") or os.environ.get("CONDA_PREFIX")
    if active and Path(active).resolve() != Path(sys.prefix).resolve():
        remedy = f"The shell says {active}: activate {sys.prefix}, or install the course there too."
        return Finding("environment", "note", f"runs in {sys.prefix}, another one is activated", remedy)
    package = Path(tlcourse.__file__).resolve().parent
    try:
        here = course.root()
    except course.CommandError as error:
        return Finding("environment", "note", f"tlcourse from {package}", str(error))
    if (here / "tlcourse").is_dir() and (here / "tlcourse").resolve() != package:
        remedy = f"In {here} run: {course.INSTALL}"
        return Finding("environment", "problem", f"tlcourse comes from {package}, not from this folder", remedy)
    return Finding("environment", "ok", "tlcourse is that of this folder")


def kernel() -> Finding:
    """Do notebooks run on this very Python?"""
    from jupyter_client.kernelspec import KernelSpecManager

    spec = KernelSpecManager().get_kernel_spec("python3")
    program = spec.argv[0]
    version = f"ipykernel {metadata.version('ipykernel')}, JupyterLab {metadata.version('jupyterlab')}"
    found = shutil.which(program)
    if program in ("python", "python3") or Path(found or program).absolute() == Path(sys.executable).absolute():
        return Finding("kernel", "ok", version)
    remedy = "Notebooks would run on another Python. Run: python -m ipykernel install --sys-prefix --name python3"
    if found is None:
        remedy = f"That Python is gone, an old kernel was left in {getattr(spec, 'resource_dir', 'your home')}. "
        remedy += (
            "Run: jupyter kernelspec remove python3, then: python -m ipykernel install --sys-prefix --name python3"
        )
    return Finding("kernel", "problem", f"{version}, python3 is {program}", remedy)


def folders() -> Finding:
    """Can all be written that must be: progress, Jupyter's files, settings of the plots, the notebooks?"""
    import matplotlib
    from jupyter_core.paths import jupyter_config_dir, jupyter_runtime_dir

    from tlcourse.checks import progress
    from tlcourse.cli import course

    wanted = {
        "Jupyter's files (JUPYTER_RUNTIME_DIR)": Path(jupyter_runtime_dir()),
        "Jupyter's settings (JUPYTER_CONFIG_DIR)": Path(jupyter_config_dir()),
        "your progress (TLCOURSE_PROGRESS)": progress.path().parent,
        "plots (MPLCONFIGDIR)": Path(matplotlib.get_configdir()),
    }
    with suppress(course.CommandError):  # `environment` says so
        wanted["the notebooks"] = course.root() / "notebooks"
    shut = [name for name, folder in wanted.items() if not _writable(folder)]
    if shut:
        remedy = (
            "Set the variable in brackets to a folder of your own; copy the course to one to keep changed notebooks."
        )
        return Finding("folders", "problem", f"cannot be written: {', '.join(shut)}", remedy)
    return Finding("folders", "ok", "all can be written")


def port() -> Finding:
    """May a program here listen on this machine and be reached from it? Notebooks and their kernels talk that way."""
    try:
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            server.listen(1)
            with socket.create_connection(server.getsockname(), timeout=2):
                pass
    except OSError as error:
        remedy = "A firewall or a sandbox blocks 127.0.0.1: allow local connections for Python, or ask whoever runs it."
        return Finding("ports", "problem", f"no connection to this machine itself ({error})", remedy)
    with socket.socket() as server:
        if server.connect_ex(("127.0.0.1", PORT)) == 0:
            remedy = "Another server is running. `tlcourse lab` takes the next free port; mind which tab is which."
            return Finding("ports", "note", f"{PORT} is taken", remedy)
    return Finding("ports", "ok", f"{PORT} is free")


def proxy() -> Finding:
    """A proxy that also catches 127.0.0.1 keeps the browser's kernel from answering."""
    from urllib.request import getproxies, proxy_bypass

    ways = sorted(name for name in getproxies() if name in ("http", "https", "all"))
    if ways and not proxy_bypass("127.0.0.1"):
        remedy = "Set no_proxy=localhost,127.0.0.1, so that JupyterLab is reached directly."
        return Finding("proxy", "note", f"set for {', '.join(ways)}, and for this machine too", remedy)
    return Finding("proxy", "ok", f"set for {', '.join(ways)}, not for this machine" if ways else "none")


def _writable(folder: Path) -> bool:
    """Whether a file can be made in `folder`, or in the nearest folder above it that exists. `os.access` does not know
    of read-only file systems and quotas, so this tries."""
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
