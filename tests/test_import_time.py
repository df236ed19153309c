"""`import tlcourse` must cost next to nothing: every command and every kernel pays for it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import tlcourse

LIMIT = 0.2  # seconds


def import_seconds() -> float:
    """Cumulative seconds that Python itself reports for `import tlcourse`."""
    run = subprocess.run([sys.executable, "-X", "importtime", "-c", "import tlcourse"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    row = re.search(r"\|\s+(\d+) \| tlcourse$", run.stderr, re.MULTILINE)
    assert row, run.stderr[-500:]
    return int(row[1]) / 1e6


def test_import_takes_less_than_the_limit() -> None:
    assert min(import_seconds() for _ in range(3)) <= LIMIT


def test_import_leaves_heavy_packages_alone() -> None:
    heavy = "torch numpy matplotlib transformers timm sklearn accelerate IPython"
    code = f"import sys, tlcourse; print([m for m in {heavy.split()} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_rooms_are_attributes_and_unknown_names_are_errors() -> None:
    assert tlcourse.assets.__name__ == "tlcourse.assets"
    assert "lesson" in dir(tlcourse)
    with pytest.raises(AttributeError, match="no attribute 'lessons'"):
        _ = tlcourse.lessons
