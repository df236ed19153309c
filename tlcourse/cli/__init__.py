"""The command `tlcourse`: everything around the lessons that is not a lesson."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from io import TextIOWrapper

from tlcourse.cli.course import CommandError
from tlcourse.cli.parser import build_parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status: 0 done, 1 failed, 2 misused, 130 interrupted.

    Errors that the course raises on purpose carry their remedy, so they are shown as one message. Any other
    exception is a defect and keeps its traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and not stream.isatty():
            stream.reconfigure(encoding="utf-8")  # Windows writes files in an encoding that has no ✓
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.print_help()
        return 0
    command = import_module(f"tlcourse.cli.{arguments.module}")  # only what this command needs
    try:
        return int(command.run(arguments))
    except BrokenPipeError:  # `tlcourse doctor | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Run the same command again to go on.", file=sys.stderr)
        return 130
    except (CommandError, RuntimeError) as error:
        if not type(error).__module__.startswith("tlcourse."):
            raise
        print(f"tlcourse: {error}", file=sys.stderr)
        return 1
