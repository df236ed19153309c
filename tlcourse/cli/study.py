"""`tlcourse progress` and `tlcourse exercises`: the reader's side and the author's side of the exercises."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from tlcourse.checks.progress import Progress
from tlcourse.cli import course
from tlcourse.cli.plan import Step


def run(arguments: argparse.Namespace) -> int:
    """Show the progress, or write the exercises."""
    return progress() if arguments.command == "progress" else exercises(check_only=arguments.check)


def progress() -> int:
    """One line per lesson: finished or not, which exercises are passed, minutes left; then the next step."""
    from tlcourse.checks import progress as notes
    from tlcourse.cli import plan

    folder = course.root()
    done, steps = notes.read(), plan.steps(folder)
    titles = {number: path.stem[3:] for number, path in course.lessons(folder).items()}
    width = max(map(len, titles.values()))
    for number, title in titles.items():
        mine = [step for step in steps if step.lesson == number]
        print(f"{'✓' if number in done.lessons else '·'} {number} {title:<{width}}  {_row(mine, done)}".rstrip())
    tasks = [step for step in steps if step.checks]
    passed = sum(step.done(done) for step in tasks)
    print(f"\n{passed} of {len(tasks)} exercises passed, {len(done.lessons)} of {len(titles)} lessons finished")
    if step := plan.next_step(steps, done):
        place = step.notebook.relative_to(folder).as_posix()
        print(f"next: {step.title} ({step.minutes} minutes), in {place}")
        print(f"left: {_hours(sum(step.minutes for step in steps if not step.done(done)))}")
    else:
        print("All done.")
    print(f"kept in {notes.path()}")
    return 0


def _row(steps: Sequence[Step], done: Progress) -> str:
    """A dot for each exercise of a lesson, full where it is passed, and the minutes left in the lesson."""
    dots = "".join("●" if step.done(done) else "○" for step in steps if step.checks)
    minutes = sum(step.minutes for step in steps if not step.done(done))
    return f"{dots:<6} {f'{minutes:>3} minutes left' if minutes else ''}"


def _hours(minutes: int) -> str:
    """Minutes as people say them."""
    return f"{minutes} minutes" if minutes < 120 else f"about {round(minutes / 60)} hours"


def exercises(*, check_only: bool) -> int:
    """Write exercises/ from solutions/, or (`check_only`) fail when a file there is not up to date."""
    from tlcourse.checks import generate

    folder = course.root()
    stale = generate.build(folder, check_only=check_only)
    for path in stale:
        state = "out of date" if check_only else "written" if path.exists() else "removed"
        print(f"{state}: {path.relative_to(folder)}")
    if not stale:
        print("exercises/ is up to date")
    elif check_only:
        print("Run: tlcourse exercises build")
    return int(bool(stale) and check_only)
