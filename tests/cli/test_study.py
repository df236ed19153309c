"""Progress, the exercise generator and `run`, on a small course."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tlcourse import checks
from tlcourse.checks import progress
from tlcourse.cli import main


def write(path: Path, *cells: nbformat.NotebookNode) -> None:
    """Write a notebook of these cells."""
    path.parent.mkdir(exist_ok=True)
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    nbformat.write(new_notebook(cells=list(cells)), path)


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A course of two lessons, with the reader's progress in it and the current folder at its root."""
    write(tmp_path / "notebooks" / "00_start_here.ipynb", new_code_cell("print('✓ one and one make two')"))
    write(tmp_path / "notebooks" / "01_why_transfer.ipynb", new_code_cell("raise ValueError('the lesson broke')"))
    solution = "def double(x):\n    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION"
    write(tmp_path / "solutions" / "01_why_transfer.ipynb", new_markdown_cell("# Double"), new_code_cell(solution))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TLCOURSE_PROGRESS", str(tmp_path / "progress.json"))
    return tmp_path


def test_progress_counts_passed_checks_and_names_those_left(
    course: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checks, "names", lambda: {"01": ("control", "few_labels", "interval")})
    progress.note_check("01", "few_labels")
    progress.note_lesson("00")
    assert main(["progress"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "✓ 00 start_here"
    assert shown[1] == "· 01 why_transfer  ●○○ 1 of 3; to do: control, interval"
    assert "1 of 3 checks passed, 1 of 2 lessons finished" in shown
    assert shown[-1].endswith("progress.json")


def test_exercises_are_built_and_then_up_to_date(course: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exercise = course / "exercises" / "01_why_transfer.ipynb"
    assert main(["exercises", "build", "--check"]) == 1
    assert not exercise.exists()
    assert "out of date: exercises/01_why_transfer.ipynb" in capsys.readouterr().out
    assert main(["exercises", "build"]) == 0
    assert "return 2 * x" not in exercise.read_text()
    assert main(["exercises", "build", "--check"]) == 0
    assert "exercises/ is up to date" in capsys.readouterr().out


def test_run_prints_the_claims_of_a_lesson_that_holds(course: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "0"]) == 0
    shown = capsys.readouterr().out
    assert "one and one make two" in shown
    assert "claims that hold: 1;" in shown
    assert nbformat.read(course / "notebooks" / "00_start_here.ipynb", 4).cells[0].outputs == []


def test_run_write_saves_the_outputs(course: Path) -> None:
    assert main(["run", "start_here", "--write"]) == 0
    (cell,) = nbformat.read(course / "notebooks" / "00_start_here.ipynb", 4).cells
    assert "one and one make two" in cell.outputs[0].text


def test_run_shows_what_broke_and_goes_on(course: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "1", "0"]) == 1
    captured = capsys.readouterr()
    assert "✗ 01_why_transfer" in captured.err
    assert "the lesson broke" in captured.err
    assert "claims that hold: 1;" in captured.out
