"""Where weights come from: the course's own assets, a hub, or a reader's checkpoint."""

from __future__ import annotations

import difflib
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from tlcourse import assets

COUNTERPARTS = {
    "efficientnet_lite0": "resnet50",
    "minilm": "distilbert",
    "smollm2": "smollm2_360m",
}
"""Built-in model: the larger one that `source="hub"` takes in its place."""

T = TypeVar("T")


def resolve(name: str, source: str | None, known: Iterable[str]) -> str:
    """The model to load: `name`, or its counterpart when `source` (or TLCOURSE_SOURCE) is "hub".

    Raises KeyError for an unknown name and ValueError for an unknown source.
    """
    options = sorted(known)
    if name not in options:
        near = difflib.get_close_matches(name, options, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise KeyError(f"no model is called {name!r}; {hint}Choose one of: {', '.join(options)}")
    chosen = source or os.environ.get("TLCOURSE_SOURCE") or "builtin"
    if chosen not in ("builtin", "hub"):
        where = "source" if source else "the environment variable TLCOURSE_SOURCE"
        raise ValueError(f'{where} is {chosen!r}; it must be "builtin" or "hub"')
    return COUNTERPARTS.get(name, name) if chosen == "hub" else name


def state_dict(path: str | Path) -> dict[str, Tensor]:
    """Weights from a .safetensors file, or from a .pth or .pt file without running code from it.

    Raises ValueError when the file is missing or holds anything but named tensors.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"checkpoint: no file {file}; give the path of a .safetensors, .pth or .pt file")
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"checkpoint: {file} cannot be read as weights ({type(error).__name__}); "
            "save them again with safetensors, or with torch.save(model.state_dict(), file)"
        ) from error
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise ValueError(
            f"checkpoint: {file} holds more than named tensors; save model.state_dict() and not the training state"
        )
    return loaded


def checkpoint_folder(path: str | Path) -> str:
    """A folder saved with transformers' `save_pretrained`.

    Raises ValueError when it has no config.json or no safetensors weights.
    """
    folder = Path(path).expanduser()
    if not (folder / "config.json").is_file() or not list(folder.glob("*.safetensors")):
        raise ValueError(
            f"checkpoint: {folder} is not a transformers folder with config.json and .safetensors weights; "
            "write one with model.save_pretrained(folder) and tokenizer.save_pretrained(folder)"
        )
    return str(folder)


def asset_digest(name: str) -> str:
    """SHA-256 of an asset's package, for the keys of what is derived from it."""
    archive = next(asset.archive for asset in assets.table() if asset.name == name)
    assert archive is not None
    return archive.sha256


def from_hub(what: str, load: Callable[[], T], *, builtin: str) -> T:
    """Run `load`; a failed download becomes an error that names the built-in model."""
    try:
        return load()
    except (OSError, RuntimeError) as error:
        reason = (str(error) or "no reason given").splitlines()[0]
        raise assets.AssetUnavailable(
            f"{what} could not be downloaded ({type(error).__name__}: {reason}). "
            f"Check the network, or give checkpoint= a copy on this disk, or use the built-in {builtin!r}."
        ) from error


def from_hugging_face(repository: str, load: Callable[[bool], T], *, builtin: str) -> T:
    """`load(local_only)` from the hub's own cache, else from the network, as `from_hub` does.

    Whether the hub answers is asked once beforehand: its library tries each file six times, a minute in all.
    """
    with suppress(OSError):
        return load(True)

    def online() -> T:
        from huggingface_hub.constants import ENDPOINT

        with suppress(urllib.error.HTTPError):  # that is an answer, too
            urllib.request.urlopen(urllib.request.Request(ENDPOINT, method="HEAD"), timeout=10).close()
        return load(False)

    return from_hub(repository, online, builtin=builtin)


def check_pretrained(pretrained: bool, checkpoint: str | Path | None) -> None:
    """Raise ValueError for random weights from a checkpoint."""
    if checkpoint is not None and not pretrained:
        raise ValueError("pretrained=False draws random weights, so checkpoint= has no use; leave one of them out")


def check_loaded(where: str, report: Mapping[str, Any]) -> None:
    """Raise ValueError when transformers drew part of the network at random because the file has no weights for it."""
    missing = [*report["missing_keys"], *(str(key) for key in report["mismatched_keys"])]
    if missing:
        raise ValueError(
            f"checkpoint: {where} has no fitting weights for {', '.join(sorted(missing)[:3])} ({len(missing)} in all); "
            "save the whole model again with save_pretrained"
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' bars and reports on every load."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
