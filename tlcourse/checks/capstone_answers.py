"""The answers of the capstone, sealed: a hash for each test picture, from which no label can be read in passing.

Thirty of the pictures are decoys. They do not count, and what is sealed for them is a wrong label: who sorts pictures
by what they show does not give it, who gets labels out of the hashes does. With ten classes anyone can try all labels,
so this keeps honest people honest, and no more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tlcourse.data.capstone import CLASSES, OFFICIAL, TESTED, deal, numbered

FILE = Path(__file__).with_suffix(".json")
SALT = "tlcourse.capstone.e6c1"
DECOY_STEPS = (3, 5, 8)  # decoy j of class c carries class c + step j: each label is on three decoys
COUNTED = TESTED - len(DECOY_STEPS)  # pictures of each class that count


@dataclass(frozen=True)
class Answers:
    """Sealed answers: `hashes` by the id of the picture; `counted` pictures of each class, and `decoys`."""

    hashes: Mapping[str, str]
    counted: int
    decoys: int

    def right(self, picture: str, label: str) -> bool:
        """Whether this is a picture that counts, and its label."""
        return self.hashes[picture] == seal("counts", picture, label)

    def bait(self, picture: str, label: str) -> bool:
        """Whether this is a decoy, and the wrong label that is sealed for it."""
        return self.hashes[picture] == seal("decoy", picture, label)


def seal(kind: str, picture: str, label: str) -> str:
    """The hash of one answer."""
    return hashlib.sha256(f"{SALT}|{kind}|{picture}|{label}".encode()).hexdigest()[:16]


def load() -> Answers:
    """The shipped answers."""
    stored = json.loads(FILE.read_text("utf-8"))
    return Answers(hashes=stored["hashes"], counted=stored["counted"], decoys=stored["decoys"])


def make() -> Answers:
    """The same from the pictures' true classes; for authors, after a change of the deal."""
    labels = deal(OFFICIAL)[2].labels.tolist()
    ids = numbered("t", len(labels))
    hashes: dict[str, str] = {}
    for c in range(len(CLASSES)):
        mine = [picture for picture, label in zip(ids, labels, strict=True) if label == c]
        mine.sort(key=lambda picture: seal("order", picture, ""))
        for step, picture in zip(DECOY_STEPS, mine, strict=False):
            hashes[picture] = seal("decoy", picture, CLASSES[(c + step) % len(CLASSES)])
        hashes |= {picture: seal("counts", picture, CLASSES[c]) for picture in mine[len(DECOY_STEPS) :]}
    return Answers(dict(sorted(hashes.items())), COUNTED, len(DECOY_STEPS) * len(CLASSES))


def write() -> None:
    """Make the answers and ship them."""
    answers = make()
    stored = {"counted": answers.counted, "decoys": answers.decoys, "hashes": answers.hashes}
    FILE.write_text(json.dumps(stored, indent=1) + "\n", "utf-8")
