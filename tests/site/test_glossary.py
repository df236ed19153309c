"""The glossary: every entry is whole, and a text is linked where it uses a term first, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from course_site import glossary, notebooks
from course_site.glossary import Linker, Term

ROOT = Path(__file__).resolve().parents[2]
TERMS = glossary.read(ROOT / "docs" / "glossary.md")
LESSONS = {path.name[:2]: path for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))}
SOME = [
    Term("fine-tuning", ("fine-tune", "fine-tuned"), "Training further. Lesson 03."),
    Term("domain", (), "Inputs. Lesson 01."),
    Term("domain adaptation", (), "Using inputs of the target. Lesson 13."),
    Term("LEEP", (), "A score. Lesson 02."),
]


def linked(source: str) -> str:
    return Linker(SOME).link(source)


def test_the_glossary_covers_the_course() -> None:
    assert len(TERMS) >= 80
    for term in TERMS:
        assert term.lesson in {f"{number:02}" for number in range(19)}, f"{term.name} names no lesson"
        assert len(term.text) > 30, term.name


def test_every_term_is_used_in_a_lesson() -> None:
    used: set[str] = set()
    for path in LESSONS.values():
        used |= notebooks.link_terms(nbformat.read(path, as_version=4), TERMS)
    unused = [term.name for term in TERMS if term.name not in used and term.lesson in LESSONS]
    assert unused == [], "no lesson uses these words: give the form that it uses, or take the entry out"


def test_first_use_is_linked_and_the_next_is_not() -> None:
    assert linked("A domain, and two domains.") == "A {term}`domain <domain>`, and two domains."
    linker = Linker(SOME)
    assert linker.link("Fine-tuned here") == "{term}`Fine-tuned <fine-tuning>` here"
    assert linker.link("and fine-tuning there") == "and fine-tuning there"
    assert linker.waiting == {"domain", "domain adaptation", "LEEP"}


def test_the_longest_term_wins() -> None:
    assert linked("domain adaptation of a domain") == (
        "{term}`domain adaptation <domain adaptation>` of a {term}`domain <domain>`"
    )


@pytest.mark.parametrize(
    "source",
    [
        "`domain`",
        "```python\ndomain = 1\n```",
        "$domain$ and $$\ndomain\n$$",
        "[the domain](01_why_transfer.ipynb) ![a domain](x.png)",
        "## Domain",
        "<details><summary>domain</summary>\n",
        "> <details><summary>domain</summary>\n",
        '<img alt="a domain">',
        "https://example.org/domain",
        "subdomain, domain-like, domain_name",
        "leep into the dark",
    ],
)
def test_what_is_not_prose_stays(source: str) -> None:
    assert linked(source) == source


def test_prose_in_folds_quotes_and_bold_is_linked() -> None:
    assert "{term}" in linked("> <details><summary>Answer</summary>\n>\n> The domain.\n> </details>")
    assert linked("**LEEP**: a score") == "**{term}`LEEP <LEEP>`**: a score"


def test_entries_that_clash_or_are_not_whole_are_told(tmp_path: Path) -> None:
    file = tmp_path / "glossary.md"
    file.write_text("# G\n\n**a b**: one. Lesson 01.\n**c** (A B): two. Lesson 02.\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"'A B' is a form of 'a b' and of 'c'"):
        glossary.read(file)
    file.write_text("**a b** one\n", encoding="utf-8")
    with pytest.raises(ValueError, match="write '\\*\\*term"):
        glossary.read(file)


def test_the_page_links_the_lessons_that_there_are() -> None:
    text = glossary.directive("# G\n\nHead.\n\n**x**: y", SOME[:2], {"03": "../notebooks/03_x.ipynb"})
    assert "Head." in text
    assert "fine-tuning\n  Training further. [Lesson 03](../notebooks/03_x.ipynb)." in text
    assert "domain\n  Inputs. Lesson 01." in text
