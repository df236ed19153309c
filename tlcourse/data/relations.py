"""Sentences with two marked entities for few-shot relation extraction, written for this course (CC BY 4.0).

The task is that of FewRel (Han et al. 2018, arXiv:1810.10147) on a small scale: name the relation between two entities.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

from tlcourse.data.choices import one_of
from tlcourse.data.containers import Texts

PARTS = ("train", "test")
_MARKERS = re.compile(r"\[(/?)([HT])\]")


class Relation(NamedTuple):
    """A relation and its sentences as (text, span of the head, span of the tail)."""

    name: str
    part: str
    definition: str
    sentences: list[tuple[str, tuple[int, int], tuple[int, int]]]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Relations(Texts):
    """Sentences that each state one relation from a head to a tail entity.

    texts:       the sentences, without markers
    heads:       first character of the head entity and the one after its last: `text[start:end]` is the entity
    tails:       the same for the tail entity
    definitions: what each class says about head and tail
    """

    heads: Int64[Tensor, "n 2"]
    tails: Int64[Tensor, "n 2"]
    definitions: Mapping[str, str]

    def __post_init__(self) -> None:
        super().__post_init__()
        for field, spans in (("heads", self.heads), ("tails", self.tails)):
            _check_spans(field, spans, self.texts)
        missing = [name for name in self.classes if name not in self.definitions]
        if missing:
            raise ValueError(f"definitions has no entry for {missing[0]!r}; give one for every class")
        object.__setattr__(self, "definitions", MappingProxyType(dict(self.definitions)))

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "definitions": dict(self.definitions)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({**state, "definitions": MappingProxyType(state["definitions"])})

    @property
    def names(self) -> tuple[str, ...]:
        """The relations, in the order of the labels."""
        return self.classes

    @property
    def marked(self) -> tuple[str, ...]:
        """The sentences with [H]…[/H] around the head and [T]…[/T] around the tail."""
        spans = zip(self.texts, self.heads.tolist(), self.tails.tolist(), strict=True)
        return tuple(_mark(text, {"H": head, "T": tail}) for text, head, tail in spans)

    def _take_inputs(self, index: Tensor) -> dict[str, Any]:
        return {**super()._take_inputs(index), "heads": self.heads[index], "tails": self.tails[index]}

    def _add_inputs(self, digest: Any) -> None:
        super()._add_inputs(digest)
        for spans in (self.heads, self.tails):
            digest.update(spans.contiguous().numpy().data)

    def _item(self) -> str:
        return "sentence"


def relations(part: str = "all") -> Relations:
    """Sentences about people, places and works, each with two entities and the relation that it states between them.

    part: "train" has 12 relations and "test" 8 others, none of them shared; "all" has the 20
    Some relations differ in little but the sense (author and director, mother and spouse), and an entity may occur
    under several relations, but no pair of entities occurs twice.
    Raises KeyError for an unknown part.
    """
    one_of("part", part, ("all", *PARTS))
    chosen = [relation for relation in _everything() if part in ("all", relation.part)]
    rows = [(label, *row) for label, relation in enumerate(chosen) for row in relation.sentences]
    labels, texts, heads, tails = zip(*rows, strict=True)
    return Relations(
        name="relations",
        texts=texts,
        labels=torch.tensor(labels),
        classes=tuple(relation.name for relation in chosen),
        heads=torch.tensor(heads),
        tails=torch.tensor(tails),
        definitions={relation.name: relation.definition for relation in chosen},
    )


@lru_cache(maxsize=1)
def _everything() -> tuple[Relation, ...]:
    lines = Path(__file__).with_name("relations_sentences.txt").read_text("utf-8").splitlines()
    return tuple(parse(lines))


def parse(lines: Sequence[str]) -> list[Relation]:
    """Relations from lines of text: "## name | part | definition", then one marked sentence per line.

    Empty lines and those that start with "# " are left out. Raises ValueError naming the line that is malformed.
    """
    found: list[Relation] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("# "):
            continue
        try:
            if line.startswith("##"):
                found.append(_heading(line, [relation.name for relation in found]))
            elif not found:
                raise ValueError('a sentence before the first relation; begin with "## name | part | definition"')
            else:
                found[-1].sentences.append(_sentence(line))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
    empty = [relation.name for relation in found if not relation.sentences]
    if empty:
        raise ValueError(f"the relation {empty[0]!r} has no sentence; write one per line below its heading")
    return found


def _heading(line: str, taken: Sequence[str]) -> Relation:
    fields = [field.strip() for field in line.removeprefix("##").split("|")]
    if len(fields) != 3 or not all(fields):
        raise ValueError(f'a heading is "## name | part | definition", got {line!r}')
    name, part, definition = fields
    if part not in PARTS:
        raise ValueError(f"the part of {name!r} is {part!r}; choose from: {', '.join(PARTS)}")
    if name in taken:
        raise ValueError(f"the relation {name!r} is there already; put all its sentences under one heading")
    return Relation(name, part, definition, [])


def _sentence(line: str) -> tuple[str, tuple[int, int], tuple[int, int]]:
    """The text without its markers, and the spans of head and tail in it."""
    tags = [match.group(0) for match in _MARKERS.finditer(line)]
    if tags not in (["[H]", "[/H]", "[T]", "[/T]"], ["[T]", "[/T]", "[H]", "[/H]"]):
        raise ValueError(
            f"mark one head as [H]…[/H] and one tail as [T]…[/T], side by side, got {' '.join(tags) or 'no marker'}"
        )
    text, at = "", {}
    for piece in re.split(r"(\[/?[HT]\])", line.strip()):
        if _MARKERS.fullmatch(piece):
            at[piece] = len(text)
        else:
            text += piece
    head, tail = ((at[f"[{kind}]"], at[f"[/{kind}]"]) for kind in "HT")
    for start, end in (head, tail):
        if not text[start:end] or text[start:end] != text[start:end].strip():
            raise ValueError(f"a marked entity is {text[start:end]!r}; put the markers directly around its words")
    return text, head, tail


def _mark(text: str, spans: Mapping[str, Sequence[int]]) -> str:
    for kind, (start, end) in sorted(spans.items(), key=lambda item: item[1][0], reverse=True):  # back to front
        text = f"{text[:start]}[{kind}]{text[start:end]}[/{kind}]{text[end:]}"
    return text


def _check_spans(field: str, spans: Tensor, texts: Sequence[str]) -> None:
    if spans.shape != (len(texts), 2) or spans.dtype != torch.int64:
        raise ValueError(
            f"{field} must be an int64 tensor of shape ({len(texts)}, 2), got {spans.dtype} {tuple(spans.shape)}; "
            "give the start and the end of one entity per sentence"
        )
    for i, (start, end) in enumerate(spans.tolist()):
        if not 0 <= start < end <= len(texts[i]):
            raise ValueError(
                f"{field}[{i}] is ({start}, {end}), but sentence {i} has {len(texts[i])} characters; "
                "choose 0 ≤ start < end ≤ length"
            )
