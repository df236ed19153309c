"""Progress, the exercise generator and `run`, on a small course."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tlcourse import checks
from tlcourse.checks import progress
from tlcourse.cli import main, plan


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


def task(number: str, minutes: int, *names: str) -> list[nbformat.NotebookNode]:
    """An exercise whose end calls these checks, each in a cell of its own."""
    title = f"### Exercise {number} · Task {number}  (●●○○○, {minutes} minutes)"
    return [new_markdown_cell(title), *(new_code_cell(f"x = 1\ncheck.{name}(x)") for name in names)]


@pytest.fixture
def exercised(course: Path) -> Path:
    """The course with times and two exercises, the second with two checks."""
    for name, minutes in (("00_start_here", 20), ("01_why_transfer", 75)):
        write(course / "notebooks" / f"{name}.ipynb", new_markdown_cell(f"**Time**: {minutes} minutes, 30 s, 2 GB."))
    tasks = [*task("1.1", 10, "few_labels"), *task("1.2", 15, "control", "interval")]
    write(course / "exercises" / "01_why_transfer.ipynb", *tasks)
    return course


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert main(["progress"]) == 0
    return capsys.readouterr().out.splitlines()


def test_progress_counts_passed_exercises_and_minutes_left(exercised: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress.note_lesson("00")
    progress.note_check("01", "few_labels")
    lines = shown(capsys)
    assert lines[0] == "✓ 00 start_here"
    assert lines[1] == "· 01 why_transfer  ●○      90 minutes left"
    assert "1 of 2 exercises passed, 1 of 2 lessons finished" in lines
    assert "next: lesson 01, why_transfer (75 minutes), in notebooks/01_why_transfer.ipynb" in lines
    assert "left: 90 minutes" in lines
    assert lines[-1].endswith("progress.json")


def test_an_exercise_is_passed_with_its_last_check(exercised: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for lesson in ("00", "01"):
        progress.note_lesson(lesson)
    progress.note_check("01", "few_labels")
    progress.note_check("01", "control")
    assert "next: exercise 1.2, Task 1.2 (15 minutes), in exercises/01_why_transfer.ipynb" in shown(capsys)
    progress.note_check("01", "interval")
    lines = shown(capsys)
    assert "All done." in lines
    assert lines[1] == "✓ 01 why_transfer  ●●"


def test_who_began_later_is_not_sent_back(exercised: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress.note_lesson("01")
    assert any(line.startswith("next: exercise 1.1") for line in shown(capsys))
    for name in ("few_labels", "control", "interval"):
        progress.note_check("01", name)
    assert any(line.startswith("next: lesson 00") for line in shown(capsys)), "what is left over comes at the end"


def test_every_check_of_the_course_belongs_to_an_exercise() -> None:
    folder = Path(__file__).resolve().parents[2]
    steps = plan.steps(folder)
    found = {(step.lesson, name) for step in steps for name in step.checks}
    assert found == {(number, name) for number, known in checks.names().items() for name in known}
    assert all(step.minutes > 0 for step in steps)


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
