"""Canaries: rank, exposure, and a model that has seen one more often than another."""

from __future__ import annotations

import math

import pytest
import torch

from tlcourse.foundation import (
    CanaryForm,
    Transformer,
    exposure,
    next_token_loss,
    pretrain,
    text_losses,
    train_bpe,
    with_canaries,
)

FORM = CanaryForm("code {}.", length=2)
TEXTS = [f"the {a} {b} the {c}" for a in ("cat", "dog") for b in ("saw", "ate") for c in ("mat", "rat", "hat")] * 3


def test_exposure_by_hand() -> None:
    others = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    assert exposure(0.5, others) == 3.0  # first of eight
    assert exposure(2.5, others) == pytest.approx(3 - math.log2(3))
    assert exposure(9.0, others) == 0.0  # last
    assert exposure(7.0, others) == 0.0  # equally likely secrets come before it
    assert exposure(0.5, others, size=10_000) == 3.0  # a sample of seven shows no more
    with pytest.raises(ValueError, match="finite losses"):
        exposure(float("nan"), others)
    with pytest.raises(ValueError, match="at least one"):
        exposure(1.0, torch.zeros(0))
    with pytest.raises(ValueError, match="size is 3 and there are 8"):
        exposure(1.0, others, size=3)


def test_exposure_of_what_was_never_seen_is_one_and_a_half_bits() -> None:
    """A random rank has the mean exposure log₂ e bits (Carlini et al., Section 4.3)."""
    losses = torch.rand(400, generator=torch.Generator().manual_seed(0))
    each = [exposure(float(losses[i]), torch.cat([losses[:i], losses[i + 1 :]])) for i in range(400)]
    assert sum(each) / 400 == pytest.approx(math.log2(math.e), abs=0.05)


def test_forms() -> None:
    assert FORM.size == 100
    assert FORM.fill("07") == "code 07."
    assert FORM.all()[:2] == ["00", "01"]
    assert len(set(FORM.all())) == 100
    secrets = {FORM.draw(torch.Generator().manual_seed(seed)) for seed in range(30)}
    assert secrets <= set(FORM.all())
    assert len(secrets) > 15
    for wrong in ("7", "7a", "777"):
        with pytest.raises(ValueError, match="not 2 letters"):
            FORM.fill(wrong)
    with pytest.raises(ValueError, match="one place for the secret"):
        CanaryForm("no place", 2)
    with pytest.raises(ValueError, match="different letters"):
        CanaryForm("{}", 2, alphabet="aab")
    with pytest.raises(ValueError, match="compare with a sample"):
        CanaryForm("{}", 9).all()


def test_canaries_are_put_in_so_many_times() -> None:
    mixed = with_canaries(TEXTS, ["one", "two"], [3, 0], seed=1)
    assert mixed.count("one") == 3
    assert mixed.count("two") == 0
    assert sorted(text for text in mixed if text != "one") == sorted(TEXTS)
    assert mixed[-3:] != ["one"] * 3
    with pytest.raises(ValueError, match="for each canary"):
        with_canaries(TEXTS, ["one"], [1, 2])


@pytest.fixture(scope="module")
def taught():
    """A model that has seen one secret 12 times and another once."""
    texts = with_canaries(TEXTS, [FORM.fill("37"), FORM.fill("84")], [12, 1])
    tokenizer = train_bpe(texts, vocabulary=300)
    model = Transformer(len(tokenizer), context=24, width=32, layers=1, heads=2, causal=True)
    pretrain(model, tokenizer.stream(texts), next_token_loss, steps=150, batch_size=16, lr=1e-2)
    return model, tokenizer


def test_exposure_grows_with_repetition(taught) -> None:
    model, tokenizer = taught
    losses = dict(zip(FORM.all(), text_losses(model, tokenizer, [FORM.fill(s) for s in FORM.all()]), strict=True))

    def measured(secret: str) -> float:
        return exposure(float(losses[secret]), torch.stack([loss for s, loss in losses.items() if s != secret]))

    assert measured("37") > 5.5  # of at most log2 100 = 6.6 bits
    assert measured("37") >= measured("84")
    rest = [measured(secret) for secret in ("05", "19", "52", "66", "90")]
    assert sum(rest) / 5 < measured("37") - 2


@torch.no_grad()
def test_losses_are_those_of_whole_texts(taught) -> None:
    model, tokenizer = taught
    texts = ["the cat saw", "code 37.", "a"]
    found = text_losses(model, tokenizer, texts, batch_size=2)
    for text, loss in zip(texts, found, strict=True):
        ids = tokenizer.stream([text, text])[len(tokenizer.encode(text)) : -1]  # the end of a text, then the text
        logp = model(ids[None, :-1])[0].log_softmax(dim=1)
        assert -logp.gather(1, ids[1:, None]).sum().item() == pytest.approx(loss.item(), rel=1e-4)
    with pytest.raises(ValueError, match="none of them empty"):
        text_losses(model, tokenizer, ["a", ""])
    with pytest.raises(ValueError, match="cut it to 24"):
        text_losses(model, tokenizer, ["the cat " * 40])
    other = Transformer(len(tokenizer), context=24, width=32, layers=1, heads=2, causal=False)
    with pytest.raises(ValueError, match="causal=True"):
        text_losses(other, tokenizer, ["a"])
