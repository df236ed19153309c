"""What a step of `training.fit` costs beside one of `transformers.Trainer`: `python -m benchmarks fit_trainer`.

The same BERT, texts, order, AdamW and linear schedule, batches of 16, no saving, logging or evaluation. Rounds of the
two alternate; the time is that of the processor, and the quickest round of each counts. A second row takes a
network as large as MiniLM: there the arithmetic is nearly all, and no loop can be much ahead of another.
"""

from __future__ import annotations

import copy
import math
import time
from statistics import median

import torch

from tlcourse import data, finetuning, models, training

Row = tuple[str, str, str, float, str]

AIM = 0.8  # on the small network; with the large one both spend their time in the same matrix products


def small() -> models.Classifier:
    """Two layers of width 64 under MiniLM's tokenizer."""
    from transformers import BertConfig, BertModel

    config = BertConfig(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128)
    reader = models.text(pretrained=False)
    backbone = models.TextBackbone("small", BertModel(config, add_pooling_layer=False), reader.tokenizer)
    return models.Classifier(backbone, 2)


def ours(model: models.Classifier, texts: data.Texts, epochs: int) -> float:
    begun = time.process_time()
    training.fit(model, texts, epochs=epochs, batch_size=16, lr=1e-4, clip=1.0, schedule=training.warmup(0.0))
    return time.process_time() - begun


def theirs(model: models.Classifier, texts: data.Texts, epochs: int) -> float:
    begun = time.process_time()
    finetuning.with_trainer(model, texts, epochs=epochs, batch_size=16, lr=1e-4)
    return time.process_time() - begun


def compare(name: str, model: models.Classifier, texts: data.Texts, *, epochs: int, rounds: int) -> Row:
    """Quickest of `rounds` of each; medians beside them."""
    mine, peer, steps = [], [], epochs * math.ceil(len(texts) / 16)
    for index in range(rounds + 1):
        seconds = ours(copy.deepcopy(model), texts, epochs), theirs(copy.deepcopy(model), texts, epochs)
        if index:  # the first round warms up
            mine.append(seconds[0] / steps)
            peer.append(seconds[1] / steps)
    medians = f"medians {_ms(median(mine))} and {_ms(median(peer))}"
    setting = f"{steps} steps of 16 texts, best of {rounds} rounds, 1 thread; {medians}"
    return name, _ms(min(mine)), _ms(min(peer)), min(mine) / min(peer), setting


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.1f} ms"


def failures(rows: list[Row]) -> list[str]:
    return [f"{n}: {r:.2f} times Trainer, aim {AIM}" for n, _, _, r, _ in rows if r > (AIM if "small" in n else 1.05)]


def main() -> list[Row]:
    """A small BERT, where the loop itself shows, and MiniLM."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    texts = data.sentiment("movies", part="train").few(80, seed=0)
    minilm = models.Classifier(models.text(), 2)
    try:
        return [
            compare("fit against Trainer, small BERT", small(), texts, epochs=4, rounds=5),
            compare(
                "fit against Trainer, MiniLM",
                minilm,
                texts.few(24, seed=0),
                epochs=1,
                rounds=3,
            ),
        ]
    finally:
        torch.set_num_threads(before)
