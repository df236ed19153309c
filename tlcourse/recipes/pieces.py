"""A long training in pieces: each is a job of its recipe, so that a run that is stopped loses only minutes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from tlcourse import training


def cut(steps: int, every: int) -> list[dict[str, Any]]:
    """Jobs that train `every` steps each, `steps` together."""
    return [{"phase": "train", "from": k, "to": min(k + every, steps)} for k in range(0, steps, every)]


def train(
    job: Mapping[str, Any],
    state: Path,
    *,
    parts: Mapping[str, Any],
    step: Callable[[int, torch.Generator], float],
    seed: int = 0,
) -> dict[str, Any]:
    """Take the steps of one piece, save all `parts` (network, optimizer, …) and return the piece's mean loss.

    The parts are set to what the last piece saved; the first one takes them as they are. `step(k, generator)` takes
    step k and returns its loss; its random numbers come from the generator, which belongs to the piece, so that a run
    that was stopped ends with the same weights. Raises RuntimeError when the saved state is not the last piece's.
    """
    first, last = job["from"], job["to"]
    if first > 0:
        note = load(state, parts)
        if note["to"] == last:  # saved, but stopped before the row was written
            return dict(note["row"])
        if note["to"] != first:
            raise RuntimeError(
                f"{state} was saved after step {note['to']} and not {first}; delete {state.parent} and the recipe's "
                ".part.jsonl beside it, and run the recipe again"
            )
    generator = torch.Generator().manual_seed(seed * 1_000_003 + first)
    losses = [step(k, generator) for k in range(first, last)]
    row = {"loss": round(sum(losses) / len(losses), 5)}
    save(state, parts, {"to": last, "row": row})
    return row


def save(state: Path, parts: Mapping[str, Any], note: Mapping[str, Any]) -> None:
    """Write the parts' states and the note, all or nothing."""
    state.parent.mkdir(parents=True, exist_ok=True)
    fresh = state.with_suffix(".new")
    torch.save({"note": dict(note), **{name: part.state_dict() for name, part in parts.items()}}, fresh)
    fresh.replace(state)


def load(state: Path, parts: Mapping[str, Any]) -> dict[str, Any]:
    """Set the parts to their saved states; returns the note that was saved with them.

    Raises FileNotFoundError, with what to do, when there is nothing.
    """
    if not state.exists():
        raise FileNotFoundError(f"{state} is gone; delete the recipe's .part.jsonl beside it and run the recipe again")
    saved = torch.load(state, weights_only=True, map_location=training.device())
    for name, part in parts.items():
        part.load_state_dict(saved[name])
    return dict(saved["note"])


def halved(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors as they are shipped: on the CPU, fractions in half precision."""
    return {
        name: (value.half() if value.is_floating_point() else value).cpu().contiguous()
        for name, value in tensors.items()
    }


def widened(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Shipped tensors in the precision that networks compute in."""
    return {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
