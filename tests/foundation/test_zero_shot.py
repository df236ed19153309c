"""Names as a classifier."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tlcourse.foundation import crossing, prompts, top_k, zero_shot_scores, zero_shot_weights

WORDS = {"cat": 0, "dog": 1, "tree": 2}


def embed(texts: list[str]) -> Tensor:
    """A direction for each word, and a different length and lean for each way of asking."""
    rows = []
    for text in texts:
        row = 0.4 * torch.eye(5)[3 if text.startswith("a drawing") else 4]
        row = row + torch.eye(5)[next(place for word, place in WORDS.items() if word in text)]
        rows.append(row * (10 if text.startswith("a drawing") else 0.1))
    return torch.stack(rows)


def test_prompts() -> None:
    assert prompts("cat", ["{}", "a drawing of a {}"]) == ["cat", "a drawing of a cat"]
    with pytest.raises(ValueError, match="no place for the name"):
        prompts("cat", ["a drawing"])
    with pytest.raises(ValueError, match="give a name"):
        prompts(" ", ["{}"])
    with pytest.raises(ValueError, match="at least one template"):
        prompts("cat", [])


@pytest.mark.usefixtures("unchecked")
def test_the_names_classify_and_every_prompt_counts_the_same() -> None:
    weights = zero_shot_weights(list(WORDS), embed, templates=["{}", "a drawing of a {}"])
    by_hand = torch.stack(
        [(F.normalize(embed([w]), dim=1) + F.normalize(embed([f"a drawing of a {w}"]), dim=1))[0] for w in WORDS]
    )
    torch.testing.assert_close(weights, F.normalize(by_hand, dim=1))
    torch.testing.assert_close(weights.norm(dim=1), torch.ones(3))
    pictures = torch.eye(5)[[2, 0, 1]] * torch.tensor([[0.1], [5.0], [1.0]])
    scores = zero_shot_scores(pictures, weights)
    assert scores.argmax(dim=1).tolist() == [2, 0, 1]
    torch.testing.assert_close(zero_shot_scores(pictures, weights, scale=9), 9 * scores)
    torch.testing.assert_close(zero_shot_scores(7 * pictures, 3 * weights), scores)  # directions alone count
    with pytest.raises(ValueError, match="project both first"):
        zero_shot_scores(torch.ones(2, 4), weights)


def test_top_k_by_hand() -> None:
    scores = torch.tensor([[0.9, 0.5, 0.1], [0.9, 0.5, 0.1], [0.2, 0.2, 0.2]])
    labels = torch.tensor([0, 1, 2])
    assert [top_k(scores, labels, k) for k in (1, 2, 3)] == pytest.approx([1 / 3, 2 / 3, 1.0])
    with pytest.raises(ValueError, match="give 1 to 3"):
        top_k(scores, labels, 4)


def test_where_few_shot_overtakes() -> None:
    assert crossing(0.5, [1, 2, 4], [0.3, 0.4, 0.6]) == pytest.approx(2 * 2**0.5)
    assert crossing(0.3, [1, 2, 4], [0.3, 0.4, 0.6]) == 1
    assert crossing(0.6, [1, 2, 4], [0.3, 0.4, 0.6]) == pytest.approx(4)
    assert crossing(0.7, [1, 2, 4], [0.3, 0.4, 0.6]) is None
    for shots, accuracy in (([1, 2], [0.3]), ([], []), ([2, 1], [0.3, 0.4]), ([0, 1], [0.3, 0.4])):
        with pytest.raises(ValueError, match="rising numbers of shots"):
            crossing(0.5, shots, accuracy)


def test_a_network_of_nan_finds_nothing():
    assert top_k(torch.full((4, 3), float("nan")), torch.tensor([0, 1, 2, 0])) == 0
