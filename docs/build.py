"""Build what is read without Python: `python docs/build.py site` and `python docs/build.py slides`."""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from course_site import slides, stage, vendor

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
BUILD = DOCS / "_build"
HTML = BUILD / "html"
STAMP = BUILD / "site.hash"


def site() -> int:
    """The site in docs/_build/html; returns Sphinx's exit status, which is 1 for a warning."""
    from sphinx.cmd.build import main as sphinx

    inputs = digest()
    linked = stage.stage(ROOT, BUILD / "source")
    vendor.copy("mathjax", BUILD / "static" / "vendor")
    _mirror(DOCS / "frames", BUILD / "static" / "frames")
    print(f"{len(linked)} lessons, {sum(map(len, linked.values()))} links to the glossary", flush=True)
    status = sphinx(
        [
            *("-q", "-W", "--keep-going", "-j", "2", "-c", str(DOCS), "-d", str(BUILD / "doctrees")),
            *(str(BUILD / "source"), str(HTML)),
        ]
    )
    if status == 0:
        STAMP.write_text(inputs, encoding="utf-8")
    return status


def digest() -> str:
    """Hash of everything that the site is made from."""
    found = hashlib.sha256()
    for path in _inputs():
        found.update(f"{path.relative_to(ROOT)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def fresh() -> bool:
    """Whether docs/_build/html is made from the files as they are."""
    return STAMP.is_file() and STAMP.read_text(encoding="utf-8") == digest()


def _inputs() -> Iterator[Path]:
    yield from (ROOT / page for page in stage.sources(ROOT))
    for pattern in ("docs/*.py", "docs/*.toml", "docs/course_site/*", "docs/_static/*", "docs/frames/*/*"):
        yield from sorted(path for path in ROOT.glob(pattern) if path.is_file())
    yield from sorted(ROOT.glob("tlcourse/**/*.py"))
    yield from sorted(ROOT.glob("tlcourse/lesson/quizzes/*.json"))


def _mirror(source: Path, target: Path) -> None:
    """Make `target` a copy of the folders in `source`."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for folder in source.iterdir():
        if folder.is_dir():
            shutil.copytree(folder, target / folder.name)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("what", choices=["site", "slides"])
    what, began = parser.parse_args(argv).what, time.perf_counter()
    if what == "site":
        status, place = site(), HTML / "index.html"
    else:
        slides.build(sorted(ROOT.glob("notebooks/[0-9][0-9]_*.ipynb")), BUILD / "slides", frames_at=DOCS / "frames")
        status, place = 0, BUILD / "slides"
    if status == 0:
        print(f"{place.relative_to(ROOT)}: {time.perf_counter() - began:.0f} s")
    return status


if __name__ == "__main__":
    sys.exit(main())
