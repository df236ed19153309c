"""The pages of the site as Sphinx reads them, in a folder of their own with the layout of the repository.

The README is the home page; lessons and exercises get what a page without Python needs; links of the repository become
links of the site. Only files that changed are written, so that a second build is quick.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import nbformat

from course_site import api, glossary, links, notebooks

GLOSSARY = Path("docs/glossary.md")
HOME = Path("README.md")
ABOUT = ("CONTRIBUTING.md", "CHANGELOG.md", "LICENCES.md", "benchmarks/RESULTS.md")
PART = re.compile(r"^\| *\| *\*\*(?P<part>.+?)\*\* *\||^\| *(?P<number>\d\d) *\|", re.MULTILINE)


@dataclass
class Staging:
    """Where pages come from and go to, and what has been written so far."""

    root: Path
    to: Path
    written: set[Path] = field(default_factory=set)

    def write(self, name: Path | str, text: str) -> None:
        """A page, written only when it differs."""
        target = self.to / name
        self.written.add(target)
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")

    def take(self, name: Path) -> None:
        """A file that is linked or shown, copied as it is."""
        target = self.to / name
        self.written.add(target)
        if not target.exists() or target.read_bytes() != (self.root / name).read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.root / name, target)

    def sweep(self) -> None:
        """Remove what earlier builds have left."""
        for path in [path for path in self.to.rglob("*") if path.is_file() and path not in self.written]:
            path.unlink()


def sources(root: Path) -> list[Path]:
    """The files that become pages, relative to `root`: by glob, so that a new lesson needs no entry anywhere."""
    patterns = ("notebooks/[0-9][0-9]_*.ipynb", "exercises/[0-9][0-9]_*.ipynb", "docs/*.md", "docs/teaching/*.md")
    found = [path.relative_to(root) for pattern in patterns for path in sorted(root.glob(pattern), key=_order)]
    return [HOME, *(Path(name) for name in ABOUT if (root / name).is_file()), *found]


def _order(path: Path) -> tuple[bool, str]:
    return path.stem != "index", path.name


def stage(root: Path, to: Path) -> dict[str, set[str]]:
    """Write all pages below `to`; returns the glossary's terms that each lesson links, by its number."""
    staging, pages = Staging(root, to), sources(root)
    terms = glossary.read(root / GLOSSARY)
    linked: dict[str, set[str]] = {}
    for page in pages:
        change = links.rewriter(
            root / page, root=root, pages=pages, renamed={HOME: Path("index.md")}, take=staging.take
        )
        if page.suffix == ".ipynb":
            linked |= _notebook(staging, page, change, terms)
        elif page == HOME:
            staging.write("index.md", change((root / page).read_text(encoding="utf-8")) + contents(root, pages))
        elif page == GLOSSARY:
            there = {path.name[:2]: f"../{path.as_posix()}" for path in pages if path.parts[0] == "notebooks"}
            staging.write(page, glossary.directive(change((root / page).read_text(encoding="utf-8")), terms, there))
        else:
            staging.write(page, change((root / page).read_text(encoding="utf-8")))
    for name, text in api.pages(root / "tlcourse").items():
        staging.write(name, text)
    staging.sweep()
    return linked


def _notebook(
    staging: Staging, page: Path, change: Callable[[str], str], terms: list[glossary.Term]
) -> dict[str, set[str]]:
    """Write the page of a lesson or of its exercises; the terms that a lesson links, by its number."""
    path, lesson = staging.root / page, page.parts[0] == "notebooks"
    if lesson:
        notebook = notebooks.lesson(path, frames_at=staging.root / "docs/frames", frames_url="../_static/frames")
    else:
        notebook = nbformat.read(path, as_version=4)
    notebooks.rewrite(notebook, change)
    found = notebooks.link_terms(notebook, terms) if lesson else set()
    staging.write(page, nbformat.writes(notebook) + "\n")
    return {page.name[:2]: found} if lesson else {}


def parts(readme: str, numbers: list[str]) -> list[tuple[str, list[str]]]:
    """The lessons `numbers` under the parts that the course map of the README gives them."""
    found: list[tuple[str, list[str]]] = [("Lessons", [])]
    for row in PART.finditer(readme):
        if row["part"]:
            found.append((row["part"], []))
        elif row["number"] in numbers:
            found[-1][1].append(row["number"])
    known = {number for _, those in found for number in those}
    found[-1][1].extend(number for number in numbers if number not in known)
    return [(name, those) for name, those in found if those]


def contents(root: Path, pages: list[Path]) -> str:
    """The navigation: what the pages are called comes from their titles."""
    lessons = {page.name[:2]: page for page in pages if page.parts[0] == "notebooks"}
    readme = (root / HOME).read_text(encoding="utf-8")
    groups = [(name, [lessons[number] for number in those]) for name, those in parts(readme, list(lessons))]
    groups.append(("Exercises", [page for page in pages if page.parts[0] == "exercises"]))
    groups.append(("Reference", [GLOSSARY, Path("api/index")]))
    teaching = [page for page in pages if page.parts[0] == "docs" and page != GLOSSARY]
    groups.append(("Teaching", teaching))
    groups.append(("About", [page for page in pages if page.as_posix() in ABOUT]))
    return "\n" + "\n".join(_toctree(name, those) for name, those in groups if those)


def _toctree(caption: str, pages: list[Path]) -> str:
    entries = "\n".join(page.with_suffix("").as_posix() for page in pages)
    return f":::{{toctree}}\n:hidden:\n:caption: {caption}\n\n{entries}\n:::\n"
