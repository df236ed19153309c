"""Lesson 07: SmolLM2 on film reviews, as it comes and tuned, 200 labels and 25 steps.

"prompt": zero-shot with other words around the text. "choose": each way of tuning at three rates, on one draw, tested
on training reviews that no run learns from. "tuned": each way at its best rate, four draws, with two controls that
train nothing inside: "threshold" moves the border between the two words to where the labels want it, "probe" is a
linear classifier on the last hidden state.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tlcourse import data, models, peft, training

LABELS, STEPS, BATCH, LENGTH = 100, 25, 8, 48
WARMUP, CLIP, WEIGHT_DECAY = 0.1, 1.0, 0.0
SEEDS = (0, 1, 2, 3)
CHOICE = 100  # seed of the draw that rates are chosen on
WORDS = (" negative", " positive")
TEMPLATE = "Review: {text}\nSentiment:"
TEMPLATES = {
    TEMPLATE: WORDS,
    "{text}\nThe sentiment of this review is": WORDS,
    "Is this film review negative or positive? {text}\nAnswer:": WORDS,
    "{text} All in all, the film is": (" bad", " good"),
}
RATES = {"LoRA": (5e-4, 1e-3, 2e-3), "prompt": (3e-3, 1e-2, 3e-2)}
CONTROLS = ("threshold", "probe")
RANK, ALPHA, TARGETS = 8, 16.0, ("q_proj", "v_proj")
SOFT = " Is this review negative or positive?"


def settings() -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "labels": LABELS,
        "steps": STEPS,
        "batch": BATCH,
        "length": LENGTH,
        "template": TEMPLATE,
        "rates": RATES,
        "rank": RANK,
        "alpha": ALPHA,
        "targets": TARGETS,
        "soft": SOFT,
    }


def jobs() -> list[dict[str, Any]]:
    """Templates, rates, then four draws of every way."""
    prompts = [{"part": "prompt", "template": template} for template in TEMPLATES]
    choose = [{"part": "choose", "arm": arm, "rate": rate} for arm, rates in RATES.items() for rate in rates]
    tuned = [{"part": "tuned", "arm": arm, "seed": seed} for seed in SEEDS for arm in (*CONTROLS, *RATES)]
    return prompts + choose + tuned


def work(job: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One evaluation or one run."""
    if job["part"] == "prompt":
        return scores(labelled(job["template"]), reviews("test"))
    if job["part"] == "choose":
        model = tuned(job["arm"], rate=job["rate"], seed=CHOICE)
        return scores(model, reviews("choice"))
    if job["arm"] in CONTROLS:
        return control(job["arm"], job["seed"])
    rate = best_rate(rows, job["arm"])
    model = tuned(job["arm"], rate=rate, seed=job["seed"])
    return {"rate": rate, "trained": peft.count_parameters(model)[0]} | scores(model, reviews("test"))


def best_rate(rows: Sequence[Mapping[str, Any]], arm: str) -> float:
    """The rate with the lowest loss on the reviews kept for the choice."""
    tried = [row for row in rows if row["part"] == "choose" and row["arm"] == arm]
    return float(min(tried, key=lambda row: row["loss"])["rate"])


def labelled(template: str = TEMPLATE) -> models.LabelWords:
    """SmolLM2 as a classifier: the words for negative and positive after the template."""
    return models.LabelWords(smollm2(), TEMPLATES[template], template=template, max_length=LENGTH)


def adapted(arm: str, *, seed: int) -> models.LabelWords:
    """SmolLM2 as a classifier, with something new to learn."""
    model = labelled()
    if arm == "LoRA":
        peft.inject_lora(model, TARGETS, rank=RANK, alpha=ALPHA, seed=seed)
    else:
        peft.inject_prompt(model, len(soft_ids()), init_ids=soft_ids())
    return model


def tuned(arm: str, *, rate: float, seed: int, steps: int = STEPS) -> models.LabelWords:
    """An adapted model after its training."""
    model = adapted(arm, seed=seed)
    train(model, rate=rate, seed=seed, steps=steps)
    return model


def train(model: models.LabelWords, *, rate: float, seed: int, steps: int = STEPS) -> training.History:
    """The training that every way gets."""
    return training.fit(
        model,
        reviews("train").few(LABELS, seed),
        steps=steps,
        batch_size=BATCH,
        lr=rate,
        weight_decay=WEIGHT_DECAY,
        schedule=training.warmup(WARMUP),
        clip=CLIP,
        seed=seed,
    )


def scores(model: models.LabelWords, texts: data.Texts) -> dict[str, Any]:
    """Accuracy and loss; adapters are taken off afterwards, so that SmolLM2 is loaded once."""
    result = training.evaluate(model, texts, batch_size=10)
    for name in peft.adapters(model):
        peft.remove(model, name)
    return {"balanced_accuracy": result.balanced_accuracy, "loss": round(result.loss, 4)}


def control(arm: str, seed: int) -> dict[str, Any]:
    """What the same labels give without a change inside."""
    few, exam = reviews("train").few(LABELS, seed), reviews("test")
    if arm == "threshold":
        border = best_threshold(margins(few), few.labels)
        predicted = (margins(exam) > border).long()
    else:
        predicted = training.probe(last_hidden(few), few.labels).predict(last_hidden(exam))
    return {"balanced_accuracy": training.evaluation.balanced_accuracy(predicted, exam.labels)}


def best_threshold(margin: Tensor, labels: Tensor) -> float:
    """The border that gets most labels right: halfway between two neighbours, the middle one of several."""
    values = margin.sort().values
    borders = (values[1:] + values[:-1]) / 2
    right = ((margin[None] > borders[:, None]).long() == labels[None]).sum(dim=1)
    best = borders[right == right.max()]
    return float(best[len(best) // 2])


@torch.no_grad()
def margins(texts: data.Texts) -> Tensor:
    """How much more likely " positive" is than " negative", in nats."""
    model = labelled()
    logits = torch.cat([model(model.collate(texts.texts[i : i + 10])) for i in range(0, len(texts), 10)])
    return logits[:, 1] - logits[:, 0]


@torch.no_grad()
def last_hidden(texts: data.Texts) -> Tensor:
    """The last hidden state after each prompt, what the head of the language model sees."""
    model, parts = labelled(), []
    for i in range(0, len(texts), 10):
        batch = model.collate(texts.texts[i : i + 10])
        hidden = model.net.base_model(**batch).last_hidden_state
        parts.append(hidden[torch.arange(len(hidden)), batch["attention_mask"].sum(dim=1) - 1])
    return torch.cat(parts)


def soft_ids() -> Tensor:
    """The tokens that the soft prompt starts as."""
    return torch.tensor(smollm2().tokenizer(SOFT)["input_ids"])


@lru_cache(maxsize=1)
def smollm2() -> models.LanguageModel:
    """SmolLM2-135M as it came."""
    return models.language()


@lru_cache(maxsize=3)
def reviews(part: str) -> data.Texts:
    """Film reviews: "train", "choice" (100 of the training part, from which "train" is free) and "test" (200).

    The last two are sorted by length, so that a batch has little padding.
    """
    if part == "test":
        return by_length(data.sentiment("movies", part="test").few(100, seed=0))
    every = data.sentiment("movies", part="train")
    choice = every.few(50, seed=CHOICE)
    if part == "choice":
        return by_length(choice)
    taken = set(choice.texts)
    return every.take(torch.tensor([i for i, text in enumerate(every.texts) if text not in taken]))


def by_length(texts: data.Texts) -> data.Texts:
    """The same texts, the shortest first."""
    return texts.take(torch.tensor(sorted(range(len(texts)), key=lambda i: len(texts.texts[i]))))


def finish(rows: list[dict[str, Any]], folder: Path) -> None:
    """Nothing to add: the rows are the result."""
