"""What is wrong with the checks of a lesson: each function returns a list of problems, empty when all is well.

For every public check there are at least two typical wrong answers in `wrong/lessonNN.py`:
`WRONG = {"name of the check": [("label", object, "regex of its message"), …]}`; a tuple of objects stands for a check
that takes several. Stub and solution come from the notebooks.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
from IPython.core.inputtransformer2 import TransformerManager

from tlcourse.checks.base import CheckFailed

Wrong = Mapping[str, list[tuple[str, object, str]]]
FEWEST = 2
UNSEEN = {"nbval-skip", "raises-exception"}


def load(file: Path) -> ModuleType:
    """Import a Python file that is on no path."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def failure(call: Callable[[], object]) -> BaseException | None:
    """What `call` raises, its printing kept quiet."""
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            call()
        except Exception as error:
            return error
    return None


def wrong_problems(checks: Mapping[str, Callable[..., None]], wrong: Wrong) -> list[str]:
    """Every check has its wrong answers; each is caught with a message that is its own."""
    problems = [f"{name}: wrong answers for a check that does not exist" for name in wrong if name not in checks]
    for name, check in checks.items():
        answers = wrong.get(name, [])
        if len(answers) < FEWEST:
            problems.append(f"{name}: {len(answers)} wrong answers, at least {FEWEST} are needed")
        said: dict[str, str] = {}
        for label, answer, _ in answers:
            objects = answer if isinstance(answer, tuple) else (answer,)
            error = failure(lambda check=check, objects=objects: check(*objects))  # type: ignore[misc]
            if not isinstance(error, CheckFailed):
                problems.append(f"{name}, {label}: not caught by CheckFailed but {error!r}")
                continue
            said[label] = str(error)
        problems += list(_message_problems(name, answers, said))
    return problems


def _message_problems(name: str, answers: list[tuple[str, object, str]], said: dict[str, str]) -> Iterator[str]:
    for label, _, pattern in answers:
        for other, message in said.items():
            found = re.search(pattern, message)
            if label == other and not found:
                yield f"{name}, {label}: its message does not match {pattern!r}: {message}"
            if label != other and found:
                yield f"{name}, {label}: {pattern!r} also matches the message of {other!r}: {message}"


def run_checks(notebook: Path) -> dict[str, list[BaseException | None]]:
    """Run the code cells of `notebook` here, and return what came of each check that they call: None is a pass.

    A cell that fails does not stop the others, as a reader would go on.
    """
    cells = [cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    module = ModuleType(f"answers_of_{notebook.stem}")
    sys.modules[module.__name__] = module  # dataclasses look their module up
    outcomes: dict[str, list[BaseException | None]] = {}
    back = Path.cwd()
    os.chdir(notebook.parent)
    try:
        for number, source in enumerate(cells, start=1):
            code = TransformerManager().transform_cell(source)
            compiled = compile(code, f"{notebook.name}, code cell {number}", "exec")
            error = failure(lambda compiled=compiled: exec(compiled, module.__dict__))  # type: ignore[misc]
            for name in called_checks(code):
                outcomes.setdefault(name, []).append(error)
            if error is not None and not called_checks(code):
                outcomes.setdefault("", []).append(error)
    finally:
        os.chdir(back)
        del sys.modules[module.__name__]
    return outcomes


def called_checks(code: str) -> list[str]:
    """Names of the checks that a cell calls, as in `check.lora_layer(LoRALinear)`."""
    return [
        node.func.attr
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "check"
    ]


def solution_problems(names: tuple[str, ...], solution: Path) -> list[str]:
    """Every check is called by a cell of the solution, where nbval, which runs the solutions, sees it fail."""
    problems, called = [], set()
    for cell in nbformat.read(solution, as_version=4).cells:
        if cell.cell_type != "code":
            continue
        for name in called_checks(TransformerManager().transform_cell(cell.source)):
            called.add(name)
            if name not in names:
                problems.append(f"{name}: the solution calls a check that does not exist")
            problems += [f"{name}: nobody sees it fail in a cell with the tag {tag}" for tag in _tags(cell) & UNSEEN]
    return [f"{name}: no cell of the solution calls this check" for name in names if name not in called] + problems


def _tags(cell: nbformat.NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", []))


def stub_problems(names: tuple[str, ...], outcomes: Mapping[str, list[BaseException | None]]) -> list[str]:
    """Every check tells the reader of an untouched exercise, in a friendly way, that nothing is written yet."""
    problems = []
    for name in names:
        for error in outcomes.get(name, [None]):
            if not isinstance(error, CheckFailed) or "Not written yet" not in str(error):
                problems.append(f"{name}: the stub should be told 'Not written yet', but there came {error!r}")
    problems += [
        f"a cell of the exercise raises {error!r}"
        for error in outcomes.get("", [])
        if not isinstance(error, NotImplementedError)
    ]
    return problems


def public_checks(module: Any, names: tuple[str, ...]) -> dict[str, Callable[..., None]]:
    """The checks of a module by name."""
    return {name: getattr(module, name) for name in names}
