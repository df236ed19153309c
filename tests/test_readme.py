"""What the README tells people to type exists, and its course map is true."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from tlcourse.cli.course import lessons
from tlcourse.cli.parser import build_parser
from tlcourse.data.own import images, texts  # named in the README

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(?:bash|powershell)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [line.split("#")[0].strip() for block in BLOCKS for line in block.splitlines() if line.strip()]
MAP = re.findall(r"^\| (\d\d) \| (?:\[(\w+)\]\(([^)]+)\)|(\w+)) \| ([^|]+) \| *(\d*) *\|$", README, re.MULTILINE)


@pytest.mark.parametrize("command", sorted(set(COMMANDS)))
def test_a_command_of_the_readme_exists(command: str) -> None:
    program, *rest = command.removeprefix(".venv\\Scripts\\").split()
    if program == "make":
        assert re.search(rf"^(\w+ )*{rest[0]}( \w+)*:", MAKEFILE, re.MULTILINE)
    elif program == "tlcourse":
        build_parser().parse_args(rest)
    elif "install" in rest:
        assert [program, *rest] == ["python", "-m", "pip", "install", "-e", '".[notebooks]"']
    elif program == "conda":
        assert rest in (["env", "create", "-f", "environment.yml"], ["activate", "tlcourse"])
        assert "name: tlcourse" in (ROOT / "environment.yml").read_text(encoding="utf-8")
    else:
        assert command in ("python3 -m venv .venv", "py -m venv .venv") or "ctivate" in command


def test_the_course_map_has_nineteen_lessons_and_links_those_that_exist() -> None:
    assert [row[0] for row in MAP] == [f"{number:02}" for number in range(19)]
    linked = {number: link for number, name, link, _, _, _ in MAP if name}
    there = {number: f"notebooks/{path.name}" for number, path in lessons(ROOT).items()}
    assert linked == there, "link the lessons that exist in the course map of README.md, and no others"
    for number, name, link, _, question, minutes in MAP:
        assert question.strip()
        if link:
            assert link == f"notebooks/{number}_{name}.ipynb"
            assert minutes, f"lesson {number} is here but the course map does not say how long it takes"


def test_own_data_functions_of_the_readme_take_those_arguments() -> None:
    assert callable(images)
    assert {"text", "label"} <= set(inspect.signature(texts).parameters)
