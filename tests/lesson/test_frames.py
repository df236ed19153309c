"""Frames of explorers: which are drawn, what the index says, and when they are stale."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from tlcourse.lesson import explorer, frames, style
from tlcourse.lesson.outputs import code_hash

ROOT = Path(__file__).resolve().parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
START = """import matplotlib.pyplot as plt
from tlcourse.lesson.session import Lesson
lesson = Lesson('77_toy')"""  # tl.start would import PyTorch
SHOW = """controls = {'labels': [1, 5, 20], 'style': ['a', 'b']}
lesson.explorer(draw, alt='A line up to {labels} in {style}.', controls=controls)"""
CELLS = (
    START,
    "def draw(labels, style):\n    fig, ax = plt.subplots(figsize=(3, 2))\n    ax.plot([0, labels])\n    return fig",
    SHOW,
    "raise RuntimeError('what comes after the explorer is not needed')",
)


@pytest.fixture(autouse=True)
def look() -> None:
    plt.switch_backend("agg")
    style.use()


def drawn(labels: float, style: str = "a") -> Figure:
    fig, ax = plt.subplots(figsize=(3, 2))
    ax.plot([0, labels])
    ax.set_title(style)
    return fig


def made(**controls: Any) -> explorer.Explorer:
    return explorer.Explorer(drawn, alt="A line from zero up to {labels}.", controls=controls, start={})


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    file = tmp_path / "77_toy.ipynb"
    nbformat.write(notebook, file)
    return file


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_the_frames_of_a_lesson_are_there_and_fresh(lesson: Path) -> None:
    assert frames.problem(lesson, ROOT / "docs" / "frames") == ""


def test_no_picture_is_left_over() -> None:
    for index in (ROOT / "docs" / "frames").glob(f"*/{frames.INDEX}"):
        named = {file for file, *_ in json.loads(index.read_text(encoding="utf-8"))["frames"]}
        there = {file.name for file in index.parent.iterdir()} - {frames.INDEX}
        assert there == named, index.parent


def test_index_has_every_combination_in_order_and_pictures_are_those_of_the_explorer(tmp_path: Path) -> None:
    frames.save(made(labels=[1, 5], style=["a", "b", "c"]), tmp_path / "77", choices={}, hashed="h")
    index = frames.load("77_toy", tmp_path)
    assert index is not None
    assert [control["choices"] for control in index["controls"]] == [[1, 5], ["a", "b", "c"]]
    assert [control["kind"] for control in index["controls"]] == ["slider", "buttons"]
    assert (index["start"], index["code_hash"], index["all"]) == ([0, 0], "h", True)
    assert len({file for file, *_ in index["frames"]}) == 6
    assert [alt[-2] for _, alt, _ in index["frames"]] == list("111555")
    with Image.open(tmp_path / "77" / index["frames"][0][0]) as picture:
        assert picture.width == round(300 * style.SHARPNESS)


def test_equal_frames_are_one_file_and_old_ones_go(tmp_path: Path) -> None:
    (tmp_path / "old.webp").write_bytes(b"")
    same = explorer.Explorer(
        lambda labels: drawn(1), alt="A line that never changes at all.", controls={"labels": [1, 2, 3]}, start={}
    )
    frames.save(same, tmp_path, choices={}, hashed="h")
    assert len(list(tmp_path.glob("*.webp"))) == 1
    assert not (tmp_path / "old.webp").exists()


def test_own_choices_replace_those_of_a_text(tmp_path: Path) -> None:
    box = made(labels=[1, 2], style="first")
    frames.save(box, tmp_path, choices={"style": ["first", "second"]}, hashed="h")
    index = json.loads((tmp_path / frames.INDEX).read_text(encoding="utf-8"))
    assert index["controls"][1]["choices"] == ["first", "second"]
    assert index["all"] is False
    with pytest.raises(ValueError, match="must hold its first value 'first'"):
        frames.save(made(labels=[1, 2], style="first"), tmp_path, choices={"style": ["second"]}, hashed="h")
    with pytest.raises(ValueError, match=r"choices name \['labls'\]"):
        frames.save(made(labels=[1, 2]), tmp_path, choices={"labls": [1]}, hashed="h")


def test_a_large_grid_is_thinned_with_its_ends_and_its_start() -> None:
    axes = frames.grid({"a": list(range(20)), "b": list(range(10)), "c": [0, 1]}, {"a": 7, "b": 0, "c": 1}, most=36)
    assert len(axes[0]) * len(axes[1]) * len(axes[2]) <= 36
    for axis, last, start in zip(axes, (19, 9, 1), (7, 0, 1), strict=True):
        assert axis == sorted(set(axis))
        assert {0, last, start} <= set(axis)
    assert frames.thinned([1, 2, 3], 2, 1) == [2]
    assert frames.thinned([1, 2, 3], 2, 5) == [1, 2, 3]
    assert frames.grid({"a": [1, 2]}, {"a": 1}) == [[1, 2]]


def test_a_lesson_is_run_up_to_its_explorer_and_goes_stale_with_its_code(toy: Path, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    assert frames.problem(toy, folder) == "77_toy: its explorer has no frames; run make frames"
    assert frames.main([str(toy), "--to", str(folder), "--check"]) == 1
    assert frames.main([str(toy), "--to", str(folder)]) == 0
    assert frames.problem(toy, folder) == ""
    notebook = nbformat.read(toy, as_version=4)
    notebook.cells[3].source = "later = 'may change'"
    nbformat.write(notebook, toy)
    assert frames.problem(toy, folder) == ""
    notebook.cells[1].source += "  # another way to draw"
    nbformat.write(notebook, toy)
    assert "has changed" in frames.problem(toy, folder)


def test_a_missing_picture_and_a_lesson_that_fails_are_told(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needed = frames.until_explorer(nbformat.read(toy, as_version=4))
    assert needed is not None
    frames.save(made(labels=[1, 2]), tmp_path / "77", choices={}, hashed=code_hash(needed))
    assert frames.problem(toy, tmp_path) == ""
    next((tmp_path / "77").glob("*.webp")).unlink()
    assert "is missing; run make frames" in frames.problem(toy, tmp_path)
    notebook = nbformat.read(toy, as_version=4)
    notebook.cells[0].source = "raise RuntimeError('no drawing today')"
    nbformat.write(notebook, toy)
    assert frames.main([str(toy), "--to", str(tmp_path)]) == 1
    assert "no drawing today" in capsys.readouterr().err


def test_a_lesson_without_explorer_needs_no_frames(tmp_path: Path) -> None:
    file = tmp_path / "00_start.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")]), file)
    assert frames.problem(file, tmp_path) == ""
    assert frames.make(file, tmp_path) == ""
