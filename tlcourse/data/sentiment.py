"""Short texts of four domains, rated by people from −4 to 4 (Hutto and Gilbert 2014, ICWSM)."""

from __future__ import annotations

import hashlib
import html
import re
from functools import lru_cache

import torch

from tlcourse import assets
from tlcourse.data.choices import one_of
from tlcourse.data.containers import Texts

DOMAINS = ("tweets", "nyt", "amazon", "movies")
CLASSES = ("negative", "positive")
TEST_SHARE = 0.3


def sentiment(domain: str = "movies", *, part: str = "all", threshold: float = 0.5) -> Texts:
    """Texts whose mean rating is at least `threshold` away from 0; the column rating of `meta` has the mean.

    domain: "tweets"; "nyt", sentences of editorials; "amazon", sentences of product reviews; "movies", review snippets
    part:   "train" (about 70 %) and "test". A text stays on its side whatever the threshold.
    Repeated texts are left out, and sentences of one editorial or product review share a group and a side, so no text
    and no article is on both sides.
    Raises KeyError for an unknown domain or part, ValueError for a threshold outside 0 < threshold < 4.
    """
    one_of("domain", domain, DOMAINS)
    one_of("part", part, ("all", "train", "test"))
    if not 0 < threshold < 4:
        raise ValueError(f"threshold={threshold}: ratings go from −4 to 4, so choose a number between 0 and 4")
    everything, test = _rated(domain)
    rating = torch.tensor([float(r) for r in everything.meta["rating"]])
    chosen = rating.abs() >= threshold
    if part != "all":
        chosen &= test if part == "test" else ~test
    if not chosen.any():
        raise ValueError(f"threshold={threshold}: no text of {domain!r} is rated so strongly; choose a smaller number")
    return everything.where(chosen)


def text_sources(*, part: str = "all", each: int = 300) -> Texts:
    """Where was this written? `each` texts of every domain, with the domain as the label; no question of sentiment.

    The texts are drawn once by a fixed seed; "train" and "test" are those of `sentiment`, so editorials and reviews
    are not shared. Raises KeyError for an unknown part, ValueError when a domain has fewer than `each` texts.
    """
    drawn = []
    for domain in DOMAINS:
        texts = sentiment(domain, part=part)
        if not 1 <= each <= len(texts):
            raise ValueError(f"each={each}: {domain!r} has {len(texts)} texts here; choose a number from 1 to that")
        order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(0))
        drawn.append(texts.take(order[:each]))
    offsets = torch.tensor([0, *(int(texts.groups.max()) + 1 for texts in drawn)]).cumsum(0)
    return Texts(
        name="text sources",
        texts=tuple(text for texts in drawn for text in texts.texts),
        labels=torch.arange(len(DOMAINS)).repeat_interleave(each),
        classes=DOMAINS,
        groups=torch.cat([texts.groups + offset for texts, offset in zip(drawn, offsets, strict=False)]),
        meta={"source": tuple(source for texts in drawn for source in texts.meta["source"])},
    )


@lru_cache(maxsize=4)
def _rated(domain: str) -> tuple[Texts, torch.Tensor]:
    """All texts of a domain, and which of them are held out."""
    rows = _without_repeats(_rows(assets.path("sentiment", f"{domain}.txt").read_bytes()))
    sources = [f"{domain}/{source}" for source, _, _ in rows]
    number = {source: i for i, source in enumerate(dict.fromkeys(sources))}
    texts = Texts(
        name=domain,
        texts=tuple(text for _, _, text in rows),
        labels=torch.tensor([int(float(rating) > 0) for _, rating, _ in rows]),
        classes=CLASSES,
        groups=torch.tensor([number[source] for source in sources]),
        meta={"rating": tuple(rating for _, rating, _ in rows), "source": tuple(sources)},
    )
    return texts, torch.tensor([_side(source) < TEST_SHARE for source in sources])


def _rows(raw: bytes) -> list[tuple[str, str, str]]:
    """(source, rating, text) of each line. "12_3" is the third sentence of source 12."""
    rows = []
    for line in raw.splitlines():
        key, rating, text = _decode(line).split("\t")
        rows.append((key.split("_")[0], rating, _unescape(text).strip()))
    return rows


def _decode(line: bytes) -> str:
    """The files are latin-1, but some lines of the movie reviews are UTF-8."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _unescape(text: str) -> str:
    """HTML entities to characters. Editorials and reviews were escaped twice ("&amp;amp;")."""
    return html.unescape(html.unescape(text))


def _without_repeats(rows: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Keep the first of each text, compared by its words: some tweets come six times, some editorials twice."""
    first: dict[str, tuple[str, str, str]] = {}
    for row in rows:
        words = re.sub(r"\W+", " ", row[2].lower()).strip() or row[2]
        first.setdefault(words, row)
    return list(first.values())


def _side(source: str) -> float:
    """A number in 0 … 1 that depends on the name of the source alone."""
    return int.from_bytes(hashlib.sha256(source.encode()).digest()[:8], "big") / 2**64
