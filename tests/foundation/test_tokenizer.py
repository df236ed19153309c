"""Byte-pair encoding: our thirty lines against the library, and nothing lost on the way there and back."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as LibraryTokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from tlcourse.foundation import END, PAD, Tokenizer, apply_merges, learn_merges, merge, train_bpe
from tlcourse.foundation.tokenizer import BYTES, SPECIAL

TEXTS = (
    "the cat sat on the mat, and the other cat sat there too",
    "She sells sea shells by the sea shore; the shells she sells are sea shells.",
    "Übergrößenträger essen Äpfel 🙂 naïve café 12:00 12:30 aaaa aaab",
    "whether the weather is cold or whether the weather is hot",
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_bpe(TEXTS, vocabulary=259 + 60)


def words(texts: tuple[str, ...]) -> Counter[str]:
    """As the library cuts them, in its alphabet for bytes."""
    cut = ByteLevel(add_prefix_space=False)
    return Counter(word for text in texts for word, _ in cut.pre_tokenize_str(text))


def library_merges(tokenizer: Tokenizer) -> list[tuple[str, str]]:
    return [tuple(pair) for pair in json.loads(tokenizer.core.to_str())["model"]["merges"]]


def test_our_merges_are_those_of_the_library(tokenizer: Tokenizer) -> None:
    ours = learn_merges(words(TEXTS), 60)
    assert len(ours) == 60
    assert ours == library_merges(tokenizer)


def test_our_pieces_are_those_of_the_library(tokenizer: Tokenizer) -> None:
    merges = library_merges(tokenizer)
    for word in words(("the weatherman shells seashells, sadly", *TEXTS)):
        assert list(apply_merges(word, merges)) == [tokenizer.core.id_to_token(i) for i in ids_of(tokenizer, word)]


def ids_of(tokenizer: Tokenizer, word: str) -> list[int]:
    """Token numbers of a word that is in the library's alphabet already."""
    return [token.id for token in tokenizer.core.model.tokenize(word)]


def test_the_first_merge_is_the_most_frequent_pair() -> None:
    assert learn_merges({"abab": 3, "cdcdcd": 1}, 1) == [("a", "b")]
    assert learn_merges({"abab": 1, "cdcdcd": 1}, 1) == [("c", "d")]
    assert learn_merges({"cd": 1, "ab": 1}, 1) == [("a", "b")]  # equally frequent: the alphabet decides
    assert learn_merges({"ab": 1}, 9) == [("a", "b")]  # nothing is left to merge


def test_merging_goes_from_left_to_right_and_once() -> None:
    assert merge("aaa", ("a", "a")) == ("aa", "a")
    assert merge("aaaa", ("a", "a")) == ("aa", "aa")
    assert merge("abcab", ("a", "b")) == ("ab", "c", "ab")
    assert merge(("aa", "a"), ("a", "a")) == ("aa", "a")


@given(st.text(max_size=40))
def test_every_text_comes_back(text: str) -> None:
    tokenizer = train_bpe(TEXTS, vocabulary=300)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_single_bytes_without_merges() -> None:
    tokenizer = train_bpe(TEXTS, vocabulary=len(SPECIAL) + BYTES)
    assert len(tokenizer) == 259
    assert len(tokenizer.encode("café")) == 5
    assert min(tokenizer.encode("any text")) >= len(SPECIAL)


def test_frequent_words_become_one_token(tokenizer: Tokenizer) -> None:
    assert " the" in tokenizer.pieces("so the weather")
    assert len(tokenizer) == 319


def test_a_stream_closes_every_text(tokenizer: Tokenizer) -> None:
    stream = tokenizer.stream(["the cat", "sat"]).tolist()
    assert stream == [*tokenizer.encode("the cat"), END, *tokenizer.encode("sat"), END]
    assert tokenizer.decode([PAD, *stream]) == "the catsat"
    assert END not in tokenizer.encode("<end>"), "a text cannot end the stream by saying so"
    assert tokenizer.decode(tokenizer.encode("<end>")) == "<end>"


def test_a_file_keeps_everything(tokenizer: Tokenizer, tmp_path) -> None:
    tokenizer.save(tmp_path / "tokenizer.json")
    again = Tokenizer.load(tmp_path / "tokenizer.json")
    assert again.encode(TEXTS[0]) == tokenizer.encode(TEXTS[0])


def test_errors() -> None:
    with pytest.raises(ValueError, match="special tokens and bytes alone are 259"):
        train_bpe(TEXTS, vocabulary=258)
    with pytest.raises(ValueError, match="at least one text"):
        train_bpe([], vocabulary=300)
    with pytest.raises(ValueError, match="put a single text into a list"):
        train_bpe("text", vocabulary=300)
    with pytest.raises(ValueError, match="at least one text"):
        train_bpe(TEXTS, vocabulary=300).stream([])
    with pytest.raises(ValueError, match="make the tokenizer with train_bpe"):
        Tokenizer(LibraryTokenizer(BPE()))
