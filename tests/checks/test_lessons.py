"""The checks of every lesson against stub, solution and typical wrong answers. New lessons only add files."""

from __future__ import annotations

import importlib
from pathlib import Path

import check_harness as harness
import pytest

from tlcourse import checks

ROOT = Path(__file__).resolve().parents[2]
NAMES = checks.names()
WRONG = Path(__file__).parent / "wrong"


def notebook(folder: str, lesson: str) -> Path:
    found = list((ROOT / folder).glob(f"{lesson}_*.ipynb"))
    assert len(found) == 1, f"{folder}/ should hold one notebook {lesson}_*.ipynb, not {found}"
    return found[0]


def test_lessons_have_checks_and_checks_have_lessons() -> None:
    solved = {path.name[:2] for path in (ROOT / "solutions").glob("*.ipynb")}
    assert solved == set(NAMES), "every solutions/NN_*.ipynb needs tlcourse/checks/lessonNN.py, and the other way round"
    assert {path.stem for path in WRONG.glob("lesson*.py")} == {f"lesson{number}" for number in NAMES}
    assert all(NAMES.values()), f"a file of checks without a @check: {NAMES}"


@pytest.mark.parametrize("lesson", NAMES)
def test_wrong_answers_are_caught_each_with_its_own_message(lesson: str) -> None:
    module = importlib.import_module(f"tlcourse.checks.lesson{lesson}")
    wrong = harness.load(WRONG / f"lesson{lesson}.py").WRONG
    assert harness.wrong_problems(harness.public_checks(module, NAMES[lesson]), wrong) == []


@pytest.mark.parametrize("lesson", NAMES)
def test_solution_calls_its_checks_where_nbval_runs_them(lesson: str) -> None:
    assert harness.solution_problems(NAMES[lesson], notebook("solutions", lesson)) == []


@pytest.mark.parametrize("lesson", NAMES)
def test_stub_fails_its_checks(lesson: str) -> None:
    assert harness.stub_problems(NAMES[lesson], harness.run_checks(notebook("exercises", lesson))) == []
