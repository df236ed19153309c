"""Letters of many scripts, each drawn by the fonts of the DejaVu family: the course's Omniglot (Lake et al. 2015).

The fonts come with matplotlib (free licence, `tlcourse assets`).
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from safetensors.torch import load_file, save_file
from torch import Tensor

from tlcourse import assets
from tlcourse.data.choices import one_of, pixels
from tlcourse.data.containers import Images

FONTS = tuple(
    f"DejaVu{family}{face}"
    for family, slant in (("Sans", "Oblique"), ("SansMono", "Oblique"), ("Serif", "Italic"))
    for face in ("", "-Bold", f"-{slant}", f"-Bold{slant}")
)
FEWEST_FONTS = 4
TRAIN_SCRIPTS = (
    "latin-upper",
    "latin-lower",
    "greek-upper",
    "greek-lower",
    "cyrillic-upper",
    "arabic",
    "canadian",
    "lao",
    "lisu",
    "old-italic",
)
HELD_OUT_SCRIPTS = ("georgian", "armenian", "hebrew", "cyrillic-lower")
# Two letters whose drawings in one font, brought to one size, correlate more than this are one shape (A, Α).
SAME_SHAPE = 0.92


def glyphs(scripts: Sequence[str] | None = None, *, size: int = 28, part: str = "all") -> Images:
    """Letters as 1 × size × size pictures, ink 255 on 0; each class is a letter, drawn by 4 to 12 fonts.

    scripts: names from `TRAIN_SCRIPTS` and `HELD_OUT_SCRIPTS`; None takes all of the part
    part:    "test" has the held-out scripts (Georgian, Armenian, Hebrew, lower-case Cyrillic), "train" the others
    Of letters with the same shape only the first is kept, those of the training scripts first, so no shape is in both
    parts; letters with accents are left out. The columns of `meta` are name, script and font.
    Raises KeyError for an unknown script or part, and ValueError when no wanted script is in the part.
    """
    one_of("part", part, ("all", "train", "test"))
    pixels(size, 12, 256)
    offered = {"all": TRAIN_SCRIPTS + HELD_OUT_SCRIPTS, "train": TRAIN_SCRIPTS, "test": HELD_OUT_SCRIPTS}[part]
    wanted = offered if scripts is None else (scripts,) if isinstance(scripts, str) else tuple(scripts)
    for script in wanted:
        one_of("scripts", script, TRAIN_SCRIPTS + HELD_OUT_SCRIPTS)
    chosen = set(wanted) & set(offered)
    if not chosen:
        raise ValueError(f"scripts={scripts!r} has nothing in part={part!r}, which offers {', '.join(offered)}")
    drawn = _all(size)
    letters = drawn.where(torch.tensor([script in chosen for script in drawn.meta["script"]]))
    return _only_used_classes(letters)


def _only_used_classes(letters: Images) -> Images:
    used, labels = letters.labels.unique(return_inverse=True)
    classes = tuple(letters.classes[i] for i in used.tolist())
    return Images(name="glyphs", pixels=letters.pixels, labels=labels, classes=classes, meta=letters.meta)


@lru_cache(maxsize=4)
def _all(size: int) -> Images:
    key = {"size": size, "recipe": 1, "matplotlib": version("matplotlib"), "pillow": version("pillow")}
    folder = assets.derived("glyphs", key, lambda f: _build(f, size))
    stored = load_file(folder / "glyphs.safetensors")
    text = json.loads((folder / "glyphs.json").read_text("utf-8"))
    meta = {column: tuple(text[column]) for column in ("name", "script", "font")}
    return Images(name="glyphs", **stored, classes=tuple(text["classes"]), meta=meta)


def _build(folder: Path, size: int) -> None:
    fonts = _fonts()
    letters = _distinct(_letters(fonts), fonts)
    rows = [(letter, script, font) for letter, script in letters for font in FONTS if letter in fonts[font]["letters"]]
    number = {letter: i for i, (letter, _) in enumerate(letters)}
    drawn = torch.stack([_draw(letter, fonts[font]["path"], size) for letter, _, font in rows])[:, None]
    labels = torch.tensor([number[letter] for letter, _, _ in rows])
    save_file({"pixels": drawn, "labels": labels}, folder / "glyphs.safetensors")
    text = {
        "classes": list(number),
        "name": [unicodedata.name(letter) for letter, _, _ in rows],
        "script": [script for _, script, _ in rows],
        "font": [font for _, _, font in rows],
    }
    (folder / "glyphs.json").write_text(json.dumps(text), "utf-8")


def _fonts() -> dict[str, dict[str, Any]]:
    """For each font its file and the characters that it really has; others would come out as empty boxes."""
    import matplotlib
    from matplotlib.ft2font import FT2Font

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    paths = {font: str(folder / f"{font}.ttf") for font in FONTS}
    return {font: {"path": p, "letters": {chr(c) for c in FT2Font(p).get_charmap()}} for font, p in paths.items()}


def _letters(fonts: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """(letter, script) of what enough fonts have, in the order of the scripts."""
    scripts = TRAIN_SCRIPTS + HELD_OUT_SCRIPTS
    found = [
        (letter, script)
        for letter in sorted(fonts[FONTS[0]]["letters"])
        if (script := _script(letter)) in scripts
        if sum(letter in font["letters"] for font in fonts.values()) >= FEWEST_FONTS
    ]
    return sorted(found, key=lambda pair: scripts.index(pair[1]))


def _script(letter: str) -> str | None:
    """Script by the Unicode name; None for what is no letter or is composed of others (accents, ligatures)."""
    kind = unicodedata.category(letter)
    if kind not in ("Lu", "Ll", "Lo") or unicodedata.decomposition(letter):
        return None
    words = unicodedata.name(letter, "?").lower().split()
    if words[:2] == ["georgian", "capital"]:  # the old capitals: the fonts draw different letters
        return None
    if words[0] in ("latin", "greek", "cyrillic"):
        return {"Lu": f"{words[0]}-upper", "Ll": f"{words[0]}-lower"}.get(kind)
    return "old-italic" if words[0] == "old" else words[0]


def _distinct(letters: list[tuple[str, str]], fonts: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """Leave out marks, and letters that have the shape of an earlier one in any font."""
    alike = torch.zeros(len(letters), len(letters), dtype=torch.bool)
    for font in fonts.values():
        rows = torch.tensor([i for i, (letter, _) in enumerate(letters) if letter in font["letters"]])
        shapes = torch.stack([_shape(letters[i][0], font["path"]) for i in rows.tolist()])
        alike[rows[:, None], rows] |= shapes @ shapes.T > SAME_SHAPE
    kept: list[int] = []
    for i, (letter, _) in enumerate(letters):
        if not alike[i, kept].any() and not _is_mark(letter, fonts[FONTS[0]]["path"]):
            kept.append(i)
    return [letters[i] for i in kept]


def _is_mark(letter: str, path: str) -> bool:
    """Smaller than 0.3 of the picture, as a dot or a raised stroke is."""
    ink = (_draw(letter, path, 64) > 60).nonzero()
    return len(ink) == 0 or int((ink.amax(0) - ink.amin(0)).max()) < 0.3 * 64


def _shape(letter: str, path: str) -> Float[Tensor, 1024]:
    """The letter cut out and brought to one size, as a vector of mean 0 and length 1."""
    from PIL import Image, ImageOps

    picture = Image.fromarray(_draw(letter, path, 64).numpy())
    fitted = ImageOps.pad(picture.crop(picture.getbbox()), (32, 32), Image.Resampling.BILINEAR)
    vector = torch.from_numpy(np.array(fitted)).float().flatten()
    return torch.nn.functional.normalize(vector - vector.mean(), dim=0)


def _draw(letter: str, path: str, size: int) -> UInt8[Tensor, "size size"]:
    """One letter in the middle, at a font size of 0.8 of the picture, or smaller if it would not fit."""
    from PIL import Image, ImageDraw

    font = _font(path, round(3.2 * size))  # four times too large, then reduced: smooth edges
    left, top, right, bottom = (round(side) for side in font.getbbox(letter))
    ink = Image.new("L", (max(1, right - left), max(1, bottom - top)))
    ImageDraw.Draw(ink).text((-left, -top), letter, fill=255, font=font)
    scale = min(0.25, 0.9 * size / max(ink.size))
    ink = ink.resize([max(1, round(side * scale)) for side in ink.size], Image.Resampling.BOX)
    picture = Image.new("L", (size, size))
    picture.paste(ink, ((size - ink.width) // 2, (size - ink.height) // 2))
    return torch.from_numpy(np.array(picture))


@lru_cache(maxsize=64)
def _font(path: str, points: int) -> Any:
    from PIL import ImageFont

    return ImageFont.truetype(path, points, layout_engine=ImageFont.Layout.BASIC)
