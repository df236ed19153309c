"""The real source of a function, class or module, shown in the lesson, so that text and package cannot drift apart."""

from __future__ import annotations

import inspect
from pathlib import Path

import tlcourse

_HOME = Path(tlcourse.__file__).parents[1]


def markdown(thing: object) -> str:
    """Markdown with the file, the lines and the source of `thing`.

    Markdown, because every front end colours it for its own theme. Raises TypeError if `thing` has no Python source.
    """
    target = inspect.unwrap(thing) if callable(thing) else thing
    try:
        lines, first = inspect.getsourcelines(target)  # type: ignore[arg-type]
        file = Path(inspect.getsourcefile(target) or "")  # type: ignore[arg-type]
    except (TypeError, OSError):
        raise TypeError(
            f"source={thing!r} has no Python source to show: pass a function, a class or a module, not its result"
        ) from None
    name = file.relative_to(_HOME).as_posix() if file.is_relative_to(_HOME) else file.name
    first = max(first, 1)
    code = inspect.cleandoc("\n" + "".join(lines)) if lines[0].startswith(" ") else "".join(lines)
    fence = "`" * max(3, 1 + _longest_fence(code))
    return f"**`{name}`**, lines {first} to {first + len(lines) - 1}\n\n{fence}python\n{code.rstrip()}\n{fence}\n"


def _longest_fence(code: str) -> int:
    return max((len(line) - len(line.lstrip("`")) for line in map(str.strip, code.splitlines())), default=0)


def show(thing: object) -> None:
    """Display the source of `thing`."""
    from IPython.display import Markdown, display

    display(Markdown(markdown(thing)))
