"""The glossary, and links to it from the first use of each term in a lesson.

`docs/glossary.md` has one line for each term: `**term** (other form, other form): definition. Lesson 05.`
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LINE = re.compile(r"^\*\*(?P<term>[^*]+)\*\*(?: \((?P<forms>[^:]*)\))?: (?P<text>.+)$")
NAMED = re.compile(r"\bLesson (\d\d)\b")
# Where a word is not prose: code, formulas, links, tags, and headings.
SPAN = re.compile(r"(`+).+?\1|\$\$.+?\$\$|\$[^$\n]+\$|!?\[[^\]]*\]\([^)]*\)|<[^>\n]+>|https?://\S+", re.DOTALL)
FENCE = re.compile(r"^(```+|~~~+)")
BLOCK = re.compile(r"^</?(details|summary|div|table|p|figure|section)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Term:
    """An entry: its name, the other forms that a text may have, and its definition."""

    name: str
    forms: tuple[str, ...]
    text: str

    @property
    def lesson(self) -> str:
        """Number of the lesson that the definition names last, empty when it names none."""
        return (NAMED.findall(self.text) or [""])[-1]


def read(file: Path) -> list[Term]:
    """All entries; ValueError for a line that is no entry, or a form that two entries claim."""
    terms, seen = [], dict[str, str]()
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("**"):
            continue
        found = LINE.match(line)
        if not found:
            raise ValueError(f"{file.name}: write '**term** (other form): definition. Lesson 05.', not {line!r}")
        forms = tuple(form.strip() for form in (found["forms"] or "").split(",") if form.strip())
        for form in (found["term"], *forms):
            if form.lower() in seen:
                raise ValueError(f"{file.name}: {form!r} is a form of {seen[form.lower()]!r} and of {found['term']!r}")
            seen[form.lower()] = found["term"]
        terms.append(Term(found["term"], forms, found["text"]))
    return terms


def directive(text: str, terms: Sequence[Term], pages: Mapping[str, str]) -> str:
    """The text before the first entry, and all entries as Sphinx's glossary; `pages` gives a lesson's address."""
    head = text.split("\n**", 1)[0].rstrip()

    def link(found: re.Match[str]) -> str:
        return f"[Lesson {found[1]}]({pages[found[1]]})" if found[1] in pages else found[0]

    texts = [NAMED.sub(link, term.text) for term in terms]
    entries = "\n\n".join(f"{term.name}\n  {text}" for term, text in zip(terms, texts, strict=True))
    return f"{head}\n\n:::{{glossary}}\n:sorted:\n\n{entries}\n:::\n"


class Linker:
    """Links the first use of each term in the cells that it is given, one after the other."""

    def __init__(self, terms: Sequence[Term]) -> None:
        self.waiting = {term.name for term in terms}
        self._of = {form.lower(): term.name for term in terms for form in (term.name, *term.forms)}
        self._exact = {form for term in terms for form in (term.name, *term.forms) if _is_acronym(form)}
        forms = sorted((form for term in terms for form in (term.name, *term.forms)), key=len, reverse=True)
        self._pattern = re.compile(
            r"(?<![\w`{/-])(?:" + "|".join(f"({re.escape(form)})(?:s|es)?" for form in forms) + r")(?![\w`}-])",
            re.IGNORECASE,
        )

    def link(self, source: str) -> str:
        """The Markdown `source` with links."""
        return "".join(part if fixed else self._pattern.sub(self._one, part) for part, fixed in _parts(source))

    def _one(self, found: re.Match[str]) -> str:
        form = next(group for group in found.groups() if group)
        if _is_acronym(canonical := self._canonical(form)) and canonical not in (form, form.capitalize()):
            return found[0]
        name = self._of[form.lower()]
        if name not in self.waiting:
            return found[0]
        self.waiting.discard(name)
        return f"{{term}}`{found[0]} <{name}>`"

    def _canonical(self, form: str) -> str:
        """The form as the glossary writes it."""
        return next((exact for exact in self._exact if exact.lower() == form.lower()), form)


def _is_acronym(form: str) -> bool:
    """Whether capitals matter: "LEEP" is not "leep"."""
    return sum(letter.isupper() for letter in form) >= 2


def _parts(source: str) -> Iterator[tuple[str, bool]]:
    """Pieces of Markdown, and whether each must stay as it is."""
    prose: list[str] = []
    fence, block = "", False
    for line in source.splitlines(keepends=True):
        inner = line.lstrip("> \t")
        opening = FENCE.match(inner)
        block = (block or bool(BLOCK.match(inner))) and bool(inner.strip())
        fixed = bool(fence or opening or block or inner.startswith("#"))
        if opening and not fence:
            fence = opening[1]
        elif opening and inner.startswith(fence):
            fence = ""
        if fixed:
            yield from _spans("".join(prose))
            prose.clear()
            yield line, True
        else:
            prose.append(line)
    yield from _spans("".join(prose))


def _spans(prose: str) -> Iterator[tuple[str, bool]]:
    end = 0
    for found in SPAN.finditer(prose):
        yield prose[end : found.start()], False
        yield found[0], True
        end = found.end()
    yield prose[end:], False
