"""Where results of recipes lie, and how one is made again."""

import ast
import hashlib
import importlib
import inspect
import json
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

RECIPES = (
    "capstone_references",
    "continual_learning",
    "course_gpt",
    "domain_adaptation",
    "emoji_autoencoder",
    "emoji_contrastive",
    "emoji_diffusion",
    "in_context_language",
    "in_context_regression",
    "language_adapters",
    "learning_curves",
    "maml_family",
    "metric_emoji",
    "metric_family",
    "peft_family",
    "scaling_family",
    "shift_detectors",
    "source_networks",
    "strategy_grid",
    "text_adaptation",
    "text_fine_tuning",
)
FOLDER = Path(__file__).parent / "results"


def names() -> tuple[str, ...]:
    """Names of all recipes."""
    return RECIPES


def load(name: str) -> dict[str, Any]:
    """The shipped result: `rows` (what came out) and `card` (settings, seconds, versions, hash of the recipe).

    Raises KeyError for an unknown name, FileNotFoundError when the recipe has not been run.
    """
    _known(name)
    path = FOLDER / f"{name}.json"
    if not path.exists():
        raise FileNotFoundError(f"{path.name} is not there; make it with: tlcourse recipe {name}")
    result: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return result


def run(name: str, *, progress: bool = True) -> Path:
    """Run a recipe to its end and write its result; what an interrupted run had done is not done again."""
    module = _module(name)
    FOLDER.mkdir(exist_ok=True)
    begun = time.perf_counter()
    rows = resume(FOLDER / f"{name}.part.jsonl", module.jobs(), module.work, stamp=digest(name), progress=progress)
    module.finish(rows, FOLDER)
    card = {
        "recipe": name,
        "hash": digest(name),
        "settings": module.settings(),
        "seconds": round(sum(row["seconds"] for row in rows), 1),
        "seconds_last_run": round(time.perf_counter() - begun, 1),
        "versions": {package: version(package) for package in ("torch", "timm", "scikit-learn")},
    }
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps({"card": card, "rows": rows}, indent=1) + "\n", "utf-8")
    (FOLDER / f"{name}.part.jsonl").unlink()
    return path


def digest(name: str) -> str:
    """Hash of the recipe's code (not its comments or layout): a result is out of date when this has changed."""
    text = ast.dump(ast.parse(inspect.getsource(_module(name))))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def resume(
    log: Path,
    jobs: list[dict[str, Any]],
    work: Callable[[Mapping[str, Any], list[dict[str, Any]]], dict[str, Any]],
    *,
    stamp: str,
    progress: bool,
) -> list[dict[str, Any]]:
    """One row for each job, in their order; rows that `log` holds under the same `stamp` are taken from there.

    A row is the job, what `work(job, rows so far)` returns and the seconds it took. The log gets one line a job at
    once, so that a killed run loses only the job it was at; a last line that was cut off is dropped.
    """
    from tqdm import tqdm

    done = {}
    for line in log.read_text("utf-8").splitlines() if log.exists() else []:
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        if entry["stamp"] == stamp:
            done[entry["job"]] = entry["row"]
    rows: list[dict[str, Any]] = []
    for job in tqdm(jobs, disable=not progress):
        key = json.dumps(job, sort_keys=True)
        if key not in done:
            begun = time.perf_counter()
            result = work(job, rows)
            done[key] = {**job, **result, "seconds": round(time.perf_counter() - begun, 2)}
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"stamp": stamp, "job": key, "row": done[key]}) + "\n")
        rows.append(done[key])
    return rows


def _known(name: str) -> None:
    if name not in RECIPES:
        raise KeyError(f"recipe {name!r} is unknown; choose from: {', '.join(RECIPES)}")


def _module(name: str) -> Any:
    _known(name)
    return importlib.import_module(f"tlcourse.recipes.{name}")
