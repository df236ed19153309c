"""The floors of the house: the contract holds, and it would notice a room that reaches upstairs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the package in `folder`."""
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command; lint_imports_command()",
        "--no-cache",
    ]
    environment = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the package to break."""
    shutil.copytree(ROOT / "tlcourse", tmp_path / "tlcourse", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_every_room_imports_only_from_lower_floors() -> None:
    run = lint(ROOT)
    assert run.returncode == 0, run.stdout


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("assets", "from tlcourse import training"),
        ("data", "from tlcourse.models import small"),
        ("training", "def late():\n    from tlcourse.lesson import start"),
    ],
)
def test_an_import_from_upstairs_is_noticed(house: Path, room: str, line: str) -> None:
    (house / "tlcourse" / room / "upstairs.py").write_text(f'"""Breaks the rule."""\n\n{line}\n')
    run = lint(house)
    assert run.returncode == 1
    assert f"tlcourse.{room}.upstairs" in run.stdout


def test_a_room_without_a_floor_is_noticed(house: Path) -> None:
    (house / "tlcourse" / "attic").mkdir()
    (house / "tlcourse" / "attic" / "__init__.py").write_text('"""A room that nobody gave a floor."""\n')
    run = lint(house)
    assert run.returncode == 1
    assert "attic" in run.stdout
