"""Prompts of examples: their exact text, the same scores with and without the cached prefix, and calibration."""

from __future__ import annotations

import pytest
import torch

from tlcourse import models
from tlcourse.meta.in_context import (
    Wording,
    calibrate,
    classify_in_context,
    encode_prefix,
    score_words,
    write_demonstrations,
    write_prompt,
)

WORDING = Wording(words=(" negative", " positive"))
EXAMPLES = [("dull and long", 0), ("a joy", 1)]
QUESTIONS = ["never funny", "a warm, clever film that I would see again", "so so"]


@pytest.fixture(scope="module")
def smollm2() -> models.LanguageModel:
    return models.language()


def test_the_prompt_word_by_word():
    assert write_prompt(EXAMPLES, "so so", wording=WORDING) == (
        "Review: dull and long\nSentiment: negative\n\nReview: a joy\nSentiment: positive\n\nReview: so so\nSentiment:"
    )
    assert write_prompt([], "so so", wording=WORDING) == "Review: so so\nSentiment:"
    assert write_demonstrations([], wording=WORDING) == ""


@pytest.mark.parametrize("shots", [0, 2])
def test_the_cached_prefix_gives_the_scores_of_the_whole_prompt(smollm2: models.LanguageModel, shots: int):
    examples = EXAMPLES[:shots]
    cached = classify_in_context(smollm2, examples, QUESTIONS, wording=WORDING, batch_size=2)
    for row, text in zip(cached, QUESTIONS, strict=True):
        ids = smollm2.tokenizer(write_prompt(examples, text, wording=WORDING), return_tensors="pt")["input_ids"]
        with torch.no_grad():
            whole = smollm2.net(ids).logits[0, -1].log_softmax(dim=-1)
        words = [smollm2.tokenizer(word)["input_ids"][0] for word in WORDING.words]
        torch.testing.assert_close(row, whole[words], atol=1e-4, rtol=0)


def test_a_prefix_can_be_used_again(smollm2: models.LanguageModel):
    prefix = encode_prefix(smollm2, write_demonstrations(EXAMPLES, wording=WORDING))
    first, second = (score_words(smollm2, ["\n\nReview: fine"], words=WORDING.words, prefix=prefix) for _ in range(2))
    assert torch.equal(first, second)
    assert prefix.tokens == prefix.cache[0][0].shape[2]


def test_words_of_several_tokens_are_summed(smollm2: models.LanguageModel):
    words = (" bad", " quite positive", " quite negative")
    found = score_words(smollm2, ["This film is"], words=words)[0]
    start = smollm2.tokenizer("This film is")["input_ids"]
    for score, word in zip(found, words, strict=True):
        more = smollm2.tokenizer(word)["input_ids"]
        with torch.no_grad():
            log_probs = smollm2.net(torch.tensor([start + more])).logits[0].log_softmax(dim=-1)
        wanted = sum(log_probs[len(start) - 1 + i, token] for i, token in enumerate(more))
        torch.testing.assert_close(score, wanted, atol=1e-4, rtol=0)


def test_calibration_divides_by_what_the_prompt_says_anyway():
    scores = torch.tensor([[0.6, 0.4], [0.9, 0.1]]).log()
    reference = torch.tensor([[0.7, 0.3], [0.9, 0.1]]).log()  # 0.8 and 0.2 in the mean
    wanted = torch.tensor([[0.75, 2.0], [1.125, 0.5]])
    torch.testing.assert_close(calibrate(scores, reference).exp(), wanted / wanted.sum(dim=1, keepdim=True))
    moved = calibrate(scores - 5, reference + 3)  # a common factor of all classes has no say
    torch.testing.assert_close(moved, calibrate(scores, reference))


def test_an_even_reference_changes_no_answer():
    scores = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)).log_softmax(dim=1)
    torch.testing.assert_close(calibrate(scores, torch.zeros(2, 3)), scores)


def test_bad_arguments(smollm2: models.LanguageModel, monkeypatch: pytest.MonkeyPatch):
    for arguments, message in (
        ({"words": (" a", " b"), "template": "no slot"}, r"write \{text\} into it"),
        ({"words": (" a",)}, "two or more"),
        ({"words": (" a", " ")}, "none may be empty"),
        ({"words": (" a", " a")}, "no two the same"),
        ({"words": (" a", " b"), "separator": "|"}, "begin with a space"),
    ):
        with pytest.raises(ValueError, match=message):
            Wording(**arguments)
    with pytest.raises(ValueError, match=r"examples\[0\] has class 2"):
        write_prompt([("x", 2)], "y", wording=WORDING)
    with pytest.raises(ValueError, match="at least one text"):
        score_words(smollm2, [], words=WORDING.words)
    with pytest.raises(ValueError, match="not empty"):
        score_words(smollm2, [""], words=WORDING.words)
    with pytest.raises(ValueError, match="batch_size is 0"):
        score_words(smollm2, ["a"], words=WORDING.words, batch_size=0)
    with pytest.raises(ValueError, match="at least one row"):
        calibrate(torch.zeros(2, 2), torch.zeros(0, 2))
    monkeypatch.setattr(smollm2.net.config, "max_position_embeddings", 12)
    with pytest.raises(ValueError, match="fewer or shorter demonstrations"):
        classify_in_context(smollm2, EXAMPLES, QUESTIONS, wording=WORDING)
    with pytest.raises(ValueError, match="fewer or shorter demonstrations"):
        score_words(smollm2, ["so " * 20], words=WORDING.words)
