"""Frames of the explorers, made beforehand, so that their controls move the figure where no Python runs.

python -m tlcourse.lesson.frames notebooks/*.ipynb --to docs/frames            those that are missing or stale
python -m tlcourse.lesson.frames notebooks/*.ipynb --to docs/frames --check    only say which

A lesson is run up to its explorer, which is then drawn at every combination of its choices, or at a grid of them where
there are many. The folder of lesson 13 is `13/`: an index `frames.json` and one picture for each frame that differs.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import html
import io
import json
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from tlcourse.lesson.outputs import code_hash

INDEX = "frames.json"
CHOICES = "choices.toml"  # beside the frames: what the readers of a page may choose, where it is not the default
LARGEST = 36  # frames of a lesson
LOSSLESS = 30_000  # bytes; above it is no drawing


def explorer_cell(notebook: NotebookNode) -> int | None:
    """Index of the cell with the explorer, None for a lesson without one."""
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and "lesson.explorer(" in cell.source:
            return index
    return None


def until_explorer(notebook: NotebookNode) -> NotebookNode | None:
    """The lesson from its start to its explorer, without outputs; None for a lesson without one."""
    last = explorer_cell(notebook)
    if last is None:
        return None
    cells = [nbformat.from_dict({**cell}) for cell in notebook.cells[: last + 1]]
    return nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata)


def problem(notebook: Path, folder: Path) -> str:
    """What is wrong with the frames of `notebook` below `folder`; empty when they are there and fresh."""
    needed = until_explorer(nbformat.read(notebook, as_version=4))
    if needed is None:
        return ""
    frames = load(notebook.stem, folder)
    if frames is None:
        return f"{notebook.stem}: its explorer has no frames; run make frames"
    gone = sorted({file for file, *_ in frames["frames"] if not (folder / notebook.stem[:2] / file).is_file()})
    if gone:
        return f"{notebook.stem}: {', '.join(gone)} is missing; run make frames"
    if frames["code_hash"] != code_hash(needed):
        return f"{notebook.stem}: the code before its explorer has changed since its frames were made; run make frames"
    return ""


def load(stem: str, folder: Path) -> dict[str, Any] | None:
    """The index of the frames of the lesson `stem`, None if there is none."""
    file = folder / stem[:2] / INDEX
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def thinned(choices: Sequence[object], first: object, count: int) -> list[object]:
    """`count` of the choices at even distances, with both ends and `first` among them where there is room."""
    if count >= len(choices):
        return list(choices)
    start = list(choices).index(first)
    if count == 1:
        return [choices[start]]
    places = [round(i * (len(choices) - 1) / (count - 1)) for i in range(count)]
    if start not in places:
        inner = places[1:-1] or places
        places[places.index(min(inner, key=lambda place: abs(place - start)))] = start
    return [choices[place] for place in sorted(places)]


def grid(
    choices: Mapping[str, Sequence[object]], start: Mapping[str, object], *, most: int = LARGEST
) -> list[list[object]]:
    """Choices of each control whose combinations are `most` or fewer; the control with the most choices gives first."""
    counts = {name: len(values) for name, values in choices.items()}
    while prod(counts.values()) > most:
        counts[max(counts, key=lambda name: counts[name])] -= 1
    return [thinned(values, start[name], counts[name]) for name, values in choices.items()]


def record(folder: Path, *, choices: Mapping[str, Sequence[object]], hashed: str) -> None:
    """From now on, an explorer that is shown also saves its frames in `folder` (which is emptied).

    `choices` replaces the choices of the controls that it names; `hashed` is the code hash that the index notes.
    """
    from tlcourse.lesson import explorer

    shown = explorer.show

    def show(draw: Any, *, alt: str, controls: Mapping[str, object], start: Mapping[str, object]) -> None:
        shown(draw, alt=alt, controls=controls, start=start)
        save(explorer.Explorer(draw, alt=alt, controls=controls, start=start), folder, choices=choices, hashed=hashed)

    explorer.show = show


def save(explorer: Any, folder: Path, *, choices: Mapping[str, Sequence[object]], hashed: str) -> None:
    """Draw `explorer` at its choices, and write pictures and index to `folder`."""
    if unknown := set(choices) - set(explorer.controls):
        raise ValueError(f"choices name {sorted(unknown)}, but the controls are {list(explorer.controls)}")
    start = explorer.values()
    full = {name: list(choices.get(name, _choices(widget))) for name, widget in explorer.controls.items()}
    for name, values in full.items():
        if start[name] not in values:
            raise ValueError(f"choices of {name!r} must hold its first value {start[name]!r}; they are {values}")
    axes = grid(full, start)
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    frames = []
    for point in product(*axes):
        for widget, value in zip(explorer.controls.values(), point, strict=True):
            widget.value = value
        picture, alt, width = _parts(explorer.still())
        image = _webp(picture)
        file = f"{hashlib.sha256(image).hexdigest()[:10]}.webp"
        (folder / file).write_bytes(image)
        frames.append([file, alt, width])
    names = list(zip(explorer.controls.items(), axes, strict=True))
    index = {
        "code_hash": hashed,
        "controls": [
            {"name": name, "label": name.replace("_", " "), "kind": _kind(widget), "choices": axis}
            for (name, widget), axis in names
        ],
        "start": [axis.index(start[name]) for name, axis in zip(full, axes, strict=True)],
        "all": all(list(_choices(widget)) == axis and _kind(widget) != "text" for (_, widget), axis in names),
        "frames": frames,
    }
    text = json.dumps(index, ensure_ascii=False, indent=1)
    (folder / INDEX).write_text(text + "\n", encoding="utf-8")


def _parts(still: str) -> tuple[bytes, str, int]:
    """Picture, alt text and width in CSS pixels of an explorer's `<img>`."""
    found = re.search(r'alt="([^"]*)" width="(\d+)".*base64,([^"]+)"', still)
    assert found
    return base64.b64decode(found[3]), html.unescape(found[1]), int(found[2])


def _choices(widget: Any) -> Sequence[object]:
    """What a control offers."""
    if hasattr(widget, "options"):
        return [option[1] if isinstance(option, tuple) else option for option in widget.options]
    return [False, True] if isinstance(widget.value, bool) else [widget.value]


def _kind(widget: Any) -> str:
    """How a page shows a control: "slider", "buttons" or "text"."""
    if type(widget).__name__ == "SelectionSlider":
        return "slider"
    return "buttons" if hasattr(widget, "options") or isinstance(widget.value, bool) else "text"


def _webp(picture: bytes) -> bytes:
    """A PNG as WebP: a drawing in 256 colours without further loss, photographs as photographs."""
    from PIL import Image

    with Image.open(io.BytesIO(picture)) as image:
        full, out = image.convert("RGB"), io.BytesIO()
        drawn = full.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).convert("RGB")
        drawn.save(out, format="WEBP", lossless=True, quality=100, method=4)
        if len(out.getvalue()) > LOSSLESS:
            out = io.BytesIO()
            full.save(out, format="WEBP", quality=75, method=6)
    return out.getvalue()


def make(notebook: Path, folder: Path) -> str:
    """Run `notebook` up to its explorer and save its frames below `folder`; what went wrong, or an empty text."""
    from tlcourse.lesson.execute import execute

    lesson = until_explorer(nbformat.read(notebook, as_version=4))
    if lesson is None:
        return ""
    own = folder / CHOICES
    choices = tomllib.loads(own.read_text(encoding="utf-8")).get(notebook.stem[:2], {}) if own.is_file() else {}
    with tempfile.TemporaryDirectory() as scratch:
        new = Path(scratch, notebook.stem[:2])
        first = (
            "from pathlib import Path\nfrom tlcourse.lesson import frames\n"
            f"frames.record(Path({str(new)!r}), choices={choices!r}, hashed={code_hash(lesson)!r})"
        )
        lesson.cells.insert(0, nbformat.v4.new_code_cell(first))
        run = Path(scratch, notebook.name)
        nbformat.write(lesson, run)
        failure = execute(run).failure
        if failure or not (new / INDEX).is_file():
            return failure or f"{notebook.stem} has shown no explorer"
        target = folder / new.name
        if target.exists():
            shutil.rmtree(target)
        shutil.copytree(new, target)
    return ""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns 1 if frames are missing, stale or could not be made."""
    parser = argparse.ArgumentParser(
        prog="python -m tlcourse.lesson.frames", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("notebooks", nargs="+", type=Path, metavar="NOTEBOOK")
    parser.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="where the frames of all lessons are")
    parser.add_argument("--check", action="store_true", help="only say which are missing or stale")
    arguments = parser.parse_args(argv)
    failed = 0
    for notebook in arguments.notebooks:
        wrong = problem(notebook, arguments.to)
        if wrong and not arguments.check:
            wrong = make(notebook, arguments.to)
            if not wrong:
                files = list((arguments.to / notebook.stem[:2]).iterdir())
                print(
                    f"{notebook.stem}: {len(files) - 1} pictures, {sum(f.stat().st_size for f in files) / 1e3:.0f} kB"
                )
        if wrong:
            failed = 1
            print(f"✗ {wrong}", file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(main())
