"""A notebook as a page: what its outputs leave to a running Python is put in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course_site import explorers, quizzes
from course_site.glossary import Linker, Term
from tlcourse.lesson import frames, quiz
from tlcourse.lesson.outputs import code_hash

Rewrite = Callable[[str], str]


def lesson(path: Path, *, frames_at: Path, frames_url: str) -> NotebookNode:
    """The lesson with its quiz, and with an explorer that moves if its frames below `frames_at` are fresh."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [_quiz(output, path.stem[:2]) for output in cell.outputs]
    _explorer(notebook, path.stem, frames_at, frames_url)
    return notebook


def _quiz(output: NotebookNode, number: str) -> NotebookNode:
    """`output`, or the quiz if it is the line that stands for it."""
    if not output.get("metadata", {}).get("tlcourse", {}).get("quiz"):
        return output
    return nbformat.v4.new_output("display_data", data={"text/html": quizzes.page(quiz.load(number))})


def _explorer(notebook: NotebookNode, stem: str, folder: Path, url: str) -> None:
    """Put the controls beside the saved first frame; without fresh frames it stays alone."""
    place, needed, made = frames.explorer_cell(notebook), frames.until_explorer(notebook), frames.load(stem, folder)
    if place is None or needed is None or made is None or made["code_hash"] != code_hash(needed):
        return
    page = explorers.page(made, folder=f"{url}/{stem[:2]}", name=f"explorer-{stem[:2]}")
    for output in notebook.cells[place].outputs:
        if output.output_type == "display_data" and "<img" in output.data.get("text/html", ""):
            output.data = NotebookNode({"text/html": page})


def rewrite(notebook: NotebookNode, change: Rewrite) -> None:
    """Apply `change` to the Markdown of every cell."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = change(cell.source)


def link_terms(notebook: NotebookNode, terms: Sequence[Term]) -> set[str]:
    """Link the first use of each term; returns the names of the terms that were found."""
    linker = Linker(terms)
    rewrite(notebook, linker.link)
    return {term.name for term in terms} - linker.waiting
