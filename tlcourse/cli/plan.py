"""What there is to do in the course, in order, and how many minutes it takes: read from the notebooks."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tlcourse.checks.progress import Progress
from tlcourse.cli import course

_TITLE = re.compile(r"### Exercise (\d+\.\d+) · (.+?)\s+\([●○]{5}, (\d+) minutes\)")
_CHECK = re.compile(r"^\s*check\.(\w+)\(", re.MULTILINE)
_TIME = re.compile(r"\*\*Time\*\*.*?(\d+)\s*min", re.DOTALL)


@dataclass(frozen=True)
class Step:
    """A lesson to read, or an exercise: its `title`, the notebook it stands in, and how long it takes.

    `checks`: names of the checks that end an exercise; a lesson has none.
    """

    lesson: str
    title: str
    notebook: Path
    minutes: int
    checks: tuple[str, ...] = ()

    def done(self, progress: Progress) -> bool:
        """Whether the lesson ran to its end, or the exercise passed all its checks."""
        if not self.checks:
            return self.lesson in progress.lessons
        return set(self.checks) <= set(progress.checks.get(self.lesson, {}))


def steps(folder: Path) -> list[Step]:
    """Every lesson of the course in `folder`, each followed by its exercises."""
    found = []
    for number, path in course.lessons(folder).items():
        time = _TIME.search("\n".join(_cells(path)))
        found.append(Step(number, f"lesson {number}, {path.stem[3:]}", path, int(time[1]) if time else 0))
        exercise = folder / "exercises" / path.name
        if exercise.exists():
            found += _exercises(number, exercise)
    return found


def next_step(plan: Sequence[Step], progress: Progress) -> Step | None:
    """The first step left in the lesson where the latest note was made; else the first left after it, or anywhere.

    So nobody who began with lesson 05 is sent back to lesson 00. None when all is done.
    """
    left = [step for step in plan if not step.done(progress)]
    latest = _latest(progress)
    return next((step for step in left if step.lesson >= latest), left[0] if left else None)


def _latest(progress: Progress) -> str:
    """The lesson of the newest note, "00" without one."""
    notes = [(when, number) for number, when in progress.lessons.items()]
    notes += [(when, number) for number, found in progress.checks.items() for when in found.values()]
    return max(notes)[1] if notes else "00"


def _exercises(number: str, path: Path) -> list[Step]:
    """The exercises of a notebook: every title, with the checks that are called below it."""
    found: list[Step] = []
    title: re.Match[str] | None = None
    for text in _cells(path):
        title = _TITLE.match(text) or title
        names = tuple(_CHECK.findall(text))
        if title is None or not names:
            continue
        name = f"exercise {title[1]}, {title[2]}"
        if found and found[-1].title == name:
            names = found.pop().checks + names
        found.append(Step(number, name, path, int(title[3]), names))
    return found


def _cells(path: Path) -> list[str]:
    """The text of each cell. Read as JSON: nbformat takes longer to import than this takes."""
    return ["".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
