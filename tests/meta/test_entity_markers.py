"""Features at two entities: the right tokens, in the right order."""

from __future__ import annotations

import pytest
import torch

from tlcourse import meta, models
from tlcourse.meta.entity_markers import inside, mean_inside

TEXTS = ("Marie Curie was born in Warsaw.", "In Ulm, Albert Einstein was born.")
HEADS, TAILS = torch.tensor([[0, 11], [8, 23]]), torch.tensor([[24, 30], [3, 6]])


@pytest.fixture(scope="module")
def backbone():
    return models.text()


def test_tokens_inside_an_entity_leave_out_special_tokens():
    spans = torch.tensor([[[0, 0], [0, 5], [6, 9], [9, 11], [12, 15], [0, 0]]])
    assert inside(spans, torch.tensor([[0, 11]]))[0].tolist() == [False, True, True, True, False, False]
    hidden = torch.arange(6.0)[None, :, None]
    assert mean_inside(hidden, inside(spans, torch.tensor([[0, 11]]))).item() == 2


def test_head_and_tail_are_what_the_encoder_says_there(backbone):
    found = meta.entity_features(backbone, TEXTS, heads=HEADS, tails=TAILS)
    assert found.shape == (2, 2 * backbone.dim)
    with torch.no_grad():
        hidden = backbone.net(**backbone.collate(TEXTS[:1])).last_hidden_state[0]
    tokens = backbone.tokenizer.convert_ids_to_tokens(backbone.collate(TEXTS[:1])["input_ids"][0])
    assert tokens[-3] == "warsaw"
    torch.testing.assert_close(found[0, backbone.dim :], hidden[-3], rtol=1e-4, atol=1e-5)
    swapped = meta.entity_features(backbone, TEXTS, heads=TAILS, tails=HEADS)
    torch.testing.assert_close(swapped.roll(backbone.dim, dims=1), found)
    alone = meta.entity_features(backbone, TEXTS, heads=HEADS, tails=TAILS, batch_size=1)
    torch.testing.assert_close(alone, found, rtol=1e-3, atol=1e-4)


def test_sentences_are_the_backbone_s_features(backbone):
    with torch.no_grad():
        expected = backbone(backbone.collate(TEXTS))
    torch.testing.assert_close(meta.sentence_features(backbone, TEXTS), expected)


def test_bad_spans(backbone):
    with pytest.raises(ValueError, match=r"tails\[1\] is a span where no token"):
        meta.entity_features(backbone, TEXTS, heads=HEADS, tails=torch.tensor([[24, 30], [90, 95]]))
    with pytest.raises(ValueError, match="2 texts, 2 heads and 1 tails"):
        _short(backbone)


def _short(backbone):
    import jaxtyping

    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        return meta.entity_features(backbone, TEXTS, heads=HEADS, tails=TAILS[:1])
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
