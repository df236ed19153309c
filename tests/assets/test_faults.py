"""Everything that can go wrong between a package registry and a verified file, made to happen.

The downloads are real ones, by pip, from an index on this machine (conftest.py).
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from tlcourse import assets
from tlcourse.assets import cache, errors

WHEEL = "tiny-1-py3-none-any.whl"
OK = {"tiny": "ok"}
ABSENT = {"tiny": "absent"}
SHOW_ERROR = """
try:
    print(tiny.path("tiny"))
except assets.AssetError as error:
    print(type(error).__name__, error)
"""


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out.strip()


def test_fetch_gives_every_file(index, tiny, leftovers):
    folder = tiny.path("tiny")
    assert (folder / "a.txt").read_bytes() == b"first file\n"
    assert (folder / "b.bin").stat().st_size == 1 << 20
    assert tiny.path("tiny", "a.txt") == folder / "a.txt"
    assert tiny.fetch() == {"tiny": folder}
    assert tiny.verify() == OK
    assert index.downloads[WHEEL] == 1
    assert leftovers() == []


def test_truncated_once_is_made_good(index, tiny):
    index.truncate = 1
    tiny.path("tiny")
    assert tiny.verify() == OK


def test_truncated_always_is_an_error(index, tiny, leftovers):
    index.truncate = 1000
    with pytest.raises(assets.AssetCorrupt, match="incomplete or altered"):
        tiny.path("tiny")
    assert tiny.verify() == ABSENT
    assert leftovers() == []


def test_wrong_hash_is_an_error(index, tiny, leftovers):
    index.files[WHEEL] = index.files[WHEEL].replace(b"a.txt", b"c.txt")
    with pytest.raises(assets.AssetCorrupt, match="downloaded 2 times and never matched") as caught:
        tiny.path("tiny")
    assert "tlcourse fetch" in str(caught.value)
    assert tiny.verify() == ABSENT
    assert leftovers() == []


@pytest.mark.parametrize(
    ("damage", "state"),
    [
        (lambda file: file.write_bytes(b"fIrst file\n"), "does not hash"),
        (lambda file: file.write_bytes(b"first"), "5 bytes instead of 11"),
        (lambda file: file.unlink(), "No such file"),
    ],
    ids=["altered", "shortened", "deleted"],
)
def test_damage_in_the_cache_is_noticed_and_made_good(local, leftovers, damage, state):
    file = local.path("tiny", "a.txt")
    damage(file)
    (found,) = local.verify().values()
    assert found.startswith("corrupt: ")
    assert state in found
    assert local.path("tiny", "a.txt").read_bytes() == b"first file\n"
    assert local.verify() == OK
    assert leftovers() == []


def test_damage_while_offline_says_so(index, tiny, monkeypatch):
    tiny.path("tiny", "a.txt").write_bytes(b"fIrst file\n")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(assets.AssetUnavailable, match="tlcourse fetch"):
        tiny.path("tiny")


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a POSIX signal")
def test_kill_in_the_middle_of_a_download(index, tiny, child, leftovers):
    index.hold = True
    process = child("tiny.path('tiny')")
    assert index.half_sent.wait(60)
    assert len(leftovers()) == 1
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert tiny.verify() == ABSENT
    index.hold = False  # for new downloads; the orphaned pip still waits for its second half
    tiny.path("tiny")
    assert tiny.verify() == OK
    assert leftovers() == []


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a POSIX signal")
@pytest.mark.parametrize("victim", ["archive._copy", "cache.put", "Path.rename"])
def test_kill_at_any_later_step(local, child, leftovers, victim):
    local.path("tiny", "a.txt").write_bytes(b"damaged")
    # rename: killed after the damaged folder was moved aside, before the new one is in place.
    process = child(f"""
        import signal
        original, calls = {victim}, []
        def deadly(*arguments, **options):
            calls.append(1)
            if "rename" not in "{victim}" or len(calls) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **options)
        {victim} = deadly
        local.path("tiny")
    """)
    _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, err
    assert local.verify() != OK
    assert len(leftovers()) >= 1
    assert local.path("tiny", "a.txt").read_bytes() == b"first file\n"
    assert local.verify() == OK
    assert leftovers() == []


def test_eight_processes_download_once(index, tiny, child):
    index.hold = True  # nobody can be done before all have started
    processes = [child("print(tiny.path('tiny'))") for _ in range(8)]
    assert index.half_sent.wait(60)
    time.sleep(1)
    index.release.set()
    assert {finish(process) for process in processes} == {str(tiny.path("tiny"))}
    assert index.downloads[WHEEL] == 1


def test_no_network_and_absent(no_index, tiny, leftovers):
    started = time.monotonic()
    with pytest.raises(assets.AssetUnavailable) as caught:
        tiny.path("tiny")
    assert time.monotonic() - started < 30
    for needed in ("tiny", "not in the cache", "`tlcourse fetch`", "TLCOURSE_HOME", "pip said"):
        assert needed in str(caught.value)
    assert leftovers() == []


def test_no_network_and_present(index, tiny, monkeypatch):
    folder = tiny.path("tiny")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    assert tiny.fetch() == {"tiny": folder}


def test_no_network_interface_at_all(tiny, child):
    alone = ("unshare", "--user", "--map-root-user", "--net")
    try:
        subprocess.run([*alone, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this system cannot take a process off the network; the closed port above stands in")
    assert finish(child(SHOW_ERROR, before=alone)).startswith("AssetUnavailable tiny is not in the cache")


def test_python_without_pip(no_index, tiny, monkeypatch, tmp_path):
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -E "$@"\n')
    bare.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(bare))
    with pytest.raises(assets.AssetUnavailable, match="-m ensurepip"):
        tiny.path("tiny")


def test_read_only_cache_is_used_as_it_is(local, child, ordinary, home):
    folder = local.path("tiny")
    home.chmod(0o555)
    assert finish(child(ordinary + "print(*cache.places(), tiny.path('tiny'))")).split() == [
        str(home),
        str(home.parent / "personal" / "tlcourse"),
        str(folder),
    ]


def test_read_only_and_absent_goes_to_the_personal_cache(local, child, ordinary, home):
    home.mkdir()
    home.chmod(0o555)
    (home.parent / "personal").mkdir()
    (home.parent / "personal").chmod(0o777)
    out = finish(child(ordinary + "print(local.path('tiny'), local.verify())"))
    assert out.startswith(str(home.parent / "personal" / "tlcourse" / "assets" / "tiny-1-"))
    assert out.endswith(str(OK))
    assert list(home.iterdir()) == []


def test_no_cache_can_be_written(tiny, child, ordinary, home):
    for folder in (home, home.parent / "personal"):
        folder.mkdir()
        folder.chmod(0o555)
    assert "set TLCOURSE_HOME to a folder of your own" in finish(child(ordinary + SHOW_ERROR))


def test_home_that_is_a_file(tiny, home):
    home.write_text("")
    with pytest.raises(assets.AssetError, match="set TLCOURSE_HOME to a folder"):
        tiny.path("tiny")


def test_full_disk_is_seen_before_the_download(index, tiny, child, small_disk, monkeypatch, tmp_path):
    monkeypatch.setenv("TLCOURSE_HOME", str(tmp_path / "small"))
    out = finish(child(SHOW_ERROR, before=small_disk()))
    assert out.startswith("AssetNoSpace no room for tiny")
    assert "about 2 MB are needed" in out
    assert "TLCOURSE_HOME" in out
    assert index.downloads[WHEEL] == 0


def test_disk_with_no_room_for_even_an_empty_file(tiny, child, small_disk, monkeypatch, tmp_path):
    monkeypatch.setenv("TLCOURSE_HOME", str(tmp_path / "small"))
    out = finish(child(SHOW_ERROR, before=small_disk("size=512k,nr_inodes=1")))
    assert out.startswith("AssetNoSpace no room for tiny")


@pytest.mark.parametrize("limit", [100_000, 600_000], ids=["while downloading", "while unpacking"])
@pytest.mark.skipif(os.name != "posix", reason="RLIMIT_FSIZE is POSIX")
def test_disk_fills_up(index, tiny, child, leftovers, limit):
    out = finish(
        child(f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n" + SHOW_ERROR)
    )
    assert out.startswith("AssetNoSpace no room for tiny")
    assert tiny.verify() == ABSENT
    assert leftovers() == []


def test_the_room_is_that_of_the_files_and_two_downloads(local, monkeypatch):
    asset = local.assets["tiny"]
    needed = asset.bytes + asset.download_bytes + asset.download_bytes
    room = {"free": needed - 1}
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(**room))
    with pytest.raises(assets.AssetNoSpace, match="no room for tiny"):
        local.path("tiny")
    room["free"] = needed
    assert local.path("tiny").is_dir()


@pytest.mark.parametrize(("needed", "said"), [(1_499_999, "1 MB"), (1_500_000, "2 MB"), (2_400_000_000, "2400 MB")])
def test_the_room_is_said_in_whole_megabytes(needed, said, tmp_path):
    assert f"(about {said} are needed)" in str(errors.no_space("tiny", tmp_path, needed=needed))
    assert "are needed" not in str(errors.no_space("tiny", tmp_path))


def test_a_cache_is_made_where_no_folder_is_yet(tmp_path):
    assert cache.writable(tmp_path / "one" / "two" / "three")
    assert list((tmp_path / "one" / "two" / "three").iterdir()) == []
    with cache.locked(tmp_path / "four" / "five", "name"):
        assert [path.name for path in (tmp_path / "four" / "five").iterdir()] == ["locks"]
    with cache.workshop(tmp_path / "six" / "seven" / "target") as folder:
        assert folder.parent == tmp_path / "six" / "seven"


def test_a_leftover_that_is_no_folder_does_no_harm(tmp_path):
    (tmp_path / ".target.stray").touch()
    with cache.workshop(tmp_path / "target") as folder:
        assert folder.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == [".target.stray"]


def test_a_store_cannot_be_changed(local):
    with pytest.raises(dataclasses.FrozenInstanceError):
        local.download = None


def test_the_name_of_a_folder_stays_what_it_is(local, home):
    """Another name would have every reader fetch everything again."""
    assert local.path("tiny") == home / "assets" / "tiny-1-e2c0ccbe"
