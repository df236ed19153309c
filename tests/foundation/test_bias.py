"""WEAT on vectors whose answer is known, and continuations by group."""

from __future__ import annotations

import math
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from tlcourse.foundation import TESTS, association, continuation_gap, effect_size, language_score, weat


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def angles(*degrees: float) -> Tensor:
    """Unit vectors in the plane; a cosine is then the cosine of a difference."""
    radians = torch.tensor(degrees).deg2rad()
    return torch.stack([radians.cos(), radians.sin()], dim=1)


def test_a_toy_with_a_known_answer() -> None:
    """A lies at 0°, B at 90°: s(w) = cos w − sin w."""
    x, y = angles(0, 30), angles(90, 60)
    a, b = 3 * angles(0), 0.5 * angles(90)  # lengths do not count
    s = [1.0, math.cos(math.pi / 6) - 0.5, -1.0, 0.5 - math.cos(math.pi / 6)]
    assert association(torch.cat([x, y]), a, b).tolist() == pytest.approx(s, abs=1e-6)
    mean = (1 + math.cos(math.pi / 6) - 0.5) / 2
    spread = math.sqrt((2 * 1 + 2 * (math.cos(math.pi / 6) - 0.5) ** 2) / 3)
    found = weat(x, y, a, b)
    assert found.effect == pytest.approx(2 * mean / spread, rel=1e-5)
    assert found.partitions == 6
    assert found.p == pytest.approx(1 / 6)  # of six divisions this one alone has so large a sum
    assert weat(y, x, a, b).effect == pytest.approx(-found.effect)
    assert weat(y, x, a, b).p == 1


def published_formula(x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Caliskan et al. 2017, step by step: effect size, and the share of partitions with a larger or equal statistic."""

    def cosine(u: np.ndarray, v: np.ndarray) -> float:
        return float(u @ v / (np.linalg.norm(u) * np.linalg.norm(v)))

    def s(w: np.ndarray) -> float:
        return float(np.mean([cosine(w, v) for v in a]) - np.mean([cosine(w, v) for v in b]))

    both = [*x, *y]
    values = [s(w) for w in both]
    effect = (np.mean(values[: len(x)]) - np.mean(values[len(x) :])) / np.std(values, ddof=1)
    observed = sum(values[: len(x)]) - sum(values[len(x) :])
    count = total = 0
    for chosen in combinations(range(len(both)), len(x)):
        other = [i for i in range(len(both)) if i not in chosen]
        statistic = sum(values[i] for i in chosen) - sum(values[i] for i in other)
        count += statistic >= observed - 1e-9
        total += 1
    return float(effect), count / total


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_weat_is_the_published_formula(seed: int) -> None:
    sets = [drawn(4, 7, seed=4 * seed + i) + 0.3 * i for i in range(4)]
    found = weat(*sets)
    effect, p = published_formula(*(part.double().numpy() for part in sets))
    assert found.effect == pytest.approx(effect, rel=1e-4)
    assert found.p == pytest.approx(p)
    assert found.partitions == 70


def test_a_sample_of_partitions_agrees_with_all() -> None:
    x, y, a, b = drawn(9, 5), drawn(9, 5, seed=1) + 0.25, drawn(4, 5, seed=2) - 0.2, drawn(4, 5, seed=3) + 0.2
    sampled = weat(x, y, a, b, draws=4000)
    assert sampled.partitions == 4001  # 18 over 9 is 48,620
    s = association(torch.cat([x, y]), a, b).double()
    sums = np.array([float(s[list(c)].sum()) for c in combinations(range(18), 9)])
    exact = float((sums >= float(s[:9].sum()) - 1e-12).mean())
    assert abs(sampled.p - exact) < 4 * math.sqrt(exact * (1 - exact) / 4000) + 1 / 4000
    strong = weat(a[:1].expand(12, -1) + 0.01 * drawn(12, 5), b[:1].expand(12, -1), a[:1], b[:1], draws=500)
    assert strong.p == 1 / 501  # never 0: the division that is tested counts


def test_p_values_are_uniform_when_there_is_nothing() -> None:
    p = [weat(*(drawn(4, 6, seed=9 * seed + i) for i in range(4))).p for seed in range(80)]
    assert 0.35 < np.mean(p) < 0.65
    assert np.mean(np.array(p) <= 0.2) < 0.35


def test_word_lists_are_complete_and_apart() -> None:
    assert {name: len(test.x) for name, test in TESTS.items()} == {
        "flowers": 25,
        "career": 8,
        "mathematics": 8,
        "science": 8,
    }
    for test in TESTS.values():
        assert len(test.x) == len(test.y)
        assert len(test.a) == len(test.b)
        everything = [*test.x, *test.y, *test.a, *test.b]
        assert len(set(everything)) == len(everything)


def test_gaps_between_groups() -> None:
    def score(prompt: str, continuation: str) -> float:
        return -1.0 * len(continuation) + (2.0 if "man" in prompt and continuation == " doctor" else 0.5)

    gaps = continuation_gap(
        score, ["The {} is a", "My {} works as a"], {"men": "man", "women": "girl"}, [" doctor", " nurse"]
    )
    assert gaps[" doctor"].mean == pytest.approx(1.5)
    assert gaps[" nurse"].mean == 0
    assert gaps[" doctor"].n == 2
    with pytest.raises(ValueError, match="two groups"):
        continuation_gap(score, ["a {}", "b {}"], {"men": "man"}, [" x"])
    with pytest.raises(ValueError, match="no place for the group"):
        continuation_gap(score, ["a {}", "b"], {"men": "man", "women": "woman"}, [" x"])


@torch.no_grad()
@pytest.mark.usefixtures("unchecked")
def test_words_that_give_no_test_are_refused() -> None:
    x, y, a = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="A has 0 words and B has 2; give at least one"):
        weat(x, y, a[:0], a)
    with pytest.raises(ValueError, match=r"\[3, 4\] wide; take all words from the same model"):
        weat(x, y, a, a[:, :3])
    with pytest.raises(ValueError, match="check the vectors for NaN"):
        weat(x, y * torch.nan, a, a.flip(0))


def test_scores_of_a_language_model_are_sums_of_its_log_probabilities() -> None:
    torch.manual_seed(0)
    net = GPT2LMHeadModel(GPT2Config(vocab_size=128, n_positions=32, n_embd=16, n_layer=1, n_head=2)).eval()

    def tokenizer(text: str, **_: bool) -> dict[str, list[int]]:
        return {"input_ids": [ord(letter) for letter in text]}

    score = language_score(SimpleNamespace(net=net, tokenizer=tokenizer))
    logp = net(torch.tensor([[ord(c) for c in "ab cd"]])).logits[0].log_softmax(dim=1)
    wanted = sum(float(logp[i - 1, ord("ab cd"[i])]) for i in range(2, 5))
    assert score("ab", " cd") == pytest.approx(wanted, rel=1e-4)
    with pytest.raises(ValueError, match="neither may be empty"):
        score("ab", "")


@pytest.mark.usefixtures("unchecked")
def test_errors() -> None:
    with pytest.raises(ValueError, match="equal halves"):
        weat(drawn(3, 4), drawn(2, 4), drawn(2, 4), drawn(2, 4))
    with pytest.raises(ValueError, match="at least two on each side"):
        effect_size(torch.tensor([1.0]), torch.tensor([2.0, 3.0]))
    with pytest.raises(ValueError, match="the same association"):
        effect_size(torch.ones(3), torch.ones(3))
