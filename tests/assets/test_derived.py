from __future__ import annotations

import json
import os
import signal

import pytest

from tlcourse import assets
from tlcourse.assets import cache

KEY = {"size": 64, "styles": ["noto"]}
BUILD = """
def build(folder):
    with open(os.environ["TEST_LOG"], "a") as log:
        log.write("built\\n")
    (folder / "result.txt").write_text("result")
"""


@pytest.fixture
def log(tmp_path, home, monkeypatch):
    monkeypatch.setenv("TEST_LOG", str(tmp_path / "log.txt"))
    (tmp_path / "log.txt").touch()
    (tmp_path / "log.txt").chmod(0o666)
    return lambda: (tmp_path / "log.txt").read_text().count("built")


namespace: dict[str, object] = {"os": os}
exec(BUILD, namespace)
build = namespace["build"]


def finish(process):
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out.strip()


def test_built_once(log, leftovers):
    folder = assets.derived("pictures", KEY, build)
    assert (folder / "result.txt").read_text() == "result"
    assert assets.derived("pictures", dict(reversed(KEY.items())), build) == folder
    assert log() == 1
    assert leftovers() == []
    assert json.loads((folder / "manifest.json").read_text())["key"] == KEY


def test_other_key_or_kind_is_another_entry(log):
    folders = {
        assets.derived(kind, key, build) for kind in ("a", "b") for key in (KEY, {**KEY, "size": 65}, {**KEY, "x": 0})
    }
    assert len(folders) == log() == 6


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "result.txt").write_text("rEsult"),
        lambda folder: (folder / "result.txt").unlink(),
        lambda folder: (folder / "manifest.json").unlink(),
        lambda folder: (folder / "manifest.json").write_text("{"),
        lambda folder: (folder / "manifest.json").write_text("[]"),
        lambda folder: (folder / "manifest.json").write_text("{}"),
        lambda folder: (folder / "manifest.json").write_text('{"files": ["result.txt"]}'),
    ],
    ids=["altered", "deleted", "no manifest", "half a manifest", "another manifest", "empty manifest", "a list"],
)
def test_damaged_entry_is_built_again(log, leftovers, damage):
    damage(assets.derived("pictures", KEY, build))
    assert (assets.derived("pictures", KEY, build) / "result.txt").read_text() == "result"
    assert log() == 2
    assert leftovers() == []


def test_the_name_of_an_entry_stays_what_it_is(log):
    """Another name would have every reader make everything again."""
    assert assets.derived("pictures", KEY, build).name == "2d5293b30eb483edc1bd2cee"


def test_it_is_said_only_when_asked(log, capsys):
    assets.derived("pictures", KEY, build)
    assert capsys.readouterr().err == ""
    assets.derived("pictures", {"other": 1}, build, progress=True)
    assert "pictures: made once, then kept" in capsys.readouterr().err


def test_files_in_folders_count(log):
    def nested(folder):
        (folder / "sub").mkdir()
        (folder / "sub" / "a").write_text("a")

    folder = assets.derived("pictures", KEY, nested)
    (folder / "sub" / "a").write_text("b")
    assert (assets.derived("pictures", KEY, nested) / "sub" / "a").read_text() == "a"


def test_failed_build_leaves_nothing(home, log, leftovers):
    def fail(folder):
        build(folder)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        assets.derived("pictures", KEY, fail)
    assert leftovers() == []
    assert list((home / "derived" / "pictures").iterdir()) == []
    assets.derived("pictures", KEY, build)


def test_build_that_writes_nothing_is_an_error(home):
    with pytest.raises(ValueError, match="build wrote no file"):
        assets.derived("pictures", KEY, lambda folder: None)


@pytest.mark.parametrize("kind", ["", "../evil", "a/b", "A", ".hidden"])
def test_bad_kind(kind, home):
    with pytest.raises(ValueError, match="kind must be a short name"):
        assets.derived(kind, KEY, build)


@pytest.mark.parametrize("value", [object(), float("nan"), {1, 2}, b"x"])
def test_bad_key(value, home):
    with pytest.raises(ValueError, match="key must hold only"):
        assets.derived("pictures", {"value": value}, build)


def test_eight_processes_build_once(log, child):
    slow = BUILD.replace("with open", "import time; time.sleep(0.5)\n    with open")
    processes = [child(slow + f"print(assets.derived('pictures', {KEY}, build))") for _ in range(8)]
    assert {finish(process) for process in processes} == {str(assets.derived("pictures", KEY, build))}
    assert log() == 1


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a POSIX signal")
def test_kill_in_the_middle_of_a_build(home, log, child, leftovers):
    process = child(f"""
        def build(folder):
            (folder / "result.txt").write_text("res")
            os.kill(os.getpid(), 9)
        assets.derived("pictures", {KEY}, build)
    """)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert len(leftovers()) == 1
    assert (assets.derived("pictures", KEY, build) / "result.txt").read_text() == "result"
    assert leftovers() == []


def test_read_only_home_is_looked_at_first(home, log, child, ordinary):
    (home.parent / "personal").mkdir()
    (home.parent / "personal").chmod(0o777)
    folder = assets.derived("pictures", KEY, build)
    for place in (home, *(path for path in home.rglob("*") if path.is_dir())):
        place.chmod(0o555)
    out = finish(
        child(
            ordinary
            + BUILD
            + f"""
print(assets.derived("pictures", {KEY}, build))
print(assets.derived("pictures", {{"other": 1}}, build))
"""
        )
    )
    first, second = out.splitlines()
    assert first == str(folder)
    assert second.startswith(str(home.parent / "personal" / "tlcourse" / "derived" / "pictures"))
    assert log() == 2


def test_what_is_there_needs_no_place_to_write(home, log, child, ordinary):
    folder = assets.derived("pictures", KEY, build)
    for place in (home, *(path for path in home.rglob("*") if path.is_dir())):
        place.chmod(0o555)
    (home.parent / "personal").mkdir(mode=0o555)
    assert finish(child(ordinary + BUILD + f"print(assets.derived('pictures', {KEY}, build))")) == str(folder)
    assert log() == 1


def test_full_disk(child, small_disk, monkeypatch, tmp_path):
    monkeypatch.setenv("TLCOURSE_HOME", str(tmp_path / "small"))
    out = finish(
        child(
            """
            def build(folder):
                (folder / "big").write_bytes(bytes(1 << 20))
            try:
                assets.derived("pictures", {}, build)
            except assets.AssetNoSpace as error:
                print(error, [path.name for path in (assets.home() / "derived" / "pictures").iterdir()])
            """,
            before=small_disk(),
        )
    )
    assert out.startswith("no room for pictures in ")
    assert "TLCOURSE_HOME" in out
    assert out.endswith("[]")


def test_other_errors_of_the_system_pass_through(home):
    with pytest.raises(FileNotFoundError):
        assets.derived("pictures", KEY, lambda folder: (folder / "absent").read_text())


def test_hash_is_remembered_until_the_file_changes(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_bytes(b"abc" * 1000)
    read, digest = [], cache.hashlib.file_digest
    monkeypatch.setattr(cache.hashlib, "file_digest", lambda *a: read.append(1) or digest(*a))
    first = cache.sha256(file)
    assert cache.sha256(file) == first
    assert len(read) == 1
    stat = file.stat()
    with file.open("r+b") as stream:
        stream.write(b"x")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert cache.sha256(file) != first
