"""Emoji in four art styles: 1,561 concepts, each drawn by four teams of designers.

Pictures: Noto (Google), Twemoji (Twitter), OpenMoji, Fluent flat (Microsoft), as packed by Iconify. Names, tags and
Unicode subgroups: emojibase. Licences: `tlcourse assets`. OpenMoji is CC BY-SA 4.0, and so is a figure that shows it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from safetensors.torch import load_file, save_file
from torch import Tensor

from tlcourse import assets
from tlcourse.data.choices import one_of, pixels
from tlcourse.data.containers import Images
from tlcourse.data.stamps import stamps

STYLES = ("noto", "twemoji", "openmoji", "fluent")
LABELS = ("category", "subgroup", "name")
PARTS = ("all", "train", "test")
KEPT = 128  # pictures up to this size stay in memory; one style at 224 pixels is 235 MB
JOINED = ("emojibase", *(f"emoji_{style}" for style in STYLES))

# Concepts of one subgroup are near-duplicates (clock faces, people at work), so whole subgroups are held out, the same
# in all styles: about a third of each category, drawn once at random. (person-gesture was drawn too, then changed for
# person-fantasy, because "person pouting" looks like "person".) Flags have one subgroup and are in neither part.
HELD_OUT = {
    "Smileys & Emotion": "face-concerned face-glasses face-hat face-neutral-skeptical face-tongue",
    "People & Body": "hand-single-finger person-fantasy person-role",
    "Animals & Nature": "animal-amphibian animal-bird animal-reptile plant-flower plant-other",
    "Food & Drink": "dishware drink food-sweet",
    "Travel & Places": "hotel place-geographic place-religious transport-ground transport-water",
    "Activities": "arts-crafts event",
    "Objects": "computer household light-video mail other-object phone sound",
    "Symbols": "av-symbol gender geometric religion",
}


def emoji(style: str | Sequence[str] = "noto", *, size: int = 64, label: str = "category", part: str = "all") -> Images:
    """Emoji on white, 3 × size × size, in Unicode order; several styles are put one after the other.

    label: "category" (9 classes; 8 in the parts), "subgroup" (95) or "name" (1,561 concepts)
    part:  "train" and "test" share no Unicode subgroup, in any style, and leave out the 8 flags
    The columns of `meta` are name, style, category, subgroup and tags; `groups` is the Unicode subgroup.
    Raises KeyError for an unknown style, label or part, and ValueError for a size outside 8 … 512.
    """
    styles = (style,) if isinstance(style, str) else tuple(style)
    if not styles or len(set(styles)) != len(styles):
        raise ValueError(f"style={style!r}: name one or more different styles of {', '.join(STYLES)}")
    for name in styles:
        one_of("style", name, STYLES)
    one_of("label", label, LABELS)
    one_of("part", part, PARTS)
    pixels(size, 8, 512)
    drawn = [_style(name, size) if size <= KEPT else _made(name, size) for name in styles]
    pictures = drawn[0].take(range(len(drawn[0]))) if len(drawn) == 1 else _concatenate(drawn)
    if part != "all":
        pictures = pictures.where(_in_part(pictures, part))
    return _label(pictures, label)


def _in_part(pictures: Images, part: str) -> Bool[Tensor, " n"]:
    held_out = {subgroup for subgroups in HELD_OUT.values() for subgroup in subgroups.split()}
    places = zip(pictures.meta["category"], pictures.meta["subgroup"], strict=True)
    return torch.tensor([c in HELD_OUT and (s in held_out) == (part == "test") for c, s in places])


def _label(pictures: Images, label: str) -> Images:
    """The wanted labels; classes in Unicode order, only those that occur."""
    column = pictures.meta[label]
    classes = tuple(dict.fromkeys(column))
    number = {name: i for i, name in enumerate(classes)}
    labels = torch.tensor([number[name] for name in column])
    return replace(pictures, labels=labels, classes=classes)


def _concatenate(drawn: Sequence[Images]) -> Images:
    first = drawn[0]
    return replace(
        first,
        name="emoji-" + "+".join(d.meta["style"][0] for d in drawn),
        pixels=torch.cat([d.pixels for d in drawn]),
        labels=torch.cat([d.labels for d in drawn]),
        groups=torch.cat([d.groups for d in drawn]),
        meta={key: tuple(value for d in drawn for value in d.meta[key]) for key in first.meta},
    )


@lru_cache(maxsize=8)
def _style(style: str, size: int) -> Images:
    """One style that stays in memory."""
    return _made(style, size)


def _made(style: str, size: int) -> Images:
    """All concepts in one style, in Unicode order. The labels are placeholders."""
    concepts = _concepts()
    key = {"style": style, "size": size, "resvg": version("resvg-py"), **stamps(f"emoji_{style}", *JOINED)}

    def build(folder: Path) -> None:
        pack = _read(f"emoji_{style}", "icons.json")
        drawn = torch.stack([_render(pack, concept["icon"], size) for concept in concepts])
        save_file({"pixels": drawn}, folder / "pixels.safetensors")

    folder = assets.derived("emoji", key, build)
    columns = ("name", "category", "subgroup", "tags")
    return Images(
        name=f"emoji-{style}",
        pixels=load_file(folder / "pixels.safetensors")["pixels"],
        labels=torch.zeros(len(concepts), dtype=torch.int64),
        classes=("emoji",),
        groups=torch.tensor([concept["group"] for concept in concepts]),
        meta={**{c: tuple(x[c] for x in concepts) for c in columns}, "style": (style,) * len(concepts)},
    )


@lru_cache(maxsize=1)
def _concepts() -> list[dict[str, Any]]:
    """What all four styles draw, in Unicode order. Kept on disk, because the sources are 54 MB of JSON."""

    def build(folder: Path) -> None:
        (folder / "concepts.json").write_text(json.dumps(_join()), "utf-8")

    folder = assets.derived("emoji-concepts", {"recipe": 1, **stamps(*JOINED)}, build)
    concepts: list[dict[str, Any]] = json.loads((folder / "concepts.json").read_text("utf-8"))
    return concepts


def _join() -> list[dict[str, Any]]:
    """Join the icons with emojibase by code points."""
    common = set.intersection(*(set(_read(f"emoji_{style}", "icons.json")["icons"]) for style in STYLES))
    known = {_plain(entry["hexcode"]): entry for entry in _read("emojibase", "data.json")}
    names = _read("emojibase", "groups.json")
    concepts: dict[str, dict[str, Any]] = {}
    for code, icon in _read("emoji_noto", "chars.json").items():
        entry = known.get(_plain(code))
        if icon in common and entry is not None:
            concepts[icon] = {
                "icon": icon,
                "order": entry["order"],
                "name": entry["label"],
                "category": names["groups"][str(entry["group"])].replace("-", " & ").title(),
                "subgroup": names["subgroups"][str(entry["subgroup"])],
                "tags": ", ".join(entry["tags"]),
                "group": entry["subgroup"],
            }
    return sorted(concepts.values(), key=lambda concept: concept["order"])


def _read(asset: str, file: str) -> Any:
    return json.loads(assets.path(asset, file).read_text("utf-8"))


def _plain(code: str) -> str:
    """Code points without the variation selector, which the sources write inconsistently."""
    return "-".join(point for point in code.lower().split("-") if point != "fe0f")


def _render(pack: dict[str, Any], icon: str, size: int) -> UInt8[Tensor, "3 size size"]:
    import resvg_py
    from PIL import Image

    entry = pack["icons"][icon]
    width, height = entry.get("width", pack["width"]), entry.get("height", pack["height"])
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width} {height}" width="{size}" height="{size}">{entry["body"]}</svg>'
    )
    png = resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size, background="#ffffff", skip_system_fonts=True)
    with Image.open(io.BytesIO(bytes(png))) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()
