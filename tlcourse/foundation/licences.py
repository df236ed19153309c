"""What a licence lets you do with a model or a data set. A table of a few well-known ones; it is no legal advice."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tlcourse import assets


@dataclass(frozen=True)
class Terms:
    """commercial: may it be used for profit? adapt: may changed copies be passed on? attribution: must the makers
    be named, or their notice kept, when it is passed on? share_alike: must changed copies keep the same licence?
    note: what these four do not say."""

    name: str
    url: str
    commercial: bool
    adapt: bool
    attribution: bool
    share_alike: bool
    note: str = ""


_CC = "https://creativecommons.org/licenses"
TERMS = {
    "Apache-2.0": Terms("Apache 2.0", "https://www.apache.org/licenses/LICENSE-2.0", True, True, True, False),
    "MIT": Terms("MIT", "https://opensource.org/license/mit", True, True, True, False),
    "BSD-3-Clause": Terms("BSD, three clauses", "https://opensource.org/license/bsd-3-clause", True, True, True, False),
    "CC0-1.0": Terms("CC0", "https://creativecommons.org/publicdomain/zero/1.0/", True, True, False, False),
    "CC-BY-2.0": Terms("CC BY 2.0", f"{_CC}/by/2.0/", True, True, True, False),
    "CC-BY-4.0": Terms("CC BY 4.0", f"{_CC}/by/4.0/", True, True, True, False),
    "CC-BY-SA-4.0": Terms("CC BY-SA 4.0", f"{_CC}/by-sa/4.0/", True, True, True, True),
    "CC-BY-NC-4.0": Terms("CC BY-NC 4.0", f"{_CC}/by-nc/4.0/", False, True, True, False),
    "CC-BY-NC-SA-4.0": Terms("CC BY-NC-SA 4.0", f"{_CC}/by-nc-sa/4.0/", False, True, True, True),
    "CC-BY-ND-4.0": Terms("CC BY-ND 4.0", f"{_CC}/by-nd/4.0/", True, False, True, False),
    "Bitstream-Vera": Terms(
        "Bitstream Vera",
        "https://spdx.org/licenses/Bitstream-Vera.html",
        True,
        True,
        True,
        False,
        note="the fonts may not be sold by themselves, and changed ones need another name",
    ),
}
USES = ("commercial", "adapt")
DUTIES = ("attribution", "share_alike")


def terms(licence: str) -> Terms:
    """The terms of a licence by its SPDX identifier, capital or not.

    Raises KeyError for one that is not in the table, "other" and "unknown" among them: then nothing may be taken for
    granted, and somebody has to read the text.
    """
    for identifier, found in TERMS.items():
        if identifier.lower() == licence.strip().lower():
            return found
    raise KeyError(
        f"licence {licence!r} is not in the table, so nothing is allowed until somebody has read it; "
        f"known: {', '.join(TERMS)}"
    )


def may(licence: str, use: str) -> bool:
    """Whether a use is allowed: "commercial" or "adapt". Raises KeyError for unknown licences and uses."""
    if use not in USES:
        raise KeyError(f"use {use!r} is unknown; choose from: {', '.join(USES)}")
    return bool(getattr(terms(licence), use))


def must(licence: str, duty: str) -> bool:
    """Whether there is a duty: "attribution" or "share_alike". Raises KeyError for unknown licences and duties."""
    if duty not in DUTIES:
        raise KeyError(f"duty {duty!r} is unknown; choose from: {', '.join(DUTIES)}")
    return bool(getattr(terms(licence), duty))


def combined(licences: Mapping[str, str]) -> Terms:
    """What holds for a work made of several parts, name → licence: every ban and every duty of any of them.

    Raises ValueError for no parts, and for parts whose licences exclude each other, as two share-alike ones do;
    KeyError for an unknown licence.
    """
    if not licences:
        raise ValueError("there are no parts; give the name and the licence of each")
    parts = {name: terms(licence) for name, licence in licences.items()}
    alike = {part.name for part in parts.values() if part.share_alike}
    if len(alike) > 1:
        raise ValueError(
            f"{' and '.join(sorted(alike))} both ask for themselves; leave the parts under one of them out"
        )
    if alike and not all(part.adapt for part in parts.values()):
        raise ValueError("one part asks for share-alike and another may not be changed; leave one of them out")
    sold = [part.commercial for part in parts.values() if part.share_alike]
    if any(sold) and not all(part.commercial for part in parts.values()):
        raise ValueError("one part asks that the whole may be sold and another forbids it; leave one of them out")
    return Terms(
        name=" + ".join(sorted({part.name for part in parts.values()})),
        url="",
        commercial=all(part.commercial for part in parts.values()),
        adapt=all(part.adapt for part in parts.values()),
        attribution=any(part.attribution for part in parts.values()),
        share_alike=bool(alike),
    )


def of_assets() -> dict[str, str]:
    """The licence that the table of files gives for each asset of this course."""
    return {asset.name: asset.licence for asset in assets.table()}


def of_model_card(card: str) -> str:
    """The licence in the header of a model card: the line `license:` between the first two lines `---`.

    Raises ValueError for a card without such a header, or without a licence in it: a model that does not say what it
    allows, allows nothing.
    """
    header = re.match(r"\A---\s*\n(.*?)\n---\s*(\n|\Z)", card, re.DOTALL)
    if header is None:
        raise ValueError("the card has no header between two lines '---'; ask its makers for the licence")
    line = re.search(r"^license:[ \t]*(\S.*?)[ \t]*$", header.group(1), re.MULTILINE)
    if line is None:
        raise ValueError("the card's header has no line 'license:'; ask its makers, for without one nothing is allowed")
    return line.group(1).strip("'\"")
