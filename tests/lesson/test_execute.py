"""Running a lesson without a browser, and what is saved of it."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbconvert.exporters import HTMLExporter
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tlcourse.lesson import execute
from tlcourse.lesson.outputs import WIDGET, clean, code_hash

# `Lesson` without `tl.start`, which would import torch.
LESSON = """import os, sys
from matplotlib import pyplot as plt
from tlcourse.lesson.session import Lesson
lesson = Lesson("05_lora", memory_gb=1000)
print(os.environ["TLCOURSE_HEADLESS"], os.path.basename(os.getcwd()))"""
SHOW = """fig, ax = plt.subplots(); ax.plot([1, 2])
lesson.show(fig, alt="A line that goes up from 1 to 2.")
def draw(labels):
    fig, ax = plt.subplots(); ax.plot([1, labels])
    return fig
lesson.explorer(draw, alt="A line up to {labels} labels.", controls={"labels": [2, 3]})"""
QUIZ = """wrong = {"answer": "b", "correct": False, "feedback": "An explanation of it."}
right = {"answer": "a", "correct": True}
lesson.quiz([{"question": "?", "type": "multiple_choice", "answers": [right, wrong, {**wrong, "answer": "c"}]}] * 3)"""
BAR = "import sys; from tqdm import tqdm\nfor _ in tqdm(range(3), mininterval=0): print('between', file=sys.stderr)"


def write(path: Path, *sources: str) -> Path:
    cells = [new_code_cell(source, id=f"cell-{number}") for number, source in enumerate(sources)]
    nbformat.write(new_notebook(cells=[new_markdown_cell("# 05", id="title"), *cells]), path)
    return path


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[execute.Run, nbformat.NotebookNode, bytes]:
    """A lesson that was run and saved. Its kernelspec is one that does not exist here."""
    path = tmp_path_factory.mktemp("course") / "05_lora.ipynb"
    claims = 'lesson.claim("a", True, "1")\nlesson.claim("b", True)'
    write(path, LESSON, claims, SHOW, QUIZ, BAR, "undefined", 'print("warning", file=sys.stderr)', "lesson.finish()")
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.kernelspec = {"name": "some-conda-env", "display_name": "mine"}
    notebook.cells[6].metadata["tags"] = ["nbval-skip"]
    nbformat.write(notebook, path)
    run = execute.execute(path, write=True, progress=False)
    return run, nbformat.read(path, as_version=4), path.read_bytes()


def test_run_collects_claims_seconds_and_memory(saved) -> None:
    run = saved[0]
    assert run.failure == ""
    assert run.claims == ("a (1)", "b")
    assert 0 < run.seconds < 60
    assert 0.05 < run.memory_gb < 10


def test_kernel_is_this_python_in_the_notebooks_folder_and_headless(saved) -> None:
    run, notebook, _ = saved
    assert notebook.cells[1].outputs[0].text == f"1 {run.notebook.parent.name}\n"


def test_saved_notebook_has_figures_but_no_widgets_quizzes_or_bars(saved) -> None:
    _, notebook, raw = saved
    figure, explorer = notebook.cells[3].outputs
    assert 'alt="A line that goes up from 1 to 2."' in figure.data["text/html"]
    assert 'alt="A line up to 2 labels."' in explorer.data["text/html"]
    assert WIDGET.encode() not in raw
    assert b"application/javascript" not in raw
    (line,) = notebook.cells[4].outputs
    assert line.data["text/markdown"] == "*Quiz of 3 questions: run this notebook to answer them.*"
    messages = "".join(output.text for output in notebook.cells[5].outputs)
    assert messages == "between\n" * 3, "the bar goes, other messages stay for their author to see"
    assert notebook.cells[7].outputs[0].text == "warning\n"
    assert len(raw) < 100_000


def test_saved_notebook_is_neutral_and_knows_its_code(saved) -> None:
    notebook = saved[1]
    assert notebook.metadata.kernelspec == {"name": "python3", "display_name": "Python 3", "language": "python"}
    assert notebook.metadata.language_info == {"name": "python"}
    assert "widgets" not in notebook.metadata
    assert notebook.metadata.tlcourse.code_hash == code_hash(notebook)
    assert all("execution" not in cell.metadata for cell in notebook.cells)
    assert [cell.id for cell in notebook.cells[:3]] == ["title", "cell-0", "cell-1"]


def test_alt_text_survives_the_export_to_a_page(saved) -> None:
    page, _ = HTMLExporter(template_name="lab").from_notebook_node(saved[1])
    assert re.findall(r'<img alt="([^"]*)"', page) == [
        "A line that goes up from 1 to 2.",
        "A line up to 2 labels.",
    ]


def test_failed_claim_is_reported_and_nothing_is_saved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "05_lora.ipynb", LESSON, 'lesson.claim("good", True)\nlesson.claim("bad", False, "0.1")')
    before = path.read_bytes()
    assert execute.main([str(path), "--write"]) == 1
    said = capsys.readouterr()
    assert "✓ good" in said.out, "claims are told as they are made"
    assert "✗ bad (0.1)" in said.err
    assert "Traceback" not in said.err
    assert path.read_bytes() == before
    assert list(tmp_path.glob("*.new")) == []


def test_a_cell_that_does_not_end_and_a_kernel_that_dies_are_reported(tmp_path: Path) -> None:
    slow = execute.execute(write(tmp_path / "slow.ipynb", "import time; time.sleep(60)"), progress=False, timeout=1)
    assert "timed out" in slow.failure.lower()
    assert slow.memory_gb is None
    dead = execute.execute(write(tmp_path / "dead.ipynb", "import os; os._exit(9)"), progress=False)
    assert "died" in dead.failure.lower()


def test_missing_notebook_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no notebook"):
        execute.execute(tmp_path / "none.ipynb")


def test_hash_changes_with_code_and_with_nothing_else() -> None:
    def notebook(*cells: nbformat.NotebookNode) -> str:
        return code_hash(new_notebook(cells=list(cells)))

    first = notebook(new_code_cell("a = 1"), new_code_cell("b = 2"))
    assert first == notebook(new_markdown_cell("prose"), new_code_cell("a = 1\n"), new_code_cell("b = 2", outputs=[]))
    different = [
        notebook(new_code_cell("a = 2"), new_code_cell("b = 2")),
        notebook(new_code_cell("b = 2"), new_code_cell("a = 1")),
        notebook(new_code_cell("a = 1b = 2")),
        notebook(new_code_cell("a = 1")),
    ]
    assert len({first, *different}) == 5


def test_cleaning_twice_changes_nothing() -> None:
    view = new_output("display_data", data={WIDGET: {"model_id": "x"}, "text/plain": "VBox(children=())"})
    result = new_output("execute_result", data={"text/plain": "42"})
    made = new_notebook(cells=[new_code_cell("x", outputs=[view, result])])
    clean(made)
    assert [output.data for output in made.cells[0].outputs] == [{"text/plain": "42"}]
    once = nbformat.writes(made)
    clean(made)
    assert nbformat.writes(made) == once
