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


def test_a_single_character_is_inside_and_a_neighbour_is_not():
    spans = torch.tensor([[[0, 0], [0, 1], [1, 4], [4, 6]], [[0, 0], [0, 2], [2, 3], [3, 9]]])
    found = inside(spans, torch.tensor([[0, 1], [2, 3]]))
    assert found.tolist() == [[False, True, False, False], [False, False, True, False]]
    across = inside(spans, torch.tensor([[3, 5], [8, 20]]))  # a token may stand half in it
    assert across.tolist() == [[False, False, True, True], [False, False, False, True]]


def test_the_mean_is_over_the_tokens_of_each_text_apart():
    hidden = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [9.0, 9.0]], [[4.0, 0.0], [7.0, 7.0], [8.0, 1.0]]])
    mask = torch.tensor([[True, True, False], [False, False, True]])
    assert mean_inside(hidden, mask).tolist() == [[2.0, 4.0], [8.0, 1.0]]


def test_features_keep_no_graph_and_do_not_depend_on_the_batch(backbone):
    assert any(parameter.requires_grad for parameter in backbone.net.parameters())
    assert not meta.entity_features(backbone, TEXTS, heads=HEADS, tails=TAILS).requires_grad
    texts = [*TEXTS, "Ada Lovelace wrote the first program."]
    one_by_one, together = (meta.sentence_features(backbone, texts, batch_size=n) for n in (1, 64))
    assert not together.requires_grad
    torch.testing.assert_close(one_by_one, together, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(meta.sentence_features(backbone, texts, batch_size=2), together, rtol=1e-3, atol=1e-4)


def test_a_long_text_is_cut_and_what_is_left_can_be_marked(backbone):
    long = "Ada met Bob. " + "They walked on. " * 60 + "Eve stayed."
    heads, tails = torch.tensor([[0, 3], [0, 11]]), torch.tensor([[8, 11], [24, 30]])
    found = meta.entity_features(backbone, [long, TEXTS[0]], heads=heads, tails=tails)
    alone = meta.entity_features(backbone, [TEXTS[0]], heads=heads[1:], tails=tails[1:])
    torch.testing.assert_close(found[1:], alone, rtol=1e-3, atol=1e-4)
    behind = torch.tensor([[long.index("Eve"), long.index("Eve") + 3]])
    with pytest.raises(ValueError, match=rf"heads\[0\] is a span .* cut at {backbone.max_length} tokens"):
        meta.entity_features(backbone, [long], heads=behind, tails=tails[:1])


def test_the_text_with_a_bad_span_is_named_by_its_place_among_all(backbone):
    tails = torch.tensor([[24, 30], [3, 6], [90, 95], [95, 99]])
    with pytest.raises(ValueError, match=r"tails\[2\] is a span where no token"):
        meta.entity_features(backbone, TEXTS * 2, heads=HEADS.repeat(2, 1), tails=tails, batch_size=2)


@pytest.mark.usefixtures("unchecked")
def test_bad_spans(backbone):
    with pytest.raises(ValueError, match=r"tails\[1\] is a span where no token"):
        meta.entity_features(backbone, TEXTS, heads=HEADS, tails=torch.tensor([[24, 30], [90, 95]]))
    with pytest.raises(ValueError, match="2 texts, 2 heads and 1 tails"):
        meta.entity_features(backbone, TEXTS, heads=HEADS, tails=TAILS[:1])
