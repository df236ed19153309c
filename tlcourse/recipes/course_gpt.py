"""Lessons 08 and 11: a GPT and a BERT of a million parameters each, from the course's texts (half an hour on one core).

Both have the same sizes, read the same tokens and are trained for the same number of steps; one guesses the next token,
the other hidden ones. "measure": on texts that were held out. "transfer": both, and one that was not pre-trained, tuned
on a few labelled texts.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tlcourse import data, models, training
from tlcourse.foundation import (
    TextReader,
    Tokenizer,
    Transformer,
    count_parameters,
    masked_token_loss,
    nats_per_character,
    next_token_loss,
    score,
    train_bpe,
    windows,
)
from tlcourse.foundation.pretrain import Objective, make_optimizer, window_length
from tlcourse.recipes import pieces, results

NAME = "course_gpt"
DOMAINS = ("tweets", "nyt", "amazon", "movies")
EVERYTHING = 1e-6  # texts of any rating but exactly 0
VOCABULARY, CONTEXT, WIDTH, LAYERS, HEADS, DROPOUT = 2048, 64, 128, 4, 4, 0.1
STEPS, EVERY, BATCH, WARMUP, CLIP, DECAY = 2400, 200, 32, 0.05, 1.0, 0.1
RATES = {"gpt": 2e-3, "bert": 2e-3}
OBJECTIVES: dict[str, Objective] = {"gpt": next_token_loss, "bert": masked_token_loss}
ARMS = ("gpt", "bert", "from scratch")
TASKS = {"tweets": 40, "text sources": 10}  # labels a class
SEEDS = (0, 1, 2, 3)
TUNING_STEPS, TUNING_BATCH, TUNING_RATES = 60, 16, (5e-4, 1e-3, 2e-3)
CHOICE = 100  # seed of the draw that rates are chosen on


def settings() -> dict[str, Any]:
    """What the weights and numbers depend on."""
    return {
        "domains": DOMAINS,
        "vocabulary": VOCABULARY,
        "context": CONTEXT,
        "width": WIDTH,
        "layers": LAYERS,
        "heads": HEADS,
        "dropout": DROPOUT,
        "parameters": count_parameters(network("gpt")),
        "characters": sum(map(len, texts("train"))),
        "tokens": len(stream("train")),
        "steps": STEPS,
        "batch": BATCH,
        "rates": RATES,
        "tasks": TASKS,
        "tuning_steps": TUNING_STEPS,
        "tuning_rates": TUNING_RATES,
    }


def jobs() -> list[dict[str, Any]]:
    """The pieces of both trainings, measurements, then what the models are good for."""
    train = [{"model": model, **piece} for model in OBJECTIVES for piece in pieces.cut(STEPS, EVERY)]
    measure = [{"model": model, "phase": "measure"} for model in OBJECTIVES]
    choose = [
        {"model": arm, "phase": "choose", "task": task, "rate": rate}
        for task in TASKS
        for arm in ARMS
        for rate in TUNING_RATES
    ]
    cells = [(task, seed, arm) for task in TASKS for seed in SEEDS for arm in ARMS]
    transfer = [{"model": arm, "phase": "transfer", "task": task, "seed": seed} for task, seed, arm in cells]
    return train + measure + choose + transfer


def work(job: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One piece, or one measurement of the trained weights."""
    if job["phase"] == "train":
        return trained_piece(job)
    if job["phase"] == "measure":
        return measured(job["model"])
    if job["phase"] == "choose":
        return tuned(job["model"], job["task"], rate=job["rate"], seed=CHOICE, exam="choice")
    rate = best_rate(rows, job["model"], job["task"])
    return {"rate": rate} | tuned(job["model"], job["task"], rate=rate, seed=job["seed"], exam="test")


def trained_piece(job: Mapping[str, Any]) -> dict[str, Any]:
    """Some more steps of one of the models."""
    home, objective = training.device(), OBJECTIVES[job["model"]]
    model = network(job["model"]).to(home).train()
    optimizer = make_optimizer(model, lr=RATES[job["model"]], weight_decay=DECAY)
    rates = training.LearningRates(optimizer, training.warmup(WARMUP, fall=training.cosine), STEPS)
    source = stream("train")

    def step(k: int, generator: torch.Generator) -> float:
        rates.set(k)
        ids = windows(source, length=window_length(model), batch=BATCH, generator=generator).to(home)
        return training.update(model, optimizer, objective(model, ids, generator), clip=CLIP)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(job["from"])  # dropout
        return pieces.train(job, _state(job["model"]), parts={"model": model, "optimizer": optimizer}, step=step)


@torch.no_grad()
def measured(name: str) -> dict[str, Any]:
    """Losses on texts of the test part: per token and per character, or per hidden token."""
    model = trained(name)
    if name == "gpt":
        found = score(model, stream("test"))
        return {
            "loss": round(float(found.losses.mean()), 4),
            "nats_per_character": round(nats_per_character(found.losses, texts("test")), 4),
            "perplexity": round(found.perplexity, 2),
            "accuracy": round(float(found.hits.double().mean()), 4),
        }
    generator = torch.Generator().manual_seed(0)
    held_out = stream("test")
    held_out = held_out[: len(held_out) // CONTEXT * CONTEXT].view(-1, CONTEXT)
    losses = [masked_token_loss(model, part, generator).item() for part in held_out.split(64)[:-1]]
    return {"loss": round(sum(losses) / len(losses), 4)}


def tuned(arm: str, task: str, *, rate: float, seed: int, exam: str) -> dict[str, Any]:
    """Balanced accuracy after fine-tuning all weights on a few labels a class."""
    source = network("gpt", seed=seed) if arm == "from scratch" else trained(arm)
    source.dropout.p = 0.0
    model = models.Classifier(TextReader(source, tokenizer()), labelled(task, "train").n_classes, seed=seed)
    few = labelled(task, "train").few(TASKS[task], seed)
    training.fit(
        model,
        few,
        steps=TUNING_STEPS,
        batch_size=TUNING_BATCH,
        lr=rate,
        schedule=training.warmup(0.1),
        clip=CLIP,
        seed=seed,
    )
    result = training.evaluate(model, labelled(task, exam))
    return {"balanced_accuracy": round(result.balanced_accuracy, 4), "loss": round(result.loss, 4)}


def best_rate(rows: Sequence[Mapping[str, Any]], arm: str, task: str) -> float:
    """The rate with the lowest loss on texts that neither train nor test."""
    tried = [row for row in rows if (row["phase"], row["model"], row.get("task")) == ("choose", arm, task)]
    return float(min(tried, key=lambda row: row["loss"])["rate"])


@lru_cache(maxsize=8)
def labelled(task: str, part: str) -> data.Texts:
    """A labelled task: "train", "choice" (texts of the training part that no run learns from) or "test"."""
    side = "test" if part == "test" else "train"
    every = data.text_sources(part=side) if task == "text sources" else data.sentiment(task, part=side)
    if part == "test":
        return every.few(150, seed=0)
    choice = every.few(100, seed=CHOICE)
    if part == "choice":
        return choice
    taken = set(choice.texts)
    return every.take(torch.tensor([i for i, text in enumerate(every.texts) if text not in taken]))


@lru_cache(maxsize=2)
def texts(part: str) -> tuple[str, ...]:
    """All texts of the four domains, in a fixed random order, "train" or "test"; no text and no article is in both."""
    every = [text for domain in DOMAINS for text in data.sentiment(domain, part=part, threshold=EVERYTHING).texts]
    order = torch.randperm(len(every), generator=torch.Generator().manual_seed(0)).tolist()
    return tuple(every[i] for i in order)


@lru_cache(maxsize=1)
def tokenizer() -> Tokenizer:
    """The tokenizer of both models, learned from the training texts: the shipped one where it is there."""
    shipped = results.FOLDER / f"{NAME}_tokenizer.json"
    return Tokenizer.load(shipped) if shipped.exists() else train_bpe(texts("train"), vocabulary=VOCABULARY)


@lru_cache(maxsize=2)
def stream(part: str) -> Tensor:
    """The texts as one row of tokens."""
    return tokenizer().stream(texts(part))


def network(name: str, *, seed: int = 0) -> Transformer:
    """The "gpt" or the "bert" before its training. They differ in what a token may look at, and in nothing else."""
    return Transformer(
        VOCABULARY,
        context=CONTEXT,
        width=WIDTH,
        layers=LAYERS,
        heads=HEADS,
        causal=name == "gpt",
        dropout=DROPOUT,
        seed=seed,
    )


def trained(name: str) -> Transformer:
    """The model as the last piece left it, in evaluation mode."""
    model = network(name)
    note = pieces.load(_state(name), {"model": model})
    if note["to"] != STEPS:
        raise RuntimeError(f"{name} was saved after step {note['to']} of {STEPS}; run the recipe to its end")
    return model.eval()


def load_model(name: str) -> tuple[Transformer, Tokenizer]:
    """The shipped "gpt" or "bert" in evaluation mode, and the tokenizer of both.

    Raises KeyError for another name, FileNotFoundError when the recipe has not been run.
    """
    if name not in OBJECTIVES:
        raise KeyError(f"model {name!r} is unknown; choose from: {', '.join(OBJECTIVES)}")
    path = results.FOLDER / f"{NAME}.safetensors"
    if not path.exists():
        raise FileNotFoundError(f"{path.name} is not there; make it with: tlcourse recipe {NAME}")
    mine = {key.split("/", 1)[1]: value for key, value in load_file(path).items() if key.startswith(f"{name}/")}
    model = network(name)
    model.load_state_dict(pieces.widened(mine))
    return model.eval(), tokenizer()


def finish(rows: list[dict[str, Any]], folder: Path) -> None:
    """Both models in one file, as half-precision numbers, and the tokenizer."""
    tensors: dict[str, Tensor] = {}
    for name in OBJECTIVES:
        tensors |= {f"{name}/{key}": value for key, value in pieces.halved(trained(name).state_dict()).items()}
    tokenizer().save(folder / f"{NAME}_tokenizer.json")
    save_file(tensors, folder / f"{NAME}.safetensors")
    for name in OBJECTIVES:
        _state(name).unlink()
    _state("gpt").parent.rmdir()


def _state(name: str) -> Path:
    return results.FOLDER / f"{NAME}.part" / f"{name}.pt"
