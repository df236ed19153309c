"""A language model as a classifier: the words' logits after the template, whatever stands beside a text."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from tlcourse import data, models, training

TEXTS = ["a good film", "bad", "not as long as it could have been"]


@pytest.fixture
def language(tiny_llama: Path) -> models.LanguageModel:
    return models.language("smollm2_360m", checkpoint=tiny_llama)


def test_logits_of_the_words_after_each_prompt(language: models.LanguageModel):
    model = models.LabelWords(language, ["xa", "y"], template="Q: {text} A:")
    words = [language.tokenizer.convert_tokens_to_ids(word) for word in ("x", "y")]
    logits = model(model.collate(TEXTS))
    for row, text in zip(logits, TEXTS, strict=True):
        ids = language.tokenizer(f"Q: {text} A:", return_tensors="pt")["input_ids"]
        torch.testing.assert_close(row, language.net(ids).logits[0, -1, words], atol=1e-5, rtol=1e-5)


def test_one_position_for_each_length_reaches_the_head(language: models.LanguageModel):
    seen = []
    language.net.lm_head.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape[1]))
    model = models.LabelWords(language, ["x", "y"])
    model(model.collate(["aa", "bb", "cccccccc"]))
    assert seen == [2]


def test_texts_are_cut_and_the_template_is_not(language: models.LanguageModel):
    model = models.LabelWords(language, ["x", "y"], template="{text}!?", max_length=5)
    batch = model.collate(["abcdefgh", "abc"])
    rows = zip(batch["input_ids"], batch["attention_mask"], strict=True)
    assert [language.tokenizer.decode(ids[mask == 1]) for ids, mask in rows] == ["abcde!?", "abc!?"]


def test_learns_with_fit_and_moves_the_network_itself(language: models.LanguageModel):
    texts = data.Texts(
        name="words",
        labels=torch.tensor([1] * 8 + [0] * 8),
        classes=("negative", "positive"),
        texts=("good",) * 8 + ("bad",) * 8,
    )
    model = models.LabelWords(language, ["n", "p"])
    before = [parameter.clone() for parameter in language.net.parameters()]
    training.fit(model, texts, steps=30, batch_size=8, lr=1e-2)
    assert training.evaluate(model, texts).accuracy == 1.0
    assert any(not torch.equal(a, b) for a, b in zip(before, language.net.parameters(), strict=True))


def test_a_prompt_put_before_the_text_does_not_move_the_end(language: models.LanguageModel):
    """What wrappers of soft prompts do: more positions come in front."""

    class Prefixed(nn.Module):
        def forward(self, input_ids, attention_mask, **inputs):
            front = torch.full((len(input_ids), 3), language.tokenizer.convert_tokens_to_ids("z"))
            both = torch.cat([front, input_ids], dim=1)
            mask = torch.cat([torch.ones_like(front), attention_mask], dim=1)
            return language.net(input_ids=both, attention_mask=mask, **inputs)

    plain = models.LabelWords(language, ["x", "y"], template="zzz{text}")
    wrapped = models.LabelWords(language, ["x", "y"])
    wrapped.net = Prefixed()
    torch.testing.assert_close(wrapped(wrapped.collate(TEXTS)), plain(plain.collate(TEXTS)), atol=1e-5, rtol=1e-5)


def test_bad_arguments(language: models.LanguageModel):
    with pytest.raises(ValueError, match=r"no place for the text; write \{text\}"):
        models.LabelWords(language, ["x", "y"], template="no slot")
    with pytest.raises(ValueError, match="two or more"):
        models.LabelWords(language, ["x"])
    with pytest.raises(ValueError, match="same token"):
        models.LabelWords(language, [" bad", " good"])  # this tokenizer reads bytes: both begin with a space
    model = models.LabelWords(language, ["x", "y"])
    with pytest.raises(ValueError, match="at least one text"):
        model.collate([])
    with pytest.raises(ValueError, match="at least one text"):
        model.collate("one text")
