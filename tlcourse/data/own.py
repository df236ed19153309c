"""A reader's own data: a folder of class-named image folders, or a CSV or JSONL file of texts and labels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from tlcourse.data.choices import pixels
from tlcourse.data.containers import Images, Texts
from tlcourse.data.textfiles import read_csv, read_jsonl

# What operating systems and editors leave behind.
LITTER = {"__MACOSX", "Thumbs.db", "desktop.ini"}
PICTURES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


def images(folder: str | Path, *, size: int = 96) -> Images:
    """Pictures from `folder/CLASS/…`, one sub-folder for each class, as 3 × size × size.

    Each picture becomes RGB (transparent parts white, turned as its EXIF data says); its short side is brought to
    `size` and the middle is cut out. `meta` has the column file; identical pictures share a group, so no
    split parts them.
    Hidden files and what operating systems leave behind are skipped.
    Raises FileNotFoundError, and ValueError naming the file or the folder: no class folders, a class without pictures,
    a file that is no readable picture.
    """
    root = Path(folder).expanduser()
    pixels(size, 8, 1024)
    classes = _classes(root)
    files = [(file, label) for label, name in enumerate(classes) for file in _pictures(root / name)]
    pictures = torch.stack([read_image(file, size) for file, _ in files])
    return Images(
        name=root.resolve().name,
        pixels=pictures,
        labels=torch.tensor([label for _, label in files]),
        classes=classes,
        groups=_same_content([hashlib.sha256(picture.numpy()).hexdigest() for picture in pictures]),
        meta={"file": tuple(file.relative_to(root).as_posix() for file, _ in files)},
    )


def texts(file: str | Path, *, text: str = "text", label: str = "label", encoding: str | None = None) -> Texts:
    """Texts and labels from a file with a header line (.csv, .tsv) or with one JSON object a line (.jsonl).

    text, label: names of the two columns; other columns are ignored
    encoding:    UTF-8 if not given; files saved by Excel on Windows are often "cp1252"
    `meta` has the column line, the line of the file; repeated texts share a group, so no split parts them.
    Raises FileNotFoundError, and ValueError naming file and line: a missing column, an empty text or label, a line that
    cannot be decoded or parsed.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file; check the name (the current folder is {Path.cwd()})")
    readers = {".csv": read_csv, ".tsv": read_csv, ".jsonl": read_jsonl, ".ndjson": read_jsonl}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path}: the name must end in {', '.join(readers)}; save the file in one of these formats")
    rows = readers[path.suffix.lower()](path, text, label, encoding)
    if not rows:
        raise ValueError(f"{path} has no rows below the header; add texts and labels")
    classes = _in_order({row.label for row in rows})
    number = {name: i for i, name in enumerate(classes)}
    return Texts(
        name=path.stem,
        texts=tuple(row.text for row in rows),
        labels=torch.tensor([number[row.label] for row in rows]),
        classes=classes,
        groups=_same_content([row.text for row in rows]),
        meta={"line": tuple(str(row.line) for row in rows)},
    )


def read_image(file: Path, size: int) -> UInt8[Tensor, "3 size size"]:
    """One picture file as RGB on white, cut to a square."""
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as source:
            upright = ImageOps.exif_transpose(source)
            square = ImageOps.fit(_on_white(upright), (size, size), Image.Resampling.LANCZOS)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{file} is no readable picture ({error}); repair it, or take it out of the folder") from error
    return torch.from_numpy(np.array(square)).permute(2, 0, 1).contiguous()


def _on_white(image):  # type: ignore[no-untyped-def]  # Pillow is imported only when it is needed
    from PIL import Image

    if image.mode[0] in "IF":  # 16 or 32 bits of grey: Pillow would cut everything above 255
        grey = np.asarray(image, dtype=np.float64)
        top = 1.0 if image.mode == "F" and grey.max() <= 1 else 65535.0 if grey.max() > 255 else 255.0
        image = Image.fromarray((grey.clip(0, top) / top * 255).round().astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        picture = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return image.convert("RGB")


def _classes(root: Path) -> tuple[str, ...]:
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is no folder; check the name (the current folder is {Path.cwd()})")
    classes = _in_order({path.name for path in root.iterdir() if path.is_dir() and not _litter(path)})
    loose = sorted(path.name for path in root.iterdir() if path.suffix.lower() in PICTURES and not _litter(path))
    if loose or not classes:
        found = f"pictures outside of any class ({', '.join(loose[:3])})" if loose else "no class folders"
        raise ValueError(f"{root} has {found}; put each picture into a sub-folder named after its class")
    return classes


def _pictures(folder: Path) -> list[Path]:
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(map(_litter, (folder / p for p in path.relative_to(folder).parts)))
    )
    if not files:
        raise ValueError(f"{folder} is empty: class {folder.name!r} has no pictures; add some, or delete the folder")
    return files


def _litter(path: Path) -> bool:
    return path.name.startswith(".") or path.name in LITTER


def _in_order(names: set[str]) -> tuple[str, ...]:
    """Alphabetical, but numbers by value (2 before 10)."""
    if all(name.isascii() and name.removeprefix("-").isdigit() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def _same_content(contents: Sequence[str]) -> Int64[Tensor, " n"]:
    """For each item the position of the first with the same content."""
    first: dict[str, int] = {}
    return torch.tensor([first.setdefault(content, i) for i, content in enumerate(contents)])
