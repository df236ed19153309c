"""Lesson 17: SmolLM2 on short film reviews, with 0 to 16 examples in its prompt and no gradient (arXiv:2005.14165).

Every row holds, for each test review, log P(" positive") − log P(" negative"), and the same for inputs without content
after the same examples (arXiv:2102.09690), so that accuracies before and after calibration can be computed from it.
Nothing is chosen on the test reviews: template, words and the rate of LoRA are those of lesson 07.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import permutations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tlcourse import data, models, peft, training
from tlcourse.meta.in_context import CONTENT_FREE, Wording, classify_in_context

SHOTS, MOST = (0, 1, 2, 4, 8, 16), 16
DRAWS, ORDER_DRAWS, LORA_DRAWS = (0, 1, 2, 3, 4), (0, 1, 2), (0, 1, 2)
TEST, LONGEST = 50, 24  # test reviews of each class, and tokens of a review
PATTERNS = tuple(sorted({"".join(pattern) for pattern in permutations("--++")}))
WORDING = Wording(words=(" negative", " positive"))
STEPS, BATCH, RATE = 20, 8, 1e-3
RANK, ALPHA, TARGETS = 8, 16.0, ("q_proj", "v_proj")


def settings() -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "test": 2 * TEST,
        "longest": LONGEST,
        "template": WORDING.template,
        "words": WORDING.words,
        "steps": STEPS,
        "batch": BATCH,
        "rate": RATE,
        "rank": RANK,
        "alpha": ALPHA,
        "targets": TARGETS,
    }


def jobs() -> list[dict[str, Any]]:
    """The curve over shots, wrong labels, orders of four examples, then what the same labels give by training."""
    curve = [{"part": "shots", "shots": k, "draw": d} for k in SHOTS for d in (DRAWS if k else DRAWS[:1])]
    wrong = [{"part": "labels", "labels": name, "draw": d} for name in ("random", "flipped") for d in DRAWS]
    order = [{"part": "order", "pattern": pattern, "draw": d} for d in ORDER_DRAWS for pattern in PATTERNS]
    probe = [{"part": "probe", "shots": k, "draw": d} for k in SHOTS[2:] for d in DRAWS]
    lora = [{"part": "LoRA", "draw": d} for d in LORA_DRAWS]
    return curve + wrong + order + probe + lora


def work(job: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Score the test reviews after one prompt, or after one training."""
    if job["part"] == "probe":
        return {"margins": rounded(probe_margins(chosen(job["draw"], job["shots"])))}
    if job["part"] == "LoRA":
        return {"margins": rounded(lora_margins(chosen(job["draw"], MOST), seed=job["draw"]))}
    examples = prompt_of(job)
    texts = (*reviews("test").texts, *CONTENT_FREE)
    found = margins(classify_in_context(smollm2(), examples, texts, wording=WORDING))
    free = len(CONTENT_FREE)
    return {"margins": rounded(found[:-free]), "content_free": rounded(found[-free:])}


def prompt_of(job: Mapping[str, Any]) -> list[tuple[str, int]]:
    """The examples of a job's prompt: (review, class), in their order."""
    if job["part"] == "shots":
        return chosen(job["draw"], job["shots"])
    if job["part"] == "order":
        return ordered(chosen(job["draw"], 4), job["pattern"])
    return relabelled(chosen(job["draw"], MOST), job["labels"], job["draw"])


def chosen(draw: int, shots: int) -> list[tuple[str, int]]:
    """Half of the examples of either class, in random order; a single one is negative in even draws."""
    if shots == 0:
        return []
    few = reviews("train").few(MOST // 2, seed=draw)
    pairs = list(zip(few.texts, few.labels.tolist(), strict=True))
    kinds = [[pair for pair in pairs if pair[1] == label] for label in (0, 1)]
    if shots == 1:
        return kinds[draw % 2][:1]
    both = kinds[0][: shots // 2] + kinds[1][: shots // 2]
    order = torch.randperm(shots, generator=torch.Generator().manual_seed(draw))
    return [both[i] for i in order.tolist()]


def ordered(examples: Sequence[tuple[str, int]], pattern: str) -> list[tuple[str, int]]:
    """The same examples so that their classes stand as in a pattern of - and +."""
    left = {sign: [pair for pair in examples if "-+"[pair[1]] == sign] for sign in "-+"}
    return [left[sign].pop(0) for sign in pattern]


def relabelled(examples: Sequence[tuple[str, int]], labels: str, draw: int) -> list[tuple[str, int]]:
    """The same reviews with the opposite label each, or with as many labels of each class put on at random."""
    if labels == "flipped":
        return [(text, 1 - label) for text, label in examples]
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(1000 + draw))
    return [(text, examples[i][1]) for (text, _), i in zip(examples, order.tolist(), strict=True)]


def margins(scores: Tensor) -> Tensor:
    """log P of the word for positive minus that for negative."""
    return scores[:, 1] - scores[:, 0]


def rounded(values: Tensor) -> list[float]:
    """Four digits after the point, for a file."""
    return [round(value, 4) for value in values.tolist()]


def border(row: Mapping[str, Any], how: str) -> float:
    """Above which margin a review counts as positive: 0 ("none"), or where calibration puts the border.

    "content-free" divides by the mean probability after inputs without content, "batch" by that of the test reviews.
    """
    if how == "none":
        return 0.0
    share = torch.tensor(row["content_free" if how == "content-free" else "margins"]).double().sigmoid().mean()
    return float(share.logit())


def accuracy(row: Mapping[str, Any], how: str = "none") -> float:
    """Share of the test reviews on the right side of the border; both classes are equally frequent."""
    guessed = torch.tensor(row["margins"]) > border(row, how)
    return float((guessed.long() == reviews("test").labels).double().mean())


def positive_share(row: Mapping[str, Any], how: str = "none") -> float:
    """Share of the test reviews that are called positive; half of them are."""
    return float((torch.tensor(row["margins"]) > border(row, how)).double().mean())


def probe_margins(examples: Sequence[tuple[str, int]]) -> Tensor:
    """A linear classifier on the last hidden state of the frozen network, taught the same examples."""
    labels = torch.tensor([label for _, label in examples])
    probe = training.probe(hidden(tuple(text for text, _ in examples)), labels, scaling="common")
    return margins(probe.scores(hidden(reviews("test").texts)))


@lru_cache(maxsize=32)
@torch.no_grad()
def hidden(texts: tuple[str, ...]) -> Tensor:
    """What the head of the language model sees after each zero-shot prompt."""
    model, parts = labelled(), []
    for i in range(0, len(texts), 10):
        batch = model.collate(texts[i : i + 10])
        states = model.net.base_model(**batch).last_hidden_state
        parts.append(states[torch.arange(len(states)), batch["attention_mask"].sum(dim=1) - 1])
    return torch.cat(parts)


def lora_margins(examples: Sequence[tuple[str, int]], *, seed: int, steps: int = STEPS) -> Tensor:
    """Train LoRA on the same examples, score the test reviews without examples, and take the adapters off."""
    model = labelled()
    peft.inject_lora(model, TARGETS, rank=RANK, alpha=ALPHA, seed=seed)
    texts, labels = zip(*examples, strict=True)
    lessons = data.Texts(name="examples", texts=texts, labels=torch.tensor(labels), classes=("negative", "positive"))
    schedule = training.warmup(0.1)
    training.fit(
        model, lessons, steps=steps, batch_size=BATCH, lr=RATE, weight_decay=0.0, schedule=schedule, clip=1.0, seed=seed
    )
    model.eval()
    exam = reviews("test").texts
    with torch.no_grad():
        logits = torch.cat([model(model.collate(exam[i : i + 10])) for i in range(0, len(exam), 10)])
    for name in peft.adapters(model):
        peft.remove(model, name)
    return margins(logits)


def labelled() -> models.LabelWords:
    """SmolLM2 as a zero-shot classifier."""
    return models.LabelWords(smollm2(), WORDING.words, template=WORDING.template)


@lru_cache(maxsize=1)
def smollm2() -> models.LanguageModel:
    """SmolLM2-135M as it came."""
    return models.language()


@lru_cache(maxsize=2)
def reviews(part: str) -> data.Texts:
    """Film reviews of at most `LONGEST` tokens: all of "train", 50 of each class of "test", the shortest first."""
    texts = data.sentiment("movies", part=part)
    length = [len(ids) for ids in smollm2().tokenizer(list(texts.texts))["input_ids"]]
    short = texts.take(torch.tensor([i for i, n in enumerate(length) if n <= LONGEST]))
    if part == "train":
        return short
    few = short.few(TEST, seed=0)
    return few.take(torch.tensor(sorted(range(len(few)), key=lambda i: len(few.texts[i]))))


def finish(rows: list[dict[str, Any]], folder: Path) -> None:
    """Nothing to add: the rows are the result."""
