"""`tlcourse release`: the exercises as a course for nbgrader."""

from __future__ import annotations

import argparse
from pathlib import Path

from tlcourse.cli import course
from tlcourse.cli.course import CommandError


def run(arguments: argparse.Namespace) -> int:
    """Write the course, and say what was written and what to do next."""
    from tlcourse.checks import release

    folder = course.root()
    solutions = [solution(folder, name) for name in arguments.lessons] or sorted((folder / "solutions").glob("*.ipynb"))
    to = Path(arguments.to).expanduser()
    try:
        made = release.write(solutions, to, course_id=arguments.course_id, timeout=arguments.timeout, add=arguments.add)
    except ValueError as error:
        raise CommandError(str(error)) from error
    except ModuleNotFoundError as error:
        raise CommandError(f"{error.name} is missing; run: {course.INSTALL}") from error
    for name in made.written:
        print(f"written: {name} ({made.points[name]} points)")
    for name in made.kept:
        print(f"kept as it is: {name}")
    print(f"{sum(made.points.values())} points in {len(made.written)} new assignments, in {to}")
    print("next, in that folder: list your students in students.csv, then")
    print("  nbgrader db student import students.csv")
    if made.written:
        print(f"  nbgrader generate_assignment {made.written[0]}")
    return 0


def solution(folder: Path, name: str) -> Path:
    """The solution notebook of the lesson that `name` means. Raises CommandError for a lesson without exercises."""
    lesson = course.lesson(folder, name)
    path = folder / "solutions" / lesson.name
    if not path.is_file():
        raise CommandError(f"lesson {lesson.stem} has no exercises to release; leave it out")
    return path
