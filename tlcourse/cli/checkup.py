"""The checks of `tlcourse doctor`: the machine here, the classroom in `classroom`.

Each returns one Finding and must work on a broken installation, so each imports what it needs for itself.
"""

from __future__ import annotations

import importlib.metadata as metadata
import os
import platform
import shutil
import subprocess
import sys

from tlcourse.cli.classroom import environment, folders, kernel, port, proxy
from tlcourse.cli.course import INSTALL
from tlcourse.cli.finding import Check, Finding

NEEDED_MEMORY = 3e9  # bytes; the budget of a lesson
_TELLING = ("torch", "torchvision", "timm", "transformers", "accelerate", "numpy", "scikit-learn", "matplotlib")
_SETTINGS = ("TLCOURSE_HOME", "TLCOURSE_SOURCE", "TLCOURSE_DEVICE", "TLCOURSE_PROGRESS", "HF_HUB_OFFLINE")
_PROXIES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "PIP_INDEX_URL")


def python() -> Finding:
    """Interpreter, system and environment."""
    value = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.prefix == sys.base_prefix and "CONDA_PREFIX" not in os.environ:
        return Finding("Python", "note", f"{value}, no environment", "Use an environment of its own: see the README.")
    return Finding("Python", "ok", f"{value}, in an environment")


def packages() -> Finding:
    """Every package that the course declares, at a version that it accepts."""
    from packaging.requirements import Requirement

    wrong = []
    for line in metadata.requires("tlcourse") or []:
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": "notebooks"}):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} missing")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} {version} (needs {requirement.specifier})")
    if wrong:
        return Finding("packages", "problem", ", ".join(wrong), f"Run: {INSTALL}")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in _TELLING)
    return Finding("packages", "ok", f"tlcourse {metadata.version('tlcourse')}, {versions}")


def device() -> Finding:
    """What the lessons compute on."""
    import torch

    from tlcourse import training

    chosen = training.device()
    if chosen.type == "cuda":
        return Finding("device", "ok", f"cuda: {torch.cuda.get_device_name(chosen)}")
    if chosen.type == "cpu" and shutil.which("nvidia-smi"):
        remedy = (
            f"torch {torch.__version__} cannot use the graphics card: update its driver. The CPU is enough meanwhile."
        )
        return Finding("device", "note", "cpu, although there is an NVIDIA driver", remedy)
    return Finding("device", "ok", str(chosen))


def threads() -> Finding:
    """Cores (fewer than the machine has, in a container) and the threads that torch will use on them."""
    import joblib
    import torch

    cores = joblib.cpu_count()
    value = f"{torch.get_num_threads()} on {cores} cores"
    if torch.get_num_threads() > cores:
        remedy = f"More threads than cores slow a lesson down: set OMP_NUM_THREADS={cores}."
        return Finding("threads", "note", value, remedy)
    if cores < 2:
        return Finding("threads", "note", value, "Lessons are measured on two cores; this machine needs more time.")
    return Finding("threads", "ok", value)


def memory() -> Finding:
    """Free memory against the budget of a lesson."""
    import psutil

    memory = psutil.virtual_memory()
    value = f"{memory.available / 1e9:.1f} GB free of {memory.total / 1e9:.1f} GB"
    if memory.available < NEEDED_MEMORY:
        return Finding("memory", "note", value, "A lesson may need 3 GB: shut down other kernels and programs first.")
    return Finding("memory", "ok", value)


def cache() -> Finding:
    """Models and data: present and undamaged?"""
    from tlcourse import assets

    states = assets.verify()
    there = sum(state == "ok" for state in states.values())
    value = f"{there} of {len(states)} assets in {assets.home()}"
    damaged = [name for name, state in states.items() if state.startswith("corrupt")]
    if damaged:
        return Finding("assets", "problem", f"{value}; damaged: {', '.join(damaged)}", "Run: tlcourse fetch")
    if there < len(states):
        return Finding("assets", "note", value, "Run once, with a network: tlcourse fetch")
    return Finding("assets", "ok", value)


def disk() -> Finding:
    """Room for what is not downloaded yet and for what the lessons derive from it."""
    from tlcourse import assets

    folder = assets.home()
    while not folder.exists():
        folder = folder.parent
    states = assets.verify()
    # Archive and content lie side by side for a moment, and de-quantised weights and features come on top.
    needed = 1e9 + sum(2 * asset.bytes for asset in assets.table() if states[asset.name] != "ok")
    free = shutil.disk_usage(folder).free
    value = f"{free / 1e9:.1f} GB free"
    if not os.access(folder, os.W_OK):
        value += ", cache is read-only"
    if free < needed:
        remedy = f"Free {needed / 1e9:.1f} GB, or set TLCOURSE_HOME to a folder on another disk."
        return Finding("disk", "problem", value, remedy)
    return Finding("disk", "ok", value)


def network() -> Finding:
    """Does the package index that pip is set up for have what the course fetches?"""
    from tlcourse import assets

    package = next(asset.package for asset in assets.table() if asset.kind == "wheel")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--timeout", "5"]
    command += ["--retries", "0", "index", "versions", package]
    try:
        answer = subprocess.run(command, capture_output=True, timeout=30).returncode == 0
    except subprocess.TimeoutExpired:
        answer = False
    if answer:
        return Finding("network", "ok", "the package index answers")
    remedy = "Needed only to fetch: check the connection, or the proxy and mirror settings of pip (pip config list)."
    return Finding("network", "note", "the package index does not answer", remedy)


def settings() -> Finding:
    """Settings from outside that change what the course does; proxies only by name, as they may hold passwords."""
    shown = [f"{name}={os.environ[name]}" for name in _SETTINGS if os.environ.get(name)]
    shown += [f"{name} is set" for name in _PROXIES if os.environ.get(name)]
    return Finding("settings", "ok", ", ".join(shown) or "none")


ONLINE: tuple[Check, ...] = (network,)
CHECKS: tuple[Check, ...] = (
    python,
    environment,
    packages,
    device,
    threads,
    memory,
    cache,
    disk,
    folders,
    network,
    proxy,
    port,
    kernel,
    settings,
)
