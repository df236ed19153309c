"""Lesson 14: sequences of tasks, with six ways to keep what was learned (about 8 minutes on one core).

"choose": every strength of EWC and LwF on validation sequences, made of the training part alone. "test": with the best
strength of each setting, other sequences, on the test part. "memory": replay with more and fewer kept examples.
Settings: "class" and "task" are digits in pairs; "text" is one question about four kinds of text.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import permutations
from typing import Any

import torch
from torch import Tensor, nn

from tlcourse import data, models, peft, shift, training
from tlcourse.data.sentiment import DOMAINS

SETTINGS = ("class", "task", "text")
WEIGHTS = {"EWC": (1.0, 10.0, 100.0, 1000.0, 10000.0), "LwF": (0.1, 0.3, 1.0, 3.0, 10.0)}
ARMS = ("naive", "EWC", "LwF", "replay", "LoRA per task", "joint")
SEEDS, CHOICE_SEEDS = (0, 1, 2, 3, 4), (100, 101, 102)
STEPS, BATCH, RATE, HIDDEN = 100, 32, 3e-3, 64
SLOPE = 0.1  # of the hidden units below 0
LORA_RATE, RANK = 1e-2, 2
KEPT, KEPT_TRIED = 100, (10, 30, 300, 1000)
FIRST_CHOICE_FORM = 7  # forms 7 to 9 of the training part judge the strengths
TRAIN_EACH, TEST_EACH = 150, 100  # texts of each class and domain


def settings() -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "weights": WEIGHTS,
        "steps": STEPS,
        "batch": BATCH,
        "rate": RATE,
        "hidden": HIDDEN,
        "slope": SLOPE,
        "lora_rate": LORA_RATE,
        "rank": RANK,
        "kept": KEPT,
        "train_each": TRAIN_EACH,
        "test_each": TEST_EACH,
    }


def jobs() -> list[dict[str, Any]]:
    """First the choice of strengths, then the comparison, then the size of the memory."""
    choose = [
        {"part": "choose", "setting": setting, "arm": arm, "weight": weight, "seed": seed}
        for setting in SETTINGS
        for arm, weights in WEIGHTS.items()
        for weight in weights
        for seed in CHOICE_SEEDS
    ]
    test = [
        {"part": "test", "setting": s, "arm": arm, "seed": seed} for s in SETTINGS for arm in ARMS for seed in SEEDS
    ]
    memory = [
        {"part": "memory", "setting": "class", "kept": kept, "seed": seed} for kept in KEPT_TRIED for seed in SEEDS
    ]
    return choose + test + memory


def work(job: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Learn one sequence."""
    choosing = job["part"] == "choose"
    tasks, model = sequence(job["setting"], job["seed"], choosing=choosing), network(job["setting"], job["seed"])
    if job["part"] == "memory":
        return _row(learn(model, tasks, shift.Replay(capacity=job["kept"], batch_size=BATCH // 2), job["seed"]))
    if choosing:
        return _row(learn(model, tasks, strategy(job["arm"], job["weight"], job["seed"]), job["seed"]))
    if job["arm"] == "joint":
        return {"end": [round(a, 4) for a in joint(model, tasks, job["seed"])]}
    if job["arm"] == "LoRA per task":
        found = adapters(model, tasks, job["seed"])
        return {"end": found["told" if job["setting"] == "task" else "guessed"], **found}
    weight = best_weight(rows, job["setting"], job["arm"]) if job["arm"] in WEIGHTS else None
    return {"weight": weight, **_row(learn(model, tasks, strategy(job["arm"], weight, job["seed"]), job["seed"]))}


def strategy(arm: str, weight: float | None, seed: int) -> shift.Naive:
    """The strategy of this name."""
    made: dict[str, Callable[[], shift.Naive]] = {
        "naive": shift.Naive,
        "EWC": lambda: shift.EWC(weight=weight or 0.0, seed=seed),
        "LwF": lambda: shift.LwF(weight=weight or 0.0),
        "replay": lambda: shift.Replay(capacity=KEPT, batch_size=BATCH // 2, seed=seed),
    }
    return made[arm]()


def best_weight(rows: Sequence[Mapping[str, Any]], setting: str, arm: str) -> float:
    """The strength with the highest average accuracy at the end of the validation sequences."""
    mine = [r for r in rows if r["part"] == "choose" and r["setting"] == setting and r["arm"] == arm]
    return max(WEIGHTS[arm], key=lambda w: sum(sum(r["end"]) for r in mine if r["weight"] == w))


def network(setting: str, seed: int) -> models.MLP:
    """One hidden layer, untrained.

    Not of plain ReLUs: trained on one pair after the other most of them die, so that the last pairs are not learned,
    and what then looks like forgetting is a network that can no longer learn.
    """
    model = models.MLP([384, HIDDEN, 2] if setting == "text" else [64, HIDDEN, 10], seed=seed)
    model.layers[1] = nn.LeakyReLU(SLOPE)
    return model


def learn(model: nn.Module, tasks: Sequence[shift.Task], how: shift.Naive, seed: int) -> shift.TaskSequence:
    """The sequence with equal budgets: BATCH examples a step, old ones counted in."""
    size = BATCH // 2 if isinstance(how, shift.Replay) else BATCH
    return shift.learn_sequence(model, tasks, how, steps=STEPS, batch_size=size, lr=RATE, seed=seed)


def joint(model: nn.Module, tasks: Sequence[shift.Task], seed: int) -> list[float]:
    """All tasks at once, with the steps of the whole sequence: what nothing forgotten would give."""
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
    generator, size = torch.Generator().manual_seed(seed), -(-BATCH // len(tasks))
    for _ in range(STEPS * len(tasks)):
        losses = []
        for task in tasks:
            rows = torch.randint(len(task.train), (size,), generator=generator)
            losses.append(shift.task_loss(model(task.train.features[rows]), task.train.labels[rows], task))
        training.update(model, optimizer, torch.stack(losses).mean())
    return [shift.task_accuracy(model.eval(), task) for task in tasks]


def adapters(model: nn.Module, tasks: Sequence[shift.Task], seed: int) -> dict[str, list[float]]:
    """The first task trains the network, each other one a LoRA of its own. Accuracy on each task at the end, `told`
    which task it is, and `guessed`: the adapter that is surest of its answer speaks.
    """
    own = [shift.Task(t.name, t.train, t.test, t.classes, t.classes) for t in tasks]
    for place, task in enumerate(own):
        if place:
            peft.switch(model, None)
            peft.inject_lora(model, "*", rank=RANK, alpha=RANK, name=task.name, seed=seed + place)
        _train(model, task, RATE if place == 0 else LORA_RATE, seed)
    names = [None, *(task.name for task in own[1:])]
    told, guessed = [], []
    for place, task in enumerate(own):
        answers = []
        for name, other in zip(names, own, strict=True):
            peft.switch(model, name)
            with torch.no_grad():
                answers.append(shift.choose(model(task.test.features), other.outputs).softmax(dim=1))
        told.append(_right(answers[place].argmax(dim=1), task))
        sure = torch.stack(answers)  # adapter, example, class
        guessed.append(_right(sure.max(dim=0).values.argmax(dim=1), task))
    return {"told": told, "guessed": guessed}


def _train(model: nn.Module, task: shift.Task, rate: float, seed: int) -> None:
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=rate, fused=True)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(STEPS):
        rows = torch.randint(len(task.train), (BATCH,), generator=generator)
        training.update(
            model, optimizer, shift.task_loss(model(task.train.features[rows]), task.train.labels[rows], task)
        )


def _right(guesses: Tensor, task: shift.Task) -> float:
    return round(float((guesses == task.test.labels).float().mean()), 4)


def _row(result: shift.TaskSequence) -> dict[str, Any]:
    matrix = [[round(float(a), 4) for a in row] for row in result.matrix]
    return {"matrix": matrix, "start": [round(float(a), 4) for a in result.start], "end": matrix[-1]}


def sequence(setting: str, seed: int, *, choosing: bool = False) -> tuple[shift.Task, ...]:
    """Tasks in an order drawn by the seed; with `choosing`, the training part is split and the test part left alone."""
    if setting == "text":
        orders = list(permutations(DOMAINS))
        drawn = torch.randperm(len(orders), generator=torch.Generator().manual_seed(0)).tolist()
        order = orders[drawn[(*SEEDS, *CHOICE_SEEDS).index(seed)]]  # each seed has an order of its own
        return shift.domain_incremental({name: texts(name, choosing) for name in order})
    shuffled = torch.randperm(10, generator=torch.Generator().manual_seed(seed)).tolist()
    pairs = [tuple(shuffled[i : i + 2]) for i in range(0, 10, 2)]
    make = shift.class_incremental if setting == "class" else shift.task_incremental
    return make(*digits(choosing), pairs)


@lru_cache(maxsize=2)
def digits(choosing: bool) -> tuple[data.Table, data.Table]:
    """Handwritten digits as 64 numbers from 0 to 1, for learning and for judging; no form is in both."""
    train = data.optdigits("train")
    if choosing:
        late = train.groups >= FIRST_CHOICE_FORM
        return as_table(train.where(~late)), as_table(train.where(late))
    return as_table(train), as_table(data.optdigits("test"))


def as_table(images: data.Images) -> data.Table:
    """Pixels as columns."""
    return _table(images.name, images.pixels.float().flatten(1) / 255, images.labels, images.classes)


@lru_cache(maxsize=8)
def texts(domain: str, choosing: bool) -> tuple[data.Table, data.Table]:
    """MiniLM's features of positive and negative texts, for learning and for judging."""
    train, test = (_encoded(domain, part) for part in ("train", "test"))
    return train.split(2 / 3, seed=0) if choosing else (train, test)


@lru_cache(maxsize=8)
def _encoded(domain: str, part: str) -> data.Table:
    chosen = data.sentiment(domain, part=part).few(TRAIN_EACH if part == "train" else TEST_EACH, seed=0)
    return _table(domain, training.features(models.text(), chosen), chosen.labels, chosen.classes)


def _table(name: str, features: Tensor, labels: Tensor, classes: tuple[str, ...]) -> data.Table:
    columns = tuple(f"x{i}" for i in range(features.shape[1]))
    return data.Table(name=name, features=features, columns=columns, labels=labels, classes=classes)


def finish(rows: list[dict[str, Any]], folder: Any) -> None:
    """Nothing to add: the rows are the result."""
