"""`tlcourse recipe`: repeat the long runs behind the tables and networks that the course ships."""

from __future__ import annotations

import argparse

from tlcourse.cli.course import CommandError


def run(arguments: argparse.Namespace) -> int:
    """List the recipes, or run one; a run that was stopped goes on where it was."""
    from tlcourse import recipes

    if arguments.name is None:
        for name in recipes.names():
            print(f"{name}: {recipes.load(name)['card']['seconds'] / 60:.0f} minutes when it was last run")
        return 0
    if arguments.name not in recipes.names():
        raise CommandError(f"no recipe {arguments.name!r}. There are: {', '.join(recipes.names())}")
    print(f"written: {recipes.run(arguments.name)}")
    return 0
