"""Objectives of pre-training: what is asked, how often, and that the losses are those of the formulas."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tlcourse import models, training
from tlcourse.foundation import (
    END,
    MASK,
    NOT_ASKED,
    TextReader,
    Transformer,
    bits,
    continue_text,
    corrupt,
    masked_token_loss,
    nats_per_character,
    next_token_loss,
    pretrain,
    score,
    text_losses,
    train_bpe,
    windows,
)
from tlcourse.foundation.pretrain import make_optimizer

TEXTS = ["the cat sat on the mat", "a dog ran to the house", "the dog sat on the cat"] * 8
TOKENIZER = train_bpe(TEXTS, vocabulary=280)
STREAM = TOKENIZER.stream(TEXTS)


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tiny(*, causal: bool, context: int = 12, seed: int = 0) -> Transformer:
    return Transformer(len(TOKENIZER), context=context, width=32, layers=1, heads=2, causal=causal, seed=seed)


def test_windows_are_pieces_of_the_stream() -> None:
    stream = torch.arange(50)
    pieces = windows(stream, length=7, batch=400, generator=drawn())
    assert torch.equal(pieces - pieces[:, :1], torch.arange(7).expand(400, 7))
    assert pieces.min() == 0
    assert pieces.max() == 49
    assert torch.equal(windows(stream, length=50, batch=1, generator=drawn())[0], stream)
    with pytest.raises(ValueError, match="50 tokens and a window 51"):
        windows(stream, length=51, batch=1, generator=drawn())


def test_the_next_token_is_asked_at_every_place() -> None:
    model, ids = tiny(causal=True), windows(STREAM, length=9, batch=4, generator=drawn())
    by_hand = [
        -model(ids[i : i + 1, : t + 1])[0, -1].log_softmax(dim=0)[ids[i, t + 1]] for i in range(4) for t in range(8)
    ]
    torch.testing.assert_close(next_token_loss(model, ids, drawn()), torch.stack(by_hand).mean())


def test_hidden_tokens_are_asked_and_no_others() -> None:
    model, ids = tiny(causal=False), windows(STREAM, length=12, batch=6, generator=drawn())
    inputs, targets = corrupt(ids, vocabulary=len(TOKENIZER), generator=drawn(5))
    whole = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), ignore_index=NOT_ASKED)
    torch.testing.assert_close(masked_token_loss(model, ids, drawn(5)), whole)
    asked = targets != NOT_ASKED
    assert torch.equal(targets[asked], ids[asked])
    assert torch.equal(inputs[~asked], ids[~asked])


def test_corruption_rates() -> None:
    vocabulary = 1000
    ids = torch.randint(3, vocabulary, (400, 500), generator=drawn())
    ids[:, ::10] = END
    inputs, targets = corrupt(ids, vocabulary=vocabulary, generator=drawn(1))
    asked = targets != NOT_ASKED
    n = int((ids != END).sum())
    assert not asked[ids == END].any()
    assert abs(int(asked.sum()) / n - 0.15) < 4 * math.sqrt(0.15 * 0.85 / n)
    chosen = int(asked.sum())
    hidden = (inputs == MASK)[asked].double().mean().item()
    same = (inputs == ids)[asked].double().mean().item()
    other = ((inputs != ids) & (inputs != MASK))[asked].double().mean().item()
    for found, wanted in ((hidden, 0.8), (same, 0.1), (other, 0.1)):  # one in 997 random tokens is the same
        assert abs(found - wanted) < 4 * math.sqrt(wanted * (1 - wanted) / chosen) + 0.1 / 997
    random = inputs[asked & (inputs != ids) & (inputs != MASK)]
    assert random.min() >= 3
    assert random.unique().numel() > 0.9 * (vocabulary - 3)  # from the whole vocabulary


def test_another_rate_and_at_least_one() -> None:
    ids = torch.randint(3, 50, (200, 100), generator=drawn())
    _, targets = corrupt(ids, vocabulary=50, generator=drawn(), rate=0.4)
    assert abs((targets != NOT_ASKED).double().mean().item() - 0.4) < 0.02
    for seed in range(20):
        _, targets = corrupt(ids[:1, :2], vocabulary=50, generator=drawn(seed), rate=0.01)
        assert (targets != NOT_ASKED).sum() >= 1
    with pytest.raises(ValueError, match="between 0 and 1"):
        corrupt(ids, vocabulary=50, generator=drawn(), rate=1.0)
    with pytest.raises(ValueError, match="nothing to hide"):
        corrupt(torch.full((2, 3), END), vocabulary=50, generator=drawn())


@pytest.mark.parametrize(("causal", "objective"), [(True, next_token_loss), (False, masked_token_loss)])
def test_training_lowers_the_loss_and_repeats(causal: bool, objective) -> None:
    model = tiny(causal=causal)
    losses = pretrain(model, STREAM, objective, steps=60, batch_size=16, lr=1e-2, seed=1)
    assert len(losses) == 60
    assert sum(losses[-10:]) / 10 < 0.6 * losses[0]
    assert not model.training
    again = tiny(causal=causal)
    assert pretrain(again, STREAM, objective, steps=60, batch_size=16, lr=1e-2, seed=1) == losses
    assert torch.equal(again.tokens.weight, model.tokens.weight)


def test_only_matrices_are_shrunk() -> None:
    optimizer = make_optimizer(tiny(causal=True), lr=1e-3, weight_decay=0.1)
    for group in optimizer.param_groups:
        assert all((p.ndim >= 2) == (group["weight_decay"] == 0.1) for p in group["params"])
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(tiny(causal=True).parameters()))


def test_scores_cover_every_token_but_the_first_once() -> None:
    model = tiny(causal=True)
    pretrain(model, STREAM, next_token_loss, steps=30, batch_size=16, lr=1e-2)
    for length in (2, 12, 13, 14, 25, 40):
        stream = STREAM[:length]
        found = score(model, stream, batch_size=2)
        assert len(found.losses) == len(found.hits) == length - 1
        for t in (0, (length - 1) // 2, length - 2):
            begin = t // 12 * 12
            logits = model(stream[None, begin : t + 1])[0, -1]
            torch.testing.assert_close(found.losses[t], -logits.log_softmax(dim=0)[stream[t + 1]], rtol=1e-4, atol=1e-5)
            assert bool(found.hits[t]) == (int(logits.argmax()) == int(stream[t + 1]))


def test_perplexity_and_characters() -> None:
    model = tiny(causal=True)
    for parameter in model.parameters():
        parameter.data.zero_()
    found = score(model, STREAM)
    assert found.perplexity == pytest.approx(len(TOKENIZER), rel=1e-4)  # equally unsure between all tokens
    nats = nats_per_character(torch.tensor([3.0, 4.0, 5.0]), ["abc", "defg"])
    assert nats == pytest.approx(12 / 9)  # seven letters and two ends
    assert bits(nats) == pytest.approx(12 / 9 / 0.6931472)


def test_a_model_that_sees_the_answer_is_refused() -> None:
    ids = windows(STREAM, length=9, batch=4, generator=drawn())
    with pytest.raises(ValueError, match="causal=True"):
        next_token_loss(tiny(causal=False), ids, drawn())
    with pytest.raises(ValueError, match="causal=False"):
        masked_token_loss(tiny(causal=True), ids, drawn())
    with pytest.raises(ValueError, match="causal=True"):
        score(tiny(causal=False), STREAM)
    with pytest.raises(ValueError, match="train for at least 1"):
        pretrain(tiny(causal=True), STREAM, next_token_loss, steps=0)


def test_a_loss_that_is_not_finite_stops_the_training() -> None:
    model = tiny(causal=True)
    model.norm.bias.data.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="lower lr"):
        pretrain(model, STREAM, next_token_loss, steps=1)


def test_a_trained_model_continues_as_its_texts_do() -> None:
    model = tiny(causal=True, context=24)
    pretrain(
        model, TOKENIZER.stream(["the cat sat on the mat"] * 20), next_token_loss, steps=80, batch_size=16, lr=1e-2
    )
    prompt = "the cat"
    assert continue_text(model, TOKENIZER, prompt, tokens=17, temperature=0) == "the cat sat on the mat"  # and ends
    one, two = (continue_text(model, TOKENIZER, prompt, tokens=8, temperature=50.0, seed=s) for s in (0, 1))
    assert one != two
    assert one == continue_text(model, TOKENIZER, prompt, tokens=8, temperature=50.0, seed=0)
    assert one.startswith(prompt)
    for wrong in ({"prompt": ""}, {"prompt": "  "}, {"tokens": 0}, {"temperature": -1.0}):
        with pytest.raises(ValueError, match="give some text, 1 token or more"):
            continue_text(model, TOKENIZER, **{"prompt": prompt, **wrong})
    with pytest.raises(ValueError, match="40 more are asked for and the context is 24"):
        continue_text(model, TOKENIZER, prompt, tokens=40)
    with pytest.raises(ValueError, match="reads and does not continue"):
        continue_text(tiny(causal=False), TOKENIZER, prompt, tokens=2)


def test_a_reader_is_a_backbone() -> None:
    reader = TextReader(tiny(causal=False), TOKENIZER).eval()
    batch = reader.collate(["the cat sat", "a"])
    assert batch["ids"].shape == batch["mask"].shape
    assert batch["mask"].sum(dim=1).tolist() == [len(TOKENIZER.encode("the cat sat")), 1]
    alone = torch.cat([reader(reader.collate([text])) for text in ("the cat sat", "a")])
    torch.testing.assert_close(reader(batch), alone, rtol=1e-4, atol=1e-5)
    hidden: Tensor = reader.transformer.hidden(torch.tensor([TOKENIZER.encode("the cat sat")]))
    torch.testing.assert_close(alone[0], hidden[0].mean(dim=0), rtol=1e-4, atol=1e-5)
    assert reader.collate(["the cat sat on the mat " * 9])["ids"].shape == (1, 12)
    assert reader.fingerprint() != TextReader(tiny(causal=False, seed=1), TOKENIZER).fingerprint()
    with pytest.raises(ValueError, match="none of them empty"):
        reader.collate(["", "a"])
    with pytest.raises(ValueError, match="trained together"):
        TextReader(Transformer(9, context=4, width=8, layers=1, heads=1, causal=True), TOKENIZER)


def test_a_reader_learns_a_task() -> None:
    from tlcourse.data import Texts

    texts = Texts(
        name="animals",
        texts=tuple(f"the {animal} sat {i}" for i in range(8) for animal in ("cat", "dog")),
        labels=torch.tensor([0, 1] * 8),
        classes=("cat", "dog"),
        groups=torch.arange(16),
        meta={},
    )
    model = models.Classifier(TextReader(tiny(causal=True), TOKENIZER), 2)
    training.fit(model, texts, steps=100, batch_size=8, lr=3e-3)
    assert training.evaluate(model, texts).accuracy == 1


def test_reading_and_continuing_ignore_dropout_and_put_the_mode_back() -> None:
    model = Transformer(len(TOKENIZER), context=12, width=8, heads=2, layers=1, causal=True, dropout=0.5)
    for what in (
        lambda: score(model, STREAM).losses.tolist(),
        lambda: text_losses(model, TOKENIZER, ["the cat sat"]).tolist(),
        lambda: continue_text(model, TOKENIZER, "the", tokens=5, temperature=0),
    ):
        assert what() == what()
        assert model.training
