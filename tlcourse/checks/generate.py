"""solutions/*.ipynb → exercises/*.ipynb, with nbgrader's own preprocessors.

An author marks a solution with `### BEGIN SOLUTION` … `### END SOLUTION`, and tags a graded cell `points-2`. nbgrader's
metadata follow from that; a cell's id is its grade id. The result depends on nothing but the source, byte by byte.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import nbformat
from nbformat import NotebookNode

STUB = "# YOUR CODE HERE\nraise NotImplementedError()"
BEGIN = "### BEGIN SOLUTION"


def build(root: Path, *, check_only: bool = False) -> list[Path]:
    """Write root/exercises from root/solutions; returns the files that were not up to date.

    `check_only` writes nothing. Solutions get nbgrader's metadata, and an exercise without a solution is removed.
    Raises ValueError naming file and cell where the marks are wrong.
    """
    wanted: dict[Path, str] = {}
    for source in sorted((root / "solutions").glob("*.ipynb")):
        notebook = read(source)
        annotate(notebook, name=source.name)
        wanted[source] = _text(notebook)
        wanted[root / "exercises" / source.name] = _text(release(notebook))
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    orphans = [path for path in sorted((root / "exercises").glob("*.ipynb")) if path not in wanted]
    if not check_only:
        for path in stale:
            path.parent.mkdir(exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
        for path in orphans:
            path.unlink()
    return stale + orphans


def read(path: Path) -> NotebookNode:
    """The notebook in `path`; nbformat itself would replace a missing or repeated cell id by a random one."""
    text = path.read_text(encoding="utf-8")
    ids = [cell.get("id") for cell in json.loads(text)["cells"]]
    bad = [cell_id for cell_id, count in Counter(ids).items() if count > 1 or not cell_id]
    if bad:
        raise ValueError(f"{path.name}: every cell needs an id of its own, the grade id; missing or repeated: {bad}")
    return nbformat.reads(text, as_version=4)


def annotate(notebook: NotebookNode, *, name: str) -> None:
    """Give the cells nbgrader's metadata (schema 3), from their marks and tags alone."""
    for cell in notebook.cells:
        points, solution = _points(cell, name), BEGIN in cell.source
        _check_marks(cell, name)
        if solution and cell.cell_type == "code" and points is not None:
            raise ValueError(f"{name}, cell {cell.id}: put the tag points-{points} on the check, in a cell of its own")
        cell.metadata.pop("nbgrader", None)
        if solution or points is not None:
            cell.metadata["nbgrader"] = {
                "schema_version": 3,
                "grade_id": cell.id,
                "solution": solution,
                "grade": points is not None,
                "locked": not solution,
                "task": False,
                **({} if points is None else {"points": points}),
            }


def _points(cell: NotebookNode, name: str) -> int | None:
    tags = [tag for tag in cell.metadata.get("tags", []) if tag.startswith("points")]
    if not tags:
        return None
    match = re.fullmatch(r"points-(\d+)", tags[0])
    if len(tags) > 1 or match is None:
        raise ValueError(f"{name}, cell {cell.id}: tags {tags} should be one tag such as points-2")
    return int(match[1])


def _check_marks(cell: NotebookNode, name: str) -> None:
    """Every BEGIN has its END, in this order."""
    for what in ("SOLUTION", "HIDDEN TESTS"):
        marks = re.findall(rf"### (BEGIN|END) {what}", cell.source)
        if marks != ["BEGIN", "END"] * (len(marks) // 2):
            raise ValueError(f"{name}, cell {cell.id}: ### BEGIN {what} and ### END {what} must come in pairs")


def release(notebook: NotebookNode) -> NotebookNode:
    """The exercise of an annotated solution: solutions, hidden tests and outputs are taken out."""
    from nbconvert.exporters import NotebookExporter
    from nbgrader.preprocessors import (
        CheckCellMetadata,
        ClearHiddenTests,
        ClearMarkScheme,
        ClearOutput,
        ClearSolutions,
        ComputeChecksums,
        LockCells,
    )
    from traitlets.config import Config

    config = Config()
    config.ClearSolutions.code_stub = {"python": STUB}
    config.NotebookExporter.preprocessors = [
        LockCells,
        ClearSolutions,
        ClearOutput,
        CheckCellMetadata,
        ClearHiddenTests,
        ClearMarkScheme,
        ComputeChecksums,
        CheckCellMetadata,
    ]
    body, _ = NotebookExporter(config=config).from_notebook_node(notebook)
    exercise = nbformat.reads(body, as_version=4)
    exercise.metadata.pop("tlcourse", None)
    code = [cell for cell in exercise.cells if cell.cell_type == "code"]
    first = next((index for index, cell in enumerate(code) if STUB.split("\n")[0] in cell.source), len(code))
    for cell in code[first:]:  # "Run all" and tests go on past what is not solved yet
        cell.metadata["tags"] = sorted({*cell.metadata.get("tags", []), "raises-exception"})
    return exercise


def _text(notebook: NotebookNode) -> str:
    return str(nbformat.writes(notebook)).rstrip("\n") + "\n"
