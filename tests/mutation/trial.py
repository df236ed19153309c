"""Try mutants in a copy of the project: one warm process, and a fork of it for each mutant.

The parent imports the heavy libraries and never the package under test; a child imports the copy, with the fault in
it, runs the test files that reach the line, and dies. Nothing of the checkout is written, and neither is its cache.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import pytest
from mutants import Mutant

Verdict = Literal["killed", "timeout", "survived"]
WARM = ("torchvision", "transformers", "peft", "timm", "sklearn", "scipy.stats", "hypothesis", "river", "beartype.claw")
SECONDS = 60
MEMORY = 8 << 30
NOT_OURS = 99  # a child found the package of another checkout


class Project:
    """A copy of the project under `root`, and what each test file of one package reaches."""

    def __init__(self, root: Path, package: str, *, name: str = "tlcourse", warm: Sequence[str] = WARM) -> None:
        self.package, self.name = package, name
        self.folder = Path(tempfile.mkdtemp(prefix="mutation-"))
        self.folder.chmod(0o755)  # a test gives up its rights and must still be able to read
        self.copy = self.folder / "project"
        ignore = shutil.ignore_patterns("__pycache__", "*.ipynb", "results")
        for part in (name, "conftest.py", "pyproject.toml", "tests"):
            if (root / part).is_dir():
                shutil.copytree(root / part, self.copy / part, ignore=ignore)
            elif (root / part).exists():
                shutil.copy(root / part, self.copy / part)
        for module in warm:
            importlib.import_module(module)
        self.reach: dict[str, dict[str, list[int]]] = {}
        self.seconds: dict[str, float] = {}
        self.left_out: list[str] = []

    def close(self) -> None:
        """Remove the copy."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def learn(self) -> None:
        """Run each test file of the package once without a fault, and note the lines that it reaches.

        A test that fails without a fault can say nothing of one: it is in `left_out`. Raises RuntimeError when a file
        cannot be run, or when the package of another place is imported.
        """
        command = [sys.executable, "-c", f"import {self.name}; print({self.name}.__file__)"]
        where = subprocess.run(command, env=self._environment(), cwd="/", capture_output=True, text=True, check=True)
        if not where.stdout.startswith(str(self.copy)):
            raise RuntimeError(f"a new process imports {where.stdout.strip()}, not the copy in {self.copy}")
        for path in sorted((self.copy / "tests" / self.package).rglob("test_*.py")):
            file = str(path.relative_to(self.copy))
            if "real_assets" in file:  # it looks after the reader's own cache, which no mutant may come near
                continue
            note, began = self.folder / "reach.json", time.monotonic()
            code = self._fork([file], note=note)
            if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) or not note.exists():
                raise RuntimeError(f"{file} cannot be run ({code}):\n{self._log()[-3000:]}")
            found = json.loads(note.read_text("utf-8"))
            note.unlink()
            self.reach[file] = found["lines"]
            self.left_out += found["failed"]
            self.seconds[file] = time.monotonic() - began

    def files_for(self, mutant: Mutant, body: range) -> list[str]:
        """Test files that run any line of the mutant's function, the likeliest first; else all of the package.

        All other files follow where that is not all that a test can see: a line outside of a body runs at import, and
        processes that a test of the assets starts are not watched.
        """
        near = [file for file, lines in self.reach.items() if set(lines.get(mutant.file, ())) & set(body)]
        stem = Path(mutant.file).stem
        near.sort(key=lambda file: (stem not in file, self.seconds[file]))
        rest = sorted(set(self.reach) - set(near), key=self.seconds.__getitem__)
        return near if near and mutant.line in body and self.package != "assets" else near + rest

    def judge(self, mutant: Mutant, files: Sequence[str]) -> Verdict:
        """Put the fault into the copy, run the test files until one fails, and take it out again."""
        path = self.copy / mutant.file
        source, before = path.read_text("utf-8"), path.stat()
        try:
            path.write_text(mutant.applied(source), "utf-8")
            os.utime(path, (before.st_atime, before.st_mtime + 1000))  # no compiled file is of this moment
            code = self._fork(files)
        finally:
            path.write_text(source, "utf-8")
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        if code == pytest.ExitCode.USAGE_ERROR and "while loading conftest" in self._log():
            return "killed"  # `learn` could load it, so the fault broke the import
        if code in (NOT_OURS, pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED) and code != 0:
            raise RuntimeError(f"{mutant}: the tests did not run ({code}):\n{self._log()[-3000:]}")
        return "survived" if code == 0 else "timeout" if code is None else "killed"

    def _environment(self) -> dict[str, str]:
        own = {"PYTHONPATH": str(self.copy), "TLCOURSE_PROGRESS": str(self.folder / "progress.json")}
        if self.package == "assets":
            own |= {"TLCOURSE_HOME": str(self.folder / "cache"), "XDG_CACHE_HOME": str(self.folder / "personal")}
        return {**os.environ, "OMP_NUM_THREADS": "1", **own}

    def _fork(self, files: Sequence[str], *, note: Path | None = None) -> int | None:
        """The exit status of pytest on these files in a child; None when it took too long."""
        began, child = time.monotonic(), os.fork()
        if child == 0:
            code = 1
            try:
                code = self._run(files, note)
            finally:
                os._exit(code)
        status = 0
        while (done := os.waitpid(child, os.WNOHANG)) == (0, 0):
            if note is None and time.monotonic() - began > SECONDS:
                _end(child)
                os.waitpid(child, 0)
                return None
            time.sleep(0.01)
        status = done[1]
        _end(child)  # what it started and left behind
        return os.waitstatus_to_exitcode(status)

    def _run(self, files: Sequence[str], note: Path | None) -> int:
        """In the child: pytest, with the copy before every other place of modules."""
        os.setsid()
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        os.chdir(self.copy)
        os.environ.update(self._environment())
        if note is None:
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        sys.dont_write_bytecode = note is None
        sys.path.insert(0, str(self.copy))
        log = os.open(self.folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(log, stream)
        importlib.invalidate_caches()
        lines: dict[str, set[int]] = {}
        if note:
            sys.settrace(_tracer(f"{self.copy}/{self.name}/{self.package}/", len(str(self.copy)) + 1, lines))
        extra = ["-o", f"addopts={' '.join(_options(self.copy))}", "-p", "no:cacheprovider", "-p", "no:nbval"]
        extra += ["-x"] if note is None else []
        extra += [f"--deselect={test}" for test in self.left_out]
        failed = _Failed()
        code = pytest.main([*extra, "-q", f"--basetemp={self.folder}/temp", *files], plugins=[failed])
        sys.settrace(None)
        found = getattr(sys.modules.get(self.name), "__file__", None)
        if found is not None and not found.startswith(str(self.copy)):
            return NOT_OURS
        if note:
            reached = {file: sorted(numbers) for file, numbers in lines.items()}
            note.write_text(json.dumps({"lines": reached, "failed": failed.tests}), "utf-8")
        return int(code)

    def _log(self) -> str:
        return (self.folder / "log.txt").read_text("utf-8", errors="replace")


class _Failed:
    """Names of the tests that fail."""

    def __init__(self) -> None:
        self.tests: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.tests.append(report.nodeid)


def _end(child: int) -> None:
    """Kill a child and its processes."""
    try:
        os.killpg(child, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _options(copy: Path) -> list[str]:
    """The project's own options of pytest, but for those of notebooks and of several workers."""
    path = copy / "pyproject.toml"
    table = tomllib.loads(path.read_text("utf-8")) if path.exists() else {}
    options = table.get("tool", {}).get("pytest", {}).get("ini_options", {}).get("addopts", ["--import-mode=importlib"])
    return [option for option in options if not option.startswith(("--nbval", "--dist", "-ra"))]


def _tracer(prefix: str, skip: int, lines: dict[str, set[int]]) -> Callable[..., Any]:
    """Notes which lines of the files under `prefix` run inside functions."""

    def inside(frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
        lines[frame.f_code.co_filename[skip:]].add(frame.f_lineno)
        return inside

    def enter(frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        code = frame.f_code
        if not code.co_filename.startswith(prefix) or code.co_name == "<module>":
            return None
        lines.setdefault(code.co_filename[skip:], set())
        return inside

    return enter
