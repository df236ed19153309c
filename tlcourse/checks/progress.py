"""What the reader has finished: one local JSON file, without accounts or network.

    {"version": 1, "checks": {"01": {"few_labels": "2026-11-23T10:00:00+00:00"}}, "lessons": {"01": "2026-…"}}

`TLCOURSE_PROGRESS` names another file. Several notebooks may write at once.
"""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path


@dataclass
class Progress:
    """When each check was passed and each lesson finished (ISO times, by lesson number)."""

    checks: dict[str, dict[str, str]] = field(default_factory=dict)
    lessons: dict[str, str] = field(default_factory=dict)


def path() -> Path:
    """The progress file: `TLCOURSE_PROGRESS`, or one in the reader's data folder."""
    if named := os.environ.get("TLCOURSE_PROGRESS"):
        return Path(named).expanduser()
    from platformdirs import user_data_path

    return user_data_path("tlcourse", appauthor=False) / "progress.json"


def read() -> Progress:
    """The progress so far. A damaged file counts as none; it is put aside when the next note is written."""
    return _parse(path()) or Progress()


def note_check(lesson: str, name: str) -> None:
    """Note that the check `name` of lesson `lesson` ("01") was passed. The first time is kept."""
    _update(lambda progress: progress.checks.setdefault(lesson, {}).setdefault(name, _now()))


def note_lesson(lesson: str) -> None:
    """Note that lesson `lesson` ("01") ran to its end. The first time is kept."""
    _update(lambda progress: progress.lessons.setdefault(lesson, _now()))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _parse(file: Path) -> Progress | None:
    """The content of `file`; None if it is damaged."""
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        progress = Progress(
            checks={str(number): {str(k): str(v) for k, v in found.items()} for number, found in raw["checks"].items()},
            lessons={str(number): str(when) for number, when in raw["lessons"].items()},
        )
    except FileNotFoundError:
        return Progress()
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return progress


def _update(change: Callable[[Progress], object]) -> None:
    """Read, change and replace the file under a lock. Progress is a convenience: failing to save it only warns."""
    from filelock import FileLock, Timeout

    file = path()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{file}.lock", timeout=10):
            progress = _parse(file)
            if progress is None:
                aside = file.with_name(f"{file.name}.damaged-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}")
                file.replace(aside)
                warnings.warn(f"the progress file was damaged and is kept as {aside}; starting a new one", stacklevel=3)
                progress = Progress()
            change(progress)
            _replace(file, progress)
    except (OSError, Timeout) as error:
        warnings.warn(f"progress was not saved ({error}); set TLCOURSE_PROGRESS to a file you may write", stacklevel=3)


def _replace(file: Path, progress: Progress) -> None:
    """Write beside `file`, then move into place, so that nobody ever reads half a file."""
    content = {"version": 1, "checks": progress.checks, "lessons": progress.lessons}
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=file.name, suffix=".new")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text + "\n")
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
