"""Lesson 13: from MNIST to MNIST-M without a label of the target (under half an hour on one core).

The experiment of Ganin et al. 2016 (arXiv:1505.07818, Table 2), made small: 4,000 digits, and the same 4,000 blended
into patches of two photographs. A method's weight is chosen by what the network says of unlabelled training pictures of
the target (`information`), over the first seeds. Labels of the target are read by the oracle in training, and to
measure on the test part. The network, the steps and the weights to choose from come from a trial with one other seed,
which looked at labels of the target's training part.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from tlcourse import concepts, data, models, shift, training
from tlcourse.shift.adapt import Penalty

WIDTHS = (32, 64, 64)
STEPS, LONG = 400, 1200
BATCH, RATE = 64, 1e-3
WEIGHTS = {"CORAL": (10.0, 100.0, 1000.0), "MMD": (1.0, 3.0, 10.0), "DANN": (0.1, 0.3, 1.0)}
CHOICE_SEEDS, SEEDS, LONG_SEEDS = (0, 1, 2), (0, 1, 2, 3, 4), (0, 1, 2)
COMPARED = 1000  # pictures of each domain for the measures without labels


class DigitNet(nn.Module):
    """Three convolutions with stride 2, each with batch norm and ReLU: `dim` features, which keep their places."""

    def __init__(self, *, seed: int) -> None:
        super().__init__()
        self.dim = 4 * 4 * WIDTHS[-1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            channels = (3, *WIDTHS)
            blocks = [_block(channels[i], channels[i + 1], 5 if i == 0 else 3) for i in range(len(WIDTHS))]
            self.blocks = nn.Sequential(*blocks)

    def forward(self, pixels: UInt8[Tensor, "n 3 28 28"]) -> Float[Tensor, "n dim"]:
        """Features of pictures of 28 × 28."""
        return self.blocks(pixels.float() / 255).flatten(1)


def _block(before: int, after: int, size: int) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, size, stride=2, padding=size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())


def settings() -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "widths": WIDTHS,
        "parameters": sum(p.numel() for p in network(0).parameters()),
        "steps": STEPS,
        "long": LONG,
        "batch": BATCH,
        "rate": RATE,
        "weights": WEIGHTS,
        "choice_seeds": CHOICE_SEEDS,
        "seeds": SEEDS,
        "compared": COMPARED,
        "source": len(domain("source", "train")),
        "target": len(domain("target", "train")),
        "test": len(domain("target", "test")),
    }


def jobs() -> list[dict[str, Any]]:
    """Ends of the scale, the weights of each method, more seeds of the weight that was chosen, and a longer run."""
    ends = [{"part": "ends", "method": method, "seed": seed} for seed in SEEDS for method in ("source only", "oracle")]
    grid = [
        {"part": "weights", "method": method, "weight": weight, "seed": seed}
        for seed in CHOICE_SEEDS
        for method, weights in WEIGHTS.items()
        for weight in weights
    ]
    more = [{"part": "more", "method": method, "seed": seed} for seed in SEEDS[3:] for method in WEIGHTS]
    long = [{"part": "long", "method": m, "seed": seed} for seed in LONG_SEEDS for m in ("source only", "DANN")]
    return ends + grid + more + long


def work(job: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Train one network and measure it. `rows`: what came out of the jobs before."""
    method = job["method"]
    weight = None if method not in WEIGHTS else job.get("weight") or best_weight(rows, method)
    model, record = adapted(method, weight, seed=job["seed"], steps=LONG if job["part"] == "long" else STEPS)
    found: dict[str, Any] = {"loss": round(mean_of_last(record.losses), 4)}
    if weight is not None:
        found |= {"weight": weight, "penalty": round(mean_of_last(record.penalties), 4)}
    return {**found, **measured(model, reverse=method != "oracle")}


def network(seed: int) -> models.Classifier:
    """The network before training."""
    return models.Classifier(DigitNet(seed=seed), 10, seed=seed)


def adapted(
    method: str, weight: float | None, *, seed: int, steps: int = STEPS
) -> tuple[models.Classifier, shift.Adaptation]:
    """A network trained by this method, and the record of its losses."""
    model = network(seed)
    source, target = domain("source", "train"), domain("target", "train")
    record = shift.adapt(
        model,
        target if method == "oracle" else source,
        target,
        penalty=penalty(method, model.head.in_features, seed),
        steps=steps,
        weight=weight or 0.0,
        batch_size=BATCH,
        lr=RATE,
        seed=seed,
    )
    return model, record


def penalty(method: str, dim: int, seed: int) -> Penalty | None:
    """What is added to the loss on the source; None for "source only" and "oracle"."""
    if method == "DANN":
        return shift.Adversary(dim, seed=seed)
    distances = {"CORAL": shift.coral_loss, "MMD": shift.mmd_loss}
    return shift.weighted(distances[method]) if method in distances else None


def measured(model: models.Classifier, *, reverse: bool) -> dict[str, float]:
    """Accuracy on both test parts, with batch norm's statistics of either domain; and what needs no target label.

    source, target:     accuracy on the test part with the statistics of that domain's training part
    target_plain:       accuracy on the target's test part with the statistics of the source
    information:        see `information`
    reverse:            see `reverse_accuracy`
    a_distance:         proxy A-distance of the features of both training parts, 0 (alike) to 2
    """
    source, target = (domain(side, "train") for side in ("source", "target"))
    found = {}
    shift.adapt_batch_norm(model, source)
    found["source"] = training.evaluate(model, domain("source", "test")).accuracy
    found["target_plain"] = training.evaluate(model, domain("target", "test")).accuracy
    mine = training.features(model.backbone, source.take(drawn()), cache=False)
    shift.adapt_batch_norm(model, target)
    found["target"] = training.evaluate(model, domain("target", "test")).accuracy
    theirs = training.features(model.backbone, target.take(drawn()), cache=False)
    with torch.no_grad():
        logits = model.head(theirs)
    found["information"] = round(information(logits), 4)
    if reverse:
        found["reverse"] = reverse_accuracy(theirs, logits.argmax(dim=1), mine, source.labels[drawn()])
        found["a_distance"] = round(concepts.proxy_a_distance(mine, theirs), 4)
    return found


def information(logits: Float[Tensor, "n classes"]) -> float:
    """H(mean prediction) − mean H(prediction), in nats: the mutual information of input and guess, at most log classes.

    High when every guess is sure and every class is guessed. It cannot see that sure guesses are wrong.
    """
    share = logits.softmax(dim=1).mean(dim=0)
    return float(shift.entropy(share.log()[None])) - float(shift.entropy(logits).mean())


def reverse_accuracy(theirs: Tensor, guesses: Tensor, mine: Tensor, labels: Tensor) -> float:
    """Teach a probe the guesses on the target, and see how well it does on the labelled source: the idea of reverse
    validation (Ganin et al. 2016, Section 5.1.2, who train the whole network again). 0 when only one class is guessed.
    """
    if len(guesses.unique()) < 2:
        return 0.0
    return training.probe(theirs, guesses, scaling="common").accuracy(mine, labels)


def drawn() -> Tensor:
    """Which training pictures the measures without labels look at."""
    order = torch.randperm(len(domain("source", "train")), generator=torch.Generator().manual_seed(0))
    return order[:COMPARED]


def best_weight(rows: Sequence[Mapping[str, Any]], method: str, criterion: str = "information") -> float:
    """The weight with the highest mean of a criterion that reads no target label; the lower one of equals."""
    tried = [r for r in rows if r["part"] == "weights" and r["method"] == method]
    return max(WEIGHTS[method], key=lambda weight: sum(r[criterion] for r in tried if r["weight"] == weight))


def mean_of_last(values: Sequence[float], n: int = 20) -> float:
    """Mean over the last steps."""
    return sum(values[-n:]) / len(values[-n:])


@lru_cache(maxsize=4)
def domain(side: str, part: str) -> data.Images:
    """MNIST in three channels ("source"), or the same digits on photographs; test digits are in neither train."""
    digits = data.mnist(part)
    if side == "source":
        return shift.in_colour(digits)
    return shift.blend(digits, data.photographs(), seed=0 if part == "train" else 1)


def finish(rows: list[dict[str, Any]], folder: Path) -> None:
    """Nothing to add: the rows are the result."""
