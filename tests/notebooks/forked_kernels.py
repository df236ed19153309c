"""Kernels that are forked from a process with the large libraries in it, so that sixty notebooks import them once.

Importing torch, torchvision and transformers takes longer than many a notebook. Nothing of the course is imported
beforehand: what a notebook needs of `tlcourse` it has to import, and each kernel is a process of its own, as ever.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

LIBRARIES = [
    "torch",
    "torchvision",
    "transformers",
    "timm",
    "scipy.stats",
    "sklearn.linear_model",
    "ipykernel.kernelapp",
]
NAME = "forked"
TESTS = Path(__file__).parents[1]


def install() -> None:
    """Make it the default for all kernels that this process starts, where the system can fork (Linux)."""
    if sys.platform != "linux":
        return
    factory = KernelProvisionerFactory.instance()
    factory.provisioners[NAME] = EntryPoint(NAME, f"{__name__}:ForkedProvisioner", factory.GROUP_NAME)
    factory.default_provisioner_name = NAME


class ForkedProvisioner(LocalProvisioner):
    """Starts `python -m MODULE ARGUMENTS` as a fork of the server."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        if cmd[0] != sys.executable or cmd[1] != "-m":
            return await super().launch_kernel(cmd, **kwargs)
        server = multiprocessing.get_context("forkserver")
        server.set_forkserver_preload(LIBRARIES)
        process = server.Process(target=_run, args=(cmd[2:], kwargs["env"], kwargs.get("cwd")))
        process.start()
        self.process = _Popen(process)
        self.pid = self.pgid = process.pid
        return self.connection_info


class _Popen:
    """What a provisioner asks of a subprocess.Popen."""

    stdin = stdout = stderr = None

    def __init__(self, process: Any) -> None:
        self._process, self.pid = process, process.pid
        self.kill, self.terminate = process.kill, process.terminate

    def poll(self) -> int | None:
        return None if self._process.is_alive() else self._process.exitcode

    def wait(self) -> int | None:
        self._process.join()
        return self._process.exitcode

    def send_signal(self, signum: int) -> None:
        os.kill(self.pid, signum)


def _run(command: list[str], env: dict[str, str], cwd: str | None) -> None:
    """In the fork: become `python -m MODULE ARGUMENTS`."""
    os.setsid()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.environ.clear()
    os.environ.update(env, JPY_PARENT_PID=str(os.getppid()))  # it ends when the server does
    sys.dont_write_bytecode = False  # sixty kernels compile the course once, even where the system says never to
    os.chdir(cwd or ".")
    sys.path[:] = [entry for entry in sys.path if not Path(entry).is_relative_to(TESTS)]
    sys.argv = command
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)
