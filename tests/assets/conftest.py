"""A package index and an npm registry on this machine, so that real downloads can be made to fail in every way."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import subprocess
import sys
import tarfile
import textwrap
import threading
import zipfile
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tlcourse.assets import registry, store

# 300 kB in the package, 1 MiB in the cache.
CONTENT = {"tiny/a.txt": b"first file\n", "tiny/b.bin": random.Random(0).randbytes(300_000).ljust(1 << 20)}
CHILD = """
import os, sys
from pathlib import Path
from tlcourse import assets
from tlcourse.assets import archive, cache, registry, store
tiny = store.Store(registry.load(Path(os.environ["TEST_TABLE"])))
local = store.Store(tiny.assets, lambda *_: Path(os.environ["TEST_PACKAGE"]))
"""


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def make_wheel(content: dict[str, bytes], name: str = "tiny") -> bytes:
    info = {
        f"{name}-1.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n".encode(),
        f"{name}-1.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{name}-1.dist-info/RECORD": b"",
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as opened:
        for member, data in (content | info).items():
            opened.writestr(zipfile.ZipInfo(member, (2020, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def make_tar(content: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as opened:
        for member, data in content.items():
            info = tarfile.TarInfo(member)
            info.size = len(data)
            opened.addfile(info, io.BytesIO(data))
    return out.getvalue()


def make_table(folder, package: bytes, content: dict[str, bytes], *, name="tiny", kind="wheel"):
    """A table with one asset whose files are `content`, under their last name."""
    lines = [f'[{name}]\ntitle="T"\nkind="{kind}"\npackage="{name}"\nlicence="MIT"\ncitation="C"\nversion="1"']
    lines.append('url="https://example.org"\ndescription="D"\nfiles=[')
    for member, data in content.items():
        short = member.rsplit("/", 1)[-1]
        lines.append(f'{{name="{short}", member="{member}", bytes={len(data)}, sha256="{digest(data)}"}},')
    lines.append(f']\narchive = {{ bytes = {len(package)}, sha256 = "{digest(package)}" }}\n')
    table = folder / "table.toml"
    table.write_text("\n".join(lines), "utf-8")
    return table


class Index:
    """Serves files; `truncate` of the downloads break off, and `hold` stops them half-way."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.downloads: Counter[str] = Counter()
        self.truncate = 0
        self.hold = False
        self.half_sent = threading.Event()
        self.release = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rsplit("/", 1)[-1]
                if self.path.startswith("/simple/"):
                    links = "".join(f'<a href="/files/{file}">{file}</a>' for file in index.files)
                    self._send(f"<!DOCTYPE html><html><body>{links}</body></html>".encode(), "text/html")
                elif self.path.startswith("/npm/"):
                    self._send(json.dumps(index.npm(name)).encode(), "application/json")
                elif name in index.files:
                    index.downloads[name] += 1
                    self._send_file(index.files[name])
                else:
                    self.send_error(404)

            def _send(self, body: bytes, kind: str) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _send_file(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "application/octet-stream")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                index.half_sent.set()
                if index.truncate:
                    index.truncate -= 1
                    self.close_connection = True
                    return
                if index.hold:
                    index.release.wait(60)
                try:
                    self.wfile.write(body[len(body) // 2 :])
                except OSError:  # the other side was killed
                    self.close_connection = True

            def log_message(self, *arguments: object) -> None:
                pass

        return Handler

    def npm(self, name: str) -> dict[str, object]:
        dist = {"tarball": f"{self.url}/files/{name}-1.0.0.tgz", "shasum": self.shasum(f"{name}-1.0.0.tgz")}
        release = {"name": name, "version": "1.0.0", "dist": dist}
        return {"name": name, "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": release}}

    def shasum(self, file: str) -> str:
        return hashlib.sha1(self.files[file]).hexdigest()

    def close(self) -> None:
        self.release.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty cache, and a personal one elsewhere."""
    monkeypatch.setenv("TLCOURSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "personal"))
    return tmp_path / "home"


@pytest.fixture
def no_index(home, monkeypatch):
    """Package registries that nothing listens at."""
    for name in [name for name in os.environ if name.lower().startswith(("pip_", "npm_config_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/npm")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def index(no_index, monkeypatch):
    """A working index that serves the wheel "tiny"."""
    index = Index()
    index.files["tiny-1-py3-none-any.whl"] = make_wheel(CONTENT)
    monkeypatch.setenv("PIP_INDEX_URL", f"{index.url}/simple")
    monkeypatch.setenv("npm_config_registry", f"{index.url}/npm/")
    yield index
    index.close()


@pytest.fixture
def tiny(tmp_path, home, monkeypatch):
    """A store with the one asset "tiny"; processes started by `child` have it too."""
    table = make_table(tmp_path, make_wheel(CONTENT), CONTENT)
    monkeypatch.setenv("TEST_TABLE", str(table))
    return store.Store(registry.load(table))


@pytest.fixture
def local(tiny, tmp_path, monkeypatch):
    """The same store without pip, where the download itself is not in question: it is a file of this machine."""
    package = tmp_path / "tiny-1-py3-none-any.whl"
    package.write_bytes(make_wheel(CONTENT))
    monkeypatch.setenv("TEST_PACKAGE", str(package))
    return store.Store(tiny.assets, lambda *_: package)


@pytest.fixture
def child(tiny):
    """Start a process that runs `code`, which may use the stores `tiny` and `local`; `before` is what runs it."""

    def start(code: str, *, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        program = CHILD + textwrap.dedent(code)
        command = [*before, sys.executable, "-c", program]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


@pytest.fixture
def leftovers(home):
    """Names of unfinished folders in the cache."""
    return lambda: sorted(path.name for path in home.rglob(".*") if path.is_dir())


@pytest.fixture
def ordinary(tmp_path):
    """Code that gives up a child's rights as root, for whom no folder is read-only, and the ways to its files."""
    if os.name != "posix" or os.geteuid() != 0:
        return ""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() == "root" and folder != folder.parent and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    first = "import encodings.cp437, filelock, platformdirs, tqdm.auto\n"  # Python may lie where only root can read
    return first + "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"


@pytest.fixture
def small_disk(tmp_path):
    """A function that gives a command to run another one with a disk of 512 KiB mounted on `tmp_path / "small"`."""
    (tmp_path / "small").mkdir()

    def command(options: str = "size=512k") -> tuple[str, ...]:
        script = f'mount -t tmpfs -o {options} none "{tmp_path}/small" && exec "$@"'
        return ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh")

    try:
        subprocess.run([*command(), "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this system lets nobody but its owner mount a disk; the test of RLIMIT_FSIZE runs everywhere")
    return command


@pytest.fixture
def pack():
    return make_tar


@pytest.fixture
def write_table():
    return make_table


@pytest.fixture
def wheel(home):
    return make_wheel(CONTENT)
