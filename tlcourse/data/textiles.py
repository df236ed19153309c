"""Woven cloth with and without defects: the course's stand-in for a domain far from ImageNet, as medical images are.

Simulated inspection images, 1,000 nominal, 500 with a local and 500 with a global defect (Megahed et al. 2025,
arXiv:2501.12596).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from tlcourse import assets
from tlcourse.data.choices import one_of, pixels
from tlcourse.data.containers import Images
from tlcourse.data.splits import held_out
from tlcourse.data.stamps import stamps

CLASSES = ("nominal", "local", "global")


def textiles(*, size: int = 96, part: str = "all") -> Images:
    """2,000 RGB pictures, 3 × size × size; `meta` has the column file.

    part: "train" (1,400) and "test" (600) are fixed and have the same shares of the classes.
    Raises KeyError for an unknown part and ValueError for a size outside 8 … 250 (the original has 250 pixels).
    """
    one_of("part", part, ("all", "train", "test"))
    pixels(size, 8, 250)
    cloth = _all(size)
    if part == "all":
        return cloth.take(range(len(cloth)))
    test = held_out(cloth.meta["file"], cloth.labels, 0.3)
    return cloth.where(test if part == "test" else ~test)


@lru_cache(maxsize=4)
def _all(size: int) -> Images:
    folder = assets.derived("textiles", {"size": size, "recipe": 1, **stamps("textiles")}, lambda f: _build(f, size))
    stored = load_file(folder / "pixels.safetensors")["pixels"]
    files = (folder / "files.txt").read_text("utf-8").split("\n")
    labels = torch.tensor([CLASSES.index(name.split("/")[0]) for name in files])
    return Images(name="textiles", pixels=stored, labels=labels, classes=CLASSES, meta={"file": tuple(files)})


def _build(folder: Path, size: int) -> None:
    from PIL import Image

    source = assets.path("textiles")
    files = [path for name in CLASSES for path in sorted((source / name).glob("*.jpg"))]
    small = torch.empty(len(files), 3, size, size, dtype=torch.uint8)
    for i, path in enumerate(files):
        with Image.open(path) as image:
            resized = image.convert("RGB").resize((size, size), Image.Resampling.LANCZOS)
        small[i] = torch.from_numpy(np.array(resized)).permute(2, 0, 1)
    save_file({"pixels": small}, folder / "pixels.safetensors")
    (folder / "files.txt").write_text("\n".join(f"{path.parent.name}/{path.name}" for path in files), "utf-8")
