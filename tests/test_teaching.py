"""The teachers' guide agrees with the lessons and with itself."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
GUIDE = ROOT / "docs" / "teaching"
LESSONS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def page(name: str) -> str:
    return (GUIDE / name).read_text(encoding="utf-8")


def test_every_lesson_has_goals_timing_difficulties_and_questions() -> None:
    parts = dict(re.findall(r"^## (\d\d) · (.*?)(?=^## |\Z)", page("lessons.md"), re.MULTILINE | re.DOTALL))
    assert {path.name[:2] for path in LESSONS} <= set(parts)
    assert set(parts) == {f"{number:02}" for number in range(19)}
    for number, text in parts.items():
        for needed in ("**Goals.**", "**Live**", "**Lab**", "**Difficulties**", "**Discussion**"):
            assert needed in text, f"{number}: {needed}"
        assert len(re.findall(r"^\d\. \*.*\?\*|^\d\. \*", text, re.MULTILINE)) >= 2, number


def test_measured_memory_is_within_what_the_guide_plans_for() -> None:
    found = {}
    for path in LESSONS:
        text = path.read_text(encoding="utf-8")
        found[path.stem] = [float(size) for size in re.findall(r"memory +([\d.]+) GB", text)]
    assert any(found.values())
    low, high = map(float, re.search(r"between ([\d.]+) and ([\d.]+) GB", page("jupyterhub.md")).groups())  # type: ignore[union-attr]
    for name, sizes in found.items():
        assert all(low - 0.3 <= size <= min(high + 0.3, 3) for size in sizes), f"{name}: {sizes}"


def test_exercises_that_the_syllabi_name_are_there() -> None:
    there = set()
    for path in (ROOT / "solutions").glob("*.ipynb"):
        text = "\n".join(cell.source for cell in nbformat.read(path, 4).cells)
        there |= set(re.findall(r"^### Exercise (\d+\.\d)", text, re.MULTILINE))
    named = set()
    table = page("syllabi.md")
    for first, last in re.findall(r"(\d+\.\d)(?:–(\d+\.\d))?", table):
        lesson, start = first.split(".")
        end = (last or first).split(".")[1]
        named |= {f"{lesson}.{number}" for number in range(int(start), int(end) + 1)}
    assert named - there == set()


def test_the_exam_has_answers_and_its_points_add_up() -> None:
    text = page("exam.md")
    questions = re.findall(r"^\*\*(\d+)\*\* \([ABC], (\d) points\)\. .*?\n\n> (.*?)\n", text, re.MULTILINE)
    assert [int(number) for number, _, _ in questions] == list(range(1, len(questions) + 1))
    assert len(questions) == 36
    for number, points, answer in questions:
        marked = sum(map(int, re.findall(r"\((\d)\)", answer)))
        assert "1 each" in answer or marked == int(points), f"question {number}: {marked} of {points}"
