"""solutions/*.ipynb → the folder of an nbgrader course, for a class whose work is collected and graded.

    DIR/source/05_lora/05_lora.ipynb   one assignment for each lesson, with solutions and hidden tests
    DIR/nbgrader_config.py             time limit for each cell, and what a grading run must not touch
    DIR/gradebook.db                   nbgrader's own database, with the assignments in it
    DIR/students.csv                   the form in which nbgrader takes a list of students

A submission shares its process with the check that grades it, and could have replaced the check. So each graded
cell first gets hidden lines that load everything it uses again, from the files of the course.
"""

from __future__ import annotations

import ast
import builtins
import csv
import os
import re
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from tlcourse.checks import generate

CONFIG, GRADEBOOK, STUDENTS = "nbgrader_config.py", "gradebook.db", "students.csv"
_STUDENTS = [
    {"id": "ada", "first_name": "Ada", "last_name": "Example", "email": "ada@example.org"},
    {"id": "ben", "first_name": "Ben", "last_name": "Example", "email": "ben@example.org"},
]
_RELOAD = """\
import sys as _sys
for _name in [_name for _name in _sys.modules if f"{_name}.".startswith("tlcourse.checks.")]:
    del _sys.modules[_name]"""


@dataclass(frozen=True)
class Released:
    """What `write` has done: names of assignments written and left alone, and the points of each written one."""

    written: tuple[str, ...]
    kept: tuple[str, ...]
    points: dict[str, int]


def write(solutions: Sequence[Path], to: Path, *, course_id: str, timeout: int, add: bool = False) -> Released:
    """Write an nbgrader course of these solution notebooks into the folder `to`.

    With `add`, `to` may hold such a course already: assignments that it lacks are added, and no file that is there
    is changed. Raises ValueError naming the argument, before anything is written.
    """
    _check(solutions, to, course_id=course_id, timeout=timeout, add=add)
    targets = {path: to / "source" / path.stem / path.name for path in solutions}
    new = {path: assignment(path) for path, target in targets.items() if not target.parent.exists()}
    to.mkdir(parents=True, exist_ok=True)
    for path, notebook in new.items():
        targets[path].parent.mkdir(parents=True)
        targets[path].write_text(nbformat.writes(notebook).rstrip("\n") + "\n", encoding="utf-8")
    if not (to / CONFIG).exists():
        (to / CONFIG).write_text(_config(course_id=course_id, timeout=timeout), encoding="utf-8")
    if not (to / STUDENTS).exists():
        _write_students(to / STUDENTS)
    _register([path.stem for path in new], to / GRADEBOOK, course_id=course_id)
    return Released(
        written=tuple(path.stem for path in new),
        kept=tuple(path.stem for path in solutions if path not in new),
        points={path.stem: points(notebook) for path, notebook in new.items()},
    )


def _check(solutions: Sequence[Path], to: Path, *, course_id: str, timeout: int, add: bool) -> None:
    """Refuse what would end in half a course, or in a teacher's lost work."""
    if not solutions:
        raise ValueError("solutions is empty; name at least one notebook of solutions/")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", course_id):
        raise ValueError(f"course_id {course_id!r} should be letters, digits, '.', '_' and '-', such as tl2027")
    if timeout < 1:
        raise ValueError(f"timeout is {timeout} seconds; each cell needs at least 1")
    if to.exists() and not to.is_dir():
        raise ValueError(f"{to} is a file; name a folder that is empty or does not exist")
    if not to.exists() or not any(to.iterdir()):
        return
    if not add:
        raise ValueError(
            f"{to} is not empty, and nothing in it is overwritten. Name another folder; "
            "or --add, to add the assignments that an nbgrader course lacks"
        )
    if not (to / CONFIG).is_file():
        raise ValueError(f"{to} holds no {CONFIG}, so it is no nbgrader course to add to; name another folder")


def assignment(path: Path) -> NotebookNode:
    """The solution notebook in `path` as nbgrader's source: protected checks, links that hold outside of the course."""
    notebook = generate.read(path)
    generate.annotate(notebook, name=path.name)
    imports = _imports(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        if cell.metadata.get("nbgrader", {}).get("grade") and cell.cell_type == "code":
            cell.source = protected(cell.source, imports)
        if cell.cell_type == "markdown":
            cell.source = _links(cell.source)
    notebook.metadata.pop("tlcourse", None)
    return notebook


def points(notebook: NotebookNode) -> int:
    """All points of an annotated notebook."""
    return sum(cell.metadata.get("nbgrader", {}).get("points", 0) for cell in notebook.cells)


def protected(source: str, imports: dict[str, str]) -> str:
    """A graded cell that first imports again whatever it takes from modules or from Python itself.

    `check = anything`, a check replaced inside its module, a false module in `sys.modules` and a redefined
    `abs` then come to nothing. nbgrader takes the lines out again for students, as they are hidden tests.
    """
    names = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)]
    made = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    taken = sorted({node.id for node in names} - made)
    plain = [name for name in taken if hasattr(builtins, name)]
    lines = [_RELOAD, *([f"from builtins import {', '.join(plain)}"] if plain else [])]
    lines += [imports[name] for name in taken if name in imports]
    return "\n".join(["### BEGIN HIDDEN TESTS", *lines, "### END HIDDEN TESTS", source])


def _imports(notebook: NotebookNode) -> dict[str, str]:
    """The names that a notebook's own cells import at their top level, each with a statement that imports it."""
    found = {}
    for cell in notebook.cells:
        if cell.cell_type == "code" and generate.BEGIN not in cell.source and "%" not in cell.source[:1]:
            for node in ast.parse(cell.source).body:
                if isinstance(node, ast.Import | ast.ImportFrom):
                    for alias in node.names:
                        name = alias.asname or alias.name.split(".")[0]
                        single = type(node)(**{**vars(node), "names": [alias]})
                        found[name] = ast.unparse(single)
    return found


def _links(text: str) -> str:
    """Links into the course's folders as words: a student's folder holds the assignment alone."""
    text = re.sub(r"\[([^\]]*)\]\(\.\./notebooks/([^)]*)\)", r"\1 (`notebooks/\2` of the course)", text)
    return re.sub(r"\[([^\]]*)\]\(\.\./solutions/[^)]*\)", r"\1 (from your teacher)", text)


def _config(*, course_id: str, timeout: int) -> str:
    template = (files("tlcourse.checks") / "nbgrader_config.template").read_text(encoding="utf-8")
    return template.replace("COURSE_ID", repr(course_id)).replace("TIMEOUT", str(timeout))


def _write_students(path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as out:
        table = csv.DictWriter(out, list(_STUDENTS[0]))
        table.writeheader()
        table.writerows(_STUDENTS)


def _register(names: Sequence[str], database: Path, *, course_id: str) -> None:
    """The assignments, in nbgrader's own database. Its file is made when it is not there."""
    from nbgrader.api import Gradebook

    with _scripts_on_path(), Gradebook(f"sqlite:///{database.resolve().as_posix()}", course_id) as gradebook:
        for name in names:
            gradebook.update_or_create_assignment(name)


@contextmanager
def _scripts_on_path() -> Iterator[None]:
    """nbgrader starts the program `alembic`, which lies beside this Python also where no environment is activated."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), before])
    try:
        yield
    finally:
        os.environ["PATH"] = before
