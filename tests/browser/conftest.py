"""A real browser, the site as a web server gives it, and what a page must never do."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
]
PATIENCE = 60_000  # milliseconds; machines are noisy


def _build_module() -> ModuleType:
    sys.path.insert(0, str(ROOT / "docs"))
    spec = importlib.util.spec_from_file_location("course_build", ROOT / "docs" / "build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def build() -> ModuleType:
    """docs/build.py."""
    return _build_module()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("no Chromium on this machine; on Debian: apt install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def html(build: ModuleType) -> Path:
    """The folder of the site, built anew when something that it is made from has changed."""
    build.BUILD.mkdir(parents=True, exist_ok=True)
    with FileLock(build.BUILD / "lock"):
        if not build.fresh():
            command = [sys.executable, str(ROOT / "docs" / "build.py"), "site"]
            made = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
            assert made.returncode == 0, made.stdout[-2000:] + made.stderr[-4000:]
    return Path(build.HTML)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[[Path], str]]:
    """A function that serves a folder as `python -m http.server` does, and returns its address."""
    servers = []

    def start(folder: Path) -> str:
        handler = functools.partial(_Quiet, directory=str(folder))
        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def site(html: Path, serve: Callable[[Path], str]) -> str:
    return serve(html)


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that may neither complain nor ask another host for anything."""
    context = browser.new_context(viewport={"width": 1300, "height": 900})
    opened, complaints = context.new_page(), []
    opened.set_default_timeout(PATIENCE)
    opened.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    opened.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    opened.on("response", lambda got: complaints.append(f"{got.status} {got.url}") if got.status >= 400 else None)
    local = ("http://127.0.0.1", "data:", "blob:", "about:")
    opened.on("request", lambda asked: None if asked.url.startswith(local) else complaints.append(f"asks {asked.url}"))
    yield opened
    context.close()
    assert complaints == []


@pytest.fixture(scope="module")
def quiet_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Jupyter without the settings of this machine's user, who is not to be credited with what the tests solve."""
    home = tmp_path_factory.mktemp("jupyter")
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    folders = {name: str(home / name.lower()) for name in names}
    return {**os.environ, **folders, "TLCOURSE_PROGRESS": str(home / "progress.json")}
