"""The progress file: kept through damage, several kernels and missing rights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tlcourse import checks
from tlcourse.checks import progress


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "new" / "progress.json"
    monkeypatch.setenv("TLCOURSE_PROGRESS", str(path))
    return path


def test_notes_are_kept_and_the_first_time_counts(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert progress.read() == progress.Progress()
    progress.note_check("01", "few_labels")
    progress.note_lesson("01")
    first = progress.read()
    monkeypatch.setattr(progress, "_now", lambda: "later")
    progress.note_check("01", "few_labels")
    progress.note_lesson("01")
    assert progress.read() == first
    progress.note_check("01", "other")
    assert progress.read().checks["01"] == {**first.checks["01"], "other": "later"}
    assert json.loads(file.read_text())["version"] == 1


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"checks": 3}', '{"checks": {"01": 3}, "lessons": {}}', "\x00"])
def test_damaged_file_is_kept_aside_and_does_not_stop_anyone(file: Path, damage: str) -> None:
    file.parent.mkdir()
    file.write_text(damage)
    assert progress.read() == progress.Progress()
    with pytest.warns(UserWarning, match="damaged and is kept as"):
        progress.note_check("01", "few_labels")
    assert list(progress.read().checks) == ["01"]
    (aside,) = file.parent.glob("progress.json.damaged-*")
    assert aside.read_text() == damage


def test_a_file_that_cannot_be_written_only_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TLCOURSE_PROGRESS", str(tmp_path / "file" / "progress.json"))
    with pytest.warns(UserWarning, match="set TLCOURSE_PROGRESS"):
        progress.note_check("01", "few_labels")


def test_a_full_disk_leaves_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    progress.note_check("01", "few_labels")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.warns(UserWarning, match="No space left"):
        progress.note_check("01", "other")
    assert list(progress.read().checks["01"]) == ["few_labels"]
    assert not list(file.parent.glob("*.new")), "nothing half-written stays"


def test_several_kernels_at_once_lose_nothing(file: Path) -> None:
    code = (
        "import sys\nfrom tlcourse.checks import progress\nfor i in range(10): progress.note_check(sys.argv[1], str(i))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, f"{lesson:02}"], env={**os.environ}) for lesson in range(6)
    ]
    assert [process.wait(60) for process in started] == [0] * 6
    found = progress.read().checks
    assert {lesson: len(names) for lesson, names in found.items()} == {f"{lesson:02}": 10 for lesson in range(6)}


def test_default_place_is_the_readers_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TLCOURSE_PROGRESS")
    assert progress.path().name == "progress.json"
    assert progress.path().parent.name == "tlcourse"


def test_names_of_checks_are_read_from_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "import missing_package\n@check\ndef first(a): ...\ndef helper(): ...\n@check\ndef second(a): ...\n"
    (tmp_path / "lesson07.py").write_text(source)
    (tmp_path / "base.py").write_text(source)
    monkeypatch.setattr(checks, "__file__", str(tmp_path / "__init__.py"))
    assert checks.names() == {"07": ("first", "second")}
