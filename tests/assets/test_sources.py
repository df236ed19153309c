"""The other ways in: npm (the machine's own, and the one that a Python package carries), sdists, trees of files."""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
import time
from dataclasses import replace

import pytest

from tlcourse import assets
from tlcourse.assets import registry, sources, store

CONTENT = {"package/icons.json": b"{}", "package/info.json": b"[1]"}
BACKEND = """
from pathlib import Path
Path({trace!r}).write_text("ran")
def get_requires_for_build_wheel(config_settings=None): return []
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    info = Path(folder) / "tiny-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: tiny\\nVersion: 1\\n")
    (info / "WHEEL").write_text("Wheel-Version: 1.0\\n")
    return info.name
def build_wheel(*arguments): raise SystemExit("a wheel was built")
"""


@pytest.fixture
def npm_store(index, tmp_path, pack, write_table):
    package = index.files["tiny-1.0.0.tgz"] = pack(CONTENT)
    table = write_table(tmp_path, package, CONTENT, kind="npm")
    (asset,) = registry.load(table).values()
    return store.Store({"tiny": replace(asset, version="1.0.0")})


@pytest.mark.skipif(shutil.which("npm") is None, reason="this machine has no npm of its own; the carried one is tested")
def test_npm_of_the_machine(npm_store, monkeypatch):
    monkeypatch.setattr(sources, "NODE_WHEEL", "raise SystemExit('not needed')")
    assert npm_store.path("tiny", "info.json").read_bytes() == b"[1]"


def test_npm_that_python_carries(npm_store, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert npm_store.path("tiny", "info.json").read_bytes() == b"[1]"


def test_broken_npm_of_the_machine_is_stepped_over(npm_store, monkeypatch, tmp_path):
    (tmp_path / "npm").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert npm_store.path("tiny", "icons.json").read_bytes() == b"{}"


def test_npm_without_network(npm_store, monkeypatch):
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/npm/")
    with pytest.raises(assets.AssetUnavailable, match=r"npm could not download tiny@1\.0\.0") as caught:
        npm_store.path("tiny")
    assert "tlcourse fetch" in str(caught.value)


def test_npm_with_wrong_content(npm_store, index, monkeypatch, pack):
    index.files["tiny-1.0.0.tgz"] = pack({"package/icons.json": b"{!"})
    with pytest.raises(assets.AssetCorrupt, match=r"instead of|does not hash"):
        npm_store.path("tiny")
    monkeypatch.setattr(index, "shasum", lambda file: "0" * 40)
    with pytest.raises(assets.AssetCorrupt, match="incomplete or altered"):
        npm_store.path("tiny")


@pytest.fixture
def sdist(index, tmp_path, pack, write_table):
    """A source distribution whose build step leaves a trace, and the store for it."""
    content = {
        "tiny-1/PKG-INFO": b"Metadata-Version: 2.1\nName: tiny\nVersion: 1\n",
        "tiny-1/pyproject.toml": b'[build-system]\nrequires=[]\nbuild-backend="backend"\nbackend-path=["."]\n',
        "tiny-1/backend.py": BACKEND.format(trace=str(tmp_path / "trace")).encode(),
        "tiny-1/data.tar.gz": pack({"d/inner.txt": b"inner"}),
    }
    package = index.files["tiny-1.tar.gz"] = pack(content)
    table = write_table(tmp_path, package, {"tiny-1/data.tar.gz!d/inner.txt": b"inner"}, kind="sdist")
    return store.Store(registry.load(table)), content


def test_sdist_with_an_archive_inside(sdist, tmp_path):
    assert sdist[0].path("tiny", "inner.txt").read_bytes() == b"inner"
    assert (tmp_path / "trace").exists()


def test_altered_sdist_is_refused_before_its_code_runs(sdist, index, tmp_path, pack):
    index.files["tiny-1.tar.gz"] = pack({**sdist[1], "tiny-1/extra": b""})
    with pytest.raises(assets.AssetCorrupt, match="DO NOT MATCH"):
        sdist[0].path("tiny")
    assert not (tmp_path / "trace").exists()


# What a package registry cannot be made to do: the download is put in place of pip's.


def given(asset, *packages):
    """A store whose downloads are `packages`, one after the other; the last one stays."""
    left = list(packages)

    def download(asset, folder, report):
        report(len(left[0]))
        (folder / "tiny.whl").write_bytes(left.pop(0) if len(left) > 1 else left[0])
        return folder / "tiny.whl"

    return store.Store({"tiny": asset}, download)


@pytest.fixture
def tiny_asset(tiny):
    return tiny.assets["tiny"]


def test_second_attempt_is_made(wheel, tiny_asset):
    for bad in (wheel[:-100], wheel[:-1] + b"x", b""):
        assert given(tiny_asset, bad, wheel).path("tiny").is_dir()
        shutil.rmtree(assets.home() / "assets")
        with pytest.raises(assets.AssetCorrupt, match="downloaded 2 times"):
            given(tiny_asset, bad, bad, wheel).path("tiny")


def test_table_that_does_not_fit_the_package(wheel, tiny_asset):
    first = tiny_asset.files[0]
    for wrong in (replace(first, sha256="0" * 64), replace(first, bytes=12), replace(first, member="tiny/c.txt")):
        asset = replace(tiny_asset, files=(wrong, *tiny_asset.files[1:]))
        with pytest.raises(assets.AssetCorrupt, match=r"a\.txt|tiny/c\.txt"):
            given(asset, wheel).path("tiny")
        assert given(asset, wheel).verify() == {"tiny": "absent"}


@pytest.mark.parametrize("factor", [0.5, 10])
def test_progress_ends_at_the_size_of_the_download(wheel, tiny, capsys, factor):
    """A downloader's own copies make the count too large, and the last look comes before the end."""

    def download(asset, folder, report):
        report(int(factor * asset.download_bytes))
        return given(asset, wheel).download(asset, folder, lambda done: None)

    replace(tiny, download=download).fetch(progress=True)
    last = capsys.readouterr().err.split("\r")[-1]
    assert "100%" in last
    assert re.search(r"\d+k/\d+kB? ", last), "thousands of bytes are short"


def test_progress_never_passes_its_end(tiny_asset, capsys):
    with store._bar(tiny_asset, True) as report:
        time.sleep(0.2)  # tqdm draws at most ten times a second
        report(10 * tiny_asset.download_bytes)
    drawn = [part for part in capsys.readouterr().err.split("\r") if part.strip()]
    assert len(drawn) > 1
    assert all("%" in part for part in drawn)


def test_no_progress_unless_asked(wheel, tiny_asset, capsys):
    given(tiny_asset, wheel).fetch()
    given(replace(tiny_asset, version="2"), wheel).path("tiny")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("ask", [lambda: assets.path("tiny"), assets.fetch], ids=["path", "fetch"])
def test_a_reader_sees_the_progress_unless_it_is_unwanted(wheel, tiny_asset, capsys, monkeypatch, ask):
    monkeypatch.setattr(assets, "_default", lambda: given(tiny_asset, wheel))
    ask()
    assert "tiny" in capsys.readouterr().err


def test_leftovers_make_room_before_a_download(wheel, tiny, leftovers):
    folder = given(tiny.assets["tiny"], wheel).path("tiny")
    (folder / "a.txt").unlink()
    stale = folder.with_name(f".{folder.name}.stale")
    stale.mkdir()
    (stale / "half").write_bytes(b"half")

    def download(asset, folder, report):
        assert stale.name not in leftovers()
        return given(asset, wheel).download(asset, folder, report)

    replace(tiny, download=download).path("tiny")


def test_download_reports_what_has_come_so_far(tmp_path):
    seen = []
    code = """
import os, tempfile, time
for size, total in ((1000, 1000), (2000, 3000)):
    (open("here", "wb") if size == 2000 else tempfile.NamedTemporaryFile(delete=False)).write(bytes(size))
    while not os.path.exists(f"seen {total}"):
        time.sleep(0.02)
"""

    def report(done):
        seen.append(done)
        (tmp_path / "arrived" / f"seen {done}").touch()

    (tmp_path / "arrived").mkdir()
    (tmp_path / "scratch").mkdir()
    sources._run([sys.executable, "-c", code], tmp_path / "arrived", tmp_path / "scratch", report)
    assert seen == sorted(seen)
    assert {1000, 3000} <= set(seen)


def test_a_file_from_a_downloader_that_failed_is_not_taken(tiny_asset, tmp_path, monkeypatch):
    code = "import sys; open('half', 'wb').close(); sys.exit(1)"
    monkeypatch.setattr(sources, "_pip", lambda asset, scratch: [sys.executable, "-c", code])
    with pytest.raises(assets.AssetUnavailable, match="could not download tiny==1"):
        sources.download(tiny_asset, tmp_path, lambda done: None)
    assert (tmp_path / "arrived" / "half").exists()


def test_another_npm_is_not_asked_for_altered_content(npm_store, monkeypatch, tmp_path):
    (tmp_path / "npm").write_text("#!/bin/sh\necho EINTEGRITY\nexit 1\n")
    (tmp_path / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(sources, "NODE_WHEEL", f"open({str(tmp_path / 'asked')!r}, 'w')")
    with pytest.raises(assets.AssetCorrupt, match="incomplete or altered"):
        npm_store.path("tiny")
    assert not (tmp_path / "asked").exists()


def test_the_last_four_lines_of_the_downloader_are_shown(tiny_asset, tmp_path):
    log = "".join(f"line {number}\n\n" for number in range(1, 7))
    said = str(sources._failure(tiny_asset, log, tmp_path)).split("pip said:")[1]
    assert [line.strip() for line in said.strip().splitlines()] == ["line 3", "line 4", "line 5", "line 6"]


def test_interrupted_reader_stops_the_downloader(index, tiny, leftovers, monkeypatch):
    index.hold = True

    def interrupt(place):
        if index.half_sent.is_set():
            raise KeyboardInterrupt
        return 0

    started = []
    popen = sources.subprocess.Popen
    monkeypatch.setattr(sources.subprocess, "Popen", lambda *a, **o: started.append(popen(*a, **o)) or started[0])
    monkeypatch.setattr(sources, "_bytes_below", interrupt)
    with pytest.raises(KeyboardInterrupt):
        tiny.path("tiny")
    assert started[0].returncode is not None
    assert leftovers() == []


@pytest.fixture
def tree(wheel, tiny_asset):
    line = hashlib.sha256(b"first file\n").hexdigest() + "  a.txt\n"
    found = registry.Tree("tiny", "*.txt", 1, 11, hashlib.sha256(line.encode()).hexdigest())
    return given(replace(tiny_asset, files=(), tree=found), wheel)


def test_tree_takes_only_what_matches(tree):
    folder = tree.path("tiny")
    assert [path.name for path in folder.rglob("*")] == ["a.txt"]
    assert tree.path("tiny", "a.txt").read_bytes() == b"first file\n"
    with pytest.raises(KeyError, match=r"did you mean a\.txt"):
        tree.path("tiny", "b.txt")


@pytest.mark.parametrize("damage", ["alter", "add", "remove"])
def test_damaged_tree_is_made_good(tree, damage):
    folder = tree.path("tiny")
    if damage == "remove":
        (folder / "a.txt").unlink()
    else:
        (folder / ("a.txt" if damage == "alter" else "b.txt")).write_text("other")
    assert tree.verify()["tiny"].startswith("corrupt: the ")
    assert [path.name for path in tree.path("tiny").rglob("*")] == ["a.txt"]
    assert tree.verify() == {"tiny": "ok"}


def test_names_must_be_a_list(tiny):
    for ask in (tiny.fetch, tiny.verify):
        with pytest.raises(TypeError, match=r"names must be a list of names, such as \['tiny'\]"):
            ask("tiny")
        with pytest.raises(KeyError, match="did you mean tiny"):
            ask(["tinny"])


def test_only_defaults_are_fetched_unasked(wheel, tiny_asset):
    extra = given(replace(tiny_asset, default=False), wheel)
    assert extra.fetch() == {}
    assert extra.verify() == {"tiny": "absent"}
    assert list(extra.fetch(["tiny"])) == ["tiny"]
