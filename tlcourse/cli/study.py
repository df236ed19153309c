"""`tlcourse progress` and `tlcourse exercises`: the reader's side and the author's side of the exercises."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from tlcourse.cli import course


def run(arguments: argparse.Namespace) -> int:
    """Show the progress, or write the exercises."""
    return progress() if arguments.command == "progress" else exercises(check_only=arguments.check)


def progress() -> int:
    """One line per lesson: finished or not, which checks are passed, which are left."""
    from tlcourse import checks
    from tlcourse.checks import progress as notes

    done = notes.read()
    names = checks.names()
    titles = {number: path.stem[3:] for number, path in course.lessons(course.root()).items()}
    width = max(map(len, titles.values()))
    passed = total = 0
    for number, title in titles.items():
        known: Sequence[str] = names.get(number, ())
        solved = [name for name in known if name in done.checks.get(number, {})]
        left = [name for name in known if name not in solved]
        passed, total = passed + len(solved), total + len(known)
        mark = "✓" if number in done.lessons else "·"
        line = f"{mark} {number} {title:<{width}}"
        if known:
            line += f"  {'●' * len(solved)}{'○' * len(left)} {len(solved)} of {len(known)}"
        if solved and left:
            line += f"; to do: {', '.join(left)}"
        print(line.rstrip())
    print(f"\n{passed} of {total} checks passed, {len(done.lessons)} of {len(titles)} lessons finished")
    print(f"kept in {notes.path()}")
    return 0


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
