"""Slides from the lessons with nbconvert and reveal.js, readable without a network.

A cell's own slide type (metadata `slideshow.slide_type`, as JupyterLab's property inspector sets it) is kept. The
others get one here, from the headings and from what is on the slide already, so that no notebook has to be edited.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from traitlets.config import Config

from course_site import notebooks, vendor

TEMPLATES = Path(__file__).parent / "templates"
STATIC = Path(__file__).parents[1] / "_static"
THEME = Path(__file__).parent / "templates" / "slides.css"
HEADING = re.compile(r"^(?=#{1,3} )", re.MULTILINE)
FULL = 20  # lines of text on a slide
WIDTH, HEIGHT, COLUMNS = 1200, 720, 95
FIGURE = 14  # lines that a figure is as high as
HIDDEN = "no-code-on-slides"


def build(lessons: Sequence[Path], to: Path, *, frames_at: Path) -> list[Path]:
    """Write `NN.slides.html` for each lesson, and what they load, to `to`."""
    shutil.rmtree(to, ignore_errors=True)
    _support(to, frames_at)
    return [_one(lesson, to, frames_at) for lesson in lessons]


def _support(to: Path, frames_at: Path) -> None:
    """What all slides share."""
    vendor.copy("mathjax", to / "vendor")
    vendor.copy("reveal", to / "reveal" / "dist")
    notes, theme = to / "reveal" / "plugin" / "notes", to / "reveal" / "dist" / "theme"
    notes.mkdir(parents=True)
    theme.mkdir()
    (to / "reveal" / "dist" / "notes.js").replace(notes / "notes.js")
    shutil.copyfile(THEME, theme / "course.css")
    for file in ("course.css", "course.js"):
        shutil.copyfile(STATIC / file, to / file)
    for folder in frames_at.iterdir():
        if folder.is_dir():
            shutil.copytree(folder, to / "frames" / folder.name)


def _one(lesson: Path, to: Path, frames_at: Path) -> Path:
    from nbconvert.exporters import SlidesExporter

    notebook = notebooks.lesson(lesson, frames_at=frames_at, frames_url="frames")
    title = re.search(r"^# (.+)$", notebook.cells[0].source, re.MULTILINE)
    notebook.metadata["title"] = title[1] if title else lesson.stem
    notebook.cells = [part for cell in notebook.cells for part in split(cell)]
    prepare(notebook)
    notebooks.rewrite(notebook, _for_slides)
    exporter = SlidesExporter(
        config=Config({"TagRemovePreprocessor": {"enabled": True, "remove_input_tags": {HIDDEN}}}),
        template_name="course",
        extra_template_basedirs=[str(TEMPLATES)],
        reveal_url_prefix="reveal",
        reveal_theme="course",
        reveal_width=str(WIDTH),
        reveal_height=str(HEIGHT),
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        # It would close every <details> after its summary.
        embed_images="![" in "".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown"),
    )
    text, _ = exporter.from_notebook_node(notebook)
    text = text.replace('<html lang="">', '<html lang="en-GB">')
    page = to / f"{lesson.name[:2]}.slides.html"
    page.write_text(text, encoding="utf-8")
    return page


def _for_slides(source: str) -> str:
    """Markdown as nbconvert and slides need it: folds stand alone, and links lead to slides or nowhere."""
    folds = re.sub(r"^(> ?|)<details>", r"\1\n\1<details>", source, flags=re.MULTILINE)
    lessons = re.sub(r"(?<!!)\]\((?:\.\./notebooks/)?(\d\d)_\w+\.ipynb\)", r"](\1.slides.html)", folds)
    return re.sub(r"(?<!!)\[([^\]]*)\]\(\.\./[^)]*\)", r"\1", lessons)


def split(cell: NotebookNode) -> list[NotebookNode]:
    """A cell of text that holds headings as one cell for each, so that each can begin a slide."""
    if cell.cell_type != "markdown" or "slideshow" in cell.metadata:
        return [cell]
    parts = [part.strip() for part in HEADING.split(cell.source) if part.strip()]
    made = [nbformat.v4.new_markdown_cell(part, metadata=dict(cell.metadata)) for part in parts]
    for number, part in enumerate(made):
        part.id = f"{cell.id}-{number}"
    return made or [cell]


def prepare(notebook: NotebookNode) -> None:
    """Give every cell without a slide type the one that `slide_types` derives, and hide the code of what is shown."""
    for cell, derived in zip(notebook.cells, slide_types(notebook), strict=True):
        cell.metadata.setdefault("slideshow", {}).setdefault("slide_type", derived)
        if cell.cell_type == "code" and _shows_page(cell):
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), HIDDEN]


def slide_types(notebook: NotebookNode) -> list[str]:
    """For each cell "slide" (to the right), "subslide" (below), "-" (on the same slide) or "skip"."""
    types, room = [], 0
    for cell in notebook.cells:
        lines, heading = _lines(cell), re.match(r"(#+) ", cell.source) if cell.cell_type == "markdown" else None
        if cell.cell_type == "code" and "nbval-skip" in cell.metadata.get("tags", []):
            types.append("skip")  # needs a hub
            continue
        if heading and len(heading[1]) <= 2:
            kind, room = "slide", FULL
        elif (heading and room < FULL // 2) or lines > room:
            kind, room = "subslide", FULL
        else:
            kind = "-"
        types.append(kind if types else "slide")
        room -= lines
    return types


def _lines(cell: NotebookNode) -> int:
    """About how many lines a cell takes on a slide; what is folded takes none."""
    if cell.cell_type == "code":
        printed = sum(o.text.count("\n") for o in cell.get("outputs", []) if o.output_type == "stream")
        return FIGURE + printed if _shows_page(cell) else cell.source.count("\n") + 1 + printed
    shown = re.sub(r"<details>.*?</details>", "\n", cell.source, flags=re.DOTALL)
    return sum(1 + len(line) // COLUMNS for line in shown.splitlines() if line.strip(" >"))


def _shows_page(cell: NotebookNode) -> bool:
    """Whether a cell displays a figure, a table or a quiz, which matter more on a slide than its code."""
    return any("text/html" in output.get("data", {}) for output in cell.get("outputs", []))
