"""The rules themselves: a good notebook has no problem, and each fault is seen."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import notebook_rules as rules
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tlcourse.lesson.figures import img
from tlcourse.lesson.outputs import code_hash

OPENING = """# 05 · LoRA

*Why is a rank-4 change enough?*

**You will be able to**

- one
- two
- three

**Before you start**: lesson 04.

**Time**: 40 minutes to study; 31 seconds and 1.2 GB to run on two cores.
"""
CLOSE = """**Predict.** What now? <details><summary>Answer</summary>This.</details>

## When it fails
Always.

## Go further
## References
"""
ALT = 'Loss & steps: "both zero" is flat.'


def figure() -> nbformat.NotebookNode:
    data = {"image/png": base64.b64encode(b"png").decode(), "text/html": img(b"png", ALT, 700)}
    return new_output("display_data", data=data, metadata={"tlcourse": {"alt": ALT}})


def summary() -> nbformat.NotebookNode:
    facts = {"claims": ["✓ a", "✓ b", "✓ c"], "seconds": 3.0, "memory_gb": 1.0}
    return new_output("display_data", data={"text/plain": "Lesson"}, metadata={"tlcourse": {"finish": facts}})


def lesson() -> nbformat.NotebookNode:
    """A notebook that keeps every rule of a lesson. Cells: 0 opening, 1 start, 2 close, 3 body, 4 finish, 5 hub."""
    made = new_notebook(
        cells=[
            new_markdown_cell(OPENING, id="a"),
            new_code_cell('import tlcourse as tl\nlesson = tl.start("05_lora")', id="b"),
            new_markdown_cell(CLOSE, id="c"),
            new_code_cell("%time 1\nlesson.explorer(draw)\nlesson.quiz()", id="d", outputs=[figure()]),
            new_code_cell("lesson.finish()", id="e", outputs=[summary()]),
            new_code_cell("hub()", id="f", metadata={"tags": ["nbval-skip"]}),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    made.metadata["tlcourse"] = {"code_hash": code_hash(made)}
    return made


def problems(made: nbformat.NotebookNode, folder: Path, *, fresh: bool = True) -> list[str]:
    if fresh:
        made.metadata["tlcourse"] = {"code_hash": code_hash(made)}
    path = folder / "05_lora.ipynb"
    path.write_text(nbformat.writes(made), encoding="utf-8")
    return rules.lesson_problems(path)


def test_good_lesson_has_no_problem(tmp_path: Path) -> None:
    assert problems(lesson(), tmp_path) == []


def replace(cell: int, old: str, new: str) -> Callable[[nbformat.NotebookNode], None]:
    def change(made: nbformat.NotebookNode) -> None:
        assert old in made.cells[cell].source
        made.cells[cell].source = made.cells[cell].source.replace(old, new)

    return change


def output(cell: int, made_output: nbformat.NotebookNode) -> Callable[[nbformat.NotebookNode], None]:
    return lambda made: made.cells[cell].outputs.append(made_output)


def bare_figure() -> nbformat.NotebookNode:
    return new_output("display_data", data={"image/png": "AAAA"}, metadata={"image/png": {"alt": ALT}})


FAULTS: dict[str, Callable[[nbformat.NotebookNode], None]] = {
    "should begin with the title": replace(0, "# 05", "# 06"),
    "one sentence that ends in": replace(0, "enough?", "enough."),
    "in this order": replace(0, "**Before you start**", "**Before**"),
    "2 points, should be": replace(0, "- three\n", ""),
    "6 points, should be": replace(0, "- three\n", "- three\n- four\n- five\n- six\n"),
    "the minutes are missing": replace(0, "40 minutes", "long"),
    "the seconds are missing": replace(0, "31 seconds", "quick"),
    "the memory are missing": replace(0, "1.2 GB", "some"),
    r'should call lesson = tl.start\("05_lora"\)': replace(1, "05_lora", "06_peft"),
    r"lesson.finish\(\) should be called once": replace(4, "lesson.finish()", "pass"),
    r"finish\(\) should be called once, at the end": replace(4, "lesson.finish()", "lesson.finish(); lesson.claim()"),
    "at least 3 claims": lambda made: made.cells[4].outputs[0].metadata.tlcourse.finish.claims.pop(),
    "a claim failed": lambda made: made.cells[4].outputs[0].metadata.tlcourse.finish.claims.append("✗ d"),
    "<details> is not closed": replace(2, "</details>", ""),
    "lesson.explorer is called 0 times": replace(3, "lesson.explorer(draw)", "1"),
    "lesson.quiz is called 2 times": replace(3, "lesson.quiz()", "lesson.quiz()\nlesson.quiz()"),
    "ask the reader for a prediction": replace(2, "**Predict.**", "So"),
    "'when it fails'": replace(2, "When it fails", "Limits"),
    "'go further'": replace(2, "Go further", "More"),
    "'references'": replace(2, "References", "Books"),
    "an error is saved: KeyError": output(3, new_output("error", ename="KeyError", evalue="x", traceback=[])),
    "text on stderr: Warning": output(3, new_output("stream", name="stderr", text="Warning: old")),
    "a widget or a script is saved|widget": output(
        3, new_output("display_data", data={"application/vnd.jupyter.widget-view+json": {"model_id": "x"}})
    ),
    "a widget or a script is saved": output(3, new_output("display_data", data={"application/javascript": "1"})),
    "a widget or a script is saved|html": output(3, new_output("display_data", data={"text/html": "<script>1"})),
    "a figure without alt text": output(3, bare_figure()),
    "a picture without alt text: !": replace(2, "Always.", "![ ](x.png)"),
    "a picture without alt text: <img": replace(2, "Always.", '<img src="x.png">'),
    "the kernel should be python3": lambda made: made.metadata.kernelspec.update(name="conda-env"),
    "the state of widgets is saved": lambda made: made.metadata.update(widgets={"state": {}}),
    "MB; keep it under": output(3, new_output("stream", text="x" * 1_500_000)),
}


@pytest.mark.parametrize("problem", FAULTS)
def test_each_fault_of_a_lesson_is_seen(problem: str, tmp_path: Path) -> None:
    made = lesson()
    FAULTS[problem](made)
    found = problems(made, tmp_path)
    assert len(found) == 1, found
    assert re.search(problem, found[0]), found


def test_stale_outputs_are_seen(tmp_path: Path) -> None:
    made = lesson()
    made.cells[3].source += "\nmore = 1"
    assert problems(made, tmp_path, fresh=False) == ["the outputs are stale: run make outputs"]


def test_prose_may_change_without_new_outputs(tmp_path: Path) -> None:
    made = lesson()
    made.cells[2].source += "\nMore prose."
    assert problems(made, tmp_path, fresh=False) == []


def test_repeated_ids_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "05_lora.ipynb"
    path.write_text(nbformat.writes(lesson()).replace('"id": "c"', '"id": "d"'), encoding="utf-8")
    with pytest.warns(nbformat.warnings.DuplicateCellId):
        assert rules.lesson_problems(path)[0] == "cell ids are missing or not unique"


def test_first_lesson_needs_no_explorer_quiz_or_close(tmp_path: Path) -> None:
    made = lesson()
    made.cells[0].source = made.cells[0].source.replace("# 05", "# 00")
    made.cells[1].source = 'lesson = tl.start("00_start_here")'
    del made.cells[2:4]
    made.metadata["tlcourse"] = {"code_hash": code_hash(made)}
    path = tmp_path / "00_start_here.ipynb"
    path.write_text(nbformat.writes(made), encoding="utf-8")
    assert rules.lesson_problems(path) == []


def exercise(number: int) -> list[nbformat.NotebookNode]:
    hints = "".join(f"<details><summary>Hint {n}: x</summary>\n\ny\n</details>\n" for n in (1, 2))
    return [
        new_markdown_cell(f"### Exercise 5.{number} · A layer  (●●○○○, 15 minutes)\n\n{hints}", id=f"t{number}"),
        new_code_cell("def f():\n    ### BEGIN SOLUTION\n    return 1\n    ### END SOLUTION", id=f"s{number}"),
        new_code_cell("check.f(f)", id=f"c{number}", metadata={"tags": ["points-1"]}),
    ]


def exercises(count: int = 3) -> nbformat.NotebookNode:
    cells = [new_markdown_cell("# Exercises", id="top"), *(cell for n in range(count) for cell in exercise(n + 1))]
    return new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})


def found_in(made: nbformat.NotebookNode, folder: Path) -> list[str]:
    path = folder / "05_lora.ipynb"
    path.write_text(nbformat.writes(made), encoding="utf-8")
    return rules.exercise_problems(path)


@pytest.mark.parametrize("count", [3, 6])
def test_good_exercises_have_no_problem(count: int, tmp_path: Path) -> None:
    assert found_in(exercises(count), tmp_path) == []


@pytest.mark.parametrize("count", [0, 2, 7])
def test_too_few_or_too_many_exercises_are_seen(count: int, tmp_path: Path) -> None:
    assert found_in(exercises(count), tmp_path) == [f"{count} exercises, should be 3 to 6"]


@pytest.mark.parametrize(
    ("cell", "old", "new", "problem"),
    [
        (1, "5.1", "5.2", "the title should be like '### Exercise 5.1"),
        (1, "15 minutes", "soon", "the title should be like"),
        (1, "●●○○○", "○○○○○", "the difficulty should be"),
        (1, "●●○○○", "●○●○○", "the difficulty should be"),
        (1, "Hint 2", "Idea", "1 hints, should be 2 or 3"),
        (2, "### BEGIN SOLUTION", "#", "no place for an answer"),
        (3, "check.f(f)", "f()", "no graded cell"),
        (3, "check.f(f)", "check.f(f)\ncheck.g(f)", "a cell calls two checks"),
    ],
)
def test_each_fault_of_an_exercise_is_seen(cell: int, old: str, new: str, problem: str, tmp_path: Path) -> None:
    made = exercises()
    replace(cell, old, new)(made)
    (found,) = found_in(made, tmp_path)
    assert problem in found


def test_ungraded_check_is_seen(tmp_path: Path) -> None:
    made = exercises()
    made.cells[3].metadata.tags = []
    assert found_in(made, tmp_path) == ["exercise 1: no graded cell (tag points-N) calls a check"]
