"""Every lesson, solution and exercise keeps the rules of the house."""

from __future__ import annotations

from pathlib import Path

import notebook_rules as rules
import pytest

ROOT = Path(__file__).resolve().parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EXERCISES = sorted([*(ROOT / "solutions").glob("*.ipynb"), *(ROOT / "exercises").glob("*.ipynb")])


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_lesson(path: Path) -> None:
    assert rules.lesson_problems(path) == []


@pytest.mark.parametrize("path", EXERCISES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_exercises(path: Path) -> None:
    assert rules.exercise_problems(path) == []


def test_every_lesson_but_the_first_has_exercises() -> None:
    wanted = {path.name for path in LESSONS if path.name[:2] not in ("00",)}
    assert {path.name for path in EXERCISES if path.parent.name == "exercises"} == wanted
    assert {path.name for path in EXERCISES if path.parent.name == "solutions"} == wanted


def test_every_quiz_is_sound_and_has_its_lesson() -> None:
    from tlcourse.lesson import quiz

    numbers = [path.stem for path in sorted(quiz.FOLDER.glob("*.json"))]
    for number in numbers:
        quiz.load(number)
    assert set(numbers) <= {path.name[:2] for path in LESSONS}
