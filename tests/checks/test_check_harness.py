"""The harness itself: it must see every kind of fault, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import check_harness as harness
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tlcourse.checks import generate

SOLUTION = """def double(x):
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION"""
LESSON = '''
import torch
from tlcourse.checks.base import check
from tlcourse.checks.expect import close, expect, tensor

@check
def doubles(double):
    """twice its input"""
    x = torch.randn(3, 4) + 5
    got = tensor(double(x), (3, 4), tried="double(x)")
    expect(not torch.allclose(got, x + 2), tried="double(x)", got="x + 2", misconception="Multiply, do not add.")
    close(got, 2 * x, tried="double(x)", misconception="Every entry should be doubled.")

@check
def both(first, second):
    """first undoes second"""
    close(first(second(1.0)), 1.0, tried="first(second(1))", misconception="They should cancel.")
'''
GOOD = {
    "doubles": [("adds", lambda x: x + 2, "do not add"), ("transposes", lambda x: 2 * x.T, r"shape \(4, 3\)")],
    "both": [
        ("same", (lambda x: x + 1, lambda x: x + 1), "3, not 1"),
        ("none", (lambda x: None, lambda x: x), "return` missing"),
    ],
}


@pytest.fixture
def checks(tmp_path: Path) -> dict[str, Callable[..., None]]:
    file = tmp_path / "lesson97.py"
    file.write_text(LESSON, encoding="utf-8")
    return harness.public_checks(harness.load(file), ("doubles", "both"))


def test_good_wrong_answers_have_no_problem(checks: dict[str, Callable[..., None]]) -> None:
    assert harness.wrong_problems(checks, GOOD) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"doubles": GOOD["doubles"][:1]}, "doubles: 1 wrong answers, at least 2"),
        ({"doubles": []}, "doubles: 0 wrong answers"),
        ({"triples": GOOD["doubles"]}, "triples: wrong answers for a check that does not exist"),
        (
            {"doubles": [*GOOD["doubles"], ("is right", lambda x: x + x, "nothing")]},
            "doubles, is right: not caught by CheckFailed but None",
        ),
        (
            {"doubles": [("adds", lambda x: x + 2, "transposed"), GOOD["doubles"][1]]},
            "doubles, adds: its message does not match 'transposed'",
        ),
        (
            {"doubles": [("adds", lambda x: x + 2, "Came out"), GOOD["doubles"][1]]},
            "doubles, adds: 'Came out' also matches the message of 'transposes'",
        ),
    ],
)
def test_faulty_wrong_answers_are_seen(
    checks: dict[str, Callable[..., None]], change: dict[str, list[tuple[str, object, str]]], problem: str
) -> None:
    problems = harness.wrong_problems(checks, {**GOOD, **change})
    assert any(found.startswith(problem) for found in problems), problems


def test_a_check_that_accepts_everything_is_seen() -> None:
    problems = harness.wrong_problems({"doubles": lambda double: None}, {"doubles": GOOD["doubles"]})
    assert sum("not caught" in problem for problem in problems) == 2


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """A course of one exercise, whose checks come from a file beside it."""
    (tmp_path / "lesson97.py").write_text(LESSON, encoding="utf-8")
    (tmp_path / "solutions").mkdir()
    write(tmp_path, SOLUTION)
    return tmp_path


def write(course: Path, solution: str, *, check: str = "check.doubles(double)") -> None:
    head = (
        f"import sys; sys.path.insert(0, {str(course)!r}); sys.modules.pop('lesson97', None)\nimport lesson97 as check"
    )
    cells = [new_code_cell(text, id=f"cell-{place}") for place, text in enumerate([head, solution, check])]
    cells[2].metadata["tags"] = ["points-1"]
    nbformat.write(new_notebook(cells=cells), course / "solutions" / "97_double.ipynb")
    generate.build(course)


def solution(course: Path) -> Path:
    return course / "solutions" / "97_double.ipynb"


def outcomes(course: Path) -> dict[str, list[BaseException | None]]:
    """What comes of the checks of the untouched exercise."""
    return harness.run_checks(course / "exercises" / "97_double.ipynb")


def test_solution_and_stub_of_a_good_exercise_have_no_problem(course: Path) -> None:
    assert harness.solution_problems(("doubles",), solution(course)) == []
    assert harness.stub_problems(("doubles",), outcomes(course)) == []


@pytest.mark.parametrize("tag", ["nbval-skip", "raises-exception"])
def test_a_check_where_nobody_would_see_it_fail_is_seen(course: Path, tag: str) -> None:
    notebook = nbformat.read(solution(course), as_version=4)
    notebook.cells[2].metadata["tags"] = [tag, "points-1"]
    nbformat.write(notebook, solution(course))
    (problem,) = harness.solution_problems(("doubles",), solution(course))
    assert problem == f"doubles: nobody sees it fail in a cell with the tag {tag}"


def test_a_check_that_is_never_called_or_unknown_is_seen(course: Path) -> None:
    write(course, SOLUTION, check="check.doubled(double)")
    assert harness.solution_problems(("doubles",), solution(course)) == [
        "doubles: no cell of the solution calls this check",
        "doubled: the solution calls a check that does not exist",
    ]


def test_a_stub_that_passes_or_crashes_is_seen(course: Path) -> None:
    write(course, "def double(x):\n    return 2 * x\n### BEGIN SOLUTION\n### END SOLUTION")
    assert "None" in harness.stub_problems(("doubles",), outcomes(course))[0]
    write(course, "### BEGIN SOLUTION\ndef double(x):\n    return 2 * x\n### END SOLUTION")
    problems = harness.stub_problems(("doubles",), outcomes(course))
    assert "NameError" in problems[0], problems
    write(course, SOLUTION + "\nundefined")
    problems = harness.stub_problems(("doubles",), outcomes(course))
    assert any("a cell of the exercise raises NameError" in problem for problem in problems)
