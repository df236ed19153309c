"""Where the course lies on this machine, and which lessons it has."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

START = Path("notebooks", "00_start_here.ipynb")
INSTALL = 'python -m pip install -e ".[notebooks]"'  # the remedy for a package that is missing


class CommandError(RuntimeError):
    """A command cannot do what was asked; the message says what to do instead."""


def root(start: Path | None = None) -> Path:
    """The course folder: the first one at or above `start` (the current folder), else the one that this package is in.

    Raises CommandError where there is none, as after an install without the notebooks.
    """
    here = (start or Path.cwd()).resolve()
    package = Path(__file__).resolve().parents[2]
    for folder in (here, *here.parents, package):
        if (folder / START).is_file():
            return folder
    raise CommandError(
        f"no course here: {START.as_posix()} is neither in {here} nor above it. "
        "Change to the folder that you cloned or unpacked, and run the command again."
    )


def lessons(folder: Path) -> dict[str, Path]:
    """The lessons of the course in `folder` by number: {"00": …/00_start_here.ipynb, …}."""
    return {path.name[:2]: path for path in sorted((folder / "notebooks").glob("[0-9][0-9]_*.ipynb"))}


def lesson(folder: Path, name: str) -> Path:
    """The lesson that `name` means: a number ("1", "01"), a name ("01_why_transfer", "why_transfer") or a file.

    Raises CommandError, listing the lessons that there are.
    """
    found = lessons(folder)
    stem = Path(name).name.removesuffix(".ipynb")
    number = stem.zfill(2)
    if number in found:
        return found[number]
    for path in found.values():
        if stem in (path.stem, path.stem[3:]):
            return path
    names = [path.stem for path in found.values()]
    near = get_close_matches(stem, [*names, *(n[3:] for n in names)], n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise CommandError(f"no lesson {name!r}.{hint} There are: {', '.join(names)}")
