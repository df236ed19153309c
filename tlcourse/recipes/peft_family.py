"""Lessons 05 and 06: every way to adapt MiniLM to film reviews, at the same budget.

"choose": each way at three rates, on one draw, tested on training reviews that no run learns from. "family": each way
at its best rate, four draws. "rank": LoRA at other ranks, at the rate of rank 8, with alpha = 2 r or 16. "update": what
full fine-tuning changed, and what is left of it when only some singular directions of each change are kept. "memory":
of one step.
"""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tlcourse import data, models, peft, training

LABELS, STEPS, BATCH, LENGTH = 200, 75, 16, 32
WARMUP, CLIP = 0.1, 1.0
SEEDS = (0, 1, 2, 3)
CHOICE = 100  # seed of the draw that rates are chosen on
RANK, VIRTUAL = 8, 10
RANKS = (1, 2, 4, 8, 16, 32)
ALPHAS = ("2 r", "16")  # equal at rank 8
LINEARS = ("query", "key", "value", "dense")
DIRECTIONS = (1, 2, 4, 8, 16, 32, 64, 128)
RATES = {
    "full": (5e-5, 1e-4, 2e-4),
    "head only": (3e-3, 1e-2, 3e-2),
    "LoRA": (1e-3, 2e-3, 4e-3),
    "DoRA": (1e-3, 2e-3, 4e-3),
    "VeRA": (5e-3, 1e-2, 3e-2),
    "IA3": (5e-3, 1e-2, 3e-2),
    "adapter": (1e-3, 2e-3, 4e-3),
    "BitFit": (1e-3, 3e-3, 1e-2),
    "prompt": (1e-2, 3e-2, 1e-1),
    "prefix": (3e-3, 1e-2, 3e-2),
}


def settings() -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "labels": LABELS,
        "steps": STEPS,
        "batch": BATCH,
        "length": LENGTH,
        "warmup": WARMUP,
        "rank": RANK,
        "virtual_tokens": VIRTUAL,
        "rates": RATES,
    }


def jobs() -> list[dict[str, Any]]:
    """Rates first, since everything else depends on them."""
    choose = [{"part": "choose", "arm": arm, "rate": rate} for arm, rates in RATES.items() for rate in rates]
    memory = [{"part": "memory", "arm": arm} for arm in RATES]
    family = [{"part": "family", "arm": arm, "seed": seed} for seed in SEEDS for arm in RATES]
    rank = [
        {"part": "rank", "alpha": alpha, "rank": rank, "seed": seed}
        for seed in SEEDS
        for alpha in ALPHAS
        for rank in RANKS
        if rank != RANK
    ]
    update = [{"part": "update", "seed": seed} for seed in SEEDS]
    return choose + memory + family + rank + update


def work(job: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One run."""
    if job["part"] == "choose":
        model = adapted(job["arm"], seed=CHOICE)
        train(model, rate=job["rate"], seed=CHOICE)
        return {"balanced_accuracy": training.evaluate(model, reviews("choice")).balanced_accuracy}
    if job["part"] == "memory":
        return {"peak_bytes": step_memory(adapted(job["arm"], seed=0))}
    if job["part"] == "update":
        return update(best_rate(rows, "full"), job["seed"])
    arm = job.get("arm", "LoRA")
    alpha = 16.0 if job.get("alpha") == "16" else None
    model = adapted(arm, seed=job["seed"], rank=job.get("rank", RANK), alpha=alpha)
    rate = best_rate(rows, arm)
    losses = train(model, rate=rate, seed=job["seed"])
    return {
        "rate": rate,
        "trained": peft.count_parameters(model)[0],
        "balanced_accuracy": training.evaluate(model, reviews("test")).balanced_accuracy,
        "last_loss": round(sum(losses[-10:]) / 10, 4),
    }


def best_rate(rows: Iterable[Mapping[str, Any]], arm: str) -> float:
    """The rate with the highest accuracy on the reviews kept for the choice; the lower one of two equals."""
    tried = [row for row in rows if row["part"] == "choose" and row["arm"] == arm]
    return float(max(tried, key=lambda row: (row["balanced_accuracy"], -row["rate"]))["rate"])


def adapted(arm: str, *, seed: int, rank: int = RANK, alpha: float | None = None) -> models.Classifier:
    """MiniLM with a new head of two outputs, ready to be trained in one of the ways; alpha is 2·rank if not given."""
    alpha = 2.0 * rank if alpha is None else alpha
    model = models.Classifier(copy.deepcopy(minilm()), 2, seed=seed)
    inner = model.backbone
    if arm == "head only":
        inner.requires_grad_(False)
    ways: dict[str, Callable[[], Any]] = {
        "LoRA": lambda: peft.inject_lora(inner, LINEARS, rank=rank, alpha=alpha, seed=seed),
        "DoRA": lambda: peft.inject_dora(inner, LINEARS, rank=rank, alpha=alpha, seed=seed),
        "VeRA": lambda: peft.inject_vera(inner, LINEARS, rank=128, seed=seed),
        "IA3": lambda: peft.inject_ia3(
            inner, ("key", "value", "layer.?.output.dense"), feedforward="layer.?.output.dense"
        ),
        "adapter": lambda: peft.inject_adapter(inner, "output.dense", size=16, norms="LayerNorm", seed=seed),
        "BitFit": lambda: peft.inject_bitfit(inner),
        "prompt": lambda: peft.inject_prompt(inner, VIRTUAL, seed=seed),
        "prefix": lambda: peft.inject_prefix(inner, VIRTUAL, seed=seed),
    }
    if arm in ways:
        ways[arm]()
    return model


def train(model: models.Classifier, *, rate: float, seed: int, steps: int = STEPS) -> tuple[float, ...]:
    """The losses of the training that every way gets."""
    history = training.fit(
        model,
        reviews("train").few(LABELS, seed),
        steps=steps,
        batch_size=BATCH,
        lr=rate,
        schedule=training.warmup(WARMUP),
        clip=CLIP,
        seed=seed,
    )
    return history.losses


def step_memory(model: models.Classifier) -> int:
    """Most bytes of tensors alive during a step on a batch of BATCH × LENGTH tokens, AdamW's numbers included."""
    texts = reviews("train")
    batch = minilm().collate([" ".join(texts.texts[:20])] * BATCH)
    labels = torch.arange(BATCH) % 2
    rule = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5, fused=True)

    def step() -> None:
        torch.nn.functional.cross_entropy(model(batch), labels).backward()
        rule.step()
        rule.zero_grad()

    step()
    return peft.peak_bytes(step, model, optimizer=rule)


def update(rate: float, seed: int) -> dict[str, Any]:
    """Share of the change's energy in its first directions, and accuracy with these directions alone.

    energy: mean over the linear layers of the blocks; random: the same for Gaussian matrices of their shapes. The
    accuracies are those of a network whose linear layers have moved in these directions only, and whose other weights
    (embeddings, norms, biases) are as they were before; the head is the trained one.
    """
    model = adapted("full", seed=seed)
    train(model, rate=rate, seed=seed)
    after = linear_weights(model)
    accuracy = {"full": training.evaluate(model, reviews("test")).balanced_accuracy}
    before = models.Classifier(copy.deepcopy(minilm()), 2)
    before.head.load_state_dict(model.head.state_dict())
    origin = {name: weight.clone() for name, weight in linear_weights(before).items()}
    svd = {name: torch.linalg.svd(after[name] - origin[name], full_matrices=False) for name in origin}
    energy = [mean_energy([singular for _, singular, _ in svd.values()], k) for k in DIRECTIONS]
    noise = torch.Generator().manual_seed(seed)
    drawn = [torch.linalg.svdvals(torch.randn(weight.shape, generator=noise)) for weight in origin.values()]
    for key, keep in kept_directions().items():
        for name, weight in linear_weights(before).items():
            left, singular, right = svd[name]
            weight.copy_(origin[name] + (left[:, keep] * singular[keep]) @ right[keep])
        accuracy[key] = training.evaluate(before, reviews("test")).balanced_accuracy
    return {
        "rate": rate,
        "energy": [round(value, 4) for value in energy],
        "random": [round(mean_energy(drawn, k), 4) for k in DIRECTIONS],
        "accuracy": accuracy,
    }


def kept_directions() -> dict[str, slice]:
    """Which singular directions of a change are kept: none, the first k, all, or all but the first k."""
    first = {f"first {k}": slice(k) for k in DIRECTIONS[:6]}
    return {"none": slice(0), **first, "all": slice(None), "without 4": slice(4, None), "without 16": slice(16, None)}


def mean_energy(spectra: list[Tensor], k: int) -> float:
    """Mean share of the squared singular values that the first k have."""
    return float(torch.stack([(s[:k] ** 2).sum() / (s**2).sum() for s in spectra]).mean())


def linear_weights(model: models.Classifier) -> dict[str, Tensor]:
    """The weights of the linear layers of MiniLM's blocks, by name."""
    return {
        name: module.weight.detach()
        for name, module in model.backbone.named_modules()
        if isinstance(module, torch.nn.Linear) and ".layer." in name
    }


@lru_cache(maxsize=1)
def minilm() -> models.TextBackbone:
    """MiniLM as it came; it reads the first LENGTH tokens of a text."""
    backbone = models.text()
    backbone.max_length = LENGTH
    return backbone


@lru_cache(maxsize=3)
def reviews(part: str) -> data.Texts:
    """Film reviews: "train", "choice" (300 of the training part, from which "train" is free) and "test" (600)."""
    if part == "test":
        return data.sentiment("movies", part="test").few(300, seed=0)
    every = data.sentiment("movies", part="train")
    choice = every.few(150, seed=CHOICE)
    if part == "choice":
        return choice
    taken = set(choice.texts)
    return every.take(torch.tensor([i for i, text in enumerate(every.texts) if text not in taken]))


def finish(rows: list[dict[str, Any]], folder: Path) -> None:
    """Nothing to add: the rows are the result."""
