"""The real server: this machine only, a token, and the first lesson in its address."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address that a running `tlcourse lab` prints."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "00_start_here.ipynb").write_text(
        '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = "from tlcourse.cli import main; raise SystemExit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "lab", "--no-browser", "--no-fetch", "--port", str(port)],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"), "JUPYTER_CONFIG_DIR": str(tmp_path / "c")},
    )
    deadline = threading.Timer(90, process.kill)  # a server that never prints its address
    deadline.daemon = True
    deadline.start()
    try:
        assert process.stderr is not None
        log: list[str] = []
        for line in process.stderr:
            log.append(line)
            if address := re.search(r"http://127\.0\.0\.1:\d+/\S+", line):
                break
        else:
            pytest.fail("".join(log))
        wait_for("127.0.0.1", port)
        yield address[0]
    finally:
        deadline.cancel()
        process.terminate()
        process.communicate(timeout=20)


def wait_for(host: str, port: int, *, seconds: float = 30) -> None:
    """Wait until something listens; the address may be printed a moment before."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex((host, port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail(f"nothing listens on {host}:{port} after {seconds} s")


def status(address: str) -> int:
    """HTTP status of a GET, redirects not followed."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            return None

    try:
        return urllib.request.build_opener(Stay).open(address, timeout=10).status
    except urllib.error.HTTPError as error:
        return error.code


def test_lab_listens_here_only_and_asks_for_its_token(server: str) -> None:
    page, token = server.split("?token=")
    assert page.endswith("/lab/tree/notebooks/00_start_here.ipynb")
    assert len(token) == 48
    # Another address of this very machine: answered only by a server that listens on all of them.
    with pytest.raises(urllib.error.URLError):
        status(server.replace("127.0.0.1", "127.0.0.2"))
    contents = page.replace("/lab/tree/", "/api/contents/")
    assert status(server) == 200, "the page that the address names"
    assert status(f"{contents}?token={token}") == 200
    assert status(contents) == 403
    assert status(f"{contents}?token={'0' * 48}") == 403
