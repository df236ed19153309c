"""Lesson 18: the weak and the strong reference of the capstone, and the steps between them (about ten minutes).

The strong reference was found on four other deals of the same pool, whose target labels were looked at; the official
deal was not. Each method that is trained sees the labelled pictures and the inputs of the target;
the oracle is told the labels of the unlabelled pictures as well, and shows what they are worth.
"""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from tlcourse import finetuning, models, shift, training
from tlcourse.data import Images
from tlcourse.data.capstone import CLASSES, MOST_SHOTS, NOISE, SHOTS, Capstone
from tlcourse.data.capstone import OFFICIAL as _OFFICIAL  # lesson 18 hands this module to students:
from tlcourse.data.capstone import deal as _deal  # no careless Tab shall show them the labels
from tlcourse.training.evaluation import balanced_accuracy

SMALL, LARGE, TUNED = 64, 160, 96  # pixels
COPIES = 8
STEPS, RATE = 60, 5e-4  # of fine-tuning
SEEDS, DRAWS, TUNED_DRAWS = (0, 1, 2, 3, 4), (10, 11, 12, 13, 14, 15), (10, 11, 12)
SHOT_COUNTS = (1, 2, 4, 8)
LADDER = (
    "raw pixels",
    "weak: frozen, 64 px",
    "+ one scale",
    "+ 160 px",
    "+ smoothing",
    "+ copies with noise",
    "+ standardising",
    "strong: + self-training",
    "oracle",
)


def weak(task: Capstone) -> Int64[Tensor, " n"]:
    """A linear probe on frozen features of small pictures: lesson 01, with no thought of the shift."""
    backbone = models.vision()
    x, t = (training.features(backbone, part.resized(SMALL), cache=False) for part in (task.train, task.test))
    return training.probe(x, task.train.labels).predict(t)


def strong(task: Capstone, *, seed: int) -> Int64[Tensor, " n"]:
    """The frozen network again: smoothed, larger, taught on copies as noisy as the target, aligned and self-trained."""
    backbone = models.vision()
    copies = as_noisy(task.train, noise=NOISE, seed=seed)
    x, u, t = (training.features(backbone, smooth(part), cache=False) for part in (copies, task.target, task.test))
    aligned = shift.standardise(torch.cat([u, t]))
    found = shift.self_train(shift.standardise(x), copies.labels, aligned, scaling="common")
    return found.labels[len(u) :]


def smooth(pictures: Images, size: int = LARGE) -> Images:
    """Blurred until the grain is gone, then brought to another size."""
    return shift.corrupt(pictures, "blur", severity=3).resized(size)


def as_noisy(pictures: Images, *, noise: float, seed: int, copies: int = COPIES) -> Images:
    """Copies of each picture, turned a little, with the noise of the target; they share its label and group."""
    look = partial(turned_and_noisy, noise=noise)
    everything = finetuning.with_copies(pictures, look, copies=copies, seed=seed)
    return everything.take(range(len(pictures), len(everything)))


def turned_and_noisy(pixels: UInt8[Tensor, "n c h w"], *, noise: float) -> UInt8[Tensor, "n c h w"]:
    """Mirrored or not, turned by up to 14°, 0.8 to 1.2 times as large, moved by a tenth, on white; then noise."""
    n = len(pixels)
    mirrored = torch.where((torch.rand(n) < 0.5)[:, None, None, None], pixels.flip(-1), pixels)
    angle, scale = 0.5 * (torch.rand(n) - 0.5), 1 + 0.4 * (torch.rand(n) - 0.5)
    move = 0.2 * (torch.rand(n, 2) - 0.5)
    rows = (
        torch.stack([scale * angle.cos(), -scale * angle.sin(), move[:, 0]], dim=1),
        torch.stack([scale * angle.sin(), scale * angle.cos(), move[:, 1]], dim=1),
    )
    grid = F.affine_grid(torch.stack(rows, dim=1), list(pixels.shape), align_corners=False)
    drawn = 1 + F.grid_sample(mirrored.float() / 255 - 1, grid, align_corners=False)
    return (255 * (drawn + noise * torch.randn(drawn.shape)).clamp(0, 1)).round().to(torch.uint8)


def validated(features: Float[Tensor, "n dim"], labels: Int64[Tensor, " n"], picture: Tensor, scaling: str) -> float:
    """Balanced accuracy of a probe on labelled pictures that it has not seen: four folds, copies stay together.

    `picture`: which of the forty each row shows; they come class by class.
    """
    guesses = torch.empty_like(labels)
    for fold in range(SHOTS):
        out = picture % SHOTS == fold
        guesses[out] = training.probe(features[~out], labels[~out], scaling=scaling).predict(features[out])
    return balanced_accuracy(guesses, labels)


def settings() -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "sizes": (SMALL, LARGE, TUNED),
        "copies": COPIES,
        "noise": NOISE,
        "steps": STEPS,
        "rate": RATE,
        "seeds": SEEDS,
        "draws": DRAWS,
        "shots": SHOT_COUNTS,
        "parts": [len(part) for part in _deal(_OFFICIAL)],
    }


def jobs() -> list[dict[str, Any]]:
    """Both references on the official deal; every step, on other deals; fine-tuning, on some of them."""
    official: list[dict[str, Any]] = [{"part": "official", "method": "weak", "seed": SEEDS[0]}]
    official += [{"part": "official", "method": "strong", "seed": seed} for seed in SEEDS]
    ladder = [{"part": "ladder", "draw": draw, "noise": noise} for draw in DRAWS for noise in (NOISE, 0.0)]
    return [*official, *ladder, *({"part": "tuned", "draw": draw} for draw in TUNED_DRAWS)]


def work(job: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One reference, one deal, or one network."""
    if job["part"] == "official":
        return _official(job["method"], job["seed"])
    return {"accuracy": ladder(job["draw"], job["noise"])} if job["part"] == "ladder" else tuned(job["draw"])


def _official(method: str, seed: int) -> dict[str, float]:
    """A reference on the official deal: what it costs, what it says of itself, and what the labels say."""
    train, target, test = _deal(_OFFICIAL)
    task = Capstone(train=train, target=target, test=test)
    begun = time.process_time()
    guesses = weak(task) if method == "weak" else strong(task, seed=seed)
    seconds = time.process_time() - begun
    backbone, picture = models.vision(), torch.arange(len(train))
    if method == "weak":
        x = training.features(backbone, train.resized(SMALL), cache=False)
        validation = validated(x, train.labels, picture, "each")
    else:
        copies = as_noisy(train, noise=NOISE, seed=seed)
        x = shift.standardise(training.features(backbone, smooth(copies), cache=False))
        validation = validated(x, copies.labels, picture.repeat(COPIES), "common")
    score = balanced_accuracy(guesses, test.labels)
    return {"balanced_accuracy": score, "validation": round(validation, 4), "cpu_seconds": round(seconds, 1)}


def ladder(draw: int, noise: float) -> dict[str, dict[str, float]]:
    """Balanced accuracy on the test part of another deal, {labels per class: {step: …}}."""
    train, target, test = _deal(f"draw {draw}", shots=MOST_SHOTS, noise=noise)
    backbone, rank = models.vision(), torch.arange(len(train)) % MOST_SHOTS
    copies = as_noisy(train, noise=noise, seed=draw)

    def seen(change: Callable[[Images], Images], *parts: Images) -> list[Tensor]:
        return [training.features(backbone, change(part), cache=False) for part in parts]

    pixels = [part.resized(32).pixels.flatten(1).float() for part in (train, test)]
    small = seen(lambda part: part.resized(SMALL), train, test)
    large = seen(lambda part: part.resized(LARGE), train, test)
    plain, noisy, unlabelled, tested = seen(smooth, train, copies, target, test)
    inputs = shift.standardise(torch.cat([unlabelled, tested]))
    found: dict[str, dict[str, float]] = {}
    for shots in SHOT_COUNTS:
        few, many = rank < shots, (rank < shots).repeat(COPIES)
        y, z = train.labels[few], copies.labels[many]
        x = shift.standardise(noisy[many])
        told = torch.cat([x, inputs[: len(target)]]), torch.cat([z, target.labels])
        guesses = (
            training.probe(pixels[0][few], y).predict(pixels[1]),
            training.probe(small[0][few], y).predict(small[1]),
            training.probe(small[0][few], y, scaling="common").predict(small[1]),
            training.probe(large[0][few], y, scaling="common").predict(large[1]),
            training.probe(plain[few], y, scaling="common").predict(tested),
            training.probe(noisy[many], z, scaling="common").predict(tested),
            training.probe(x, z, scaling="common").predict(inputs[len(target) :]),
            shift.self_train(x, z, inputs, scaling="common").labels[len(target) :],
            training.probe(*told, scaling="common").predict(inputs[len(target) :]),
        )
        scores = [balanced_accuracy(guess, test.labels) for guess in guesses]
        found[str(shots)] = dict(zip(LADDER, scores, strict=True))
    return found


def tuned(draw: int) -> dict[str, float]:
    """All weights trained on fresh noisy copies in every step, with batch norm's statistics kept: what a minute buys
    that way. Beside it a probe on frozen features of pictures of the same size.
    """
    train, _, test = _deal(f"draw {draw}")
    model = models.Classifier(copy.deepcopy(network()), len(CLASSES), seed=draw)

    def augment(pixels: Tensor) -> Tensor:
        noisy = turned_and_noisy(pixels, noise=NOISE)
        return smooth(replace(train, pixels=noisy), TUNED).pixels  # the batch is the whole of train

    begun = time.process_time()
    history = training.fit(
        model,
        train,
        steps=STEPS,
        batch_size=len(train),
        lr=RATE,
        augment=augment,
        schedule=training.cosine,
        train_mode=False,
        seed=draw,
    )
    score = training.evaluate(model, smooth(test, TUNED)).balanced_accuracy
    spent = time.process_time() - begun
    copies = as_noisy(train, noise=NOISE, seed=draw)
    x, t = (training.features(network(), smooth(part, TUNED), cache=False) for part in (copies, test))
    frozen = balanced_accuracy(training.probe(x, copies.labels, scaling="common").predict(t), test.labels)
    return {
        "balanced_accuracy": score,
        "frozen": round(frozen, 4),
        "loss": round(history.losses[-1], 4),
        "cpu_seconds": round(spent, 1),
    }


@lru_cache(maxsize=1)
def network() -> models.VisionBackbone:
    """The backbone before training."""
    return models.vision()


def finish(rows: list[dict[str, Any]], folder: Path) -> None:
    """Nothing to add: the rows are the result."""
