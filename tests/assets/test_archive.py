from __future__ import annotations

import io
import random
import stat
import tarfile
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlcourse.assets import AssetCorrupt, archive


def make_zip(content):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as opened:
        for member, data in content.items():
            opened.writestr(member, data)
    return out.getvalue()


def make_tar(content, mode="w:gz"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as opened:
        for member, data in content.items():
            info = tarfile.TarInfo(member)
            info.size = len(data)
            opened.addfile(info, io.BytesIO(data))
    return out.getvalue()


def unpack(tmp_path, data, wanted, *, limit=1000):
    package = tmp_path / "package"
    package.write_bytes(data)
    target = tmp_path / "target"
    target.mkdir(exist_ok=True)
    archive.extract(package, wanted, target, limit=limit)
    return {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}


@pytest.mark.parametrize("make", [make_zip, make_tar, lambda content: make_tar(content, "w")])
def test_only_the_wanted_members_are_read(tmp_path, make):
    data = make({"in/a": b"A", "in/b": b"B", "other": b"C"})
    assert unpack(tmp_path, data, {"in/b": "b", "other": "sub/c"}) == {"b": b"B", "sub/c": b"C"}


@pytest.mark.parametrize(("outer", "inner"), [(make_zip, make_tar), (make_tar, make_zip)])
def test_archive_within_an_archive(tmp_path, outer, inner):
    data = outer({"top": b"T", "in.arc": inner({"x/a": b"A", "x/b": b"B"})})
    wanted = {"in.arc!x/b": "b", "in.arc!x/a": "a", "top": "t"}
    assert unpack(tmp_path, data, wanted) == {"a": b"A", "b": b"B", "t": b"T"}


def test_archive_within_an_archive_within_an_archive(tmp_path):
    data = make_zip({"b.tar.gz": make_tar({"c.zip": make_zip({"d": b"D"})})})
    assert unpack(tmp_path, data, {"b.tar.gz!c.zip!d": "d"}) == {"d": b"D"}


def test_members_share_folders(tmp_path):
    wanted = {"a": "one/a", "b": "one/b", "c": "one/two/three/c"}
    assert set(unpack(tmp_path, make_zip(dict.fromkeys(wanted, b"")), wanted)) == set(wanted.values())


ESCAPES = [
    "../evil", "a/../../evil", "/evil", "..", "..\\evil", "C:\\evil", "C:evil", "\\evil", "\\\\host\\evil", "a/..",
]  # fmt: skip


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize("member", ESCAPES)
def test_member_that_escapes_is_refused(tmp_path, make, member):
    data = make({"good": b"G", member: b"evil"})
    with pytest.raises(AssetCorrupt, match="points outside the archive; refused"):
        unpack(tmp_path, data, {"good": "good"})
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["package", "target"]


def test_member_without_a_name_is_refused(tmp_path):
    with pytest.raises(AssetCorrupt, match="'' points outside the archive; refused"):
        unpack(tmp_path, make_tar({"good": b"G", "": b"evil"}), {"good": "good"})


@pytest.mark.parametrize("target", ["../evil", "/tmp/evil", "", "."])
def test_target_that_escapes_is_refused(tmp_path, target):
    with pytest.raises(AssetCorrupt, match="refused"):
        unpack(tmp_path, make_zip({"good": b"G"}), {"good": target})


@given(st.lists(st.sampled_from(["..", ".", "a", "b", "", "\\", "C:", "/"]), min_size=1, max_size=5))
def test_accepted_names_stay_inside(tmp_path_factory, parts):
    member = "/".join(parts)
    tmp_path = tmp_path_factory.mktemp("inside")
    try:
        unpack(tmp_path, make_tar({member: b"x"}), {member: member})
    except AssetCorrupt:
        pass
    except (IsADirectoryError, NotADirectoryError):  # "a/." is the folder a
        pass
    outside = [path for path in tmp_path.rglob("*") if "target" not in path.parts and path.name != "package"]
    assert outside == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_tar_member_that_is_no_plain_file_is_refused(tmp_path, kind):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as opened:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = kind, "/etc/passwd"
        opened.addfile(info)
    with pytest.raises(AssetCorrupt, match="only plain files"):
        unpack(tmp_path, out.getvalue(), {"link": "link"})


def test_zip_member_that_is_a_link_is_refused(tmp_path):
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(AssetCorrupt, match="is a link"):
        unpack(tmp_path, make_zip({info: b"/etc/passwd"}), {"link": "link"})


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_absent_member_is_named(tmp_path, make):
    with pytest.raises(AssetCorrupt, match="has no member 'b'"):
        unpack(tmp_path, make({"a": b"A"}), {"b": "b"})


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_more_bytes_than_expected_are_refused(tmp_path, make):
    data = make({"a": bytes(600), "b": bytes(600)})
    assert len(unpack(tmp_path, data, {"a": "a"}, limit=600)) == 1
    with pytest.raises(AssetCorrupt, match="more than the 1199 bytes"):
        unpack(tmp_path, data, {"a": "a", "b": "b"}, limit=1199)


def test_an_inner_archive_may_have_twice_the_bytes_of_the_outer_one_besides(tmp_path):
    """Room for what it holds, and for what an archive adds of its own; no more."""
    inner = make_tar({"a": b"A"}, "w")
    outer = make_tar({"in.tar": inner})
    least = len(inner) - 2 * len(outer)
    assert 0 < len(b"A") < least
    assert unpack(tmp_path, outer, {"in.tar!a": "a"}, limit=least) == {"a": b"A"}
    with pytest.raises(AssetCorrupt, match=f"more than the {len(inner) - 1} bytes"):
        unpack(tmp_path, outer, {"in.tar!a": "a"}, limit=least - 1)


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize("keep", [0, 5, 0.5, 0.9])
def test_damaged_archive_is_named(tmp_path, make, keep):
    data = make({"a": random.Random(0).randbytes(5000)})
    with pytest.raises(AssetCorrupt, match="package"):
        unpack(tmp_path, data[: int(keep * len(data)) if keep < 1 else keep], {"a": "a"}, limit=10_000)


def test_altered_member_of_a_zip_is_named(tmp_path):
    with pytest.raises(AssetCorrupt, match="damaged or incomplete"):
        unpack(tmp_path, make_zip({"a": b"content"}).replace(b"content", b"cOntent"), {"a": "a"})


def test_a_compression_that_python_does_not_know_is_named(tmp_path):
    data = bytearray(make_zip({"a": b"A"}))
    for header, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        start = data.index(header) + place
        data[start : start + 2] = (99).to_bytes(2, "little")
    with pytest.raises(AssetCorrupt, match="package is damaged or incomplete"):
        unpack(tmp_path, bytes(data), {"a": "a"})
