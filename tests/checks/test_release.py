"""The nbgrader course: what is written, that no cheat gets points, and a class graded from release to marks."""

from __future__ import annotations

import ast
import contextlib
import csv
import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import types
from pathlib import Path
from unittest.mock import MagicMock

import forked_kernels
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tlcourse import checks
from tlcourse.checks import release
from tlcourse.cli import main

ROOT = Path(__file__).resolve().parents[2]
SOLUTIONS = sorted((ROOT / "solutions").glob("*.ipynb"))


def by_number(number: str) -> Path:
    return next(path for path in SOLUTIONS if path.name.startswith(number))


# What is written


def test_a_course_has_sources_settings_database_and_a_list_of_students(tmp_path: Path) -> None:
    to = tmp_path / "Kurs für Übungen"
    made = release.write([by_number("09"), by_number("13")], to, course_id="tl", timeout=60)
    assert made.written == ("09_clip_zero_shot", "13_domain_adaptation")
    assert made.points["09_clip_zero_shot"] == 6
    assert sorted(path.relative_to(to).as_posix() for path in to.rglob("*") if path.is_file()) == [
        "gradebook.db",
        "nbgrader_config.py",
        "source/09_clip_zero_shot/09_clip_zero_shot.ipynb",
        "source/13_domain_adaptation/13_domain_adaptation.ipynb",
        "students.csv",
    ]
    settings = (to / "nbgrader_config.py").read_text(encoding="utf-8")
    assert "c.Execute.timeout = 60" in settings
    assert "course_id = 'tl'" in settings
    assert str(tmp_path) not in settings, "the folder may be moved"


def test_adding_changes_nothing_that_is_there(tmp_path: Path) -> None:
    release.write([by_number("09")], tmp_path, course_id="tl", timeout=60)
    first = tmp_path / "source" / "09_clip_zero_shot" / "09_clip_zero_shot.ipynb"
    for file in (first, tmp_path / release.CONFIG, tmp_path / release.STUDENTS):
        file.write_text("my work", encoding="utf-8")
    made = release.write([by_number("09"), by_number("13")], tmp_path, course_id="tl", timeout=60, add=True)
    assert (made.written, made.kept) == (("13_domain_adaptation",), ("09_clip_zero_shot",))
    assert {p.read_text() for p in (first, tmp_path / release.CONFIG, tmp_path / release.STUDENTS)} == {"my work"}


def test_bad_arguments_are_named_and_nothing_is_written(tmp_path: Path) -> None:
    full, file = tmp_path / "full", tmp_path / "file"
    full.mkdir()
    (full / "thesis.txt").write_text("years of work")
    file.touch()

    def refused(to: Path, message: str, **changes: object) -> None:
        arguments: dict[str, object] = {"course_id": "tl", "timeout": 60, **changes}
        with pytest.raises(ValueError, match=message):
            release.write(arguments.pop("solutions", [by_number("09")]), to, **arguments)  # type: ignore[arg-type]

    refused(full, "is not empty, and nothing in it is overwritten.*--add")
    refused(full, "no nbgrader_config.py, so it is no nbgrader course", add=True)
    refused(file, "is a file")
    refused(tmp_path / "new", "solutions is empty", solutions=[])
    refused(tmp_path / "new", "course_id 'a b' should be letters", course_id="a b")
    refused(tmp_path / "new", "timeout is 0 seconds", timeout=0)
    assert sorted(tmp_path.rglob("*")) == [file, full, full / "thesis.txt"]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    to = str(tmp_path / "course")
    assert main(["release", "--to", to, "9"]) == 0
    assert "written: 09_clip_zero_shot (6 points)" in capsys.readouterr().out
    assert main(["release", "--to", to, "9"]) == 1
    assert "is not empty" in capsys.readouterr().err
    assert main(["release", "--to", to, "--add", "9"]) == 0
    assert "kept as it is: 09_clip_zero_shot" in capsys.readouterr().out
    assert main(["release", "--to", str(tmp_path / "other"), "00"]) == 1
    assert "has no exercises" in capsys.readouterr().err


# No cheat gets points, in any lesson


def graded(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [c for c in notebook.cells if c.cell_type == "code" and c.metadata.get("nbgrader", {}).get("grade")]


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_links_and_hidden_lines(path: Path) -> None:
    source = release.assignment(path)
    assert graded(source)
    for cell in source.cells:
        assert "](../" not in cell.source, "a student's folder holds the assignment alone"
        assert not cell.get("outputs")
    exercise = {cell.id: cell.source for cell in nbformat.read(ROOT / "exercises" / path.name, 4).cells}
    region = re.compile(r"### BEGIN HIDDEN TESTS\n.*?### END HIDDEN TESTS\n?", re.DOTALL)
    for cell in graded(source):
        assert region.sub("", cell.source).rstrip() == exercise[cell.id], "students see the cell of exercises/"


def agreeable() -> MagicMock:
    """An object that can be called, indexed and compared, and always agrees."""
    made = MagicMock()
    made.return_value = made
    made.__getitem__.return_value = made
    for comparison in ("__eq__", "__lt__", "__le__", "__gt__", "__ge__"):
        getattr(made, comparison).return_value = True
    return made


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
@pytest.mark.parametrize("answer", [lambda *_, **__: None, agreeable()], ids=["nothing", "anything"])
def test_replaced_checks_do_not_help_in_any_graded_cell(
    path: Path, answer: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TLCOURSE_PROGRESS", str(tmp_path / "progress.json"))
    # The hidden lines import the checks anew, cell by cell; without the tests' own checks of types that is quicker.
    plain = [finder for finder in sys.meta_path if not type(finder).__module__.startswith("jaxtyping")]
    monkeypatch.setattr(sys, "meta_path", plain)
    source, number = release.assignment(path), path.name[:2]
    kept = {name: module for name, module in sys.modules.items() if name.startswith("tlcourse.checks")}
    for cell in graded(source):
        fooled = types.ModuleType("fooled")
        for name in checks.names()[number]:
            setattr(fooled, name, lambda *_, **__: print("✓"))
        monkeypatch.setitem(sys.modules, f"tlcourse.checks.lesson{number}", fooled)
        if base := sys.modules.get("tlcourse.checks.base"):
            monkeypatch.setattr(base, "check", lambda test: lambda *_: None)
        asked = {node.id for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Name)}
        space = dict.fromkeys(asked, answer) | {"check": fooled, "abs": lambda _: 0, "__name__": "cheat"}
        called = re.findall(r"^check\.\w+\(", cell.source, re.MULTILINE)
        assert called, f"{cell.id}: a graded cell calls its check"
        with contextlib.redirect_stdout(io.StringIO()), pytest.raises(Exception) as caught:  # noqa: PT011
            exec(cell.source, space)
        assert type(caught.value).__name__ == "CheckFailed", f"{cell.id}: {caught.value!r}"
        sys.modules.update(kept)  # what other tests hold


def test_without_the_hidden_lines_a_replaced_check_would_help() -> None:
    source = nbformat.read(by_number("01"), 4)
    (cell,) = [cell for cell in source.cells if cell.id == "e2-check"]
    exec(cell.source, {"check": MagicMock(), "compare": None})


# A class, from release to marks

TASKS = {
    "double": (
        "def double(x):",
        "    return 2 * x",
        "assert double(3) == 6",
        "assert [double(n) for n in (5, 8)] == [10, 16]",
    ),
    "area": ("def area(a, b):", "    return a * b", "assert area(2, 3) == 6", "assert area(4, 5) == 20"),
}
REAL = "13"


@pytest.fixture(scope="module")
def classroom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course with a short assignment of two tasks, and two exercises of lesson 13 with their true checks."""
    to = tmp_path_factory.mktemp("class")
    (to / "solutions").mkdir()
    cells = [new_markdown_cell("# Two tasks", id="title")]
    for name, (head, body, seen, hidden) in TASKS.items():
        cells.append(new_code_cell(f"{head}\n    ### BEGIN SOLUTION\n{body}\n    ### END SOLUTION", id=name))
        hidden = f"### BEGIN HIDDEN TESTS\n{hidden}\n### END HIDDEN TESTS"
        cells.append(new_code_cell(f"{seen}\n{hidden}", id=f"{name}-check", metadata={"tags": ["points-2"]}))
    nbformat.write(new_notebook(cells=cells, metadata=KERNEL), to / "solutions" / "90_short.ipynb")
    whole = nbformat.read(by_number(REAL), 4)
    keep = {"norm-answer", "norm-check", "reverse-answer", "reverse-check"}
    short = [c for c in whole.cells if c.id in keep or "import lesson13 as check" in c.source]
    nbformat.write(new_notebook(cells=short, metadata=KERNEL), to / "solutions" / "91_real.ipynb")
    release.write(sorted((to / "solutions").glob("*.ipynb")), to / "course", course_id="tl", timeout=120)
    return to / "course"


KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


EACH = """import shlex, sys
import forked_kernels
from nbgrader.apps import NbGraderApp
from traitlets.config import Application
forked_kernels.install()
for line in sys.argv[1:]:
    NbGraderApp.launch_instance(shlex.split(line))
    Application.instance().clear_instance()
"""


def nbgrader(course: Path, *commands: str) -> None:
    """nbgrader's commands as it reads them from a terminal, one after the other in one process: it is slow to start."""
    scripts = sysconfig.get_path("scripts")
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([scripts, os.environ.get("PATH", "")]),
        "PYTHONPATH": str(Path(forked_kernels.__file__).parent),
    }
    command = [sys.executable, "-c", EACH, *commands]
    done = subprocess.run(command, cwd=course, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def hand_in(course: Path, student: str, assignment: str, cells: dict[str, str | None]) -> None:
    """The released notebook with these cells replaced, or (None) deleted."""
    notebook = nbformat.read(course / "release" / assignment / f"{assignment}.ipynb", 4)
    assert not any("HIDDEN" in cell.source or "SOLUTION" in cell.source for cell in notebook.cells)
    notebook.cells = [cell for cell in notebook.cells if cells.get(cell.id, "") is not None]
    for cell in notebook.cells:
        cell.source = cells.get(cell.id) or cell.source
    target = course / "submitted" / student / assignment / f"{assignment}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)


RIGHT = {"double": "def double(x):\n    return x + x", "area": "def area(a, b):\n    return a * b"}
LEAVE = "import sys\ndef area(a, b):\n    sys.exit()"
SHORT: dict[str, dict[str, str | None]] = {
    "right": dict(RIGHT),
    "partly": {**RIGHT, "area": "def area(a, b):\n    return a + b"},
    "edits": {"double": "raise SystemExit", "double-check": "print('✓')", "area": LEAVE, "area-check": "1"},
    "hardcodes": {"double": "def double(x):\n    return 6", "area": "def area(a, b):\n    return 6"},
    "deletes": {**RIGHT, "double-check": None, "area": "area = print", "area-check": None},
    "loops": {**RIGHT, "double": "def double(x):\n    while True:\n        pass"},
}
NO_OP = "class check:\n    reverse = adapt_norm = staticmethod(lambda *_: print('✓'))"
PATCH = (
    "import sys, types\nfrom tlcourse.checks import base, expect, lesson13\n"
    "lesson13.reverse = lesson13.adapt_norm = lambda *_: print('✓')\n"
    "expect.close = expect.tensor = base.explain = base.check = lambda *_, **__: None\n"
    "sys.modules['tlcourse.checks.lesson13'] = lesson13"
)
IDLE = "def reverse(x, strength):\n    return x\n"


def real(answers: Path) -> dict[str, dict[str, str | None]]:
    solved = {cell.id: cell.source for cell in nbformat.read(answers, 4).cells}
    right: dict[str, str | None] = {name: solved[name] for name in ("reverse-answer", "norm-answer")}
    return {
        "right": right,
        "overwrites": {**right, "reverse-answer": IDLE + NO_OP},
        "patches": {"reverse-answer": IDLE + PATCH, "norm-answer": "def adapt_norm(layer, x):\n    pass"},
    }


@pytest.fixture(scope="module")
def marks(classroom: Path) -> dict[tuple[str, str], float]:
    """Points by assignment and student, as exported by nbgrader."""
    nbgrader(classroom, "generate_assignment 90_short", "generate_assignment 91_real")
    for student, cells in SHORT.items():
        hand_in(classroom, student, "90_short", cells)
    for student, cells in real(by_number(REAL)).items():
        hand_in(classroom, student, "91_real", cells)
    nbgrader(
        classroom,
        "autograde 90_short --Execute.timeout=5",
        "autograde 91_real",
        "generate_feedback 90_short",
        "export --to grades.csv",
    )
    with (classroom / "grades.csv").open(encoding="utf-8") as table:
        return {(row["assignment"], row["student_id"]): float(row["raw_score"] or 0) for row in csv.DictReader(table)}


def test_points_are_as_deserved_and_cheats_get_none(marks: dict[tuple[str, str], float]) -> None:
    short = {student: marks["90_short", student] for student in SHORT}
    assert short == {"right": 4, "partly": 2, "edits": 0, "hardcodes": 0, "deletes": 2, "loops": 2}


def test_a_check_that_was_replaced_or_patched_gives_nothing(marks: dict[tuple[str, str], float]) -> None:
    found = {student: marks["91_real", student] for student in real(by_number(REAL))}
    assert found == {"right": 3, "overwrites": 1, "patches": 0}


def test_a_loop_costs_only_its_own_cell(classroom: Path, marks: dict[tuple[str, str], float]) -> None:
    assert marks["90_short", "loops"] == 2
    seen = nbformat.read(classroom / "autograded" / "loops" / "90_short" / "90_short.ipynb", 4)
    errors = {
        c.id: [o.ename for o in c.outputs if o.output_type == "error"] for c in seen.cells if c.cell_type == "code"
    }
    assert errors["double-check"]
    assert errors["area-check"] == []


def test_every_student_gets_feedback_with_the_reason(classroom: Path, marks: dict[tuple[str, str], float]) -> None:
    pages = {path.parents[1].name: path for path in (classroom / "feedback").rglob("*.html")}
    assert set(pages) == set(SHORT)
    assert "AssertionError" in pages["partly"].read_text(encoding="utf-8")


def test_grading_leaves_the_teachers_progress_alone(classroom: Path, marks: dict[tuple[str, str], float]) -> None:
    assert (classroom / ".graded.json").is_file()


def test_nbgrader_takes_the_list_of_students(classroom: Path, tmp_path: Path) -> None:
    course = tmp_path / "course"
    course.mkdir()
    for name in (release.CONFIG, release.STUDENTS):
        shutil.copy(classroom / name, course)
    nbgrader(course, f"db student import {release.STUDENTS}")
