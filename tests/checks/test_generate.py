"""exercises/ from solutions/: nothing leaks, nothing changes without a reason, nbgrader can work with it."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tlcourse.checks import generate

ROOT = Path(__file__).resolve().parents[2]
SOLUTIONS = sorted((ROOT / "solutions").glob("*.ipynb"))


def cells() -> list[nbformat.NotebookNode]:
    made = [
        new_markdown_cell("# Exercises", id="title"),
        new_code_cell("import math", id="imports"),
        new_code_cell(
            "def area(r):\n    ### BEGIN SOLUTION\n    return math.pi * r**2\n    ### END SOLUTION",
            id="area",
            outputs=[new_output("stream", text="secret output")],
            execution_count=3,
        ),
        new_code_cell(
            "assert area(1) > 3\n### BEGIN HIDDEN TESTS\nassert area(2) > 12\n### END HIDDEN TESTS",
            id="check",
            metadata={"tags": ["points-2"]},
        ),
        new_code_cell("print('after')", id="after"),
    ]
    return made


@pytest.fixture
def course(tmp_path: Path) -> Path:
    (tmp_path / "solutions").mkdir()
    write(tmp_path, cells())
    return tmp_path


def write(course: Path, made: list[nbformat.NotebookNode]) -> None:
    nbformat.write(new_notebook(cells=made), course / "solutions" / "01_area.ipynb")


def exercise(course: Path) -> dict[str, nbformat.NotebookNode]:
    notebook = nbformat.read(course / "exercises" / "01_area.ipynb", as_version=4)
    nbformat.validate(notebook)
    return {cell.id: cell for cell in notebook.cells}


def test_solution_hidden_tests_and_outputs_are_taken_out(course: Path) -> None:
    generate.build(course)
    made = exercise(course)
    assert list(made) == ["title", "imports", "area", "check", "after"], "ids are grade ids and stay"
    assert made["area"].source == "def area(r):\n    # YOUR CODE HERE\n    raise NotImplementedError()"
    assert made["area"].outputs == []
    assert made["area"].execution_count is None
    assert made["check"].source == "assert area(1) > 3"
    assert "secret" not in (course / "exercises" / "01_area.ipynb").read_text()


def test_nbgrader_metadata_follow_from_marks_and_tags(course: Path) -> None:
    generate.build(course)
    made = exercise(course)
    task, check = made["area"].metadata.nbgrader, made["check"].metadata.nbgrader
    assert (task.grade_id, task.solution, task.grade, task.locked) == ("area", True, False, False)
    assert (check.grade_id, check.solution, check.grade, check.locked) == ("check", False, True, True)
    assert check.points == 2
    assert check.checksum
    assert "nbgrader" not in made["imports"].metadata
    solution = nbformat.read(course / "solutions" / "01_area.ipynb", as_version=4)
    assert solution.cells[3].metadata.nbgrader.points == 2, "nbgrader reads the solutions too"


def test_cells_from_the_first_stub_on_may_raise(course: Path) -> None:
    generate.build(course)
    tagged = [name for name, cell in exercise(course).items() if "raises-exception" in cell.metadata.get("tags", [])]
    assert tagged == ["area", "check", "after"]


def test_building_again_changes_no_byte(course: Path) -> None:
    assert {path.parent.name for path in generate.build(course)} == {"solutions", "exercises"}
    before = {path: path.read_bytes() for path in course.rglob("*.ipynb")}
    assert generate.build(course) == []
    assert {path: path.read_bytes() for path in course.rglob("*.ipynb")} == before


def test_check_only_finds_what_is_stale_and_writes_nothing(course: Path) -> None:
    assert len(generate.build(course, check_only=True)) == 2
    assert not (course / "exercises").exists()
    generate.build(course)
    made = course / "exercises" / "01_area.ipynb"
    made.write_text(made.read_text().replace("# YOUR CODE HERE", "# edited"))
    (course / "exercises" / "02_gone.ipynb").write_text("{}")
    stale = {made, course / "exercises" / "02_gone.ipynb"}
    assert set(generate.build(course, check_only=True)) == stale
    assert set(generate.build(course)) == stale
    assert generate.build(course, check_only=True) == []
    assert not (course / "exercises" / "02_gone.ipynb").exists()


@pytest.mark.parametrize(
    ("cell", "change", "message"),
    [
        (2, {"source": "### BEGIN SOLUTION\n1"}, "cell area: ### BEGIN SOLUTION and ### END SOLUTION"),
        (2, {"source": "### END SOLUTION\n1\n### BEGIN SOLUTION"}, "cell area: ### BEGIN SOLUTION and"),
        (3, {"source": "### BEGIN HIDDEN TESTS"}, "cell check: ### BEGIN HIDDEN TESTS"),
        (3, {"metadata": {"tags": ["points-two"]}}, "one tag such as points-2"),
        (3, {"metadata": {"tags": ["points-1", "points-2"]}}, "one tag such as points-2"),
        (2, {"metadata": {"tags": ["points-2"]}}, "put the tag points-2 on the check"),
    ],
)
def test_wrong_marks_name_file_and_cell(tmp_path: Path, cell: int, change: dict[str, object], message: str) -> None:
    made = cells()
    made[cell].update(nbformat.from_dict(change))
    with pytest.raises(ValueError, match=rf"01_area\.ipynb.*{message}"):
        generate.annotate(new_notebook(cells=made), name="01_area.ipynb")


@pytest.mark.parametrize("broken", ['"id": "area"', ""])
def test_missing_or_repeated_ids_are_refused(course: Path, broken: str) -> None:
    path = course / "solutions" / "01_area.ipynb"
    path.write_text(re.sub(r'"id": "check"' + "," * (not broken), broken, path.read_text()))
    with pytest.raises(ValueError, match=r"01_area\.ipynb: every cell needs an id.*(area|None)"):
        generate.build(course)


def leaks(solution: nbformat.NotebookNode, exercise: nbformat.NotebookNode) -> list[str]:
    """Lines of a solution or hidden test that stand in the code of its exercise, and marks that were left."""
    region = re.compile(r"### BEGIN (SOLUTION|HIDDEN TESTS)\n(.*?)### END \1", re.DOTALL)
    code = "\n".join(cell.source for cell in exercise.cells if cell.cell_type == "code")
    public = "\n".join(region.sub("", cell.source) for cell in solution.cells)
    secret = {
        line.strip() for cell in solution.cells for _, body in region.findall(cell.source) for line in body.split("\n")
    }
    found = [line for line in secret if len(line) > 8 and line in code and line not in public]
    return found + [mark for mark in ("BEGIN SOLUTION", "END SOLUTION", "HIDDEN TESTS") if mark in code]


def test_leaks_are_seen(course: Path) -> None:
    generate.build(course)
    solution, made = (nbformat.read(course / where / "01_area.ipynb", 4) for where in ("solutions", "exercises"))
    assert leaks(solution, made) == []
    made.cells[4].source += "\n    return math.pi * r**2"
    assert leaks(solution, made) == ["return math.pi * r**2"]
    assert "BEGIN SOLUTION" in leaks(solution, solution)


def test_exercises_of_the_course_are_up_to_date() -> None:
    stale = [str(path.relative_to(ROOT)) for path in generate.build(ROOT, check_only=True)]
    assert stale == [], "run: tlcourse exercises build"


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_no_solution_reaches_the_exercises_of_the_course(path: Path) -> None:
    solution, made = (nbformat.read(ROOT / where / path.name, 4) for where in ("solutions", "exercises"))
    assert leaks(solution, made) == []
    assert not any(cell.get("outputs") for cell in made.cells)
    assert any(generate.BEGIN in cell.source for cell in solution.cells)
