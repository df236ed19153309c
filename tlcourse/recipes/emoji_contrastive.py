"""Lesson 09: pictures that find their words, EfficientNet and MiniLM on emoji (about 40 minutes on one core).

Trained on the concepts of the training subgroups in three styles. Measured on all concepts of the subgroups that are
held out, in these styles and in Fluent, of which no picture trains. "zero-shot": naming a picture among the held-out
concepts, and retrieval both ways. "random split": what this would be if concepts were held out one by one, although
their near-duplicates train. "few-shot": labelled pictures in the place of names.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tlcourse.foundation import (
    Pairs,
    TwoTowers,
    linear_head,
    retrieval_recall,
    top_k,
    train_towers,
    zero_shot_scores,
    zero_shot_weights,
)
from tlcourse.recipes import emoji_pairs, emoji_shots, pieces, results
from tlcourse.recipes.emoji_pairs import STYLES, UNSEEN, Unseen

NAME = "emoji_contrastive"
ARMS = ("one linear map", "+ tags", "+ augmentation", "+ last blocks")
SHIPPED = ("one linear map", "+ last blocks")
SEEDS = (0, 1, 2)
STEPS, BATCH, RATE, DECAY, DROPOUT, NOISE, SCALE = 300, 512, 1e-3, 0.1, 0.5, 0.5, 20.0
SIZES, DROPOUTS = (64, 112, 168, 224, 288), (0.0, 0.25, 0.5, 0.75)  # tried on training subgroups left out for this
TAIL_STEPS, TAIL_BATCH, TAIL_RATE = 200, 128, 3e-4
TEMPLATES = ("{}", "a picture of {}", "an emoji that shows {}", "a simple drawing of {}")
CONCEPT_SHOTS, KIND_SHOTS = (1, 2, 3), (1, 2, 5)


def settings() -> dict[str, Any]:
    """What the weights and numbers depend on."""
    return {
        "size": emoji_pairs.SIZE,
        "styles": STYLES,
        "unseen_style": UNSEEN,
        "training_concepts": len(emoji_pairs.pictures(STYLES[0], "train")),
        "held_out_concepts": len(names()),
        "copies": emoji_pairs.COPIES,
        "steps": STEPS,
        "batch": BATCH,
        "rate": RATE,
        "decay": DECAY,
        "dropout": DROPOUT,
        "noise": NOISE,
        "scale": SCALE,
        "tail_steps": TAIL_STEPS,
        "tail_batch": TAIL_BATCH,
        "tail_rate": TAIL_RATE,
        "templates": TEMPLATES,
    }


def jobs() -> list[dict[str, Any]]:
    """The choice of size and of dropout, then every arm and seed; zero-shot before few-shot, which needs the towers."""
    arms = [{"part": "zero-shot", "arm": arm, "seed": seed} for arm in ARMS for seed in SEEDS]
    sizes = [{"part": "choice of size", "size": size, "seed": seed} for size in SIZES for seed in SEEDS]
    dropouts = [{"part": "choice of dropout", "dropout": rate, "seed": seed} for rate in DROPOUTS for seed in SEEDS]
    leak = [{"part": "random split", "seed": seed} for seed in SEEDS]
    concepts = [{"part": "few-shot concepts", "shots": k, "seed": seed} for k in CONCEPT_SHOTS for seed in SEEDS]
    kinds = [{"part": "few-shot kinds", "shots": k, "seed": seed} for k in KIND_SHOTS for seed in SEEDS]
    return sizes + dropouts + arms + leak + concepts + kinds


def work(job: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Train one pair of towers and measure it, or fit one probe."""
    if job["part"] == "few-shot concepts":
        return emoji_shots.concepts(spaces(job["seed"]), job["shots"], job["seed"])
    if job["part"] == "few-shot kinds":
        return emoji_shots.kinds(spaces(job["seed"]), job["shots"], job["seed"])
    if job["part"] == "random split":
        return split_measured(emoji_pairs.split_at_random(len(names()), job["seed"]), job["seed"])
    if job["part"] == "choice of size":
        return split_measured(emoji_pairs.split_for_choice(job["size"]), job["seed"])
    if job["part"] == "choice of dropout":
        return split_measured(emoji_pairs.split_for_choice(), job["seed"], dropout=job["dropout"])
    model, losses = trained(job["arm"], seed=job["seed"])
    _part(job["arm"], job["seed"]).parent.mkdir(parents=True, exist_ok=True)
    tensors = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(tensors, _part(job["arm"], job["seed"]))
    return {
        "first_loss": round(losses[0], 4),
        "loss": round(sum(losses[-20:]) / 20, 4),
        "temperature": round(1 / model.scale.item(), 5),
        "styles": {
            style: measured(pictures(model, job["arm"], style), names(), emoji_pairs.descriptions("test"))
            for style in (*STYLES, UNSEEN)
        },
        "kinds": {
            style: emoji_shots.zero_shot_kinds(pictures(model, job["arm"], style), TEMPLATES)
            for style in (STYLES[0], UNSEEN)
        },
    }


def towers(arm: str, *, seed: int, dropout: float = DROPOUT) -> TwoTowers:
    """The two towers of an arm before its training: a linear map of the pictures, and MiniLM as it is.

    The features are standardised first and half of them dropped in training: there are more of them than concepts. The
    map starts small, so that directions that are never learned add little.
    """
    tail = emoji_pairs.tail() if arm == "+ last blocks" else None
    linear = linear_head(1280, 384, seed=seed)
    linear.weight.data *= 0.1
    head = nn.Sequential(nn.BatchNorm1d(1280, affine=False), nn.Dropout(dropout), linear)
    return TwoTowers(head, None, picture_tail=tail, scale=SCALE)


def trained(arm: str, *, seed: int, steps: int = STEPS) -> tuple[TwoTowers, tuple[float, ...]]:
    """The towers after training, and the losses.

    The last blocks learn after the head has: its first gradients would spoil them (Kumar et al. 2022).
    """
    tags, augmented = arm != ARMS[0], arm in ARMS[2:]
    head, losses = trained_head(emoji_pairs.training_pairs(tags=tags, augmented=augmented, maps=False), seed, steps)
    if arm != "+ last blocks":
        return head, losses
    model = towers(arm, seed=seed)
    model.picture_head.load_state_dict(head.picture_head.state_dict())
    model.log_scale.data.copy_(head.log_scale.data)
    pairs = emoji_pairs.training_pairs(tags=tags, augmented=augmented, maps=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # dropout
        return model, losses + train_towers(
            model,
            pairs,
            steps=TAIL_STEPS,
            batch_size=TAIL_BATCH,
            lr=TAIL_RATE,
            tail_lr=TAIL_RATE,
            weight_decay=DECAY,
            noise=NOISE,
            seed=seed,
        )


def trained_head(
    pairs: Pairs, seed: int, steps: int = STEPS, *, dropout: float = DROPOUT
) -> tuple[TwoTowers, tuple[float, ...]]:
    """A head over locked towers, and its losses."""
    head = towers(ARMS[0], seed=seed, dropout=dropout)
    options = {"lr": RATE, "weight_decay": DECAY, "noise": NOISE}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # dropout
        return head, train_towers(head, pairs, steps=steps, batch_size=BATCH, seed=seed, **options)


def split_measured(split: tuple[Pairs, Unseen], seed: int, *, dropout: float = DROPOUT) -> dict[str, Any]:
    """ "+ tags" on another split of the concepts."""
    pairs, unseen = split
    model, _ = trained_head(pairs, seed, dropout=dropout)
    styles = {}
    for style, features in unseen.pictures.items():
        with torch.no_grad():
            found = model.pictures(features)
        styles[style] = measured(found, unseen.names, unseen.descriptions)
    return {"styles": styles}


@torch.no_grad()
def pictures(model: TwoTowers, arm: str, style: str) -> Tensor:
    """The held-out concepts in one style, in the common space."""
    return model.pictures(emoji_pairs.held_out(style, maps=arm == "+ last blocks"))


@torch.no_grad()
def measured(found: Tensor, named: Sequence[str], described: Sequence[str]) -> dict[str, float]:
    """Naming pictures among all their concepts, by name, by an ensemble of prompts and by name with tags; retrieval.

    "of 150": among 150 of them alone.
    """
    labels = torch.arange(len(named))
    plain = zero_shot_weights(named, emoji_pairs.embed)
    ensemble = zero_shot_weights(named, emoji_pairs.embed, templates=TEMPLATES)
    tags = zero_shot_weights(described, emoji_pairs.embed)
    some = torch.randperm(len(named), generator=torch.Generator().manual_seed(0))[:150]
    ways = {"": (found, plain), " ensemble": (found, ensemble), " with tags": (found, tags)}
    numbers = {}
    for way, (pictures, weights) in {**ways, " of 150": (found[some], plain[some])}.items():
        scores = zero_shot_scores(pictures, weights)
        for k in (1, 5):
            numbers[f"top{k}{way}"] = top_k(scores, labels[: len(scores)], k)
    recall = retrieval_recall(plain, found, k=(1, 5))
    numbers |= {f"text to picture {k}": value for k, value in recall.items()}
    return {key: round(value, 4) for key, value in numbers.items()}


def spaces(seed: int) -> dict[str, dict[str, Tensor]]:
    """The held-out concepts in every style: EfficientNet's features, and where the towers put them without labels."""
    model, styles = stored("+ last blocks", seed), (*STYLES, UNSEEN)
    return {
        "frozen": {style: emoji_pairs.held_out(style, maps=False) for style in styles},
        "towers": {style: pictures(model, "+ last blocks", style) for style in styles},
    }


@lru_cache(maxsize=1)
def names() -> tuple[str, ...]:
    """Names of the held-out concepts, in Unicode order."""
    return emoji_pairs.pictures(STYLES[0], "test").meta["name"]


@lru_cache(maxsize=3)
def stored(arm: str, seed: int) -> TwoTowers:
    """The towers that a job has trained and kept."""
    path = _part(arm, seed)
    if not path.exists():
        raise FileNotFoundError(f"{path} is gone; delete the recipe's .part.jsonl beside it and run the recipe again")
    model = towers(arm, seed=seed)
    model.load_state_dict(load_file(path))
    return model.eval()


def load_towers(arm: str = "+ last blocks") -> TwoTowers:
    """The shipped towers of an arm, in evaluation mode.

    Those with last blocks take what `emoji_pairs.trunk()` gives, the others the features of `models.vision()`, at
    `emoji_pairs.SIZE`. Texts are features of `models.text()`.
    Raises KeyError for an arm that is not shipped, FileNotFoundError when the recipe has not been run.
    """
    if arm not in SHIPPED:
        raise KeyError(f"arm {arm!r} is not shipped; choose from: {', '.join(SHIPPED)}")
    path = results.FOLDER / f"{NAME}.safetensors"
    if not path.exists():
        raise FileNotFoundError(f"{path.name} is not there; make it with: tlcourse recipe {NAME}")
    mine = {key.split("/", 1)[1]: value for key, value in load_file(path).items() if key.startswith(f"{arm}/")}
    model = towers(arm, seed=SEEDS[0])
    model.load_state_dict(pieces.widened(mine))
    return model.eval()


def finish(rows: list[dict[str, Any]], folder: Path) -> None:
    """The first seed of two arms, in one file, as half-precision numbers."""
    tensors: dict[str, Tensor] = {}
    for arm in SHIPPED:
        kept = pieces.halved(stored(arm, SEEDS[0]).state_dict())
        tensors |= {f"{arm}/{key}": value for key, value in kept.items()}
    save_file(tensors, folder / f"{NAME}.safetensors")
    for arm in ARMS:
        for seed in SEEDS:
            _part(arm, seed).unlink()
    _part(ARMS[0], 0).parent.rmdir()


def _part(arm: str, seed: int) -> Path:
    return results.FOLDER / f"{NAME}.part" / f"{arm} {seed}.safetensors"
