"""The loop written out by hand against `training.fit` and against transformers' Trainer."""

import copy

import pytest
import torch
from torch import nn

from tlcourse import finetuning, models, training
from tlcourse.data import Texts

WORDS = ("good", "bad", "film", "plot", "dull", "great", "actor", "the")


class Reader(nn.Module):
    """Counts of eight words, and a layer on them: a model that collates texts, small enough to train in no time."""

    dim = 4

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(len(WORDS), 4)

    def collate(self, texts):
        return {"counts": torch.tensor([[float(text.split().count(word)) for word in WORDS] for text in texts])}

    def forward(self, batch):
        return self.layer(batch["counts"]).tanh()


@pytest.fixture
def reviews() -> Texts:
    generator = torch.Generator().manual_seed(0)
    picks = torch.randint(0, len(WORDS), (44, 6), generator=generator)
    texts = tuple(" ".join(WORDS[i] for i in row) for row in picks.tolist())
    labels = torch.tensor([int(text.count("good") + text.count("great") > text.count("bad")) for text in texts])
    return Texts(name="toy", texts=texts, labels=labels, classes=("negative", "positive"))


@pytest.fixture
def model() -> models.Classifier:
    return models.Classifier(Reader(), 2, seed=0)


def test_it_gives_the_weights_that_fit_gives(reviews, model):
    other = copy.deepcopy(model)
    settings = {"epochs": 3, "lr": 0.05, "batch_size": 16, "schedule": training.warmup(0.2), "clip": 0.5}
    losses = finetuning.plain_loop(model, reviews, **settings, seed=4)
    history = training.fit(other, reviews, **settings, seed=4)
    assert losses == pytest.approx(history.losses, abs=1e-6)
    assert not model.training
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)


def test_it_gives_the_weights_that_trainer_gives(reviews, model):
    """Same order, AdamW, linear decay to 0, clipping: equal to 1e-5 after three epochs of unequal last batches."""
    other = copy.deepcopy(model)
    settings = {"epochs": 3, "lr": 0.05, "batch_size": 16, "weight_decay": 0.0, "clip": 0.5, "seed": 4}
    start = model.head.weight.detach().clone()
    finetuning.plain_loop(model, reviews, schedule=training.warmup(0.0), **settings)
    finetuning.with_trainer(other, reviews, **settings)
    assert (model.head.weight - start).abs().max() > 0.05
    assert not other.training
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5)


def test_bad_inputs(reviews, model):
    with pytest.raises(ValueError, match="44 texts, epochs=0"):
        finetuning.plain_loop(model, reviews, epochs=0, lr=0.1)
    with pytest.raises(ValueError, match=r"lr=-1\.0"):
        finetuning.plain_loop(model, reviews, epochs=1, lr=-1.0)


def test_gradients_from_before_do_not_count(reviews, model):
    plain, stale = copy.deepcopy(model), copy.deepcopy(model)
    for parameter in stale.parameters():
        parameter.grad = torch.full_like(parameter, 100.0)
    for each in (plain, stale):
        finetuning.plain_loop(each, reviews, epochs=1, lr=1e-3)
    torch.testing.assert_close(stale.state_dict(), plain.state_dict(), rtol=0, atol=0)
