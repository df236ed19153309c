"""Prompts of examples: their exact text, the same scores with and without the cached prefix, and calibration."""

from __future__ import annotations

import pytest
import torch

from tlcourse import meta, models
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


@pytest.mark.parametrize("shots", [0, 2, 16])
def test_the_cached_prefix_gives_the_scores_of_the_whole_prompt(smollm2: models.LanguageModel, shots: int):
    examples = (EXAMPLES * 8)[:shots]
    cached = classify_in_context(smollm2, examples, QUESTIONS, wording=WORDING, batch_size=2)
    for row, text in zip(cached, QUESTIONS, strict=True):
        ids = smollm2.tokenizer(write_prompt(examples, text, wording=WORDING), return_tensors="pt")["input_ids"]
        with torch.no_grad():
            whole = smollm2.net(ids).logits[0, -1].log_softmax(dim=-1)
        words = [smollm2.tokenizer(word)["input_ids"][0] for word in WORDING.words]
        torch.testing.assert_close(row, whole[words], atol=1e-4, rtol=0)


def test_the_cached_prefix_gives_the_whole_vocabulary_of_the_whole_prompt(smollm2: models.LanguageModel):
    prefix = encode_prefix(smollm2, write_demonstrations(EXAMPLES * 8, wording=WORDING))
    question = "\n\nReview: so so\nSentiment:"
    found = meta.in_context._next_log_probs(smollm2, [smollm2.tokenizer(question)["input_ids"]], 1, prefix)[0, 0]
    ids = smollm2.tokenizer(write_prompt(EXAMPLES * 8, "so so", wording=WORDING), return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logits = smollm2.net(ids).logits[0, -1]
    torch.testing.assert_close(found, logits.log_softmax(dim=-1), atol=1e-4, rtol=0)


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


def tokens(language: models.LanguageModel, text: str) -> int:
    return len(language.tokenizer(text)["input_ids"])


def test_a_prompt_may_fill_the_context(smollm2: models.LanguageModel, monkeypatch: pytest.MonkeyPatch):
    """The last token of a word is asked for and never read, so it takes no place."""
    words, text, before = (" bad", " quite positive"), "\n\nReview: fine", "Review: a joy"
    assert tokens(smollm2, words[1]) == 2
    prefix, room = encode_prefix(smollm2, before), tokens(smollm2, before) + tokens(smollm2, text) + 1
    for past, length in ((prefix, room), (None, room - tokens(smollm2, before))):
        monkeypatch.setattr(smollm2.net.config, "max_position_embeddings", length)
        assert score_words(smollm2, [text, "\n"], words=words, prefix=past).isfinite().all()
        monkeypatch.setattr(smollm2.net.config, "max_position_embeddings", length - 1)
        with pytest.raises(ValueError, match=rf"the prompt has {length} tokens and the context of .* {length - 1};"):
            score_words(smollm2, ["\n", text], words=words, prefix=past)


def test_a_prefix_may_fill_the_context(smollm2: models.LanguageModel, monkeypatch: pytest.MonkeyPatch):
    length = tokens(smollm2, "Review: a joy")
    monkeypatch.setattr(smollm2.net.config, "max_position_embeddings", length)
    assert encode_prefix(smollm2, "Review: a joy").tokens == length
    monkeypatch.setattr(smollm2.net.config, "max_position_embeddings", length - 1)
    with pytest.raises(ValueError, match="fewer or shorter demonstrations"):
        encode_prefix(smollm2, "Review: a joy")


def test_what_a_prefix_holds(smollm2: models.LanguageModel):
    nothing = encode_prefix(smollm2, "")
    assert (nothing.tokens, nothing.cache) == (0, ())
    found = encode_prefix(smollm2, "Review: a joy")
    assert len(found.cache) == smollm2.net.config.num_hidden_layers
    for keys, values in found.cache:
        assert keys.shape == values.shape
        assert keys.shape[:3] == (1, smollm2.net.config.num_key_value_heads, found.tokens)
        assert not keys.requires_grad


def test_words_that_differ_in_their_last_token_share_a_pass(smollm2: models.LanguageModel):
    """And one text at a time is as good as several: padding has no say."""
    passes = []
    watch = smollm2.net.base_model.register_forward_hook(lambda *_: passes.append(1))
    try:
        found = {}
        for words, texts_at_once, wanted in (
            ((" bad", " good"), 3, 1),
            ((" bad", " good"), 2, 2),
            ((" bad", " good"), 1, 3),
            ((" bad", " quite positive", " quite negative"), 3, 2),
        ):
            passes.clear()
            found[len(words), texts_at_once] = score_words(smollm2, QUESTIONS, words=words, batch_size=texts_at_once)
            assert len(passes) == wanted
    finally:
        watch.remove()
    torch.testing.assert_close(found[2, 1], found[2, 3], atol=1e-4, rtol=0)
    torch.testing.assert_close(found[2, 2], found[2, 3], atol=1e-4, rtol=0)
    torch.testing.assert_close(found[3, 3][:, 0], found[2, 3][:, 0], atol=1e-4, rtol=0)
    assert not found[2, 3].requires_grad


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


def test_a_single_reference_is_enough():
    scores, reference = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.8, 0.2]]).log()
    torch.testing.assert_close(calibrate(scores, reference).exp(), torch.tensor([[0.2, 0.8]]))


@pytest.mark.usefixtures("unchecked")
def test_scores_and_reference_must_fit():
    for scores, reference in (((2, 3), (4, 2)), ((2, 3), (2, 2)), ((2,), (4, 2)), ((4, 2), (2,)), ((2, 2), (0, 2))):
        with pytest.raises(ValueError, match="same classes and at least one row"):
            calibrate(torch.zeros(scores), torch.zeros(reference))


@pytest.mark.usefixtures("unchecked")
def test_separators_and_words_that_are_allowed():
    dashes = Wording(words=("a", "b", "c"), template="{text} ", separator="\n---\n")
    assert write_demonstrations([("x", 2), ("y", 0)], wording=dashes) == "x c\n---\ny a"
    assert Wording(words=("a", "b"), separator=" ").separator == " "
    with pytest.raises(ValueError, match="begin with a space"):
        Wording(words=("a", "b"), separator="")
    with pytest.raises(ValueError, match="one word for each class"):
        Wording(words="ab")


@pytest.mark.parametrize("label", [-1, 2])
def test_the_example_whose_class_has_no_word_is_named(label: int):
    with pytest.raises(ValueError, match=rf"examples\[1\] has class {label}, and there are words for 0 to 1"):
        write_demonstrations([("x", 1), ("y", label)], wording=WORDING)


def test_a_text_that_is_not_in_a_list(smollm2: models.LanguageModel):
    with pytest.raises(ValueError, match="put a single text into a list"):
        score_words(smollm2, "fine", words=WORDING.words)
    with pytest.raises(ValueError, match="put a single text into a list"):
        classify_in_context(smollm2, EXAMPLES, "fine", wording=WORDING)
    with pytest.raises(ValueError, match="texts and words that are not empty"):
        score_words(smollm2, ["fine"], words=("", " good"))


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
