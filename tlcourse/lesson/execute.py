"""Run a lesson from its first cell to its last without a browser.

python -m tlcourse.lesson.execute notebooks/*.ipynb            claims, seconds and memory
python -m tlcourse.lesson.execute notebooks/*.ipynb --write    and save the outputs in the notebooks
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from tqdm import tqdm
from traitlets.config import Config

from tlcourse.lesson.outputs import clean, code_hash

SKIP = "nbval-skip"  # cells that need the network or a GPU


@dataclass(frozen=True)
class Run:
    """What a run of a notebook showed. `failure` is empty when every cell ran and every claim held.

    `seconds` and `memory_gb` (peak) are what the lesson's `finish` reports; without it, wall time and None.
    """

    notebook: Path
    claims: tuple[str, ...]
    seconds: float
    memory_gb: float | None
    failure: str


class _Kernel(AsyncKernelManager):
    """A kernel of this very Python, whatever kernel is registered under the notebook's name."""

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(**get_kernel_dict())


def _quiet() -> Config:
    """Encrypt the way to the kernel where jupyter_client can: without it the kernel warns of plain text."""
    wanted = {"transport_encryption": "auto"} if _Kernel.class_traits().get("transport_encryption") else {}
    return Config({"KernelManager": wanted})


def execute(notebook: Path, *, write: bool = False, progress: bool = True, timeout: int = 600) -> Run:
    """Run `notebook` in its folder; `write` saves its outputs if every cell ran.

    `progress` shows a bar and each claim as it is made; `timeout` is in seconds per cell. Raises FileNotFoundError if
    there is no such notebook; a failure inside it is reported in the result.
    """
    if not notebook.is_file():
        raise FileNotFoundError(f"no notebook {notebook}; name a file such as notebooks/01_why_transfer.ipynb")
    nb = nbformat.read(notebook, as_version=4)
    waiting = sum(cell.cell_type == "code" and SKIP not in cell.metadata.get("tags", []) for cell in nb.cells)
    began, failure = time.perf_counter(), ""
    with tqdm(total=waiting, desc=notebook.stem, unit="cell", disable=not progress, leave=False) as bar:

        def done(cell: Any, cell_index: int, execute_reply: object) -> None:
            bar.update()
            for claim in _claims([cell]) if progress else ():
                bar.write(f"  ✓ {claim}", file=sys.stdout)

        client = NotebookClient(
            nb,
            timeout=timeout,
            kernel_manager_class=_Kernel,
            resources={"metadata": {"path": str(notebook.resolve().parent)}},
            config=_quiet(),
            skip_cells_with_tag=SKIP,
            on_cell_executed=done,
        )
        try:
            client.execute(env={**os.environ, "TLCOURSE_HEADLESS": "1"})
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            failure = _plain(str(error))
    facts = _finish(nb)
    run = Run(
        notebook=notebook,
        claims=_claims(nb.cells),
        seconds=facts.get("seconds", time.perf_counter() - began),
        memory_gb=facts.get("memory_gb"),
        failure=failure,
    )
    if write and not failure:
        _save(nb, notebook)
    return run


def _claims(cells: Sequence[Any]) -> tuple[str, ...]:
    """The claims printed by `cells`, without their marks."""
    return tuple(
        line[2:]
        for cell in cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream" and output.name == "stdout"
        for line in output.text.splitlines()
        if line.startswith("✓ ")
    )


def _finish(nb: nbformat.NotebookNode) -> dict[str, Any]:
    """What `lesson.finish()` left in its output: claims, seconds, memory_gb."""
    for cell in reversed(nb.cells):
        for output in cell.get("outputs", []):
            if found := output.get("metadata", {}).get("tlcourse", {}).get("finish"):
                return dict(found)
    return {}


def _plain(text: str) -> str:
    """`text` without colours of the terminal."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text).strip()


def _save(nb: nbformat.NotebookNode, path: Path) -> None:
    clean(nb)
    nb.metadata["tlcourse"] = {"code_hash": code_hash(nb)}
    new = path.with_suffix(".ipynb.new")
    new.write_text(nbformat.writes(nb).rstrip("\n") + "\n", encoding="utf-8")
    new.replace(path)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns 1 if a notebook failed."""
    parser = argparse.ArgumentParser(
        prog="python -m tlcourse.lesson.execute", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("notebooks", nargs="+", type=Path, metavar="NOTEBOOK")
    parser.add_argument("--write", action="store_true", help="save the outputs in the notebook")
    parser.add_argument("--timeout", type=int, default=600, metavar="SECONDS", help="limit for each cell")
    arguments = parser.parse_args(argv)
    failed = 0
    for notebook in arguments.notebooks:
        run = execute(notebook, write=arguments.write, timeout=arguments.timeout)
        memory = "" if run.memory_gb is None else f", {run.memory_gb:.2f} GB"
        if run.failure:
            failed = 1
            print(f"✗ {notebook}: {run.failure}", file=sys.stderr)
        else:
            print(f"{notebook}: {len(run.claims)} claims hold, {run.seconds:.1f} s{memory}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
