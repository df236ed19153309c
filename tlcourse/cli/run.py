"""`tlcourse run`: lessons without a browser."""

from __future__ import annotations

import argparse
import sys

from tlcourse.cli import course


def run(arguments: argparse.Namespace) -> int:
    """Execute each lesson in a fresh kernel and print its claims; the exit status is 1 when one fails."""
    folder = course.root()
    paths = [course.lesson(folder, name) for name in arguments.lessons]  # all names first: a typo costs no minutes

    from tlcourse.lesson.execute import execute

    failed = False
    for path in paths:
        print(f"Lesson {path.stem}", flush=True)
        result = execute(path, write=arguments.write)
        memory = "" if result.memory_gb is None else f", {result.memory_gb:.2f} GB at most"
        if result.failure:
            failed = True
            print(f"✗ {path.stem}: {result.failure}", file=sys.stderr)
        else:
            print(f"claims that hold: {len(result.claims)}; {result.seconds:.1f} s{memory}")
    return int(failed)
